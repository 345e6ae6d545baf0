"""Where an object stands: what carries it, what is behind it, what lies beside it, and the light.

Nothing here sees the label. The object stands at ``SPOT``; one unit is about its size. Walls are flats, as on a
stage, so the camera has room in front.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ask_scenes.objects.clutter import REACH, STANDING, on_wall
from ask_scenes.objects.decor import Decor
from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.layout import Lamp
from ask_scenes.rooms.materials import Material, mix
from ask_scenes.rooms.parts import BOX, Part, Vector, box, cushion, mat, moved, post

SPOT = (0.0, 0.5)
ROOM = (11.0, 11.0, 4.4)
SETTINGS: tuple[str, ...] = ("corner", "table", "shelf", "plinth", "sill")
OBJECT_REACH = 0.6


@dataclass(frozen=True)
class Setting:
    """All of a frame but the object and the camera's final aim.

    Attributes:
        kind: One of ``SETTINGS``, or ``plain``.
        height: Of the surface on which the object stands.
        parts: Furniture, walls and clutter.
        lamps: The light.
        wall: The room's own walls; likewise ``floor``.
        floor: See ``wall``.
        azimuth: Of the camera about the object, radians; 0 looks straight at the wall.
        elevation: Of the camera above the object's middle, radians.
        distance: Of the camera from the object's middle.
        exposure: Factor from radiance to sensor.
        tint: White balance, linear RGB factors.
    """

    kind: str
    height: float
    parts: tuple[Part, ...]
    lamps: tuple[Lamp, ...]
    wall: Material
    floor: Material
    azimuth: float
    elevation: float
    distance: float
    exposure: float
    tint: Vector


def setting(d: Draws, decor: Decor, neighbours: int = 0) -> Setting:
    """A furnished setting.

    Args:
        d: The stream.
        decor: Materials of the room.
        neighbours: Other objects that need a place beside the main one; clutter keeps clear of them.

    Returns:
        The setting.
    """
    kind = d.choice(SETTINGS)
    if neighbours:
        kind = "table"  # the one that has room on both sides
    azimuth, elevation, distance = d.between(-0.5, 0.5), d.between(0.1, 0.5), d.between(2.5, 3.4)
    if kind == "shelf":
        azimuth, elevation = azimuth * 0.5, elevation * 0.45
    side = 1.0 if azimuth < 0 else -1.0
    height, parts, spread = _STAGES[kind](d, decor, side)
    parts += _beside(d, decor, azimuth, height, spread, neighbours)
    lamps = _lamps(d, azimuth, height, side, low=kind == "shelf")
    return Setting(
        kind, height, tuple(parts), lamps, decor.wall, decor.floor, azimuth, elevation, distance,
        d.between(0.95, 1.3), (1 + d.normal(0.05), 1.0, 1 + d.normal(0.07)),
    )  # fmt: skip


def plain(d: Draws, whole: Setting) -> Setting:
    """The same camera and light on one even surface, a sweep of paper."""
    tone = d.between(0.5, 0.85)
    paper = Material("plain", (tone, tone, tone * 0.99), (tone, tone, tone))
    return replace(whole, kind="plain", parts=(), wall=paper, floor=paper, height=0.0)


Spread = tuple[float, float, float, float]
"""Low x, low y, high x, high y of the surface about the object."""


def _corner(d: Draws, p: Decor, side: float) -> tuple[float, list[Part], Spread]:
    """On the floor, in a corner."""
    gap, aside = d.between(0.8, 1.7), d.between(1.2, 2.2)
    y = SPOT[1] + gap
    parts = [*_back(d, p, y, d.integer(1, 2), 1.0), box(0, y - 0.02, 0, 10, 0.04, d.between(0.08, 0.16), p.hard())]
    wall = p.wall if d.chance(0.6) else replace(p.wall, texture="plain")
    parts.append(_flat(box(side * (aside + 0.05), y - 4, 0, 0.1, 8, ROOM[2] - 0.02, wall)))
    if d.chance(0.4):
        parts.append(mat(0, SPOT[1], 0.0, d.between(2.4, 3.4), d.between(1.6, 2.2), p.decal("rug")))
    low, high = (-1.7, aside - 0.35) if side > 0 else (-aside + 0.35, 1.7)
    return 0.0, parts, (low, SPOT[1] - 0.7, high, y - 0.35)


def _table(d: Draws, p: Decor, side: float) -> tuple[float, list[Part], Spread]:
    """On a table, the wall further back with a cupboard before it."""
    h, w, dep, top = d.between(0.85, 1.0), d.between(3.2, 4.4), d.between(2.0, 2.6), p.hard()
    y = SPOT[1] + d.between(-0.1, 0.3)
    parts = _slab(cushion(0, y, h - 0.1, w, dep, 0.1, top, 0.03))
    parts += [
        box(sx * (w / 2 - 0.2), y + sy * (dep / 2 - 0.2), 0, 0.14, 0.14, h - 0.1, top)
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    if d.chance(0.45):
        cloth = d.choice((p.soft(), p.small()))
        w_cloth, d_cloth = d.between(1.3, 2.0), d.between(1.0, 1.4)
        parts.append(_flat(box(d.between(-0.3, 0.3), SPOT[1], h - 0.01, w_cloth, d_cloth, 0.014, cloth)))
    back = y + dep / 2 + d.between(0.2, 1.6)
    parts += _back(d, p, back, d.integer(1, 3), 1.7)
    for _ in range(d.integer(0, 2)):
        parts += _cupboard(d, p, d.between(-2.2, 2.2), back)
    return h, parts, (-w / 2 + 0.35, y - dep / 2 + 0.35, w / 2 - 0.35, y + dep / 2 - 0.3)


def _shelf(d: Draws, p: Decor, side: float) -> tuple[float, list[Part], Spread]:
    """In a bay of a shelf unit, books and boxes in the other bays."""
    z, w, tall, dep, wood, t = d.between(0.9, 1.1), d.between(2.3, 3.2), d.between(1.4, 1.6), 1.0, p.hard(), 0.07
    back = SPOT[1] + 0.55
    inner = p.hard() if d.chance(0.5) else p.wall
    parts = [*_back(d, p, back + 0.06, 0, 1.0), _flat(box(0, back, 0, 3 * w, 0.05, z + 2 * tall, inner))]
    x = d.between(-0.3, 0.3)
    for k in range(3):
        board = box(x, back - dep / 2, z - t + k * tall, 3 * w, dep, t, wood)
        parts += _slab(board)
    parts += [box(x + s * w / 2, back - dep / 2, 0, t, dep, z + 2 * tall, wood) for s in (-3, -1, 1, 3)]
    for column in (-1, 0, 1):
        for row in (-1, 0, 1):
            if column or row:
                parts += _bay(d, p, x + column * w, back, z + row * tall if row >= 0 else z - tall, w)
    return z, parts, (x - w / 2 + 0.35, SPOT[1] - 0.3, x + w / 2 - 0.35, back - 0.3)


def _bay(d: Draws, p: Decor, x: float, back: float, z: float, w: float) -> list[Part]:
    if d.chance(0.25) or z < -0.1:
        return []
    at = (x + d.between(-0.2, 0.2) * w, back - 0.45, z)
    parts = [moved(part, at, 0.0) for part in d.choice(STANDING)(d, p)]
    if d.chance(0.6):
        high, long = d.between(0.5, 0.8), d.between(0.3, 0.6) * w
        parts.append(box(x - w / 2 + long / 2 + 0.06, back - 0.25, z, long, 0.4, high, p.decal("books")))
    return parts


def _plinth(d: Draws, p: Decor, side: float) -> tuple[float, list[Part], Spread]:
    """On a block before a wall."""
    h, w, look = d.between(0.5, 1.0), d.between(1.3, 1.7), p.hard()
    block = post(0, SPOT[1], 0, w * 0.62, h, look) if d.chance(0.4) else box(0, SPOT[1], 0, w, w, h, look)
    parts = [_flat(block)]
    back = SPOT[1] + d.between(1.1, 2.2)
    parts += _back(d, p, back, d.integer(1, 3), h + 0.7)
    for _ in range(d.integer(1, 2)):
        x = d.choice((-1, 1)) * d.between(1.3, 2.0)
        things = d.choice(STANDING)(d, p)
        stand = d.between(0.5, 1.3)
        parts += [moved(part, (x, back - 0.5, stand), d.between(-0.4, 0.4)) for part in things]
        parts.append(box(x, back - 0.5, 0, 0.8, 0.7, stand, p.hard()))
    return h, parts, (0.0, 0.0, 0.0, 0.0)


def _sill(d: Draws, p: Decor, side: float) -> tuple[float, list[Part], Spread]:
    """On a ledge along a wall that is close behind, before a picture, a board or a window."""
    h, back = d.between(0.8, 1.0), SPOT[1] + d.between(0.62, 0.85)
    top = p.hard()
    dep = back - SPOT[1] + d.between(0.7, 1.0)
    parts = _slab(cushion(0, back - dep / 2, h - 0.09, 10, dep, 0.09, top, 0.02))
    parts.append(_flat(box(0, back - dep / 2 + 0.1, 0, 10, dep - 0.2, h - 0.09, p.hard())))
    parts += _back(d, p, back, d.integer(1, 3), h + 0.8)
    if d.chance(0.5):
        material = replace(p.wall, texture=d.choice(("tile", "planks", "stripe", "brick")), scale=d.between(0.16, 0.3))
        parts.append(_flat(box(0, back - 0.012, h, 10, 0.024, d.between(0.5, 1.4), material)))
    return h, parts, (-1.8, SPOT[1] - 0.4, 1.8, back - 0.3)


_STAGES = {"corner": _corner, "table": _table, "shelf": _shelf, "plinth": _plinth, "sill": _sill}


def _flat(part: Part) -> Part:
    """A large surface that casts no shadow: it would mostly cast it on itself, in stripes."""
    return replace(part, shadow=False)


def _slab(part: Part) -> list[Part]:
    """A large flat top, and a core well below its surface that casts the shadow in its place."""
    core = replace(
        part,
        centre=(part.centre[0], part.centre[1], part.centre[2] - 0.005),
        half=(part.half[0] - 0.03, part.half[1] - 0.03, 0.01),
        kind=BOX,
    )
    return [_flat(part), core]


def _back(d: Draws, p: Decor, y: float, hung: int, z: float) -> list[Part]:
    """A wall behind, with things hung on it."""
    parts = [_flat(box(0, y + 0.05, 0, 10.4, 0.1, ROOM[2] - 0.02, p.wall))]
    places = d.shuffled([-1.9, -0.6, 0.6, 1.9])[:hung]
    for x in places:
        shift = (x + d.between(-0.3, 0.3), y, 0.0)
        parts += [moved(part, shift, 0.0) for part in on_wall(d, p, z + 0.1, z + 0.8)]
    return parts


def _cupboard(d: Draws, p: Decor, x: float, back: float) -> list[Part]:
    w, h, look, panel = d.between(0.9, 1.6), d.between(0.9, 1.7), p.hard(), p.hard()
    parts = [box(x, back - 0.2, 0, w, 0.4, h, look)]
    parts += [box(x + s * w / 4, back - 0.41, 0.1, w / 2 - 0.06, 0.03, h - 0.16, panel) for s in (-1, 1)]
    for shift in (-w / 4, w / 4):
        things = d.choice(STANDING)(d, p)
        parts += [moved(part, (x + shift, back - 0.22, h), 0.0) for part in things]
    return parts


def _beside(d: Draws, p: Decor, azimuth: float, z: float, spread: Spread, neighbours: int) -> list[Part]:
    """Clutter on the same surface: beside and behind the object as the camera sees it, never before it."""
    placed = [(SPOT[0], SPOT[1], OBJECT_REACH)]
    placed += [(*where(azimuth, n + 1), OBJECT_REACH) for n in range(neighbours)]
    parts: list[Part] = []
    for _ in range(d.integer(3, 7) if spread[2] > spread[0] else 0):
        maker, turn = d.choice(STANDING), d.between(-0.6, 0.6)
        made = maker(d, p)
        for _ in range(10):
            aside = d.between(-1.8, 1.8)
            ahead = d.between(-0.45, 1.2) if abs(aside) > 1.0 else d.between(0.45, 1.5)
            x, y = _from_camera(azimuth, aside, ahead)
            inside = spread[0] <= x <= spread[2] and spread[1] <= y <= spread[3]
            if inside and all(math.hypot(x - a, y - b) > r + REACH for a, b, r in placed):
                placed.append((x, y, REACH))
                parts += [moved(part, (x, y, z), azimuth + turn) for part in made]
                break
    return parts


def where(azimuth: float, number: int) -> tuple[float, float]:
    """Place of object ``number``; 0 is the main one, the others stand beside and behind it."""
    aside, ahead = ((0.0, 0.0), (1.12, 0.2), (-1.12, 0.25))[number]
    return _from_camera(azimuth, aside, ahead)


def _from_camera(azimuth: float, aside: float, ahead: float) -> tuple[float, float]:
    c, s = math.cos(azimuth), math.sin(azimuth)
    return SPOT[0] + c * aside - s * ahead, SPOT[1] + s * aside + c * ahead


def _lamps(d: Draws, azimuth: float, z: float, side: float, *, low: bool) -> tuple[Lamp, ...]:
    """A soft key light on one side, a weak one on the other, and the room's ceiling."""
    turn = azimuth - side * d.between(0.3, 1.1)
    rise = d.between(0.3, 0.5) if low else d.between(0.5, 0.95)
    warm = (1.0, d.between(0.86, 1.0), d.between(0.7, 1.05))
    key = d.between(5.0, 8.0)
    lamps = [_softbox(turn, rise, z, 2.4, 0.4, (warm[0] * key, warm[1] * key, warm[2] * key), 5)]
    fill = key * d.between(0.12, 0.4)
    cool = (0.9 * fill, 0.97 * fill, 1.08 * fill)
    lamps.append(_softbox(azimuth + side * d.between(0.3, 0.9), d.between(0.3, 0.6), z, 3.0, 0.3, cool, 2))
    return tuple(lamps)


def _softbox(turn: float, rise: float, z: float, distance: float, radius: float, power: Vector, count: int) -> Lamp:
    way = (math.sin(turn) * math.cos(rise), -math.cos(turn) * math.cos(rise), math.sin(rise))
    across, up = (
        (math.cos(turn), math.sin(turn), 0.0),
        (-math.sin(turn) * math.sin(rise), math.cos(turn) * math.sin(rise), math.cos(rise)),
    )
    points = []
    for i in range(count):
        angle = 2 * math.pi * (i + 0.25) / count
        p = [
            c + distance * w + radius * (math.cos(angle) * a + math.sin(angle) * u)
            for c, w, a, u in zip((*SPOT, z + 0.4), way, across, up, strict=True)
        ]
        points.append((p[0], p[1], min(p[2], ROOM[2] - 0.1)))
    return Lamp(tuple(points), (-way[0], -way[1], -way[2]), power)


def ceiling(wall: Material) -> Material:
    """The room's ceiling."""
    return Material("plain", mix(wall.base, (0.95, 0.95, 0.94), 0.75), (0.9, 0.9, 0.9))
