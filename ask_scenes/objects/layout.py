"""A frame's scene from its key: setting, object and camera, as the rooms' renderer takes it.

All that this package asks of the rooms' scene description goes through here and ``setting``.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace

from ask_scenes.objects.classes import CHOICES, CLASSES, make
from ask_scenes.objects.decor import Decor
from ask_scenes.objects.look import Look
from ask_scenes.objects.makers.shapes import scaled
from ask_scenes.objects.options import ObjectOptions
from ask_scenes.objects.setting import ROOM, Setting, ceiling, plain, setting, where
from ask_scenes.rooms import layout as rooms
from ask_scenes.rooms.builder import DISTRACTOR, KEY, Camera, Thing
from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.furniture.design import Design, bounds_of
from ask_scenes.rooms.parts import Part, moved

VERSION = 1
ATTEMPTS = 6
MARGIN = 0.92  # share of the frame that the object's box may span
SMALL = 0.08  # objects meant to cover less are made smaller; the others are brought near by the lens
TRIAL = math.tan(0.3)  # half the side of the trial picture, one unit ahead
TRIAL_SIZE = 64  # its pixels on a side
GROUP = 0.6  # half the frame's width, one unit ahead, that shows three objects side by side
STEP = 0.01  # the lens is rounded, so that a pixel more or less in the trial seldom matters


@dataclass(frozen=True)
class Layout:
    """What a frame shows, before it is drawn.

    Attributes:
        scene: For the rooms' renderer; things 0 to ``count - 1`` are the objects.
        labels: Of the objects, indices into ``CLASSES``.
        setting: Kind of setting.
        content: Hash of the description, equal on every machine.
    """

    scene: rooms.Scene
    labels: tuple[int, ...]
    setting: str
    content: str


def build(words: tuple[object, ...], label: int, options: ObjectOptions) -> Layout:
    """The layout of a frame.

    Args:
        words: Version, seed, split and index.
        label: Of the main object.
        options: How the frame is drawn.

    Returns:
        The first attempt whose object covers nearly its least share, or the best of ``ATTEMPTS``.
    """
    best, best_share = None, -1.0
    for attempt in range(ATTEMPTS):
        made, share = _attempt((*words, attempt), label, options)
        if share > best_share:
            best, best_share = made, share
        if share >= 0.85 * options.coverage[0]:
            break
    assert best is not None
    return best


def _attempt(words: tuple[object, ...], label: int, options: ObjectOptions) -> tuple[Layout, float]:
    shared = Draws("objects", "setting", *words)
    place = setting(shared, Decor(shared), options.count - 1)
    if options.background == "plain":
        place = plain(shared, place)
    framing = Draws("objects", "framing", *words)
    low, high = options.coverage
    target = low * (high / low) ** framing.unit()
    factor = min(1.0, math.sqrt(target / SMALL))
    labels = (label, *_others(words, label, options))
    objects = [_object(words, n, name, place, factor) for n, name in enumerate(labels)]
    scene = _scene(label, place, objects)
    content = _content(labels, place, objects)
    camera, share = frame_object(scene, place, target, framing, options)
    if options.remove_object:
        scene = rooms.without(scene, KEY)
    return Layout(replace(scene, camera=camera), labels, place.kind, content), share


def _others(words: tuple[object, ...], label: int, options: ObjectOptions) -> list[int]:
    draws = Draws("objects", "others", *words)
    choices = [CLASSES.index(name) for name in CHOICES[options.classes]]
    return [n for n in draws.shuffled(choices) if n != label][: options.count - 1]


def _object(words: tuple[object, ...], number: int, label: int, place: Setting, factor: float) -> tuple[Part, ...]:
    """Object ``number`` in its place, turned relative to the camera; its colours do not depend on its class."""
    colours = Draws("objects", "colours", number, *words)
    look = Look(colours, (place.wall.base,))
    parts = make(CLASSES[label], Draws("objects", "shape", number, label, *words), look)
    x, y = where(place.azimuth, number)
    return tuple(moved(part, (x, y, place.height), place.azimuth) for part in scaled(parts, factor))


def _content(labels: tuple[int, ...], place: Setting, objects: list[tuple[Part, ...]]) -> str:
    """A hash of the description; lengths are rounded, so that it is equal on every machine."""
    numbers = [place.azimuth, place.elevation, place.distance, place.exposure, *place.tint]
    numbers += [value for lamp in place.lamps for point in (*lamp.points, lamp.power) for value in point]
    digest = hashlib.sha256(f"{place.kind} {labels} {_rounded(numbers)}".encode())
    for part in (part for parts in (*objects, place.parts) for part in parts):
        look = part.material
        values = [*part.centre, *part.half, part.extra, *(r for row in part.rotation for r in row)]
        values += [*look.base, *look.second, look.scale, look.gloss]
        digest.update(f"{part.kind} {look.texture} {look.seed} {part.shadow} {_rounded(values)}".encode())
    return digest.hexdigest()[:16]


def _rounded(values: list[float]) -> list[int]:
    return [round(value * 1e4) for value in values]


def _thing(parts: tuple[Part, ...], role: str) -> Thing:
    bounds = bounds_of(parts)
    return Thing(Design("small_thing", parts, 1.0, 1.0, 1.0), role, (0.0, 0.0, 0.0), 0.0, parts, bounds)


def _scene(label: int, place: Setting, objects: list[tuple[Part, ...]]) -> rooms.Scene:
    things = [_thing(parts, KEY) for parts in objects]
    if place.parts:
        things.append(_thing(place.parts, DISTRACTOR))
    return rooms.Scene(
        label=label, kind=place.kind, size=ROOM, wall=place.wall, floor=place.floor, ceiling=ceiling(place.wall),
        camera=Camera((0.0, -3.0, 1.5), 0.0, 0.0, 0.0, 1.0), things=tuple(things), lamps=place.lamps, loose=(),
        exposure=place.exposure, tint=place.tint, dim=False, camouflage=0.0,
    )  # fmt: skip


def frame_object(
    scene: rooms.Scene, place: Setting, target: float, draws: Draws, options: ObjectOptions
) -> tuple[Camera, float]:
    """A camera that shows the main object at about a share of the frame, anywhere in it.

    A small trial picture of the object alone, aimed at its middle, gives its outline.

    Args:
        scene: The scene; its first thing is the object.
        place: Its setting.
        target: Share of the frame.
        draws: The stream for the place in the frame.
        options: Size of the frame and number of objects.

    Returns:
        The camera, and the share that the object covers if nothing hides it.
    """
    aspect = options.size[1] / options.size[0]
    loose = 0.85 if options.count == 1 else 0.25
    trial = _aimed(scene.things[0], place)
    area, low, high = _outline(scene, trial)
    spans = (high[0] - low[0], high[1] - low[1])
    reach = max(math.sqrt(area * aspect / (4 * target)), spans[0] / (2 * MARGIN), spans[1] * aspect / (2 * MARGIN))
    reach = reach if options.count == 1 else max(reach, GROUP)
    reach = math.exp(round(math.log(reach) / STEP) * STEP)
    frame = (reach, reach / aspect)  # half the frame, one unit ahead
    wanted = [draws.between(-1, 1) * max(MARGIN * f - s / 2, 0.0) * loose for f, s in zip(frame, spans, strict=True)]
    turn, nod = (math.atan(w) - math.atan((a + b) / 2) for w, a, b in zip(wanted, low, high, strict=True))
    camera = replace(
        trial, yaw=trial.yaw + turn, pitch=trial.pitch + nod, roll=draws.normal(0.012), fov=2 * math.atan(reach)
    )
    return camera, area * aspect / (4 * reach**2)


def _aimed(thing: Thing, place: Setting) -> Camera:
    """A camera that looks at the middle of a thing."""
    x, y, z = thing.middle
    flat = place.distance * math.cos(place.elevation)
    eye = (
        x + flat * math.sin(place.azimuth),
        y - flat * math.cos(place.azimuth),
        z + place.distance * math.sin(place.elevation),
    )
    return Camera(eye, place.azimuth, -place.elevation, 0.0, 2 * math.atan(TRIAL))


Point = tuple[float, float]


def _outline(scene: rooms.Scene, camera: Camera) -> tuple[float, Point, Point]:
    """Area of the first thing as the camera sees it, and its least and greatest x and y, all one unit ahead."""
    import torch

    from ask_scenes.rooms.cast import cast
    from ask_scenes.rooms.pack import pack
    from ask_scenes.rooms.render import cameras

    alone = replace(scene, things=scene.things[:1], camera=camera)
    cpu = torch.device("cpu")
    shapes = pack([alone], cpu)
    seen = shapes.key[cast(shapes, cameras([alone], TRIAL_SIZE, TRIAL_SIZE, cpu)).shape[0]]
    pixel = 2 * TRIAL / TRIAL_SIZE
    y, x = (index.float() for index in torch.nonzero(seen, as_tuple=True))
    low = (float(x.min()) * pixel - TRIAL, float(y.min()) * pixel - TRIAL)
    high = (float(x.max() + 1) * pixel - TRIAL, float(y.max() + 1) * pixel - TRIAL)
    return len(x) * pixel**2, low, high
