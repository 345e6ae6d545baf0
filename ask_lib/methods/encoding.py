"""The baselines: other ways to make one vector of a map or of a list of descriptors.

None of them normalises its result unless it says so. SCDA's tables compare with them; pooled vectors are compared
after ``l2_normalize``, VLAD and Fisher vectors after ``signed_sqrt`` and ``l2_normalize``.
"""

from __future__ import annotations

import math
from typing import Self

import numpy as np
import torch

from ask_lib.checks import check_range, check_shape
from ask_lib.errors import AskError, RangeError
from ask_lib.methods.descriptors import l2_normalize, masked_max, masked_mean

_ADD_BATCH = "Add a batch axis with features[None] if it is one image's map."
_AS_LIST = "to_descriptors(features) makes (B, N, C) of a map."


def avg_pool(features: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Mean of the descriptors.

    Args:
        features: ``(B, C, H, W)``.
        mask: bool, ``(B, H, W)``, True = kept; None keeps all. An empty mask gives a zero vector.

    Returns:
        ``(B, C)``.

    Raises:
        ShapeError: If the shapes do not fit.
    """
    return masked_mean(features, mask)


def max_pool(features: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Largest value of the descriptors, channel by channel.

    Args:
        features: ``(B, C, H, W)``.
        mask: bool, ``(B, H, W)``, True = kept; None keeps all. An empty mask gives a zero vector.

    Returns:
        ``(B, C)``.

    Raises:
        ShapeError: If the shapes do not fit.
    """
    return masked_max(features, mask)


def avg_max_pool(features: torch.Tensor, mask: torch.Tensor | None = None, *, normalize: bool = False) -> torch.Tensor:
    """``avg_pool`` and ``max_pool``, joined.

    Args:
        features: ``(B, C, H, W)``.
        mask: bool, ``(B, H, W)``, True = kept; None keeps all. An empty mask gives a zero vector.
        normalize: Scale each half to unit length. Then it is SCDA for SCDA's mask, and SCDA's baseline "Pool5"
            without a mask.

    Returns:
        ``(B, 2C)``: mean, then maximum.

    Raises:
        ShapeError: If the shapes do not fit.
    """
    halves = torch.stack([avg_pool(features, mask), max_pool(features, mask)], dim=1)  # (B, 2, C)
    return (l2_normalize(halves) if normalize else halves).flatten(1)


def spoc(features: torch.Tensor, center_prior: bool = True) -> torch.Tensor:
    """SPoC: the sum of the descriptors, those near the centre weighted more.

    The weight is a Gaussian about the grid's centre; its sigma is a third of the way from there to the nearest border.

    Source: Babenko, Lempitsky: Aggregating Deep Convolutional Features for Image Retrieval, ICCV 2015.
    Open in the paper: whether cells count from 0 or 1. Here the centre is the middle of the grid, so that a mirrored
    map gives the same vector.

    Args:
        features: ``(B, C, H, W)``.
        center_prior: False: all weights are 1.

    Returns:
        ``(B, C)``, in single precision at least: a sum can be too large for half precision.

    Raises:
        ShapeError: If ``features`` is not four-dimensional.
    """
    check_shape("features", features, "BCHW", _ADD_BATCH)
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    if not center_prior:
        return features.sum(dim=(2, 3))
    height, width = features.shape[2:]
    sigma = min(height, width) / 2 / 3
    y, x = (torch.arange(n, device=features.device, dtype=torch.float64) - (n - 1) / 2 for n in (height, width))
    weight = torch.exp(-(y[:, None] ** 2 + x**2) / (2 * sigma**2)).to(features.dtype)  # (H, W)
    return _weighted_sum(features, weight.expand(len(features), -1, -1))


def crow(features: torch.Tensor) -> torch.Tensor:
    """CroW: a sum weighted across space and across channels, both weights from the map itself.

    A place weighs the square root of its share of the activation map's length; a channel weighs the logarithm of
    (all channels' shares of non-zero cells, added) / (its own share), so that rare channels count more.

    Source: Kalantidis, Mellina, Osindero: Cross-Dimensional Weighting for Aggregated Deep Convolutional Features, ECCV
    Workshops 2016. The paper adds a small constant inside the logarithm; here, as in its authors' code, there is none,
    and a channel without any non-zero cell has weight 0. A map of zeros gives a zero vector.

    Args:
        features: ``(B, C, H, W)``, after ReLU: a negative activation map has no square root, the result is NaN.

    Returns:
        ``(B, C)``, in single precision at least: a sum can be too large for half precision.

    Raises:
        ShapeError: If ``features`` is not four-dimensional.
    """
    check_shape("features", features, "BCHW", _ADD_BATCH)
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    activation = features.sum(dim=1)  # (B, H, W)
    place = _root(l2_normalize(activation.flatten(1))).view(activation.shape)
    cells = features.shape[2] * features.shape[3]
    nonzero = features.detach().sign().abs_()  # 0 or 1; quicker to add up than bool
    share = nonzero.sum(dim=(2, 3)) / cells  # (B, C)
    total = share.sum(dim=1, keepdim=True)  # (B, 1)
    channel = torch.where(share > 0, total / share, 1.0).log()  # (B, C)
    return _weighted_sum(features, place) * channel


def _root(x: torch.Tensor) -> torch.Tensor:
    """Square root whose gradient at 0 is 0, not infinite: one dead cell would spoil the gradient of all."""
    return torch.where(x == 0, 0.0, torch.where(x == 0, 1.0, x).sqrt())


def gem(features: torch.Tensor, p: float = 3.0, eps: float = 1e-6) -> torch.Tensor:
    """GeM: the generalised mean; p = 1 is the mean, growing p nears the maximum.

    The largest value is divided out first, so that no power overflows.

    Source: Radenovic, Tolias, Chum: Fine-tuning CNN Image Retrieval with No Human Annotation, TPAMI 2019; values below
    ``eps`` count as ``eps``, as in its authors' code.

    Args:
        features: ``(B, C, H, W)``, after ReLU.
        p: Exponent, above 0; ``math.inf`` is the maximum.
        eps: Least value, above 0.

    Returns:
        ``(B, C)``.

    Raises:
        ShapeError: If ``features`` is not four-dimensional.
        RangeError: If ``p`` or ``eps`` is not positive.
    """
    check_shape("features", features, "BCHW", _ADD_BATCH)
    check_range("p", p, 0, open_low=True)
    check_range("eps", eps, 0, open_low=True)
    values = features.clamp(min=eps).flatten(2)  # (B, C, H*W)
    if math.isinf(p):
        return values.amax(dim=2)
    peak = values.detach().amax(dim=2, keepdim=True)  # (B, C, 1); a constant: the result does not depend on it
    return (values / peak).pow(p).mean(dim=2).pow(1 / p) * peak[..., 0]


def rmac(features: torch.Tensor, levels: int = 3) -> torch.Tensor:
    """R-MAC: the maxima of overlapping square regions at several sizes, each of unit length, added.

    Source: Tolias, Sicre, Jegou: Particular Object Retrieval with Integral Max-Pooling of CNN Activations, ICLR 2016;
    regions as in its authors' code. Departs from paper: there PCA-whitening comes between the unit length and the sum;
    here it is left to the caller, as most who use R-MAC as a baseline do.

    Args:
        features: ``(B, C, H, W)``, after ReLU.
        levels: Sizes of regions; the paper's is 3.

    Returns:
        ``(B, C)``.

    Raises:
        ShapeError: If ``features`` is not four-dimensional.
        RangeError: If ``levels`` is less than 1.
    """
    check_shape("features", features, "BCHW", _ADD_BATCH)
    check_range("levels", levels, 1)
    total = features.new_zeros(features.shape[:2])  # (B, C)
    for y, x, side in rmac_regions(features.shape[2], features.shape[3], levels):
        total = total + l2_normalize(features[:, :, y : y + side, x : x + side].amax(dim=(2, 3)))
    return total


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

    Centroids are scikit-learn's k-means. A descriptor equally near to two counts for the first. Distances and sums are
    taken in float64, so that the CPU and a GPU choose alike.

    Source: Jegou, Douze, Schmid, Perez: Aggregating Local Descriptors into a Compact Image Representation, CVPR 2010.
    SCDA's selectVLAD has k = 2.

    Args:
        k: Number of centroids.
        seed: Of k-means.
        restarts: How often k-means starts anew; the best is kept.

    Attributes:
        centroids: ``(k, C)`` float64 on the CPU; after ``fit``.

    Raises:
        RangeError: If ``k`` is not positive.
    """

    def __init__(self, k: int, *, seed: int = 0, restarts: int = 10) -> None:
        check_range("k", k, 1)
        check_range("restarts", restarts, 1)
        self.k, self.seed, self.restarts = k, seed, restarts
        self.centroids: torch.Tensor | None = None

    def fit(self, descriptors: torch.Tensor, mask: torch.Tensor | None = None) -> Self:
        """Find the centroids.

        Args:
            descriptors: ``(B, N, C)``.
            mask: bool, ``(B, N)`` or ``(B, H, W)`` with N = H*W, True = used; None uses all.

        Raises:
            ShapeError: If the shapes do not fit.
            RangeError: If fewer than ``k`` descriptors are used.
        """
        from sklearn.cluster import KMeans

        used = _used(descriptors, mask, self.k)
        found = KMeans(self.k, n_init=self.restarts, random_state=self.seed).fit(used)
        self.centroids = torch.from_numpy(np.array(found.cluster_centers_))
        return self

    def encode(self, descriptors: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """The vector of each image.

        Args:
            descriptors: ``(B, N, C)``.
            mask: bool, ``(B, N)`` or ``(B, H, W)``, True = used; None uses all. An empty mask gives a zero vector.

        Returns:
            ``(B, k*C)``, centroid after centroid; not normalised.

        Raises:
            AskError: Before ``fit``.
            ShapeError: If the shapes do not fit.
        """
        if self.centroids is None:
            raise AskError("This VLAD has no centroids yet: call fit(descriptors) first.")
        centroids = self.centroids.to(descriptors.device)
        check_shape("descriptors", descriptors, ("B", "N", centroids.shape[1]), _AS_LIST)
        used = _weights(descriptors, mask)  # (B, N)
        x = descriptors.double().masked_fill(used[..., None] == 0, 0.0)  # a dropped infinity is no NaN
        distance = (centroids**2).sum(dim=1) - 2 * x @ centroids.T  # (B, N, k), less the descriptor's own square
        nearest = torch.nn.functional.one_hot(distance.argmin(dim=2), self.k).double()  # (B, N, k)
        nearest = nearest * used[..., None]
        count = nearest.sum(dim=1)[..., None]  # (B, k, 1)
        residuals = nearest.transpose(1, 2) @ x - count * centroids  # (B, k, C)
        return residuals.flatten(1).to(descriptors.dtype)


class FisherVector:
    """Fisher vector: how a Gaussian mixture would have to change to fit the image's descriptors better.

    The mixture has diagonal covariances and is scikit-learn's. Sums are taken in float64.

    Source: Sanchez, Perronnin, Mensink, Verbeek: Image Classification with the Fisher Vector, IJCV 2013, equations
    16 to 18: divided by the number of descriptors, scaled by the approximate Fisher information. SCDA's selectFV is
    2,048-d for C = 512 and has second-order terms, as its talk says: k = 2 without the gradients of the weights.

    Args:
        k: Number of Gaussians.
        weight_gradients: Put the k gradients of the mixture's weights first.
        seed: Of the mixture's fit.
        floor: Added to every variance in the fit. Channels that are always 0 have no other.

    Attributes:
        weights: ``(k,)`` float64 on the CPU; after ``fit``.
        means: ``(k, C)`` float64 on the CPU; after ``fit``.
        variances: ``(k, C)`` float64 on the CPU; after ``fit``.

    Raises:
        RangeError: If ``k`` is not positive.
    """

    def __init__(self, k: int, weight_gradients: bool = False, *, seed: int = 0, floor: float = 1e-6) -> None:
        check_range("k", k, 1)
        check_range("floor", floor, 0, open_low=True)
        self.k, self.weight_gradients, self.seed, self.floor = k, weight_gradients, seed, floor
        self.weights: torch.Tensor | None = None
        self.means: torch.Tensor | None = None
        self.variances: torch.Tensor | None = None

    def fit(self, descriptors: torch.Tensor, mask: torch.Tensor | None = None) -> Self:
        """Fit the mixture.

        Args:
            descriptors: ``(B, N, C)``.
            mask: bool, ``(B, N)`` or ``(B, H, W)`` with N = H*W, True = used; None uses all.

        Raises:
            ShapeError: If the shapes do not fit.
            RangeError: If fewer than ``k``, or fewer than 2, descriptors are used.
        """
        from sklearn.mixture import GaussianMixture

        used = _used(descriptors, mask, max(2, self.k))
        found = GaussianMixture(self.k, covariance_type="diag", reg_covar=self.floor, random_state=self.seed).fit(used)
        self.weights, self.means, self.variances = (
            torch.from_numpy(np.array(part)) for part in (found.weights_, found.means_, found.covariances_)
        )
        return self

    def encode(self, descriptors: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """The vector of each image.

        Args:
            descriptors: ``(B, N, C)``.
            mask: bool, ``(B, N)`` or ``(B, H, W)``, True = used; None uses all. An empty mask gives a zero vector.

        Returns:
            ``(B, 2*k*C)``: the gradients of the means, Gaussian after Gaussian, then those of the standard deviations;
            ``(B, k + 2*k*C)`` with ``weight_gradients``. Not normalised.

        Raises:
            AskError: Before ``fit``.
            ShapeError: If the shapes do not fit.
        """
        if self.weights is None or self.means is None or self.variances is None:
            raise AskError("This FisherVector has no mixture yet: call fit(descriptors) first.")
        weights, means, variances = (part.to(descriptors.device) for part in (self.weights, self.means, self.variances))
        check_shape("descriptors", descriptors, ("B", "N", means.shape[1]), _AS_LIST)
        used = _weights(descriptors, mask)  # (B, N)
        x = descriptors.double().masked_fill(used[..., None] == 0, 0.0)  # a dropped infinity is no NaN
        share = _posteriors(x, weights, means, variances) * used[..., None]  # (B, N, k)
        number = used.sum(dim=1).clamp(min=1)[:, None]  # (B, 1)
        zeroth = share.sum(dim=1) / number  # (B, k)
        first = share.transpose(1, 2) @ x / number[..., None]  # (B, k, C)
        second = share.transpose(1, 2) @ x**2 / number[..., None]  # (B, k, C)
        s0, root = zeroth[..., None], weights.sqrt()[:, None]
        of_means = (first - s0 * means) / (variances.sqrt() * root)
        of_deviations = (second - 2 * first * means + s0 * (means**2 - variances)) / (variances * root * math.sqrt(2))
        parts = [of_means.flatten(1), of_deviations.flatten(1)]
        if self.weight_gradients:
            some = (used.sum(dim=1, keepdim=True) > 0).double()
            parts.insert(0, (zeroth - some * weights) / weights.sqrt())
        return torch.cat(parts, dim=1).to(descriptors.dtype)


def _weighted_sum(features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Sum over places of weight (B, H, W) times descriptor: ``(B, C)``, with no copy of the map."""
    return torch.matmul(weight.flatten(1)[:, None], features.flatten(2).transpose(1, 2))[:, 0]


def _starts(length: int, side: int, count: int) -> list[int]:
    """First cells of ``count`` regions of ``side`` cells, evenly from one end to the other."""
    step = (length - side) / (count - 1) if count > 1 else 0.0
    return [math.floor(i * step) for i in range(count)]


def _weights(descriptors: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """1 where a descriptor is used, else 0: ``(B, N)`` float64."""
    shape = (descriptors.shape[0], descriptors.shape[1])
    if mask is None:
        return torch.ones(shape, dtype=torch.float64, device=descriptors.device)
    flat = mask.flatten(1)
    check_shape("mask", flat, shape, "One entry a descriptor: (B, N), or (B, H, W) of the same grid.")
    return flat.bool().double()


def _used(
    descriptors: torch.Tensor, mask: torch.Tensor | None, least: int
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The descriptors to fit on, a row each."""
    check_shape("descriptors", descriptors, "BNC", _AS_LIST)
    used = descriptors.detach()[_weights(descriptors, mask) > 0]  # (n, C)
    if len(used) < least:
        raise RangeError(
            f"descriptors: expected at least {least} to fit on, got {len(used)}. Give more images, or lower k."
        )
    values: np.ndarray[tuple[int, int], np.dtype[np.float64]] = used.cpu().double().numpy()
    return values


def _posteriors(x: torch.Tensor, weights: torch.Tensor, means: torch.Tensor, variances: torch.Tensor) -> torch.Tensor:
    """How much each Gaussian is to be held responsible for each descriptor: ``(B, N, k)``, rows add to 1."""
    precise = 1 / variances  # (k, C)
    distance = x**2 @ precise.T - 2 * x @ (means * precise).T + (means**2 * precise).sum(dim=1)  # (B, N, k)
    return torch.softmax(weights.log() - 0.5 * (distance + variances.log().sum(dim=1)), dim=2)
