"""What plain classification with one input needs: settings, step, prediction, the networks to choose from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ask_lib.checks import check_choice, check_range
from ask_lib.models.small import NORMS, SmallResNet, SmallVGG, initialise, make_norm
from ask_lib.train.augment import InputSpec
from ask_lib.train.config import TrainConfig
from ask_lib.train.data import Batch, Data
from ask_lib.train.loop import Step, Task


def tiny(num_classes: int, in_channels: int = 3, norm: str = "none") -> nn.Sequential:
    """Three convolutions, an average, a linear layer: enough for shapes, and quick. See `make_norm` for ``norm``."""
    layers: list[nn.Module] = []
    channels = in_channels
    for out in (16, 32, 64):
        layers += [nn.Conv2d(channels, out, 3, 2, 1), make_norm(norm, out), nn.ReLU()]
        channels = out
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, num_classes))
    initialise(network)
    return network


NETWORKS: dict[str, Callable[..., nn.Module]] = {"tiny": tiny, "vgg": SmallVGG, "resnet": SmallResNet}


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig(TrainConfig):
    """Settings of an experiment that classifies RGB, depth or HHA with a small network."""

    modality: str = "rgb"  # or depth, hha: where the data have it
    network: str = "resnet"  # one of NETWORKS
    norm: str = "batch"  # one of NORMS
    count: int = 1500  # pictures to train and validate on
    test_count: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("modality", self.modality, ("rgb", "depth", "hha"))
        check_choice("network", self.network, NETWORKS)
        check_choice("norm", self.norm, NORMS)
        check_range("count", self.count, 1)
        check_range("test_count", self.test_count, 0)


def classification_task(
    config: ClassificationConfig,
    specs: Mapping[str, InputSpec],
    num_classes: int,
    parts: tuple[Data, Data, Data],
    data_version: str,
) -> Task:
    """The task of these settings; ``parts`` are the data to train, validate and test on."""
    check_choice("modality", config.modality, specs)
    train, validation, test = parts
    return Task(
        network=NETWORKS[config.network](num_classes, 1 if config.modality == "depth" else 3, config.norm),
        step=classification_step(config.modality),
        predict=classification_predict(config.modality),
        num_classes=num_classes,
        train=train,
        validation=validation,
        test=test,
        specs={config.modality: specs[config.modality]},
        data_version=data_version,
    )


def classification_step(modality: str) -> Step:
    """The plain step: cross-entropy of a network that takes one input."""

    def step(network: Any, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        return {"main": functional.cross_entropy(network(batch.inputs[modality]), batch.labels)}

    return step


def classification_predict(modality: str) -> Callable[[Any, dict[str, torch.Tensor]], torch.Tensor]:
    """Logits of a network that takes one input."""
    return lambda network, inputs: network(inputs[modality])
