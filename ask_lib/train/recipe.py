"""A recipe: everything that decides a run's numbers, in one frozen dataclass that refuses what it does not know."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from ask_lib.checks import check_choice, check_range
from ask_lib.train.augment import Augment
from ask_lib.train.errors import RecipeError
from ask_lib.train.schedule import Schedule

PRECISIONS = ("auto", "float32", "float64", "bfloat16")
SCORES = ("accuracy", "mean_class_accuracy", "loss")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What every recipe has; a method's own recipe adds its settings in a subclass.

    Attributes:
        experiment: The name of the experiment that the recipe belongs to.
        data: The data's version, so that a recorded number goes stale with its data; empty takes what is there.
        seed: Of initialisation, order, augmentation and dropout.
        epochs: Passes over the training set.
        batch: Samples a step, over all processes.
        optimizer: ``sgd`` (Nesterov off), ``adam`` or ``adamw``.
        lr: Base learning rate.
        momentum: For ``sgd``.
        weight_decay: On all parameters, as the papers do.
        clip_norm: Largest norm of the gradient; 0 leaves it alone.
        schedule: The learning rate's course.
        augment: Augmentation of the training samples.
        validation: Share of each class of the training set held out.
        split_seed: Chooses which; not the run's seed, so that seeds share one split.
        select: The score on validation that chooses the best epoch: the first of equals.
        final: Which weights the run ends with, ``best`` or ``last``.
        drop_last: Leave out an epoch's last batch when it is not full.
        precision: ``auto`` (autocast to bfloat16 on GPUs that compute in it, else float32), ``float32``,
            ``float64`` or ``bfloat16``.
        channels_last: Memory format of pictures and convolutions; the faster one here, on CPU and GPU.
        compile: Whether to use ``torch.compile``. It compiles the network's call; what a step calls of its parts runs
            as it is. Checkpoints are the same with and without.
        sync_batch_norm: Statistics over all processes, on GPUs.
        deterministic: Ask torch for deterministic algorithms.
    """

    experiment: str = ""
    data: str = ""
    seed: int = 0
    epochs: int = 10
    batch: int = 64
    optimizer: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip_norm: float = 0.0
    schedule: Schedule = field(default_factory=Schedule)
    augment: Augment = field(default_factory=Augment)
    validation: float = 0.2
    split_seed: int = 0
    select: str = "mean_class_accuracy"
    final: str = "best"
    drop_last: bool = True
    precision: str = "auto"
    channels_last: bool = True
    compile: bool = False
    sync_batch_norm: bool = True
    deterministic: bool = False

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, ("sgd", "adam", "adamw"))
        check_choice("select", self.select, SCORES)
        check_choice("final", self.final, ("best", "last"))
        check_choice("precision", self.precision, PRECISIONS)
        check_range("epochs", self.epochs, 1)
        check_range("batch", self.batch, 1)
        check_range("lr", self.lr, 0, open_low=True)
        check_range("momentum", self.momentum, 0, 1)
        for name in ("weight_decay", "clip_norm", "seed", "split_seed"):
            check_range(name, getattr(self, name), 0)
        check_range("validation", self.validation, 0, 0.9)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """A recipe from plain containers, e.g. JSON.

        Raises:
            ChoiceError: If a key is unknown; the message offers the nearest one.
            RecipeError: If a value has the wrong type.
        """
        return typing.cast(Self, _from_dict(cls, settings, ""))

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, tuples as lists: what `from_dict` takes and JSON holds."""
        settled = _from_dict(type(self), dataclasses.asdict(self), "")  # 1 is 1.0 where a float is meant: one digest
        return typing.cast(dict[str, Any], json.loads(json.dumps(dataclasses.asdict(settled))))

    def override(self, assignments: Sequence[str]) -> Self:
        """A recipe with some settings changed, as on the command line.

        Args:
            assignments: ``key=value`` each; ``augment.flip=0.5`` reaches inside; tuples are written ``0.1,1``.

        Raises:
            ChoiceError: If a key is unknown.
            RecipeError: If a value cannot be read, or an assignment is no assignment.
        """
        settings = self.to_dict()
        for assignment in assignments:
            key, equals, text = assignment.partition("=")
            if not equals:
                raise RecipeError(f"{assignment!r}: expected key=value, e.g. lr=0.1.")
            place, hint = _find(type(self), settings, key)
            place[key.rpartition(".")[2]] = _read(key, text, hint)
        return type(self).from_dict(settings)

    def digest(self) -> str:
        """Twelve hexadecimal digits that name these settings."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def differences(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Where two recipes' dictionaries differ, a line each: ``lr: 0.1 / 0.2``."""
    lines = []
    for key in sorted({*first, *second}):
        one, two = first.get(key), second.get(key)
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            lines += differences(one, two, f"{prefix}{key}.")
        elif one != two:
            lines.append(f"{prefix}{key}: {one!r} / {two!r}")
    return lines


def _from_dict(cls: type[Any], settings: Mapping[str, Any], prefix: str) -> Any:
    hints = typing.get_type_hints(cls)
    known = [field.name for field in dataclasses.fields(cls)]
    for key in settings:
        check_choice(f"recipe key {prefix}{key}", key, known)
    return cls(**{key: _coerce(f"{prefix}{key}", value, hints[key]) for key, value in settings.items()})


def _coerce(name: str, value: Any, hint: Any) -> Any:
    """``value`` as the type that the field wants; nothing is guessed (no "1" for 1, no True for 1)."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, hint):
            return value
        if isinstance(value, Mapping):
            return _from_dict(hint, value, f"{name}.")
    elif typing.get_origin(hint) is tuple:
        if isinstance(value, list | tuple):
            return _coerce_tuple(name, value, typing.get_args(hint))
    elif hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    elif hint is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    elif isinstance(value, hint):
        return value
    raise RecipeError(f"{name}: expected {_describe(hint)}, got {value!r}.")


def _coerce_tuple(name: str, value: Sequence[Any], kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise RecipeError(f"{name}: expected {len(kinds)} values, got {list(value)!r}.")
    return tuple(_coerce(name, item, kind) for item, kind in zip(value, kinds, strict=True))


def _describe(hint: Any) -> str:
    plain = isinstance(hint, type) and not isinstance(hint, types.GenericAlias)
    return {"int": "a whole number", "float": "a finite number", "bool": "true or false", "str": "a text"}.get(
        hint.__name__ if plain else "", str(hint)
    )


def _find(cls: type[Any], settings: dict[str, Any], key: str) -> tuple[dict[str, Any], Any]:
    """The innermost dictionary that holds ``a.b.c``, and the type of what is there."""
    place, hint = settings, cls
    parts = key.split(".")
    for depth, part in enumerate(parts):
        if not dataclasses.is_dataclass(hint):
            raise RecipeError(f"{key}: {'.'.join(parts[:depth])} is a single value and has no {part!r}.")
        known = [field.name for field in dataclasses.fields(hint)]
        check_choice(f"recipe key {key}", part, known)
        hint = typing.get_type_hints(hint)[part]
        if depth < len(parts) - 1 and dataclasses.is_dataclass(hint):
            place = place[part]
    return place, hint


def _read(key: str, text: str, hint: Any) -> Any:
    if typing.get_origin(hint) is tuple:
        kind = typing.get_args(hint)[0]
        return [_read(key, item.strip(), kind) for item in text.split(",") if item.strip()]
    if hint is str:
        return text
    if hint is bool:
        lowered = text.lower()
        if lowered in ("true", "1", "yes", "false", "0", "no"):
            return lowered in ("true", "1", "yes")
    elif hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            pass
    raise RecipeError(f"{key}: expected {_describe(hint)}, got {text!r}.")
