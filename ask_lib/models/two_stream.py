"""Two encoders, one for RGB and one for depth (as HHA): two calls, two maps of one layer.

An encoder is the part of a network up to its last maps, a plain ``nn.Sequential``. It can be cut: run the lower part
once, keep its maps, and train the upper part on them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from ask_lib.errors import LayerNotFoundError
from ask_lib.models.backbones import Triple, load_backbone
from ask_lib.models.features import find_layers
from ask_lib.models.forward import last_child

HHA_MEAN: Triple = (0.5241, 0.3707, 0.4655)
HHA_STD: Triple = (0.2272, 0.2465, 0.1844)
"""Of HHA in 0..1, as the ASK authors' framework (loganxiong/RGBD-Scene-Recognition.pytorch) normalises it."""


class TwoStream(nn.Module):
    """Images of both modalities, or maps where the encoders are upper parts, to the last maps of each.

    Args:
        rgb: Encoder of RGB.
        depth: Encoder of HHA; another module, or the same one to share its weights.
        size: (H, W) that the maps are averaged to; none leaves them. SqueezeNet's 13 x 13 become the paper's 7 x 7.
    """

    def __init__(self, rgb: nn.Module, depth: nn.Module, size: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.rgb, self.depth, self.size = rgb, depth, size

    def forward(self, rgb: torch.Tensor, depth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Two ``(B, 3, h, w)``, normalised, to two ``(B, C, H, W)``."""
        maps = self.rgb(rgb), self.depth(depth)
        if self.size is None:
            return maps
        return functional.adaptive_avg_pool2d(maps[0], self.size), functional.adaptive_avg_pool2d(maps[1], self.size)


def two_stream(
    name: str,
    rgb: str | Path = "none",
    depth: str | Path | None = None,
    *,
    size: tuple[int, int] | None = None,
) -> TwoStream:
    """Both streams of one backbone, e.g. ``two_stream("resnet18", "imagenet")``.

    Args:
        name: As of `ask_lib.models.backbones.load_backbone`; so are the weights, ``rgb`` and ``depth``.
        rgb: Weights of the RGB stream.
        depth: Weights of the depth stream; none takes the same as RGB, as the paper does.
        size: As of `TwoStream`.
    """
    sources = rgb, rgb if depth is None else depth
    first, second = (encoder(load_backbone(name, weights, seed=seed).network) for seed, weights in enumerate(sources))
    return TwoStream(first, second, size)


def encoder(network: nn.Module) -> nn.Sequential:
    """A network up to its last maps; its modules are the network's own, not copies.

    Raises:
        LayerNotFoundError: If it is not a chain of modules whose end is known: ResNet, SqueezeNet, VGG and the book's
            own are.
    """
    return _chained(_stages(network))


def cut_encoder(network: nn.Module, layer: str) -> tuple[nn.Sequential, nn.Sequential]:
    """`encoder` in two: up to and with ``layer``, e.g. ``features.11`` or ``layer3``, and what follows it.

    Raises:
        LayerNotFoundError: As of `encoder`, or if there is no cut at that layer.
    """
    find_layers(network, [layer])
    stages = list(_stages(network))
    ends = [number for number, (name, _) in enumerate(stages, 1) if name == layer or name.startswith(f"{layer}.")]
    if not ends:
        names = ", ".join(name for name, _ in stages)
        raise LayerNotFoundError(f"layer {layer!r}: no place to cut {type(network).__name__}. There are {names}.")
    return _chained(stages[: ends[-1]]), _chained(stages[ends[-1] :])


def _stages(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Children up to the last maps, plain sequences of them opened."""
    last = last_child(network)
    if hasattr(network, "_transform_input"):  # GoogLeNet and Inception begin with a function
        raise LayerNotFoundError(f"{type(network).__name__} is no chain of modules. Choose a ResNet or a SqueezeNet.")
    for name, child in network.named_children():
        if type(child) is nn.Sequential:
            yield from ((f"{name}.{inner}", module) for inner, module in child.named_children())
        else:
            yield name, child
        if name == last:
            return


def _chained(stages: Iterable[tuple[str, nn.Module]]) -> nn.Sequential:
    return nn.Sequential(OrderedDict((name.replace(".", "_"), module) for name, module in stages))
