"""What a piece of furniture is: a category, parts in its own frame, and the room it takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.materials import Material, Palette
from ask_scenes.rooms.parts import FRUSTUM, Part, box, post

CATEGORIES: tuple[str, ...] = (
    "nothing", "shell", "window", "door", "radiator", "ceiling_lamp",
    # bathroom
    "toilet", "basin", "bathtub", "shower", "towel_rail",
    # bedroom
    "bed", "nightstand", "wardrobe", "dresser",
    # bookstore
    "bookcase", "book_table", "till", "book_rack",
    # classroom
    "pupil_desk", "board", "lectern", "wall_map",
    # dining room
    "dining_table", "sideboard", "tableware", "tablecloth",
    # offices
    "desk", "computer", "swivel_chair", "desk_lamp", "pinboard", "partition", "filing_cabinet", "copier",
    # kitchen
    "counter", "stove", "fridge", "wall_cabinet", "hood", "splashback",
    # living room
    "sofa", "coffee_table", "television", "fireplace", "armchair",
    # others
    "washer", "ironing_board", "drying_rack", "treadmill", "weight_bench", "gym_ball", "dumbbells", "metal_rack",
    "crate_stack", "ladder", "cot", "play_tent", "toy_blocks", "coat_rack", "shoe_rack", "stairs",
    # shared by all rooms
    "chair", "stool", "plant", "floor_lamp", "cabinet", "carton", "low_shelf", "side_table", "bin", "rug", "picture",
    "clock", "mirror", "curtain", "basket", "wall_shelf", "small_thing",
)  # fmt: skip


Bounds = tuple[float, float, float, float, float, float]


def bounds_of(parts: tuple[Part, ...]) -> Bounds:
    """Axis-parallel bounds of turned parts."""
    low, high = [math.inf] * 3, [-math.inf] * 3
    for part in parts:
        half = part.half
        if part.kind == FRUSTUM and part.extra > 1:
            half = (half[0] * part.extra, half[1] * part.extra, half[2])
        for axis in range(3):
            reach = sum(abs(r) * h for r, h in zip(part.rotation[axis], half, strict=True))
            low[axis] = min(low[axis], part.centre[axis] - reach)
            high[axis] = max(high[axis], part.centre[axis] + reach)
    return low[0], low[1], low[2], high[0], high[1], high[2]


@dataclass(frozen=True)
class Design:
    """A piece of furniture, not yet placed.

    Attributes:
        category: One of ``CATEGORIES``.
        parts: Its parts; its back is at ``y = -depth / 2``, its front at ``+depth / 2``.
        width: Along x, metres.
        depth: Along y.
        height: Of the surface on which small things can stand, or of the whole.
    """

    category: str
    parts: tuple[Part, ...]
    width: float
    depth: float
    height: float

    @cached_property
    def bounds(self) -> Bounds:
        """Axis-parallel bounds in its own frame."""
        return bounds_of(self.parts)


Maker = Callable[[Draws, Palette], Design]


def design(category: str, parts: Iterable[Part], width: float, depth: float, height: float) -> Design:
    """A design from any iterable of parts."""
    return Design(category, tuple(parts), width, depth, height)


def four_legs(w: float, d: float, h: float, thick: float, material: Material, *, round_: bool = False) -> list[Part]:
    """Legs at the corners of a ``w`` by ``d`` rectangle."""
    places = [(sx * (w - thick) / 2, sy * (d - thick) / 2) for sx in (-1, 1) for sy in (-1, 1)]
    if round_:
        return [post(x, y, 0, thick * 0.32, h, material, 1.7) for x, y in places]
    return [box(x, y, 0, thick, thick, h, material) for x, y in places]


def fronts(
    w: float, front: float, low: float, high: float, columns: int, rows: int, panel: Material, knob: Material
) -> list[Part]:
    """Drawer or door panels on a front at ``y = front``, each with a handle."""
    parts, cw, rh = [], w / columns, (high - low) / rows
    tall = rh > 1.3 * cw
    for i in range(columns):
        for j in range(rows):
            x, z = (i - (columns - 1) / 2) * cw, low + j * rh
            parts.append(box(x, front + 0.009, z + 0.01, cw - 0.02, 0.018, rh - 0.02, panel))
            side = (0.5 - (i % 2)) * 2 * (cw / 2 - 0.06) if tall else 0.0
            size = (0.018, 0.14) if tall else (min(0.14, cw / 3), 0.018)
            parts.append(box(x + side, front + 0.03, z + rh * 0.62 - size[1] / 2, size[0], 0.025, size[1], knob))
    return parts
