"""From scenes to pictures: geometry at the pixels' middles, colours from several samples a pixel.

Light is worked out once a pixel and shared by the pixel's samples that lie on the same surface; the others, at
edges, get their own. That keeps edges clean at a fraction of the price.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ask_lib.data.rooms.cast import Hits, Pinhole, Surface, cast, surface
from ask_lib.data.rooms.layout import Scene
from ask_lib.data.rooms.light import LitRoom, light_up, received
from ask_lib.data.rooms.pack import Shapes, pack, pack_lights
from ask_lib.data.rooms.textures import Spot, paint


@dataclass(frozen=True)
class Quality:
    """What a picture may cost.

    Attributes:
        samples: Samples a pixel on each side; 2 is four in all.
        bounces: Points that send light back from the room's sides.
        shadow_map: Cells of a light's map on a side.
    """

    samples: int = 2
    bounces: int = 8
    shadow_map: int = 48


DATASET = Quality()
FIGURE = Quality(samples=3, bounces=36, shadow_map=128)


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
    flat, scene = _surface(shapes, view, hits)
    lit = _lit(shapes, room, view, scene, flat)
    colour = _albedo(shapes, flat)
    brightness = colour.mean(1).reshape(hits.distance.shape)
    if quality.samples > 1:
        rgb = _supersampled(shapes, room, view, hits, flat, lit, quality.samples)
    else:
        rgb = _display(_radiance(shapes, room, scene, flat, colour, *lit))
    size = hits.distance.shape
    turned = torch.einsum("ni,nij->nj", flat.normal, view.rotation[scene])
    return Drawn(
        rgb=rgb.reshape(*size, 3),
        depth=hits.distance,
        normal=turned.reshape(*size, 3),
        instance=shapes.instance[hits.shape],
        category=shapes.category[hits.shape],
        key=shapes.key[hits.shape],
        albedo=brightness,
    )


def _rotation(scene: Scene) -> list[list[float]]:
    """Camera axes as columns: x right, y down, z ahead."""
    camera = scene.camera
    cy, sy, cp, sp = math.cos(camera.yaw), math.sin(camera.yaw), math.cos(camera.pitch), math.sin(camera.pitch)
    right, ahead, down = (cy, sy, 0.0), (-sy * cp, cy * cp, sp), (-sy * sp, cy * sp, -cp)
    cr, sr = math.cos(camera.roll), math.sin(camera.roll)
    return [[cr * r + sr * d, -sr * r + cr * d, a] for r, d, a in zip(right, down, ahead, strict=True)]


def _surface(shapes: Shapes, view: Pinhole, hits: Hits) -> tuple[Surface, torch.Tensor]:
    """The surface under every pixel, flat, and the pixel's scene."""
    pixels = view.height * view.width
    scene = torch.arange(len(view.scene), device=view.place.device).repeat_interleave(pixels)
    flat = torch.arange(pixels, device=scene.device).repeat(len(view.scene))
    way = view.directions(scene, (flat % view.width).float(), (flat // view.width).float())
    point = view.place[scene] + way * hits.distance.reshape(-1, 1)
    return surface(shapes, point, hits.shape.reshape(-1)), scene


Lit = tuple[torch.Tensor, torch.Tensor]


def _lit(shapes: Shapes, room: LitRoom, view: Pinhole, scene: torch.Tensor, flat: Surface) -> Lit:
    eye = torch.nn.functional.normalize(view.place[scene] - flat.point, dim=1)
    return received(room, scene, flat.point, flat.normal, eye, shapes.look[flat.shape, 7])


def _albedo(shapes: Shapes, flat: Surface) -> torch.Tensor:
    """Linear reflectance ``(N, 3)``."""
    look = shapes.look[flat.shape]
    u, v, a, b = flat.uv
    spot = Spot(u, v, a, b, look[:, 0:3], look[:, 3:6], look[:, 6], shapes.seed[flat.shape])
    return paint(shapes.texture[flat.shape], spot) ** 2.2


def _radiance(
    shapes: Shapes, room: LitRoom, scene: torch.Tensor, flat: Surface, colour: torch.Tensor, diffuse: torch.Tensor,
    shine: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    glow = shapes.look[flat.shape, 8:9]
    return room.lights.gain[scene] * (colour * diffuse + 0.3 * shine) + colour * glow


def _supersampled(
    shapes: Shapes, room: LitRoom, view: Pinhole, hits: Hits, flat: Surface, lit: Lit, samples: int
) -> torch.Tensor:
    """Colours ``(B, H, W, 3)`` from ``samples ** 2`` rays a pixel, averaged after the display curve."""
    height, width = view.height * samples, view.width * samples
    fine = Pinhole(view.scene, view.place, view.rotation, view.focal * samples, height, width)
    found = cast(shapes, fine)
    spots, scene = _surface(shapes, fine, found)
    parent = _parents(len(view.scene), view.height, view.width, samples, scene.device)
    same = spots.shape == flat.shape[parent]
    same &= (spots.normal * flat.normal[parent]).sum(1) > 0.9
    alone = torch.nonzero(~same)[:, 0]
    diffuse, shine = lit[0][parent], lit[1][parent]
    part = Surface(spots.point[alone], spots.normal[alone], spots.shape[alone], spots.uv[:, alone])
    diffuse[alone], shine[alone] = _lit(shapes, room, view, scene[alone], part)
    colour = _display(_radiance(shapes, room, scene, spots, _albedo(shapes, spots), diffuse, shine))
    blocks = colour.reshape(len(view.scene), view.height, samples, view.width, samples, 3)
    return blocks.mean(dim=(2, 4))


def _parents(batch: int, height: int, width: int, samples: int, device: torch.device) -> torch.Tensor:
    """For each sample of the fine picture, its pixel of the coarse one, flat."""
    rows = torch.arange(height * samples, device=device) // samples
    columns = torch.arange(width * samples, device=device) // samples
    one = (rows[:, None] * width + columns[None]).reshape(-1)
    return (torch.arange(batch, device=device)[:, None] * height * width + one[None]).reshape(-1)


def _display(radiance: torch.Tensor) -> torch.Tensor:
    """A film curve (a fit of ACES by Narkowicz), then the sRGB power."""
    x = radiance.clamp_min(0)
    curve = (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14)
    return curve.clamp(0, 1) ** (1 / 2.2)
