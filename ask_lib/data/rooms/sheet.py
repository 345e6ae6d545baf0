"""A contact sheet: frames side by side with what is known about them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ask_lib.data.rooms.options import Array, RoomFrame


def contact_sheet(rows: Sequence[Sequence[RoomFrame]], panels: Sequence[str] = ("rgb",), gap: int = 4) -> Array:
    """One picture of many frames.

    Args:
        rows: Frames, all of one size.
        panels: What to show of each: ``rgb``, ``depth``, ``key``.
        gap: White pixels between pictures.

    Returns:
        ``(H, W, 3)`` uint8.
    """
    lines = []
    for row in rows:
        tiles = [_padded(_panel(frame, panel), gap) for frame in row for panel in panels]
        lines.append(np.concatenate(tiles, axis=1))
    return np.concatenate(lines, axis=0)


def _padded(picture: Array, gap: int) -> Array:
    return np.pad(picture, ((0, gap), (0, gap), (0, 0)), constant_values=255)


def _panel(frame: RoomFrame, panel: str) -> Array:
    rgb = frame.rgb.transpose(1, 2, 0)
    if panel == "depth":
        near = np.clip(1 - frame.depth / 6.0, 0.05, 1) * (frame.depth > 0)
        grey: Array = np.repeat((near * 255).astype(np.uint8)[..., None], 3, axis=2)
        return grey
    if panel == "key":
        tinted = rgb * 0.35 + np.array([40, 160, 90]) * 0.65
        marked: Array = np.where(frame.key_mask[..., None], tinted, rgb).astype(np.uint8)
        return marked
    return rgb
