"""The ray caster: which shape each ray meets first, and where.

Each shape is tried only on the pixels of its own rectangle on the screen. All (shape, pixel) pairs of a batch are
listed flat and solved at once, then each pixel keeps its nearest hit. The same code serves the camera and the
lights' shadow maps: they differ in how pixels and directions go together (``Pinhole``, ``Hemisphere``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import torch

from ask_scenes.rooms.layout import SIDES
from ask_scenes.rooms.pack import Shapes
from ask_scenes.rooms.parts import BALL, BOX, FRUSTUM, ROUND, SHEET

NEAR = 0.05
FAR = 1e4
SHEET_LIFT = 2e-3  # a print wins against the surface that it lies on, metres along the ray
MARCH = 12


class View(Protocol):
    """Eyes, each with its own picture plane: ``V`` views of one or several scenes."""

    scene: torch.Tensor
    place: torch.Tensor
    axes: torch.Tensor
    height: int
    width: int

    def project(self, view: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pixel coordinates ``x, y`` of points ``(N, K, 3)``, and whether each lies where that is defined."""
        ...

    def weights(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | float]:
        """The ray through the middle of pixel ``x, y`` as a mixture of the view's three ``axes``."""
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
        axes: ``(V, 3, 3)`` as columns, scaled so that distance along a ray is depth along the camera's axis.
    """

    scene: torch.Tensor
    place: torch.Tensor
    rotation: torch.Tensor
    focal: torch.Tensor
    height: int
    width: int
    axes: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        per_pixel = 1 / self.focal
        self.axes = self.rotation * torch.stack([per_pixel, per_pixel, torch.ones_like(per_pixel)], 1)[:, None]

    def project(self, view: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See ``View``; points behind the camera are pushed to the picture's border or beyond."""
        local = torch.bmm(points - self.place[view][:, None], self.rotation[view])
        ahead = local[..., 2]
        scale = self.focal[view][:, None] / ahead.clamp_min(NEAR)
        x = local[..., 0] * scale + (self.width / 2 - 0.5)
        y = local[..., 1] * scale + (self.height / 2 - 0.5)
        return x, y, ahead > NEAR

    def weights(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | float]:
        """See ``View``."""
        return x - (self.width / 2 - 0.5), y - (self.height / 2 - 0.5), 1.0


@dataclass
class Hemisphere:
    """Lights: the half space in front of each, by stereographic projection (it keeps circles circles).

    Attributes:
        scene: ``(V,)`` scene of each view.
        place: ``(V, 3)``.
        axes: ``(V, 3, 3)`` as columns, the third along the light's normal.
        height: Of the shadow map.
        width: The same.
    """

    scene: torch.Tensor
    place: torch.Tensor
    axes: torch.Tensor
    height: int
    width: int

    def project(self, view: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See ``View``; poor for what lies behind the light."""
        local = torch.bmm(points - self.place[view][:, None], self.axes[view])
        x, y, z = local.unbind(-1)
        length = (x * x + y * y + z * z).sqrt().clamp_min(1e-6)
        scale = 0.5 * self.width / torch.maximum(length + z, 0.4 * length)
        middle = self.width / 2 - 0.5
        return x * scale + middle, y * scale + middle, z > -0.6 * length

    def weights(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | float]:
        """See ``View``; rays are of unit length."""
        u, v = (x - (self.width / 2 - 0.5)) * (2 / self.width), (y - (self.width / 2 - 0.5)) * (2 / self.width)
        square = u * u + v * v
        across = 2 / (1 + square)
        return u * across, v * across, across - 1


def dot(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Inner products of vectors stored ``(3, N)``; a loop over N in memory order, unlike a sum over an axis."""
    return first[0] * second[0] + first[1] * second[1] + first[2] * second[2]


def longest(vectors: torch.Tensor) -> torch.Tensor:
    """Axis of the largest component of vectors ``(3, N)``; several times faster than ``argmax``."""
    x, y, z = vectors.abs()
    return torch.where((x >= y) & (x >= z), 0, torch.where(y >= z, 1, 2))


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors ``(3, N)`` scaled to length one."""
    return vectors * dot(vectors, vectors).clamp_min(1e-12).rsqrt()


def turned(matrices: torch.Tensor, vectors: torch.Tensor, *, back: bool = False) -> torch.Tensor:
    """Vectors ``(3, N)`` through matrices ``(9, N)`` stored by rows, or through their transposes."""
    m = matrices.reshape(3, 3, -1)
    return torch.stack([dot(m[:, i] if back else m[i], vectors) for i in range(3)])


def rays(view: View, which: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Directions ``(3, N)`` through pixels ``x, y`` of views ``which``."""
    p, q, r = view.weights(x.float(), y.float())
    axes = columns(view.axes.reshape(-1, 9), which)
    return torch.stack([axes[i] * p + axes[i + 1] * q + axes[i + 2] * r for i in (0, 3, 6)])


def columns(table: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """Rows of a table as columns ``(C, N)``; a single row is broadcast, which spares the copy."""
    return table.T if len(table) == 1 else table.T.contiguous().index_select(1, which)


def pixel_grid(view: View) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """View, x and y of every pixel of every view, flat."""
    device, pixels = view.place.device, view.height * view.width
    flat = torch.arange(pixels, device=device)
    count = len(view.scene)
    which = torch.arange(count, device=device).repeat_interleave(pixels)
    return which, (flat % view.width).repeat(count), (flat // view.width).repeat(count)


def _grid_of(wanted: torch.Tensor, view: View) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """View, x and y of every pixel of the wanted blocks."""
    which, row, column = torch.nonzero(wanted).unbind(1)
    within_x, within_y, count = _within(len(which), view.height // wanted.shape[1], wanted.device)
    which, row, column = (v.repeat_interleave(count**2) for v in (which, row, column))
    return which, column * count + within_x, row * count + within_y


def _within(blocks: int, side: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Column and row of each pixel in its block, block after block, and the block's side."""
    flat = torch.arange(side**2, device=device)
    return (flat % side).repeat(blocks), (flat // side).repeat(blocks), side


@dataclass
class Hits:
    """What each pixel's ray meets.

    Attributes:
        distance: ``(V, H, W)``, along the view's own ray directions.
        shape: ``(V, H, W)``, index into the shapes.
    """

    distance: torch.Tensor
    shape: torch.Tensor


def cast(shapes: Shapes, view: View, wanted: torch.Tensor | None = None) -> Hits:
    """The nearest shape of every pixel.

    Args:
        shapes: The batch.
        view: The eyes.
        wanted: ``(V, H / n, W / n)`` bool, the blocks of ``n`` by ``n`` pixels to solve; all by default. Elsewhere
            the answer means nothing.

    Returns:
        Distance and shape of each pixel; no pixel is without, since rooms are closed.
    """
    which, x, y = pixel_grid(view) if wanted is None else _grid_of(wanted, view)
    nearest = _packed(*_room(shapes, view, which, rays(view, which, x, y)))
    if wanted is not None:
        place = (which * view.height + y) * view.width + x
        nearest = nearest.new_zeros(len(view.scene) * view.height * view.width).index_copy_(0, place, nearest)
    for pixel, shape, distance in _solve(shapes, view, torch.ones_like(shapes.shadow), wanted):
        nearest.scatter_reduce_(0, pixel, _packed(distance, shape), "amin")
    shape = nearest & 0xFFFFFFFF
    distance = (nearest >> 32).to(torch.int32).view(torch.float32)
    distance = torch.where(shapes.kind[shape] == SHEET, distance + SHEET_LIFT, distance)
    size = (len(view.scene), view.height, view.width)
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


def _room(shapes: Shapes, view: View, which: torch.Tensor, way: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Distance to the sides of the room from inside, and which side."""
    low = shapes.size * torch.tensor([-0.5, -0.5, 0.0], device=way.device)
    high = shapes.size * torch.tensor([0.5, 0.5, 1.0], device=way.device)
    table = torch.cat([low[view.scene], high[view.scene], view.place], 1)  # (V, 9)
    row = columns(table, which)
    positive = way > 0
    steps = (torch.where(positive, row[3:6], row[0:3]) - row[6:9]) / _safe(way)
    distance, axis = torch.where(way.abs() < 1e-8, FAR, steps).min(dim=0)
    up = torch.gather(positive, 0, axis[None])[0]
    first = shapes.first[view.scene][which]
    return distance.clamp_min(0), first + 2 * axis + up.long()


def _solve(
    shapes: Shapes, view: View, chosen: torch.Tensor, wanted: torch.Tensor | None = None
) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """For each kind of shape: flat pixel, shape and distance of all hits."""
    hits = []
    for kind, solver in _SOLVERS.items():
        members = torch.nonzero((shapes.kind == kind) & chosen)[:, 0]
        view_of, shape_of = _pairs(shapes, view, members)
        if len(shape_of) == 0:
            continue
        owner, x, y = _pixels(shapes, view, view_of, shape_of, wanted)
        pixel = (view_of[owner] * view.height + y) * view.width + x
        if len(owner) == 0:
            continue
        distance = solver(*_local_rays(shapes, view, view_of, shape_of, owner, x, y))
        met = torch.nonzero((distance > NEAR) & (distance < FAR))[:, 0]
        distance = distance[met]
        if kind == SHEET:
            distance = (distance - SHEET_LIFT).clamp_min(NEAR)
        hits.append((pixel[met], shape_of[owner[met]], distance))
    return hits


def _pairs(shapes: Shapes, view: View, members: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All (view, shape) with both in one scene."""
    together = view.scene[:, None] == shapes.scene[members][None]  # (V, M)
    pairs = torch.nonzero(together)
    return pairs[:, 0], members[pairs[:, 1]]


_LATTICE = torch.tensor([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)], dtype=torch.float32)


def _pixels(
    shapes: Shapes, view: View, view_of: torch.Tensor, shape_of: torch.Tensor, wanted: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Every pixel of every pair's rectangle that lies in a wanted block: pair, x, y."""
    wide = torch.where(shapes.kind[shape_of] == FRUSTUM, shapes.extra[shape_of].clamp_min(1.0), 1.0)
    half = shapes.half[shape_of] * torch.stack([wide, wide, torch.ones_like(wide)], 1)
    corners = _LATTICE.to(half.device)[None] * half[:, None]  # (N, 27, 3)
    turn = shapes.rotation[shape_of].transpose(1, 2)
    x, y, there = view.project(view_of, torch.bmm(corners, turn) + shapes.centre[shape_of][:, None])
    block = 1 if wanted is None else view.height // wanted.shape[1]
    left = ((x.amin(1) - 1).clamp(0, view.width) / block).floor().long()
    right = ((x.amax(1) + 2).clamp(0, view.width) / block).ceil().long()
    top = ((y.amin(1) - 1).clamp(0, view.height) / block).floor().long()
    bottom = ((y.amax(1) + 2).clamp(0, view.height) / block).ceil().long()
    across = torch.where(there.any(dim=1), (right - left).clamp_min(0), 0)
    count = across * (bottom - top).clamp_min(0)
    owner = torch.arange(len(count), device=count.device).repeat_interleave(count)
    start = count.cumsum(0) - count
    place = torch.arange(len(owner), device=count.device) - start[owner]
    across = across[owner]
    row = torch.div(place, across, rounding_mode="floor")
    column, row = left[owner] + place - row * across, top[owner] + row
    if wanted is None:
        return owner, column, row
    kept = torch.nonzero(wanted[view_of[owner], row, column])[:, 0]
    within_x, within_y, _ = _within(len(kept), block, kept.device)
    owner, column, row = (v[kept].repeat_interleave(block**2) for v in (owner, column, row))
    return owner, column * block + within_x, row * block + within_y


Ray = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def _local_rays(
    shapes: Shapes, view: View, view_of: torch.Tensor, shape_of: torch.Tensor, owner: torch.Tensor, x: torch.Tensor,
    y: torch.Tensor,
) -> Ray:  # fmt: skip
    """Origin and direction of each ray in its shape's own axes, both ``(3, N)``, half sizes and extra."""
    back = shapes.rotation[shape_of].transpose(1, 2)
    away, axes = view.place[view_of] - shapes.centre[shape_of], view.axes[view_of]
    # Sums written out: a matrix product may round differently in a batch than alone.
    start = back[:, :, 0] * away[:, 0:1] + back[:, :, 1] * away[:, 1:2] + back[:, :, 2] * away[:, 2:3]
    turned_axes = torch.stack([back[:, :, k, None] * axes[:, None, k] for k in range(3)]).unbind(0)
    axes = (turned_axes[0] + turned_axes[1] + turned_axes[2]).reshape(-1, 9)
    table = torch.cat([start, shapes.half[shape_of], shapes.extra[shape_of][:, None], axes], 1)
    row = table.T.contiguous().index_select(1, owner)  # (16, N)
    p, q, r = view.weights(x.float(), y.float())
    local = torch.stack([row[i] * p + row[i + 1] * q + row[i + 2] * r for i in (7, 10, 13)])
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
    pace = dot(way, way).sqrt()
    gap = torch.zeros_like(distance)
    for _ in range(MARCH):
        beyond = (start + way * distance).abs() - inner
        outside = beyond.clamp_min(0)
        gap = dot(outside, outside).sqrt() + beyond.amax(0).clamp_max(0) - radius
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
    for end, radius in ((-1.0, mean - slope), (1.0, mean + slope)):
        t = (end - o[2]) / q[2]
        inside = (o[0] + q[0] * t) ** 2 + (o[1] + q[1] * t) ** 2 <= radius**2
        best = torch.where(inside & (t > NEAR), torch.minimum(best, t), best)
    return best


def _ball(start: torch.Tensor, way: torch.Tensor, half: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
    o, q = start / half, way / half
    a, b, c = dot(q, q), dot(o, q), dot(o, o) - 1
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
        point: ``(3, N)`` in the room's frame.
        normal: ``(3, N)``, unit, outward.
        shape: ``(N,)``.
        uv: ``(4, N)``: metres from the face's middle, twice, and the same over the half sizes.
    """

    point: torch.Tensor
    normal: torch.Tensor
    shape: torch.Tensor
    uv: torch.Tensor


def surface(shapes: Shapes, point: torch.Tensor, shape: torch.Tensor) -> Surface:
    """Normals and places on the texture at points ``(3, N)`` on known shapes ``(N,)``."""
    table = torch.cat([shapes.centre, shapes.half, shapes.extra[:, None], shapes.rotation.reshape(-1, 9)], 1)
    row = table.T.contiguous().index_select(1, shape)  # (16, N)
    kind, half = shapes.kind[shape], row[3:6]
    local = turned(row[7:16], point - row[0:3], back=True)
    normal = _normals(kind, local, half, row[6])
    side = kind < 0
    number = (shape - shapes.first[shapes.scene[shape]]).clamp(0, SIDES - 1)
    inward = torch.tensor(_INWARD, device=point.device).T[:, number]
    normal = torch.where(side, inward, normal)
    uv = _place_on_face(kind, local, half, normal)
    return Surface(point, torch.where(side, normal, turned(row[7:16], normal)), shape, uv)


_INWARD = ((1.0, 0, 0), (-1.0, 0, 0), (0, 1.0, 0), (0, -1.0, 0), (0, 0, 1.0), (0, 0, -1.0))


def _normals(kind: torch.Tensor, local: torch.Tensor, half: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
    """Outward normals in the shapes' own axes, ``(3, N)``."""
    scaled = local / half.clamp_min(1e-6)
    sign = torch.where(local < 0, -1.0, 1.0)
    widest = longest(scaled)
    normal = torch.stack([(widest == axis) * sign[axis] for axis in range(3)])
    for number, outward in ((ROUND, _round_normal), (FRUSTUM, _frustum_normal), (BALL, _ball_normal)):
        chosen = torch.nonzero(kind == number)[:, 0]
        if len(chosen):
            normal[:, chosen] = outward(local[:, chosen], half[:, chosen], extra[chosen], normal[:, chosen])
    normal[:, kind == SHEET] = normal.new_tensor([[0.0], [1.0], [0.0]])
    return normal


def _round_normal(local: torch.Tensor, half: torch.Tensor, extra: torch.Tensor, face: torch.Tensor) -> torch.Tensor:
    beyond = (local.abs() - (half - extra)).clamp_min(0) * torch.where(local < 0, -1.0, 1.0)
    return unit(torch.where(dot(beyond, beyond) > 1e-12, beyond, face))


def _frustum_normal(local: torch.Tensor, half: torch.Tensor, extra: torch.Tensor, face: torch.Tensor) -> torch.Tensor:
    x, y, z = local / half
    slope = (extra - 1) / 2
    radius = (1 + extra) / 2 + slope * z
    on_cap = (z.abs() > 0.9995) & (x * x + y * y < 0.9985 * radius**2)
    side = unit(torch.stack([x / half[0], y / half[1], -slope * radius / half[2]]))
    cap = torch.stack([torch.zeros_like(z), torch.zeros_like(z), torch.where(z < 0, -1.0, 1.0)])
    return torch.where(on_cap, cap, side)


def _ball_normal(local: torch.Tensor, half: torch.Tensor, extra: torch.Tensor, face: torch.Tensor) -> torch.Tensor:
    return unit(local / (half * half))


def _place_on_face(kind: torch.Tensor, local: torch.Tensor, half: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
    """Texture places ``(4, N)``: along the longer side of boxes first, so that wood grain follows it."""
    axis = longest(normal)
    u, hu = torch.where(axis == 0, local[1], local[0]), torch.where(axis == 0, half[1], half[0])
    v, hv = torch.where(axis == 2, local[1], local[2]), torch.where(axis == 2, half[1], half[2])
    swap = (kind == BOX) & (hv > hu)
    u, v = torch.where(swap, v, u), torch.where(swap, u, v)
    hu, hv = torch.where(swap, hv, hu), torch.where(swap, hu, hv)
    around = (kind == FRUSTUM) & (axis != 2)
    u = torch.where(around, torch.atan2(local[1], local[0]) * half[0], u)
    return torch.stack([u, v, u / hu.clamp_min(1e-4), v / hv.clamp_min(1e-4)])
