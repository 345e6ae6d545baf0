"""Localisation: how well boxes and masks lie on the object. Shapes that do not fit raise a ``ShapeError``."""

from __future__ import annotations

import torch

from ask_lib.checks import check_shape


def box_iou(boxes: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Intersection over union of each box with its target.

    Args:
        boxes: ``(N, 4)``: x0, y0, x1, y1, half open; a box with x1 <= x0 or y1 <= y0 is empty.
        targets: ``(N, 4)``, the same.

    Returns:
        ``(N,)`` float64, between 0 and 1; 0 if either is empty.
    """
    check_shape("boxes", boxes, ("N", 4), "Boxes are x0, y0, x1, y1, half open.")
    check_shape("targets", targets, (len(boxes), 4), "One target a box.")
    a, b = boxes.double(), targets.double()
    inner = _area(torch.cat([torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])], dim=1))
    union = _area(a) + _area(b) - inner
    return inner / torch.where(union > 0, union, 1.0)


def mask_iou(masks: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Intersection over union of each mask with its target.

    Args:
        masks: bool, ``(N, H, W)``.
        targets: bool, ``(N, H, W)``; ``resize_mask`` brings a layer's mask to an image's size.

    Returns:
        ``(N,)`` float64, between 0 and 1; two empty masks agree: 1.
    """
    check_shape("masks", masks, "NHW")
    check_shape("targets", targets, tuple(masks.shape), "One target a mask, of the same size: see resize_mask.")
    a, b = masks.bool().flatten(1), targets.bool().flatten(1)  # (N, H*W)
    inner, union = (a & b).sum(dim=1), (a | b).sum(dim=1)
    return torch.where(union > 0, inner.double() / union.clamp(min=1), 1.0)


def _area(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)
