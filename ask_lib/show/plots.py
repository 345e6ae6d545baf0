"""Figures in the book's one style: arrays in, Axes out.

Maps are shown with square cells and a perceptually even palette (cividis); what a method selects is outlined as
well as coloured, so that a figure can be read in grey and by colour-blind readers. Titles, names and labels are shown
as they are: a dollar sign begins no formula; only a line break breaks the line. A notebook's figures say where their
columns and pictures lie, so that the pages wrap them on a phone and darken all but the pictures.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.figure import Figure

from ask_lib.errors import ShapeError
from ask_lib.files import atomic_path, shown

STYLE = Path(__file__).with_name("ask.mplstyle")
BLUE, ORANGE, GREEN, SKY, PINK = "#0072B2", "#E69F00", "#009E73", "#56B4E9", "#CC79A7"
WIDEST = 5.2  # inches of a column: at 390 px, text of 11 points then has 10 px
Extent = tuple[float, float, float, float]


def style() -> AbstractContextManager[None]:
    """Use the book's style inside a ``with`` block."""
    return plt.style.context(STYLE)


def use_style() -> None:
    """Use the book's style from here on (a chapter's setup cell)."""
    plt.style.use(STYLE)


def layout(drawn: Figure) -> str:
    """Where a figure's columns begin and, if each panel has a title, its rows lie; its pictures' boxes; its inches.

    Several rows whose panels have no titles of their own stay together: then there is one column.

    All but the width in inches are shares of what ``bbox_inches="tight"`` cuts out. JSON, which a PNG keeps as a text.
    """
    drawn.draw_without_rendering()
    whole = drawn.get_tightbbox().padded(plt.rcParams["savefig.pad_inches"])  # inches
    size, corner = np.array(whole.size) * drawn.dpi, np.array(whole.min) * drawn.dpi
    panels = [(axes, spec) for axes in drawn.axes if (spec := axes.get_subplotspec()) and axes.has_data()]
    columns, rows = {0: 0.0}, dict[int, tuple[float, float]]()
    for axes, spec in panels:
        (left, low), (_, high) = (np.asarray(axes.get_tightbbox()) + np.array([[-3, -3], [0, 3]]) - corner) / size
        columns[spec.colspan.start] = min(columns.get(spec.colspan.start, 1.0), left)
        top, bottom = rows.get(spec.rowspan.start, (1.0, 0.0))
        rows[spec.rowspan.start] = (min(top, 1 - high), max(bottom, 1 - low))
    every = [one for axes in drawn.axes for one in (axes, *axes.child_axes)]  # a child is a colour bar
    images = [axes for axes in every if axes.images or any(isinstance(c, QuadMesh) for c in axes.collections)]
    boxes = [(axes.get_window_extent().get_points() - corner) / size for axes in images]  # each (2, 2), y up
    pictures = [(x0, 1 - y1, x1, 1 - y0) for (x0, y0), (x1, y1) in boxes]
    titled = bool(panels) and all(axes.get_title() for axes, _ in panels)
    if len(rows) > 1 and not titled:  # rows that belong together, such as queries with their results
        columns = {0: 0.0}
    lines = sorted(rows.values()) if titled else [(0, 1)]
    return json.dumps({"columns": sorted(columns.values()), "rows": lines, "pictures": pictures, "inches": whole.width})


def figure(rows: int = 1, columns: int = 1, *, size: tuple[float, float] | None = None) -> tuple[Figure, Any]:
    """A figure and its grid of Axes, ``(rows, columns)`` also when there is one.

    Inches: by default 2.6 x 2.2 a panel, two of which a phone shows side by side; a column has at most 5.2.
    """
    from IPython import get_ipython
    from IPython.core.pylabtools import print_figure

    width, height = size or (2.6 * columns, 2.2 * rows)
    drawn, grid = plt.subplots(rows, columns, figsize=(min(width, WIDEST * columns), height), squeeze=False)
    if shell := get_ipython():  # known to matplotlib's notebook backend only now
        png = shell.display_formatter.formatters["image/png"]
        png.for_type(Figure, lambda one: print_figure(one, base64=True, metadata={"layout": layout(one)}))
    return drawn, grid


def picture(axes: Axes, image: np.ndarray, title: str = "") -> Axes:
    """Show a picture ``(H, W, 3)``, uint8 or float in 0..1."""
    axes.imshow(image)
    return _bare(axes, title)


def heat_map(
    axes: Axes,
    values: np.ndarray,
    title: str = "",
    *,
    label: str = "",
    limits: tuple[float, float] | None = None,
    over: np.ndarray | None = None,
) -> Axes:
    """Show a map's cells ``(H, W)``, alone or laid over their picture.

    Args:
        axes: Where.
        values: The map.
        title: Its title.
        label: What the colours mean, at a colour bar; empty for no bar.
        limits: The values of the palette's ends.
        over: The picture ``(h, w, 3)``, shown in grey below; each cell covers an equal part of it.
    """
    _check_map(values)
    low, high = limits or (None, None)
    extent = None
    if over is not None:
        extent = _grid(over)
        axes.imshow(over.astype(float).mean(axis=2), cmap="gray", extent=extent)
    drawn = axes.imshow(values, vmin=low, vmax=high, extent=extent, alpha=None if over is None else 0.6)
    if label and axes.figure is not None:
        bar = axes.figure.colorbar(drawn, cax=axes.inset_axes((1.04, 0, 0.05, 1)))  # as high as the map
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
    extent = _grid(image)
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


def save_atomic(drawn: Figure, path: Path) -> None:
    """Write a figure to a file by way of a temporary name, and close it."""
    kind = path.suffix.removeprefix(".")
    about = {"Date": None} if kind == "svg" else {"layout": layout(drawn), "Software": None}
    with atomic_path(path) as partial:
        drawn.savefig(partial, format=kind, metadata=about, bbox_inches="tight" if kind == "png" else None)
    plt.close(drawn)


def _grid(image: np.ndarray) -> Extent:
    return -0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5


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
