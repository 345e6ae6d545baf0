"""A contact sheet: frames side by side, with their masks if wanted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ask_lib.data.objects.options import Array, ObjectFrame


def contact_sheet(rows: Sequence[Sequence[ObjectFrame]], panels: Sequence[str] = ("rgb",), gap: int = 4) -> Array:
    """One picture of many frames.

    Args:
        rows: Frames, all of one size.
        panels: What to show of each: ``rgb``, ``mask`` (object tinted, box outlined).
        gap: White pixels between pictures.

    Returns:
        ``(H, W, 3)`` uint8.
    """
    lines = []
    for row in rows:
        tiles = [_padded(_panel(frame, panel), gap) for frame in row for panel in panels]
        lines.append(np.concatenate(tiles, axis=1))
    width = max(line.shape[1] for line in lines)
    lines = [np.pad(x, ((0, 0), (0, width - x.shape[1]), (0, 0)), constant_values=255) for x in lines]
    return np.concatenate(lines, axis=0)


def _padded(picture: Array, gap: int) -> Array:
    return np.pad(picture, ((0, gap), (0, gap), (0, 0)), constant_values=255)


def _panel(frame: ObjectFrame, panel: str) -> Array:
    rgb = frame.rgb.transpose(1, 2, 0)
    if panel != "mask":
        return rgb
    tinted = rgb * 0.4 + np.array([30, 150, 90]) * 0.6
    shown = np.where(frame.mask[..., None], tinted, rgb).astype(np.uint8)
    x0, y0, x1, y1 = (int(v) for v in frame.box)
    if x1 > x0:
        shown[[y0, y1 - 1], x0:x1] = (230, 60, 40)
        shown[y0:y1, [x0, x1 - 1]] = (230, 60, 40)
    return shown
