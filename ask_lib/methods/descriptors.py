"""From a layer's map to local descriptors and back: the one file that the methods share.

A map is ``(B, C, H, W)``. Its cell (x, y) is the descriptor of one place: a vector of C numbers.
Shapes that do not fit raise a ``ShapeError``, throughout.
"""

from __future__ import annotations

from typing import Self

import torch

from ask_lib.checks import check_device, check_range, check_shape
from ask_lib.errors import AskError, RangeError, ShapeError

_ADD_BATCH = "Add a batch axis with features[None] if it is one image's map."


def to_descriptors(features: torch.Tensor) -> torch.Tensor:
    """The cells of a map ``(B, C, H, W)``, row by row: ``(B, H*W, C)``; cell (x, y) is entry ``y * W + x``.

    >>> to_descriptors(torch.zeros(2, 5, 3, 4)).shape
    torch.Size([2, 12, 5])
    """
    check_shape("features", features, "BCHW", _ADD_BATCH)
    return features.flatten(2).transpose(1, 2)  # (B, H*W, C)


def l2_normalize(x: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """Scale to unit length along ``dim``; a zero vector stays zero (no division by an epsilon that shows).

    The largest absolute value is divided out first, so that no square overflows or vanishes: in float32 that would
    begin at 1e19 and 1e-19. It is a constant to the gradient, as the result does not depend on it. At a zero vector,
    where the function has no gradient, the gradient passes through unchanged.

    >>> l2_normalize(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    if not x.numel():
        return x
    peak = x.detach().abs().amax(dim=dim, keepdim=True)
    x = x / torch.where(peak == 0, 1.0, peak)
    norm = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return x / torch.where(norm == 0, 1.0, norm)


def signed_sqrt(x: torch.Tensor) -> torch.Tensor:
    """``sign(x) * sqrt(|x|)``, element by element.

    At 0 the slope is infinite; there the gradient is set to 0, as zeros are common after a ReLU and one infinity
    would spoil all that lies before it.

    >>> signed_sqrt(torch.tensor([-4.0, 0.0, 9.0]))
    tensor([-2.,  0.,  3.])
    """
    safe = torch.where(x == 0, 1.0, x.abs())  # chosen before the root: 0 * infinity is NaN in the chain rule
    return x.sign() * safe.sqrt()


def above_mean(maps: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
    """Cells strictly above ``factor`` times their map's mean.

    The mean is taken in float64. A map whose largest value equals its smallest selects nothing: in float32
    a mean can round below the constant that it averages, and every cell would pass. (Departs from SCDA's authors' code,
    whose mean is in single precision.) A map that holds NaN or infinity has no mean: all its cells pass, so that what
    is made of them shows the fault.

    >>> above_mean(torch.tensor([[[1.0, 2.0, 3.0]]]))
    tensor([[[False, False,  True]]])

    Source: the mask of SCDA and the focus area of PCL (both with factor 1).

    Args:
        maps: ``(B, H, W)``; so is the result, bool.
        factor: Multiple of the mean; the papers use 1.
    """
    check_shape("maps", maps, "BHW", "Sum or average the channels of a (B, C, H, W) map first.")
    if not maps.numel():
        return torch.zeros_like(maps, dtype=torch.bool)
    wide = maps.double()  # (B, H, W)
    mean = wide.mean(dim=(1, 2), keepdim=True)  # (B, 1, 1)
    varies = wide.amax(dim=(1, 2), keepdim=True) > wide.amin(dim=(1, 2), keepdim=True)  # (B, 1, 1)
    return ((wide > factor * mean) & varies) | ~mean.isfinite()


def avg_pool(features: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Mean of the descriptors. A cell that is not finite shows in it, kept or not.

    >>> avg_pool(torch.tensor([[[[1.0, 2.0, 6.0]]]]), torch.tensor([[[True, True, False]]]))
    tensor([[1.5000]])

    Args:
        features: ``(B, C, H, W)``.
        mask: bool, ``(B, H, W)``, True = kept; None keeps all. An empty mask gives a zero vector.

    Returns:
        ``(B, C)``.
    """
    check_map(features, mask)
    if mask is None:
        return features.mean(dim=(2, 3))
    wide = features.flatten(2).to(torch.promote_types(features.dtype, torch.float32))  # a sum overflows in half
    kept = mask.bool().flatten(1).to(wide.dtype)  # (B, H*W)
    share = kept / kept.sum(dim=1, keepdim=True).clamp(min=1)
    return (wide @ share[..., None])[..., 0].to(features.dtype)  # (B, C); a product copies no map


def max_pool(features: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Largest value of the descriptors, of any sign, channel by channel; shapes and mask as of ``avg_pool``.

    >>> max_pool(torch.tensor([[[[1.0, 2.0, 6.0]]]]), torch.tensor([[[True, True, False]]]))
    tensor([[2.]])
    """
    check_map(features, mask)
    if mask is None:
        return features.amax(dim=(2, 3))
    kept = mask.bool()
    ceiling = torch.where(kept, torch.inf, -torch.inf).to(features.dtype)[:, None]  # (B, 1, H, W)
    peak = features.clamp(max=ceiling).amax(dim=(2, 3))  # (B, C); several times quicker than torch.where
    return peak.masked_fill(~kept.flatten(1).any(dim=1, keepdim=True), 0.0)


def check_map(features: torch.Tensor, mask: torch.Tensor | None = None) -> None:
    """Raise unless ``features`` is a map ``(B, C, H, W)`` of at least one cell, and ``mask`` of its grid and device."""
    check_shape("features", features, "BCHW", _ADD_BATCH)
    batch, _, height, width = features.shape
    if not height * width:
        raise ShapeError(f"features: expected at least one cell, got a grid of {height} x {width}.")
    if mask is not None:
        check_shape("mask", mask, (batch, height, width), "One mask an image, on the layer's own grid.")
        check_device("mask", mask, features.device)


def resize_mask(mask: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """A mask on another grid over the same picture: each cell takes the one that holds its centre.

    It is nearest-neighbour in whole numbers, so that no rounding decides: a centre on the border of two cells takes
    the right or lower one, as MATLAB's ``imresize(..., 'nearest')`` and torch's ``nearest-exact`` mean to (in
    float32 torch's falls to the other side for some sizes).

    >>> resize_mask(torch.tensor([[[True, False]]]), (1, 4))
    tensor([[[ True,  True, False, False]]])

    Args:
        mask: ``(B, H, W)``.
        size: (H, W) of the new grid.

    Returns:
        ``(B, *size)``, same type.
    """
    check_shape("mask", mask, "BHW", "Add a batch axis with mask[None] if it is one mask.")
    for length in size:
        check_range("size", length, 1)
    rows, columns = (
        torch.arange(new, device=mask.device).mul(2).add(1).mul(old).div(2 * new, rounding_mode="floor")
        for new, old in zip(size, mask.shape[1:], strict=True)
    )  # cell i's centre lies at (i + 1/2) * old / new
    return mask[:, rows[:, None], columns]  # (B, H', W')


class PCA:
    """Principal axes of vectors, with or without whitening.

    Departs from paper: SCDA's Table 4 has rows "PCA", "SVD" and "SVD + whitening" and does not say how they differ.
    Here SVD is the same without centring, ``center=False``; whitening divides by the spread along each axis. A
    component without spread gives 0 when whitened. Along each axis the largest loading is positive, so that two fits
    agree.

    >>> PCA(1).fit(torch.tensor([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]])).transform(torch.tensor([[4.0, 9.0]]))
    tensor([[2.]])

    Args:
        dim: How many axes to keep, at least 1.
        whiten: Divide by the standard deviation (n - 1 in the denominator) along each axis; without centring by the
            root of the mean square, same denominator.
        center: Subtract the mean first.

    Attributes:
        mean: ``(D,)`` float64 on the CPU, zero without centring; after ``fit``.
        axes: ``(dim, D)`` float64 on the CPU, orthonormal rows; after ``fit``.
        spread: ``(dim,)`` float64 on the CPU, what whitening divides by; after ``fit``.
    """

    def __init__(self, dim: int, whiten: bool = False, *, center: bool = True) -> None:
        check_range("dim", dim, 1)
        self.dim, self.whiten, self.center = dim, whiten, center
        self.mean = self.axes = self.spread = torch.empty(0)

    def fit(self, vectors: torch.Tensor) -> Self:
        """Find the axes of ``(N, D)``.

        Raises:
            RangeError: If there are fewer than 2 vectors, or fewer than ``dim`` of them or of their components.
        """
        check_shape("vectors", vectors, "ND", "One row a vector; descriptors (B, N, C) become rows by flatten(0, 1).")
        if len(vectors) < 2 or self.dim > min(vectors.shape):
            needed = f"at least {max(2, self.dim)} vectors of at least {self.dim} components"
            raise RangeError(
                f"vectors: expected {needed}, got {tuple(vectors.shape)}. Lower dim, or give more vectors."
            )
        values = vectors.detach().cpu().double()
        self.mean = values.mean(dim=0) if self.center else values.new_zeros(values.shape[1])
        _, singular, axes = torch.linalg.svd(values - self.mean, full_matrices=False)
        axes = axes[: self.dim]
        self.axes = axes * axes.gather(1, axes.abs().argmax(dim=1, keepdim=True)).sign()
        self.spread = singular[: self.dim] / (len(values) - 1) ** 0.5
        return self

    def transform(self, vectors: torch.Tensor) -> torch.Tensor:
        """Coordinates of ``(..., D)`` along the axes: ``(..., dim)``, on their device and in their type.

        Raises:
            AskError: Before ``fit``.
        """
        if not len(self.axes):
            raise AskError("This PCA has no axes yet: call fit(vectors) first.")
        pattern: list[str | int] = [*(f"n{i}" for i in range(vectors.ndim - 1)), self.axes.shape[1]]
        check_shape("vectors", vectors, pattern, "The length must be that of the vectors in fit.")
        axes = self.axes
        if self.whiten:
            dead = self.spread <= self.spread.max() * torch.finfo(torch.float64).eps * len(self.mean)
            axes = (axes / torch.where(dead, 1.0, self.spread)[:, None]).masked_fill(dead[:, None], 0.0)
        return (vectors - self.mean.to(vectors)) @ axes.T.to(vectors)
