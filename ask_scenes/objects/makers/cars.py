"""Toy vehicles, driving towards -x: told apart by body, cabin, windows and wheels."""

from __future__ import annotations

from ask_scenes.objects.look import Look
from ask_scenes.objects.makers.shapes import between
from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.materials import Material
from ask_scenes.rooms.parts import Part, ball, box, cushion, post, rod


def saloon(d: Draws, k: Look) -> list[Part]:
    """Bonnet, cabin and boot."""
    w, r = d.between(1.0, 1.1), d.between(0.1, 0.12)
    parts = [cushion(0, 0, 0.08, w, 0.44, 0.22, k.main, 0.06), cushion(0.03, 0, 0.26, w * 0.5, 0.4, 0.22, k.main, 0.08)]
    parts += [box(s * w * 0.12 + 0.03, 0, 0.31, w * 0.18, 0.41, 0.1, k.third) for s in (-1, 1)]
    parts.append(cushion(0.03, 0, 0.305, w * 0.51, 0.34, 0.11, k.third, 0.05))
    return [*parts, *_wheels((-w * 0.31, w * 0.31), 0.22, r, k), *_lights(-w / 2, 0.22, 0.14, k.second)]


def pickup(d: Draws, k: Look) -> list[Part]:
    """A cabin in front of an open bed."""
    w, r = d.between(1.05, 1.15), d.between(0.12, 0.14)
    parts = [
        cushion(0, 0, 0.12, w, 0.46, 0.16, k.main, 0.03),
        cushion(-w * 0.12, 0, 0.24, w * 0.3, 0.42, 0.26, k.main, 0.06),
    ]
    parts += [
        box(-w * 0.12, 0, 0.34, w * 0.2, 0.43, 0.11, k.third),
        box(-w * 0.12, 0, 0.34, w * 0.305, 0.34, 0.11, k.third),
    ]
    parts += [box(w * 0.26, s * 0.21, 0.26, w * 0.46, 0.035, 0.12, k.second) for s in (-1, 1)]
    parts += [box(w * x, 0, 0.26, 0.035, 0.45, 0.12, k.second) for x in (0.04, 0.48)]
    return [
        *parts,
        cushion(-w * 0.37, 0, 0.22, w * 0.25, 0.42, 0.1, k.main, 0.04),
        *_wheels((-w * 0.32, w * 0.3), 0.22, r, k),
        *_lights(-w / 2, 0.22, 0.15, k.second),
    ]


def van(d: Draws, k: Look) -> list[Part]:
    """One tall body with a sloping nose, a window only in front."""
    w, h, r = d.between(0.95, 1.05), d.between(0.46, 0.54), d.between(0.1, 0.12)
    parts = [
        cushion(0.06, 0, 0.08, w * 0.88, 0.46, h, k.main, 0.05),
        cushion(-w * 0.42, 0, 0.08, w * 0.22, 0.44, h * 0.55, k.main, 0.07),
    ]
    parts += [
        box(-w * 0.22, 0, h * 0.62, w * 0.2, 0.47, h * 0.3, k.third),
        box(-w * 0.37, 0, h * 0.62, 0.03, 0.36, h * 0.32, k.third),
    ]
    parts.append(box(0.06, 0, 0.08 + h * 0.32, w * 0.87, 0.47, 0.05, k.second))
    return [*parts, *_wheels((-w * 0.3, w * 0.32), 0.22, r, k), *_lights(-w * 0.53, 0.22, 0.15, k.second)]


def bus(d: Draws, k: Look) -> list[Part]:
    """Two rows of windows."""
    w, h, r = d.between(1.05, 1.2), d.between(0.6, 0.7), d.between(0.09, 0.11)
    parts = [cushion(0, 0, 0.07, w, 0.36, h, k.main, 0.04), box(0, 0, 0.07 + h * 0.5, w * 0.99, 0.37, 0.04, k.second)]
    count = d.integer(5, 6)
    for i in range(count):
        x = (i - (count - 1) / 2) * w * 0.9 / count
        parts += [box(x, 0, 0.07 + h * f, w * 0.62 / count, 0.372, h * 0.24, k.third) for f in (0.22, 0.64)]
    parts += [box(-w / 2, 0, 0.07 + h * f, 0.012, 0.28, h * 0.24, k.third) for f in (0.22, 0.64)]
    return [*parts, *_wheels((-w * 0.3, w * 0.28), 0.18, r, k), *_lights(-w / 2, 0.15, 0.12, k.second)]


def tractor(d: Draws, k: Look) -> list[Part]:
    """Large wheels behind, small in front, a bonnet with a pipe, a roof on posts."""
    big, small = d.between(0.25, 0.3), d.between(0.12, 0.15)
    parts = [cushion(-0.22, 0, 0.2, 0.5, 0.26, 0.22, k.main, 0.04), box(0.16, 0, 0.2, 0.3, 0.3, 0.14, k.main)]
    parts += [
        post(-0.3, 0, 0.4, 0.025, 0.24, k.trim),
        cushion(0.22, 0, 0.34, 0.18, 0.22, 0.06, k.third, 0.02),
        cushion(0.29, 0, 0.38, 0.05, 0.22, 0.14, k.third, 0.02),
    ]
    parts += [box(x, y * 0.15, 0.32, 0.025, 0.025, 0.46, k.second) for x in (0.04, 0.34) for y in (-1, 1)]
    parts.append(cushion(0.19, 0, 0.76, 0.44, 0.4, 0.05, k.second, 0.02))
    return [
        *parts,
        *_wheels((0.24,), 0.24, big, k),
        *_wheels((-0.34,), 0.18, small, k),
        *_lights(-0.47, 0.32, 0.08, k.second),
    ]


def beetle(d: Draws, k: Look) -> list[Part]:
    """Everything round: a domed cabin over round wings."""
    w, r = d.between(0.95, 1.05), d.between(0.11, 0.13)
    parts = [ball(0.02, 0, 0.2, w, 0.46, 0.34, k.main), ball(0.04, 0, 0.3, w * 0.62, 0.4, 0.42, k.main)]
    parts.append(ball(0.04, 0, 0.385, w * 0.5, 0.415, 0.16, k.third))
    for x in (-w * 0.3, w * 0.32):
        parts += [ball(x, s * 0.19, 0.16, 0.32, 0.14, 0.26, k.second) for s in (-1, 1)]
    return [*parts, *_wheels((-w * 0.3, w * 0.32), 0.23, r, k), *_lights(-w * 0.43, 0.22, 0.16, k.trim)]


def _wheels(places: tuple[float, ...], aside: float, radius: float, k: Look) -> list[Part]:
    parts: list[Part] = []
    for x in places:
        for s in (-1, 1):
            parts.append(rod(x, s * aside, radius, 0.09, radius, _tyre(k), along="y"))
            parts.append(rod(x, s * aside, radius, 0.105, radius * 0.55, k.second, along="y"))
    return parts


def _tyre(k: Look) -> Material:
    return k.trim


def _lights(x: float, z: float, aside: float, material: Material) -> list[Part]:
    return [between((x + 0.03, s * aside, z), (x - 0.012, s * aside, z), 0.04, material) for s in (-1, 1)]
