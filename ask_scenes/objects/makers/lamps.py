"""Table lamps: told apart by base, stem and shade."""

from __future__ import annotations

from ask_scenes.objects.look import Look
from ask_scenes.objects.makers.shapes import between, dome, lathe, smooth, tube
from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.parts import Part, ball, box, cushion, post


def gourd_lamp(d: Draws, k: Look) -> list[Part]:
    """A two-bellied ceramic base under a drum shade."""
    r, h = d.between(0.15, 0.2), d.between(0.42, 0.5)
    belly = smooth([(0, r * 0.6), (h * 0.25, r), (h * 0.6, r * 0.45), (h * 0.78, r * 0.62), (h, r * 0.18)], 19)
    w, tall = d.between(0.26, 0.32), d.between(0.26, 0.34)
    parts = [*lathe(belly, k.main), post(0, 0, h, 0.025, 0.12, k.trim)]
    return [*parts, post(0, 0, h + 0.06, w, tall, k.second, d.between(0.85, 1.0)), *_rims(h + 0.06, w, tall, k)]


def column_lamp(d: Draws, k: Look) -> list[Part]:
    """A square foot, a straight column and a wide, flaring shade."""
    h, w, tall = d.between(0.48, 0.58), d.between(0.32, 0.38), d.between(0.24, 0.3)
    foot, r = d.between(0.24, 0.3), d.between(0.035, 0.05)
    parts = [box(0, 0, 0, foot, foot, 0.05, k.main), box(0, 0, 0.05, foot * 0.7, foot * 0.7, 0.04, k.main)]
    parts += [post(0, 0, 0.09, r, h, k.main), ball(0, 0, 0.12, r * 3, r * 3, r * 2, k.trim)]
    return [
        *parts,
        post(0, 0, h + 0.02, w, tall, k.second, d.between(0.4, 0.5)),
        post(0, 0, h + tall, 0.02, 0.08, k.trim),
    ]


def mushroom_lamp(d: Draws, k: Look) -> list[Part]:
    """A flaring stem under a dome."""
    h, r = d.between(0.36, 0.46), d.between(0.32, 0.4)
    stem = smooth([(0, 0.22), (h * 0.15, 0.13), (h * 0.6, 0.075), (h + 0.05, 0.09)], 13)
    rim = post(0, 0, h - 0.03, r * 1.0, 0.03, k.third)
    return [*lathe(stem, k.main), *dome(r, h, d.between(0.24, 0.34), k.second), rim]


def desk_lamp(d: Draws, k: Look) -> list[Part]:
    """A jointed arm that carries a slanted hood."""
    low, high = d.between(0.36, 0.46), d.between(0.36, 0.46)
    elbow, wrist = (-0.22, 0.0, 0.06 + low), (-0.22 + high * 0.72, 0.0, 0.06 + low + high * 0.5)
    r, nod = d.between(0.13, 0.17), d.between(0.1, 0.2)
    parts = [post(0, 0, 0, d.between(0.17, 0.22), 0.05, k.main), between((0, 0, 0.04), elbow, 0.02, k.trim)]
    parts += [between(elbow, wrist, 0.02, k.trim), ball(*elbow, 0.09, 0.09, 0.09, k.third)]
    tip = (wrist[0] + nod, 0.0, wrist[2] - 0.22)
    parts += [between(tip, (wrist[0], 0, wrist[2] + 0.02), r, k.second, 0.3), ball(*wrist, 0.1, 0.1, 0.1, k.second)]
    return [*parts, ball(tip[0] + 0.012, 0, tip[2] - 0.01, r, r, r, k.third)]


def globe_lamp(d: Draws, k: Look) -> list[Part]:
    """A ball of glass on a block."""
    w, h, r = d.between(0.26, 0.36), d.between(0.16, 0.26), d.between(0.24, 0.3)
    parts = [cushion(0, 0, 0, w, w, h, k.main, 0.03), post(0, 0, h, 0.09, 0.07, k.trim, 0.7)]
    return [*parts, ball(0, 0, h + 0.05 + r, 2 * r, 2 * r, 2 * r, k.second)]


def lantern(d: Draws, k: Look) -> list[Part]:
    """A cage of four posts about a glass, with a pointed cap and a ring."""
    w, h = d.between(0.34, 0.42), d.between(0.42, 0.54)
    parts = [box(0, 0, 0, w * 1.15, w * 1.15, 0.06, k.main), post(0, 0, 0.06, w * 0.3, h, k.second)]
    parts += [box(x * w / 2, y * w / 2, 0.05, 0.035, 0.035, h, k.main) for x in (-1, 1) for y in (-1, 1)]
    parts += [box(0, 0, h + 0.05, w * 1.2, w * 1.2, 0.05, k.main), post(0, 0, h + 0.1, w * 0.6, 0.18, k.main, 0.2)]
    ring = [
        (-0.1, 0.0, h + 0.26),
        (-0.12, 0.0, h + 0.38),
        (0.0, 0.0, h + 0.46),
        (0.12, 0.0, h + 0.38),
        (0.1, 0.0, h + 0.26),
    ]
    return [*parts, *tube(ring, 0.017, k.trim)]


def _rims(z: float, radius: float, tall: float, k: Look) -> list[Part]:
    return [post(0, 0, z + s * tall - 0.012, radius * 1.01, 0.024, k.third) for s in (0.0,)]
