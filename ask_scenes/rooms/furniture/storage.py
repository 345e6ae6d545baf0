"""Cupboards, shelves, racks and boxes."""

from __future__ import annotations

from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.furniture.design import Design, design, four_legs, fronts
from ask_scenes.rooms.materials import Palette
from ask_scenes.rooms.parts import Part, ball, box, cushion, mat, post, rod, tilted, turn_x, turn_z


def _chest(category: str, w: float, dep: float, h: float, columns: int, rows: int, d: Draws, p: Palette) -> Design:
    body = p.hard()
    front = body if d.chance(0.7) else p.hard()
    foot = d.between(0.03, 0.12)
    parts = four_legs(w, dep, foot, 0.06, body)
    parts.append(box(0, 0, foot, w, dep, h - foot, body))
    parts += fronts(w, dep / 2, foot, h - 0.02, columns, rows, front, p.metal())
    parts.append(box(0, 0.005, h - 0.02, w + 0.02, dep + 0.02, 0.025, body))
    return design(category, parts, w + 0.02, dep + 0.04, h)


def cabinet(d: Draws, p: Palette) -> Design:
    """A plain cupboard, low or tall."""
    w, h = d.between(0.6, 1.1), d.between(0.7, 1.5)
    return _chest("cabinet", w, d.between(0.35, 0.48), h, 2, 1 if d.chance(0.6) else 2, d, p)


def locker(d: Draws, p: Palette) -> Design:
    """A plain box of the size of a cooker, a fridge or a worktop: by its shape alone it could be one of them."""
    body, dep = p.smooth(), d.between(0.56, 0.66)
    h = d.choice((d.between(0.85, 0.95), d.between(1.6, 1.95)))
    w = d.between(1.1, 1.8) if h < 1 and d.chance(0.4) else d.between(0.58, 0.68)
    parts = [box(0, -0.01, 0.05, w, dep - 0.02, h - 0.05, body), box(0, 0, h - 0.02, w + 0.01, dep, 0.025, body)]
    return design("cabinet", parts, w + 0.01, dep, h)


def nightstand(d: Draws, p: Palette) -> Design:
    """A low chest beside a bed, with a lamp on it."""
    made = _chest("nightstand", d.between(0.4, 0.5), 0.4, d.between(0.45, 0.58), 1, 2, d, p)
    shade = p.shining(d.between(0.4, 1.3))
    lamp = [post(0, 0, made.height, 0.06, 0.02, p.metal()), post(0, 0, made.height, 0.018, 0.25, p.metal())]
    lamp.append(post(0, 0, made.height + 0.2, 0.13, 0.18, shade, 0.65))
    return design("nightstand", [*made.parts, *lamp], made.width, made.depth, made.height)


def wardrobe(d: Draws, p: Palette) -> Design:
    """A tall cupboard with two or three doors."""
    w = d.between(1.0, 1.7)
    return _chest("wardrobe", w, 0.58, d.between(1.9, 2.15), 2 if w < 1.3 else 3, 1, d, p)


def dresser(d: Draws, p: Palette) -> Design:
    """A chest of drawers, three or four rows."""
    return _chest("dresser", d.between(0.9, 1.25), 0.46, d.between(0.78, 0.95), 2, d.integer(3, 4), d, p)


def sideboard(d: Draws, p: Palette) -> Design:
    """A long low cupboard with bowls and bottles."""
    made = _chest("sideboard", d.between(1.3, 1.8), 0.44, d.between(0.8, 0.92), 3, 1, d, p)
    top = [post(d.between(-0.55, 0.55), 0, made.height, 0.05, 0.26, p.accent(), 0.4) for _ in range(2)]
    top.append(post(d.between(-0.4, 0.4), 0.05, made.height, 0.07, 0.09, p.accent(), 2.1))
    return design("sideboard", [*made.parts, *top], made.width, made.depth, made.height)


def filing_cabinet(d: Draws, p: Palette) -> Design:
    """Narrow and deep, drawers over one another, labels on them."""
    n = d.integer(3, 4)
    made = _chest("filing_cabinet", 0.46, 0.6, 0.34 * n, 1, n, d, p)
    return design("filing_cabinet", made.parts, made.width, made.depth, made.height)


def _rows(d: Draws, p: Palette, w: float, dep: float, h: float, rows: int, fill: float) -> list[Part]:
    """What stands in a shelf: groups of spines, with a box or a bowl between."""
    parts = []
    for j in range(rows):
        x, low, room = -w / 2 + 0.03, 0.06 + j * (h - 0.06) / rows + 0.02, (h - 0.06) / rows - 0.04
        while x < w / 2 - 0.12:
            run = min(d.between(0.14, 0.42), w / 2 - 0.03 - x)
            if d.chance(fill):
                tall = room * d.between(0.62, 0.95)
                parts.append(box(x + run / 2, 0.01, low, run - 0.01, dep * 0.72, tall, p.decal("books")))
            elif d.chance(0.25):
                parts.append(box(x + run / 2, 0, low, run * 0.7, dep * 0.6, room * 0.5, p.accent()))
            x += run + 0.01
    return parts


def _shelf(
    category: str, w: float, dep: float, h: float, rows: int, fill: float, d: Draws, p: Palette, *, back: float = -0.5
) -> Design:
    wood = p.hard()
    parts = [box(s * (w / 2 - 0.012), 0, 0, 0.025, dep, h, wood) for s in (-1, 1)]
    parts.append(box(0, back * (dep - 0.016), 0.03, w - 0.04, 0.012, h - 0.03, wood))
    parts += [box(0, 0, 0.04 + j * (h - 0.06) / rows, w - 0.04, dep, 0.024, wood) for j in range(rows + 1)]
    return design(category, [*parts, *_rows(d, p, w - 0.05, dep, h, rows, fill)], w, dep, h)


def bookcase(d: Draws, p: Palette) -> Design:
    """A tall case full of books."""
    return _shelf("bookcase", d.between(0.9, 1.3), 0.32, d.between(1.75, 2.15), 5, 0.93, d, p)


def low_bookcase(d: Draws, p: Palette) -> Design:
    """A bookcase of half height with books on both sides, for the middle of a shop."""
    return _shelf("bookcase", d.between(1.0, 1.4), 0.4, d.between(1.1, 1.35), 3, 0.93, d, p, back=0.0)


def low_shelf(d: Draws, p: Palette) -> Design:
    """A shelf with few things."""
    h = d.between(0.8, 1.6)
    return _shelf("low_shelf", d.between(0.6, 1.0), 0.3, h, max(2, round(h / 0.4)), 0.35, d, p)


def book_table(d: Draws, p: Palette) -> Design:
    """A table of a shop, piled with books that show their covers."""
    w, dep, h, wood = d.between(1.1, 1.5), d.between(0.75, 0.95), 0.72, p.hard()
    parts = [box(0, 0, h - 0.05, w, dep, 0.05, wood), box(0, 0, 0, w - 0.2, dep - 0.2, h - 0.05, wood)]
    for i in range(4):
        for j in range(2):
            if not d.chance(0.9):
                continue
            x, y, tall = (i - 1.5) * w / 4.2, (j - 0.5) * dep / 2.2, d.between(0.04, 0.22)
            parts.append(box(x, y, h, 0.19, 0.27, tall, p.accent()))
            parts.append(mat(x, y, h + tall + 0.001, 0.18, 0.26, p.decal("picture")))
    return design("book_table", parts, w, dep, h)


def book_rack(d: Draws, p: Palette) -> Design:
    """A turning rack with books on four sides."""
    metal, h = p.metal(), d.between(1.45, 1.7)
    parts = [post(0, 0, 0, 0.26, 0.04, metal), post(0, 0, 0, 0.02, h, metal)]
    for j in range(4):
        z = 0.25 + j * (h - 0.3) / 4
        for k in range(4):
            book = box(0, 0.17, z, 0.2, 0.05, 0.25, p.decal("picture"))
            angle = k * 1.5708
            turn = turn_z(angle)
            x, y = turn[0][1] * 0.17, turn[1][1] * 0.17
            parts.append(tilted(box(x, y, z, 0.2, 0.05, 0.25, book.material), turn))
        parts.append(post(0, 0, z - 0.02, 0.2, 0.015, metal))
    return design("book_rack", parts, 0.5, 0.5, h)


def till(d: Draws, p: Palette) -> Design:
    """A shop counter with a cash register."""
    w, dep, h, wood = d.between(1.2, 1.6), 0.6, d.between(0.95, 1.05), p.hard()
    parts = [
        box(0, 0, 0, w, dep, h - 0.04, wood),
        cushion(0, 0, h - 0.04, w + 0.08, dep + 0.08, 0.045, p.hard(), 0.015),
    ]
    parts += [box(x * w, dep / 2 + 0.008, 0.12, w / 3.6, 0.016, h - 0.3, wood) for x in (-0.32, 0, 0.32)]
    x, metal = d.between(-0.3, 0.3) * w, p.metal()
    parts += [cushion(x, 0, h, 0.36, 0.36, 0.12, metal, 0.02), box(x, -0.1, h + 0.1, 0.3, 0.1, 0.16, metal)]
    parts.append(mat(x, 0.08, h + 0.121, 0.28, 0.16, p.decal("keyboard")))
    return design("till", parts, w + 0.08, dep + 0.08, h)


def metal_rack(d: Draws, p: Palette) -> Design:
    """An open rack of four posts, with cartons."""
    w, dep, h, metal = d.between(1.0, 1.4), 0.45, d.between(1.7, 2.0), p.metal()
    parts = four_legs(w, dep, h, 0.035, metal)
    for j in range(4):
        z = 0.12 + j * (h - 0.2) / 3.3
        parts.append(box(0, 0, z, w, dep, 0.025, metal))
        x = -w / 2 + 0.05
        while x < w / 2 - 0.25:
            run = d.between(0.22, 0.42)
            if d.chance(0.75) and x + run < w / 2:
                parts.append(box(x + run / 2, 0, z + 0.025, run - 0.02, dep - 0.08, d.between(0.15, 0.36), p.hard()))
            x += run
    return design("metal_rack", parts, w, dep, h)


def carton(d: Draws, p: Palette) -> Design:
    """One cardboard box with a strip of tape."""
    w, dep, h, paper = d.between(0.3, 0.55), d.between(0.3, 0.5), d.between(0.22, 0.5), p.hard()
    parts = [box(0, 0, 0, w, dep, h, paper), box(0, 0, h * 0.7, 0.06, dep + 0.004, h * 0.3 + 0.003, p.accent())]
    return design("carton", parts, w, dep, h)


def crate_stack(d: Draws, p: Palette) -> Design:
    """Boxes piled three or four high, each a little turned."""
    parts, z = [], 0.0
    for _ in range(d.integer(3, 4)):
        w, h = d.between(0.42, 0.62), d.between(0.28, 0.42)
        paper, turn = p.hard(), turn_z(d.between(-0.25, 0.25))
        parts += [tilted(box(0, 0, z, w, w * 0.85, h, paper), turn)]
        parts += [tilted(box(0, 0, z + h * 0.6, 0.07, w * 0.85 + 0.006, h * 0.4 + 0.002, p.accent()), turn)]
        z += h + 0.002
    return design("crate_stack", parts, 0.68, 0.62, z)


def shoe_rack(d: Draws, p: Palette) -> Design:
    """Two slanted boards with pairs of shoes."""
    wood, w = p.hard(), d.between(0.8, 1.1)
    parts = [box(s * w / 2, 0, 0, 0.03, 0.32, 0.5, wood) for s in (-1, 1)]
    for j in range(2):
        parts.append(tilted(box(0, 0, 0.12 + 0.24 * j, w, 0.3, 0.02, wood), turn_x(-0.3)))
        for i in range(4):
            shoe, x = p.accent(), (i - 1.5) * w / 4.3
            for s in (-0.05, 0.05):
                parts.append(cushion(x + s, 0.02, 0.14 + 0.24 * j, 0.085, 0.25, 0.09, shoe, 0.04))
    return design("shoe_rack", parts, w + 0.04, 0.36, 0.5)


def coat_rack(d: Draws, p: Palette) -> Design:
    """A board of hooks on the wall with coats hanging from it."""
    w, z = d.between(1.0, 1.5), d.between(1.6, 1.75)
    parts = [box(0, -0.03, z, w, 0.03, 0.12, p.hard())]
    for i in range(4):
        x = (i - 1.5) * w / 4
        parts.append(rod(x, 0.02, z + 0.05, 0.1, 0.01, p.metal(), along="y"))
        if d.chance(0.75):
            coat, long = p.soft(), d.between(0.7, 1.05)
            parts.append(cushion(x, 0.06, z - long + 0.06, 0.3, 0.13, long, coat, 0.06))
            parts += [cushion(x + s * 0.17, 0.06, z - 0.6, 0.1, 0.11, 0.6, coat, 0.045) for s in (-1, 1)]
    return design("coat_rack", parts, w, 0.1, z)


def basket(d: Draws, p: Palette) -> Design:
    """A woven basket."""
    r, h, weave = d.between(0.17, 0.25), d.between(0.25, 0.45), p.soft()
    parts = [post(0, 0, 0, r * 0.85, h, weave, 1.18), post(0, 0, h, r * 1.02, 0.02, weave)]
    return design("basket", [*parts, ball(0, 0, h, 1.6 * r, 1.6 * r, 0.16, p.soft())], 2 * r, 2 * r, h)


def bin_(d: Draws, p: Palette) -> Design:
    """A waste bin."""
    r, h = d.between(0.12, 0.18), d.between(0.28, 0.6)
    parts = [post(0, 0, 0, r * 0.85, h, p.hard(), 1.18), post(0, 0, h, r * 0.97, 0.012, p.metal())]
    return design("bin", parts, 2 * r, 2 * r, h)
