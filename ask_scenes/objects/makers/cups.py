"""Drinking cups: told apart by wall, foot, handles, lid and saucer."""

from __future__ import annotations

from ask_scenes.objects.look import Look
from ask_scenes.objects.makers.shapes import dome, handle, lathe, smooth
from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.parts import Part, ball, post


def mug(d: Draws, k: Look) -> list[Part]:
    """A straight wall and one handle."""
    r, h = d.between(0.3, 0.36), d.between(0.68, 0.82)
    parts = [
        post(0, 0, 0, r, h, k.main),
        post(0, 0, h - 0.06, r * 1.015, 0.07, k.second),
        post(0, 0, h, r * 0.88, 0.014, k.third),
    ]
    return [*parts, *handle(1, 0.24, h * 0.2, h * 0.8, 0.045, k.second, r * 0.95)]


def teacup(d: Draws, k: Look) -> list[Part]:
    """A flaring bowl with a small handle, on a saucer."""
    r, h = d.between(0.34, 0.4), d.between(0.36, 0.44)
    bowl = smooth([(0.07, r * 0.45), (0.13, r * 0.5), (h * 0.6, r * 0.82), (h, r)], 14)
    saucer = lathe([(0, r * 0.7), (0.03, r * 1.1), (0.075, r * 1.55)], k.second)
    parts = [
        *saucer,
        post(0, 0, 0.07, r * 1.1, 0.008, k.third),
        *lathe(bowl, k.main),
        post(0, 0, h, r * 0.92, 0.012, k.third),
    ]
    return [*parts, *handle(1, 0.16, h * 0.4, h * 0.9, 0.028, k.second, r * 0.8)]


def stein(d: Draws, k: Look) -> list[Part]:
    """A tall, hooped wall under a domed lid, a big handle."""
    r, h = d.between(0.26, 0.31), d.between(0.72, 0.84)
    parts = [post(0, 0, 0, r, h, k.main, d.between(0.84, 0.92))]
    parts += [post(0, 0, h * f, r * 1.04 * (1 - 0.12 * f), 0.05, k.second) for f in (0.0, 0.45, 0.94)]
    parts += [*dome(r * 0.9, h + 0.02, 0.15, k.second), ball(0, 0, h + 0.19, 0.09, 0.09, 0.1, k.trim)]
    return [
        *parts,
        ball(r * 0.95, 0, h + 0.08, 0.1, 0.07, 0.14, k.trim),
        *handle(1, 0.24, h * 0.15, h * 0.9, 0.04, k.third, r * 0.86),
    ]


def goblet(d: Draws, k: Look) -> list[Part]:
    """A bowl on a thin, knotted stem and a flat foot."""
    r, h = d.between(0.24, 0.3), d.between(0.85, 1.0)
    foot = smooth([(0, r * 0.9), (0.04, r * 0.7), (0.1, 0.05), (h * 0.5, 0.04)], 13)
    bowl = smooth([(h * 0.48, 0.05), (h * 0.56, r * 0.75), (h * 0.75, r), (h, r * 0.85)], 16)
    parts = [*lathe(foot, k.second), *lathe(bowl, k.main), ball(0, 0, h * 0.3, 0.16, 0.16, 0.1, k.trim)]
    return [*parts, post(0, 0, h, r * 0.75, 0.012, k.third), post(0, 0, h * 0.73, r * 1.02, 0.05, k.second)]


def trophy(d: Draws, k: Look) -> list[Part]:
    """A bowl with two ears on a stem and a plinth."""
    r, h = d.between(0.26, 0.32), d.between(0.85, 0.98)
    parts = [post(0, 0, 0, r * 0.85, 0.12, k.third), post(0, 0, 0.12, r * 0.7, 0.05, k.main)]
    stem = smooth([(0.16, r * 0.5), (0.22, 0.06), (h * 0.42, 0.05), (h * 0.46, 0.09)], 11)
    bowl = smooth([(h * 0.45, 0.08), (h * 0.56, r * 0.75), (h * 0.8, r * 0.9), (h, r * 1.08)], 14)
    parts += [*lathe(stem, k.main), *lathe(bowl, k.main), post(0, 0, h, r * 0.98, 0.012, k.second)]
    return parts + [p for s in (-1, 1) for p in handle(s, 0.2, h * 0.56, h * 0.93, 0.03, k.second, r * 0.8)]


def egg_cup(d: Draws, k: Look) -> list[Part]:
    """A small cup on a waist, with an egg in it."""
    r, h = d.between(0.3, 0.36), d.between(0.46, 0.56)
    body = smooth([(0, r * 0.9), (h * 0.15, r * 0.55), (h * 0.4, r * 0.38), (h * 0.7, r * 0.85), (h, r)], 18)
    egg = ball(0, 0, h + 0.05, r * 1.6, r * 1.6, r * 2.3, k.second)
    return [*lathe(body, k.main), egg, post(0, 0, h - 0.05, r * 1.02, 0.05, k.third)]
