"""Scene classes of the synthetic rooms."""

from __future__ import annotations

import torch

from ask_lib.train.augment import Augment, InputSpec
from ask_lib.train.config import Schedule
from ask_lib.train.data import Subset, TensorData, split
from ask_lib.train.loop import Task
from ask_lib.train.tasks import experiment
from ask_lib.train.tasks.classification import ClassificationConfig, classification_task

ROOMS_SPECS = {
    "rgb": InputSpec(kind="image", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "depth": InputSpec(kind="map", mean=(2.5,), std=(1.5,)),  # metres; round numbers, not fitted
    "hha": InputSpec(kind="levels", mean=(0.3, 0.3, 0.3), std=(0.2, 0.3, 0.2)),  # round, too
}


PRETRAIN = ClassificationConfig(
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
"""One config for all networks that ship: a difference between them is then one of data."""


@experiment(PRETRAIN)
def rooms_pretrain(config: ClassificationConfig) -> Task:
    """Scene classes of the rooms that no chapter looks at, for the networks that ship."""
    from ask_lib.data.rooms import Rooms
    from ask_scenes.rooms import LABELS, VERSION

    rooms = Rooms("pretrain", config.count + config.test_count)  # drawn once and then read from the cache
    made = {"rgb": lambda: rooms.rgb, "depth": lambda: rooms.depth[:, None], "hha": rooms.hha}
    whole = TensorData({config.modality: made[config.modality]()}, rooms.label)
    frames = torch.arange(len(whole.labels))
    train, validation = split(Subset(whole, frames[: config.count]), config.validation)
    parts = (train, validation, Subset(whole, frames[config.count :]))
    return classification_task(config, ROOMS_SPECS, len(LABELS), parts, f"rooms {VERSION}")
