"""Scene classes of the synthetic rooms."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ask_lib.checks import check_choice, check_range
from ask_lib.models.small import NORMS
from ask_lib.train.augment import Augment, InputSpec
from ask_lib.train.config import Schedule, TrainConfig
from ask_lib.train.data import Data, Subset, TensorData, split
from ask_lib.train.loop import Task
from ask_lib.train.tasks import experiment
from ask_lib.train.tasks.classification import NETWORKS, classification_predict, classification_step

ROOMS_SPECS = {
    "rgb": InputSpec(kind="image", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "depth": InputSpec(kind="map", mean=(2.5,), std=(1.5,)),  # metres; round numbers, not fitted
}


@dataclass(frozen=True, kw_only=True)
class RoomsConfig(TrainConfig):
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
        check_choice("network", self.network, NETWORKS)
        check_choice("norm", self.norm, NORMS)
        check_range("count", self.count, 1)
        check_range("test_count", self.test_count, 0)


@experiment(
    RoomsConfig(
        epochs=14,
        lr=0.05,
        weight_decay=5e-4,
        schedule=Schedule(kind="cosine", warmup=1),
        augment=Augment(flip=0.5, shift=0.06, erase=0.25, brightness=0.2, contrast=0.2),
    )
)
def rooms_scene(config: RoomsConfig) -> Task:
    """Scene classes of the synthetic rooms, one network on RGB or on depth."""
    whole, test = _rooms("train", config.count), _rooms("test", config.test_count)
    train, validation = split(whole, config.validation)
    return _rooms_task(config, train, validation, test)


@experiment(
    RoomsConfig(
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
def rooms_pretrain(config: RoomsConfig) -> Task:
    """Scene classes of the rooms that no chapter looks at, for the networks that ship."""
    whole = _rooms("pretrain", config.count + config.test_count)
    frames = torch.arange(len(whole.labels))
    train, validation = split(Subset(whole, frames[: config.count]), config.validation)
    return _rooms_task(config, train, validation, Subset(whole, frames[config.count :]))


def _rooms_task(config: RoomsConfig, train: Data, validation: Data, test: Data) -> Task:
    from ask_scenes.rooms import LABELS, VERSION

    spec = ROOMS_SPECS[config.modality]
    return Task(
        network=NETWORKS[config.network](len(LABELS), len(spec.mean), config.norm),
        step=classification_step(config.modality),
        predict=classification_predict(config.modality),
        num_classes=len(LABELS),
        train=train,
        validation=validation,
        test=test,
        specs={config.modality: spec},
        data_version=f"rooms {VERSION}",
    )


def _rooms(part: str, count: int) -> TensorData:
    """Frames of a split, drawn once and then read from the cache."""
    from ask_lib.data.rooms import Rooms

    rooms = Rooms(part, count)
    inputs = {"rgb": torch.as_tensor(rooms.rgb), "depth": torch.as_tensor(rooms.depth).float()[:, None]}
    return TensorData(inputs, torch.as_tensor(rooms.label).long())
