"""What a contact sheet shows of a frame."""

from __future__ import annotations

from ask_scenes.objects.options import Array, ObjectFrame
from ask_scenes.sheet import tinted

PANELS = ("rgb", "mask")


def panel(frame: ObjectFrame, name: str) -> Array:
    """One picture of a frame, ``(H, W, 3)`` uint8.

    Args:
        frame: The frame.
        name: One of ``PANELS``: its colours, or the object tinted and its box outlined.
    """
    rgb = frame.rgb.transpose(1, 2, 0)
    if name != "mask":
        return rgb
    shown = tinted(rgb, frame.mask)
    x0, y0, x1, y1 = (int(v) for v in frame.box)
    if x1 > x0:
        shown[[y0, y1 - 1], x0:x1] = (230, 60, 40)
        shown[y0:y1, [x0, x1 - 1]] = (230, 60, 40)
    return shown
