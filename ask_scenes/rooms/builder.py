"""Placing furniture in a room: against a wall, on the floor, on top of something, without collisions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.furniture.design import Bounds, Design
from ask_scenes.rooms.materials import Palette
from ask_scenes.rooms.parts import Part, Vector, moved

KEY, DISTRACTOR, FIXTURE = "key", "distractor", "fixture"
THIN = 0.015
CLEAR = 1.7  # metres
WALL_YAWS = {"back": math.pi, "front": 0.0, "left": -math.pi / 2, "right": math.pi / 2}


@dataclass(frozen=True)
class Camera:
    """Where the picture is taken from.

    Attributes:
        place: Metres, in the room's frame: x right, y away from the wall behind the camera, z up, origin on the
            floor in the room's middle.
        yaw: Radians, 0 looks along +y, positive turns left.
        pitch: Radians, negative looks down.
        roll: Radians.
        fov: Horizontal field of view, radians.
    """

    place: Vector
    yaw: float
    pitch: float
    roll: float
    fov: float

    def sees(self, point: Vector, margin: float = 0.85) -> bool:
        """Whether a point lies in the middle part of the field of view, walls and furniture aside."""
        dx, dy = point[0] - self.place[0], point[1] - self.place[1]
        ahead = -math.sin(self.yaw) * dx + math.cos(self.yaw) * dy
        aside = math.cos(self.yaw) * dx + math.sin(self.yaw) * dy
        if ahead < 0.7 or abs(aside) > margin * math.tan(self.fov / 2) * ahead:
            return False
        slope = math.atan2(point[2] - self.place[2], ahead) - self.pitch
        return abs(slope) < margin * math.atan(0.75 * math.tan(self.fov / 2))


@dataclass(frozen=True)
class Thing:
    """A placed piece of furniture.

    Attributes:
        design: What it is.
        role: ``key`` (tells the class), ``distractor`` or ``fixture`` (belongs to the building).
        place: Where its origin lies in the room.
        yaw: Its turn about the vertical.
        parts: Its parts in the room's frame.
        bounds: Its axis-parallel bounds: low x, y, z, high x, y, z.
        parent: Number of the thing on which it stands; -1 for the room itself.
    """

    design: Design
    role: str
    place: Vector
    yaw: float
    parts: tuple[Part, ...]
    bounds: Bounds
    parent: int = -1

    def at(self, x: float, y: float, z: float = 0.0) -> Vector:
        """A place in the thing's own frame, in the room's."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return self.place[0] + c * x - s * y, self.place[1] + s * x + c * y, self.place[2] + z

    @property
    def middle(self) -> Vector:
        """The middle of its bounds."""
        b = self.bounds
        return (b[0] + b[3]) / 2, (b[1] + b[4]) / 2, (b[2] + b[5]) / 2


def _moved_bounds(bounds: Bounds, place: Vector, yaw: float) -> Bounds:
    """Bounds of turned bounds; prints on walls get a thickness, so that no two of them share a place."""
    c, s = math.cos(yaw), math.sin(yaw)
    x, y, hx, hy = (
        (bounds[0] + bounds[3]) / 2,
        (bounds[1] + bounds[4]) / 2,
        bounds[3] - bounds[0],
        bounds[4] - bounds[1],
    )
    mx, my = place[0] + c * x - s * y, place[1] + s * x + c * y
    rx, ry = (abs(c) * hx + abs(s) * hy) / 2 + THIN, (abs(s) * hx + abs(c) * hy) / 2 + THIN
    return mx - rx, my - ry, place[2] + bounds[2], mx + rx, my + ry, place[2] + bounds[5]


def overlap(first: Bounds, second: Bounds, slack: float) -> bool:
    """Whether two bounds meet by more than ``slack`` metres on every axis."""
    return (
        first[0] + slack < second[3] and second[0] + slack < first[3]
        and first[1] + slack < second[4] and second[1] + slack < first[4]
        and first[2] + slack < second[5] and second[2] + slack < first[5]
    )  # fmt: skip


class Builder:
    """A room under construction.

    Args:
        size: Width (x), depth (y) and height, metres.
        camera: Fixed before any furniture, so that it tells nothing of the class.
        draws: The stream for places.
        palette: The room's materials.
    """

    def __init__(self, size: Vector, camera: Camera, draws: Draws, palette: Palette) -> None:
        self.size, self.camera, self.draws, self.palette = size, camera, draws, palette
        self.things: list[Thing] = []
        x, y, _ = camera.place
        ahead = (x - 0.55 * math.sin(camera.yaw), y + 0.55 * math.cos(camera.yaw))
        self._kept_free: list[Bounds] = [
            (x - 0.4, y - 0.4, 0.0, x + 0.4, y + 0.4, 3.0),
            (ahead[0] - 0.45, ahead[1] - 0.45, 0.5, ahead[0] + 0.45, ahead[1] + 0.45, 3.0),
        ]

    def put(
        self, made: Design, role: str, place: Vector, yaw: float, *, slack: float = 0.01, parent: int = -1
    ) -> Thing | None:
        """Place a design if it fits in the room and meets nothing.

        Args:
            made: The design.
            role: ``key``, ``distractor`` or ``fixture``.
            place: Where its origin goes.
            yaw: Its turn.
            slack: Overlap that is allowed, metres; tucked-in chairs need some.
            parent: Number of the thing that carries it.

        Returns:
            The placed thing, or None if it does not fit.
        """
        bounds = _moved_bounds(made.bounds, place, yaw)
        if not self._inside(bounds) or (parent < 0 and self._meets(bounds, slack)):
            return None
        parts = tuple(moved(part, place, yaw) for part in made.parts)
        thing = Thing(made, role, place, yaw, parts, bounds, parent)
        self.things.append(thing)
        return thing

    def wall(
        self, made: Design, role: str = KEY, *, tries: int = 50, near: Thing | None = None, seen: bool | None = None
    ) -> Thing | None:
        """Place a design with its back to a wall.

        Args:
            made: The design.
            role: Its role.
            tries: How often to try before giving up.
            near: Keep to this thing's wall, above it.
            seen: Whether its middle must lie in the field of view; by default for key objects.
        """
        seen = role == KEY if seen is None else seen
        for _ in range(tries):
            name = self.draws.choice(("back", "left", "right", "front"), (0.45, 0.25, 0.25, 0.0 if seen else 0.05))
            place, yaw = self._along(made, name)
            if near is not None:
                yaw = near.yaw
                place = near.at(self.draws.between(-0.1, 0.1), (made.depth - near.design.depth) / 2)
            if seen and not self._in_view(made, place):
                continue
            thing = self.put(made, role, place, yaw)
            if thing is not None:
                return thing
        return None

    def row(self, designs: list[Design], role: str = KEY, tries: int = 40, *, shorten: bool = True) -> list[Thing]:
        """Place designs side by side along one wall, in the given order.

        Args:
            designs: What, from left to right as seen from the wall.
            role: Their role.
            tries: How often to try each length.
            shorten: Drop from the end what does not fit; otherwise it is all or nothing.
        """
        for count in range(len(designs), 0 if shorten else len(designs) - 1, -1):
            for _ in range(tries):
                placed = self._try_row(designs[:count], role)
                if placed:
                    return placed
        return []

    def floor(self, made: Design, role: str = KEY, *, yaw: float | None = None, tries: int = 50) -> Thing | None:
        """Place a design freely on the floor, turned to a quarter and a little more unless ``yaw`` is given."""
        w, d, _ = self.size
        for _ in range(tries):
            turn = self.draws.integer(0, 3) * math.pi / 2 + self.draws.normal(0.12) if yaw is None else yaw
            margin = 0.3 + 0.3 * min(made.width, made.depth)
            x = self.draws.between(-w / 2 + margin, w / 2 - margin)
            y = self.draws.between(-d / 2 + margin, d / 2 - margin)
            if role == KEY and not (self._in_view(made, (x, y, 0.0)) and self._clear_of_camera(x, y)):
                continue
            thing = self.put(made, role, (x, y, 0.0), turn)
            if thing is not None:
                return thing
        return None

    def on(
        self, base: Thing | None, made: Design, x: float = 0.0, y: float = 0.0, turn: float = 0.0, *, role: str = KEY
    ) -> Thing | None:
        """Stand a design on another thing's top, in that thing's frame."""
        if base is None:
            return None
        place = base.at(x, y, base.design.height)
        return self.put(made, role, place, base.yaw + turn, parent=self.things.index(base))

    def behind(self, base: Thing | None, made: Design, *, role: str = KEY) -> Thing | None:
        """Put a flat design on the wall behind another thing; what the two share of the wall is no collision."""
        if base is None:
            return None
        place = base.at(0.0, (made.depth - base.design.depth) / 2)
        bounds = _moved_bounds(made.bounds, place, base.yaw)
        others = [t.bounds for t in self.things if t is not base and t.parent < 0 and t.design.category != "rug"]
        if any(overlap(bounds, other, 0.01) for other in others):
            return None
        return self.put(made, role, place, base.yaw, parent=self.things.index(base))

    def by(
        self, base: Thing | None, made: Design, x: float, y: float, turn: float = 0.0, *, role: str = KEY,
        slack: float = 0.05,
    ) -> Thing | None:  # fmt: skip
        """Place a design on the floor beside another thing, in that thing's frame."""
        if base is None:
            return None
        place = base.at(x, y)
        return self.put(made, role, (place[0], place[1], 0.0), base.yaw + turn, slack=slack)

    def _along(self, made: Design, name: str) -> tuple[Vector, float]:
        w, d, _ = self.size
        length = w if name in ("back", "front") else d
        room = max(length / 2 - made.width / 2 - 0.02, 0.0)
        along, off = self.draws.between(-room, room), made.depth / 2 + 0.005
        places = {
            "back": (along, d / 2 - off), "front": (along, -d / 2 + off),
            "left": (-w / 2 + off, along), "right": (w / 2 - off, along),
        }  # fmt: skip
        return (*places[name], 0.0), WALL_YAWS[name]

    def _try_row(self, designs: list[Design], role: str) -> list[Thing]:
        total = sum(made.width for made in designs)
        name = self.draws.choice(("back", "left", "right"), (0.5, 0.25, 0.25))
        if total > (self.size[0] if name == "back" else self.size[1]) - 0.05:
            return []
        whole = Design("row", (), total, max(made.depth for made in designs), 1.0)
        centre, yaw = self._along(whole, name)
        placed, before, x = [], len(self.things), -total / 2
        c, s = math.cos(yaw), math.sin(yaw)
        for made in designs:
            x += made.width / 2
            back = -whole.depth / 2 + made.depth / 2
            place = (centre[0] + c * x - s * back, centre[1] + s * x + c * back, 0.0)
            thing = self.put(made, role, place, yaw) if self._in_view(made, place, 1.0) else None
            if thing is None:
                del self.things[before:]
                return []
            placed.append(thing)
            x += made.width / 2
        return placed

    def _in_view(self, made: Design, place: Vector, margin: float = 0.85) -> bool:
        height = min(max(made.height * 0.6, 0.3), 1.6)
        return self.camera.sees((place[0], place[1], place[2] + height), margin)

    def _clear_of_camera(self, x: float, y: float) -> bool:
        """Far enough not to fill the picture: near things would tell a class by the mean depth alone."""
        return math.hypot(x - self.camera.place[0], y - self.camera.place[1]) > CLEAR

    def _inside(self, bounds: Bounds) -> bool:
        w, d, h = (self.size[0] / 2 + 2 * THIN, self.size[1] / 2 + 2 * THIN, self.size[2])
        sides = bounds[0] >= -w and bounds[3] <= w and bounds[1] >= -d and bounds[4] <= d
        return sides and bounds[5] <= h

    def _meets(self, bounds: Bounds, slack: float) -> bool:
        for thing in self.things:
            if overlap(bounds, thing.bounds, slack) and thing.parent < 0 and thing.design.category != "rug":
                return True
        return any(overlap(bounds, free, 0.0) for free in self._kept_free)
