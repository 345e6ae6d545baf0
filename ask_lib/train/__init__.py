"""The training loop that every method shares. What a lesson needs stands here; importing this loads no torch yet."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ask_lib.train.augment import Augment, InputSpec
    from ask_lib.train.config import Schedule, TrainConfig
    from ask_lib.train.data import LoaderData, TensorData, stratified_split
    from ask_lib.train.distributed import Process
    from ask_lib.train.loop import Task, evaluate, fit
    from ask_lib.train.tasks.classification import classification_predict, classification_step

__all__ = [
    "Augment",
    "InputSpec",
    "LoaderData",
    "Process",
    "Schedule",
    "Task",
    "TensorData",
    "TrainConfig",
    "classification_predict",
    "classification_step",
    "evaluate",
    "fit",
    "stratified_split",
]
_MODULES = {
    "augment": ("Augment", "InputSpec"),
    "config": ("Schedule", "TrainConfig"),
    "data": ("LoaderData", "TensorData", "stratified_split"),
    "distributed": ("Process",),
    "loop": ("Task", "evaluate", "fit"),
    "tasks.classification": ("classification_predict", "classification_step"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
