"""A contact sheet: frames side by side, with their masks if wanted."""

from __future__ import annotations

from collections.abc import Sequence

from ask_scenes.objects.options import Array, ObjectFrame
from ask_scenes.sheet import tiled, tinted


def contact_sheet(rows: Sequence[Sequence[ObjectFrame]], panels: Sequence[str] = ("rgb",), gap: int = 4) -> Array:
    """One picture of many frames.

    Args:
        rows: Frames, all of one size.
        panels: What to show of each: ``rgb``, ``mask`` (object tinted, box outlined).
        gap: White pixels between pictures.

    Returns:
        ``(H, W, 3)`` uint8.
    """
    return tiled([[_panel(frame, panel) for frame in row for panel in panels] for row in rows], gap)


def _panel(frame: ObjectFrame, panel: str) -> Array:
    rgb = frame.rgb.transpose(1, 2, 0)
    if panel != "mask":
        return rgb
    shown = tinted(rgb, frame.mask)
    x0, y0, x1, y1 = (int(v) for v in frame.box)
    if x1 > x0:
        shown[[y0, y1 - 1], x0:x1] = (230, 60, 40)
        shown[y0:y1, [x0, x1 - 1]] = (230, 60, 40)
    return shown
