"""Shapes made of the rooms' parts: turned bodies, bent tubes, roofs, dials. An object's front looks towards -y."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from ask_scenes.objects.look import Look
from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.materials import Material
from ask_scenes.rooms.parts import FRUSTUM, ROUND, Part, Rotation, Vector, ball, box, post, rod, tilted, turn_y

Profile = Sequence[tuple[float, float]]
Maker = Callable[[Draws, Look], list[Part]]


def between(start: Vector, end: Vector, radius: float, material: Material, top: float = 1.0) -> Part:
    """A rod from one point to another; ``top`` is its radius at the end over that at the start."""
    way = [b - a for a, b in zip(start, end, strict=True)]
    length = math.sqrt(sum(w * w for w in way))
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, (start[2] + end[2]) / 2)
    return Part(FRUSTUM, middle, (radius, radius, length / 2), material, top, _facing([w / length for w in way]))


def _facing(way: Sequence[float]) -> Rotation:
    """A rotation that takes z to a direction."""
    x, y, z = way
    other = (1.0, 0.0, 0.0) if abs(x) < 0.8 else (0.0, 1.0, 0.0)
    a = (other[1] * z - other[2] * y, other[2] * x - other[0] * z, other[0] * y - other[1] * x)
    norm = math.sqrt(sum(v * v for v in a))
    a = (a[0] / norm, a[1] / norm, a[2] / norm)
    b = (y * a[2] - z * a[1], z * a[0] - x * a[2], x * a[1] - y * a[0])
    return (a[0], b[0], x), (a[1], b[1], y), (a[2], b[2], z)


def tube(points: Sequence[Vector], radius: float, material: Material, end: float = 1.0) -> list[Part]:
    """A round bar along points, thinning to ``end`` times its radius."""
    count = len(points) - 1
    radii = [radius * (1 + (end - 1) * i / count) for i in range(count + 1)]
    parts = [between(points[i], points[i + 1], radii[i], material, radii[i + 1] / radii[i]) for i in range(count)]
    return parts + [ball(*p, 2 * r, 2 * r, 2 * r, material) for p, r in zip(points[1:-1], radii[1:-1], strict=True)]


def arc(
    x: float, z: float, across: float, up: float, start: float, end: float, count: int = 7, y: float = 0.0
) -> list[Vector]:
    """Points on an ellipse in the plane of x and z; angles in degrees, 0 = +x, 90 = up."""
    angles = [math.radians(start + (end - start) * i / count) for i in range(count + 1)]
    return [(x + across * math.cos(a), y, z + up * math.sin(a)) for a in angles]


def handle(
    side: float, reach: float, low: float, high: float, thick: float, material: Material, inside: float = 0.0
) -> list[Part]:
    """A bent handle on a side (1 or -1) of an upright body whose wall is at ``|x| = inside``."""
    half = (high - low) / 2
    return tube(arc(side * inside, low + half, side * reach, half, -90, 90), thick, material)


def lathe(profile: Profile, material: Material, x: float = 0.0, y: float = 0.0) -> list[Part]:
    """A turned body from (height, radius) pairs, bottom first."""
    parts = []
    for (z0, r0), (z1, r1) in pairwise(profile):
        r0, r1 = max(r0, 0.012), max(r1, 0.002)
        if z1 - z0 > 1e-4:
            parts.append(post(x, y, z0, r0, z1 - z0, material, r1 / r0))
    return parts


def smooth(points: Profile, count: int = 14) -> list[tuple[float, float]]:
    """A smooth profile through (height, radius) pairs (Catmull-Rom)."""
    padded = [points[0], *points, points[-1]]
    out = []
    for i in range(count + 1):
        place = min(i / count * (len(points) - 1), len(points) - 1 - 1e-9)
        k, t = int(place), place - int(place)
        p = padded[k : k + 4]
        z, r = (_catmull(p[0][a], p[1][a], p[2][a], p[3][a], t) for a in (0, 1))
        out.append((z, max(r, 0.01)))
    return out


def _catmull(a: float, b: float, c: float, d: float, t: float) -> float:
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


def dome(radius: float, z: float, height: float, material: Material, count: int = 10) -> list[Part]:
    """Half an ellipsoid, flat side down."""
    angles = [math.pi / 2 * i / count for i in range(count + 1)]
    return lathe([(z + height * math.sin(a), radius * math.cos(a)) for a in angles], material)


def gable(w: float, depth: float, h: float, z: float, wall: Material, roof: Material, over: float = 0.06) -> list[Part]:
    """A pitched roof over a body of width ``w``, its ridge along y, with its gable walls."""
    steps = 9
    parts = [
        box(0, 0, z + h * i / steps, w * (1 - (i + 0.55) / steps), depth, h / steps, wall) for i in range(steps - 1)
    ]
    slope, thick = math.atan2(h, w / 2), 0.05
    long = math.hypot(h, w / 2) + over + 0.03
    for side in (-1, 1):
        slab = Part(
            ROUND,
            (side * (w / 4 + over / 2 * math.cos(slope)), 0.0, z + h / 2 - over / 2 * math.sin(slope) + 0.02),
            (long / 2, depth / 2 + over, thick / 2),
            roof,
            0.012,
        )
        parts.append(tilted(slab, turn_y(side * slope)))
    return parts


def dial(d: Draws, x: float, y: float, z: float, radius: float, face: Material, ink: Material) -> list[Part]:
    """A clock's face towards -y: disc, twelve marks and two hands at a random hour."""
    parts = [rod(x, y, z, 0.02, radius, face, along="y")]
    for i in range(12):
        angle = i * math.pi / 6
        long = 0.2 if i % 3 == 0 else 0.11
        parts.append(_spoke(x, y - 0.012, z, angle, radius * (0.9 - long), radius * 0.9, radius * 0.045, ink))
    minutes = d.unit()
    parts.append(_spoke(x, y - 0.016, z, 2 * math.pi * minutes, -radius * 0.1, radius * 0.78, radius * 0.05, ink))
    hour = 2 * math.pi * (d.integer(0, 11) + minutes) / 12
    parts.append(_spoke(x, y - 0.02, z, hour, -radius * 0.1, radius * 0.52, radius * 0.07, ink))
    return parts


def _spoke(x: float, y: float, z: float, angle: float, near: float, far: float, thick: float, ink: Material) -> Part:
    """A thin bar from ``near`` to ``far`` of a centre, ``angle`` clockwise from the top as seen from the front."""
    c, s, middle = math.cos(angle), math.sin(angle), (near + far) / 2
    bar = box(x + s * middle, y, z + c * middle - (far - near) / 2, thick, 0.012, far - near, ink)
    return tilted(bar, turn_y(angle))


def window(x: float, y: float, z: float, w: float, h: float, glass: Material, frame: Material) -> list[Part]:
    """A pane with a frame and a cross on a wall that looks towards -y."""
    t = 0.022
    parts = [box(x, y, z, w, 0.02, h, glass)]
    parts += [box(x + s * w / 2, y - 0.008, z - t / 2, t, 0.03, h + t, frame) for s in (-1, 0, 1)]
    return parts + [box(x, y - 0.008, z + k * h / 2 - t / 2, w + t, 0.03, t, frame) for k in (0, 1, 2)]


def scaled(parts: Sequence[Part], factor: float) -> list[Part]:
    """Parts made larger or smaller about the origin."""
    out = []
    for part in parts:
        centre = (part.centre[0] * factor, part.centre[1] * factor, part.centre[2] * factor)
        half = (part.half[0] * factor, part.half[1] * factor, part.half[2] * factor)
        extra = part.extra * factor if part.kind == ROUND else part.extra
        out.append(replace(part, centre=centre, half=half, extra=extra))
    return out
