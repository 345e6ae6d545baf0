"""What a contact sheet shows of a frame."""

from __future__ import annotations

import numpy as np

from ask_scenes.rooms.options import Array, RoomFrame
from ask_scenes.sheet import tinted

PANELS = ("rgb", "depth", "key")


def panel(frame: RoomFrame, name: str) -> Array:
    """One picture of a frame, ``(H, W, 3)`` uint8.

    Args:
        frame: The frame.
        name: One of ``PANELS``: its colours, its depth (near is bright, missing is black), its key objects tinted.
    """
    rgb = frame.rgb.transpose(1, 2, 0)
    if name == "depth":
        near = np.clip(1 - frame.depth / 6.0, 0.05, 1) * (frame.depth > 0)
        grey: Array = np.repeat((near * 255).astype(np.uint8)[..., None], 3, axis=2)
        return grey
    return tinted(rgb, frame.key_mask) if name == "key" else rgb
