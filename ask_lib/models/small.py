"""The two small networks that ship with the book, and the files that they ship in.

Both are made for frames of 160 x 120 pixels (any size above about 48 works) and keep what the papers' networks have:
a last map of at least 7 cells on the short side, and about twice that at the stage before.

| | stride | size for (120, 160) |
| --- | --- | --- |
| `SmallVGG`: conv1_1, pool1, pool2 | 2, 4, 8 | (60, 80), (30, 40), (15, 20) |
| pool3, pool4, relu5_2 | 8 | (15, 20) |
| pool5 | 16 | (7, 10) |
| `SmallResNet`: stem, layer1 | 4 | (30, 40) |
| layer2, layer3 | 8 | (15, 20) |
| layer4 | 16 | (8, 10) |
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ask_lib.checks import check_choice, check_shape
from ask_lib.errors import WeightsError
from ask_lib.files import atomic_path, read_object, sha256, write_json

NORMS = ("batch", "none")


def make_norm(norm: str, channels: int) -> nn.Module:
    """The normalisation after a convolution: ``batch``, or ``none`` (nothing)."""
    check_choice("norm", norm, NORMS)
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.Identity()


class SmallVGG(nn.Sequential):
    """A small VGG: children named as VGG-11's layers, every activation a child of its own and not in place.

    Departs from VGG: conv1_1 has stride 2 and pool3 and pool4 are 3 x 3 with stride 1 (as DeepLab's), so that pool5
    keeps stride 16; an adaptive average (``avgpool``) to 2 x 3 cells before fc6 lets any input size through. With
    ``norm="batch"`` a child ``norm1_1`` and so on follows each convolution; `fold_batch_norm` takes them out again.

    Args:
        num_classes: Number of classes.
        in_channels: 3 for RGB or HHA, 1 for depth.
        norm: One of `NORMS`.
    """

    LAYOUT = ((1, 16), (1, 24), (2, 32), (2, 48), (2, 96))  # VGG-11's convolutions a stage, and their channels
    HIDDEN = 256  # width of fc6 and fc7

    def __init__(self, num_classes: int, in_channels: int = 3, norm: str = "batch") -> None:
        self.in_channels, self.norm, self.num_classes = in_channels, norm, num_classes
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels = in_channels
        for stage, (depth, width) in enumerate(self.LAYOUT, start=1):
            for unit in range(1, depth + 1):
                stride, bias = 2 if stage == 1 else 1, norm == "none"
                layers[f"conv{stage}_{unit}"] = nn.Conv2d(channels, width, 3, stride, 1, bias=bias)
                if norm != "none":
                    layers[f"norm{stage}_{unit}"] = make_norm(norm, width)
                layers[f"relu{stage}_{unit}"] = nn.ReLU()
                channels = width
            keeps_size = stage in (3, 4)
            layers[f"pool{stage}"] = nn.MaxPool2d(3, 1, 1) if keeps_size else nn.MaxPool2d(2, 2)
        layers["avgpool"] = nn.AdaptiveAvgPool2d((2, 3))
        layers["flatten"] = nn.Flatten()
        for name, width in (("6", channels * 6), ("7", self.HIDDEN)):
            layers[f"fc{name}"] = nn.Linear(width, self.HIDDEN)
            layers[f"relu{name}"] = nn.ReLU()
        layers["fc8"] = nn.Linear(self.HIDDEN, num_classes)
        super().__init__(layers)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, num_classes)`` of pictures ``(B, in_channels, H, W)``."""
        check_shape("images", x, ("B", self.in_channels, "H", "W"))
        return super().forward(x)  # type: ignore[no-any-return,no-untyped-call]


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions, from ``channels`` to ``width``, and a skip; the output is after the last activation."""

    def __init__(self, channels: int, width: int, stride: int, norm: str) -> None:
        super().__init__()
        bias = norm == "none"
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=bias)
        self.norm1 = make_norm(norm, width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=bias)
        self.norm2 = make_norm(norm, width)
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            self.skip = nn.Sequential(
                OrderedDict(conv=nn.Conv2d(channels, width, 1, stride, bias=bias), norm=make_norm(norm, width))
            )
        self.relu2 = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, channels, H, W)`` to ``(B, width, H / stride, W / stride)``."""
        y = self.relu1(self.norm1(self.conv1(x)))
        return self.relu2(self.norm2(self.conv2(y)) + self.skip(x))  # type: ignore[no-any-return]


class SmallResNet(nn.Module):
    """A small ResNet: stem, layer1 ... layer4 (one block each), avgpool, fc; arguments as for `SmallVGG`."""

    WIDTHS = (16, 32, 64, 128)  # channels of the four layers; the stem has the first

    def __init__(self, num_classes: int, in_channels: int = 3, norm: str = "batch") -> None:
        super().__init__()
        self.in_channels, self.norm, self.num_classes = in_channels, norm, num_classes
        first, second, third, fourth = self.WIDTHS
        bias = norm == "none"
        self.stem = nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(in_channels, first, 3, 2, 1, bias=bias),
                norm=make_norm(norm, first),
                relu=nn.ReLU(),
                pool=nn.MaxPool2d(2, 2),
            )
        )
        self.layer1 = ResidualBlock(first, first, 1, norm)
        self.layer2 = ResidualBlock(first, second, 2, norm)
        self.layer3 = ResidualBlock(second, third, 1, norm)
        self.layer4 = ResidualBlock(third, fourth, 2, norm)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(fourth, num_classes)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, num_classes)`` of pictures ``(B, in_channels, H, W)``."""
        check_shape("images", x, ("B", self.in_channels, "H", "W"))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        return self.fc(self.avgpool(maps).flatten(1))  # type: ignore[no-any-return]


def initialise(network: nn.Module) -> None:
    """He's initialisation for convolutions and linear layers; a residual block starts as its skip."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, ResidualBlock) and isinstance(module.norm2, nn.BatchNorm2d):
            nn.init.zeros_(module.norm2.weight)


def fold_batch_norm(network: SmallVGG) -> SmallVGG:
    """The same function without normalisation layers: each scale and shift goes into its convolution.

    What ships is then a plain VGG (convolution, activation, pool), as the papers' networks are: a layer's
    inputs are connected to its outputs by one weight each.

    Returns:
        A new network with ``norm="none"``, in evaluation mode.

    Raises:
        ChoiceError: If the network's norm is not ``batch``.
    """
    check_choice("network.norm", network.norm, ("batch",))
    plain = SmallVGG(network.num_classes, network.in_channels, "none")
    state = network.state_dict()
    for name, norm in network.named_children():
        if isinstance(norm, nn.BatchNorm2d):
            conv = name.replace("norm", "conv")
            state[f"{conv}.weight"], state[f"{conv}.bias"] = _fold(state[f"{conv}.weight"], norm)
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    return plain.to(next(network.parameters()).device).eval()


def _fold(weight: torch.Tensor, norm: Any) -> tuple[torch.Tensor, torch.Tensor]:
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)  # (C,)
    bias = norm.bias.double() - norm.running_mean.double() * scale
    return (weight.double() * scale[:, None, None, None]).to(weight.dtype).detach(), bias.to(weight.dtype).detach()


def save_safetensors(network: nn.Module, path: Path, card: Mapping[str, Any]) -> dict[str, Any]:
    """Write a network's weights, ``NAME.safetensors``, and beside them a card, ``NAME.json``, that holds their hash.

    Both files appear whole or not at all. The card comes last: weights without their card, or with an older one,
    are refused by `read_card`.

    Returns:
        The card as written, with ``sha256``, ``bytes``, ``parameters`` and ``architecture`` added.
    """
    from safetensors.torch import save_file

    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with atomic_path(path) as part:
        save_file(state, part, metadata={"format": "pt"})
    full = {
        **card,
        "architecture": type(network).__name__,
        "parameters": sum(p.numel() for p in network.parameters()),
        "bytes": path.stat().st_size,
        "sha256": sha256(path),
    }
    write_json(path.with_suffix(".json"), full)
    return full


def read_card(path: Path) -> dict[str, Any]:
    """The card ``NAME.json`` beside ``NAME.safetensors``; a `WeightsError` if its hash is not the file's."""
    card = read_object(path.with_suffix(".json"), "a weight file's card", WeightsError)
    try:
        found = sha256(path)
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}. `make weights` trains the networks again.") from error
    if found != card.get("sha256"):
        raise WeightsError(f"{path}: its SHA-256 is not the one in its card. Take both files from one place.")
    return card
