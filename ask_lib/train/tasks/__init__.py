"""The experiments, one function each, and the tables of them. A method's are in ``tasks/METHOD.py``.

A new one is a function under ``@experiment(Config(...))`` there, and a line in `EXPERIMENTS`: help loads no torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from ask_lib.train.config import TrainConfig
    from ask_lib.train.loop import Task

    # Imported by name below: fingerprints follow this line.
    from ask_lib.train.tasks import ask, objects, rooms, toy  # noqa: F401

C = TypeVar("C", bound="TrainConfig")

EXPERIMENTS: dict[str, tuple[str, str]] = {
    "toy": ("toy", "Coloured shapes made on the fly: trains in seconds, needs no data."),
    "objects_pretrain": ("objects", "16 object classes that judge nothing, 300 frames each, for a network that ships."),
    "rooms_pretrain": ("rooms", "Scene classes of the rooms that no chapter looks at, for the networks that ship."),
    "ask_nyudv2": ("ask", "ASK on NYU Depth v2, with its paper's settings; start=RUN/best.pt goes on from SUN RGB-D."),
    "ask_sunrgbd": ("ask", "ASK on SUN RGB-D, with its paper's settings."),
}
"""Name to the file that has the function, and what it is."""


@dataclass(frozen=True)
class Row:
    """A table's row: an experiment's name, and ``key=value`` each that is changed in its config."""

    experiment: str
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A title of one line, rows by label, and the seeds that each is run with."""

    title: str
    rows: Mapping[str, Row]
    seeds: tuple[int, ...] = (0, 1, 2)


TABLES: dict[str, Table] = {
    "toy": Table(
        "Coloured shapes: augmentation on and off",
        {
            "plain": Row("toy", ("augment.flip=0", "augment.shift=0")),
            "augmented": Row("toy"),
            "augmented, depth": Row("toy", ("modality=depth",)),
        },
    )
}


@dataclass(frozen=True)
class Experiment:
    """A name, its default settings, and the function that makes the task of some settings.

    Seed before you call ``build``; `ask_lib.train.run.build` does.
    """

    name: str
    config: TrainConfig
    build: Callable[[Any], Task]


def experiment(config: C) -> Callable[[Callable[[C], Task]], Experiment]:
    """Make a function an experiment with these default settings."""
    return lambda build: Experiment(build.__name__, replace(config, experiment=build.__name__), build)


def find_experiment(name: str) -> Experiment:
    """The experiment of that name; ChoiceError offers the nearest one."""
    from ask_lib.checks import check_choice

    check_choice("experiment", name, EXPERIMENTS)
    found = getattr(importlib.import_module(f"{__name__}.{EXPERIMENTS[name][0]}"), name)
    assert isinstance(found, Experiment)
    return found


def find_table(name: str) -> Table:
    """The table of that name; ChoiceError offers the nearest one."""
    from ask_lib.checks import check_choice

    check_choice("table", name, TABLES)
    return TABLES[name]
