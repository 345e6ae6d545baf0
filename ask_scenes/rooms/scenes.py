"""What stands in each class of room. One function a class; all place key objects only.

Room, light, camera, windows, doors and distractors are laid out before the label is looked at (``layout.py``), so
nothing but these functions can tell one class from another.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ask_scenes.rooms.builder import Builder, Thing
from ask_scenes.rooms.furniture import living, seating, storage, tables, wet
from ask_scenes.rooms.furniture.design import Design, Maker

LABELS: tuple[str, ...] = (
    "bathroom", "bedroom", "bookstore", "classroom", "dining_room", "home_office", "kitchen", "living_room",
    "office", "others",
)  # fmt: skip

OTHER_ROOMS: tuple[str, ...] = ("laundry", "gym", "storage", "nursery", "hallway")


def furnish(builder: Builder, label: str) -> str:
    """Place the key objects of a class; returns the kind of room (for ``others`` one of ``OTHER_ROOMS``)."""
    kind = builder.draws.choice(OTHER_ROOMS) if label == "others" else label
    _ROOMS[kind](builder)
    return kind


def _make(b: Builder, maker: Maker) -> Design:
    return maker(b.draws, b.palette)


def _some(b: Builder, makers: list[tuple[Maker, float]], place: str = "wall") -> list[Thing]:
    """Each design with its probability, in random order, along the walls or on the floor."""
    placed = []
    for maker, probability in b.draws.shuffled(makers):
        if b.draws.chance(probability):
            made = _make(b, maker)
            thing = b.wall(made) if place == "wall" else b.floor(made)
            if thing is not None:
                placed.append(thing)
    return placed


def _bathroom(b: Builder) -> None:
    if b.draws.chance(0.85):
        place = b.wall(_make(b, wet.basin))
        if place is not None and b.draws.chance(0.85):
            b.wall(_make(b, living.mirror), near=place)
    big = wet.bathtub if b.draws.chance(0.55) else wet.shower
    placed = _some(b, [(big, 0.8), (wet.toilet, 0.85), (wet.towel_rail, 0.6), (wet.shower, 0.2)])
    for thing in placed:
        if thing.design.category in ("bathtub", "toilet", "shower") and b.draws.chance(0.8):
            width = thing.design.width * b.draws.between(1.0, 1.3)
            b.behind(thing, wet.splashback(b.draws, b.palette, width, 0.0, b.draws.between(1.2, 2.0)))


def _bedroom(b: Builder) -> None:
    bed = b.wall(_make(b, seating.bed), tries=80)
    if bed is not None:
        for side in (-1, 1):
            if b.draws.chance(0.65):
                made = _make(b, storage.nightstand)
                x = side * (bed.design.width / 2 + made.width / 2 + 0.08)
                b.by(bed, made, x, (made.depth - bed.design.depth) / 2)
    _some(b, [(storage.wardrobe, 0.65), (storage.dresser, 0.5)])


def _bookstore(b: Builder) -> None:
    b.row([_make(b, storage.bookcase) for _ in range(b.draws.integer(1, 2))])
    for _ in range(b.draws.integer(0, 1)):
        b.wall(_make(b, storage.bookcase))
    aisle = b.draws.choice((0.0, math.pi / 2, math.pi, -math.pi / 2))
    if b.draws.chance(0.35):
        b.floor(_make(b, storage.low_bookcase), yaw=aisle)
    _some(b, [(storage.book_table, 0.6), (storage.book_rack, 0.5)], "floor")
    _some(b, [(storage.till, 0.4)], "floor")


def _classroom(b: Builder) -> None:
    if b.draws.chance(0.85):
        b.wall(_make(b, living.board), tries=40)
    if b.draws.chance(0.75):
        b.wall(_make(b, living.wall_map), tries=40)
    deep = b.size[1]
    facing = b.draws.choice((0.0, math.pi, math.pi / 2, -math.pi / 2), (0.15, 0.5, 0.2, 0.15))
    desk, seat = _make(b, tables.pupil_desk), _make(b, seating.chair)
    columns, rows = b.draws.integer(2, 4), b.draws.integer(2, 3)
    dx, dy = b.draws.between(0.95, 1.25), b.draws.between(1.05, 1.3)
    ox, oy = b.draws.normal(0.25), b.draws.between(-0.2, 0.5) * deep / 5
    c, s = math.cos(facing), math.sin(facing)
    for i in range(columns):
        for j in range(rows):
            x, y = (i - (columns - 1) / 2) * dx, (j - (rows - 1) / 2) * dy
            place = (ox + c * x - s * y, oy + s * x + c * y, 0.0)
            placed = b.put(desk, "key", place, facing) if b.draws.chance(0.9) else None
            if placed is not None and b.draws.chance(0.85):
                b.by(placed, seat, 0.0, 0.36, math.pi + b.draws.normal(0.12), slack=0.3)
    _some(b, [(tables.lectern, 0.6)], "floor")


def _dining_room(b: Builder) -> None:
    made = _make(b, tables.dining_table)
    table = b.floor(made, tries=60) or b.floor(_make(b, tables.dining_table), tries=60)
    if table is not None:
        _chairs_around(b, table)
        if b.draws.chance(0.65):
            long, deep = b.draws.between(0.6, 0.97), b.draws.between(0.4, 0.95)
            if table.design.width == table.design.depth:
                long = deep = 0.68  # a square within a round top
            width, depth = long * table.design.width, deep * table.design.depth
            b.on(table, tables.tablecloth(b.draws, b.palette, width, depth))
        _lay(b, table)
    _some(b, [(storage.sideboard, 0.75)])


def _seats(table: Thing) -> list[tuple[float, float, float]]:
    """Places around a table and the turns of the chairs there, in the table's frame."""
    w, d = table.design.width, table.design.depth
    if w == d:
        turns = [i * math.pi / 2 for i in range(4)]
        return [(-math.sin(t) * w / 2, math.cos(t) * w / 2, t) for t in turns]
    along = [-w / 4, w / 4] if w < 1.6 else [-w / 3, 0.0, w / 3]
    sides = [(x, side * d / 2, 0.0 if side > 0 else math.pi) for x in along for side in (-1, 1)]
    return [*sides, (w / 2, 0.0, -math.pi / 2), (-w / 2, 0.0, math.pi / 2)]


def _chairs_around(b: Builder, table: Thing) -> None:
    seat = _make(b, seating.chair)
    for x, y, turn in _seats(table):
        if b.draws.chance(0.85):
            out = b.draws.between(0.05, 0.22)
            b.by(table, seat, x - math.sin(turn) * out, y + math.cos(turn) * out, turn + math.pi, slack=0.4)


def _lay(b: Builder, table: Thing) -> None:
    if not b.draws.chance(0.7):
        return
    made = _make(b, tables.tableware)
    for x, y, turn in _seats(table):
        if b.draws.chance(0.85):
            b.on(table, made, x + math.sin(turn) * 0.2, y - math.cos(turn) * 0.2, turn + math.pi)


def _desk_place(b: Builder, desk: Thing | None, computer: float = 0.85) -> None:
    if desk is None:
        return
    if b.draws.chance(computer):
        b.on(desk, _make(b, tables.computer), b.draws.between(-0.2, 0.2), -0.02)
    if b.draws.chance(0.45):
        side = b.draws.choice((-1, 1))
        b.on(desk, _make(b, tables.desk_lamp), side * (desk.design.width / 2 - 0.15), -0.12)
    if b.draws.chance(0.75):
        b.by(desk, _make(b, seating.swivel_chair), 0.0, 0.55, math.pi + b.draws.normal(0.5), slack=0.45)


def _home_office(b: Builder) -> None:
    desk = b.wall(_make(b, tables.desk), tries=60)
    _desk_place(b, desk, 0.95)
    if desk is not None and b.draws.chance(0.75):
        b.wall(_make(b, living.pinboard), near=desk)
    _some(b, [(storage.bookcase, 0.7), (seating.armchair, 0.5)])


def _kitchen(b: Builder) -> None:
    fridge = [_make(b, wet.fridge)] if b.draws.chance(0.7) else []
    width = b.draws.between(1.1, 1.8)
    middle = [wet.counter(b.draws, b.palette, width), _make(b, wet.stove)]
    if b.draws.chance(0.5):
        middle.reverse()
    row = b.row(fridge + middle if b.draws.chance(0.5) else middle + fridge, shorten=False)
    if not row:
        # No wall is free for all of them: the worktop and the stove together if they can, the rest where there is room.
        row = b.row(middle, shorten=False)
        left = fridge if row else [*sorted(middle, key=lambda made: made.category), *fridge]
        row += [thing for made in left if (thing := b.wall(made, tries=60)) is not None]
    for thing in row:
        if thing.design.category in ("counter", "stove") and b.draws.chance(0.8):
            b.behind(thing, wet.splashback(b.draws, b.palette, thing.design.width, 0.92, 1.42))
        if thing.design.category == "counter" and b.draws.chance(0.75):
            b.wall(wet.wall_cabinet(b.draws, b.palette, width * b.draws.between(0.6, 0.95)), near=thing)
        if thing.design.category == "stove" and b.draws.chance(0.75):
            b.wall(_make(b, wet.hood), near=thing)


def _living_room(b: Builder) -> None:
    made = _make(b, seating.sofa)
    sofa = b.wall(made) if b.draws.chance(0.6) else b.floor(made)
    if sofa is not None and b.draws.chance(0.75):
        b.by(sofa, _make(b, tables.coffee_table), 0.0, sofa.design.depth / 2 + b.draws.between(0.5, 0.7))
    _some(b, [(living.television, 0.7), (living.fireplace, 0.3)])
    _some(b, [(seating.armchair, 0.6)], "floor")


def _office(b: Builder) -> None:
    if b.draws.chance(0.5):
        _cluster(b)
    for _ in range(b.draws.integer(1, 3)):
        _desk_place(b, b.wall(_make(b, tables.desk)), 0.9)
    _some(b, [(storage.filing_cabinet, 0.7), (storage.filing_cabinet, 0.4), (living.copier, 0.55)])
    _some(b, [(living.partition, 0.4)], "floor")


def _cluster(b: Builder) -> None:
    """Two desks face to face with a screen between them."""
    first = b.floor(_make(b, tables.desk), tries=40)
    if first is None:
        return
    back = _make(b, tables.desk)
    second = b.by(first, back, 0.0, -(first.design.depth + back.depth) / 2 - 0.08, math.pi)
    if second is not None and b.draws.chance(0.7):
        b.by(first, _make(b, living.partition), 0.0, -first.design.depth / 2 - 0.04, slack=0.5)
    for desk in (first, second):
        _desk_place(b, desk, 0.9)


def _laundry(b: Builder) -> None:
    b.row([_make(b, wet.washer) for _ in range(b.draws.integer(1, 3))])
    _some(b, [(tables.ironing_board, 0.75), (wet.drying_rack, 0.75)], "floor")


def _gym(b: Builder) -> None:
    _some(b, [(living.treadmill, 0.85), (seating.weight_bench, 0.75), (seating.gym_ball, 0.6)], "floor")
    _some(b, [(living.dumbbells, 0.75), (living.wide_mirror, 0.7)])


def _storage(b: Builder) -> None:
    _some(b, [(storage.metal_rack, 0.85), (storage.metal_rack, 0.6), (living.ladder, 0.6)])
    _some(b, [(storage.crate_stack, 0.85), (storage.crate_stack, 0.7)], "floor")


def _nursery(b: Builder) -> None:
    _some(b, [(seating.cot, 0.85)])
    _some(b, [(living.play_tent, 0.7), (living.toy_blocks, 0.85)], "floor")


def _hallway(b: Builder) -> None:
    _some(b, [(living.stairs, 0.5), (storage.coat_rack, 0.9), (storage.shoe_rack, 0.85), (storage.coat_rack, 0.3)])


_ROOMS: dict[str, Callable[[Builder], None]] = {
    "bathroom": _bathroom, "bedroom": _bedroom, "bookstore": _bookstore, "classroom": _classroom,
    "dining_room": _dining_room, "home_office": _home_office, "kitchen": _kitchen, "living_room": _living_room,
    "office": _office, "laundry": _laundry, "gym": _gym, "storage": _storage, "nursery": _nursery,
    "hallway": _hallway,
}  # fmt: skip
