"""Tables, desks and what stands on them."""

from __future__ import annotations

from dataclasses import replace

from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.furniture.design import Design, design, four_legs, fronts
from ask_scenes.rooms.materials import Palette
from ask_scenes.rooms.parts import Part, Rotation, box, cushion, mat, post, rod, sheet, tilted, turn_x, turn_y, turn_z


def _round_table(category: str, r: float, h: float, p: Palette) -> Design:
    top = p.hard()
    parts = [post(0, 0, h - 0.04, r, 0.04, top), post(0, 0, 0.03, 0.07, h - 0.06, top, 0.7)]
    return design(category, [*parts, post(0, 0, 0, r * 0.55, 0.035, top, 0.8)], 2 * r, 2 * r, h)


def _square_table(category: str, w: float, dep: float, h: float, d: Draws, p: Palette) -> Design:
    top = p.hard()
    legs = top if d.chance(0.7) else p.metal()
    parts = four_legs(w - 0.04, dep - 0.04, h - 0.03, d.between(0.05, 0.08), legs, round_=d.chance(0.3))
    parts.append(cushion(0, 0, h - 0.04, w, dep, 0.04, top, 0.012))
    parts += [box(0, s * (dep / 2 - 0.06), h - 0.12, w - 0.12, 0.02, 0.08, legs) for s in (-1, 1)]
    return design(category, parts, w, dep, h)


def side_table(d: Draws, p: Palette) -> Design:
    """A small table, round or square."""
    w, h = d.between(0.4, 0.7), d.between(0.45, 0.75)
    return _round_table("side_table", w / 2, h, p) if d.chance(0.5) else _square_table("side_table", w, w, h, d, p)


def coffee_table(d: Draws, p: Palette) -> Design:
    """A low table with a shelf below, or a round one."""
    w, dep, h = d.between(0.8, 1.15), d.between(0.45, 0.6), d.between(0.36, 0.45)
    if d.chance(0.35):
        return _round_table("coffee_table", w * 0.42, h, p)
    made = _square_table("coffee_table", w, dep, h, d, p)
    shelf = box(0, 0, 0.12, w - 0.1, dep - 0.1, 0.02, made.parts[0].material)
    book = mat(d.between(-0.25, 0.25) * w, 0, h + 0.001, 0.2, 0.26, p.decal("picture"))
    return design("coffee_table", [*made.parts, shelf, book], w, dep, h)


def dining_table(d: Draws, p: Palette) -> Design:
    """A table for four to eight, or a round one for four."""
    h = d.between(0.73, 0.77)
    if d.chance(0.3):
        return _round_table("dining_table", d.between(0.52, 0.65), h, p)
    return _square_table("dining_table", d.between(1.3, 1.95), d.between(0.8, 0.95), h, d, p)


def tablecloth(d: Draws, p: Palette, w: float, dep: float) -> Design:
    """A runner or a cloth on a table; flat."""
    print_ = replace(p.decal(d.choice(("check", "stripe", "damask"))), scale=d.between(0.06, 0.16))
    return design("tablecloth", [mat(0, 0, 0.001, w, dep, print_)], w, dep, 0.001)


def pupil_desk(d: Draws, p: Palette) -> Design:
    """A single school desk with a tray under its top."""
    w, dep, h, metal, top = 0.65, 0.48, 0.73, p.metal(), p.hard()
    parts = four_legs(w - 0.04, dep - 0.04, h - 0.02, 0.035, metal)
    parts += [
        cushion(0, 0, h - 0.025, w, dep, 0.025, top, 0.01),
        box(0, 0.0, h - 0.14, w - 0.1, dep - 0.1, 0.02, metal),
    ]
    parts += [box(0, dep / 2 - 0.03, h - 0.14, w - 0.08, 0.015, 0.12, metal)]
    if d.chance(0.5):
        parts.append(mat(d.between(-0.12, 0.12), 0, h + 0.001, 0.21, 0.29, p.decal("paper")))
    return design("pupil_desk", parts, w, dep, h)


def lectern(d: Draws, p: Palette) -> Design:
    """A speaker's stand with a slanted top."""
    wood, h = p.hard(), d.between(1.0, 1.12)
    parts = [box(0, 0, 0, 0.5, 0.42, 0.06, wood), box(0, 0.02, 0.05, 0.42, 0.3, h - 0.08, wood)]
    parts.append(tilted(cushion(0, 0, h - 0.03, 0.58, 0.46, 0.04, wood, 0.012), turn_x(0.3)))
    return design("lectern", parts, 0.58, 0.46, h)


def desk(d: Draws, p: Palette) -> Design:
    """A writing desk with a chest of drawers on one side."""
    w, dep, h, wood = d.between(1.15, 1.6), d.between(0.6, 0.75), 0.74, p.hard()
    side = d.choice((-1, 1))
    legs = wood if d.chance(0.6) else p.metal()
    parts: list[Part] = [cushion(0, 0, h - 0.035, w, dep, 0.035, wood, 0.012)]
    parts.append(box(-side * (w / 2 - 0.03), 0, 0, 0.04, dep - 0.04, h - 0.03, legs))
    x = side * (w / 2 - 0.22)
    parts.append(box(x, -0.01, 0.05, 0.4, dep - 0.08, h - 0.08, wood))
    parts += [_shifted(part, x) for part in fronts(0.4, dep / 2 - 0.05, 0.07, h - 0.05, 1, 3, wood, p.metal())]
    parts.append(box(0, -dep / 2 + 0.03, 0.3, w - 0.1, 0.02, h - 0.34, legs))
    return design("desk", parts, w, dep, h)


def _shifted(part: Part, x: float) -> Part:
    return replace(part, centre=(part.centre[0] + x, part.centre[1], part.centre[2]))


def computer(d: Draws, p: Palette) -> Design:
    """A screen with keyboard, or a laptop; stands on a desk, screen towards the sitter (+y)."""
    glow, metal = d.between(0.25, 0.9), p.metal()
    shown = p.decal("screen", glow=glow, gloss=0.1)
    if d.chance(0.35):
        lid = [box(0, -0.12, 0.01, 0.36, 0.012, 0.24, metal), sheet(0, -0.113, 0.13, 0.33, 0.2, shown)]
        base = [cushion(0, 0.0, 0, 0.36, 0.25, 0.018, metal, 0.008), mat(0, 0, 0.019, 0.3, 0.12, p.decal("keyboard"))]
        return design("computer", [*lid, *base], 0.4, 0.3, 0.25)
    w, h = d.between(0.48, 0.64), d.between(0.3, 0.37)
    parts = [
        cushion(0, -0.08, 0.12, w, 0.04, h, metal, 0.012),
        sheet(0, -0.059, 0.12 + h / 2, w - 0.02, h - 0.02, shown),
    ]
    parts += [box(0, -0.1, 0.0, 0.05, 0.03, 0.2, metal), post(0, -0.08, 0, 0.12, 0.015, metal)]
    parts += [cushion(0, 0.16, 0, 0.42, 0.13, 0.018, metal, 0.008), mat(0, 0.16, 0.019, 0.4, 0.11, p.decal("keyboard"))]
    return design("computer", parts, w, 0.45, h + 0.12)


def desk_lamp(d: Draws, p: Palette) -> Design:
    """A lamp with a jointed arm."""
    metal, side = p.metal(), d.choice((-1, 1))
    arm = rod(0.06 * side, 0, 0.17, 0.36, 0.01, metal)
    fore = rod(0.07 * side, 0.05, 0.36, 0.28, 0.01, metal)
    head = post(-0.06 * side, 0.08, 0.34, 0.085, 0.11, p.accent(), 0.35)
    parts = [post(0, 0, 0, 0.08, 0.02, metal), tilted(arm, _lean(1.2 * side)), tilted(fore, _lean(0.3 * side)), head]
    return design("desk_lamp", parts, 0.25, 0.25, 0.45)


def _lean(angle: float) -> Rotation:
    return turn_y(-angle)


def tableware(d: Draws, p: Palette) -> Design:
    """One place setting: a plate in a shallow rim, a cup."""
    plate, cup = p.decal("plates"), p.accent()
    parts = [post(0, 0, 0, 0.1, 0.012, cup, 1.25), mat(0, 0, 0.0125, 0.24, 0.24, plate)]
    parts.append(post(d.choice((-1, 1)) * 0.19, -0.1, 0, 0.032, d.between(0.08, 0.15), cup, 1.15))
    return design("tableware", parts, 0.3, 0.28, 0.1)


def small_thing(d: Draws, p: Palette) -> Design:
    """What lies about on any surface: books, a vase, a box, a bowl."""
    kind = d.integer(0, 3)
    if kind == 0:
        parts = [_turned_book(d, p, i) for i in range(d.integer(1, 4))]
    elif kind == 1:
        r, h = d.between(0.04, 0.07), d.between(0.12, 0.26)
        parts = [post(0, 0, 0, r, h * 0.6, p.accent(), 1.3), post(0, 0, h * 0.6, r * 1.3, h * 0.4, p.accent(), 0.5)]
    elif kind == 2:
        parts = [box(0, 0, 0, d.between(0.1, 0.25), d.between(0.1, 0.2), d.between(0.06, 0.2), p.accent())]
    else:
        parts = [post(0, 0, 0, 0.06, 0.07, p.accent(), 2.0)]
    return design("small_thing", parts, 0.25, 0.22, 0.15)


def _turned_book(d: Draws, p: Palette, level: int) -> Part:
    cover = box(0, 0, level * 0.035, d.between(0.15, 0.2), d.between(0.2, 0.26), 0.033, p.accent())
    return tilted(cover, turn_z(d.between(-0.4, 0.4)))


def ironing_board(d: Draws, p: Palette) -> Design:
    """A board on crossed legs, an iron on it."""
    metal, h = p.metal(), d.between(0.85, 0.95)
    parts = [cushion(0, 0, h - 0.04, 1.25, 0.36, 0.045, p.soft(), 0.02)]
    for s in (-1, 1):
        for y in (-0.12, 0.12):
            parts.append(tilted(rod(0, y, h / 2 - 0.02, 1.12, 0.013, metal), _lean(s * 0.92)))
    parts.append(cushion(d.between(-0.3, 0.3), 0, h, 0.22, 0.11, 0.12, p.accent(), 0.045))
    return design("ironing_board", parts, 1.25, 0.4, h)
