"""Textures as functions of the place on a surface, in torch, the same on every device.

Each takes flat arrays: ``u, v`` metres from the face's middle, ``a, b`` the same over the half sizes, in [-1, 1],
two colours ``(3, N)`` in sRGB, the element's scale in metres and an integer seed, and gives colours ``(3, N)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch

from ask_scenes.rooms.materials import TEXTURES


@dataclass
class Spot:
    """Where each sample lies on its surface, all ``(N,)`` but the colours ``(3, N)``."""

    u: torch.Tensor
    v: torch.Tensor
    a: torch.Tensor
    b: torch.Tensor
    base: torch.Tensor
    second: torch.Tensor
    scale: torch.Tensor
    seed: torch.Tensor

    def where(self, chosen: torch.Tensor) -> Spot:
        """The chosen samples (indices)."""
        return Spot(*(getattr(self, field.name)[..., chosen] for field in fields(self)))


Texture = Callable[[Spot], torch.Tensor]


def paint(texture: torch.Tensor, spot: Spot) -> torch.Tensor:
    """The colour of each sample.

    Args:
        texture: ``(N,)``, index into ``TEXTURES``.
        spot: The samples.

    Returns:
        ``(3, N)``, sRGB in [0, 1].
    """
    colour = spot.base.clone()
    for number, name in enumerate(TEXTURES):
        if name == "plain":
            continue
        chosen = torch.nonzero(texture == number)[:, 0]
        if len(chosen):
            colour[:, chosen] = _PAINTERS[name](spot.where(chosen))
    return colour.clamp_(0.0, 1.0)


def hashed(i: torch.Tensor, j: torch.Tensor, seed: torch.Tensor) -> torch.Tensor:
    """A fixed random number in [0, 1) for each pair of integers: exact on every device."""
    mask = 0xFFFFFFFF
    h = (i * 374761393 + j * 668265263 + seed * 974634727) & mask
    h = ((h ^ (h >> 13)) * 1274126177) & mask
    return ((h ^ (h >> 16)) & 0xFFFFFF).to(torch.float32) / 0x1000000


def noise(x: torch.Tensor, y: torch.Tensor, seed: torch.Tensor) -> torch.Tensor:
    """Smooth noise in [0, 1) with features of size one."""
    i, j = torch.floor(x), torch.floor(y)
    fx, fy = x - i, y - j
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    i, j = i.long(), j.long()
    low = torch.lerp(hashed(i, j, seed), hashed(i + 1, j, seed), fx)
    high = torch.lerp(hashed(i, j + 1, seed), hashed(i + 1, j + 1, seed), fx)
    return torch.lerp(low, high, fy)


def _mix(first: torch.Tensor, second: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    return torch.lerp(first, second, share.to(first.dtype))


def _frame(spot: Spot, width: float) -> torch.Tensor:
    """True on a border of this width in metres."""
    half_u, half_v = spot.u.abs() / spot.a.abs().clamp_min(1e-4), spot.v.abs() / spot.b.abs().clamp_min(1e-4)
    return (half_u - spot.u.abs() < width) | (half_v - spot.v.abs() < width)


def _grain(s: Spot) -> torch.Tensor:
    streak = noise(s.u / s.scale * 0.7, s.v / s.scale * 14, s.seed)
    fine = noise(s.u / s.scale * 3, s.v / s.scale * 50, s.seed + 1)
    return _mix(s.base, s.second, 0.75 * streak + 0.25 * fine)


def _weave(s: Spot) -> torch.Tensor:
    threads = noise(s.u * 90, s.v * 90, s.seed) * 0.6 + noise(s.u * 25, s.v * 25, s.seed + 1) * 0.4
    return _mix(s.base, s.second, threads)


def _speckle(s: Spot) -> torch.Tensor:
    grains = (noise(s.u * 110, s.v * 110, s.seed) > 0.6).float() * 0.6
    return _mix(s.base, s.second, grains + 0.4 * noise(s.u * 9, s.v * 9, s.seed + 1))


def _stripe(s: Spot) -> torch.Tensor:
    phase = s.u / s.scale * 1.6
    return _mix(s.base, s.second, ((phase - torch.floor(phase)) > 0.6).float())


def _check(s: Spot) -> torch.Tensor:
    odd = (torch.floor(s.u / s.scale) + torch.floor(s.v / s.scale)) % 2
    return _mix(s.base, s.second, odd * 0.9)


def _joints(x: torch.Tensor, width: float) -> torch.Tensor:
    return ((x - torch.floor(x) - 0.5).abs() > 0.5 - width / 2).float()


def _tile(s: Spot) -> torch.Tensor:
    x, y = s.u / s.scale, s.v / s.scale
    each = hashed(torch.floor(x).long(), torch.floor(y).long(), s.seed) * 0.35
    joint = torch.maximum(_joints(x, 0.06), _joints(y, 0.06))
    return _mix(_mix(s.base, s.second, each), s.second * 0.75, joint)


def _planks(s: Spot) -> torch.Tensor:
    row = torch.floor(s.v / s.scale)
    along = s.u / (s.scale * 8) + hashed(row.long(), row.long() * 0, s.seed)
    each = hashed(torch.floor(along).long(), row.long(), s.seed + 1)
    joint = torch.maximum(_joints(s.v / s.scale, 0.05), _joints(along, 0.008))
    streak = noise(s.u * 2, s.v * 40, s.seed + 2)
    return _mix(_mix(s.base, s.second, 0.65 * each + 0.35 * streak), s.second * 0.6, joint)


def _brick(s: Spot) -> torch.Tensor:
    row = torch.floor(s.v / s.scale * 2.4)
    x = s.u / s.scale + 0.5 * (row % 2)
    each = hashed(torch.floor(x).long(), row.long(), s.seed) * 0.8
    joint = torch.maximum(_joints(x, 0.06), _joints(s.v / s.scale * 2.4, 0.12))
    return _mix(_mix(s.base, s.second, each), s.base * 0.4 + 0.5, joint * 0.7)


def _damask(s: Spot) -> torch.Tensor:
    wave = torch.sin(s.u / s.scale * math.pi * 2) * torch.sin(s.v / s.scale * math.pi * 2)
    leaf = torch.cos(s.u / s.scale * math.pi * 4) + torch.cos(s.v / s.scale * math.pi * 2)
    return _mix(s.base, s.second, ((wave.abs() > 0.35) ^ (leaf > 0.9)).float() * 0.8)


def _landscape(s: Spot) -> torch.Tensor:
    hills = noise(s.u * 5 + 11, s.u * 0, s.seed) * 1.4 - 0.7
    sky = _mix(s.second * 0.4 + 0.55, s.base * 0.5 + 0.4, s.b * 0.5 + 0.5)
    return torch.where(s.b < hills, s.base * (0.6 + 0.5 * noise(s.u * 20, s.v * 20, s.seed)), sky)


def _screen(s: Spot) -> torch.Tensor:
    row = torch.floor(s.b * 9)
    left = (hashed(row.long(), row.long() * 0, s.seed) * 3).floor() * 0.12 - 0.8
    right = hashed(row.long(), row.long() * 0 + 1, s.seed) * 1.1 - 0.35
    written = (_joints(s.b * 9 + 0.5, 0.4) > 0) & (s.a > left) & (s.a < right) & (s.b < 0.72)
    text = _mix(s.base * 0.15 + 0.78, s.second * 0.5 + 0.1, (written | (s.b > 0.82)).float())
    shown = torch.where(s.seed % 2 == 0, _landscape(s), text)
    return torch.where(_frame(s, 0.018), torch.full_like(shown, 0.05), shown)


def _board(s: Spot) -> torch.Tensor:
    bright = s.seed % 3 > 0
    back = torch.where(bright, s.base * 0.12 + 0.82, s.base * 0.2 + 0.08)
    ink = torch.where(bright, s.second * 0.5, s.second * 0.3 + 0.6)
    word = noise(s.u * 6, s.v * 9, s.seed + 3) > 0.45
    stroke = ((noise(s.u * 22, s.v * 12, s.seed) - 0.5).abs() < 0.06) & word & (_joints(s.v * 7, 0.5) > 0)
    shown = _mix(back, ink, stroke.float())
    return torch.where(_frame(s, 0.03), s.second * 0.3 + 0.35, shown)


def _picture(s: Spot) -> torch.Tensor:
    blots = _mix(s.base, s.second, (noise(s.u * 7, s.v * 7, s.seed) > 0.5).float())
    shown = torch.where(s.seed % 2 == 0, _landscape(s), blots)
    shown = torch.where(_frame(s, 0.07), torch.full_like(shown, 0.9), shown)
    return torch.where(_frame(s, 0.025), s.second * 0.35, shown)


def _mirror(s: Spot) -> torch.Tensor:
    streak = torch.sin(2.2 * s.a + 1.5 * s.b + (s.seed % 7).float())
    shown = (0.72 + 0.16 * streak) * (s.base * 0.15 + 0.82)
    return torch.where(_frame(s, 0.025), s.second * 0.5, shown)


def _rug(s: Spot) -> torch.Tensor:
    ring = torch.floor(torch.maximum(s.a.abs(), s.b.abs()) * 6)
    band = (ring % 2) * (s.seed % 2) + ((s.a * 5).round() + (s.b * 4).round()) % 2 * ((s.seed + 1) % 2)
    return _mix(s.base, s.second, band * (0.7 + 0.3 * noise(s.u * 60, s.v * 60, s.seed)))


def _rings(s: Spot) -> torch.Tensor:
    r = torch.sqrt((s.a.abs() - 0.48) ** 2 + (s.b.abs() - 0.48) ** 2)
    ring = ((r < 0.36) & (r > 0.24)) | (r < 0.1)
    return _mix(s.base * 0.15 + 0.05, s.second * 0.3 + 0.55, ring.float())


def _plates(s: Spot) -> torch.Tensor:
    r = torch.sqrt(s.a**2 + s.b**2)
    plate = _mix(s.base * 0.15 + 0.8, s.second, ((r > 0.75) | ((r > 0.45) & (r < 0.52))).float() * 0.6)
    return torch.where((r < 1.0), plate, s.second * 0.5 + 0.2)


def _oven(s: Spot) -> torch.Tensor:
    window = (s.a.abs() < 0.72) & ((s.b + 0.15).abs() < 0.55)
    knobs = ((s.b - 0.85).abs() < 0.08) & (_joints(s.a * 3, 0.45) > 0)
    shown = torch.where(window, torch.full_like(s.base, 0.07), s.base)
    return torch.where(knobs, s.second * 0.4, shown)


def _porthole(s: Spot) -> torch.Tensor:
    r = torch.sqrt(s.a**2 + s.b**2)
    glass = (0.1 + 0.15 * (s.a + s.b > 0.3).float()).expand_as(s.base)
    ring = torch.where((r < 1.0), s.base * 0.2 + 0.7, s.base)
    return torch.where((r < 0.74), glass, ring)


def _books(s: Spot) -> torch.Tensor:
    shifted = s.u / 0.036 + 0.35 * torch.sin(s.u * 61 + s.seed.float())
    i = torch.floor(shifted).long()
    tone = hashed(i, i * 0, s.seed)
    colour = _mix(s.base, s.second, hashed(i, i * 0 + 1, s.seed)) * (0.6 + 0.6 * tone)
    low = s.b > 0.55 + 0.45 * hashed(i, i * 0 + 2, s.seed)
    band = ((s.b - 0.4).abs() < 0.08) & (tone > 0.5)
    colour = torch.where(band, colour * 0.4 + 0.5, colour)
    return torch.where((low | (_joints(shifted, 0.12) > 0)), colour * 0.25, colour)


def _keyboard(s: Spot) -> torch.Tensor:
    gap = torch.maximum(_joints(s.a * 7, 0.25), _joints(s.b * 2.5, 0.25))
    return _mix(s.base * 0.3 + 0.1, s.base * 0.2 + 0.02, gap)


def _paper(s: Spot) -> torch.Tensor:
    lines = (_joints(s.b * 7, 0.4) > 0) & (s.a.abs() < 0.75) & (noise(s.a * 9, s.b * 7, s.seed) > 0.3)
    return _mix(s.base * 0.08 + 0.86, s.second * 0.5, lines.float() * 0.6)


def _clock(s: Spot) -> torch.Tensor:
    r = torch.sqrt(s.a**2 + s.b**2)
    hands = ((s.a.abs() < 0.06) & (s.b > 0) & (r < 0.75)) | ((s.b.abs() < 0.07) & (s.a > 0) & (r < 0.5))
    face = _mix(s.base * 0.1 + 0.84, s.second * 0.2, (hands | (r > 0.88)).float())
    return face


def _sky(s: Spot) -> torch.Tensor:
    hills = noise(s.u * 2.5 + 5, s.u * 0, s.seed) * 0.9 - 0.75
    sky = _mix(torch.full_like(s.base, 0.97), s.base * 0.25 + 0.65, s.b * 0.5 + 0.5)
    return torch.where((s.b < hills), s.second * 0.35 + 0.25, sky)


def _glow(s: Spot) -> torch.Tensor:
    return s.base


def _notes(s: Spot) -> torch.Tensor:
    i, j = torch.floor(s.u / 0.14).long(), torch.floor(s.v / 0.14).long()
    inside = ((s.u / 0.14 - i).sub(0.5).abs() < 0.36) & ((s.v / 0.14 - j).sub(0.5).abs() < 0.36)
    there = inside & (hashed(i, j, s.seed) > 0.35)
    tone = _mix(s.second * 0.5 + 0.45, s.base * 0.2 + 0.75, hashed(i, j, s.seed + 1))
    shown = torch.where(there, tone, s.base * (0.75 + 0.1 * noise(s.u * 60, s.v * 60, s.seed)))
    return torch.where(_frame(s, 0.025), s.second * 0.4, shown)


def _buttons(s: Spot) -> torch.Tensor:
    dots = (_joints(s.a * 2.5 + 0.5, 0.4) > 0) & (s.b.abs() < 0.45)
    panel = s.base * 0.4 + 0.2
    return _mix(panel, s.second * 0.4 + 0.5, dots.float())


def _slats(s: Spot) -> torch.Tensor:
    return _mix(s.base, s.base * 0.55, _joints(s.v / 0.05, 0.3))


def _map(s: Spot) -> torch.Tensor:
    land = noise(s.u * 4, s.v * 4, s.seed) * 0.65 + noise(s.u * 11, s.v * 11, s.seed + 1) * 0.35
    shown = _mix(s.base * 0.3 + 0.6, s.second * 0.6 + 0.2, (land > 0.5).float())
    return torch.where(_frame(s, 0.03), torch.full_like(shown, 0.9), shown)


_PAINTERS: dict[str, Texture] = {
    "grain": _grain,
    "weave": _weave,
    "speckle": _speckle,
    "stripe": _stripe,
    "check": _check,
    "tile": _tile,
    "planks": _planks,
    "brick": _brick,
    "damask": _damask,
    "screen": _screen,
    "board": _board,
    "picture": _picture,
    "mirror": _mirror,
    "rug": _rug,
    "rings": _rings,
    "plates": _plates,
    "oven": _oven,
    "porthole": _porthole,
    "books": _books,
    "keyboard": _keyboard,
    "paper": _paper,
    "clock": _clock,
    "sky": _sky,
    "glow": _glow,
    "notes": _notes,
    "buttons": _buttons,
    "slats": _slats,
    "map": _map,
}
