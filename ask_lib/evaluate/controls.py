"""Masks to hold a method's mask against: they look at the grid or at another image, never at the image itself."""

from __future__ import annotations

import torch

from ask_lib.checks import check_shape

_ADD_BATCH = "Add a batch axis with mask[None] if it is one mask."


def centre_mask(mask: torch.Tensor) -> torch.Tensor:
    """For each mask one with as many cells, those nearest to the centre of the grid.

    A method's mask that does no better than this one has found that objects stand in the centre.

    Args:
        mask: bool, ``(B, H, W)``.

    Returns:
        bool, ``(B, H, W)``. Distances are measured in sides of the grid, in whole numbers, so that no rounding decides:
        of cells equally near the first in reading order is taken.
    """
    check_shape("mask", mask, "BHW", _ADD_BATCH)
    height, width = mask.shape[1:]
    y, x = (torch.arange(n, device=mask.device) * 2 - (n - 1) for n in (height, width))
    distance = ((y * width)[:, None] ** 2 + (x * height) ** 2).flatten()  # (H*W,)
    place = distance.argsort(stable=True).argsort()  # of each cell, counted from the centre
    return (place < mask.bool().flatten(1).sum(dim=1, keepdim=True)).view(mask.shape)


def shuffled_mask(mask: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Each image gets the mask of another one.

    What a shuffled mask still gives is due to the shape and place that masks have in common.

    Args:
        mask: bool, ``(B, H, W)``.
        seed: Of the order.

    Returns:
        bool, ``(B, H, W)``; with two images or more none keeps its own.
    """
    check_shape("mask", mask, "BHW", _ADD_BATCH)
    order = torch.randperm(len(mask), generator=torch.Generator().manual_seed(seed))
    shifted = torch.empty_like(order)
    shifted[order] = order.roll(1)  # a single cycle: nobody stays
    return mask[shifted.to(mask.device)]
