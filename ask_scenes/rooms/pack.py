"""A batch of scenes as flat tensors, ready for the ray caster."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ask_scenes.rooms.builder import KEY
from ask_scenes.rooms.furniture.design import CATEGORIES
from ask_scenes.rooms.layout import SIDES, Lamp, Scene
from ask_scenes.rooms.materials import TEXTURES
from ask_scenes.rooms.parts import SHEET, Part

EXPOSED = 4.2  # what the middle of a well-lit room comes to, before the display curve
MANY_BOUNCES = 1.9  # light that comes back twice and more, as a factor on what comes back once
_TEXTURE_NUMBER = {name: i for i, name in enumerate(TEXTURES)}
_CATEGORY_NUMBER = {name: i for i, name in enumerate(CATEGORIES)}
_SHELL = _CATEGORY_NUMBER["shell"]
_LAMP = _CATEGORY_NUMBER["ceiling_lamp"]


@dataclass
class Shapes:
    """All shapes of a batch; each scene's first six are the sides of its room.

    Attributes:
        scene: ``(P,)`` number of the scene.
        kind: ``(P,)`` one of the kinds in ``parts``; -1 for a side of the room.
        centre: ``(P, 3)``.
        half: ``(P, 3)``.
        extra: ``(P,)``.
        rotation: ``(P, 3, 3)``, own axes to the room's.
        shadow: ``(P,)`` whether it casts one.
        instance: ``(P,)`` number within the scene; 0 to 5 are the sides.
        category: ``(P,)`` index into ``CATEGORIES``.
        key: ``(P,)`` whether it belongs to a key object.
        texture: ``(P,)`` index into ``TEXTURES``.
        seed: ``(P,)``.
        look: ``(P, 9)``: base (3), second (3), scale, gloss, glow.
        first: ``(B,)`` place of each scene's first shape.
        size: ``(B, 3)`` width, depth, height of the room.
    """

    scene: torch.Tensor
    kind: torch.Tensor
    centre: torch.Tensor
    half: torch.Tensor
    extra: torch.Tensor
    rotation: torch.Tensor
    shadow: torch.Tensor
    instance: torch.Tensor
    category: torch.Tensor
    key: torch.Tensor
    texture: torch.Tensor
    seed: torch.Tensor
    look: torch.Tensor
    first: torch.Tensor
    size: torch.Tensor


@dataclass
class Lights:
    """Points of light, ``L`` a scene.

    Attributes:
        place: ``(B, L, 3)``.
        normal: ``(B, L, 3)``.
        power: ``(B, L, 3)`` radiant intensity along the normal, zero where a scene has fewer points.
        gain: ``(B, 3)`` exposure times white balance.
        bounces: How many send back what they get from the others, which are lamps; they come first.
    """

    place: torch.Tensor
    normal: torch.Tensor
    power: torch.Tensor
    gain: torch.Tensor
    bounces: int


def pack(scenes: Sequence[Scene], device: torch.device) -> Shapes:
    """Flatten the scenes' parts."""
    rows: list[tuple[Part, int, int, bool]] = []
    scene_of: list[int] = []
    first: list[int] = []
    for number, scene in enumerate(scenes):
        first.append(len(rows))
        mine = [*_sides(scene), *_parts(scene)]
        rows += mine
        scene_of += [number] * len(mine)
    parts = [row[0] for row in rows]
    sides = np.concatenate([np.arange(start, start + SIDES) for start in first])
    kind = np.array([part.kind for part in parts])
    kind[sides] = -1
    floats = torch.tensor([_numbers(part) for part in parts], dtype=torch.float32).to(device)  # (P, 25)
    whole = torch.tensor(
        [
            [p.shadow, *row[1:], _TEXTURE_NUMBER[p.material.texture], p.material.seed]
            for p, row in zip(parts, rows, strict=True)
        ]
    ).to(device)
    return Shapes(
        scene=torch.tensor(scene_of).to(device),
        kind=torch.from_numpy(kind).to(device),
        centre=floats[:, 0:3].contiguous(),
        half=floats[:, 3:6].contiguous(),
        extra=floats[:, 6].contiguous(),
        rotation=floats[:, 7:16].reshape(-1, 3, 3).contiguous(),
        shadow=(whole[:, 0] > 0) & torch.from_numpy((kind >= 0) & (kind != SHEET)).to(device),
        instance=whole[:, 1],
        category=whole[:, 2],
        key=whole[:, 3] > 0,
        texture=whole[:, 4],
        seed=whole[:, 5],
        look=floats[:, 16:25].contiguous(),
        first=torch.tensor(first).to(device),
        size=torch.tensor([scene.size for scene in scenes], dtype=torch.float32).to(device),
    )


def pack_lights(scenes: Sequence[Scene], bounces: int, device: torch.device) -> Lights:
    """The lamps' points, and as many points on the room's sides as bounce light back."""
    points = [_points(scene, bounces) for scene in scenes]
    most = max(len(p) for p in points)
    table = np.zeros((len(scenes), most, 9), np.float32)
    table[:, :, 5] = -1.0
    for row, mine in zip(table, points, strict=True):
        row[: len(mine)] = mine
    packed = torch.from_numpy(table).to(device)
    gain = torch.tensor([[scene.exposure * t for t in scene.tint] for scene in scenes], dtype=torch.float32)
    brightness = torch.tensor([_brightness(mine, scene) for mine, scene in zip(points, scenes, strict=True)])
    gain = (EXPOSED * gain / brightness[:, None]).float().to(device)
    return Lights(packed[..., 0:3], packed[..., 3:6], packed[..., 6:9], gain, bounces)


def linear(colour: Sequence[float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """SRGB to linear light, by the power 2.2."""
    return np.asarray(colour, float) ** 2.2


def _numbers(part: Part) -> list[float]:
    m = part.material
    turn = [value for row in part.rotation for value in row]
    return [*part.centre, *part.half, part.extra, *turn, *m.base, *m.second, m.scale, m.gloss, m.glow]


def _sides(scene: Scene) -> list[tuple[Part, int, int, bool]]:
    w, d, h = (s / 2 for s in scene.size)
    looks = [scene.wall] * 4 + [scene.floor, scene.ceiling]
    places = [(-w, 0, h), (w, 0, h), (0, -d, h), (0, d, h), (0, 0, 0), (0, 0, 2 * h)]
    return [
        (Part(SHEET, p, (w, d, h), m), i, _SHELL, False) for i, (p, m) in enumerate(zip(places, looks, strict=True))
    ]


def _parts(scene: Scene) -> list[tuple[Part, int, int, bool]]:
    rows = []
    for number, thing in enumerate(scene.things):
        category, key = _CATEGORY_NUMBER[thing.design.category], thing.role == KEY
        rows += [(part, number + SIDES, category, key) for part in thing.parts]
    lamp = len(scene.things) + SIDES
    return rows + [(part, lamp, _LAMP, False) for part in scene.loose]


def _points(scene: Scene, bounces: int) -> list[list[float]]:
    direct = [
        [*point, *lamp.normal, *(p / len(lamp.points) for p in lamp.power)]
        for lamp in scene.lamps
        for point in lamp.points
    ]
    return [_bounce(scene, scene.lamps, i, bounces) for i in range(bounces)] + direct


def _bounce(scene: Scene, lamps: Sequence[Lamp], number: int, count: int) -> list[float]:
    """A point on a side of the room that sends back what it gets from the lamps, as if nothing stood between."""
    w, d, h = scene.size
    side, u, v = number % 6, ((number * 0.6180) % 1) * 0.7 + 0.15, ((number * 0.7549) % 1) * 0.7 + 0.15
    axis, sign = side // 2, 1.0 if side % 2 == 0 else -1.0
    place = [(u - 0.5) * w, (v - 0.5) * d, 0.2 * h + 0.6 * u * h]
    place[axis] = (-sign * (w, d, h)[axis] / 2) + sign * 0.02 + (h / 2 if axis == 2 else 0.0)
    normal = [sign if a == axis else 0.0 for a in range(3)]
    area = 2 * (w * d + w * h + d * h) / count
    white = linear((scene.wall, scene.wall, scene.wall, scene.wall, scene.floor, scene.ceiling)[side].base)
    power = MANY_BOUNCES * white * _received(place, normal, lamps) * area / math.pi
    return [*place, *normal, *(float(p) for p in power)]


def _received(
    place: Sequence[float], normal: Sequence[float], lamps: Sequence[Lamp]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    total = np.zeros(3)
    for lamp in lamps:
        for point in lamp.points:
            way = np.subtract(point, place)
            square = float(way @ way) + 0.25
            cosines = max(float(way @ np.asarray(normal)), 0.0) * max(float(-way @ np.asarray(lamp.normal)), 0.0)
            total += np.asarray(lamp.power) / len(lamp.points) * cosines / square**2
    return np.maximum(total, 0.02)


def _brightness(points: Sequence[Sequence[float]], scene: Scene) -> float:
    """What a meter at the room's middle would read: an exposure that knows nothing of the furniture."""
    reads = []
    for normal in ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (-1.0, 0.0, 0.0)):
        lamps = [Lamp(((p[0], p[1], p[2]),), (p[3], p[4], p[5]), (p[6], p[7], p[8])) for p in points]
        reads.append(float(_received((0.0, 0.5, 0.8), normal, lamps).mean()))
    white = float(np.mean([linear(scene.wall.base).mean(), linear(scene.floor.base).mean(), 0.35]))
    return float(np.mean(reads)) * max(white, 0.15) / 0.15
