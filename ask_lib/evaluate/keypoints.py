"""Where keypoints fall, by the labels of pixels, and where those of other images would: the control.

Keypoints are (x, y) in cells of a map whose cells tile the image. Shapes that do not fit raise a ``ShapeError``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ask_lib.checks import check_range, check_shape


def labels_under(labels: torch.Tensor, keypoints: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """What each image has under its own keypoints and under those of all others.

    >>> labels_under(torch.tensor([[[4, 7]]]), torch.tensor([[[1.0, 0.0]]]), (1, 2))
    tensor([[[7]]])

    Args:
        labels: ``(N, H, W)``, or masks.
        keypoints: ``(M, K, 2)``.
        size: (h, w) of the map.

    Returns:
        ``(N, M, K)``: of image n under the keypoints of image m.
    """
    check_shape("labels", labels, "NHW")
    check_shape("keypoints", keypoints, ("M", "K", 2), "One (x, y) a keypoint, for each image.")
    scale = [labels.shape[2] / size[1], labels.shape[1] / size[0]]
    x, y = ((keypoints.double() + 0.5) * torch.tensor(scale, dtype=torch.float64)).floor().long().unbind(dim=2)
    check_range("least coordinate of the keypoints, in pixels", min(int(x.min()), int(y.min())), 0)
    check_range("largest x of the keypoints, in pixels", int(x.max()), 0, labels.shape[2] - 1)
    check_range("largest y of the keypoints, in pixels", int(y.max()), 0, labels.shape[1] - 1)
    return labels[:, y, x]


def label_shares(found: torch.Tensor, pairs: torch.Tensor, num_labels: int) -> torch.Tensor:
    """Of the keypoints that each image is paired with, the share on each label.

    ``torch.eye(N) > 0`` pairs it with its own, ``classes[:, None] != classes`` with those of images of other classes.

    Args:
        found: ``(N, M, K)``, of `labels_under`.
        pairs: bool, ``(N, M)``.
        num_labels: L.

    Returns:
        ``(N, L)`` float64, of sum 1; NaN for an image without pairs.
    """
    check_shape("found", found, "NMK")
    check_shape("pairs", pairs, tuple(found.shape[:2]))
    check_range("largest label", int(found.max()), 0, num_labels - 1)
    number = found.long() + num_labels * torch.arange(len(found))[:, None, None]
    weight = pairs.double()[..., None].expand(found.shape)
    counted = torch.bincount(number.flatten(), weight.flatten(), minlength=len(found) * num_labels)
    return counted.view(len(found), num_labels) / (found.shape[2] * pairs.sum(dim=1, keepdim=True))


def cell_counts(labels: torch.Tensor, size: tuple[int, int], num_labels: int) -> torch.Tensor:
    """Pixels of each of L labels in each cell, that which holds a pixel's centre: ``(N, H, W)`` to ``(N, L, h, w)``."""
    check_shape("labels", labels, "NHW")
    check_range("largest label", int(labels.max()), 0, num_labels - 1)
    y, x = ((2 * torch.arange(n) + 1) * cells // (2 * n) for n, cells in zip(labels.shape[1:], size, strict=True))
    cell, cells = y[:, None] * size[1] + x, size[0] * size[1]  # (H, W)
    counted = [(one.long() * cells + cell).flatten().bincount(minlength=num_labels * cells) for one in labels]
    return torch.stack(counted).view(len(labels), num_labels, *size)


def hit_rate(shares: torch.Tensor, objects: Sequence[int], left_out: Sequence[int] = ()) -> torch.Tensor:
    """The share on objects, of all that is not on labels left out: ``(N, L)`` to ``(N,)``; NaN if that is nothing.

    >>> hit_rate(torch.tensor([[0.5, 0.2, 0.3]]), [1], [0])
    tensor([0.4000])
    """
    check_shape("shares", shares, "NL")
    counted = [label for label in range(shares.shape[1]) if label not in left_out]
    return shares[:, list(objects)].sum(dim=1) / shares[:, counted].sum(dim=1)
