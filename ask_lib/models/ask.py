"""ASK: global features of two streams and local ones at their keypoints, classified together.

`ASKHead` starts from maps, so that they can be kept; `ASK` puts it on a `TwoStream`. Equations are tagged as in
`ask_lib.methods.dlfs`. What the paper leaves open is as in the first author's framework
(loganxiong/RGBD-Scene-Recognition.pytorch), which has no local features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from ask_lib.checks import check_choice, check_range, check_shape
from ask_lib.errors import ConfigError
from ask_lib.methods.descriptors import l2_normalize, to_descriptors
from ask_lib.methods.dlfs import (
    DLFS,
    GROUPINGS,
    MINING,
    POINTS,
    Selection,
    VariationalInformation,
    modal_correlation_loss,
    triplet_correlation_loss,
)
from ask_lib.models.features import evaluating
from ask_lib.models.two_stream import TwoStream, two_stream

WEIGHTS = {"main": 1.0, "auxiliary": 1.0, "information": 0.1, "correlation": 0.1}
"""Of the terms of [ASK-16]. With ``main`` at 0 the auxiliary logits are those of two networks that train apart."""


@dataclass(frozen=True, kw_only=True)
class ASKOptions:
    """What the head has; the defaults are the paper's at one scale.

    Attributes:
        keypoints: K of the first and of the second scale, 0 for none: (16, 4) is the paper's best, (0, 0) global only.
        local_only: No global features and no auxiliary loss, Table I's "Local".
        points: Where the points come from, as of `ask_lib.methods.dlfs.DLFS`; so are ``grouping`` and ``temperature``.
        normalize: Whether each selected descriptor is scaled to unit length before the classifier.
        local_width: Numbers that a linear layer makes of each selected descriptor before the classifier, one layer a
            modality and scale; 0 leaves all C.
        average: The logits are the mean of three heads, as in the authors' framework.
        attention: A `NonLocal` block on each stream's maps: the rival.
        kernel: Of the convolution to the second scale, stride 2, no padding: 3 makes 3 x 3 cells of 7 x 7. The paper's
            1 would make 4 x 4, where it prints 3 x 3.
        width: Of the global features; 0: three quarters of the channels.
        dropout: Before and after their linear layer.
        local_dropout: On the local features; above 0 it is ours.
        floor: As of `ask_lib.methods.dlfs.VariationalInformation`.
        mining: As of `ask_lib.methods.dlfs.triplet_correlation_loss`; so are ``margin`` and ``flat``.
    """

    keypoints: tuple[int, int] = (16, 0)
    local_only: bool = False
    points: str = "both"
    grouping: str = "sum"
    temperature: float = 1.0
    normalize: bool = False
    local_width: int = 0
    average: bool = False
    attention: bool = False
    kernel: int = 3
    width: int = 0
    dropout: float = 0.5
    local_dropout: float = 0.0
    floor: float = 0.0
    mining: str = "random"
    margin: float = 1.0
    flat: bool = False

    def __post_init__(self) -> None:
        for name, choices in (("points", POINTS), ("grouping", GROUPINGS), ("mining", MINING)):
            check_choice(name, getattr(self, name), choices)
        check_choice("kernel", str(self.kernel), ("1", "3"))
        check_range("number of scales in keypoints", len(self.keypoints), 2, 2)
        for number in (*self.keypoints, self.local_width, self.width):
            check_range("keypoints, local_width and width", number, 0)
        check_range("temperature", self.temperature, 0, open_low=True)
        for name, most in (("dropout", 1), ("local_dropout", 1), ("margin", 1e9), ("floor", 1e9)):
            check_range(name, getattr(self, name), 0, most)
        if self.local_only and (self.average or not any(self.keypoints)):
            raise ConfigError("local_only: expected keypoints, and no average with global heads. Change one of them.")


@dataclass(frozen=True)
class ASKOutputs:
    """What the head gives.

    Attributes:
        logits: ``(B, N)``.
        auxiliary: Logits ``(B, N)`` of RGB and of depth, each from its global features; none with ``local_only``.
        selections: Keypoints, maps and descriptors, a scale each.
    """

    logits: torch.Tensor
    auxiliary: tuple[torch.Tensor, ...]
    selections: tuple[Selection, ...]

    @property
    def keypoints(self) -> tuple[torch.Tensor, ...]:
        """``(B, K, 2)`` a scale, (x, y) in cells of its own map."""
        return tuple(selection.keypoints for selection in self.selections)


class ASKLoss(NamedTuple):
    """The weighted sum of [ASK-16], and its terms without their weights: scalars."""

    total: torch.Tensor
    main: torch.Tensor
    auxiliary: torch.Tensor
    information: torch.Tensor
    correlation: torch.Tensor


class NonLocal(nn.Module):
    """Spatial attention: each cell adds a weighted mean of all cells (Wang et al., Non-local Neural Networks, 2018).

    Their embedded Gaussian with half the channels inside. The last convolution starts at 0, and the block as identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inside = max(1, channels // 2)
        self.embed = nn.Conv2d(channels, 3 * inside, 1)
        self.out = nn.Linear(inside, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """``(B, C, H, W)`` to the same shape."""
        query, key, value = to_descriptors(self.embed(maps)).chunk(3, dim=2)  # (B, HW, C/2)
        mean = torch.softmax(query @ key.transpose(1, 2), dim=2) @ value
        return maps + self.out(mean).transpose(1, 2).view(maps.shape)  # type: ignore[no-any-return]


class ASKHead(nn.Module):
    """The last maps of both streams to logits.

    Args:
        channels: C of each stream's maps.
        num_classes: N.
        options: See `ASKOptions`.
    """

    def __init__(self, channels: int, num_classes: int, options: ASKOptions | None = None) -> None:
        super().__init__()
        self.channels, self.options = channels, options or ASKOptions()
        o, width = self.options, self.options.width or max(1, 3 * channels // 4)

        def global_features() -> nn.Module:
            layers = nn.Dropout(o.dropout), nn.Linear(channels, width), nn.ReLU(), nn.Dropout(o.dropout)
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *layers)

        self.attend = _pair(lambda: NonLocal(channels) if o.attention else nn.Identity())
        self.describe = _pair(global_features) if not o.local_only else nn.ModuleList()
        self.auxiliary = _pair(lambda: nn.Linear(width, num_classes)) if not o.local_only else nn.ModuleList()
        self.scales = nn.ModuleList(
            _Scale(channels, k, num_classes, o, second) for second, k in enumerate(o.keypoints) if k
        )
        length = width * len(self.describe) + 2 * sum(o.keypoints) * (o.local_width or channels)
        self.classify = nn.Linear(length, num_classes)

    def forward(self, rgb: torch.Tensor, depth: torch.Tensor) -> ASKOutputs:
        """Both ``(B, C, H, W)``, after their activation."""
        check_shape("rgb", rgb, ("B", self.channels, "H", "W"), "The last maps of the RGB stream.")
        check_shape("depth", depth, tuple(rgb.shape), "Both modalities come from one layer, and are of one size.")
        maps = _each(self.attend, (rgb, depth))
        features = _each(self.describe, maps)  # (B, width) a stream
        auxiliary = _each(self.auxiliary, features)
        selections = []
        for scale in self.scales:
            selection, local = scale(*maps)
            selections.append(selection)
            features += local
        logits = self.classify(torch.cat(features, dim=1))  # [ASK-15]
        if self.options.average:
            logits = torch.stack([logits, *auxiliary]).mean(dim=0)
        return ASKOutputs(logits, tuple(auxiliary), tuple(selections))

    def loss(
        self,
        outputs: ASKOutputs,
        labels: torch.Tensor,
        *,
        weights: Mapping[str, float] = WEIGHTS,
        generator: torch.Generator | None = None,
    ) -> ASKLoss:
        """[ASK-16] The sum of all losses; L_VI and L_C at every scale. A term that does not apply is 0.

        One whose weight is 0 is given, but not added: what only it needs gets no gradient, and it may be infinite.

        Args:
            outputs: Of this head.
            labels: ``(B,)``, 0 to N - 1.
            weights: By term, the paper's where not named.
            generator: Of the random triplets.
        """
        for name in weights:
            check_choice("weight", name, WEIGHTS)
        none = outputs.logits.new_zeros(())
        terms = {
            "main": functional.cross_entropy(outputs.logits, labels),
            "auxiliary": sum((functional.cross_entropy(one, labels) for one in outputs.auxiliary), none),  # [ASK-14]
            "information": none,
            "correlation": none,
        }
        for scale, selection in zip(self.scales, outputs.selections, strict=True):
            if selection.maps is not None:
                information: VariationalInformation = scale.information  # type: ignore[assignment]
                terms["information"] = terms["information"] + information(selection.maps, labels)
            terms["correlation"] = terms["correlation"] + self._correlation(selection, labels, generator)
        used = {name: weight for name, weight in {**WEIGHTS, **weights}.items() if weight}
        total = sum((weight * terms[name] for name, weight in used.items()), none)  # [ASK-16]
        return ASKLoss(total, **terms)

    def _correlation(
        self, selection: Selection, labels: torch.Tensor, generator: torch.Generator | None
    ) -> torch.Tensor:
        o = self.options
        rgb, depth = (
            triplet_correlation_loss(local, labels, o.margin, o.mining, flat=o.flat, generator=generator)
            for local in (selection.rgb, selection.depth)
        )
        return rgb + depth + modal_correlation_loss(selection.rgb, selection.depth)


class ASK(nn.Module):
    """Images of both modalities to logits.

    Args:
        streams: Encoders. Where they are upper parts (`ask_lib.models.two_stream.cut_encoder`), their kept maps take
            the images' place.
        head: On their maps.
    """

    def __init__(self, streams: TwoStream, head: ASKHead) -> None:
        super().__init__()
        self.streams, self.head = streams, head

    def forward(self, rgb: torch.Tensor, depth: torch.Tensor) -> ASKOutputs:
        """Both ``(B, 3, h, w)``, normalised; depth as HHA."""
        return self.head(*self.streams(rgb, depth))  # type: ignore[no-any-return]


def ask(
    name: str,
    num_classes: int,
    rgb: str | Path = "none",
    depth: str | Path | None = None,
    *,
    size: tuple[int, int] | None = None,
    options: ASKOptions | None = None,
) -> ASK:
    """The whole network on a backbone, e.g. ``ask("resnet18", 10, "imagenet")``.

    Backbone, weights and size are as of `ask_lib.models.two_stream.two_stream`.
    """
    streams = two_stream(name, rgb, depth, size=size)
    with evaluating(streams), torch.no_grad():
        channels = streams.rgb(torch.zeros(1, 3, 96, 96)).shape[1]
    return ASK(streams, ASKHead(channels, num_classes, options))


class _Scale(nn.Module):
    """Maps of both streams to what is selected at one scale, and the local features of both for the classifier."""

    def __init__(self, channels: int, num_keypoints: int, num_classes: int, o: ASKOptions, second: int) -> None:
        super().__init__()
        convolution = lambda: nn.Conv2d(channels, channels, o.kernel, stride=2)  # noqa: E731
        self.down = _pair(convolution if second else nn.Identity)
        self.select = DLFS(channels, num_keypoints, points=o.points, grouping=o.grouping, temperature=o.temperature)
        if self.select.conv is not None:
            self.information = VariationalInformation(num_keypoints, num_classes, floor=o.floor)
        self.reduce = _pair(lambda: nn.Linear(channels, o.local_width) if o.local_width else nn.Identity())
        self.second, self.kernel = second, o.kernel
        self.normalize, self.dropout = o.normalize, nn.Dropout(o.local_dropout)

    def forward(self, rgb: torch.Tensor, depth: torch.Tensor) -> tuple[Selection, list[torch.Tensor]]:
        if self.second:
            check_range("short side of the maps, in cells", min(rgb.shape[2:]), self.kernel)
        selection: Selection = self.select(*_each(self.down, (rgb, depth)))
        local = [l2_normalize(e) if self.normalize else e for e in (selection.rgb, selection.depth)]
        return selection, [self.dropout(e.flatten(1)) for e in _each(self.reduce, local)]  # (B, K*C) a stream


def _pair(make: Callable[[], nn.Module]) -> nn.ModuleList:
    """One module a stream, RGB first."""
    return nn.ModuleList([make(), make()])


def _each(modules: nn.ModuleList, inputs: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    return [module(x) for module, x in zip(modules, inputs, strict=False)]  # nothing where there is no module
