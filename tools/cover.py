"""The cover: one drawn room, and the five ways to choose places in it. A schematic, computed by no network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle, Ellipse, FancyBboxPatch, Polygon, Rectangle
from scipy import ndimage

from ask_lib.show import plots

WIDTH, HEIGHT = 16, 12  # cells; the room is drawn in the same units
WALL, FLOOR, WOOD, CLOTH, DARK = "#e9e4da", "#c9b79c", "#9b7653", "#5f7f95", "#3d4a52"


def _room(axes: Axes) -> None:
    """A living room in a dozen shapes, y down."""
    axes.add_patch(Rectangle((0, 0), WIDTH, 8, color=WALL, lw=0))
    axes.add_patch(Polygon([(0, 8), (WIDTH, 8), (WIDTH, HEIGHT), (0, HEIGHT)], color=FLOOR, lw=0))
    axes.add_patch(Rectangle((0, 7.75), WIDTH, 0.25, color="#f6f3ee", lw=0))
    axes.add_patch(Ellipse((8.2, 10.6), 11.5, 2.0, color="#b58f7c", lw=0))
    _window(axes)
    axes.add_patch(Rectangle((7.4, 1.6), 2.6, 1.9, fc="#d8b26e", ec=WOOD, lw=1.2))
    axes.add_patch(Polygon([(7.4, 3.5), (8.5, 2.3), (9.2, 3.0), (9.6, 2.6), (10, 3.5)], color="#7d9471", lw=0))
    _sofa(axes)
    _table(axes)
    _lamp(axes)


def _window(axes: Axes) -> None:
    axes.add_patch(Rectangle((1.2, 1.0), 3.6, 4.2, fc="#cfe3ee", ec="white", lw=2.5))
    axes.plot([3.0, 3.0], [1.0, 5.2], color="white", lw=2)
    axes.plot([1.2, 4.8], [3.0, 3.0], color="white", lw=2)


def _sofa(axes: Axes) -> None:
    box = "round,pad=0,rounding_size=0.35"
    axes.add_patch(FancyBboxPatch((5.0, 5.2), 7.0, 2.6, boxstyle=box, fc="#4f6f86", lw=0))
    for left in (5.5, 8.6):
        axes.add_patch(FancyBboxPatch((left, 6.9), 2.9, 1.5, boxstyle=box, fc=CLOTH, lw=0))
    for left in (4.5, 11.6):
        axes.add_patch(FancyBboxPatch((left, 6.2), 0.9, 2.7, boxstyle=box, fc="#47657a", lw=0))
    axes.add_patch(FancyBboxPatch((5.8, 5.9), 1.3, 1.2, boxstyle=box, fc="#d99a5b", lw=0))


def _table(axes: Axes) -> None:
    for left in (6.2, 10.2):
        axes.plot([left, left], [9.8, 11.0], color=DARK, lw=2.4)
    axes.add_patch(FancyBboxPatch((5.8, 9.5), 4.8, 0.4, boxstyle="round,pad=0,rounding_size=0.15", fc=WOOD, lw=0))
    axes.add_patch(Rectangle((7.0, 9.2), 1.4, 0.3, color="#b5483f", lw=0))


def _lamp(axes: Axes) -> None:
    axes.plot([13.9, 13.9], [4.0, 10.2], color=DARK, lw=2)
    axes.add_patch(Ellipse((13.9, 10.2), 1.6, 0.4, color=DARK, lw=0))
    axes.add_patch(Polygon([(13.1, 4.2), (14.7, 4.2), (14.3, 2.7), (13.5, 2.7)], color="#f2d28b", lw=0))


def _activation() -> np.ndarray:
    """A made-up activation map: bumps where the room's objects stand."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5  # (H, W)
    bumps = [(8.5, 6.8, 3.0, 1.5, 1.0), (13.9, 3.6, 1.0, 1.2, 0.7), (8.2, 9.6, 2.2, 0.8, 0.6), (3, 3, 1.4, 1.8, 0.35)]
    return np.asarray(
        sum(h * np.exp(-(((x - cx) / w) ** 2) - ((y - cy) / t) ** 2) for cx, cy, w, t, h in bumps), dtype=float
    )


def _shade(axes: Axes, weight: np.ndarray) -> None:
    """Dim what has little weight and outline what is kept: readable without colour."""
    veil = np.zeros((*weight.shape, 4))
    veil[..., :3] = 0.08
    veil[..., 3] = 0.78 * (1 - weight)
    axes.imshow(veil, extent=(0, WIDTH, HEIGHT, 0), interpolation="nearest", zorder=5)


def _outline(axes: Axes, mask: np.ndarray) -> None:
    plots.mask_outline(axes, mask, extent=(0, WIDTH, HEIGHT, 0), color=plots.ORANGE, linewidth=1.6)


def _scda(axes: Axes) -> None:
    components, _ = ndimage.label(_activation() > _activation().mean(), structure=np.ones((3, 3)))
    mask = components == np.bincount(components[components > 0]).argmax()
    _shade(axes, mask.astype(float))
    _outline(axes, mask)


def _channels(axes: Axes) -> None:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    for cx, cy, colour in ((8.5, 6.8, plots.ORANGE), (13.9, 3.8, plots.SKY), (3.0, 3.1, plots.GREEN)):
        weight = np.exp(-(((x - cx) / 2.0) ** 2) - ((y - cy) / 1.5) ** 2)
        tint = np.zeros((HEIGHT, WIDTH, 4))
        tint[..., :3] = to_rgb(colour)
        tint[..., 3] = 0.85 * weight
        axes.imshow(tint, extent=(0, WIDTH, HEIGHT, 0), interpolation="nearest", zorder=5)


def _activeness(axes: Axes) -> None:
    weight = _activation()
    _shade(axes, (weight / weight.max()) ** 0.7)


def _erased(axes: Axes) -> None:
    mask = _activation() > 0.7 * _activation().max()
    grey = np.zeros((HEIGHT, WIDTH, 4))
    grey[mask] = (0.55, 0.55, 0.55, 1.0)
    axes.imshow(grey, extent=(0, WIDTH, HEIGHT, 0), interpolation="nearest", zorder=5)
    _outline(axes, mask)


def _keypoints(axes: Axes) -> None:
    _shade(axes, np.full((HEIGHT, WIDTH), 0.55))
    for cx, cy in ((6.5, 6.4), (10.8, 7.6), (13.9, 3.5), (8.0, 9.5), (3.0, 3.4), (8.8, 2.5)):
        axes.add_patch(Circle((cx, cy), 0.62, fc="none", ec="white", lw=3.4, zorder=6))
        axes.add_patch(Circle((cx, cy), 0.62, fc="none", ec=plots.ORANGE, lw=2.0, zorder=7))


PANELS: tuple[tuple[str, str, Callable[[Axes], None]], ...] = (
    ("One scene", "every place speaks", lambda axes: None),
    ("SCDA", "a hard mask", _scda),
    ("Cross-layer pooling", "the next layer's channels", _channels),
    ("InterActive", "activeness from above", _activeness),
    ("PCL", "erase the strongest, look again", _erased),
    ("ASK", "K selected points", _keypoints),
)


def draw_cover(path: Path) -> None:
    """Write the cover as SVG.

    Args:
        path: Where it goes.
    """
    with plots.style():
        figure, grid = plots.figure(2, 3, size=(9.6, 5.6))
        for axes, (name, idea, draw) in zip(grid.flat, PANELS, strict=True):
            _room(axes)
            draw(axes)
            axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0), aspect="equal")
            axes.axis("off")
            axes.set_title(f"{name}\n", fontsize=12, fontweight="bold", pad=2)
            axes.text(WIDTH / 2, -0.35, idea, ha="center", va="bottom", fontsize=10)
        plots.save_atomic(figure, path)
