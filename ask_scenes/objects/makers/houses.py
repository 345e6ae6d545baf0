"""Model buildings: told apart by plan, roof, tower and openings."""

from __future__ import annotations

import math
from dataclasses import replace

from ask_scenes.objects.look import Look
from ask_scenes.objects.makers.shapes import between, dome, gable, window
from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.parts import Part, ball, box, post, rod, tilted, turn_y


def cottage(d: Draws, k: Look) -> list[Part]:
    """A gable in front, a door between two windows, a chimney."""
    w, h, deep = d.between(0.72, 0.84), d.between(0.36, 0.44), d.between(0.6, 0.8)
    roof = w * d.between(0.42, 0.55)
    parts = [box(0, 0, 0, w, deep, h, k.main), *gable(w, deep, roof, h, k.main, k.second, 0.08)]
    parts += [
        box(0, -deep / 2, 0, 0.15, 0.03, h * 0.7, k.third),
        box(w * 0.25, deep * 0.15, h, 0.12, 0.12, roof * 0.95, k.trim),
    ]
    parts += [p for s in (-1, 1) for p in window(s * w * 0.31, -deep / 2, h * 0.35, 0.15, 0.15, k.third, k.trim)]
    return [*parts, *window(0, -deep / 2, h + roof * 0.2, 0.12, 0.12, k.third, k.trim)]


def church(d: Draws, k: Look) -> list[Part]:
    """A nave with a tower and a spire in front."""
    w, h, deep = d.between(0.42, 0.5), d.between(0.32, 0.4), d.between(0.75, 0.9)
    t, tall = w * 0.56, d.between(0.62, 0.72)
    parts = [box(0, 0.05, 0, w, deep, h, k.main), *_moved(gable(w, deep, w * 0.55, h, k.main, k.second, 0.05), 0.05)]
    y = -deep / 2 - 0.02
    parts += [box(0, y, 0, t, t, tall, k.main), post(0, y, tall, t * 0.66, d.between(0.36, 0.46), k.second, 0.03)]
    parts += [
        box(0, y - t / 2, 0, 0.12, 0.03, 0.2, k.third),
        *window(0, y - t / 2, tall * 0.7, 0.1, 0.12, k.third, k.trim),
    ]
    return parts + [
        box(s * w / 2, 0.05 + 0.24 * i, h * 0.35, 0.03, 0.09, h * 0.45, k.third)
        for s in (-1, 1)
        for i in (-0.6, 0.3, 1.2)
    ]


def windmill(d: Draws, k: Look) -> list[Part]:
    """A tapering tower with a round cap and four sails."""
    r, h = d.between(0.26, 0.32), d.between(0.74, 0.86)
    parts = [
        post(0, 0, 0, r, h, k.main, 0.62),
        *dome(r * 0.7, h, 0.18, k.second),
        box(0, -r * 0.92, 0, 0.14, 0.08, 0.22, k.third),
    ]
    parts += [
        *window(0, -r * 0.78, h * 0.55, 0.1, 0.12, k.third, k.trim),
        rod(0, -r * 0.72, h, 0.26, 0.035, k.trim, along="y"),
    ]
    turn, long = d.between(0, math.pi / 2), d.between(0.44, 0.52)
    for i in range(4):
        angle = turn + i * math.pi / 2
        c, s = math.cos(angle), math.sin(angle)
        bar = box(s * long / 2, -r * 0.95, h + c * long / 2 - long / 2, 0.03, 0.03, long, k.trim)
        cloth = box(
            s * long * 0.58 + 0.06 * c,
            -r * 0.94,
            h + c * long * 0.58 - 0.06 * s - long * 0.37,
            0.11,
            0.015,
            long * 0.74,
            k.third,
        )
        parts += [tilted(bar, turn_y(angle)), tilted(cloth, turn_y(angle))]
    return parts


def lighthouse(d: Draws, k: Look) -> list[Part]:
    """A slender tower with hoops, a gallery and a lantern."""
    r, h = d.between(0.22, 0.27), d.between(0.78, 0.9)
    parts = [
        post(0, 0, 0, r * 1.3, 0.08, k.third),
        post(0, 0, 0.08, r, h, k.main, 0.62),
        box(0, -r * 0.97, 0.08, 0.12, 0.06, 0.18, k.third),
    ]
    parts += [post(0, 0, 0.08 + h * f, r * 1.02 * (1 - 0.38 * f), h * 0.17, k.second, 0.93) for f in (0.28, 0.65)]
    top = h + 0.08
    parts += [
        post(0, 0, top, r * 0.95, 0.04, k.trim),
        post(0, 0, top + 0.04, r * 0.5, 0.16, k.third),
        *dome(r * 0.62, top + 0.2, 0.13, k.second),
    ]
    ring = [(r * 0.88 * math.cos(a), r * 0.88 * math.sin(a)) for a in (i * math.pi / 5 for i in range(10))]
    return [
        *parts,
        *[post(x, y, top + 0.04, 0.012, 0.08, k.trim) for x, y in ring],
        ball(0, 0, top + 0.36, 0.06, 0.06, 0.08, k.trim),
    ]


def barn(d: Draws, k: Look) -> list[Part]:
    """A roof with two slopes a side and one wide, crossed door."""
    w, h, deep = d.between(0.78, 0.88), d.between(0.3, 0.36), d.between(0.6, 0.75)
    parts = [
        box(0, 0, 0, w, deep, h, k.main),
        box(0, 0, h, w * 0.86, deep, 0.14, k.main),
        box(0, 0, h + 0.1, w * 0.72, deep, 0.12, k.main),
    ]
    for s in (-1, 1):
        side = box(s * w * 0.455, 0, h - 0.03, 0.045, deep + 0.1, 0.29, k.second)
        parts.append(tilted(side, turn_y(-s * 0.4)))
    parts += gable(w * 0.78, deep, w * 0.2, h + 0.21, k.main, k.second, 0.04)
    door, y = 0.34, -deep / 2 - 0.01
    parts += [box(0, y, 0, door, 0.03, 0.3, k.third)]
    parts += [tilted(box(0, y - 0.015, -0.045, 0.03, 0.02, 0.4, k.trim), turn_y(s * 0.85)) for s in (-1, 1)]
    parts += [box(s * door / 2, y - 0.012, 0, 0.03, 0.03, 0.32, k.trim) for s in (-1, 1)]
    return [*parts, *window(0, y, h + 0.08, 0.13, 0.13, k.third, k.trim)]


def tower_house(d: Draws, k: Look) -> list[Part]:
    """A block of flats: a flat roof with a tank over a grid of windows."""
    w, h = d.between(0.48, 0.56), d.between(0.86, 1.0)
    deep = w * d.between(0.7, 1.0)
    parts = [
        box(0, 0, 0, w, deep, h, k.main),
        box(0, 0, h, w * 1.06, deep * 1.06, 0.05, k.second),
        box(0.08, 0, h + 0.05, 0.18, 0.18, 0.1, k.trim),
    ]
    for i in range(3):
        for j in range(4):
            x, z = (i - 1) * w * 0.3, 0.2 + (h - 0.2) * j / 4
            parts.append(box(x, -deep / 2, z, w * 0.18, 0.02, h * 0.12, k.third))
            parts += [box(s * w / 2, (i - 1) * deep * 0.3, z, 0.02, deep * 0.18, h * 0.12, k.third) for s in (-1, 1)]
    return [
        *parts,
        box(0, -deep / 2, 0, 0.14, 0.05, 0.16, k.second),
        between((0.02, 0, h), (0.02, 0, h + 0.22), 0.01, k.trim),
    ]


def _moved(parts: list[Part], y: float) -> list[Part]:
    return [replace(p, centre=(p.centre[0], p.centre[1] + y, p.centre[2])) for p in parts]
