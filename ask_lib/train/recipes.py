"""One function an experiment: from a recipe's settings to a task. `EXPERIMENTS` lists them by name.

A new experiment is a function under ``@experiment(DefaultRecipe(...))``; its name is the recipe's name on the command
line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn import functional

from ask_lib.checks import check_choice, check_range
from ask_lib.models.small import NORMS, SmallResNet, SmallVGG
from ask_lib.train import toy as toy_data
from ask_lib.train.augment import Augment, InputSpec
from ask_lib.train.data import Batch, Data, Subset, TensorData, split
from ask_lib.train.loop import Step, Task
from ask_lib.train.recipe import Recipe
from ask_lib.train.schedule import Schedule


@dataclass(frozen=True)
class Experiment:
    """A name, its default settings, and the function that makes the task.

    Attributes:
        name: On the command line.
        recipe: The default settings.
        build: From settings to a task; seed before you call it (`ask_lib.train.run.build` does).
        summary: One line.
    """

    name: str
    recipe: Recipe
    build: Callable[[Any], Task]
    summary: str


EXPERIMENTS: dict[str, Experiment] = {}
R = TypeVar("R", bound=Recipe)


def experiment(recipe: R) -> Callable[[Callable[[R], Task]], Callable[[R], Task]]:
    """List a function as an experiment with these default settings."""

    def add(build: Callable[[R], Task]) -> Callable[[R], Task]:
        name = build.__name__
        summary = (build.__doc__ or "").strip().splitlines()[0]
        EXPERIMENTS[name] = Experiment(name, replace(recipe, experiment=name), build, summary)
        return build

    return add


def find_experiment(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        ChoiceError: If there is none; the message offers the nearest one.
    """
    check_choice("recipe", name, EXPERIMENTS)
    return EXPERIMENTS[name]


def classification_step(modality: str) -> Step:
    """The plain step: cross-entropy of a network that takes one input."""

    def step(network: Any, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        return {"main": functional.cross_entropy(network(batch.inputs[modality]), batch.labels)}

    return step


def classification_predict(modality: str) -> Callable[[Any, dict[str, torch.Tensor]], torch.Tensor]:
    """Logits of a network that takes one input."""
    return lambda network, inputs: network(inputs[modality])


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "tiny": toy_data.TinyNetwork,
    "vgg": SmallVGG,
    "resnet": SmallResNet,
}


@dataclass(frozen=True, kw_only=True)
class ToyRecipe(Recipe):
    """Settings of `toy`.

    Attributes:
        modality: ``rgb`` or ``depth``.
        network: ``tiny``, ``vgg`` or ``resnet``.
        norm: The network's normalisation.
        height: Of the pictures.
        width: Of the pictures.
        classes: Number of shapes.
        count: Pictures to train and validate on.
        test_count: Pictures to test on.
        data_seed: Of the pictures; not the run's seed, so that seeds share one data set.
    """

    modality: str = "rgb"
    network: str = "tiny"
    norm: str = "none"
    height: int = 24
    width: int = 32
    classes: int = 6
    count: int = 600
    test_count: int = 240
    data_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("modality", self.modality, toy_data.SPECS)
        check_choice("network", self.network, NETWORKS)
        check_choice("norm", self.norm, NORMS)
        check_range("classes", self.classes, 2, len(toy_data.SHAPES))


@experiment(
    ToyRecipe(
        data=toy_data.VERSION, epochs=20, batch=40, optimizer="adam", lr=1e-2, augment=Augment(flip=0.5, shift=0.06)
    )
)
def toy(recipe: ToyRecipe) -> Task:
    """Coloured shapes made on the fly: trains in seconds, needs no data."""
    size = (recipe.height, recipe.width)
    whole = toy_data.shapes(recipe.count, size, recipe.classes, 2 * recipe.data_seed)
    test = toy_data.shapes(recipe.test_count, size, recipe.classes, 2 * recipe.data_seed + 1)
    train, validation = split(whole, recipe.validation, recipe.split_seed)
    channels = whole.inputs[recipe.modality].shape[1]
    return Task(
        network=NETWORKS[recipe.network](recipe.classes, channels, recipe.norm),
        step=classification_step(recipe.modality),
        predict=classification_predict(recipe.modality),
        num_classes=recipe.classes,
        train=train,
        validation=validation,
        test=test,
        specs={recipe.modality: toy_data.SPECS[recipe.modality]},
        data_version=toy_data.VERSION,
    )


@dataclass(frozen=True, kw_only=True)
class RoomsRecipe(Recipe):
    """Settings of `rooms_scene` and `rooms_pretrain`.

    Attributes:
        modality: ``rgb`` or ``depth``.
        network: ``vgg`` or ``resnet``.
        norm: The network's normalisation.
        count: Frames to train and validate on.
        test_count: Frames to test on.
    """

    modality: str = "rgb"
    network: str = "resnet"
    norm: str = "batch"
    count: int = 1500
    test_count: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("modality", self.modality, ROOMS_SPECS)
        check_choice("network", self.network, ("vgg", "resnet"))
        check_choice("norm", self.norm, NORMS)


ROOMS_SPECS = {
    "rgb": InputSpec(kind="image", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "depth": InputSpec(kind="map", mean=(2.5,), std=(1.5,)),  # metres; round numbers, not fitted
}


@experiment(
    RoomsRecipe(
        epochs=14,
        lr=0.05,
        weight_decay=5e-4,
        schedule=Schedule(kind="cosine", warmup=1),
        augment=Augment(flip=0.5, shift=0.06, erase=0.25, brightness=0.2, contrast=0.2),
    )
)
def rooms_scene(recipe: RoomsRecipe) -> Task:
    """Scene classes of the synthetic rooms, one network on RGB or on depth."""
    whole, test = _rooms("train", recipe.count), _rooms("test", recipe.test_count)
    train, validation = split(whole, recipe.validation, recipe.split_seed)
    return _rooms_task(recipe, train, validation, test)


@experiment(
    RoomsRecipe(
        count=6000,
        test_count=600,
        epochs=40,
        batch=50,
        optimizer="adamw",
        lr=3e-3,
        weight_decay=0.05,
        schedule=Schedule(kind="cosine", warmup=8),
        augment=Augment(flip=0.5, shift=0.06, brightness=0.3, contrast=0.3),
        validation=0.05,
        final="last",
        precision="bfloat16",
    )
)
def rooms_pretrain(recipe: RoomsRecipe) -> Task:
    """Scene classes of the rooms that no chapter looks at, for the networks that ship."""
    whole = _rooms("pretrain", recipe.count + recipe.test_count)
    frames = torch.arange(len(whole.labels))
    train, validation = split(Subset(whole, frames[: recipe.count]), recipe.validation, recipe.split_seed)
    return _rooms_task(recipe, train, validation, Subset(whole, frames[recipe.count :]))


def _rooms_task(recipe: RoomsRecipe, train: Data, validation: Data, test: Data) -> Task:
    from ask_scenes.rooms import LABELS, VERSION

    spec = ROOMS_SPECS[recipe.modality]
    return Task(
        network=NETWORKS[recipe.network](len(LABELS), len(spec.mean), recipe.norm),
        step=classification_step(recipe.modality),
        predict=classification_predict(recipe.modality),
        num_classes=len(LABELS),
        train=train,
        validation=validation,
        test=test,
        specs={recipe.modality: spec},
        data_version=f"rooms {VERSION}",
    )


def _rooms(part: str, count: int) -> TensorData:
    """Frames of a split, drawn once and then read from the cache."""
    from ask_lib.data.rooms import Rooms

    rooms = Rooms(part, count)
    inputs = {"rgb": torch.as_tensor(rooms.rgb), "depth": torch.as_tensor(rooms.depth).float()[:, None]}
    return TensorData(inputs, torch.as_tensor(rooms.label).long())
