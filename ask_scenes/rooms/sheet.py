"""A contact sheet: frames side by side with what is known about them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ask_scenes.rooms.options import Array, RoomFrame
from ask_scenes.sheet import tiled, tinted


def contact_sheet(rows: Sequence[Sequence[RoomFrame]], panels: Sequence[str] = ("rgb",), gap: int = 4) -> Array:
    """One picture of many frames.

    Args:
        rows: Frames, all of one size.
        panels: What to show of each: ``rgb``, ``depth``, ``key``.
        gap: White pixels between pictures.

    Returns:
        ``(H, W, 3)`` uint8.
    """
    return tiled([[_panel(frame, panel) for frame in row for panel in panels] for row in rows], gap)


def _panel(frame: RoomFrame, panel: str) -> Array:
    rgb = frame.rgb.transpose(1, 2, 0)
    if panel == "depth":
        near = np.clip(1 - frame.depth / 6.0, 0.05, 1) * (frame.depth > 0)
        grey: Array = np.repeat((near * 255).astype(np.uint8)[..., None], 3, axis=2)
        return grey
    return tinted(rgb, frame.key_mask) if panel == "key" else rgb
