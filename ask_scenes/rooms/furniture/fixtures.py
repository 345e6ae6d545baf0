"""What belongs to the building and stays whatever else is taken away: windows, doors, radiators, ceiling lamps."""

from __future__ import annotations

from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.furniture.design import Design, design
from ask_scenes.rooms.furniture.wet import pendant
from ask_scenes.rooms.materials import Palette
from ask_scenes.rooms.parts import Part, box, cushion, mat, post, sheet, tilted, turn_x


def window(d: Draws, p: Palette) -> Design:
    """Panes in a frame with a sill; what lies outside is painted on the glass."""
    w, h, z, frame = d.between(0.8, 1.6), d.between(0.9, 1.25), d.between(1.4, 1.55), p.hard()
    parts = [sheet(0, -0.03, z, w, h, p.decal("sky", glow=d.between(0.7, 1.6)))]
    parts += [box(s * w / 2, 0, z - h / 2, 0.06, 0.06, h, frame) for s in (-1, 1)]
    parts += [box(0, 0, z + s * h / 2 - 0.03, w + 0.06, 0.06, 0.06, frame) for s in (-1, 1)]
    parts += [box(0, 0, z - h / 2, 0.035, 0.04, h, frame), box(0, 0.04, z - h / 2 - 0.05, w + 0.2, 0.14, 0.03, frame)]
    if d.chance(0.5):
        parts.append(box(0, 0, z + h * 0.14, w, 0.04, 0.03, frame))
    return design("window", parts, w + 0.2, 0.06, z)


def door(d: Draws, p: Palette) -> Design:
    """A panelled door in its frame."""
    w, h, wood = d.between(0.78, 0.92), 2.02, p.hard()
    frame = p.hard()
    parts = [box(0, -0.02, 0, w, 0.04, h, wood)]
    parts += [box(s * (w / 2 + 0.04), 0, 0, 0.08, 0.07, h + 0.08, frame) for s in (-1, 1)]
    parts.append(box(0, 0, h, w + 0.16, 0.07, 0.08, frame))
    for low, high in ((0.15, 0.85), (1.0, 1.85)):
        parts += [box(s * w * 0.23, 0.005, low, w * 0.34, 0.025, high - low, wood) for s in (-1, 1)]
    parts += [cushion(d.choice((-1, 1)) * w * 0.42, 0.05, 1.0, 0.1, 0.05, 0.03, p.metal(), 0.012)]
    return design("door", parts, w + 0.16, 0.08, h)


def radiator(d: Draws, p: Palette) -> Design:
    """A ribbed radiator."""
    n, body = d.integer(7, 13), p.smooth()
    parts = [cushion((i - (n - 1) / 2) * 0.08, 0, 0.12, 0.06, 0.1, 0.6, body, 0.025) for i in range(n)]
    parts += [box(0, 0, z, n * 0.08, 0.05, 0.04, body) for z in (0.18, 0.62)]
    return design("radiator", parts, n * 0.08 + 0.05, 0.14, 0.72)


def ceiling_lamp(kind: str, d: Draws, p: Palette, h: float) -> list[Part]:
    """A lamp under a ceiling at height ``h``; kinds are ``panel``, ``dome`` and ``pendant``."""
    light = p.shining(2.2)
    if kind == "pendant":
        return pendant(d, p, h, d.between(0.5, 0.8))
    if kind == "dome":
        dome = tilted(post(0, 0, h - 0.1, 0.2, 0.1, light, 0.7), turn_x(3.14159))
        return [dome, post(0, 0, h - 0.02, 0.22, 0.02, p.metal())]
    frame = box(0, 0, h - 0.05, 1.2, 0.32, 0.05, p.metal())
    under = tilted(mat(0, 0, h - 0.0505, 1.14, 0.26, light), turn_x(3.14159))
    return [frame, under]
