"""The cover: a rendered room, SCDA's mask on it, and sketches of four other ways to choose places in it.

The mask is the method's, computed by the network that ships with the book. The sketches are made from the responses of
the same network; they stand in until their methods are there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle
from numpy.typing import NDArray

from ask_lib.data import transforms
from ask_lib.methods.scda import selection_mask
from ask_lib.models.backbones import load_backbone
from ask_lib.models.features import FeatureTap
from ask_lib.show import plots
from ask_scenes import rooms
from tools.imports import digest
from tools.inputs import files_behind
from tools.project import ROOT, tree_bytes

ROOM, SHOWN, READ = 1, (300, 400), (120, 160)  # a bedroom of the validation split; pixels for you and for the network
K, DARKEST = 6, 0.78


@dataclass(frozen=True)
class Scene:
    """What the panels are made from.

    Attributes:
        picture: The room ``(H, W, 3)``, uint8.
        mask: SCDA's, bool ``(h, w)``.
        maps: The last layer's responses ``(C, h, w)``.
    """

    picture: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    maps: NDArray[np.float32]

    @property
    def extent(self) -> plots.Extent:
        """The picture's, for ``imshow``."""
        height, width = self.picture.shape[:2]
        return -0.5, width - 0.5, height - 0.5, -0.5

    @property
    def strength(self) -> NDArray[np.float32]:
        """The responses' sum over channels, its largest 1: ``(h, w)``."""
        total = self.maps.sum(axis=0)
        return np.asarray(total / total.max(), dtype=np.float32)


def _room(size: tuple[int, int]) -> NDArray[np.uint8]:
    frame = rooms.render_room(ROOM, seed=0, split="val", options=rooms.RoomOptions(size=size))
    return np.ascontiguousarray(frame.rgb.transpose(1, 2, 0))


def scene() -> Scene:
    """Render the room and let the network read it."""
    backbone = load_backbone("rooms_vgg", "rooms")
    pixels = torch.from_numpy(_room(READ)).permute(2, 0, 1)[None].float() / 255  # (1, 3, h, w)
    with FeatureTap(backbone.network, backbone.last_layer) as tap, torch.no_grad():
        features = tap(transforms.normalize(pixels, backbone.mean, backbone.std))[backbone.last_layer]
    return Scene(_room(SHOWN), selection_mask(features)[0].numpy(), features[0].numpy())


def _veil(axes: Axes, found: Scene, weight: NDArray[np.float32]) -> None:
    """Dim what has little weight ``(h, w)``, 0 to 1."""
    veil = np.zeros((*weight.shape, 4))
    veil[..., 3] = DARKEST * (1 - weight)
    axes.imshow(veil, extent=found.extent, interpolation="bilinear")


def _plain(axes: Axes, found: Scene) -> None:
    """Every place speaks."""


def _scda(axes: Axes, found: Scene) -> None:
    plots.selected(axes, found.picture, found.mask)


def _channels(axes: Axes, found: Scene) -> None:
    """The strongest channel, and the strongest of those whose largest responses lie elsewhere, twice."""
    peaks = np.array([np.unravel_index(one.argmax(), one.shape) for one in found.maps])  # (C, 2)
    chosen: list[int] = []
    for channel in np.argsort(-found.maps.max(axis=(1, 2))):
        if all(np.abs(peaks[channel] - peaks[other]).sum() > 2 for other in chosen):
            chosen.append(int(channel))
    for channel, colour in zip(chosen, (plots.ORANGE, plots.SKY, plots.PINK), strict=False):
        tint = np.zeros((*found.strength.shape, 4))
        tint[..., :3] = to_rgb(colour)
        tint[..., 3] = 0.8 * found.maps[channel] / found.maps[channel].max()
        axes.imshow(tint, extent=found.extent, interpolation="nearest")


def _activeness(axes: Axes, found: Scene) -> None:
    _veil(axes, found, found.strength**0.7)


def _erased(axes: Axes, found: Scene) -> None:
    mask = found.strength > 0.7
    grey = np.zeros((*mask.shape, 4))
    grey[mask] = (0.55, 0.55, 0.55, 1.0)
    axes.imshow(grey, extent=found.extent, interpolation="nearest")
    plots.mask_outline(axes, mask, extent=found.extent)


def keypoints(strength: NDArray[np.float32], k: int = K) -> list[tuple[int, int]]:
    """The ``k`` strongest cells (row, column) of a map ``(h, w)``, no two of them neighbours."""
    left, found = strength.copy(), []
    for _ in range(k):
        y, x = map(int, np.unravel_index(left.argmax(), left.shape))
        found.append((y, x))
        left[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = -1
    return found


def _points(axes: Axes, found: Scene) -> None:
    _veil(axes, found, np.full_like(found.strength, 0.5))
    (rows, columns), (height, width) = found.strength.shape, found.picture.shape[:2]
    for y, x in keypoints(found.strength):
        centre = ((x + 0.5) * width / columns, (y + 0.5) * height / rows)
        axes.add_patch(Circle(centre, 15, fc="none", ec="white", lw=3.6))
        axes.add_patch(Circle(centre, 15, fc="none", ec=plots.ORANGE, lw=2.2))


PANELS: tuple[tuple[str, str, Callable[[Axes, Scene], None]], ...] = (
    ("One scene", "every place speaks", _plain),
    ("SCDA", "a hard mask", _scda),
    ("Cross-layer pooling", "the next layer's channels", _channels),
    ("InterActive", "activeness from above", _activeness),
    ("PCL", "erase the strongest", _erased),
    ("ASK", "K selected points", _points),
)


def made_from() -> str:
    """A fingerprint of this file, the library's code and weights behind it, and the pins."""
    own = Path(__file__)
    return digest(tree_bytes([own, *files_behind([own.read_text(encoding="utf-8")]), ROOT / "constraints.txt"]))


def draw_cover(path: Path) -> None:
    """Write the cover, unless it is there and all that it is made from is unchanged.

    Args:
        path: Where it goes: a PNG.
    """
    key, stamp = made_from(), path.with_suffix(".key")
    if path.is_file() and stamp.is_file() and stamp.read_text() == key:
        return
    found = scene()
    with plots.style():
        figure, grid = plots.figure(2, 3, size=(7.6, 5.2))
        for axes, (name, idea, draw) in zip(grid.flat, PANELS, strict=True):
            plots.picture(axes, found.picture)
            draw(axes, found)
            axes.set_title(f"{name}\n", fontsize=12, fontweight="bold", pad=2)
            axes.text(0.5, 1.02, idea, ha="center", va="bottom", transform=axes.transAxes)
        plots.save_atomic(figure, path)
    stamp.write_text(key)
