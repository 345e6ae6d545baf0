"""The baselines: other ways to make one vector of a map or of a list of descriptors.

Every pooling takes ``(features, mask=None)``: a map ``(B, C, H, W)``, and a bool ``(B, H, W)``, True = kept, where None
keeps all; an empty mask gives a zero vector. It stands in ``POOLINGS``; a new one is one function and one line there.
None normalises its result unless it says so. The codebooks' ``fit`` and ``encode`` take descriptors ``(B, N, C)`` and
a mask ``(B, N)``, or ``(B, H, W)`` with N = H*W. SCDA's tables compare pooled vectors after ``l2_normalize``, VLAD and
Fisher vectors after ``signed_sqrt`` and ``l2_normalize``. Shapes that do not fit raise a ``ShapeError``, throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch.nn import functional

from ask_lib.checks import check_range, check_shape
from ask_lib.errors import AskError, RangeError
from ask_lib.methods.descriptors import avg_pool as avg_pool
from ask_lib.methods.descriptors import check_map, l2_normalize
from ask_lib.methods.descriptors import max_pool as max_pool

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AS_LIST = "to_descriptors(features) makes (B, N, C) of a map."


def avg_max_pool(features: torch.Tensor, mask: torch.Tensor | None = None, *, normalize: bool = False) -> torch.Tensor:
    """``avg_pool`` and ``max_pool``, joined.

    >>> avg_max_pool(torch.tensor([[[[1.0, 2.0, 6.0]]]]))
    tensor([[3., 6.]])

    Args:
        features: ``(B, C, H, W)``.
        mask: bool, ``(B, H, W)``.
        normalize: Scale each half to unit length. Then it is SCDA for SCDA's mask, and SCDA's baseline "Pool5"
            without a mask.

    Returns:
        ``(B, 2C)``: mean, then maximum.
    """
    halves = torch.stack([avg_pool(features, mask), max_pool(features, mask)], dim=1)  # (B, 2, C)
    return (l2_normalize(halves) if normalize else halves).flatten(1)


def spoc(features: torch.Tensor, mask: torch.Tensor | None = None, *, center_prior: bool = True) -> torch.Tensor:
    """SPoC: the sum of the descriptors, those near the centre weighted more.

    The weight is a Gaussian about the grid's centre; its sigma is a third of the way from there to the nearest border.

    >>> spoc(torch.tensor([[[[1.0, 2.0, 6.0]]]]), center_prior=False)
    tensor([[9.]])

    Source: Babenko, Lempitsky: Aggregating Deep Convolutional Features for Image Retrieval, ICCV 2015.
    Open in the paper: whether cells count from 0 or 1. Here the centre is the middle of the grid, so that a mirrored
    map gives the same vector.

    Args:
        features: ``(B, C, H, W)``.
        mask: bool, ``(B, H, W)``.
        center_prior: False: all weights are 1.

    Returns:
        ``(B, C)``, in single precision at least: a sum can be too large for half precision.
    """
    features = _kept(features, mask)
    if not center_prior:
        return features.sum(dim=(2, 3))
    height, width = features.shape[2:]
    sigma = min(height, width) / 2 / 3
    y, x = (torch.arange(n, device=features.device, dtype=torch.float64) - (n - 1) / 2 for n in (height, width))
    weight = torch.exp(-(y[:, None] ** 2 + x**2) / (2 * sigma**2)).to(features.dtype)  # (H, W)
    return features.flatten(2) @ weight.flatten()  # (B, C)


def crow(features: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """CroW: a sum weighted across space and across channels, both weights from the map itself.

    A place weighs the square root of its share of the activation map's length; a channel weighs the logarithm of
    (all channels' shares of non-zero cells, added) / (its own share), so that rare channels count more.

    >>> crow(torch.tensor([[[[4.0, 0.0]], [[0.0, 0.0]]]]))  # the only channel is not rare: log 1
    tensor([[0., 0.]])

    Source: Kalantidis, Mellina, Osindero: Cross-Dimensional Weighting for Aggregated Deep Convolutional Features, ECCV
    Workshops 2016. The paper adds a small constant inside the logarithm; here, as in its authors' code, there is none,
    and a channel without any non-zero cell has weight 0. A map of zeros gives a zero vector.

    Gives ``(B, C)``, in single precision at least, of a map after ReLU: where the activation map is negative, NaN.
    """
    features = _kept(features, mask)
    share = l2_normalize(features.sum(dim=1).flatten(1))  # (B, H*W)
    place = torch.where(share == 0, 0.0, torch.where(share == 0, 1.0, share).sqrt())  # no infinite slope at 0
    count = features.detach().sign().abs_().sum(dim=(2, 3))  # (B, C), non-zero cells; quicker to add up than bool
    total = count.sum(dim=1, keepdim=True)  # (B, 1)
    channel = torch.where(count > 0, total / count, 1.0).log()  # (B, C)
    return (features.flatten(2) @ place[..., None])[..., 0] * channel


def gem(features: torch.Tensor, mask: torch.Tensor | None = None, *, p: float = 3.0) -> torch.Tensor:
    """GeM: the generalised mean; p = 1 is the mean, growing p nears the maximum.

    The largest value is divided out first, so that no power overflows.

    >>> gem(torch.tensor([[[[3.0, 4.0]]]]), p=2)  # the root of 25 / 2
    tensor([[3.5355]])

    Source: Radenovic, Tolias, Chum: Fine-tuning CNN Image Retrieval with No Human Annotation, TPAMI 2019; values below
    1e-6 count as 1e-6, as in its authors' code.

    Args:
        features: ``(B, C, H, W)``, after ReLU.
        mask: bool, ``(B, H, W)``.
        p: Exponent, above 0; ``math.inf`` is the maximum.

    Returns:
        ``(B, C)``.
    """
    check_range("p", p, 0, open_low=True)
    check_map(features, mask)
    values = features.clamp(min=1e-6)
    peak = max_pool(values, mask).detach()  # (B, C); a constant: the result does not depend on it
    if math.isinf(p):
        return max_pool(values, mask)
    scale = torch.where(peak == 0, 1.0, peak)  # 0 where the mask keeps nothing
    if mask is not None:
        values = values.masked_fill(~mask.bool()[:, None], 0.0)  # a dropped cell above the peak would overflow
    mean = avg_pool((values / scale[..., None, None]).pow(p), mask)
    return torch.where(peak == 0, 1.0, mean).pow(1 / p) * peak


def rmac(features: torch.Tensor, mask: torch.Tensor | None = None, *, levels: int = 3) -> torch.Tensor:
    """R-MAC: the maxima of overlapping square regions at several sizes, each of unit length, added.

    >>> rmac(torch.tensor([[[[3.0]], [[4.0]]]]), levels=1)
    tensor([[0.6000, 0.8000]])

    Source: Tolias, Sicre, Jegou: Particular Object Retrieval with Integral Max-Pooling of CNN Activations, ICLR 2016;
    regions as in its authors' code. Departs from paper: there PCA-whitening comes between the unit length and the sum;
    here it is left to the caller, as most who use R-MAC as a baseline do.

    Args:
        features: ``(B, C, H, W)``, after ReLU.
        mask: bool, ``(B, H, W)``; a region without a kept cell adds nothing.
        levels: Sizes of regions, at least 1; the paper's is 3.

    Returns:
        ``(B, C)``.
    """
    check_range("levels", levels, 1)
    check_map(features, mask)
    total = features.new_zeros(features.shape[:2])  # (B, C)
    for y, x, side in rmac_regions(features.shape[2], features.shape[3], levels):
        rows, columns = slice(y, y + side), slice(x, x + side)
        kept = None if mask is None else mask[:, rows, columns]
        total = total + l2_normalize(max_pool(features[:, :, rows, columns], kept))
    return total


Pooling = Callable[..., torch.Tensor]
# Poolings that do not know where a cell lies (the cells may be permuted), those that do, and all of them.
ORDERLESS: dict[str, Pooling] = {
    "avg": avg_pool,
    "max": max_pool,
    "avg_max": avg_max_pool,
    "crow": crow,
    "gem": gem,
}
PLACED: dict[str, Pooling] = {
    "spoc": spoc,
    "rmac": rmac,
}
POOLINGS = ORDERLESS | PLACED


def rmac_regions(height: int, width: int, levels: int = 3) -> list[tuple[int, int, int]]:
    """R-MAC's square regions: (y, x, side) in cells.

    At level l the side is 2 / (l + 1) of the shorter side. Along the shorter side lie l of them, along the longer one
    more, by a number chosen so that neighbours at the first level overlap by about 40 %.
    """
    short, long = min(height, width), max(height, width)
    overlaps = [abs((short**2 - short * (long - short) / extra) / short**2 - 0.4) for extra in range(1, 7)]
    more = 1 + int(np.argmin(overlaps)) if long > short else 0
    regions = []
    for level in range(1, levels + 1):
        side = 2 * short // (level + 1)
        rows = _starts(height, side, level + (more if height > width else 0))
        columns = _starts(width, side, level + (more if width > height else 0))
        regions += [(y, x, side) for y in rows for x in columns if side]
    return regions


class VLAD:
    """VLAD: for each centroid, the sum of what its nearest descriptors differ from it by.

    Centroids are scikit-learn's k-means, the best of ten starts. A descriptor equally near to two counts for the
    first. Distances and sums are taken in float64, so that the CPU and a GPU choose alike.

    >>> words = torch.tensor([[[0.0], [2.0], [10.0], [12.0]]])  # (B, N, C), about 1 and 11
    >>> VLAD(2).fit(words).encode(torch.tensor([[[1.5], [11.0]]])).abs().sum(dim=1)
    tensor([0.5000])

    Source: Jegou, Douze, Schmid, Perez: Aggregating Local Descriptors into a Compact Image Representation, CVPR 2010.
    SCDA's selectVLAD has k = 2.

    Args:
        k: Number of centroids, at least 1.
        seed: Of k-means.

    Attributes:
        centroids: ``(k, C)`` float64 on the CPU; after ``fit``.
    """

    def __init__(self, k: int, *, seed: int = 0) -> None:
        check_range("k", k, 1)
        self.k, self.seed = k, seed
        self.centroids = torch.empty(0)

    def fit(self, descriptors: torch.Tensor, mask: torch.Tensor | None = None) -> Self:
        """Find the centroids; a ``RangeError`` if fewer than ``k`` descriptors are used."""
        from sklearn.cluster import KMeans

        found = KMeans(self.k, n_init=10, random_state=self.seed).fit(_to_fit(descriptors, mask, self.k))
        self.centroids = torch.from_numpy(np.array(found.cluster_centers_))
        return self

    def encode(self, descriptors: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """The vector of each image, ``(B, k*C)``, centroid after centroid, not normalised; zero for an empty mask.

        Raises:
            AskError: Before ``fit``.
        """
        if not len(self.centroids):
            raise AskError("This VLAD has no centroids yet: call fit(descriptors) first.")
        centroids = self.centroids.to(descriptors.device)
        x, used = _to_encode(descriptors, mask, centroids.shape[1])  # (B, N, C), (B, N, 1)
        distance = (centroids**2).sum(dim=1) - 2 * x @ centroids.T  # (B, N, k), less the descriptor's own square
        nearest = functional.one_hot(distance.argmin(dim=2), self.k) * used  # (B, N, k)
        count = nearest.sum(dim=1)[..., None]  # (B, k, 1)
        residuals = nearest.transpose(1, 2) @ x - count * centroids  # (B, k, C)
        return residuals.flatten(1).to(descriptors.dtype)


class FisherVector:
    """Fisher vector: how a Gaussian mixture would have to change to fit the image's descriptors better.

    The mixture has diagonal covariances and is scikit-learn's. Sums are taken in float64.

    >>> words = torch.rand(1, 50, 3, generator=torch.Generator().manual_seed(0))
    >>> FisherVector(1).fit(words).encode(words).abs().max() < 1e-3  # at the best fit nothing has to change
    tensor(True)

    Source: Sanchez, Perronnin, Mensink, Verbeek: Image Classification with the Fisher Vector, IJCV 2013, equations
    16 to 18: divided by the number of descriptors, scaled by the approximate Fisher information. SCDA's selectFV is
    2,048-d for C = 512 and has second-order terms, as its talk says: k = 2 without the gradients of the weights.

    Args:
        k: Number of Gaussians, at least 1.
        weight_gradients: Put the k gradients of the mixture's weights first.
        seed: Of the mixture's fit.

    Attributes:
        weights: ``(k,)`` float64 on the CPU; after ``fit``.
        means: ``(k, C)`` float64 on the CPU; after ``fit``.
        variances: ``(k, C)`` float64 on the CPU, 1e-6 at least (channels that are always 0 have no other); after
            ``fit``.
    """

    def __init__(self, k: int, weight_gradients: bool = False, *, seed: int = 0) -> None:
        check_range("k", k, 1)
        self.k, self.weight_gradients, self.seed = k, weight_gradients, seed
        self.weights = self.means = self.variances = torch.empty(0)

    def fit(self, descriptors: torch.Tensor, mask: torch.Tensor | None = None) -> Self:
        """Fit the mixture; a ``RangeError`` if fewer than ``k``, or fewer than 2, descriptors are used."""
        from sklearn.mixture import GaussianMixture

        used = _to_fit(descriptors, mask, max(2, self.k))
        found = GaussianMixture(self.k, covariance_type="diag", reg_covar=1e-6, random_state=self.seed).fit(used)
        self.weights, self.means, self.variances = (
            torch.from_numpy(np.array(part)) for part in (found.weights_, found.means_, found.covariances_)
        )
        return self

    def encode(self, descriptors: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """The vector of each image; an empty mask gives a zero vector.

        Returns:
            ``(B, 2*k*C)``: the gradients of the means, Gaussian after Gaussian, then those of the standard deviations;
            ``(B, k + 2*k*C)`` with ``weight_gradients``. Not normalised.

        Raises:
            AskError: Before ``fit``.
        """
        if not len(self.weights):
            raise AskError("This FisherVector has no mixture yet: call fit(descriptors) first.")
        weights, means, variances = (part.to(descriptors.device) for part in (self.weights, self.means, self.variances))
        x, used = _to_encode(descriptors, mask, means.shape[1])  # (B, N, C), (B, N, 1)
        share = _posteriors(x, weights, means, variances) * used / used.sum(dim=1, keepdim=True).clamp(min=1)
        zeroth = share.sum(dim=1)  # (B, k)
        first, second = share.transpose(1, 2) @ x, share.transpose(1, 2) @ x**2  # each (B, k, C)
        s0, root = zeroth[..., None], weights.sqrt()[:, None]
        of_means = (first - s0 * means) / (variances.sqrt() * root)
        of_deviations = (second - 2 * first * means + s0 * (means**2 - variances)) / (variances * root * math.sqrt(2))
        parts = [of_means.flatten(1), of_deviations.flatten(1)]
        if self.weight_gradients:
            parts.insert(0, (zeroth - used.bool().any(dim=1) * weights) / weights.sqrt())  # 0 where nothing is used
        return torch.cat(parts, dim=1).to(descriptors.dtype)


def _kept(features: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """The map with zeros where the mask drops, in single precision at least."""
    check_map(features, mask)
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    return wide if mask is None else wide.masked_fill(~mask.bool()[:, None], 0.0)


def _starts(length: int, side: int, count: int) -> list[int]:
    """First cells of ``count`` regions of ``side`` cells, evenly from one end to the other."""
    step = (length - side) / (count - 1) if count > 1 else 0.0
    return [math.floor(i * step) for i in range(count)]


def _used(descriptors: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Which descriptors are used: ``(B, N)`` bool."""
    shape = (descriptors.shape[0], descriptors.shape[1])
    flat = torch.ones(shape, device=descriptors.device) if mask is None else mask.flatten(1)
    check_shape("mask", flat, shape, "One entry a descriptor: (B, N), or (B, H, W) of the same grid.")
    return flat.bool()


def _to_fit(descriptors: torch.Tensor, mask: torch.Tensor | None, least: int) -> NDArray[np.float64]:
    """The used descriptors, a row each."""
    check_shape("descriptors", descriptors, "BNC", _AS_LIST)
    used = descriptors.detach()[_used(descriptors, mask)]  # (n, C)
    if len(used) < least:
        raise RangeError(
            f"descriptors: expected at least {least} to fit on, got {len(used)}. Give more images, or lower k."
        )
    values: NDArray[np.float64] = used.cpu().double().numpy()
    return values


def _to_encode(
    descriptors: torch.Tensor, mask: torch.Tensor | None, channels: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Descriptors, zero where they are not used, and 1 where they are, else 0: ``(B, N, 1)``; both float64."""
    check_shape("descriptors", descriptors, ("B", "N", channels), _AS_LIST)
    used = _used(descriptors, mask)[..., None]  # (B, N, 1)
    return descriptors.double().masked_fill(~used, 0.0), used.double()


def _posteriors(x: torch.Tensor, weights: torch.Tensor, means: torch.Tensor, variances: torch.Tensor) -> torch.Tensor:
    """Each Gaussian's share in each descriptor: ``(B, N, k)``, rows add to 1."""
    precise = 1 / variances  # (k, C)
    distance = x**2 @ precise.T - 2 * x @ (means * precise).T + (means**2 * precise).sum(dim=1)  # (B, N, k)
    return torch.softmax(weights.log() - 0.5 * (distance + variances.log().sum(dim=1)), dim=2)
