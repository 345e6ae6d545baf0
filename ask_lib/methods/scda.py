"""SCDA: selective convolutional descriptor aggregation (Wei et al., 2017).

Add up the channels, keep the cells above the mean, keep the largest piece of them, describe the picture by the mean and
the maximum of the kept descriptors. Nothing is learned.

Source: Wei, Luo, Wu, Zhou: Selective Convolutional Descriptor Aggregation for Fine-Grained Image Retrieval, IEEE TIP
26(6), 2017, and the authors' talk on it. The talk does not number its equations: the tags are the book's. What the talk
leaves open is settled by the authors' MATLAB code.
Shapes that do not fit raise a ``ShapeError``, throughout.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from ask_lib.checks import check_shape
from ask_lib.errors import RangeError
from ask_lib.methods.descriptors import above_mean, avg_pool, l2_normalize, max_pool, resize_mask

_TOUCHING = np.zeros((3, 3, 3), dtype=bool)
_TOUCHING[1] = True  # the eight cells around in the same mask, none of another mask
_ADD_BATCH = "Add a batch axis with mask[None] if it is one mask."


def activation_map(features: torch.Tensor) -> torch.Tensor:
    """[SCDA-1] The activation map: the sum over channels of ``(B, C, H, W)``, after ReLU.

    >>> activation_map(torch.tensor([[[[3.0, 0.0, 1.0]], [[4.0, 0.0, 0.0]]]]))
    tensor([[[7., 0., 1.]]])

    Returns:
        ``(B, H, W)``, in single precision at least.
    """
    check_shape("features", features, "BCHW", "Add a batch axis with features[None] if it is one image's map.")
    wide = torch.promote_types(features.dtype, torch.float32)  # in half precision 512 channels overflow, or round
    return features.sum(dim=1, dtype=wide)  # [SCDA-1] (B, H, W)


def mean_mask(features: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
    """[SCDA-2] Cells whose activation lies above the map's mean: bool, ``(B, H, W)``.

    Args:
        features: ``(B, C, H, W)``, after ReLU.
        factor: Multiple of the mean; SCDA's is 1.
    """
    return above_mean(activation_map(features), factor)  # [SCDA-2]


def selection_mask(features: torch.Tensor, largest: bool = True) -> torch.Tensor:
    """The cells that SCDA keeps: the largest component of those above the mean.

    >>> selection_mask(torch.tensor([[[[3.0, 0.0, 4.0, 5.0]]]]))
    tensor([[[False, False,  True,  True]]])

    Args:
        features: ``(B, C, H, W)``, after ReLU.
        largest: False keeps all cells above the mean, as ``mean_mask`` does.

    Returns:
        bool, ``(B, H, W)``; a constant map gives an empty mask, a map with NaN or infinity a full one.
    """
    mask = mean_mask(features)  # [SCDA-2]
    return largest_component(mask) if largest else mask  # [SCDA-3]


def largest_component(mask: torch.Tensor) -> torch.Tensor:
    """[SCDA-3] The largest connected component of each mask, exactly.

    Cells that touch, corners included, are connected. Of components of one size the first is kept: that which comes
    first column by column, each column from above. An empty mask stays empty. (The authors' ``bwconncomp`` and ``max``
    do the same, except that they fail on an empty mask.)

    On the CPU scipy labels all masks in one call: the one step that leaves torch, since nothing in torch is as quick.
    On a GPU cells adopt the smallest number about them, and follow it as a pointer, until nothing changes; then each
    component has one number. Only "did anything change" leaves the device, once a round.

    >>> largest_component(torch.tensor([[[True, False, True, True]]]))
    tensor([[[False, False,  True,  True]]])

    Args:
        mask: bool, ``(B, H, W)``; so is the result.
    """
    check_shape("mask", mask, "BHW", _ADD_BATCH)
    if not mask.numel():
        return mask.bool()
    find = _largest_by_scipy if mask.device.type == "cpu" else _largest_by_pointers
    return find(mask.bool())


def scda(features: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """[SCDA-6] The mean and the maximum of the kept descriptors, each scaled to unit length.

    One kept descriptor is its own mean and maximum. Where none is kept the vector is zero; where NaN or infinity is
    kept it holds NaN. There is no second normalisation of the whole.

    Departs from the authors' code: there a single kept descriptor collapses to one number (MATLAB's ``squeeze`` turns
    it into a column, whose mean is taken). For an empty mask of relu5_2 it gives zeros too; with one of pool5 it fails.

    >>> scda(torch.tensor([[[[3.0, 0.0, 1.0]], [[4.0, 0.0, 0.0]]]]))
    tensor([[0.6000, 0.8000, 0.6000, 0.8000]])

    Args:
        features: ``(B, C, H, W)``, after ReLU.
        mask: bool, ``(B, H, W)``, True = kept; None: ``selection_mask(features)``.

    Returns:
        ``(B, 2C)``: mean, then maximum.
    """
    kept = selection_mask(features) if mask is None else mask
    halves = torch.stack([avg_pool(features, kept), max_pool(features, kept)], dim=1)  # [SCDA-4] [SCDA-5] (B, 2, C)
    return l2_normalize(halves).flatten(1)  # [SCDA-6] (B, 2C)


def lower_mask(features: torch.Tensor, component: torch.Tensor) -> torch.Tensor:
    """[SCDA-7] A lower layer's mask, bool, ``(B, H, W)``: above its own mean, in the higher layer's component.

    There is no second component step, so the mask can have several pieces, or be empty. This rule is that of the
    authors' code. The talk's Figure 6 names a largest component of relu5_2 and does not say how it is found.

    Args:
        features: ``(B, C, H, W)`` of the lower layer (relu5_2), after ReLU.
        component: bool, ``(B, h, w)``, the largest component of the higher layer (pool5).
    """
    own = mean_mask(features)  # (B, H, W)
    return own & resize_mask(component, (own.shape[1], own.shape[2]))  # [SCDA-7]


def scda_plus(pool5: torch.Tensor, relu5_2: torch.Tensor, alpha: float = 0.5) -> torch.Tensor:
    """[SCDA-8] SCDA of two layers, the lower one with weight ``alpha``.

    >>> scda_plus(torch.tensor([[[[3.0, 1.0]]]]), torch.tensor([[[[0.0, 4.0, 1.0, 1.0]]]]))
    tensor([[1.0000, 1.0000, 0.5000, 0.5000]])

    Args:
        pool5: ``(B, C, h, w)``, the last map, after ReLU and pooling.
        relu5_2: ``(B, C', H, W)``, a lower layer's map of the same images, after ReLU.
        alpha: Weight of the lower layer.

    Returns:
        ``(B, 2C + 2C')``.
    """
    component = selection_mask(pool5)  # (B, h, w)
    check_shape("relu5_2", relu5_2, (len(pool5), "C", "H", "W"), "Both maps must be of the same images.")
    lower = scda(relu5_2, lower_mask(relu5_2, component))
    return torch.cat([scda(pool5, component), alpha * lower], dim=1)  # [SCDA-8]


def scda_flip_plus(
    pool5: torch.Tensor,
    relu5_2: torch.Tensor,
    pool5_flip: torch.Tensor,
    relu5_2_flip: torch.Tensor,
    alpha: float = 0.5,
) -> torch.Tensor:
    """[SCDA-9] SCDA+ of the images and of the mirrored images, joined.

    The mirrored images go through the network again: a mirrored map is not the map of the mirrored image.

    Shapes as of ``scda_plus``; gives ``(B, 4C + 4C')``.
    """
    check_shape("pool5_flip", pool5_flip, (len(pool5), "C", "H", "W"), "Mirror the same images.")
    upright = scda_plus(pool5, relu5_2, alpha)
    return torch.cat([upright, scda_plus(pool5_flip, relu5_2_flip, alpha)], dim=1)  # [SCDA-9]


def bounding_box(mask: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The box about a mask, in pixels of the image; for ``selection_mask`` it is where SCDA sees the object.

    >>> bounding_box(torch.tensor([[[False, True], [False, False]]]), (120, 160))
    tensor([[ 80,   0, 160,  60]])

    The grid covers the whole image. The box holds the pixels whose centres lie in the mask's cells: it is the box
    about ``resize_mask(mask, size)``.

    Args:
        mask: bool, ``(B, h, w)``.
        size: (H, W) of the image, at least the mask's.

    Returns:
        int64, ``(B, 4)``: x0, y0, x1, y1, half open. An empty mask gives the whole image: the book's choice, the
        authors' code has no such case.

    Raises:
        RangeError: If the image is smaller than the grid.
    """
    check_shape("mask", mask, "BHW", _ADD_BATCH)
    if size[0] < mask.shape[1] or size[1] < mask.shape[2]:
        raise RangeError(f"size: expected at least the mask's {tuple(mask.shape[1:])}, got {tuple(size)}.")
    y0, y1 = _extent(mask.bool().any(dim=2), size[0])
    x0, x1 = _extent(mask.bool().any(dim=1), size[1])
    return torch.stack([x0, y0, x1, y1], dim=1)  # (B, 4)


def _extent(used: torch.Tensor, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """First and one past the last pixel, of ``length``, of the cells ``used`` (B, n)."""
    cells = used.shape[1]
    first = used.int().argmax(dim=1)  # (B,); 0 where none is used
    past = cells - used.flip(1).int().argmax(dim=1)  # (B,); all cells where none is used
    # Pixel i's centre lies in cell k or beyond from i = k * length / cells - 1/2, rounded up.
    edge = [-((cells - 2 * k * length).div(2 * cells, rounding_mode="floor")) for k in (first, past)]
    return edge[0], edge[1]


def _largest_by_scipy(mask: torch.Tensor) -> torch.Tensor:
    from scipy import ndimage

    upright = mask.transpose(1, 2).numpy()  # (B, W, H): now column after column
    labels, _ = ndimage.label(upright, _TOUCHING)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0  # the background
    rows = labels.reshape(len(labels), -1)  # (B, W*H)
    first = sizes[rows].argmax(axis=1)[:, None]  # the first cell of the largest component: argmax takes the first
    chosen = np.take_along_axis(rows, first, axis=1)  # (B, 1)
    kept = (rows == chosen) & (rows > 0)
    return torch.from_numpy(kept.reshape(upright.shape)).transpose(1, 2).contiguous()


def _largest_by_pointers(mask: torch.Tensor) -> torch.Tensor:
    upright = mask.transpose(1, 2)  # (B, W, H): now column after column
    labels = _label_by_pointers(upright)  # (B, W*H)
    cells = labels.shape[1]
    sizes = torch.zeros(len(labels), cells + 1, dtype=torch.long, device=mask.device)
    sizes.scatter_add_(1, labels, torch.ones_like(labels))
    chosen = sizes[:, :cells].argmax(dim=1, keepdim=True)  # (B, 1); the first of equals, background left out
    return (labels == chosen).view(upright.shape).transpose(1, 2).contiguous()


def _label_by_pointers(mask: torch.Tensor) -> torch.Tensor:
    """Number of each cell's component: that of its first cell; background is H*W. ``(B, H, W)`` to ``(B, H*W)``."""
    cells = mask.shape[1] * mask.shape[2]
    kept = mask.flatten(1)  # (B, n)
    labels = torch.where(kept, torch.arange(cells, device=mask.device), cells)  # (B, n)
    beyond = labels.new_full((len(mask), 1), cells)  # the background points to itself
    while True:
        image = labels.view(mask.shape).double()  # whole numbers up to 2**53 are exact
        around = -functional.max_pool2d(-image[:, None], 3, stride=1, padding=1).flatten(1)  # the least of nine
        least = torch.where(kept, around.long(), cells)  # (B, n)
        pointers = torch.cat([least, beyond], dim=1)  # (B, n + 1)
        pointers = pointers.scatter_reduce(1, labels, least, "amin")  # who I pointed to learns of it too
        jumped = pointers.gather(1, pointers)[:, :cells]
        if torch.equal(jumped, labels):
            return labels
        labels = jumped
