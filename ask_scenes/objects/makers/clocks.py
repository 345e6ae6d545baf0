"""Standing clocks: told apart by case, top and feet. All have the same kind of dial."""

from __future__ import annotations

from ask_scenes.objects.look import Look
from ask_scenes.objects.makers.shapes import arc, between, dial, gable, tube
from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.parts import Part, ball, box, cushion, post, rod


def alarm_clock(d: Draws, k: Look) -> list[Part]:
    """A round case with two bells and a hammer, on two feet."""
    r, deep = d.between(0.34, 0.4), d.between(0.22, 0.3)
    z = r + 0.12
    parts = [rod(0, 0, z, deep, r, k.main, along="y"), rod(0, -deep / 2, z, 0.03, r * 0.94, k.trim, along="y")]
    parts += dial(d, 0, -deep / 2 - 0.015, z, r * 0.84, k.second, k.third)
    for s in (-1, 1):
        parts += [between((s * r * 0.55, 0, z - r * 0.7), (s * r * 0.85, 0, 0), 0.035, k.trim)]
        parts.append(between((s * r * 0.55, 0, z + r * 0.8), (s * r * 0.75, 0, z + r * 1.12), 0.15, k.trim, 0.35))
    return [
        *parts,
        between((0, 0, z + r), (0, 0, z + r * 1.2), 0.02, k.trim),
        ball(0, 0, z + r * 1.22, 0.1, 0.07, 0.08, k.trim),
    ]


def mantel_clock(d: Draws, k: Look) -> list[Part]:
    """A wide case with a round top and long shoulders."""
    w, r, deep = d.between(1.0, 1.2), d.between(0.3, 0.34), d.between(0.2, 0.28)
    parts = [cushion(0, 0, 0, w, deep + 0.08, 0.08, k.third, 0.02), box(0, 0, 0.08, w * 0.92, deep, 0.16, k.main)]
    parts += [rod(0, 0, r + 0.1, deep, r, k.main, along="y"), box(0, 0, 0.08, 2 * r, deep, r, k.main)]
    for s in (-1, 1):
        parts.append(rod(s * w * 0.33, 0, 0.2, deep, w * 0.13, k.main, along="y"))
    rim = rod(0, -deep / 2, r + 0.1, 0.03, r * 0.86, k.trim, along="y")
    return [*parts, rim, *dial(d, 0, -deep / 2 - 0.015, r + 0.1, r * 0.78, k.second, k.third)]


def longcase_clock(d: Draws, k: Look) -> list[Part]:
    """A tall case: hood, trunk with a pendulum, plinth."""
    w, h = d.between(0.36, 0.42), d.between(1.15, 1.3)
    parts = [box(0, 0, 0, w, w * 0.7, h * 0.2, k.main), box(0, 0, h * 0.2, w * 0.74, w * 0.52, h * 0.48, k.main)]
    parts += [box(0, 0, h * 0.67, w, w * 0.68, h * 0.3, k.main), box(0, 0, h * 0.96, w * 1.12, w * 0.78, 0.05, k.third)]
    parts += [
        box(0, -w * 0.255, h * 0.25, w * 0.46, 0.03, h * 0.38, k.second),
        ball(0, 0, h + 0.04, 0.1, 0.1, 0.12, k.trim),
    ]
    parts += [
        box(0, -w * 0.285, h * 0.36, 0.02, 0.02, h * 0.26, k.trim),
        rod(0, -w * 0.285, h * 0.36, 0.03, 0.06, k.trim, along="y"),
    ]
    return [*parts, *dial(d, 0, -w * 0.345, h * 0.82, w * 0.4, k.second, k.third)]


def carriage_clock(d: Draws, k: Look) -> list[Part]:
    """A glazed box between four corner posts, with a bow to carry it."""
    w, h = d.between(0.46, 0.54), d.between(0.58, 0.68)
    deep = w * 0.75
    parts = [box(0, 0, 0, w * 1.15, deep * 1.15, 0.08, k.trim), box(0, 0, 0.08, w * 0.86, deep * 0.86, h, k.main)]
    parts += [post(x * w * 0.47, y * deep * 0.47, 0.08, 0.035, h, k.trim) for x in (-1, 1) for y in (-1, 1)]
    parts += [box(0, 0, h + 0.08, w * 1.15, deep * 1.15, 0.07, k.trim)]
    parts += tube(arc(0, h + 0.15, w * 0.36, 0.2, 0, 180), 0.025, k.trim)
    return [*parts, *dial(d, 0, -deep * 0.44, h * 0.62 + 0.08, w * 0.34, k.second, k.third)]


def cuckoo_clock(d: Draws, k: Look) -> list[Part]:
    """A hut with a steep roof, a small door above the dial and a ledge, on feet."""
    w, h, deep = d.between(0.52, 0.62), d.between(0.48, 0.58), d.between(0.3, 0.36)
    parts = [
        box(0, 0, 0.1, w, deep, h, k.main),
        *gable(w, deep, w * d.between(0.55, 0.7), h + 0.1, k.main, k.third, 0.1),
    ]
    parts += [
        box(0, 0, 0.06, w * 1.2, deep * 1.2, 0.05, k.third),
        box(0, -deep / 2, h + 0.1, 0.13, 0.03, 0.16, k.second),
    ]
    parts += [post(x * w * 0.45, y * deep * 0.4, 0, 0.05, 0.07, k.trim) for x in (-1, 1) for y in (-1, 1)]
    return [
        *parts,
        ball(0, -deep / 2 - 0.04, h + 0.18, 0.07, 0.1, 0.07, k.trim),
        *dial(d, 0, -deep / 2 - 0.01, h * 0.5 + 0.08, w * 0.34, k.second, k.third),
    ]


def cube_clock(d: Draws, k: Look) -> list[Part]:
    """A rounded cube with a button on top."""
    w = d.between(0.62, 0.72)
    h, deep = w * d.between(0.9, 1.1), w * d.between(0.5, 0.7)
    parts = [
        cushion(0, 0, 0.05, w, deep, h, k.main, 0.1),
        cushion(0, 0, h + 0.04, w * 0.4, deep * 0.4, 0.05, k.trim, 0.02),
    ]
    parts += [ball(x * w * 0.32, y * deep * 0.3, 0.05, 0.12, 0.12, 0.1, k.trim) for x in (-1, 1) for y in (-1, 1)]
    return [*parts, *dial(d, 0, -deep / 2, h / 2 + 0.05, min(w, h) * 0.38, k.second, k.third)]
