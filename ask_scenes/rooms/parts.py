"""The parts that furniture is made of: five shapes, each with a place, a turn and a material.

Everything is in metres. A part lives in its object's frame: x to the right, y towards the front, z up, origin on
the floor under the object's middle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ask_scenes.rooms.materials import Material

BOX, ROUND, FRUSTUM, BALL, SHEET = range(5)

Vector = tuple[float, float, float]
Rotation = tuple[Vector, Vector, Vector]

UPRIGHT: Rotation = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Part:
    """One shape.

    Attributes:
        kind: ``BOX``; ``ROUND``, a box with rounded edges; ``FRUSTUM``, a cylinder or cone about its z axis;
            ``BALL``, an ellipsoid; ``SHEET``, a flat rectangle that faces its own +y and has no thickness.
        centre: Its middle.
        half: Half sizes along its own axes.
        material: How it looks.
        extra: Edge radius in metres (``ROUND``) or top radius over bottom radius (``FRUSTUM``).
        rotation: Rows of the matrix that takes its own axes to the object's.
        shadow: False for lamp shades, which would otherwise keep their own light in.
    """

    kind: int
    centre: Vector
    half: Vector
    material: Material
    extra: float = 0.0
    rotation: Rotation = UPRIGHT
    shadow: bool = True


def box(x: float, y: float, z: float, w: float, d: float, h: float, material: Material) -> Part:
    """A box of width, depth and height, standing on height ``z``."""
    return Part(BOX, (x, y, z + h / 2), (w / 2, d / 2, h / 2), material)


def cushion(
    x: float, y: float, z: float, w: float, d: float, h: float, material: Material, radius: float = 0.05
) -> Part:
    """A box with rounded edges, standing on height ``z``."""
    return Part(ROUND, (x, y, z + h / 2), (w / 2, d / 2, h / 2), material, min(radius, 0.499 * min(w, d, h)))


def post(
    x: float, y: float, z: float, radius: float, h: float, material: Material, top: float = 1.0, oval: float = 1.0
) -> Part:
    """A cylinder on height ``z``; ``top`` tapers it, ``oval`` stretches it along y."""
    return Part(FRUSTUM, (x, y, z + h / 2), (radius, radius * oval, h / 2), material, top)


def rod(x: float, y: float, z: float, length: float, radius: float, material: Material, along: str = "x") -> Part:
    """A lying cylinder with its axis at height ``z``."""
    turn = turn_y(math.pi / 2) if along == "x" else turn_x(math.pi / 2)
    return Part(FRUSTUM, (x, y, z), (radius, radius, length / 2), material, 1.0, turn)


def ball(x: float, y: float, z: float, w: float, d: float, h: float, material: Material) -> Part:
    """An ellipsoid about its middle."""
    return Part(BALL, (x, y, z), (w / 2, d / 2, h / 2), material)


def sheet(x: float, y: float, z: float, w: float, h: float, material: Material) -> Part:
    """An upright print about its middle, facing +y."""
    return Part(SHEET, (x, y, z), (w / 2, 0.0, h / 2), material)


def mat(x: float, y: float, z: float, w: float, d: float, material: Material) -> Part:
    """A lying print about its middle, facing up, its top towards the back."""
    return Part(SHEET, (x, y, z), (w / 2, 0.0, d / 2), material, 0.0, ((1, 0, 0), (0, 0, -1), (0, 1, 0)))


def tilted(part: Part, rotation: Rotation) -> Part:
    """The part turned about its own middle."""
    return replace(part, rotation=compose(rotation, part.rotation))


def moved(part: Part, place: Vector, yaw: float) -> Part:
    """The part turned about the object's z axis, then shifted."""
    turn = turn_z(yaw)
    x, y, z = apply(turn, part.centre)
    rotation = compose(turn, part.rotation)
    return replace(part, centre=(x + place[0], y + place[1], z + place[2]), rotation=rotation)


def turn_x(angle: float) -> Rotation:
    """Rotation about x: y towards z."""
    c, s = math.cos(angle), math.sin(angle)
    return (1, 0, 0), (0, c, -s), (0, s, c)


def turn_y(angle: float) -> Rotation:
    """Rotation about y: z towards x."""
    c, s = math.cos(angle), math.sin(angle)
    return (c, 0, s), (0, 1, 0), (-s, 0, c)


def turn_z(angle: float) -> Rotation:
    """Rotation about z: x towards y."""
    c, s = math.cos(angle), math.sin(angle)
    return (c, -s, 0), (s, c, 0), (0, 0, 1)


def apply(rotation: Rotation, vector: Vector) -> Vector:
    """Matrix times vector."""
    x, y, z = vector
    r, s, t = rotation
    return r[0] * x + r[1] * y + r[2] * z, s[0] * x + s[1] * y + s[2] * z, t[0] * x + t[1] * y + t[2] * z


def compose(first: Rotation, second: Rotation) -> Rotation:
    """Matrix product: ``second`` acts first."""
    (a, b, c), (d, e, f), (g, h, i) = second
    p, q, r = ((x * a + y * d + z * g, x * b + y * e + z * h, x * c + y * f + z * i) for x, y, z in first)
    return p, q, r
