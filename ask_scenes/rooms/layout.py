"""A scene from its key: the room, its light, its camera and all that stands in it.

The order matters. Room, palette, light, camera, fixtures and distractors come from a stream that does not hold the
label; key objects are placed into what is left. With the key objects gone, a frame of one class is therefore drawn
as a frame of any other; all that is left of the label is which rooms were thrown away because too few key objects
fitted in.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace

from ask_scenes.rooms.builder import DISTRACTOR, FIXTURE, KEY, Builder, Camera, Thing
from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.furniture import fixtures, living, seating, storage, tables
from ask_scenes.rooms.furniture.design import Maker
from ask_scenes.rooms.materials import Material, Palette
from ask_scenes.rooms.parts import Part, Vector
from ask_scenes.rooms.scenes import LABELS, furnish

VERSION = 1  # frozen: the data card holds what was measured; a change gives its reason there and bumps this
ATTEMPTS = 12
SIDES = 6  # the room's own faces: -x, +x, -y, +y, floor, ceiling

SHARED_FLOOR: tuple[tuple[Maker, float], ...] = (
    (seating.chair, 2.0), (seating.stool, 1.0), (living.plant, 1.4), (living.floor_lamp, 1.0), (storage.carton, 1.2),
    (tables.side_table, 1.2), (storage.bin_, 0.8), (storage.basket, 0.8), (seating.swivel_chair, 0.5),
    (seating.armchair, 0.25),
)  # fmt: skip
SHARED_WALL: tuple[tuple[Maker, float], ...] = (
    (storage.cabinet, 1.0), (storage.locker, 1.6), (storage.low_shelf, 1.0), (living.picture, 3.0), (living.clock, 0.6),
    (living.wall_shelf, 1.0), (living.curtain, 0.8), (living.mirror, 0.6), (living.pinboard, 0.3),
    (tables.desk, 0.35), (storage.bookcase, 0.2), (living.television, 0.15), (storage.dresser, 0.2),
    (living.board, 0.1),
)  # fmt: skip


@dataclass(frozen=True)
class Lamp:
    """Points that send light into the room.

    Attributes:
        points: Where.
        normal: Which way it shines; light falls off with the cosine.
        power: Radiant intensity along the normal, linear RGB, shared among the points.
    """

    points: tuple[Vector, ...]
    normal: Vector
    power: Vector


@dataclass(frozen=True)
class Scene:
    """All that is needed to draw a frame.

    Attributes:
        label: Index into ``LABELS``.
        kind: The kind of room; differs from the label's name for ``others``.
        size: Width, depth, height of the room, metres.
        wall: Material of the walls; likewise ``floor`` and ``ceiling``.
        floor: See ``wall``.
        ceiling: See ``wall``.
        camera: Where from.
        things: Furniture, in a fixed order; a thing's instance number is its place here plus 6.
        lamps: The light.
        loose: Parts of no thing, such as the ceiling lamps' bodies, with their instance numbers.
        exposure: Factor from radiance to sensor.
        tint: White balance, linear RGB factors.
        texture_seed: Seed of the sensor's noise.
    """

    label: int
    kind: str
    size: Vector
    wall: Material
    floor: Material
    ceiling: Material
    camera: Camera
    things: tuple[Thing, ...]
    lamps: tuple[Lamp, ...]
    loose: tuple[Part, ...]
    exposure: float
    tint: Vector
    dim: bool
    camouflage: float


def build(words: tuple[object, ...], label: int) -> Scene:
    """The scene with this key and label.

    Args:
        words: Version, seed, split and index.
        label: Index into ``LABELS``.

    Returns:
        The scene; the first attempt with enough key objects in view, or the best of ``ATTEMPTS``.
    """
    best, best_score = None, -1
    for attempt in range(ATTEMPTS):
        scene = _attempt((*words, attempt), label)
        score = len(_visible_kinds(scene))
        if score > best_score:
            best, best_score = scene, score
        if score >= 2:
            break
    assert best is not None
    return best


def without(scene: Scene, role: str) -> Scene:
    """The scene with all things of a role taken out, and what stood on them; nothing else moves."""
    gone = {i for i, thing in enumerate(scene.things) if thing.role == role}
    gone |= {i for i, thing in enumerate(scene.things) if thing.parent in gone}
    emptied = (replace(t, parts=()) if i in gone else t for i, t in enumerate(scene.things))
    return replace(scene, things=tuple(emptied))


def content_hash(scene: Scene) -> str:
    """A hash of the description, equal on every machine: lengths are rounded to a tenth of a millimetre."""
    digest = hashlib.sha256()
    camera = scene.camera
    numbers = [*scene.size, *camera.place, camera.yaw, camera.pitch, camera.roll, camera.fov, scene.exposure]
    digest.update(f"{scene.label} {scene.kind} {_rounded(numbers)}".encode())
    for thing in scene.things:
        digest.update(f"{thing.design.category} {thing.role} {thing.parent}".encode())
        for part in thing.parts:
            values = [*part.centre, *part.half, part.extra, *(r for row in part.rotation for r in row)]
            look = part.material
            values += [*look.base, *look.second, look.scale, look.gloss, look.glow]
            digest.update(f"{part.kind} {look.texture} {look.seed} {_rounded(values)}".encode())
    return digest.hexdigest()[:16]


def _rounded(values: list[float]) -> list[int]:
    return [round(value * 1e4) for value in values]


def _attempt(words: tuple[object, ...], label: int) -> Scene:
    shared = Draws("shared", *words)
    camouflage = 0.6 if shared.chance(0.06) else 0.0
    palette = Palette(shared, camouflage)
    size = (shared.between(3.1, 5.0), shared.between(3.6, 5.4), shared.between(2.4, 2.8))
    builder = Builder(size, _camera(shared, size), shared, palette)
    _fixtures(builder)
    _distractors(builder)
    lamps, loose = _light(builder)
    dim = shared.chance(0.12)
    exposure = shared.between(0.38, 0.6) if dim else shared.between(0.9, 1.35)
    tint = (1 + shared.normal(0.06), 1.0, 1 + shared.normal(0.08))
    builder.draws = Draws("key", label, *words)
    palette.pick_with(builder.draws)
    kind = furnish(builder, LABELS[label])
    _strew(builder)
    return Scene(
        label, kind, size, palette.wall, palette.floor, palette.ceiling, builder.camera, tuple(builder.things), lamps,
        loose, exposure, tint, dim, camouflage,
    )  # fmt: skip


def _camera(d: Draws, size: Vector) -> Camera:
    w, dep, _ = size
    place = (d.between(-0.36, 0.36) * w, -dep / 2 + d.between(0.15, 0.45), d.between(1.2, 1.7))
    target = (d.normal(0.13) * w - 0.25 * place[0], d.between(0.1, 0.4) * dep)
    yaw = -math.atan2(target[0] - place[0], target[1] - place[1])
    return Camera(place, yaw, -d.between(0.08, 0.3), d.normal(0.012), math.radians(d.between(58, 70)))


def _fixtures(b: Builder) -> None:
    for maker, mean in ((fixtures.window, 1.1), (fixtures.door, 0.5), (fixtures.radiator, 0.6)):
        for _ in range(min(b.draws.poisson(mean), 2)):
            b.wall(maker(b.draws, b.palette), FIXTURE, tries=8)


def _distractors(b: Builder) -> None:
    if b.draws.chance(0.3):
        x, y = b.draws.normal(0.5), b.draws.between(-0.1, 0.25) * b.size[1]
        b.put(living.rug(b.draws, b.palette), DISTRACTOR, (x, y, 0.0), b.draws.integer(0, 1) * math.pi / 2)
    for choices, mean in ((SHARED_FLOOR, 1.8), (SHARED_WALL, 2.3)):
        makers, weights = [c[0] for c in choices], [c[1] for c in choices]
        for _ in range(min(b.draws.poisson(mean), 8)):
            made = b.draws.choice(makers, weights)(b.draws, b.palette)
            (b.floor if choices is SHARED_FLOOR else b.wall)(made, DISTRACTOR, tries=10)


def _strew(b: Builder) -> None:
    """Small things on surfaces: clutter that tells nothing."""
    flat = ("desk", "side_table", "coffee_table", "cabinet", "dresser", "sideboard", "filing_cabinet", "dining_table")
    for base in [thing for thing in b.things if thing.design.category in flat]:
        for _ in range(b.draws.poisson(0.8)):
            x = b.draws.between(-0.38, 0.38) * base.design.width
            y = b.draws.between(-0.2, 0.2) * base.design.depth
            turn = b.draws.between(-0.5, 0.5)
            b.on(base, tables.small_thing(b.draws, b.palette), x, y, turn, role=DISTRACTOR)


def _light(b: Builder) -> tuple[tuple[Lamp, ...], tuple[Part, ...]]:
    d, (w, dep, h) = b.draws, b.size
    kind = d.choice(("panel", "dome", "pendant"), (0.4, 0.35, 0.25))
    count = d.integer(2, 3) if kind == "panel" else 1
    warm = (1.0, d.between(0.86, 0.98), d.between(0.7, 0.95))
    lamps, loose = [], []
    share = d.between(0.35, 1.0)
    for i in range(count):
        x = d.between(-0.15, 0.15) * w
        y = ((i + 0.5) / count - 0.5) * dep * 0.7 + d.between(-0.2, 0.2)
        body = fixtures.ceiling_lamp(kind, d, b.palette, h)
        loose += [replace(p, centre=(p.centre[0] + x, p.centre[1] + y, p.centre[2]), shadow=False) for p in body]
        spread, z = (0.5, h - 0.07) if kind == "panel" else (0.16, h - (0.12 if kind == "dome" else 0.6))
        points = tuple((x + spread * (u - 0.5) * 2, y + 0.12 * (v - 0.5) * 2, z) for u, v in _corners(6 // count))
        power = 8.0 * share / count
        lamps.append(Lamp(points, (0.0, 0.0, -1.0), (warm[0] * power, warm[1] * power, warm[2] * power)))
    lamps += [_daylight(d, thing) for thing in b.things if thing.design.category == "window"]
    return tuple(lamps), tuple(loose)


def _corners(count: int) -> list[tuple[float, float]]:
    spots = [(0.1, 0.2), (0.9, 0.8), (0.5, 0.45), (0.75, 0.15), (0.25, 0.85), (0.5, 0.95)]
    return spots[:count]


def _daylight(d: Draws, window: Thing) -> Lamp:
    c, s = math.cos(window.yaw), math.sin(window.yaw)
    z = window.middle[2]
    points = tuple(window.at(x, 0.15, z + dz) for x, dz in ((-0.3, 0.25), (0.3, -0.2), (0.0, 0.05)))
    power = d.between(2.0, 6.0)
    return Lamp(points, (-s, c, 0.0), (0.85 * power, 0.95 * power, 1.1 * power))


def _visible_kinds(scene: Scene) -> set[str]:
    """Categories of key objects of which some point is in view and not hidden."""
    eye, seen = scene.camera.place, set()
    for number, thing in enumerate(scene.things):
        if thing.role != KEY or thing.design.category in seen:
            continue
        blockers = [t.bounds for i, t in enumerate(scene.things) if i != number and t.parent != number]
        points = [thing.middle, _lifted(thing, 0.85)]
        if any(scene.camera.sees(p, 0.95) and not any(_blocks(eye, p, b) for b in blockers) for p in points):
            seen.add(thing.design.category)
    return seen


def _lifted(thing: Thing, share: float) -> Vector:
    x, y, _ = thing.middle
    return x, y, thing.bounds[2] + share * (thing.bounds[5] - thing.bounds[2])


def _blocks(eye: Vector, point: Vector, bounds: tuple[float, ...]) -> bool:
    """Whether the segment from eye to point passes through the bounds before it gets there."""
    near, far = 0.0, 0.97
    for axis in range(3):
        step = point[axis] - eye[axis]
        if abs(step) < 1e-9:
            if not bounds[axis] <= eye[axis] <= bounds[axis + 3]:
                return False
            continue
        first, second = (bounds[axis] - eye[axis]) / step, (bounds[axis + 3] - eye[axis]) / step
        near, far = max(near, min(first, second)), min(far, max(first, second))
    return near < far
