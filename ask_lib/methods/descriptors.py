"""From a layer's map to local descriptors and back: the one file that the methods share.

A map is ``(B, C, H, W)``. Its cell (x, y) is the descriptor of one place: a vector of C numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from ask_lib.checks import check_choice, check_device, check_range, check_shape
from ask_lib.errors import AskError, RangeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ADD_BATCH = "Add a batch axis with features[None] if it is one image's map."


def to_descriptors(features: torch.Tensor) -> torch.Tensor:
    """The map's cells as a list of descriptors, row by row.

    Args:
        features: ``(B, C, H, W)``.

    Returns:
        ``(B, H*W, C)``; cell (x, y) is entry ``y * W + x``.

    Raises:
        ShapeError: If ``features`` is not four-dimensional.
    """
    check_shape("features", features, "BCHW", _ADD_BATCH)
    return features.flatten(2).transpose(1, 2)  # (B, H*W, C)


def l2_normalize(x: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """Scale to unit length along ``dim``; a zero vector stays zero (no division by an epsilon that shows).

    The largest absolute value is divided out first, so that no square overflows or vanishes: in float32 that would
    begin at 1e19 and 1e-19. It is a constant to the gradient, as the result does not depend on it. At a zero vector,
    where the function has no gradient, the gradient passes through unchanged.
    """
    if not x.numel():
        return x
    peak = x.detach().abs().amax(dim=dim, keepdim=True)
    x = x / torch.where(peak == 0, 1.0, peak)
    norm = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return x / torch.where(norm == 0, 1.0, norm)


def unit_length_numpy(x: NDArray[np.floating], axis: int = -1) -> NDArray[np.floating]:
    """`l2_normalize` in numpy, for a method that is in numpy from end to end."""
    peak = np.abs(x).max(axis=axis, keepdims=True)
    with np.errstate(invalid="ignore"):  # infinity by infinity: NaN, as torch has it without a word
        x = x / np.where(peak == 0, 1, peak)
    norm = np.sqrt((x * x).sum(axis=axis, keepdims=True))
    x /= np.where(norm == 0, 1, norm)
    return x


def signed_sqrt(x: torch.Tensor) -> torch.Tensor:
    """``sign(x) * sqrt(|x|)``, element by element.

    At 0 the slope is infinite; there the gradient is set to 0, as zeros are common after a ReLU and one infinity
    would spoil all that lies before it.
    """
    safe = torch.where(x == 0, 1.0, x.abs())  # chosen before the root: 0 * infinity is NaN in the chain rule
    return x.sign() * safe.sqrt()


def above_mean(maps: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
    """Cells strictly above ``factor`` times their map's mean.

    The mean is taken in float64. A map whose largest value equals its smallest selects nothing: in float32
    a mean can round below the constant that it averages, and every cell would pass. (Departs from SCDA's authors' code,
    whose mean is in single precision.) A map that holds NaN or infinity has no mean: all its cells pass, so that what
    is made of them shows the fault.

    Source: the mask of SCDA and the focus area of PCL (both with factor 1).

    Args:
        maps: ``(B, H, W)``.
        factor: Multiple of the mean; the papers use 1.

    Returns:
        bool, ``(B, H, W)``.

    Raises:
        ShapeError: If ``maps`` is not three-dimensional.
    """
    check_shape("maps", maps, "BHW", "Sum or average the channels of a (B, C, H, W) map first.")
    if not maps.numel():
        return torch.zeros_like(maps, dtype=torch.bool)
    if suits_numpy(maps):
        return torch.from_numpy(above_mean_numpy(maps.detach().numpy(), factor))
    wide = maps.double()  # (B, H, W)
    mean = wide.mean(dim=(1, 2), keepdim=True)  # (B, 1, 1)
    varies = wide.amax(dim=(1, 2), keepdim=True) > wide.amin(dim=(1, 2), keepdim=True)  # (B, 1, 1)
    return ((wide > factor * mean) & varies) | ~mean.isfinite()


def above_mean_numpy(maps: NDArray[np.floating], factor: float = 1.0) -> NDArray[np.bool_]:
    """`above_mean` in numpy, whose calls are quicker to make than torch's."""
    wide = maps.reshape(len(maps), -1).astype(np.float64)  # (B, H*W)
    mean = row_means_numpy(wide)
    varies = wide.max(axis=1, keepdims=True) > wide.min(axis=1, keepdims=True)
    above: NDArray[np.bool_] = ((wide > factor * mean) & varies) | ~np.isfinite(mean)
    return above.reshape(maps.shape)


def row_means_numpy(wide: NDArray[np.float64]) -> NDArray[np.float64]:
    """The means that `above_mean_numpy` compares with, of maps in rows: ``(B, N)`` to ``(B, 1)``.

    The explorer's page compares with the same ones: summed in another order, a mean could differ in its last bit.
    """
    with np.errstate(invalid="ignore"):  # infinities of both signs: NaN, which is dealt with
        total: NDArray[np.float64] = wide.sum(axis=1, keepdims=True)
    means: NDArray[np.float64] = total / wide.shape[1]
    return means


def masked_mean(features: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Mean of the kept descriptors; a zero vector where none is kept.

    Args:
        features: ``(B, C, H, W)``.
        mask: bool, ``(B, H, W)``, True = kept; None keeps all.

    Returns:
        ``(B, C)``.

    Raises:
        ShapeError: If the shapes do not fit.
    """
    check_shape("features", features, "BCHW", _ADD_BATCH)
    if mask is None:
        return features.mean(dim=(2, 3))
    kept = flat_mask(features, mask)  # (B, H*W)
    wide = torch.promote_types(features.dtype, torch.float32)
    total = torch.where(kept[:, None], features.flatten(2), 0.0).sum(dim=2, dtype=wide)  # a dropped infinity is no NaN
    return (total / kept.sum(dim=1, keepdim=True).clamp(min=1)).to(features.dtype)  # (B, C)


def masked_max(features: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Largest value of the kept descriptors, channel by channel; a zero vector where none is kept.

    Args:
        features: ``(B, C, H, W)``, of any sign.
        mask: bool, ``(B, H, W)``, True = kept; None keeps all.

    Returns:
        ``(B, C)``.

    Raises:
        ShapeError: If the shapes do not fit.
    """
    check_shape("features", features, "BCHW", _ADD_BATCH)
    if mask is None:
        return features.amax(dim=(2, 3))
    kept = flat_mask(features, mask)  # (B, H*W)
    peak = features.flatten(2).masked_fill(~kept[:, None], -torch.inf).amax(dim=2)  # (B, C)
    return peak.masked_fill(~kept.any(dim=1, keepdim=True), 0.0)


def masked_mean_max(features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``masked_mean`` and ``masked_max`` together.

    On the CPU, where no gradient is wanted, only the kept descriptors are read, image after image: that is several
    times faster than to work on whole maps, which must be copied for the maximum.

    Args:
        features: ``(B, C, H, W)``.
        mask: bool, ``(B, H, W)``, True = kept.

    Returns:
        ``(B, 2, C)``: mean, maximum.

    Raises:
        ShapeError: If the shapes do not fit.
    """
    check_shape("features", features, "BCHW", _ADD_BATCH)
    if suits_numpy(features):
        return torch.from_numpy(mean_max_numpy(features.detach().flatten(2).numpy(), flat_mask(features, mask).numpy()))
    return torch.stack([masked_mean(features, mask), masked_max(features, mask)], dim=1)


def suits_numpy(x: torch.Tensor) -> bool:
    """Whether numpy may take over a step: on the CPU, in single or double precision, with no gradient wanted.

    Nor may anyone be watching what torch does: a tracer, the compiler, ``torch.func``, or forward differentiation.
    """
    if torch.compiler.is_compiling() or watched():
        return False
    wants_gradient = torch.is_grad_enabled() and x.requires_grad
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and not wants_gradient


def watched() -> bool:
    """Whether a tracer, ``torch.func`` or forward differentiation follows each of torch's steps."""
    return (
        bool(torch._C._get_tracing_state())
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
    )


def resize_mask(mask: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """A mask on another grid over the same picture: each cell takes the one that holds its centre.

    It is nearest-neighbour in whole numbers, so that no rounding decides: a centre on the border of two cells takes
    the right or lower one, as MATLAB's ``imresize(..., 'nearest')`` and torch's ``nearest-exact`` mean to (in
    float32 torch's falls to the other side for some sizes).

    Args:
        mask: ``(B, H, W)``.
        size: (H, W) of the new grid.

    Returns:
        ``(B, *size)``, same type.

    Raises:
        ShapeError: If ``mask`` is not three-dimensional.
        RangeError: If ``size`` is not positive.
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
    """Principal axes of vectors, with or without whitening; found by scikit-learn, applied on any device.

    Departs from paper: SCDA's Table 4 has rows "PCA", "SVD" and "SVD + whitening" and does not say how they differ.
    Here SVD is the same without centring, ``center=False``; whitening divides by the spread along each axis.

    A component without spread gives 0 when whitened. Signs are settled, so that two fits agree: along each axis the
    largest loading is positive (``center=False``), or scikit-learn's choice of the same kind.

    Args:
        dim: How many axes to keep.
        whiten: Divide by the standard deviation (n - 1 in the denominator) along each axis; without centring by the
            root of the mean square, same denominator.
        center: Subtract the mean first.
        solver: ``"full"``: exact; ``"randomized"``: quicker for long vectors, only with ``center``.
        seed: Of the randomized solver.

    Attributes:
        mean: ``(D,)`` float64 on the CPU, zero without centring; after ``fit``.
        axes: ``(dim, D)`` float64 on the CPU, orthonormal rows; after ``fit``.
        spread: ``(dim,)`` float64 on the CPU, what whitening divides by; after ``fit``.

    Raises:
        RangeError: If ``dim`` is not positive.
        ChoiceError: If there is no such solver.
    """

    def __init__(
        self, dim: int, whiten: bool = False, *, center: bool = True, solver: str = "full", seed: int = 0
    ) -> None:
        check_range("dim", dim, 1)
        check_choice("solver", solver, ["full", "randomized"] if center else ["full"])
        self.dim, self.whiten, self.center, self.solver, self.seed = dim, whiten, center, solver, seed
        self.mean: torch.Tensor | None = None
        self.axes: torch.Tensor | None = None
        self.spread: torch.Tensor | None = None

    def fit(self, vectors: torch.Tensor) -> Self:
        """Find the axes.

        Args:
            vectors: ``(N, D)``, N at least 2.

        Raises:
            ShapeError: If ``vectors`` is not two-dimensional.
            RangeError: If there are fewer than 2 vectors, or fewer than ``dim`` of them or of their components.
        """
        check_shape("vectors", vectors, "ND", "One row a vector; descriptors (B, N, C) become rows by flatten(0, 1).")
        if len(vectors) < 2 or self.dim > min(vectors.shape):
            needed = f"at least {max(2, self.dim)} vectors of at least {self.dim} components"
            raise RangeError(
                f"vectors: expected {needed}, got {tuple(vectors.shape)}. Lower dim, or give more vectors."
            )
        values = vectors.detach().cpu().double().numpy()
        mean, axes, spread = self._centred(values) if self.center else self._uncentred(values)
        self.mean, self.axes, self.spread = (torch.from_numpy(np.array(part)) for part in (mean, axes, spread))
        return self

    def transform(self, vectors: torch.Tensor) -> torch.Tensor:
        """Coordinates along the axes.

        Args:
            vectors: ``(..., D)``.

        Returns:
            ``(..., dim)``, on the device and in the type of ``vectors``; not normalised.

        Raises:
            AskError: Before ``fit``.
            ShapeError: If the vectors have another length than those of ``fit``.
        """
        if self.mean is None or self.axes is None or self.spread is None:
            raise AskError("This PCA has no axes yet: call fit(vectors) first.")
        pattern: list[str | int] = [*(f"n{i}" for i in range(vectors.ndim - 1)), self.axes.shape[1]]
        check_shape("vectors", vectors, pattern, "The length must be that of the vectors in fit.")
        axes = self.axes
        if self.whiten:
            dead = self.spread <= self.spread.max() * torch.finfo(torch.float64).eps * len(self.mean)
            axes = (axes / torch.where(dead, 1.0, self.spread)[:, None]).masked_fill(dead[:, None], 0.0)
        return (vectors - self.mean.to(vectors)) @ axes.T.to(vectors)

    def _centred(self, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        from sklearn.decomposition import PCA as Decomposition

        found = Decomposition(self.dim, svd_solver=self.solver, random_state=self.seed).fit(values)
        return found.mean_, found.components_, np.sqrt(found.explained_variance_)

    def _uncentred(self, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        from scipy.linalg import svd

        _, singular, axes = svd(values, full_matrices=False)
        axes = axes[: self.dim]
        sign = np.sign(axes[np.arange(self.dim), np.abs(axes).argmax(axis=1)])
        spread = singular[: self.dim] / np.sqrt(len(values) - 1)
        return np.zeros(values.shape[1]), axes * sign[:, None], spread


def flat_mask(features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mask of a map as ``(B, H*W)`` bool, once it is sure that the two fit."""
    batch, _, height, width = features.shape
    check_shape("mask", mask, (batch, height, width), "One mask an image, on the layer's own grid.")
    check_device("mask", mask, features.device)
    return mask.bool().flatten(1)  # (B, H*W)


def mean_max_numpy(maps: NDArray[np.floating], kept: NDArray[np.bool_]) -> NDArray[np.floating]:
    """`masked_mean_max` in numpy: ``(B, C, N)`` under ``(B, N)`` to ``(B, 2, C)``; only kept descriptors are read."""
    pairs = np.zeros((maps.shape[0], 2, maps.shape[1]), dtype=maps.dtype)
    for image, cells, pair in zip(maps, kept, pairs, strict=True):
        chosen = image[:, cells]  # (C, n)
        if chosen.shape[1]:
            chosen.mean(axis=1, out=pair[0])
            chosen.max(axis=1, out=pair[1])
    return pairs
