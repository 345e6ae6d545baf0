"""A network in two halves: images to the last maps, last maps to logits; ``network(x)`` is one after the other.

``forward_features`` and ``forward_head`` are timm's names. Networks that have the two methods are taken as they are;
for the book's own and torchvision's CNNs they are put together here from the network's children.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ask_lib.errors import LayerNotFoundError

Head = Callable[[Any, torch.Tensor], torch.Tensor]


def forward_features(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The last maps ``(B, C, H, W)``, after their activation; a `LayerNotFoundError` if their end is not known."""
    if _own_methods(network):
        return network.forward_features(images)  # type: ignore[operator,no-any-return]
    last = last_child(network)
    x = network._transform_input(images) if hasattr(network, "_transform_input") else images  # type: ignore[operator]
    for name, child in network.named_children():
        x = child(x)
        if name == last:
            break
    return functional.relu(x) if _kind(network) == "DenseNet" else x  # torchvision's calls it as a function


def forward_head(network: nn.Module, maps: torch.Tensor) -> torch.Tensor:
    """Logits ``(B, num_classes)`` of the last maps ``(B, C, H, W)``; raises as `forward_features`."""
    if _own_methods(network):
        return network.forward_head(maps)  # type: ignore[operator,no-any-return]
    _, head = HALVES[_kind(network)]
    return head(network, maps)


def last_child(network: nn.Module) -> str:
    """The child that gives a network's last maps; raises as `forward_features`."""
    return HALVES[_kind(network)][0]


def _own_methods(network: nn.Module) -> bool:
    return hasattr(network, "forward_features") and hasattr(network, "forward_head")


def _kind(network: nn.Module) -> str:
    for kind in type(network).__mro__:
        if kind.__name__ in HALVES:
            return kind.__name__
    raise LayerNotFoundError(
        f"{type(network).__name__}: it is not known where its maps end. Known are {', '.join(HALVES)}, and networks "
        "with methods forward_features and forward_head."
    )


def _pooled(network: Any, maps: torch.Tensor) -> torch.Tensor:
    return network.avgpool(maps).flatten(1)  # type: ignore[no-any-return]


def _mean(network: Any, maps: torch.Tensor) -> torch.Tensor:
    return functional.adaptive_avg_pool2d(maps, 1).flatten(1)


def _then(pool: Head, *names: str) -> Head:
    """The head that pools and then runs these children."""

    def head(network: Any, maps: torch.Tensor) -> torch.Tensor:
        x = pool(network, maps)
        for name in names:
            x = getattr(network, name)(x)
        return x

    return head


# A class's name to the child that gives its last maps (children run in their order), and to the rest.
HALVES: dict[str, tuple[str, Head]] = {
    "SmallVGG": ("pool5", _then(_pooled, "fc6", "relu6", "fc7", "relu7", "fc8")),
    "SmallResNet": ("layer4", _then(_pooled, "fc")),
    "ResNet": ("layer4", _then(_pooled, "fc")),
    "SqueezeNet": ("features", lambda network, maps: network.classifier(maps).flatten(1)),
    "VGG": ("features", _then(_pooled, "classifier")),
    "AlexNet": ("features", _then(_pooled, "classifier")),
    "ShuffleNetV2": ("conv5", _then(lambda _, maps: maps.mean([2, 3]), "fc")),
    "DenseNet": ("features", _then(_mean, "classifier")),
    "GoogLeNet": ("inception5b", _then(_pooled, "dropout", "fc")),
    "Inception3": ("Mixed_7c", _then(_pooled, "dropout", "fc")),
    "MobileNetV2": ("features", _then(_mean, "classifier")),
    "MobileNetV3": ("features", _then(_pooled, "classifier")),
    "EfficientNet": ("features", _then(_pooled, "classifier")),
    "ConvNeXt": ("features", lambda network, maps: network.classifier(network.avgpool(maps))),
    "RegNet": ("trunk_output", _then(_pooled, "fc")),
    "MNASNet": ("layers", _then(lambda _, maps: maps.mean([2, 3]), "classifier")),
}
