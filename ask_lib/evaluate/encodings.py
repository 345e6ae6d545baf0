"""The rows of a retrieval table: every encoding of one network's maps, under the names of SCDA's Tables 2 and 3.

Two layers are read, upright and mirrored, and each row makes one vector an image of them. Vectors are compared by their
angle, so only the parts of a joined vector are brought to length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch

from ask_lib.errors import AskError, RangeError
from ask_lib.methods import encoding
from ask_lib.methods.descriptors import l2_normalize, signed_sqrt, to_descriptors
from ask_lib.methods.scda import mean_mask, scda, scda_flip_plus, scda_plus, selection_mask

CODEBOOKS = ("VLAD", "Fisher vector", "selectVLAD", "selectFV")
"""Rows that need ``fit``; the last two read the kept descriptors only."""


@dataclass(frozen=True)
class Maps:
    """What the network says of some images; all after ReLU.

    Attributes:
        high: ``(B, C, h, w)``, the last map (pool5).
        low: ``(B, C', H, W)``, a lower layer's (relu5_2).
        high_flip: The last map of the images mirrored left to right.
        low_flip: The lower layer's map of the images mirrored left to right.
    """

    high: torch.Tensor
    low: torch.Tensor
    high_flip: torch.Tensor
    low_flip: torch.Tensor


class Encodings:
    """All rows at once, a batch of images at a time.

    ``avg&max`` is SCDA's "Pool5": mean and maximum of all descriptors. ``SCDA, all above`` leaves out the component
    step. ``avg&max, flip`` and ``SCDA, flip`` join the mirrored image: with them one sees what the mirror alone gives
    to SCDA_flip+.

    Args:
        alpha: Weight of the lower layer in SCDA+.
        p: GeM's exponent.
        words: Centroids of VLAD, Gaussians of the Fisher vector; SCDA's tables have 2.
        seed: Of their fit.
    """

    def __init__(self, alpha: float = 0.5, p: float = 3.0, words: int = 2, seed: int = 0) -> None:
        self.alpha, self.p = alpha, p
        self.vlad = [encoding.VLAD(words, seed=seed) for _ in range(2)]  # of all descriptors, of the kept ones
        self.fisher = [encoding.FisherVector(words, seed=seed) for _ in range(2)]
        self.fitted = False

    def fit(self, highs: Sequence[torch.Tensor]) -> Self:
        """Fit the codebooks.

        Args:
            highs: Last maps ``(B, C, h, w)`` of images that no table reports on; grids may differ.

        Raises:
            RangeError: If they hold too few descriptors.
        """
        if not highs:
            raise RangeError("highs: expected maps of some images, got none.")
        descriptors = torch.cat([to_descriptors(high).flatten(0, 1) for high in highs])[None]  # (1, N, C)
        kept = torch.cat([selection_mask(high).flatten() for high in highs])[None]  # (1, N)
        for vlad, fisher, mask in zip(self.vlad, self.fisher, (None, kept), strict=True):
            vlad.fit(descriptors, mask)
            fisher.fit(descriptors, mask)
        self.fitted = True
        return self

    def __call__(self, maps: Maps) -> dict[str, torch.Tensor]:
        """Row name to vectors ``(B, D)``; without the rows of ``CODEBOOKS`` before ``fit``."""
        found = self.pooled(maps)
        return found | self.coded(maps.high) if self.fitted else found

    def pooled(self, maps: Maps) -> dict[str, torch.Tensor]:
        """The rows that need no fit."""
        high, mirrored = maps.high, maps.high_flip
        plain, plain_flip = (encoding.avg_max_pool(each, normalize=True) for each in (high, mirrored))
        kept, kept_flip = scda(high), scda(mirrored)
        return {
            "avg": encoding.avg_pool(high),
            "max": encoding.max_pool(high),
            "avg&max": plain,
            "avg&max, flip": torch.cat([plain, plain_flip], dim=1),
            "SPoC (without cen.)": encoding.spoc(high, center_prior=False),
            "SPoC (with cen.)": encoding.spoc(high),
            "CroW": encoding.crow(high),
            "GeM": encoding.gem(high, self.p),
            "R-MAC": encoding.rmac(high),
            "avg, selected": encoding.avg_pool(high, selection_mask(high)),
            "max, selected": encoding.max_pool(high, selection_mask(high)),
            "SCDA, all above": scda(high, mean_mask(high)),
            "SCDA": kept,
            "SCDA, flip": torch.cat([kept, kept_flip], dim=1),
            "SCDA+": scda_plus(high, maps.low, self.alpha),
            "SCDA_flip+": scda_flip_plus(high, maps.low, mirrored, maps.low_flip, self.alpha),
        }

    def coded(self, high: torch.Tensor) -> dict[str, torch.Tensor]:
        """The rows of ``CODEBOOKS``: signed square root, then unit length.

        Departs from the SCDA talk, whose VLAD is a plain sum, and which says nothing of root and length for either.

        Raises:
            AskError: Before ``fit``.
        """
        if not self.fitted:
            raise AskError("These Encodings have no codebooks yet: call fit(highs) first.")
        descriptors, kept = to_descriptors(high), selection_mask(high)
        vectors = [
            codebook.encode(descriptors, mask)
            for mask, pair in zip((None, kept), zip(self.vlad, self.fisher, strict=True), strict=True)
            for codebook in pair
        ]
        return {name: l2_normalize(signed_sqrt(v)) for name, v in zip(CODEBOOKS, vectors, strict=True)}
