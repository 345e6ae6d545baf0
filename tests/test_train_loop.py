import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from ask_lib.errors import ChoiceError, ConfigError, NonFiniteError, RangeError, ShapeError
from ask_lib.train import loop
from ask_lib.train.augment import Augment
from ask_lib.train.config import Schedule, TrainConfig
from ask_lib.train.data import Subset, TensorData
from ask_lib.train.distributed import Process
from ask_lib.train.loop import evaluate, fit, make_optimizer
from ask_lib.train.meter import Meter
from ask_lib.train.plain import train
from ask_lib.train.run import build, run
from ask_lib.train.tasks import find_experiment
from ask_lib.train.tasks.classification import classification_step
from tests.train_children import RESTLESS, restless_task

ALONE = Process(torch.device("cpu"))


@pytest.fixture
def plain():
    config = find_experiment("toy").config.override(["epochs=2", "count=120", "test_count=0"])
    return build(config), config


def test_an_input_that_the_data_lack_is_refused():
    with pytest.raises(ChoiceError, match=r"modality.*rgb, depth"):
        build(find_experiment("toy").config.override(["modality=hha"]))


@pytest.mark.parametrize("modality", ["rgb", "depth"])
def test_the_toy_is_learnt_by_heart(modality):
    changes = ["epochs=30", "count=120", "test_count=0", "validation=0", "augment.flip=0", "augment.shift=0"]
    config = find_experiment("toy").config.override([*changes, f"modality={modality}"])
    task = build(config)
    outcome = fit(task, config, progress=False)
    assert evaluate(task, config, task.train)["accuracy"] == 1.0
    assert outcome.history[-1]["terms"]["main"] < 0.1 and outcome.best_epoch == -1


@pytest.mark.parametrize("extra", [["precision=bfloat16"], ["network=resnet", "norm=batch"]])
def test_options_train(extra):
    config = find_experiment("toy").config.override(["epochs=6", "count=300", "test_count=60", *extra])
    result = run(config, progress=False)
    assert result["values"]["test_loss"] < 1.75  # below log 6
    assert result["data"] == {"toy": "toy-1"} and result["environment"]["torch"] == torch.__version__.split("+")[0]


@pytest.mark.parametrize("kind", ["nan", "inf"])
def test_a_bad_term_stops_the_run_and_is_named(plain, tmp_path, kind):
    task, config = plain
    calls = []

    def step(network, batch, generator):
        calls.append(1)
        good = classification_step("rgb")(network, batch, generator)
        bad = torch.tensor(float(kind) if len(calls) == 4 else 0.5)  # the second epoch's second step
        return good | {"correlation": bad, "watched": bad.nan_to_num()}

    task = replace(task, step=step, weights={"correlation": 0.1})
    with pytest.raises(NonFiniteError, match=r"loss term 'correlation'.*epoch 1, step 1"):
        fit(task, config, out=tmp_path, progress=False)
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert state["epoch"] == 1 and all(value.isfinite().all() for value in state["network"].values())


def test_a_bad_gradient_is_not_saved(plain, tmp_path):
    task, config = plain

    def step(network, batch, generator):
        first = next(network.parameters())
        return {"main": ((first - first.detach()) ** 2).sum().sqrt()}  # 0, with a gradient of 0 / 0

    with pytest.raises(NonFiniteError, match=r"weights|'main'"):
        fit(replace(task, step=step), replace(config, batch=96), out=tmp_path, progress=False)
    assert not (tmp_path / "last.pt").exists() and not (tmp_path / "best.pt").exists()


def test_terms_are_weighted_and_averaged_by_sample():
    meter = Meter({"a": 2.0, "w": 0.0})
    first = meter.add({"a": torch.tensor(1.0), "b": torch.tensor(3.0), "w": torch.tensor(9.0)}, 4, 0)
    second = meter.add({"a": torch.tensor(5.0), "b": torch.tensor(7.0), "w": torch.tensor(1.0)}, 2, 1)
    assert float(first) == 5.0 and float(second) == 17.0
    assert meter.means(ALONE) == pytest.approx({"a": 14 / 6, "b": 26 / 6, "w": 38 / 6})


def test_wrong_terms_are_refused():
    with pytest.raises(ShapeError, match="means over the batch"):
        Meter({}).add({"main": torch.zeros(3)}, 3, 0)
    with pytest.raises(ChoiceError, match="loss weight"):
        Meter({"man": 1.0}).add({"main": torch.zeros(())}, 3, 0)
    meter = Meter({})
    meter.add({"main": torch.zeros(()), "aux": torch.zeros(())}, 3, 0)
    with pytest.raises(ChoiceError, match="first step"):
        meter.add({"main": torch.zeros(())}, 3, 1)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_all_labels_are_checked_at_the_start(plain, part):
    task, config = plain
    wrong = TensorData(task.train.data.inputs, torch.full((120,), 6))
    with pytest.raises(RangeError, match=rf"{part}\.labels"):
        fit(replace(task, **{part: wrong}), config, progress=False)


def test_nothing_to_minimise_is_refused(plain):
    for terms, weights in (({}, {}), ({"a": torch.zeros(())}, {"a": 0.0})):
        with pytest.raises(ConfigError, match="nothing to minimise"):
            Meter(weights).add(terms, 3, 0)


def test_what_a_run_froze_is_free_again(plain):
    task, config = plain
    fit(task, replace(config, epochs=1, groups={"0": 0.0}), progress=False)
    assert all(parameter.requires_grad for parameter in task.network.parameters())


@pytest.mark.parametrize("trains", [train, fit])
def test_modules_set_to_evaluation_stay_so(plain, trains):
    task, config = plain
    task.network.train()[2].eval()
    seen = []

    def step(network, batch, generator):
        seen.append(network[2].training)
        return classification_step("rgb")(network, batch, generator)

    trains(replace(task, step=step), replace(config, epochs=1))
    assert not any(seen)


def test_processes_part_no_class(plain):
    task, config = plain
    with pytest.raises(ConfigError, match="per_class"):
        loop.Run(task, replace(config, batch=15, per_class=5), Process(torch.device("cpu"), 0, 2))


def test_the_learning_rate_follows_the_schedule(plain):
    task, config = plain
    config = replace(config, epochs=4, schedule=Schedule(kind="step", every=2, factor=0.5, warmup=1))
    rates = [entry["lr"] for entry in fit(task, config, progress=False).history]
    assert rates == pytest.approx([0.01, 0.01, 0.005, 0.005])


def test_one_step_against_the_formula(plain):
    task, _ = plain
    config = TrainConfig(experiment="x", epochs=1, batch=96, lr=0.1, momentum=0, weight_decay=0.01, precision="float64")
    task = replace(task, validation=None)
    before = {name: value.double().clone() for name, value in task.network.state_dict().items()}
    fit(task, config, progress=False)
    after = task.network.state_dict()
    network = build(find_experiment("toy").config).network.double()
    network.load_state_dict(before)
    (batch,) = task.train.batches([torch.arange(96)], torch.device("cpu"))
    x = (batch.inputs["rgb"].double() / 255 - 0.5) / 0.25
    nn.functional.cross_entropy(network(x), batch.labels).backward()
    for name, parameter in network.named_parameters():
        expected = before[name] - 0.1 * (parameter.grad + 0.01 * before[name])
        torch.testing.assert_close(after[name], expected, rtol=1e-9, atol=1e-9)


def test_best_or_last_weights_and_the_first_of_equals(plain):
    task, config = plain
    scores = iter([0.3, 0.9, 0.9, 0.1])
    kept = []

    def predict(network, inputs):
        kept.append(network[0].weight.detach().clone())
        count = len(inputs["rgb"])
        logits = torch.zeros(count, task.num_classes)
        right = round(next(scores) * count)
        logits[torch.arange(right), labels[:right]] = 1.0
        logits[torch.arange(right, count), (labels[right:] + 1) % task.num_classes] = 1.0
        return logits

    labels = task.validation.labels
    task, config = replace(task, predict=predict), replace(config, epochs=4)
    outcome = fit(task, config, progress=False)
    assert outcome.best_epoch == 1 and torch.equal(task.network[0].weight, kept[1])
    assert not outcome.network.training


def test_evaluation_counts_and_restores_modes(plain):
    task, config = plain
    task.network.train()
    task.network[2].eval()
    scores = evaluate(task, config, task.validation, batch=7)
    modes = [module.training for module in task.network]
    assert modes.count(False) == 1 and not modes[2] and task.network.training
    with torch.no_grad():
        (batch,) = task.validation.batches([torch.arange(24)], torch.device("cpu"))
        logits = task.network((batch.inputs["rgb"].float() / 255 - 0.5) / 0.25)
    expected = nn.functional.cross_entropy(logits, batch.labels)
    assert scores["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert scores["accuracy"] == pytest.approx(float((logits.argmax(1) == batch.labels).float().mean()))


def test_frozen_parameters_stay_and_optimisers_are_the_papers(plain):
    task, config = plain
    task.network[0].weight.requires_grad_(False)
    before = task.network[0].weight.clone()
    fit(task, config, progress=False)
    assert torch.equal(task.network[0].weight, before)
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    for name, kind in kinds.items():
        assert type(make_optimizer(nn.Linear(2, 2), TrainConfig(optimizer=name))) is kind


def test_groups_have_their_own_rate_and_frozen_ones_stay_whole():
    config = replace(
        RESTLESS, epochs=1, per_class=0, lr=0.1, momentum=0.0, weight_decay=0.0, schedule=Schedule(kind="constant")
    )
    starts, ends = [], []
    for groups in ({}, {"0": 0.0, "1": 0.0}, {"6": 0.5}):
        task = restless_task()
        task = replace(task, train=Subset(task.train, torch.arange(16)), validation=None)  # one step
        starts.append({name: value.clone() for name, value in task.network.state_dict().items()})
        ends.append(fit(task, replace(config, groups=groups), progress=False).network.state_dict())
    moved = [{name: (end[name] - start[name]) for name in start} for start, end in zip(starts, ends, strict=True)]
    assert all(moved[0][name].any() for name in ("0.weight", "1.running_mean", "6.weight"))
    for name, change in moved[1].items():  # batch norm's running statistics too
        assert bool(change.any()) == name.startswith("6.")
    torch.testing.assert_close(moved[2]["6.weight"], 0.5 * moved[0]["6.weight"], rtol=1e-4, atol=1e-7)
    assert torch.equal(moved[2]["0.weight"], moved[0]["0.weight"])


def test_the_longest_prefix_counts_and_unknown_groups_are_refused():
    network = nn.Sequential()
    network.add_module("layer1", nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2)))
    network.add_module("layer10", nn.Linear(2, 2))
    config = TrainConfig(lr=0.1, groups={"layer1": 0.0, "layer1.2": 3.0, "layer1.2.bias": 2.0})
    optimizer = make_optimizer(network.train(), config)
    found = {group["factor"]: len(group["params"]) for group in optimizer.param_groups}
    assert found == {3.0: 1, 2.0: 1, 1.0: 2}
    assert not network.layer1[1].training and network.layer1[2].training and network.layer10.training
    with pytest.raises(ChoiceError, match="Did you mean 'layer10'"):
        make_optimizer(network, TrainConfig(groups={"layer100": 1.0}))
    with pytest.raises(ConfigError, match="every parameter is frozen"):
        make_optimizer(network, TrainConfig(groups={"layer1": 0.0, "layer10": 0.0}))
    with pytest.raises(RangeError, match="groups"):
        TrainConfig(groups={"layer1": -1.0})


@pytest.mark.parametrize("extra", [[], ["batch=30", "per_class=5", 'groups={"0": 0, "3": 0.5}', "optimizer=adamw"]])
def test_the_thirty_lines_equal_fit_to_the_last_bit(extra):
    config = find_experiment("toy").config.override(
        ["epochs=2", "count=120", "precision=float32", "final=last", *extra]
    )
    whole = fit(build(config), config, progress=False, process=ALONE).network.state_dict()
    short = train(build(config), config).state_dict()
    assert all(torch.equal(value, short[name]) for name, value in whole.items())


@pytest.mark.parametrize(("labels", "says"), [(-1, "got -1"), (-100, "got -100"), (6, "got 6")])
def test_labels_that_are_no_class_stop_a_run_before_it_starts(plain, labels, says):
    task, config = plain
    whole = task.train.data
    spoilt = whole.labels.clone()
    spoilt[5] = labels
    data = TensorData(whole.inputs, spoilt)
    with pytest.raises(RangeError, match=f"labels: .*{says}"):
        fit(replace(task, train=data), config, progress=False)
    with pytest.raises(RangeError, match=f"labels: .*{says}"):
        evaluate(task, config, data)


@pytest.mark.parametrize("outputs", [5, 8])
def test_a_head_has_one_output_a_class(plain, outputs):
    task, config = plain
    task.network[-1] = nn.Linear(task.network[-1].in_features, outputs)
    with pytest.raises(ShapeError, match=rf"logits: expected .*6\), got \(\d+, {outputs}\)"):
        evaluate(task, config, task.validation)


def test_importing_the_face_loads_no_more_than_it_needs():
    code = (
        "import sys, ask_lib.train; assert 'torch' not in sys.modules;"
        "from ask_lib.train import Task, TrainConfig, fit;"
        "bad = {'sklearn', 'matplotlib', 'scipy', 'h5py'} & set(sys.modules); assert not bad, bad;"
        "assert all(hasattr(ask_lib.train, name) for name in ask_lib.train.__all__)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_runs_repeat_and_seeds_differ():
    config = replace(RESTLESS, epochs=1)
    one, two, other = (fit(restless_task(), replace(config, seed=seed), progress=False) for seed in (0, 0, 1))
    weights = [outcome.network[0].weight for outcome in (one, two, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_too_few_samples_for_the_processes(plain):
    task, config = plain
    with pytest.raises(RangeError, match=r"config\.batch"):
        fit(task, replace(config, batch=1), process=Process(torch.device("cpu"), 0, 2), progress=False)


def test_the_bar_shows_terms_and_speed(plain, capsys, monkeypatch):
    task, config = plain
    monkeypatch.setattr(loop, "LOOK_EVERY", 1)
    fit(task, config)
    shown = capsys.readouterr().err
    assert "main " in shown and "images/s" in shown and "epoch 2" in shown and "validation" in shown


def test_augmentation_is_for_training_only(plain):
    task, config = plain
    wild = replace(config, augment=Augment(erase=1.0, cutout=1.0))
    assert evaluate(task, wild, task.validation) == evaluate(task, config, task.validation)
