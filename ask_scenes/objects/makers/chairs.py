"""Chairs: told apart by back, legs and arms."""

from __future__ import annotations

import math

from ask_scenes.objects.look import Look
from ask_scenes.objects.makers.shapes import between, lathe, smooth, tube
from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.materials import Material
from ask_scenes.rooms.parts import Part, ball, box, cushion, post


def ladder_chair(d: Draws, k: Look) -> list[Part]:
    """Straight posts joined by level slats."""
    w, h, seat = _sizes(d)
    parts = _straight_legs(w, seat, k.main)
    parts += [box(s * (w / 2 - 0.03), w / 2 - 0.03, seat, 0.055, 0.055, h - seat, k.main) for s in (-1, 1)]
    parts += [box(0, w / 2 - 0.03, seat + (h - seat) * (i + 0.75) / 4, w, 0.03, 0.075, k.main) for i in range(3)]
    return [*parts, box(0, 0, seat, w, w, 0.05, k.second)]


def spindle_chair(d: Draws, k: Look) -> list[Part]:
    """A bow filled with thin upright sticks, on splayed legs."""
    w, h, seat = _sizes(d)
    parts = [*_splayed_legs(w, seat, k.main), cushion(0, 0, seat, w, w, 0.05, k.second, 0.02)]
    y, top = w / 2 - 0.05, h - seat
    bow = [(-w / 2 + 0.03, y, seat), (-w / 2, y + 0.04, seat + top * 0.6), (-w * 0.3, y + 0.07, h * 0.98)]
    bow += [(0.0, y + 0.08, h), *[(-x, yy, z) for x, yy, z in reversed(bow)]]
    parts += tube(bow, 0.022, k.main)
    return parts + [
        between((x * w, y, seat), (x * w * 1.15, y + 0.07, h * 0.97), 0.013, k.main)
        for x in (-0.3, -0.15, 0, 0.15, 0.3)
    ]


def armchair(d: Draws, k: Look) -> list[Part]:
    """Upholstered: thick back, arms that reach the floor."""
    w, h, seat = d.between(0.66, 0.8), d.between(0.78, 0.92), d.between(0.3, 0.36)
    parts = [
        cushion(0, 0, 0.08, w, w * 0.9, seat - 0.08, k.main, 0.04),
        cushion(0, -0.04, seat, w * 0.66, w * 0.75, 0.12, k.second, 0.05),
    ]
    parts.append(cushion(0, w * 0.36, 0.08, w, 0.17, h - 0.08, k.main, 0.07))
    parts += [cushion(s * (w / 2 - 0.06), -0.02, 0.08, 0.15, w * 0.86, seat + 0.16, k.main, 0.06) for s in (-1, 1)]
    return parts + [post(x * w * 0.4, y * w * 0.36, 0, 0.03, 0.09, k.trim, 1.3) for x in (-1, 1) for y in (-1, 1)]


def rocking_chair(d: Draws, k: Look) -> list[Part]:
    """Curved runners, upright sticks and arm rests."""
    w, h, seat = _sizes(d)
    parts = [cushion(0, 0, seat, w, w, 0.05, k.second, 0.02)]
    for s in (-1, 1):
        x = s * (w / 2 - 0.03)
        runner = [(x, y, 0.025 + 0.3 * (y - 0.03) ** 2) for y in (-0.45, -0.25, -0.05, 0.15, 0.35, 0.55)]
        parts += tube(runner, 0.026, k.main)
        parts += [between((x, y, 0.05), (x * 0.95, y * 0.9, seat), 0.022, k.main) for y in (-w * 0.4, w * 0.4)]
        parts += [
            between((x, w * 0.42, seat), (x, w * 0.62, h), 0.025, k.main),
            box(x, 0, seat + 0.2, 0.06, w, 0.03, k.main),
        ]
        parts.append(between((x, -w * 0.42, seat), (x, -w * 0.42, seat + 0.2), 0.02, k.main))
    parts += [
        between((x * w, w * 0.43, seat), (x * w, w * 0.61, h - 0.04), 0.014, k.main) for x in (-0.24, -0.08, 0.08, 0.24)
    ]
    return [*parts, between((-w / 2, w * 0.615, h), (w / 2, w * 0.615, h), 0.04, k.main)]


def tulip_chair(d: Draws, k: Look) -> list[Part]:
    """A shell on one flaring foot."""
    seat, r = d.between(0.4, 0.48), d.between(0.27, 0.33)
    foot = smooth([(0, r * 0.95), (0.05, r * 0.6), (0.15, 0.07), (seat * 0.8, 0.05), (seat, 0.12)], 9)
    parts = [
        *lathe(foot, k.main),
        post(0, 0, seat, r * 0.75, 0.1, k.main, 1.35),
        post(0, 0, seat + 0.09, r * 0.9, 0.05, k.second),
    ]
    back = d.between(0.38, 0.46)
    for i in range(-5, 6):
        angle = i * 0.2
        x, y = r * math.sin(angle), r * math.cos(angle)
        tall = back * (1 - (i / 7.5) ** 2)
        top = (x * 1.25, y * 1.25, seat + 0.1 + tall)
        parts += [between((x * 0.9, y * 0.9, seat + 0.05), top, 0.055, k.main), ball(*top, 0.11, 0.11, 0.11, k.main)]
    return parts


def panel_chair(d: Draws, k: Look) -> list[Part]:
    """One solid board as a back, on splayed legs."""
    w, h, seat = _sizes(d)
    parts = [*_splayed_legs(w, seat, k.main), cushion(0, 0, seat, w, w, 0.05, k.second, 0.02)]
    parts += [box(s * w * 0.28, w / 2 - 0.04, seat, 0.045, 0.03, (h - seat) * 0.6, k.main) for s in (-1, 1)]
    return [*parts, cushion(0, w / 2 - 0.03, seat + (h - seat) * 0.42, w, 0.045, (h - seat) * 0.58, k.second, 0.02)]


def _sizes(d: Draws) -> tuple[float, float, float]:
    """Width, whole height, height of the seat."""
    return d.between(0.44, 0.54), d.between(0.9, 1.08), d.between(0.42, 0.5)


def _straight_legs(w: float, seat: float, wood: Material) -> list[Part]:
    at = w / 2 - 0.03
    parts = [box(x * at, y * at, 0, 0.055, 0.055, seat, wood) for x in (-1, 1) for y in (-1, 1)]
    return parts + [box(0, s * at, seat * 0.4, w - 0.06, 0.03, 0.04, wood) for s in (-1, 1)]


def _splayed_legs(w: float, seat: float, wood: Material) -> list[Part]:
    feet = [(x * w * 0.54, y * w * 0.54) for x in (-1, 1) for y in (-1, 1)]
    return [between((x, y, 0), (x * 0.62, y * 0.62, seat + 0.01), 0.022, wood, 1.4) for x, y in feet]
