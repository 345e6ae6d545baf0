"""Coloured shapes, made on the fly: a data set for testing the loop, with a colour picture and a depth map."""

from __future__ import annotations

import torch

from ask_lib.train.augment import Augment, InputSpec
from ask_lib.train.data import TensorData, split
from ask_lib.train.loop import Task
from ask_lib.train.tasks import experiment
from ask_lib.train.tasks.classification import ClassificationConfig, classification_task

SHAPES = ("disc", "square", "ring", "cross", "diamond", "bar")
SIZE = (24, 32)
VERSION = "toy-1"
SPECS = {
    "rgb": InputSpec(kind="image", mean=(0.5,), std=(0.25,)),
    "depth": InputSpec(kind="map", mean=(2.5,), std=(1.0,)),
}


def shapes(count: int, classes: int = len(SHAPES), seed: int = 0) -> TensorData:
    """A shape a picture, before a sloping wall; the first ``classes`` of `SHAPES` take turns.

    Colour, place and size are drawn independently of the shape.

    Returns:
        Inputs ``rgb`` uint8 ``(N, 3, 24, 32)`` and ``depth`` ``(N, 1, 24, 32)``, metres.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes

    def draw(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    inside = _masks(labels, draw(0.22, 0.32, 1, 1) * min(SIZE), draw(-0.15, 0.15, 2))[:, None]  # (N, 1, H, W)
    back, front = draw(0.0, 0.45, 3, 1, 1), draw(0.55, 1.0, 3, 1, 1)
    swap = draw(0, 1, 1, 1, 1) < 0.5  # dark on light as often as light on dark
    rgb = torch.where(inside ^ swap, front, back) + 0.03 * torch.randn(count, 3, *SIZE, generator=generator)
    slope = draw(-0.5, 0.5, 1, 1, 1) * torch.linspace(-1, 1, SIZE[1])
    depth = torch.where(inside, draw(1.0, 2.0, 1, 1, 1), draw(3.0, 4.0, 1, 1, 1) + slope)
    return TensorData({"rgb": (rgb.clamp(0, 1) * 255).round().to(torch.uint8), "depth": depth}, labels)


def _masks(labels: torch.Tensor, radius: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    height, width = SIZE
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


@experiment(
    ClassificationConfig(
        data=VERSION,
        epochs=20,
        batch=40,
        optimizer="adam",
        lr=1e-2,
        augment=Augment(flip=0.5, shift=0.06),
        network="tiny",
        norm="none",
        count=600,
        test_count=240,
    )
)
def toy(config: ClassificationConfig) -> Task:
    """Coloured shapes made on the fly: trains in seconds, needs no data."""
    parts = (*split(shapes(config.count), config.validation), shapes(config.test_count, seed=1))
    return classification_task(config, SPECS, len(SHAPES), parts, VERSION)
