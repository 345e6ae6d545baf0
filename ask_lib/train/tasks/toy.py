"""Coloured shapes, made on the fly: a data set for testing the loop, with a colour picture and a depth map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ask_lib.checks import check_choice, check_range
from ask_lib.models.small import NORMS, initialise, make_norm
from ask_lib.train.augment import Augment, InputSpec
from ask_lib.train.config import TrainConfig
from ask_lib.train.data import TensorData, split
from ask_lib.train.loop import Task
from ask_lib.train.tasks import experiment
from ask_lib.train.tasks.classification import NETWORKS, classification_predict, classification_step

SHAPES = ("disc", "square", "ring", "cross", "diamond", "bar")
VERSION = "toy-1"
SPECS = {
    "rgb": InputSpec(kind="image", mean=(0.5,), std=(0.25,)),
    "depth": InputSpec(kind="map", mean=(2.5,), std=(1.0,)),
}


def shapes(count: int, size: tuple[int, int] = (24, 32), classes: int = len(SHAPES), seed: int = 0) -> TensorData:
    """A shape a picture, before a sloping wall. Colour, place and size are drawn independently of the shape.

    Args:
        count: Number of pictures; the classes take turns.
        size: Height and width.
        classes: How many of `SHAPES`.
        seed: Other seeds, other pictures.

    Returns:
        Inputs ``rgb`` uint8 ``(N, 3, H, W)`` and ``depth`` ``(N, 1, H, W)``, metres.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes

    def draw(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    inside = _masks(labels, size, draw(0.22, 0.32, 1, 1) * min(size), draw(-0.15, 0.15, 2))[:, None]  # (N, 1, H, W)
    back, front = draw(0.0, 0.45, 3, 1, 1), draw(0.55, 1.0, 3, 1, 1)
    swap = draw(0, 1, 1, 1, 1) < 0.5  # dark on light as often as light on dark
    rgb = torch.where(inside ^ swap, front, back) + 0.03 * torch.randn(count, 3, *size, generator=generator)
    slope = draw(-0.5, 0.5, 1, 1, 1) * torch.linspace(-1, 1, size[1])
    depth = torch.where(inside, draw(1.0, 2.0, 1, 1, 1), draw(3.0, 4.0, 1, 1, 1) + slope)
    return TensorData({"rgb": (rgb.clamp(0, 1) * 255).round().to(torch.uint8), "depth": depth}, labels)


def _masks(labels: torch.Tensor, size: tuple[int, int], radius: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    height, width = size
    y = torch.arange(height)[:, None] - (height - 1) / 2 - (offset[:, 0] * height)[:, None, None]  # (N, H, 1)
    x = torch.arange(width)[None] - (width - 1) / 2 - (offset[:, 1] * width)[:, None, None]  # (N, 1, W)
    y, x = (y / radius).abs(), (x / radius).abs()
    distance, largest, least = torch.hypot(x, y), torch.maximum(x, y), torch.minimum(x, y)
    masks = torch.stack(
        [
            distance < 1,
            largest < 0.85,
            (distance < 1) & (distance > 0.6),
            (least < 0.3) & (largest < 1),
            x + y < 1,
            (y < 0.35) & (x < 1),
        ]
    )  # (6, N, H, W)
    return masks[labels, torch.arange(len(labels))]


class TinyNetwork(nn.Sequential):
    """Three convolutions, an average, a linear layer: enough for shapes, and quick.

    Args:
        num_classes: Number of classes.
        in_channels: 3 for RGB, 1 for depth.
        norm: See `make_norm`; ``none`` lets a picture's logits depend on it alone.
        width: Channels of the first layer; a multiple of eight.
    """

    def __init__(self, num_classes: int, in_channels: int = 3, norm: str = "none", width: int = 16) -> None:
        layers: list[nn.Module] = []
        channels = in_channels
        for out in (width, 2 * width, 4 * width):
            layers += [nn.Conv2d(channels, out, 3, 2, 1), make_norm(norm, out), nn.ReLU()]
            channels = out
        super().__init__(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, num_classes))
        initialise(self)


@dataclass(frozen=True, kw_only=True)
class ToyConfig(TrainConfig):
    """Settings of `toy`.

    Attributes:
        modality: ``rgb`` or ``depth``.
        network: ``tiny``, ``vgg`` or ``resnet``.
        norm: The network's normalisation.
        count: Pictures to train and validate on.
        test_count: Pictures to test on.
    """

    modality: str = "rgb"
    network: str = "tiny"
    norm: str = "none"
    count: int = 600
    test_count: int = 240

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("modality", self.modality, SPECS)
        check_choice("network", self.network, ["tiny", *NETWORKS])
        check_choice("norm", self.norm, NORMS)
        check_range("count", self.count, 1)
        check_range("test_count", self.test_count, 0)


@experiment(
    ToyConfig(data=VERSION, epochs=20, batch=40, optimizer="adam", lr=1e-2, augment=Augment(flip=0.5, shift=0.06))
)
def toy(config: ToyConfig) -> Task:
    """Coloured shapes made on the fly: trains in seconds, needs no data."""
    whole = shapes(config.count)
    train, validation = split(whole, config.validation)
    network = {"tiny": TinyNetwork, **NETWORKS}[config.network]
    return Task(
        network=network(len(SHAPES), whole.inputs[config.modality].shape[1], config.norm),
        step=classification_step(config.modality),
        predict=classification_predict(config.modality),
        num_classes=len(SHAPES),
        train=train,
        validation=validation,
        test=shapes(config.test_count, seed=1),
        specs={config.modality: SPECS[config.modality]},
        data_version=VERSION,
    )
