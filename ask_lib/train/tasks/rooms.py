"""Scene classes of the synthetic rooms."""

from __future__ import annotations

import torch

from ask_lib.train.augment import Augment, InputSpec
from ask_lib.train.config import Schedule
from ask_lib.train.data import Data, Subset, TensorData, split
from ask_lib.train.loop import Task
from ask_lib.train.tasks import experiment
from ask_lib.train.tasks.classification import ClassificationConfig, classification_task

ROOMS_SPECS = {
    "rgb": InputSpec(kind="image", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "depth": InputSpec(kind="map", mean=(2.5,), std=(1.5,)),  # metres; round numbers, not fitted
}


@experiment(
    ClassificationConfig(
        epochs=14,
        lr=0.05,
        weight_decay=5e-4,
        schedule=Schedule(kind="cosine", warmup=1),
        augment=Augment(flip=0.5, shift=0.06, erase=0.25, brightness=0.2, contrast=0.2),
    )
)
def rooms_scene(config: ClassificationConfig) -> Task:
    """Scene classes of the synthetic rooms, one network on RGB or on depth."""
    whole, test = _rooms("train", config.count), _rooms("test", config.test_count)
    train, validation = split(whole, config.validation)
    return _rooms_task(config, train, validation, test)


@experiment(
    ClassificationConfig(
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
def rooms_pretrain(config: ClassificationConfig) -> Task:
    """Scene classes of the rooms that no chapter looks at, for the networks that ship."""
    whole = _rooms("pretrain", config.count + config.test_count)
    frames = torch.arange(len(whole.labels))
    train, validation = split(Subset(whole, frames[: config.count]), config.validation)
    return _rooms_task(config, train, validation, Subset(whole, frames[config.count :]))


def _rooms_task(config: ClassificationConfig, train: Data, validation: Data, test: Data) -> Task:
    from ask_scenes.rooms import LABELS, VERSION

    version = f"rooms {VERSION}"
    return classification_task(config, ROOMS_SPECS, len(LABELS), (train, validation, test), version)


def _rooms(part: str, count: int) -> TensorData:
    """Frames of a split, drawn once and then read from the cache."""
    from ask_lib.data.rooms import Rooms

    rooms = Rooms(part, count)
    inputs = {"rgb": torch.as_tensor(rooms.rgb), "depth": torch.as_tensor(rooms.depth).float()[:, None]}
    return TensorData(inputs, torch.as_tensor(rooms.label).long())
