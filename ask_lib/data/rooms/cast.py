"""The ray caster: which shape each ray meets first, and where.

Each shape is tried only on the pixels of its own rectangle on the screen. All (shape, pixel) pairs of a batch are
listed flat and solved at once, then each pixel keeps its nearest hit. The same code serves the camera and the
lights' shadow maps: they differ in how pixels and directions go together (``Pinhole``, ``Hemisphere``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch

from ask_lib.data.rooms.pack import SIDES, Shapes
from ask_lib.data.rooms.parts import BALL, BOX, FRUSTUM, ROUND, SHEET

NEAR = 0.05
FAR = 1e4
SHEET_LIFT = 2e-3  # a print wins against the surface that it lies on, metres along the ray
MARCH = 12


class View(Protocol):
    """Eyes, each with its own picture plane: ``V`` views of one or several scenes."""

    scene: torch.Tensor
    place: torch.Tensor
    height: int
    width: int

    def project(self, view: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pixel coordinates ``x, y`` of points ``(..., 3)``, and whether each lies where that is defined."""
        ...

    def directions(self, view: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Ray directions ``(N, 3)`` through the middles of pixels ``x, y`` of each one's view."""
        ...


@dataclass
class Pinhole:
    """Cameras.

    Attributes:
        scene: ``(V,)`` scene of each view.
        place: ``(V, 3)``.
        rotation: ``(V, 3, 3)``, camera axes (x right, y down, z ahead) to the room's.
        focal: ``(V,)`` in pixels.
        height: Of the picture.
        width: Of the picture.
    """

    scene: torch.Tensor
    place: torch.Tensor
    rotation: torch.Tensor
    focal: torch.Tensor
    height: int
    width: int

    def project(self, view: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See ``View``; undefined behind the camera."""
        local = torch.einsum("nki,nij->nkj", points - self.place[view][:, None], self.rotation[view])
        ahead = local[..., 2]
        safe = ahead.clamp_min(NEAR)
        focal = self.focal[view][:, None]
        x = local[..., 0] / safe * focal + self.width / 2 - 0.5
        y = local[..., 1] / safe * focal + self.height / 2 - 0.5
        return x, y, ahead > NEAR

    def directions(self, view: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """See ``View``; scaled so that distance along the ray is depth along the axis."""
        focal = self.focal[view]
        right = (x - (self.width / 2 - 0.5)) / focal
        down = (y - (self.height / 2 - 0.5)) / focal
        axes = self.rotation.reshape(-1, 9).T[:, view]  # (9, N)
        return torch.stack([axes[i] * right + axes[i + 1] * down + axes[i + 2] for i in (0, 3, 6)], 1)


@dataclass
class Hemisphere:
    """Lights: the half space in front of each, by stereographic projection (it keeps circles circles).

    Attributes:
        scene: ``(V,)`` scene of each view.
        place: ``(V, 3)``.
        rotation: ``(V, 3, 3)``, light axes (z along the normal) to the room's.
        height: Of the shadow map.
        width: The same.
    """

    scene: torch.Tensor
    place: torch.Tensor
    rotation: torch.Tensor
    height: int
    width: int

    def project(self, view: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See ``View``; poor for what lies behind the light."""
        local = torch.einsum("nki,nij->nkj", points - self.place[view][:, None], self.rotation[view])
        length = local.norm(dim=-1).clamp_min(1e-6)
        ahead = local[..., 2] / length
        scale = 0.5 * self.width / ((1 + ahead).clamp_min(0.4) * length)
        middle = self.width / 2 - 0.5
        return local[..., 0] * scale + middle, local[..., 1] * scale + middle, ahead > -0.6

    def directions(self, view: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """See ``View``; of unit length."""
        u, v = (x - (self.width / 2 - 0.5)) * (2 / self.width), (y - (self.width / 2 - 0.5)) * (2 / self.width)
        square = u * u + v * v
        across, ahead = 2 / (1 + square), (1 - square) / (1 + square)
        axes = self.rotation.reshape(-1, 9).T[:, view]
        return torch.stack([(axes[i] * u + axes[i + 1] * v) * across + axes[i + 2] * ahead for i in (0, 3, 6)], 1)


@dataclass
class Hits:
    """What each pixel's ray meets.

    Attributes:
        distance: ``(V, H, W)``, along the view's own ray directions.
        shape: ``(V, H, W)``, index into the shapes.
    """

    distance: torch.Tensor
    shape: torch.Tensor


def cast(shapes: Shapes, view: View) -> Hits:
    """The nearest shape of every pixel.

    Args:
        shapes: The batch.
        view: The eyes.

    Returns:
        Distance and shape of each pixel; no pixel is without, since rooms are closed.
    """
    pixels = view.height * view.width
    views = torch.arange(len(view.scene), device=view.place.device)
    which = views.repeat_interleave(pixels)
    flat = torch.arange(pixels, device=which.device).repeat(len(views))
    way = view.directions(which, (flat % view.width).float(), (flat // view.width).float())
    nearest = _packed(*_room(shapes, view, which, way))
    chosen = torch.ones_like(shapes.shadow)
    for pixel, shape, distance in _solve(shapes, view, chosen):
        nearest.scatter_reduce_(0, pixel, _packed(distance, shape), "amin")
    shape = nearest & 0xFFFFFFFF
    distance = (nearest >> 32).to(torch.int32).view(torch.float32)
    distance = torch.where(shapes.kind[shape] == SHEET, distance + SHEET_LIFT, distance)
    size = (len(views), view.height, view.width)
    return Hits(distance.reshape(size), shape.reshape(size))


def shadow_maps(shapes: Shapes, view: View) -> torch.Tensor:
    """Distance to the nearest shape that casts a shadow, ``(V, H, W)``; ``FAR`` where there is none."""
    size = (len(view.scene), view.height, view.width)
    nearest = torch.full((math.prod(size),), FAR, device=view.place.device)
    for pixel, _, distance in _solve(shapes, view, shapes.shadow):
        nearest.scatter_reduce_(0, pixel, distance, "amin")
    return nearest.reshape(size)


def _packed(distance: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
    """Distance and shape in one integer that orders by distance: the bits of a positive float do."""
    return (distance.contiguous().view(torch.int32).long() << 32) | shape


def _room(
    shapes: Shapes, view: View, which: torch.Tensor, way: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Distance to the sides of the room from inside, and which side."""
    half = shapes.size / 2
    low = torch.stack([-half[:, 0], -half[:, 1], torch.zeros_like(half[:, 2])], 1)
    high = torch.stack([half[:, 0], half[:, 1], shapes.size[:, 2]], 1)
    scene = view.scene[which]
    wall = torch.where(way > 0, high[scene], low[scene])
    steps = (wall - view.place[which]) / torch.where(way.abs() < 1e-9, 1e-9, way)
    steps = torch.where(way.abs() < 1e-9, FAR, steps)
    distance, axis = steps.min(dim=1)
    positive = torch.gather(way, 1, axis[:, None])[:, 0] > 0
    return distance.clamp_min(0), shapes.first[scene] + 2 * axis + positive.long()


def _solve(
    shapes: Shapes, view: View, chosen: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """For each kind of shape: flat pixel, shape and distance of all hits."""
    hits = []
    for kind, solver in _SOLVERS.items():
        members = torch.nonzero((shapes.kind == kind) & chosen)[:, 0]
        view_of, shape_of = _pairs(shapes, view, members)
        if len(shape_of) == 0:
            continue
        views, owner, x, y = _pixels(shapes, view, view_of, shape_of)
        if len(owner) == 0:
            continue
        distance = solver(*_local_rays(shapes, view, view_of, shape_of, views, owner, x, y))
        met = torch.nonzero((distance > NEAR) & (distance < FAR))[:, 0]
        pixel = (view_of[owner[met]] * view.height + y[met]) * view.width + x[met]
        distance = distance[met]
        if kind == SHEET:
            distance = (distance - SHEET_LIFT).clamp_min(NEAR)
        hits.append((pixel, shape_of[owner[met]], distance))
    return hits


def _pairs(shapes: Shapes, view: View, members: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All (view, shape) with both in one scene."""
    together = view.scene[:, None] == shapes.scene[members][None]  # (V, M)
    pairs = torch.nonzero(together)
    return pairs[:, 0], members[pairs[:, 1]]


_LATTICE = torch.tensor([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)], dtype=torch.float32)


def _pixels(
    shapes: Shapes, view: View, view_of: torch.Tensor, shape_of: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Every pixel of every pair's rectangle: view, pair, x, y."""
    wide = torch.where(shapes.kind[shape_of] == FRUSTUM, shapes.extra[shape_of].clamp_min(1.0), 1.0)
    half = shapes.half[shape_of] * torch.stack([wide, wide, torch.ones_like(wide)], 1)
    corners = _LATTICE.to(half.device)[None] * half[:, None]  # (N, 27, 3)
    corners = torch.einsum("nkj,nij->nki", corners, shapes.rotation[shape_of]) + shapes.centre[shape_of][:, None]
    x, y, there = view.project(view_of, corners)
    whole, none = ~there.all(dim=1), ~there.any(dim=1)
    # Where a shape reaches behind the eye its rectangle is unknown: take the whole picture.
    left = torch.where(whole, -1.0, x.amin(1) - 1).clamp(0, view.width).floor().long()
    right = torch.where(whole, 1e6, x.amax(1) + 2).clamp(0, view.width).ceil().long()
    top = torch.where(whole, -1.0, y.amin(1) - 1).clamp(0, view.height).floor().long()
    bottom = torch.where(whole, 1e6, y.amax(1) + 2).clamp(0, view.height).ceil().long()
    across = torch.where(none, 0, (right - left).clamp_min(0))
    count = across * (bottom - top).clamp_min(0)
    owner = torch.arange(len(count), device=count.device).repeat_interleave(count)
    start = count.cumsum(0) - count
    place = torch.arange(len(owner), device=count.device) - start[owner]
    row = torch.div(place, across[owner], rounding_mode="floor")
    return view_of[owner], owner, left[owner] + place - row * across[owner], top[owner] + row


Ray = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def _local_rays(
    shapes: Shapes, view: View, view_of: torch.Tensor, shape_of: torch.Tensor, views: torch.Tensor,
    owner: torch.Tensor, x: torch.Tensor, y: torch.Tensor,
) -> Ray:  # fmt: skip
    """Origin and direction of each ray in its shape's own axes, both ``(3, N)``, half sizes and extra."""
    turn = shapes.rotation[shape_of]
    start = torch.einsum("ni,nij->nj", view.place[view_of] - shapes.centre[shape_of], turn)
    table = torch.cat([start, shapes.half[shape_of], shapes.extra[shape_of][:, None], turn.reshape(-1, 9)], 1)
    row = table.T.contiguous()[:, owner]  # (16, N)
    way = view.directions(views, x.float(), y.float()).T
    local = torch.stack([row[7 + j] * way[0] + row[10 + j] * way[1] + row[13 + j] * way[2] for j in range(3)])
    return row[0:3], local, row[3:6], row[6]


def _safe(way: torch.Tensor) -> torch.Tensor:
    return torch.where(way.abs() < 1e-8, 1e-8, way)


def _slab(start: torch.Tensor, way: torch.Tensor, half: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    inverse = 1 / _safe(way)
    middle, reach = -start * inverse, (half * inverse).abs()
    return (middle - reach).amax(0), (middle + reach).amin(0)


def _box(start: torch.Tensor, way: torch.Tensor, half: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
    enter, leave = _slab(start, way, half)
    return torch.where(enter < leave, enter, FAR)


def _round(start: torch.Tensor, way: torch.Tensor, half: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
    """March to a box with rounded edges from where the ray enters the sharp box; only the rays that enter it."""
    enter, leave = _slab(start, way, half)
    out = torch.full_like(enter, FAR)
    chosen = torch.nonzero((enter < leave) & (leave > NEAR))[:, 0]
    start, way, inner, radius = start[:, chosen], way[:, chosen], (half - extra)[:, chosen], extra[chosen]
    distance, leave = enter[chosen].clamp_min(0), leave[chosen]
    pace = way.norm(dim=0)
    gap = torch.zeros_like(distance)
    for _ in range(MARCH):
        beyond = (start + way * distance).abs() - inner
        gap = beyond.clamp_min(0).norm(dim=0) + beyond.amax(0).clamp_max(0) - radius
        distance = distance + gap / pace
    out[chosen] = torch.where((gap < 0.004) & (distance < leave + 1e-3), distance, FAR)
    return out


def _frustum(start: torch.Tensor, way: torch.Tensor, half: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
    """Cylinders and cones about z: bottom radius 1 and top radius ``extra`` in units of the half sizes."""
    o, q = start / half, _safe(way / half)
    mean, slope = (1 + extra) / 2, (extra - 1) / 2
    at = mean + slope * o[2]
    a = q[0] ** 2 + q[1] ** 2 - (slope * q[2]) ** 2
    b = o[0] * q[0] + o[1] * q[1] - slope * q[2] * at
    c = o[0] ** 2 + o[1] ** 2 - at**2
    a = _safe(a)
    root = b * b - a * c
    spread = root.clamp_min(0).sqrt()
    best = torch.full_like(b, FAR)
    for sign in (-1, 1):
        t = (-b + sign * spread) / a
        z = o[2] + q[2] * t
        good = (root > 0) & (t > NEAR) & (z.abs() <= 1) & (mean + slope * z >= 0)
        best = torch.where(good, torch.minimum(best, t), best)
    for z, radius in ((-1.0, mean - slope), (1.0, mean + slope)):
        t = (z - o[2]) / q[2]
        inside = (o[0] + q[0] * t) ** 2 + (o[1] + q[1] * t) ** 2 <= radius**2
        best = torch.where(inside & (t > NEAR), torch.minimum(best, t), best)
    return best


def _ball(start: torch.Tensor, way: torch.Tensor, half: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
    o, q = start / half, way / half
    a, b, c = (q * q).sum(0), (o * q).sum(0), (o * o).sum(0) - 1
    root = b * b - a * c
    return torch.where(root > 0, (-b - root.clamp_min(0).sqrt()) / a, FAR)


def _sheet(start: torch.Tensor, way: torch.Tensor, half: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
    """A rectangle in the plane y = 0, seen from +y."""
    t = -start[1] / _safe(way[1])
    inside = ((start[0] + way[0] * t).abs() <= half[0]) & ((start[2] + way[2] * t).abs() <= half[2])
    return torch.where(inside & (start[1] > 0), t, FAR)


_SOLVERS = {BOX: _box, ROUND: _round, FRUSTUM: _frustum, BALL: _ball, SHEET: _sheet}


@dataclass
class Surface:
    """Where rays ended, flat over ``N`` samples.

    Attributes:
        point: ``(N, 3)`` in the room's frame.
        normal: ``(N, 3)``, unit, towards the eye.
        shape: ``(N,)``.
        uv: ``(4, N)``: metres from the face's middle, twice, and the same over the half sizes.
    """

    point: torch.Tensor
    normal: torch.Tensor
    shape: torch.Tensor
    uv: torch.Tensor


def surface(shapes: Shapes, point: torch.Tensor, shape: torch.Tensor, *, textured: bool = True) -> Surface:
    """Normal and place on the texture at points ``(N, 3)`` on known shapes ``(N,)``."""
    kind, half = shapes.kind[shape], shapes.half[shape]
    turn = shapes.rotation[shape]
    local = torch.einsum("ni,nij->nj", point - shapes.centre[shape], turn)
    normal = _normals(kind, local, half, shapes.extra[shape])
    side = kind < 0
    number = (shape - shapes.first[shapes.scene[shape]]).clamp(0, SIDES - 1)
    inward = torch.tensor(_INWARD, device=point.device)[number]
    normal = torch.where(side[:, None], inward, normal)
    uv = _place_on_face(kind, local, half, normal) if textured else local.new_zeros(4, 0)
    world = torch.where(side[:, None], normal, torch.einsum("nj,nij->ni", normal, turn))
    return Surface(point, world, shape, uv)


_INWARD = ((1.0, 0, 0), (-1.0, 0, 0), (0, 1.0, 0), (0, -1.0, 0), (0, 0, 1.0), (0, 0, -1.0))


def _normals(kind: torch.Tensor, local: torch.Tensor, half: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
    """Outward normals in the shapes' own axes, ``(N, 3)``."""
    scaled = local / half.clamp_min(1e-6)
    sign = torch.where(local < 0, -1.0, 1.0)
    face = torch.nn.functional.one_hot(scaled.abs().argmax(1), 3).to(local.dtype) * sign
    beyond = (local.abs() - (half - extra[:, None])).clamp_min(0) * sign
    rounded = torch.where(beyond.norm(dim=1, keepdim=True) > 1e-6, beyond, face)
    slope = (extra - 1) / 2
    radius = (1 + extra) / 2 + slope * scaled[:, 2]
    cone = torch.stack([scaled[:, 0] / half[:, 0], scaled[:, 1] / half[:, 1], -slope * radius / half[:, 2]], 1)
    cap = torch.stack([torch.zeros_like(slope), torch.zeros_like(slope), sign[:, 2]], 1)
    on_cap = (scaled[:, 2].abs() > 0.9995) & (scaled[:, 0] ** 2 + scaled[:, 1] ** 2 < 0.9985 * radius**2)
    cone = torch.where(on_cap[:, None], cap, cone)
    ball = scaled / half.clamp_min(1e-6)
    up = torch.tensor([0.0, 1.0, 0.0], device=local.device).expand_as(local)
    normal = face
    for number, other in ((ROUND, rounded), (FRUSTUM, cone), (BALL, ball), (SHEET, up)):
        normal = torch.where((kind == number)[:, None], other, normal)
    return torch.nn.functional.normalize(normal, dim=1)


def _place_on_face(
    kind: torch.Tensor, local: torch.Tensor, half: torch.Tensor, normal: torch.Tensor
) -> torch.Tensor:
    """Texture places ``(4, N)``: along the longer side of flat furniture first, so that wood grain follows it."""
    axis = normal.abs().argmax(1)
    first = torch.where(axis == 0, 1, 0)
    second = torch.where(axis == 2, 1, 2)
    pick = lambda values, at: torch.gather(values, 1, at[:, None])[:, 0]  # noqa: E731 - two uses, one line
    u, v, hu, hv = pick(local, first), pick(local, second), pick(half, first), pick(half, second)
    swap = (kind == BOX) & (hv > hu)
    u, v, hu, hv = torch.where(swap, v, u), torch.where(swap, u, v), torch.where(swap, hv, hu), torch.where(swap, hu, hv)
    turned = (kind == FRUSTUM) & (axis != 2)
    u = torch.where(turned, torch.atan2(local[:, 1], local[:, 0]) * half[:, 0], u)
    return torch.stack([u, v, u / hu.clamp_min(1e-4), v / hv.clamp_min(1e-4)])
