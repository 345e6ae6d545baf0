"""What can be asked of a frame, and what a frame holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ask_lib.checks import check_choice, check_range
from ask_lib.errors import ShapeError
from ask_scenes.objects.classes import CHOICES
from ask_scenes.rooms.options import Quality
from ask_scenes.shards import Array as Array

SPLITS: tuple[str, ...] = ("train", "val", "test", "gallery")
BACKGROUNDS: tuple[str, ...] = ("full", "plain")
QUALITIES = {
    "dataset": Quality(samples=2, bounces=3, shadow_map=72),
    "figure": Quality(samples=3, bounces=24, shadow_map=320),
}


@dataclass(frozen=True)
class ObjectOptions:
    """How a frame is drawn.

    Attributes:
        size: Height and width in pixels, from square to 3 : 4.
        classes: ``judge``, ``train`` or ``all``: whose objects are shown.
        coverage: Least and greatest share of the frame that the object is meant to cover; (0.004, 0.02) gives
            tiny ones. An object too slim for the share is drawn as large as the frame allows.
        count: Objects in the frame, 1 to 3, of different classes, all on one table. Label, mask and box mean the first,
            which stands in the middle; the lens is wide enough for all, so shares above about 0.1 are not reached.
        background: ``full``, or ``plain`` for one even surface with nothing else on it.
        remove_object: Leave the objects out; for probes. Mask and box are empty then.
        quality: ``dataset`` or ``figure``; more samples and softer shadows for pages, at several times the price.
    """

    size: tuple[int, int] = (120, 160)
    classes: str = "judge"
    coverage: tuple[float, float] = (0.08, 0.38)
    count: int = 1
    background: str = "full"
    remove_object: bool = False
    quality: str = "dataset"

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ShapeError: If the size lies outside square to 3 : 4.
            RangeError: If a number lies outside its range.
            ChoiceError: If a name is unknown.
        """
        if len(self.size) != 2 or self.size[0] < 24 or not self.size[0] <= self.size[1] <= self.size[0] * 4 / 3:
            raise ShapeError(f"size: expected (height, width) from 1 : 1 to 3 : 4, height >= 24, got {self.size!r}.")
        object.__setattr__(self, "size", (int(self.size[0]), int(self.size[1])))
        object.__setattr__(self, "coverage", tuple(float(share) for share in self.coverage))
        check_choice("classes", self.classes, CHOICES)
        check_range("coverage[0]", self.coverage[0], 0.002, 0.5)
        check_range("coverage[1]", self.coverage[1], self.coverage[0], 0.5)
        check_range("count", self.count, 1, 3)
        check_choice("background", self.background, BACKGROUNDS)
        check_choice("quality", self.quality, QUALITIES)


@dataclass(frozen=True)
class ObjectFrame:
    """One frame.

    Attributes:
        rgb: ``(3, H, W)`` uint8.
        mask: ``(H, W)`` bool, where the main object is seen.
        box: ``(4,)`` int64, x0, y0, x1, y1 half-open, about the mask; zeros if the mask is empty.
        instance: ``(H, W)`` uint8; 1 is the main object, 2, 3, ... the others, 0 all else.
        label: Index into ``CLASSES`` of the main object.
        labels: The same of every object.
        meta: ``name`` and ``family`` of the main object, ``setting``, ``version``, ``seed``, ``split``, ``index``,
            ``content`` hash.
    """

    rgb: Array
    mask: Array
    box: Array
    instance: Array
    label: int
    labels: tuple[int, ...]
    meta: dict[str, Any] = field(default_factory=dict)


def box_of(mask: Array) -> Array:
    """The box about a mask: x0, y0, x1, y1, half-open, int64; zeros for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return np.zeros(4, np.int64)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.int64)
