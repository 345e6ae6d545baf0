"""Contact sheets: many pictures side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ask_scenes.shards import Array

GREEN = (35, 155, 90)


def tiled(rows: Sequence[Sequence[Array]], gap: int = 4) -> Array:
    """One picture of many.

    Args:
        rows: Pictures ``(H, W, 3)`` uint8, all of one size; a short row is filled up with white.
        gap: White pixels to the right of and below each.

    Returns:
        ``(H, W, 3)`` uint8.
    """
    lines = [np.concatenate([_padded(picture, gap, gap) for picture in row], axis=1) for row in rows]
    width = max(line.shape[1] for line in lines)
    return np.concatenate([_padded(line, 0, width - line.shape[1]) for line in lines], axis=0)


def tinted(picture: Array, mask: Array) -> Array:
    """A picture ``(H, W, 3)`` with green over a mask ``(H, W)``."""
    green = picture * 0.4 + np.array(GREEN) * 0.6
    shown: Array = np.where(mask[..., None], green, picture).astype(np.uint8)
    return shown


def _padded(picture: Array, below: int, right: int) -> Array:
    return np.pad(picture, ((0, below), (0, right), (0, 0)), constant_values=255)
