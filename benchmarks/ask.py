"""A training step of ASK beside the bare two-stream step: what its head costs. ``python -m benchmarks ask`` prints it.

The bare step is what one begins with: two encoders, the average of their maps, one linear layer, cross-entropy. Both
steps have the same encoders, the same pictures and Adam.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from ask_lib.models.ask import ASKOptions, ask
from ask_lib.models.two_stream import TwoStream, two_stream
from benchmarks.alternate import Timing, alternate

CLASSES = 10


class Bare(nn.Module):
    """Both streams' averages, classified together."""

    def __init__(self, streams: TwoStream, channels: int) -> None:
        super().__init__()
        self.streams, self.classify = streams, nn.Linear(2 * channels, CLASSES)

    def loss(self, rgb: torch.Tensor, depth: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Cross-entropy."""
        averages = [maps.mean(dim=(2, 3)) for maps in self.streams(rgb, depth)]
        return functional.cross_entropy(self.classify(torch.cat(averages, dim=1)), labels)


def compare(backbone: str, batch: int, side: int, rounds: int, device: str) -> list[Timing]:
    """The bare step and ASK's, with two scales, on the same random pictures; both begin with the same encoders."""
    whole = ask(backbone, CLASSES, options=ASKOptions(keypoints=(16, 4)))
    bare = Bare(two_stream(backbone), whole.head.channels)
    shape = (batch, 3, side, side)
    rgb, depth = (torch.rand(shape).to(device=device, memory_format=torch.channels_last) for _ in range(2))
    labels = (torch.arange(batch) // 2 % CLASSES).to(device)  # two of a class: triplets, and others to tell them from
    for network in (bare, whole):
        network.to(device).to(memory_format=torch.channels_last).train()
    torch.testing.assert_close(whole.streams(rgb, depth), bare.streams(rgb, depth))
    losses: dict[str, tuple[nn.Module, Callable[[], torch.Tensor]]] = {
        "two encoders": (bare, lambda: bare.loss(rgb, depth, labels)),
        "ASK": (whole, lambda: whole.head.loss(whole(rgb, depth), labels).total),
    }
    return alternate({name: _step(*each) for name, each in losses.items()}, rounds, warm_up=1)


def _step(network: nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(loss())
        optimizer.step()

    return step
