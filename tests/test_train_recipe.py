import itertools
import json
import math
from dataclasses import FrozenInstanceError, replace

import pytest

from ask_lib.errors import ChoiceError, RangeError
from ask_lib.train.errors import RecipeError
from ask_lib.train.recipe import Recipe, differences
from ask_lib.train.recipes import EXPERIMENTS, ToyRecipe, find_experiment
from ask_lib.train.run import build
from ask_lib.train.schedule import Schedule


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_recipes_survive_json(name):
    recipe = find_experiment(name).recipe
    again = type(recipe).from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe and again.digest() == recipe.digest() and recipe.experiment == name


def test_unknown_keys_are_refused_with_the_nearest():
    with pytest.raises(ChoiceError, match="Did you mean 'momentum'"):
        Recipe.from_dict({"momentun": 0.9})
    with pytest.raises(ChoiceError, match="Did you mean 'flip'"):
        Recipe.from_dict({"augment": {"flop": 0.5}})
    with pytest.raises(ChoiceError, match="Did you mean 'epochs'"):
        Recipe().override(["epoch=3"])
    with pytest.raises(ChoiceError, match="Did you mean 'warmup'"):
        Recipe().override(["schedule.warmap=1"])
    with pytest.raises(ChoiceError, match="Did you mean 'toy'"):
        find_experiment("toi")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("lr", "key=value"),
        ("lr=fast", "lr: expected a finite number, got 'fast'"),
        ("lr=nan", "lr: expected a finite number"),
        ("epochs=1.5", "epochs: expected a whole number"),
        ("compile=perhaps", "compile: expected true or false"),
        ("augment.crop=0.5", "augment.crop: expected 2 values"),
        ("lr.x=1", "single value"),
        ("augment=1", "augment"),
    ],
)
def test_bad_values_are_refused(assignment, message):
    with pytest.raises(RecipeError, match=message):
        Recipe().override([assignment])


@pytest.mark.parametrize("value", ["3", True, 2.0, None])
def test_types_are_not_guessed(value):
    with pytest.raises(RecipeError, match="epochs"):
        Recipe.from_dict({"epochs": value})


def test_ranges_and_choices_are_checked():
    with pytest.raises(RangeError, match="epochs"):
        Recipe(epochs=0)
    with pytest.raises(ChoiceError, match="adam"):
        Recipe(optimizer="adan")
    with pytest.raises(ChoiceError, match="cosine"):
        Schedule(kind="cosin")
    with pytest.raises(ChoiceError, match="resnet"):
        ToyRecipe(network="resnett")


def test_overrides():
    recipe = ToyRecipe().override(
        ["lr=3", "compile=yes", "augment.crop=0.08, 1", "schedule.kind=step", "network=vgg", "augment.flip=0.25"]
    )
    assert recipe.lr == 3.0 and isinstance(recipe.lr, float) and recipe.compile and recipe.network == "vgg"
    assert recipe.augment.crop == (0.08, 1.0) and recipe.augment.flip == 0.25 and recipe.schedule.kind == "step"
    assert ToyRecipe().override([]) == ToyRecipe()


def test_recipes_are_frozen_and_named_by_their_content():
    with pytest.raises(FrozenInstanceError):
        Recipe().lr = 1.0
    assert Recipe().digest() == Recipe(lr=0.1).digest() != Recipe(lr=0.2).digest()
    one, two = Recipe().to_dict(), Recipe(lr=0.2, augment=replace(Recipe().augment, flip=1.0)).to_dict()
    assert differences(one, two) == ["augment.flip: 0.0 / 1.0", "lr: 0.1 / 0.2"]


def test_another_data_version_is_refused():
    with pytest.raises(RecipeError, match=r"toy-0.*toy-1"):
        build(find_experiment("toy").recipe.override(["data=toy-0"]))


def test_cosine_against_closed_form():
    schedule, per, epochs = Schedule(kind="cosine", warmup=1.5, final=0.1), 10, 6
    factors = [schedule(step, per, epochs) for step in range(per * epochs)]
    assert factors[0] == pytest.approx(1 / 15) and factors[14] == 1.0 and factors[15] == 1.0
    for step in range(15, 60):
        assert factors[step] == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi * (step - 15) / 45)))
    assert schedule(60, per, epochs) == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(factors[15:]))
    assert Schedule()(0, per, epochs) == 1.0 and Schedule()(60, per, epochs) == pytest.approx(0.0)


def test_steps_and_constant_against_closed_form():
    schedule = Schedule(kind="step", factor=0.9, every=80)
    for epoch, expected in [(0, 1), (79, 1), (80, 0.9), (159, 0.9), (160, 0.81), (299, 0.729)]:
        assert schedule(epoch * 7, 7, 300) == pytest.approx(expected)
        assert schedule(epoch * 7 + 6, 7, 300) == pytest.approx(expected)
    assert {Schedule(kind="constant")(step, 7, 10) for step in range(70)} == {1.0}
    warm = Schedule(kind="constant", warmup=2)
    assert [warm(step, 2, 5) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
