"""How much light falls on a point: every lamp and every bounce is a set of points with a shadow map each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ask_scenes.rooms.cast import Hemisphere, columns, dot, shadow_maps, turned, unit
from ask_scenes.rooms.pack import Lights, Shapes

SOFT = 0.25  # square metres: keeps the light near a point finite, as a lamp's size does
BIAS = 0.02
GLOSS_POWER = 48.0


@dataclass
class LitRoom:
    """A batch's lights with their shadow maps ``(B, L, S, S)``; the first ``bounces`` of them are no lamps."""

    lights: Lights
    eyes: Hemisphere
    maps: torch.Tensor
    bounces: int


def light_up(shapes: Shapes, lights: Lights, size: int) -> LitRoom:
    """Draw the shadow map of every point of light."""
    batch, count = lights.place.shape[:2]
    scene = torch.arange(batch, device=lights.place.device).repeat_interleave(count)
    eyes = Hemisphere(scene, lights.place.reshape(-1, 3), _frames(lights.normal.reshape(-1, 3)), size, size)
    return LitRoom(lights, eyes, shadow_maps(shapes, eyes).reshape(batch, count, size, size), lights.bounces)


def received(
    room: LitRoom,
    scene: torch.Tensor,
    point: torch.Tensor,
    normal: torch.Tensor,
    eye: torch.Tensor,
    gloss: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Light on points.

    Args:
        room: The lights.
        scene: ``(N,)`` scene of each point.
        point: ``(3, N)``.
        normal: ``(3, N)``.
        eye: ``(3, N)`` unit vectors from the points to the camera.
        gloss: ``(N,)``; highlights are worked out only where it is positive.

    Returns:
        Irradiance over pi ``(3, N)``, and highlights ``(3, N)``.
    """
    diffuse, shine = torch.zeros_like(point), torch.zeros_like(point)
    lifted = point + normal * BIAS
    glossy = torch.nonzero(gloss > 0.01)[:, 0]
    lights = room.lights
    table = torch.cat([lights.place, lights.normal, lights.power], 2)  # (B, L, 9)
    for number in range(table.shape[1]):
        row = columns(table[:, number], scene)
        way = row[0:3] - lifted
        square = dot(way, way)
        toward = way * square.clamp_min(1e-6).rsqrt()
        here = dot(toward, normal).clamp_min_(0)
        there = (-dot(toward, row[3:6])).clamp_min_(0)
        strength = there / (square + SOFT)
        strength = strength * _seen(room, scene, number, way, square, here * strength > 1e-5)
        diffuse += row[6:9] * (strength * here)
        if len(glossy) and number >= room.bounces:
            half = unit(toward[:, glossy] + eye[:, glossy])
            peak = dot(half, normal[:, glossy]).clamp_min_(0) ** GLOSS_POWER
            power = row[6:9] if row.shape[1] == 1 else row[6:9, glossy]
            shine[:, glossy] += power * (strength[glossy] * peak * gloss[glossy])
    return diffuse / math.pi, shine


def _seen(
    room: LitRoom, scene: torch.Tensor, number: int, way: torch.Tensor, square: torch.Tensor, wanted: torch.Tensor
) -> torch.Tensor:
    """Share of the light's four nearest map cells in which nothing stands before the point, bilinear.

    ``way`` leads from the points to the light, ``square`` is its squared length.
    """
    size, count = room.maps.shape[-1], room.maps.shape[1]
    chosen = torch.nonzero(wanted)[:, 0]
    which = scene[chosen] * count + number
    if len(room.maps) == 1:
        table = room.eyes.axes[number].reshape(9)[:, None]
    else:
        table = columns(room.eyes.axes.reshape(-1, 9), which)
    local = -turned(table, way[:, chosen], back=True)
    distance = square[chosen].sqrt()
    scale = 0.5 * size / (distance + local[2]).clamp_min(1e-4)
    x = (local[0] * scale + (size / 2 - 0.5)).clamp_(0, size - 1.001)
    y = (local[1] * scale + (size / 2 - 0.5)).clamp_(0, size - 1.001)
    column, row = x.long(), y.long()
    base = (which * size + row) * size + column
    flat = room.maps.reshape(-1)
    limit = distance * 0.99 - BIAS
    fx = x - column
    top = torch.lerp((flat[base] > limit).float(), (flat[base + 1] > limit).float(), fx)
    low = torch.lerp((flat[base + size] > limit).float(), (flat[base + size + 1] > limit).float(), fx)
    out = torch.zeros_like(square)
    out[chosen] = torch.lerp(top, low, y - row)
    return out


def _frames(normal: torch.Tensor) -> torch.Tensor:
    """Rotations ``(N, 3, 3)`` whose third column is the normal."""
    tilted = normal[:, 2].abs() > 0.9
    other = torch.where(tilted[:, None], normal.new_tensor([1.0, 0, 0]), normal.new_tensor([0, 0, 1.0]))
    first = torch.nn.functional.normalize(torch.linalg.cross(other, normal), dim=1)
    return torch.stack([first, torch.linalg.cross(normal, first), normal], dim=2)
