"""Carved birds: told apart by stance, neck, beak, tail, crest and legs."""

from __future__ import annotations

from ask_scenes.objects.look import Look
from ask_scenes.objects.makers.shapes import between, tube
from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.materials import Material
from ask_scenes.rooms.parts import Part, ball, post, tilted, turn_x, turn_y


def duck(d: Draws, k: Look) -> list[Part]:
    """A boat of a body, an S of a neck, a flat bill; no legs."""
    w, n = d.between(0.8, 0.92), d.between(0.2, 0.28)
    parts = [
        ball(0, 0, 0.24, w, 0.46, 0.46, k.main),
        tilted(ball(w * 0.45, 0, 0.36, 0.3, 0.24, 0.1, k.main), turn_y(-0.6)),
    ]
    neck = [(-w * 0.3, 0.0, 0.32), (-w * 0.4, 0.0, 0.4 + n * 0.5), (-w * 0.4, 0.0, 0.42 + n)]
    parts += [*tube(neck, 0.11, k.main, 0.85), ball(-w * 0.42, 0, 0.48 + n, 0.26, 0.22, 0.23, k.second)]
    parts.append(tilted(ball(-w * 0.42 - 0.17, 0, 0.46 + n, 0.2, 0.15, 0.055, k.trim), turn_y(-0.1)))
    return [*parts, *_wings(0.06, 0.3, w * 0.5, 0.23, 0.24, k.second), *_eyes(-w * 0.46, 0.52 + n, 0.095, k.third)]


def heron(d: Draws, k: Look) -> list[Part]:
    """Long legs, a long bent neck, a dagger of a beak."""
    leg, n = d.between(0.34, 0.44), d.between(0.3, 0.4)
    z = leg + 0.16
    parts = [tilted(ball(0.05, 0, z, 0.62, 0.34, 0.34, k.main), turn_y(0.25)), *_legs(0.0, leg, 0.07, k.trim)]
    neck = [(-0.2, 0.0, z + 0.08), (-0.36, 0.0, z + 0.2), (-0.26, 0.0, z + 0.2 + n * 0.5), (-0.34, 0.0, z + 0.25 + n)]
    parts += [*tube(neck, 0.08, k.main, 0.65), ball(-0.38, 0, z + 0.28 + n, 0.2, 0.13, 0.13, k.second)]
    parts.append(between((-0.45, 0, z + 0.28 + n), (-0.45 - d.between(0.24, 0.32), 0, z + 0.25 + n), 0.04, k.trim, 0.1))
    parts.append(between((-0.3, 0, z + 0.31 + n), (-0.08, 0, z + 0.27 + n), 0.025, k.third, 0.2))
    return [*parts, *_wings(0.12, z + 0.02, 0.5, 0.26, 0.17, k.second), *_eyes(-0.4, z + 0.3 + n, 0.055, k.third)]


def owl(d: Draws, k: Look) -> list[Part]:
    """Upright and neckless, two round eyes, ear tufts."""
    h, w = d.between(0.66, 0.78), d.between(0.5, 0.58)
    parts = [ball(0, 0, h * 0.5, w, w * 0.86, h, k.main), ball(0, 0, h * 0.98, w * 0.92, w * 0.8, w * 0.78, k.main)]
    parts.append(ball(0, -w * 0.14, h * 0.42, w * 0.66, w * 0.64, h * 0.66, k.second))
    for s in (-1, 1):
        parts += [
            ball(s * w * 0.2, -w * 0.33, h, 0.21, 0.1, 0.21, k.second),
            ball(s * w * 0.2, -w * 0.4, h, 0.1, 0.07, 0.1, k.third),
        ]
        parts.append(between((s * w * 0.3, 0, h * 1.16), (s * w * 0.42, -0.02, h * 1.16 + 0.17), 0.09, k.main, 0.1))
        parts += [
            tilted(ball(s * w * 0.48, 0, h * 0.5, 0.13, w * 0.6, h * 0.68, k.third), turn_y(s * 0.12)),
            ball(s * 0.11, -w * 0.36, 0.03, 0.15, 0.18, 0.07, k.trim),
        ]
    return [*parts, between((0, -w * 0.38, h * 0.95), (0, -w * 0.5, h * 0.86), 0.05, k.trim, 0.1)]


def rooster(d: Draws, k: Look) -> list[Part]:
    """A comb, wattles and a high fan of tail plumes, on short legs."""
    leg, z = 0.2, 0.42
    parts = [tilted(ball(0, 0, z, 0.6, 0.4, 0.44, k.main), turn_y(-0.2)), *_legs(-0.02, leg + 0.08, 0.09, k.trim)]
    parts += [*tube([(-0.18, 0.0, z + 0.08), (-0.28, 0.0, z + 0.26), (-0.3, 0.0, z + 0.42)], 0.14, k.main, 0.6)]
    parts += [
        ball(-0.32, 0, z + 0.46, 0.2, 0.17, 0.19, k.main),
        between((-0.4, 0, z + 0.46), (-0.52, 0, z + 0.43), 0.045, k.trim, 0.1),
    ]
    parts += [ball(-0.38 + 0.075 * i, 0, z + 0.57 + 0.02 * (i % 2), 0.09, 0.05, 0.15, k.third) for i in range(3)]
    parts.append(ball(-0.41, 0, z + 0.35, 0.06, 0.07, 0.14, k.third))
    for i in range(d.integer(4, 6)):
        lift = 0.3 + 0.13 * i
        plume = [
            (0.2, 0.0, z + 0.1),
            (0.34 - 0.02 * i, 0.03 * (i % 3 - 1), z + lift),
            (0.55 - 0.04 * i, 0.05 * (i % 3 - 1), z + lift * 0.75),
        ]
        parts += tube(plume, 0.05, k.second, 0.6)
    return [*parts, *_wings(0.02, z, 0.36, 0.26, 0.2, k.second), *_eyes(-0.35, z + 0.49, 0.08, k.third)]


def penguin(d: Draws, k: Look) -> list[Part]:
    """Upright with flippers at its sides, a bib and a short beak."""
    h, w = d.between(0.72, 0.84), d.between(0.42, 0.5)
    parts = [ball(0, 0, h * 0.5, w, w * 0.9, h, k.main), ball(0, 0, h * 1.0, w * 0.66, w * 0.62, w * 0.64, k.main)]
    parts.append(ball(0, -w * 0.12, h * 0.46, w * 0.76, w * 0.76, h * 0.8, k.second))
    for s in (-1, 1):
        parts.append(
            tilted(ball(s * w * 0.58, 0, h * 0.52, 0.07, 0.2, h * 0.58, k.main), turn_y(-s * d.between(0.25, 0.5)))
        )
        parts += [
            ball(s * 0.12, -w * 0.26, 0.03, 0.17, 0.26, 0.07, k.trim),
            ball(s * w * 0.13, -w * 0.28, h * 1.05, 0.05, 0.04, 0.05, k.third),
        ]
    return [*parts, between((0, -w * 0.26, h * 0.99), (0, -w * 0.58, h * 0.95), 0.055, k.trim, 0.15)]


def songbird(d: Draws, k: Look) -> list[Part]:
    """A round body with a straight long tail and a thin beak, on a perch."""
    z, long = 0.5, d.between(0.3, 0.42)
    parts = [
        post(0, 0, 0, 0.2, 0.06, k.third),
        post(0, 0, 0.05, 0.03, 0.28, k.third),
        ball(-0.02, 0, 0.36, 0.16, 0.3, 0.1, k.third),
    ]
    parts += [
        tilted(ball(0, 0, z, 0.5, 0.36, 0.36, k.main), turn_y(0.45)),
        ball(-0.2, 0, z + 0.2, 0.28, 0.25, 0.25, k.second),
    ]
    parts.append(between((0.12, 0, z - 0.06), (0.16 + long, 0, z - 0.08 - long * 0.5), 0.07, k.main, 0.8))
    parts.append(between((-0.31, 0, z + 0.2), (-0.45, 0, z + 0.18), 0.03, k.trim, 0.1))
    return [*parts, *_wings(0.06, z, 0.38, 0.24, 0.17, k.second), *_eyes(-0.26, z + 0.24, 0.105, k.third)]


def _wings(x: float, z: float, long: float, high: float, aside: float, material: Material) -> list[Part]:
    """A folded wing on each side."""
    wing = [ball(x, s * aside, z, long, 0.09, high, material) for s in (-1, 1)]
    return [tilted(tilted(part, turn_y(0.2)), turn_x(0.1)) for part in wing]


def _eyes(x: float, z: float, aside: float, material: Material) -> list[Part]:
    return [ball(x, s * aside, z, 0.045, 0.045, 0.045, material) for s in (-1, 1)]


def _legs(x: float, height: float, apart: float, material: Material) -> list[Part]:
    parts: list[Part] = []
    for s in (-1, 1):
        parts += [between((x, s * apart, 0.02), (x + 0.03, s * apart, height), 0.022, material)]
        parts.append(ball(x - 0.05, s * apart, 0.02, 0.2, 0.1, 0.04, material))
    return parts
