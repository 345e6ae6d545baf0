"""How much light falls on a point: every lamp and every bounce is a set of points with a shadow map each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ask_lib.data.rooms.cast import Hemisphere, shadow_maps
from ask_lib.data.rooms.pack import Lights, Shapes

SOFT = 0.25  # square metres: keeps the light near a point finite, as a lamp's size does
BIAS = 0.02
GLOSS_POWER = 48.0


@dataclass
class LitRoom:
    """A batch's lights with their shadow maps ``(B, L, S, S)``."""

    lights: Lights
    eyes: Hemisphere
    maps: torch.Tensor


def light_up(shapes: Shapes, lights: Lights, size: int) -> LitRoom:
    """Draw the shadow map of every point of light."""
    batch, count = lights.place.shape[:2]
    scene = torch.arange(batch, device=lights.place.device).repeat_interleave(count)
    eyes = Hemisphere(scene, lights.place.reshape(-1, 3), _frames(lights.normal.reshape(-1, 3)), size, size)
    return LitRoom(lights, eyes, shadow_maps(shapes, eyes).reshape(batch, count, size, size))


def received(
    room: LitRoom, scene: torch.Tensor, point: torch.Tensor, normal: torch.Tensor, eye: torch.Tensor, gloss: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Light on points.

    Args:
        room: The lights.
        scene: ``(N,)`` scene of each point.
        point: ``(N, 3)``.
        normal: ``(N, 3)``.
        eye: ``(N, 3)`` unit vectors from the points to the camera.
        gloss: ``(N,)``; highlights are worked out only where it is positive.

    Returns:
        Irradiance over pi ``(N, 3)``, and highlights ``(N, 3)``.
    """
    diffuse, shine = torch.zeros_like(point), torch.zeros_like(point)
    lifted = point + normal * BIAS
    glossy = torch.nonzero(gloss > 0.01)[:, 0]
    for number in range(room.lights.place.shape[1]):
        power = room.lights.power[scene, number]
        if float(room.lights.power[:, number].amax()) == 0:
            continue
        way = room.lights.place[scene, number] - lifted
        square = (way * way).sum(1)
        toward = way * square.clamp_min(1e-6).rsqrt()[:, None]
        here = (toward * normal).sum(1).clamp_min(0)
        there = -(toward * room.lights.normal[scene, number]).sum(1).clamp_max(0)
        strength = there / (square + SOFT)
        strength = strength * _seen(room, scene, number, lifted, (here * strength) > 1e-5)
        diffuse += power * (strength * here)[:, None]
        if len(glossy):
            half = torch.nn.functional.normalize(toward[glossy] + eye[glossy], dim=1)
            peak = (half * normal[glossy]).sum(1).clamp_min(0) ** GLOSS_POWER
            shine[glossy] += power[glossy] * (strength[glossy] * peak * gloss[glossy])[:, None]
    return diffuse / math.pi, shine


def _seen(
    room: LitRoom, scene: torch.Tensor, number: int, point: torch.Tensor, wanted: torch.Tensor
) -> torch.Tensor:
    """Share of the light's four nearest map cells in which nothing stands before the point, bilinear."""
    size = room.maps.shape[-1]
    chosen = torch.nonzero(wanted)[:, 0]
    scene, point = scene[chosen], point[chosen]
    which = scene * room.lights.place.shape[1] + number
    way = point - room.eyes.place[which]
    turn = room.eyes.rotation[which].reshape(-1, 9)
    local = [(way * turn[:, j::3]).sum(1) for j in range(3)]
    distance = way.norm(dim=1)
    scale = 0.5 * size / (distance + local[2]).clamp_min(1e-4)
    x = (local[0] * scale + (size / 2 - 0.5)).clamp(0, size - 1.001)
    y = (local[1] * scale + (size / 2 - 0.5)).clamp(0, size - 1.001)
    column, row = x.long(), y.long()
    fx, fy = x - column, y - row
    base = (which * size + row) * size + column
    flat = room.maps.reshape(-1)
    limit = distance - BIAS - 0.01 * distance
    top = torch.lerp((flat[base] > limit).float(), (flat[base + 1] > limit).float(), fx)
    low = torch.lerp((flat[base + size] > limit).float(), (flat[base + size + 1] > limit).float(), fx)
    out = torch.zeros_like(wanted, dtype=torch.float32)
    out[chosen] = torch.lerp(top, low, fy)
    return out


def _frames(normal: torch.Tensor) -> torch.Tensor:
    """Rotations ``(N, 3, 3)`` whose third column is the normal."""
    tilted = normal[:, 2].abs() > 0.9
    other = torch.where(tilted[:, None], normal.new_tensor([1.0, 0, 0]), normal.new_tensor([0, 0, 1.0]))
    first = torch.nn.functional.normalize(torch.linalg.cross(other, normal), dim=1)
    return torch.stack([first, torch.linalg.cross(normal, first), normal], dim=2)
