"""From scenes to pictures: geometry at the pixels' middles, colours from several samples a pixel.

Light is worked out once a pixel and shared by the pixel's samples that lie on the same surface; the others, at
edges, get their own. That keeps edges clean at a fraction of the price.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ask_scenes.drawing import one_thread
from ask_scenes.rooms.cast import (
    Hits,
    Pinhole,
    Surface,
    cast,
    columns,
    dot,
    pixel_grid,
    rays,
    surface,
    turned,
    unit,
)
from ask_scenes.rooms.layout import Scene
from ask_scenes.rooms.light import LitRoom, light_up, received
from ask_scenes.rooms.materials import TEXTURES
from ask_scenes.rooms.options import Quality
from ask_scenes.rooms.pack import Shapes, pack, pack_lights
from ask_scenes.rooms.textures import Spot, paint

PLAIN = TEXTURES.index("plain")


@dataclass
class Drawn:
    """A batch of frames before the sensor.

    Attributes:
        rgb: ``(B, H, W, 3)`` float in [0, 1], sRGB.
        depth: ``(B, H, W)`` metres along the axis, exact.
        normal: ``(B, H, W, 3)`` unit, camera axes (x right, y down, z ahead).
        instance: ``(B, H, W)``.
        category: ``(B, H, W)``.
        key: ``(B, H, W)`` bool.
        albedo: ``(B, H, W)`` brightness of the surface, which the depth sensor needs.
    """

    rgb: torch.Tensor
    depth: torch.Tensor
    normal: torch.Tensor
    instance: torch.Tensor
    category: torch.Tensor
    key: torch.Tensor
    albedo: torch.Tensor


def cameras(scenes: Sequence[Scene], height: int, width: int, device: torch.device) -> Pinhole:
    """The scenes' cameras for a picture size; the field of view is that of the width."""
    rotation = torch.tensor([_rotation(scene) for scene in scenes], dtype=torch.float32)
    focal = torch.tensor([width / 2 / math.tan(scene.camera.fov / 2) for scene in scenes], dtype=torch.float32)
    place = torch.tensor([scene.camera.place for scene in scenes], dtype=torch.float32)
    number = torch.arange(len(scenes), device=device)
    return Pinhole(number, place.to(device), rotation.to(device), focal.to(device), height, width)


@one_thread()
def draw(scenes: Sequence[Scene], height: int, width: int, quality: Quality, device: torch.device) -> Drawn:
    """Draw a batch of scenes.

    Args:
        scenes: What to draw.
        height: Of the pictures.
        width: Of the pictures.
        quality: How finely.
        device: Where.

    Returns:
        The frames.
    """
    shapes = pack(scenes, device)
    room = light_up(shapes, pack_lights(scenes, quality.bounces, device), quality.shadow_map)
    view = cameras(scenes, height, width, device)
    hits = cast(shapes, view)
    which, x, y = pixel_grid(view)
    way = rays(view, which, x, y)
    point = columns(view.place, which) + way * hits.distance.reshape(-1)
    flat = surface(shapes, point, hits.shape.reshape(-1))
    lit = _lit(shapes, room, view, which, flat)
    colour = _albedo(shapes, flat)
    size = hits.distance.shape
    rgb = _display(_radiance(shapes, room, which, flat, colour, *lit))
    if quality.samples > 1:
        rgb = _supersampled(shapes, room, view, hits, flat, lit, rgb, quality.samples)
    return Drawn(
        rgb=rgb.T.reshape(*size, 3),
        depth=hits.distance,
        normal=turned(columns(view.rotation.reshape(-1, 9), which), flat.normal, back=True).T.reshape(*size, 3),
        instance=shapes.instance[hits.shape],
        category=shapes.category[hits.shape],
        key=shapes.key[hits.shape],
        albedo=colour.mean(0).reshape(size),
    )


def _rotation(scene: Scene) -> list[list[float]]:
    """Camera axes as columns: x right, y down, z ahead."""
    camera = scene.camera
    cy, sy, cp, sp = math.cos(camera.yaw), math.sin(camera.yaw), math.cos(camera.pitch), math.sin(camera.pitch)
    right, ahead, down = (cy, sy, 0.0), (-sy * cp, cy * cp, sp), (-sy * sp, cy * sp, -cp)
    cr, sr = math.cos(camera.roll), math.sin(camera.roll)
    return [[cr * r + sr * d, -sr * r + cr * d, a] for r, d, a in zip(right, down, ahead, strict=True)]


Lit = tuple[torch.Tensor, torch.Tensor]


def _lit(shapes: Shapes, room: LitRoom, view: Pinhole, scene: torch.Tensor, flat: Surface) -> Lit:
    eye = unit(columns(view.place, scene) - flat.point)
    return received(room, scene, flat.point, flat.normal, eye, shapes.look[flat.shape, 7])


def _albedo(shapes: Shapes, flat: Surface) -> torch.Tensor:
    """Linear reflectance ``(3, N)``."""
    look = shapes.look.T.contiguous().index_select(1, flat.shape)
    u, v, a, b = flat.uv
    spot = Spot(u, v, a, b, look[0:3], look[3:6], look[6], shapes.seed[flat.shape])
    return paint(shapes.texture[flat.shape], spot) ** 2.2


def _radiance(
    shapes: Shapes, room: LitRoom, scene: torch.Tensor, flat: Surface, colour: torch.Tensor, diffuse: torch.Tensor,
    shine: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    glow = shapes.look[flat.shape, 8]
    return columns(room.lights.gain, scene) * (colour * diffuse + 0.3 * shine) + colour * glow


def _supersampled(
    shapes: Shapes,
    room: LitRoom,
    view: Pinhole,
    hits: Hits,
    flat: Surface,
    lit: Lit,
    coarse: torch.Tensor,
    samples: int,
) -> torch.Tensor:
    """Colours ``(3, B * H * W)`` from ``samples ** 2`` rays a pixel, averaged after the display curve.

    Rays are cast anew in pixels at edges. On one textured surface they go on to the plane that the pixel's middle
    lies in, and on a plain one the pixel keeps its colour.
    """
    fine = Pinhole(
        view.scene, view.place, view.rotation, view.focal * samples, view.height * samples, view.width * samples
    )
    edge = _edges(hits, flat)
    found = cast(shapes, fine, edge)
    pixel = torch.nonzero(edge.reshape(-1) | (shapes.texture[flat.shape] != PLAIN))[:, 0]
    parent = pixel.repeat_interleave(samples**2)
    scene, x, y = _inside(parent, view, samples)
    at_edge, normal = edge.reshape(-1)[parent], flat.normal[:, parent]
    way, eye = rays(fine, scene, x, y), columns(view.place, scene)
    plane = dot(normal, flat.point[:, parent] - eye) / dot(normal, way)
    place = (scene * fine.height + y) * fine.width + x
    distance = torch.where(at_edge, found.distance.reshape(-1)[place], plane)
    shape = torch.where(at_edge, found.shape.reshape(-1)[place], flat.shape[parent])
    spots = surface(shapes, eye + way * distance, shape)
    alone = torch.nonzero(at_edge & ((shape != flat.shape[parent]) | (dot(spots.normal, normal) < 0.9)))[:, 0]
    diffuse, shine = lit[0][:, parent], lit[1][:, parent]
    first, group = _together(parent[alone], shape[alone], spots.normal[:, alone])
    own = alone[first]
    part = Surface(spots.point[:, own], spots.normal[:, own], shape[own], spots.uv[:, own])
    light = _lit(shapes, room, view, scene[own], part)
    diffuse[:, alone], shine[:, alone] = light[0][:, group], light[1][:, group]
    colour = _display(_radiance(shapes, room, scene, spots, _albedo(shapes, spots), diffuse, shine))
    coarse[:, pixel] = colour.reshape(3, len(pixel), samples**2).mean(2)
    return coarse


def _together(parent: torch.Tensor, shape: torch.Tensor, normal: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Runs of samples of one pixel on one face, which share their light: the first of each run, and each one's run."""
    starts = torch.ones_like(parent, dtype=torch.bool)
    bend = dot(normal[:, 1:], normal[:, :-1]) < 0.9
    starts[1:] = (parent[1:] != parent[:-1]) | (shape[1:] != shape[:-1]) | bend
    return torch.nonzero(starts)[:, 0], starts.cumsum(0) - 1


def _inside(parent: torch.Tensor, view: Pinhole, samples: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scene, x and y in the fine picture of the samples of each pixel; ``parent`` names a pixel once a sample."""
    within = torch.arange(samples**2, device=parent.device).repeat(len(parent) // samples**2)
    row = torch.div(parent, view.width, rounding_mode="floor")
    scene = torch.div(row, view.height, rounding_mode="floor")
    x = (parent - row * view.width) * samples + within % samples
    return scene, x, (row - scene * view.height) * samples + within // samples


def _edges(hits: Hits, flat: Surface) -> torch.Tensor:
    """Pixels next to another shape, or on a bend, ``(B, H, W)``."""
    normal = flat.normal.reshape(3, *hits.shape.shape)
    edge = torch.zeros_like(hits.shape, dtype=torch.bool)
    for axis in (1, 2):
        low, high = (slice(None),) * axis + (slice(1, None),), (slice(None),) * axis + (slice(None, -1),)
        bend = dot(normal[(slice(None), *low)], normal[(slice(None), *high)]) < 0.98
        differ = (hits.shape[low] != hits.shape[high]) | bend
        edge[low] |= differ
        edge[high] |= differ
    return edge


def _display(radiance: torch.Tensor) -> torch.Tensor:
    """A film curve (a fit of ACES by Narkowicz), then the sRGB power."""
    x = radiance.clamp_min(0)
    x = torch.lerp(x, x.mean(0, keepdim=True), 0.12)  # film curves make colours stronger; rooms are not
    curve = (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14)
    return curve.clamp(0, 1) ** (1 / 2.2)
