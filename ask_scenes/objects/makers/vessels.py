"""Pots and vases: told apart by belly, neck, spout and handles."""

from __future__ import annotations

from ask_scenes.objects.look import Look
from ask_scenes.objects.makers.shapes import arc, between, handle, lathe, smooth, tube
from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.materials import Material
from ask_scenes.rooms.parts import Part, ball, post


def amphora(d: Draws, k: Look) -> list[Part]:
    """Broad shoulders on a narrow foot, two handles at the neck."""
    r, h = d.between(0.26, 0.32), d.between(0.9, 1.05)
    body = smooth([(0, 0.12), (0.05, 0.09), (h * 0.58, r), (h * 0.78, 0.11), (h * 0.95, 0.1), (h, 0.14)], 26)
    parts = [*lathe(body, k.main), _mouth(h, 0.12, k.third), *_band(h * 0.58, r, k.second)]
    return parts + [p for s in (-1, 1) for p in handle(s, 0.17, h * 0.66, h * 0.93, 0.024, k.second, 0.1)]


def pitcher(d: Draws, k: Look) -> list[Part]:
    """A heavy belly, a wide neck with a lip, one large handle."""
    r, h = d.between(0.3, 0.36), d.between(0.72, 0.86)
    body = smooth([(0, r * 0.7), (h * 0.3, r), (h * 0.72, r * 0.55), (h, r * 0.68)], 21)
    parts = [
        *lathe(body, k.main),
        _mouth(h, r * 0.58, k.third),
        *handle(1, 0.26, h * 0.28, h * 0.9, 0.032, k.second, r * 0.6),
    ]
    return [
        *parts,
        between((-r * 0.4, 0, h * 0.84), (-r * 0.98, 0, h * 1.03), r * 0.33, k.main, 0.4),
        *_band(h * 0.3, r, k.second),
    ]


def teapot(d: Draws, k: Look) -> list[Part]:
    """A squat ball with a lid, a bent spout and a handle behind."""
    r, h = d.between(0.34, 0.4), d.between(0.48, 0.58)
    body = smooth([(0, r * 0.6), (h * 0.12, r * 0.75), (h * 0.5, r), (h * 0.85, r * 0.7), (h, r * 0.42)], 21)
    spout = [(-r * 0.8, 0.0, h * 0.3), (-r * 1.2, 0.0, h * 0.45), (-r * 1.35, 0.0, h * 0.75), (-r * 1.6, 0.0, h * 0.95)]
    parts = [
        *lathe(body, k.main),
        *tube(spout, 0.075, k.main, 0.5),
        *handle(1, 0.24, h * 0.25, h * 0.85, 0.03, k.second, r * 0.82),
    ]
    return [
        *parts,
        *lathe([(h, r * 0.45), (h + 0.03, r * 0.42), (h + 0.07, r * 0.15)], k.second),
        ball(0, 0, h + 0.1, 0.09, 0.09, 0.08, k.trim),
    ]


def coffee_pot(d: Draws, k: Look) -> list[Part]:
    """A tall, tapering body with a lid, a spout near the foot and a long handle."""
    r, h = d.between(0.25, 0.3), d.between(0.72, 0.85)
    body = smooth([(0, r), (h * 0.25, r * 0.97), (h * 0.7, r * 0.7), (h, r * 0.55)], 14)
    spout = [
        (-r * 0.85, 0.0, h * 0.22),
        (-r * 1.35, 0.0, h * 0.36),
        (-r * 1.5, 0.0, h * 0.68),
        (-r * 1.85, 0.0, h * 0.88),
    ]
    parts = [
        *lathe(body, k.main),
        *tube(spout, 0.06, k.main, 0.5),
        *handle(1, 0.22, h * 0.2, h * 0.92, 0.028, k.second, r * 0.66),
    ]
    lid = smooth([(h, r * 0.58), (h + 0.06, r * 0.5), (h + 0.14, r * 0.12)], 8)
    return [
        *parts,
        *lathe(lid, k.second),
        ball(0, 0, h + 0.17, 0.08, 0.08, 0.08, k.trim),
        *_band(h * 0.08, r, k.second),
    ]


def trumpet_vase(d: Draws, k: Look) -> list[Part]:
    """A foot, a waist and a wide open mouth."""
    r, h = d.between(0.24, 0.3), d.between(0.8, 0.95)
    body = smooth([(0, r * 0.7), (h * 0.12, r * 0.4), (h * 0.3, r * 0.45), (h * 0.7, r * 0.65), (h, r * 1.15)], 22)
    return [*lathe(body, k.main), _mouth(h, r * 1.05, k.third), *_band(h * 0.13, r * 0.42, k.second)]


def watering_can(d: Draws, k: Look) -> list[Part]:
    """A drum with a bow over the top and a long straight spout that ends in a rose."""
    r, h = d.between(0.28, 0.34), d.between(0.42, 0.52)
    tip = (-r - d.between(0.36, 0.44), 0.0, h * 1.15)
    parts = [
        post(0, 0, 0, r, h, k.main, d.between(0.85, 1.0)),
        _mouth(h, r * 0.7, k.third),
        *_band(h * 0.5, r * 0.97, k.second),
    ]
    parts += [
        between((-r * 0.85, 0, h * 0.2), tip, 0.06, k.main, 0.6),
        between(tip, (tip[0] - 0.1, 0, tip[2] + 0.08), 0.04, k.second, 2.6),
    ]
    parts += tube(arc(0, h * 0.95, r * 0.75, 0.3, 0, 180), 0.025, k.second)
    return [*parts, *handle(1, 0.18, h * 0.2, h * 0.9, 0.025, k.second, r * 0.92)]


def _mouth(z: float, radius: float, dark: Material) -> Part:
    return post(0, 0, z - 0.01, radius, 0.014, dark)


def _band(z: float, radius: float, material: Material) -> list[Part]:
    return [post(0, 0, z - 0.025, radius * 1.015, 0.05, material)]
