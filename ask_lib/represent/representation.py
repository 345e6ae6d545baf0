"""What makes one vector an image of a network's maps: the protocol, and a few forms that cover most methods.

Layers are named as the network names them. Two names mean more: ``flip:NAME`` is the layer's map of the image mirrored
left to right, which goes through the network again; ``logits`` is what the network returns, ``(B, K)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import torch

from ask_lib.errors import RangeError
from ask_lib.methods.descriptors import l2_normalize, signed_sqrt, to_descriptors
from ask_lib.methods.encoding import VLAD, FisherVector
from ask_lib.methods.scda import scda_plus, selection_mask

FLIP = "flip:"
LOGITS = "logits"

Maps = Mapping[str, torch.Tensor]
"""Layer to map ``(B, C, H, W)``; ``logits`` to ``(B, K)``."""


class Representation(Protocol):
    """Vectors from maps. One that learns has ``fit(*maps)`` besides: see ``Coded``."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The maps that it reads."""

    def __call__(self, maps: Maps) -> torch.Tensor:
        """A vector for each image: ``(B, D)``."""

    def weights(self, maps: Maps) -> torch.Tensor:
        """Where it looks, for pictures and hit rates: ``(B, H, W)``, not negative, on its first layer's grid."""


@dataclass(frozen=True)
class Pooled:
    """A pooling of one layer, under a mask that is made of the same map.

    >>> from ask_lib.methods.encoding import avg_pool
    >>> Pooled(avg_pool, "pool5")({"pool5": torch.tensor([[[[1.0, 3.0]]]])})
    tensor([[2.]])

    Attributes:
        pooling: ``(features (B, C, H, W), mask (B, H, W) or None)`` to ``(B, D)``: one of ``POOLINGS``, ``scda``, your
            own. With options: ``functools.partial(gem, p=4)``.
        layer: Whose map it reads.
        mask: ``(B, C, H, W)`` to bool ``(B, H, W)``; None keeps all.
    """

    pooling: Callable[..., torch.Tensor]
    layer: str
    mask: Callable[[torch.Tensor], torch.Tensor] | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        """The one layer."""
        return (self.layer,)

    def __call__(self, maps: Maps) -> torch.Tensor:
        """The pooled vectors: ``(B, D)``."""
        features = maps[self.layer]
        return self.pooling(features, None if self.mask is None else self.mask(features))

    def weights(self, maps: Maps) -> torch.Tensor:
        """The mask, as 0 and 1; without one, 1 everywhere."""
        return _looked_at(maps[self.layer], self.mask)


@dataclass(frozen=True)
class SCDAPlus:
    """SCDA+ of two layers.

    Attributes:
        high: The last map (pool5), whose component selects in both layers.
        low: The lower layer (relu5_2).
        alpha: Weight of the lower layer.
    """

    high: str
    low: str
    alpha: float = 0.5

    @property
    def layers(self) -> tuple[str, ...]:
        """The higher layer, the lower one."""
        return (self.high, self.low)

    def __call__(self, maps: Maps) -> torch.Tensor:
        """SCDA+: ``(B, 2C + 2C')``."""
        return scda_plus(maps[self.high], maps[self.low], self.alpha)

    def weights(self, maps: Maps) -> torch.Tensor:
        """The higher layer's largest component, as 0 and 1."""
        return _looked_at(maps[self.high], selection_mask)


@dataclass(frozen=True)
class WithMirror:
    """A representation of the image, joined with the same one of its mirror image.

    Attributes:
        upright: The representation; of ``SCDAPlus`` this makes SCDA_flip+.
    """

    upright: Representation

    @property
    def layers(self) -> tuple[str, ...]:
        """Those of the representation, then the same of the mirror image."""
        return (*self.upright.layers, *(FLIP + layer for layer in self.upright.layers))

    def __call__(self, maps: Maps) -> torch.Tensor:
        """Both vectors, joined: ``(B, 2D)``."""
        mirrored = {layer: maps[FLIP + layer] for layer in self.upright.layers}
        return torch.cat([self.upright(maps), self.upright(mirrored)], dim=1)

    def weights(self, maps: Maps) -> torch.Tensor:
        """Where it looks in the upright image."""
        return self.upright.weights(maps)


@dataclass(frozen=True)
class Coded:
    """A codebook's vector of one layer: signed square root, then unit length.

    Departs from the SCDA talk, whose VLAD is a plain sum, and which says nothing of root and length for either.

    Attributes:
        codebook: ``VLAD`` or ``FisherVector``.
        layer: Whose map it reads.
        mask: ``(B, C, H, W)`` to bool ``(B, H, W)``, for fitting and encoding; None keeps all.
    """

    codebook: VLAD | FisherVector
    layer: str
    mask: Callable[[torch.Tensor], torch.Tensor] | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        """The one layer."""
        return (self.layer,)

    def fit(self, *maps: Maps) -> Self:
        """Fit the codebook on the kept descriptors of images that no table reports on; one mapping a size of grid.

        Raises:
            RangeError: If they hold too few descriptors.
        """
        if not maps:
            raise RangeError("maps: expected maps of some images to fit on, got none.")
        features = [each[self.layer] for each in maps]
        descriptors = torch.cat([to_descriptors(f).flatten(0, 1) for f in features])  # (N, C)
        kept = torch.cat([_looked_at(f, self.mask).bool().flatten() for f in features])  # (N,)
        self.codebook.fit(descriptors[None], kept[None])
        return self

    def __call__(self, maps: Maps) -> torch.Tensor:
        """The code's vectors: ``(B, D)``."""
        features = maps[self.layer]
        kept = None if self.mask is None else self.mask(features)
        return l2_normalize(signed_sqrt(self.codebook.encode(to_descriptors(features), kept)))

    def weights(self, maps: Maps) -> torch.Tensor:
        """The mask, as 0 and 1; without one, 1 everywhere."""
        return _looked_at(maps[self.layer], self.mask)


def as_it_is(features: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """The pooling of what is a vector already, ``(B, D)``: of ``logits``, of a fully connected layer.

    >>> Pooled(as_it_is, "logits")({"logits": torch.tensor([[1.0, 2.0]])})
    tensor([[1., 2.]])
    """
    return features


def _looked_at(features: torch.Tensor, mask: Callable[[torch.Tensor], torch.Tensor] | None) -> torch.Tensor:
    """The mask as ``(B, H, W)``, 0 and 1; None: 1 everywhere. A vector (B, D) has one cell."""
    if mask is not None:
        return mask(features).float()
    grid = features.shape[2:] or (1, 1)
    return torch.ones(len(features), *grid, device=features.device)
