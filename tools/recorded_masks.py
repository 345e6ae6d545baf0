"""The masks of photographs that the book may not show: maps and outlines from ``results/scda_flowers17_masks.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ask_lib.results import read_result
from ask_lib.show import plots
from tools.results import RESULTS

SOURCE = RESULTS / "scda_flowers17_masks.json"
GROUPS = {"lost": "all cells right, SCDA wrong", "won": "SCDA right, all cells wrong"}
BELOW, DROPPED, KEPT = ".+#"
FLOWERS = {"c1": "daffodil", "c2": "snowdrop", "c3": "lily of the valley", "c4": "bluebell", "c5": "crocus"}


def cells_of(rows: list[str], marks: str) -> NDArray[np.bool_]:
    """The cells that carry one of the marks, bool ``(h, w)``."""
    return np.array([[cell in marks for cell in row] for row in rows])


def _panel(axes: Axes, picture: dict[str, Any]) -> None:
    heat = np.array([row.split() for row in picture["activation"]], dtype=float)  # (h, w)
    rows, columns = heat.shape
    extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
    folder = Path(picture["file"]).parent.name
    plots.heat_map(axes, heat, FLOWERS.get(folder, folder))
    plots.mask_outline(axes, cells_of(picture["cells"], DROPPED), extent=extent, color="white", linewidth=1.2)
    plots.mask_outline(axes, cells_of(picture["cells"], KEPT), extent=extent, color=plots.ORANGE, linewidth=2.4)


def draw_masks(path: Path, source: Path = SOURCE) -> None:
    """Write the figure as SVG: a row of maps for each group, the component orange, the other pieces white.

    Args:
        path: Where it goes.
        source: The recorded run.
    """
    groups = read_result(source)["details"]["pictures"]
    with plots.style():
        each = max(len(groups[key]) for key in GROUPS)
        figure, grid = plots.figure(len(GROUPS), each, size=(1.9 * each, 4.6))
        for row, (key, name) in zip(grid, GROUPS.items(), strict=True):
            for axes, picture in zip(row, groups[key], strict=False):  # a group may have fewer
                _panel(axes, picture)
            for axes in row[len(groups[key]) :]:
                axes.axis("off")
            row[0].set_ylabel(name)
        plots.save_atomic(figure, path)
