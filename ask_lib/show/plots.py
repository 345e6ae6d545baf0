"""Figures in the book's one style: arrays in, Axes out.

Maps are shown with square cells and a perceptually even palette (cividis); what a method selects is outlined as
well as coloured, so that a figure can be read in grey and by colour-blind readers. Titles, names and labels are shown
as they are: a dollar sign begins no formula; only a line break breaks the line.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from ask_lib.errors import ShapeError
from ask_lib.files import atomic_path, shown

STYLE = Path(__file__).with_name("ask.mplstyle")
BLUE, ORANGE, GREEN, SKY, PINK = "#0072B2", "#E69F00", "#009E73", "#56B4E9", "#CC79A7"
Extent = tuple[float, float, float, float]


def style() -> AbstractContextManager[None]:
    """Use the book's style inside a ``with`` block."""
    return plt.style.context(STYLE)


def use_style() -> None:
    """Use the book's style from here on (a chapter's setup cell)."""
    plt.style.use(STYLE)


def figure(rows: int = 1, columns: int = 1, *, size: tuple[float, float] | None = None) -> tuple[Figure, Any]:
    """A figure and its grid of Axes, ``(rows, columns)`` also when there is one.

    Width and height (``size``) are in inches; by default 3.2 x 2.6 a panel.
    """
    drawn, grid = plt.subplots(rows, columns, figsize=size or (3.2 * columns, 2.6 * rows), squeeze=False)
    return drawn, grid


def picture(axes: Axes, image: np.ndarray, title: str = "") -> Axes:
    """Show a picture ``(H, W, 3)``, uint8 or float in 0..1."""
    axes.imshow(image)
    return _bare(axes, title)


def heat_map(
    axes: Axes, values: np.ndarray, title: str = "", *, label: str = "", limits: tuple[float, float] | None = None
) -> Axes:
    """Show a map's cells ``(H, W)``.

    Args:
        axes: Where.
        values: The map.
        title: Its title.
        label: What the colours mean, at a colour bar; empty for no bar.
        limits: The values of the palette's ends.
    """
    _check_map(values)
    low, high = limits or (None, None)
    drawn = axes.imshow(values, vmin=low, vmax=high)
    if label and axes.figure is not None:
        bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.85)
        bar.set_label(_literal(label), parse_math=False)
    return _bare(axes, title)


def selected(axes: Axes, image: np.ndarray, mask: np.ndarray, title: str = "") -> Axes:
    """A picture with the cells outside a mask dimmed and the mask outlined.

    Args:
        axes: Where.
        image: ``(H, W, 3)``, uint8 or float in 0..1.
        mask: bool ``(h, w)``, a layer's grid; each cell covers an equal part of the picture.
        title: Its title.
    """
    _check_map(mask)
    height, width = image.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(image, extent=extent)
    veil = np.zeros((*mask.shape, 4))  # (h, w, RGBA)
    veil[..., 3] = np.where(mask, 0.0, 0.62)
    axes.imshow(veil, extent=extent, interpolation="nearest")
    mask_outline(axes, mask, extent=extent)
    return _bare(axes, title)


def mask_outline(axes: Axes, mask: np.ndarray, *, extent: Extent, color: str = ORANGE, linewidth: float = 1.8) -> Axes:
    """Draw the border between the cells inside and outside a mask ``(h, w)``, along the cells' edges.

    ``extent`` is left, right, bottom, top of the whole grid, as for ``imshow``; ``linewidth`` is in points.
    """
    left, right, bottom, top = extent
    rows, columns = mask.shape
    padded = np.pad(mask.astype(bool), 1)  # (h + 2, w + 2)
    x = np.linspace(left, right, columns + 1)
    y = np.linspace(top, bottom, rows + 1)
    across = np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1])  # vertical edges (row, x index)
    along = np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1])  # horizontal edges (y index, column)
    segments = [((x[j], y[i]), (x[j], y[i + 1])) for i, j in across]
    segments += [((x[j], y[i]), (x[j + 1], y[i])) for i, j in along]
    axes.add_collection(LineCollection(segments, colors=color, linewidths=linewidth, zorder=8))
    return axes


def bars(axes: Axes, names: Sequence[str], values: Sequence[float], *, label: str, title: str = "") -> Axes:
    """Horizontal bars with their values written beside them, the first name on top."""
    drawn = axes.barh(range(len(names)), values, color=BLUE, height=0.65)
    axes.bar_label(drawn, fmt="%.3g", padding=3, fontsize=9)
    axes.margins(x=0.15)
    return _rows(axes, names, label, title)


def intervals(
    axes: Axes,
    names: Sequence[str],
    means: Sequence[float],
    lows: Sequence[float],
    highs: Sequence[float],
    *,
    label: str,
    title: str = "",
    marked: Sequence[str] = (),
) -> Axes:
    """A dot (``means``) and a bar from ``lows`` to ``highs`` for each name, the first name on top.

    Dots of the names in ``marked`` are orange squares, so that they can be found without colour too.
    """
    for row, (name, mean, low, high) in enumerate(zip(names, means, lows, highs, strict=True)):
        axes.plot([low, high], [row, row], color=BLUE, lw=2, solid_capstyle="butt", zorder=2)
        colour, shape = (ORANGE, "s") if name in marked else (BLUE, "o")
        axes.plot([mean], [row], shape, color=colour, mec="black", mew=0.8, ms=7, zorder=3)
    axes.grid(axis="x", color="#DDDDDD", lw=0.8)
    axes.set_axisbelow(True)
    return _rows(axes, names, label, title)


def dots(axes: Axes, names: Sequence[str], values: np.ndarray, *, label: str, title: str = "") -> Axes:
    """A row of dots ``(rows, dots)`` for each name, the first name on top.

    The first dot is filled, the others are open, so that they differ without colour too.
    """
    _check_map(values)
    for row, line in enumerate(values):
        axes.plot(line[1:], np.full(len(line) - 1, row), "o", mfc="none", mec=BLUE, mew=1.5, ms=8, ls="none")
        axes.plot(line[:1], [row], "o", color=ORANGE, mec="black", mew=0.8, ms=9, ls="none", zorder=5)
    axes.axvline(0, color="#999999", lw=0.8, zorder=0)
    return _rows(axes, names, label, title)


def save_atomic(drawn: Figure, path: Path) -> None:
    """Write a figure to a file by way of a temporary name, and close it."""
    kind = path.suffix.removeprefix(".")
    with atomic_path(path) as partial:
        drawn.savefig(partial, format=kind, metadata={"Date": None} if kind == "svg" else None)
    plt.close(drawn)


def _literal(text: str) -> str:
    return "\n".join(map(shown, text.split("\n")))


def _rows(axes: Axes, names: Sequence[str], label: str, title: str) -> Axes:
    """One name a row, the first on top."""
    axes.set_yticks(range(len(names)), list(map(_literal, names)), parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(_literal(label), parse_math=False)
    axes.set_title(_literal(title), parse_math=False)
    return axes


def _bare(axes: Axes, title: str) -> Axes:
    axes.set_title(_literal(title), parse_math=False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _check_map(values: np.ndarray) -> None:
    if values.ndim != 2:
        raise ShapeError(f"values: expected (H, W), got {tuple(values.shape)}. Take one image's map first.")
