import itertools
import json
import math
from dataclasses import FrozenInstanceError, replace

import pytest

from ask_lib.errors import ChoiceError, ConfigError, RangeError
from ask_lib.train.config import Schedule, TrainConfig, differences
from ask_lib.train.run import build
from ask_lib.train.tasks import EXPERIMENTS, find_experiment
from ask_lib.train.tasks.classification import ClassificationConfig
from tools.imports import own_files


def test_what_imports_the_experiments_stands_on_all_of_them():
    found = {path.name for path in own_files(["ask_lib.train.tasks"])}
    assert {f"{module}.py" for module, _ in EXPERIMENTS.values()} <= found


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_configs_survive_json(name):
    config = find_experiment(name).config
    again = type(config).from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config and again.digest() == config.digest() and config.experiment == name
    assert (find_experiment(name).build.__doc__ or "").strip() == EXPERIMENTS[name][1]  # what the help prints


def test_unknown_keys_are_refused_with_the_nearest():
    with pytest.raises(ChoiceError, match="Did you mean 'momentum'"):
        TrainConfig.from_dict({"momentun": 0.9})
    with pytest.raises(ChoiceError, match="Did you mean 'flip'"):
        TrainConfig.from_dict({"augment": {"flop": 0.5}})
    with pytest.raises(ChoiceError, match="Did you mean 'epochs'"):
        TrainConfig().override(["epoch=3"])
    with pytest.raises(ChoiceError, match="Did you mean 'warmup'"):
        TrainConfig().override(["schedule.warmap=1"])
    with pytest.raises(ChoiceError, match="Did you mean 'augment'"):
        TrainConfig().override(["agument.flip=0"])
    with pytest.raises(ChoiceError, match="Did you mean 'toy'"):
        find_experiment("toi")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("lr", "key=value"),
        ("lr=fast", "lr: expected a finite number, got 'fast'"),
        ("lr=nan", "lr: expected a finite number"),
        ("lr=NaN", "lr: expected a finite number"),
        ("groups=3", "groups: expected settings by name"),
        ("per_class=3", "multiple of per_class"),
        ("epochs=1.5", "epochs: expected a whole number"),
        ("seed=3.0", "seed: expected a whole number"),
        ("compile=perhaps", "compile: expected true or false"),
        ("augment.crop=0.5", "augment.crop: expected 2 values"),
        ("lr.x=1", "single value"),
        ("augment=1", "augment"),
        ("lr=1" + 400 * "0", "lr: expected a finite number"),
        ("epochs=1" + 400 * "0", "epochs: expected a whole number"),
        ("lr=" + 100_000 * "[", "lr: expected a finite number"),
    ],
)
def test_bad_values_are_refused(assignment, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig().override([assignment])


@pytest.mark.parametrize("seed", [-1, 2**32, 2**64])
def test_a_seed_is_one_that_every_generator_takes(seed):
    with pytest.raises(RangeError, match="seed"):
        TrainConfig().override([f"seed={seed}"])
    assert TrainConfig(seed=2**32 - 1).seed


@pytest.mark.parametrize("value", ["3", True, 2.0, None])
def test_types_are_not_guessed(value):
    with pytest.raises(ConfigError, match="epochs"):
        TrainConfig.from_dict({"epochs": value})


def test_ranges_and_choices_are_checked():
    with pytest.raises(RangeError, match="epochs"):
        TrainConfig(epochs=0)
    with pytest.raises(ChoiceError, match="adam"):
        TrainConfig(optimizer="adan")
    with pytest.raises(ChoiceError, match="cosine"):
        Schedule(kind="cosin")
    with pytest.raises(ChoiceError, match="resnet"):
        ClassificationConfig(network="resnett")


def test_overrides():
    config = ClassificationConfig().override(
        ["lr=3", "compile=true", "augment.crop=0.08, 1", "schedule.kind=step", "network=vgg", "augment.flip=0.25"]
    )
    assert config.lr == 3.0 and isinstance(config.lr, float) and config.compile and config.network == "vgg"
    assert config.augment.crop == (0.08, 1.0) and config.augment.flip == 0.25 and config.schedule.kind == "step"
    assert ClassificationConfig().override([]) == ClassificationConfig()
    assert config.override(['groups={"fc8": 10}', "groups.conv1.0=0"]).groups == {"fc8": 10.0, "conv1.0": 0.0}


def test_configs_are_frozen_and_named_by_their_content():
    with pytest.raises(FrozenInstanceError):
        TrainConfig().lr = 1.0
    assert TrainConfig().digest() == TrainConfig(lr=0.1).digest() != TrainConfig(lr=0.2).digest()
    one, two = TrainConfig().to_dict(), TrainConfig(lr=0.2, augment=replace(TrainConfig().augment, flip=1.0)).to_dict()
    assert differences(one, two) == ["augment.flip: 0.0 / 1.0", "lr: 0.1 / 0.2"]


def test_another_data_version_is_refused():
    with pytest.raises(ConfigError, match=r"toy-0.*toy-1"):
        build(find_experiment("toy").config.override(["data=toy-0"]))


def test_cosine_against_closed_form():
    schedule, per, epochs = Schedule(kind="cosine", warmup=1.5), 10, 6
    factors = [schedule(step, per, epochs) for step in range(per * epochs)]
    assert factors[0] == pytest.approx(1 / 15) and factors[14] == 1.0 and factors[15] == 1.0
    for step in range(15, 60):
        assert factors[step] == pytest.approx(0.5 * (1 + math.cos(math.pi * (step - 15) / 45)))
    assert schedule(60, per, epochs) == pytest.approx(0)
    assert all(a >= b for a, b in itertools.pairwise(factors[15:]))


def test_steps_and_constant_against_closed_form():
    schedule = Schedule(kind="step", factor=0.9, every=80)
    for epoch, expected in [(0, 1), (79, 1), (80, 0.9), (159, 0.9), (160, 0.81), (299, 0.729)]:
        assert schedule(epoch * 7, 7, 300) == pytest.approx(expected)
        assert schedule(epoch * 7 + 6, 7, 300) == pytest.approx(expected)
    assert {Schedule(kind="constant")(step, 7, 10) for step in range(70)} == {1.0}
    warm = Schedule(kind="constant", warmup=2)
    assert [warm(step, 2, 5) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
