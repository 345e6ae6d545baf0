"""Everything that decides a run's numbers, in one frozen dataclass that refuses what it does not know."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import reprlib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from ask_lib.checks import check_choice, check_range
from ask_lib.errors import ConfigError
from ask_lib.reproduce import LARGEST_SEED
from ask_lib.results import is_number
from ask_lib.train.augment import Augment


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the learning rate runs, as a factor of its base value: a function of the step alone, with no state to save.

    Attributes:
        kind: ``constant``; ``cosine`` down to 0; ``step``: times ``factor`` every ``every`` epochs.
        warmup: Epochs (fractions allowed) of a linear rise at the start, whatever the kind.
        factor: The step's factor; ASK's "reduced by a fraction of 0.9" may be 0.9, or 0.1 as its recipe has it.
        every: Epochs between steps.
    """

    kind: str = "cosine"
    warmup: float = 0.0
    factor: float = 0.9
    every: int = 80

    def __post_init__(self) -> None:
        check_choice("schedule.kind", self.kind, ("constant", "cosine", "step"))
        check_range("schedule.warmup", self.warmup, 0)
        check_range("schedule.factor", self.factor, 0, 1, open_low=True)
        check_range("schedule.every", self.every, 1)

    def __call__(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """The factor for one step, counted from 0 over the whole run.

        With W warm-up steps of T it is (step + 1) / W in the warm-up; the cosine is 1 at step W, 0 at T, after the end.
        """
        warmup = round(self.warmup * steps_per_epoch)
        if step < warmup:
            return (step + 1) / warmup
        if self.kind == "cosine":
            progress = (step - warmup) / max(1, steps_per_epoch * epochs - warmup)
            return 0.5 * (1 + math.cos(math.pi * progress))
        if self.kind == "step":
            return float(self.factor ** (step // steps_per_epoch // self.every))
        return 1.0


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What every run has; a method's own config adds its settings in a subclass.

    Attributes:
        experiment: The name of the experiment that it belongs to.
        data: The data's version, so that a recorded number goes stale with its data; empty takes what is there.
        seed: Of initialisation, order, augmentation and dropout.
        epochs: Passes over the training set.
        batch: Samples a step, over all processes; an epoch's last batch is left out when it is not full.
        per_class: Samples of a class in a batch, for triplets; 0 draws batches without regard to class.
        optimizer: ``sgd`` (Nesterov off), ``adam`` or ``adamw``.
        lr: Base learning rate.
        groups: Prefix of parameters' names to the factor of their learning rate: ``{"fc8": 10.0, "conv1": 0.0}``. The
            longest prefix counts, other parameters have 1. 0 freezes, batch norm and dropout included.
        momentum: For ``sgd``.
        weight_decay: On all parameters, as the papers do.
        schedule: The learning rate's course.
        augment: Augmentation of the training samples.
        validation: Share of each class of the training set held out; every seed holds out the same.
        final: The weights that the run ends with: ``best`` (in mean class accuracy on validation) or ``last``.
        precision: ``float32``, ``float64``, ``bfloat16`` or ``auto`` (bfloat16 on GPUs that compute in it).
        compile: Whether to use ``torch.compile`` on the network's call. Checkpoints are the same with and without.
    """

    experiment: str = ""
    data: str = ""
    seed: int = 0
    epochs: int = 10
    batch: int = 64
    per_class: int = 0
    optimizer: str = "sgd"
    lr: float = 0.1
    groups: Mapping[str, float] = field(default_factory=dict)
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: Schedule = field(default_factory=Schedule)
    augment: Augment = field(default_factory=Augment)
    validation: float = 0.2
    final: str = "best"
    precision: str = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, ("sgd", "adam", "adamw"))
        check_choice("final", self.final, ("best", "last"))
        check_choice("precision", self.precision, ("auto", "float32", "float64", "bfloat16"))
        check_range("seed", self.seed, 0, LARGEST_SEED)
        check_range("epochs", self.epochs, 1)
        check_range("batch", self.batch, 1)
        check_range("lr", self.lr, 0, open_low=True)
        check_range("momentum", self.momentum, 0, 1)
        check_range("weight_decay", self.weight_decay, 0)
        check_range("validation", self.validation, 0, 0.9)
        check_range("per_class", self.per_class, 0, self.batch)
        if self.per_class and self.batch % self.per_class:
            raise ConfigError(f"batch: expected a multiple of per_class ({self.per_class}), got {self.batch}.")
        for name, factor in self.groups.items():
            check_range(f"groups[{name!r}]", factor, 0)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """A config from plain containers, e.g. JSON; unknown keys and wrong types are refused."""
        return typing.cast(Self, _from_dict(cls, settings, ""))

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, tuples as lists: what `from_dict` takes and JSON holds."""
        settled = _from_dict(type(self), dataclasses.asdict(self), "")  # 1 is 1.0 where a float is meant: one digest
        return typing.cast(dict[str, Any], json.loads(json.dumps(dataclasses.asdict(settled))))

    def override(self, assignments: Sequence[str]) -> Self:
        """A config with some settings changed, as on the command line: ``augment.crop=0.1,1``, ``groups={"a":0}``."""
        settings = self.to_dict()
        for assignment in assignments:
            key, equals, text = assignment.partition("=")
            if not equals:
                raise ConfigError(f"{assignment!r}: expected key=value, e.g. lr=0.1.")
            *path, last = key.split(".", 1 if key.startswith("groups.") else -1)  # a prefix has dots of its own
            place = settings
            for part in path:
                place = place.setdefault(part, {})  # an unknown one is refused below
                if not isinstance(place, dict):
                    raise ConfigError(f"{key}: {part} is a single value and has no {last!r}.")
            place[last] = _read(text)
        return type(self).from_dict(settings)

    def digest(self) -> str:
        """Twelve hexadecimal digits that name these settings."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def differences(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Where two configs' dictionaries differ, a line each: ``lr: 0.1 / 0.2``."""
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
        check_choice(f"setting {prefix}{key}", key, known)
    return cls(**{key: _coerce(f"{prefix}{key}", value, hints[key]) for key, value in settings.items()})


def _coerce(name: str, value: Any, hint: Any) -> Any:
    """``value`` as the type that the field wants; nothing is guessed (no "1" for 1, no True for 1)."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, hint):
            return value
        if isinstance(value, Mapping):
            return _from_dict(hint, value, f"{name}.")
    elif typing.get_origin(hint) is Mapping:
        if isinstance(value, Mapping):
            kind = typing.get_args(hint)[1]
            return {str(key): _coerce(f"{name}[{key!r}]", item, kind) for key, item in value.items()}
    elif typing.get_origin(hint) is tuple:
        kinds = typing.get_args(hint)
        if isinstance(value, list | tuple) and len(value) == len(kinds):
            return tuple(_coerce(name, item, kind) for item, kind in zip(value, kinds, strict=True))
    elif hint is float:
        if is_number(value):
            return float(value)
    elif hint is int:
        if isinstance(value, int) and is_number(value):
            return value
    elif isinstance(value, hint):
        return value
    raise ConfigError(f"{name}: expected {_describe(hint)}, got {reprlib.repr(value)}.")


def _describe(hint: Any) -> str:
    if typing.get_origin(hint) is tuple:
        return f"{len(typing.get_args(hint))} values"
    words = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}
    return words.get(hint, "settings by name")


def _read(text: str) -> Any:
    """A value as JSON, a list where there is a comma, else the text itself."""
    for attempt in (text, f"[{text}]") if "," in text else (text,):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(attempt)
    return text
