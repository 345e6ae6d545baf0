"""CLP: cross-convolutional-layer pooling (Liu, Shen, van den Hengel, 2015).

Each channel of the next layer weighs this layer's descriptors and adds them up; the sums stand one after the other.

Source: Liu, Shen, van den Hengel: The Treasure beneath Convolutional Layers: Cross-convolutional-layer Pooling for
Image Classification, CVPR 2015 (the extended abstract). Open there: whose layers 4 and 5 are meant, how the vector is
normalised, whether descriptors go through a PCA first, what stands beyond the border, layers of unequal size, and what
"coarse quantization" is. What follows a third party's port of what looks like the authors' MATLAB
(shoaibahmed/CrossLayerPooling) says so.
Shapes that do not fit raise a ``ShapeError``, throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch.nn import functional

from ask_lib.checks import check_choice, check_range, check_shape
from ask_lib.errors import RangeError
from ask_lib.methods.descriptors import PCA, check_map, l2_normalize, resize_mask, signed_sqrt

if TYPE_CHECKING:
    import numpy.typing as npt


def unfold(local: torch.Tensor, kernel_size: int | tuple[int, int], stride: int = 1) -> torch.Tensor:
    """The m x n patch about each cell as one long descriptor; m x n and the stride are the next layer's.

    Beyond the border are zeros, as that layer's convolution sees them. (The port leaves the border's units out.)

    >>> unfold(torch.tensor([[[[1.0, 2.0, 3.0]]]]), (1, 3))[0, :, 0]
    tensor([[0., 1., 2.],
            [1., 2., 3.],
            [2., 3., 0.]])

    Args:
        local: ``(B, C, H, W)``.
        kernel_size: m and n, rows and columns; an even one reaches further to the lower right.
        stride: Cells from one patch to the next.

    Returns:
        ``(B, m * n * C, H', W')``: row by row, in it column by column, in it the channels.
    """
    check_map(local)
    check_range("stride", stride, 1)
    m, n = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    for length in (m, n):
        check_range("kernel_size", length, 1)
    height, width = local.shape[2:]
    padded = functional.pad(local, ((n - 1) // 2, n // 2, (m - 1) // 2, m // 2))
    shifted = [padded[:, :, y : y + height : stride, x : x + width : stride] for y in range(m) for x in range(n)]
    return torch.cat(shifted, dim=1) if len(shifted) > 1 else shifted[0]


def cross_layer_pool(local: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """[CLP-1] The sum of the local descriptors once for each channel of the next layer, weighted by its response.

    >>> cross_layer_pool(torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[1.0, 0.0]], [[3.0, 1.0]]]]))
    tensor([[1., 5.]])

    Layers of unequal size (open in the paper): each cell of the finer grid takes the coarse one that holds its centre.
    Where the next layer has a stride, ``unfold`` with that stride gives each of its units one patch instead.

    Args:
        local: ``(B, D, H, W)``, layer t: its cells, or their patches by ``unfold``.
        weights: ``(B, K, h, w)``, layer t + 1, after ReLU.

    Returns:
        ``(B, K * D)``: channel k's sum before that of k + 1; in single precision at least.
    """
    check_map(local)
    check_map(weights)
    check_shape("weights", weights, (len(local), "K", "h", "w"), "Both maps must be of the same images.")
    height, width = (max(sizes) for sizes in zip(local.shape[2:], weights.shape[2:], strict=True))
    wide = torch.promote_types(torch.promote_types(local.dtype, weights.dtype), torch.float32)
    x, a = (_enlarged(maps.to(wide), (height, width)).flatten(2) for maps in (local, weights))  # (B, D, N), (B, K, N)
    pooled: torch.Tensor = a @ x.mT  # [CLP-1] (B, K, D)
    return pooled.flatten(1)


def _standardize(blocks: torch.Tensor) -> torch.Tensor:
    """Each image's whole vector to mean 0 and standard deviation 1 (n - 1 in the denominator); zeros stay zeros."""
    centred = blocks.flatten(1) - blocks.flatten(1).mean(dim=1, keepdim=True)
    return (l2_normalize(centred) * math.sqrt(centred.shape[1] - 1)).view(blocks.shape)


NORMALIZATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "channel": l2_normalize,
    "standardize": _standardize,
    "root": signed_sqrt,
    "l2": lambda blocks: l2_normalize(blocks.flatten(1)).view(blocks.shape),
}
PORT = ("channel", "standardize", "root", "l2")


def normalize(pooled: torch.Tensor, channels: int, steps: Sequence[str] = PORT) -> torch.Tensor:
    """The pooled vector, normalised step by step.

    Open in the paper. The default is the port's: each weight channel's sum to unit length, the whole vector to mean 0
    and standard deviation 1, signed square root, unit length.

    >>> normalize(torch.tensor([[3.0, 4.0, 0.0, 5.0]]), 2, ["channel"])
    tensor([[0.6000, 0.8000, 0.0000, 1.0000]])

    Args:
        pooled: ``(B, K * D)``, as ``cross_layer_pool`` gives it.
        channels: K.
        steps: Of ``NORMALIZATIONS``, in this order; another name raises a ``ChoiceError``.
    """
    check_range("channels", channels, 1)
    check_shape("pooled", pooled, ("B", pooled.shape[-1] // channels * channels), "K blocks of equal length.")
    blocks = pooled.view(len(pooled), channels, -1)  # (B, K, D)
    for step in steps:
        check_choice("steps", step, NORMALIZATIONS)
        blocks = NORMALIZATIONS[step](blocks)
    return blocks.flatten(1)


def join(*vectors: torch.Tensor) -> torch.Tensor:
    """Vectors of one image joined, each of unit length: CL-45C is CL-45 and CL-45F, the same layers of larger images.

    >>> join(torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0]]))
    tensor([[0.6000, 0.8000, 1.0000]])
    """
    return torch.cat([l2_normalize(each) for each in vectors], dim=1)


class LargePCA(PCA):
    """`PCA` for many or long vectors, patches or pooled ones: scikit-learn finds the axes, in their own precision.

    It transforms as `PCA` does, mean subtracted. (The port projects patches without that.)

    >>> LargePCA(1).fit(torch.tensor([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]])).transform(torch.tensor([[4.0, 9.0]]))
    tensor([[2.]])

    Args:
        dim: As of `PCA`.
        whiten: As of `PCA`.
        solver: ``svd_solver`` of scikit-learn's PCA; ``auto`` draws at random where that pays, ``full`` is exact.
        seed: Of a randomised solver.
    """

    def __init__(self, dim: int, whiten: bool = False, *, solver: str = "auto", seed: int = 0) -> None:
        super().__init__(dim, whiten)
        self.solver, self.seed = solver, seed

    def fit(self, vectors: torch.Tensor) -> Self:
        """Find the axes of ``(N, D)``; raises as `PCA` does."""
        from sklearn.decomposition import PCA as ScikitPCA

        check_shape("vectors", vectors, "ND", "One row a vector; descriptors (B, N, C) become rows by flatten(0, 1).")
        check_range("number of vectors", len(vectors), max(2, self.dim))
        check_range("dim", self.dim, 1, vectors.shape[1])
        found = ScikitPCA(self.dim, svd_solver=self.solver, random_state=self.seed)
        found.fit(vectors.detach().cpu().numpy())
        axes = torch.from_numpy(found.components_).double()  # (dim, D)
        self.mean = torch.from_numpy(found.mean_).double()
        self.axes = axes * axes.gather(1, axes.abs().argmax(dim=1, keepdim=True)).sign()
        self.spread = torch.from_numpy(found.explained_variance_).double().clamp(min=0).sqrt()
        return self


def quantize(vectors: torch.Tensor, *, signed: bool = True) -> npt.NDArray[np.uint8]:
    """The coarse quantisation: of each component, the sign or zero is kept; ``nbytes`` of the result is its memory.

    Open in the paper, which does not define it. Quantise the sums themselves: once standardised, none is zero. Without
    a PCA of the local descriptors no sum is negative after ReLU: the code is binary (do the two channels ever meet?),
    and ``signed=False`` takes one bit in place of two, 1/32 of single precision in place of 1/16.

    >>> code = quantize(torch.tensor([[0.5, 0.0, -2.0, 1.0]]))
    >>> dequantize(code, 4), code.nbytes
    (tensor([[ 1,  0, -1,  1]], dtype=torch.int8), 2)

    Returns:
        ``(B, 2, ceil(D / 8))``: a bit where ``(B, D)`` is positive, a bit where it is negative; not signed, the first.

    Raises:
        RangeError: If a component is NaN, or negative where ``signed`` is False.
    """
    check_shape("vectors", vectors, "BD", "One row an image.")
    if not bool((vectors >= (-torch.inf if signed else 0)).all()):
        raise RangeError("vectors: expected numbers, with signed=False none below 0. NaN has no sign.")
    kept = [vectors > 0, vectors < 0] if signed else [vectors > 0]
    return np.packbits(torch.stack(kept, dim=1).cpu().numpy(), axis=2)


def dequantize(code: npt.NDArray[np.uint8], dim: int) -> torch.Tensor:
    """-1, 0 and 1 of a code of ``quantize``, int8, ``(B, dim)``.

    >>> dequantize(quantize(torch.tensor([[0.5, 0.0]]), signed=False), 2)
    tensor([[1, 0]], dtype=torch.int8)
    """
    bits = torch.from_numpy(np.unpackbits(code, axis=2, count=dim)).to(torch.int8)  # (B, 1 or 2, D)
    return bits[:, 0] - bits[:, 1:].sum(dim=1, dtype=torch.int8)


def _enlarged(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """On a grid of that size, each cell the one that holds its centre."""
    if maps.shape[2:] == size:
        return maps
    return resize_mask(maps.flatten(0, 1), size).view(*maps.shape[:2], *size)
