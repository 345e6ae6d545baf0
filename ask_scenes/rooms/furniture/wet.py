"""Bathroom, kitchen and laundry: what has water, fire or cold in it."""

from __future__ import annotations

from dataclasses import replace

from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.furniture.design import Design, design, fronts
from ask_scenes.rooms.materials import Palette
from ask_scenes.rooms.parts import Part, ball, box, cushion, mat, post, rod, sheet, tilted, turn_x


def toilet(d: Draws, p: Palette) -> Design:
    """Bowl, seat, lid and cistern."""
    body, open_ = p.smooth(), d.chance(0.5)
    parts = [post(0, 0.0, 0, 0.12, 0.36, body, 1.45, 1.35), post(0, 0.04, 0.36, 0.185, 0.035, body, 1.0, 1.3)]
    parts.append(cushion(0, -0.27, 0.36, 0.38, 0.16, 0.38, body, 0.04))
    parts.append(cushion(0, -0.27, 0.735, 0.4, 0.18, 0.03, body, 0.012))
    parts.append(cushion(0, -0.12, 0.15, 0.22, 0.3, 0.24, body, 0.08))
    if open_:
        lid = post(0, -0.14, 0.56, 0.185, 0.02, body, 1.0, 1.2)
        parts += [tilted(lid, turn_x(1.45)), mat(0, 0.05, 0.396, 0.2, 0.28, p.decal("porthole"))]
    else:
        parts.append(post(0, 0.04, 0.395, 0.185, 0.02, body, 0.95, 1.3))
    return design("toilet", parts, 0.42, 0.7, 0.74)


def basin(d: Draws, p: Palette) -> Design:
    """A washbasin on a foot or in a cupboard, with a tap."""
    body, metal, h = p.smooth(), p.metal(), d.between(0.82, 0.88)
    if d.chance(0.5):
        parts = [post(0, -0.08, 0, 0.1, h - 0.12, body, 0.75)]
    else:
        parts = [box(0, -0.03, 0.12, 0.6, 0.4, h - 0.24, p.hard())]
        parts += fronts(0.6, 0.17, 0.14, h - 0.14, 2, 1, parts[0].material, metal)
    parts.append(post(0, 0, h - 0.13, 0.18, 0.13, body, 1.6, 0.8))
    parts.append(cushion(0, -0.16, h - 0.1, 0.6, 0.14, 0.105, body, 0.03))
    parts.append(mat(0, 0.03, h + 0.001, 0.42, 0.3, p.decal("porthole")))
    parts += [post(0, -0.17, h, 0.014, 0.16, metal), rod(0, -0.1, h + 0.15, 0.15, 0.012, metal, along="y")]
    return design("basin", parts, 0.62, 0.48, h)


def bathtub(d: Draws, p: Palette) -> Design:
    """A tub with rounded rims and a tap at one end."""
    w, dep, h, body, metal = d.between(1.55, 1.8), d.between(0.72, 0.82), d.between(0.52, 0.6), p.smooth(), p.metal()
    t = 0.09
    parts = [box(0, 0, 0.02, w - 0.05, dep - 0.05, 0.14, body)]
    parts += [cushion(0, s * (dep - t) / 2, 0.0, w, t, h, body, 0.04) for s in (-1, 1)]
    parts += [cushion(s * (w - t) / 2, 0, 0.0, t, dep, h, body, 0.04) for s in (-1, 1)]
    side = d.choice((-1, 1))
    parts += [post(side * (w / 2 - 0.05), 0, h, 0.015, 0.15, metal)]
    parts.append(rod(side * (w / 2 - 0.12), 0, h + 0.14, 0.16, 0.013, metal))
    if d.chance(0.5):
        cloth = p.soft()
        parts.append(cushion(d.between(-0.4, 0.4), dep / 2 - 0.03, h - 0.28, 0.4, 0.12, 0.3, cloth, 0.04))
    return design("bathtub", parts, w, dep, h)


def shower(d: Draws, p: Palette) -> Design:
    """A tray in a frame of posts with a head on a riser; the glass between them is not drawn."""
    w, h, body, metal = d.between(0.82, 0.95), 2.0, p.smooth(), p.metal()
    e = w / 2 - 0.02
    parts = [cushion(0, 0, 0, w, w, 0.12, body, 0.03), mat(0, 0, 0.1205, w - 0.2, w - 0.2, p.decal("porthole"))]
    parts += [box(sx * e, sy * e, 0.1, 0.035, 0.035, h - 0.1, metal) for sx in (-1, 1) for sy in (-1, 1)]
    parts += [box(0, s * e, h, w, 0.035, 0.04, metal) for s in (-1, 1)]
    parts += [box(s * e, 0, h, 0.035, w, 0.04, metal) for s in (-1, 1)]
    if d.chance(0.6):
        side = d.choice((-1, 1))
        parts += [box(side * (e - 0.2 * i), e, 0.12, 0.19, 0.05 + 0.03 * (i % 2), h - 0.2, p.soft()) for i in range(2)]
    parts += [rod(0, -e + 0.02, 1.1, 0.25, 0.03, metal), post(0, -e + 0.03, 1.1, 0.012, 0.85, metal)]
    parts += [rod(0, -e + 0.13, 1.93, 0.22, 0.012, metal, along="y"), post(0, -e + 0.24, 1.87, 0.11, 0.04, metal, 0.4)]
    return design("shower", parts, w, w, h)


def towel_rail(d: Draws, p: Palette) -> Design:
    """A ladder of rails on the wall with towels over it."""
    metal, w, low = p.metal(), d.between(0.5, 0.65), d.between(0.6, 0.8)
    parts = [post(s * w / 2, 0, low, 0.016, 1.0, metal) for s in (-1, 1)]
    parts += [rod(0, 0, low + 0.1 + 0.16 * i, w, 0.012, metal) for i in range(6)]
    for i, side in enumerate((-1, 1)):
        if d.chance(0.8):
            long, z = d.between(0.35, 0.5), low + 0.1 + 0.16 * (5 - 2 * i)
            parts.append(cushion(side * w * 0.24, 0.02, z - long, w * 0.42, 0.07, long + 0.03, p.soft(), 0.03))
    return design("towel_rail", parts, w + 0.04, 0.1, low + 1.0)


def counter(d: Draws, p: Palette, w: float | None = None) -> Design:
    """Base cupboards under a worktop, with a sink, a tap and things about."""
    width = w or d.between(1.2, 2.0)
    body, top, metal, h, dep = p.hard(), p.hard(), p.metal(), 0.9, 0.6
    columns = max(2, round(width / 0.5))
    parts = [box(0, 0, 0.1, width, dep - 0.02, h - 0.14, body), box(0, -0.03, 0, width, dep - 0.1, 0.1, metal)]
    parts += fronts(width, dep / 2 - 0.01, 0.12, h - 0.05, columns, 1, body, metal)
    parts.append(cushion(0, 0.005, h - 0.04, width + 0.01, dep + 0.03, 0.04, top, 0.012))
    x = d.between(-0.2, 0.2) * width
    parts.append(mat(x, 0.02, h + 0.001, 0.5, 0.38, p.decal("porthole")))
    parts += [post(x, -0.22, h, 0.014, 0.26, metal), rod(x, -0.14, h + 0.26, 0.17, 0.012, metal, along="y")]
    parts += _worktop(d, p, width, h, x)
    return design("counter", parts, width, dep, h)


def _worktop(d: Draws, p: Palette, w: float, h: float, sink: float) -> list[Part]:
    parts: list[Part] = []
    for _ in range(d.integer(1, 3)):
        x = d.between(-0.45, 0.45) * w
        if abs(x - sink) < 0.35:
            continue
        if d.chance(0.5):
            parts.append(post(x, -0.15, h, 0.055, d.between(0.12, 0.25), p.accent(), 0.9))
        else:
            parts.append(cushion(x, -0.14, h, 0.24, 0.2, 0.2, p.accent(), 0.04))
    return parts


def splashback(d: Draws, p: Palette, w: float, low: float, high: float) -> Design:
    """Tiles on the wall behind something wet; flat."""
    tiles = replace(p.decal("tile", gloss=0.2), scale=d.between(0.1, 0.2))
    return design("splashback", [sheet(0, 0, (low + high) / 2, w, high - low, tiles)], w, 0.02, high)


def stove(d: Draws, p: Palette) -> Design:
    """A cooker: rings on top, an oven door in front, pots now and then."""
    body, metal, h = p.smooth(), p.metal(), 0.9
    parts = [box(0, 0, 0.04, 0.6, 0.58, h - 0.06, body), sheet(0, 0.2905, 0.42, 0.56, 0.62, p.decal("oven", gloss=0.2))]
    parts += [box(0, 0, h - 0.02, 0.6, 0.6, 0.02, metal), mat(0, 0, h + 0.001, 0.56, 0.54, p.decal("rings"))]
    parts.append(rod(0, 0.32, 0.7, 0.5, 0.012, metal))
    parts += [rod((i - 1.5) * 0.13, 0.3, 0.82, 0.04, 0.022, metal, along="y") for i in range(4)]
    if d.chance(0.6):
        x, y = d.choice((-0.14, 0.14)), d.choice((-0.13, 0.13))
        pot = p.accent()
        parts += [
            post(x, y, h + 0.002, 0.11, d.between(0.1, 0.18), pot),
            rod(x, y + 0.18, h + 0.1, 0.18, 0.012, pot, "y"),
        ]
    return design("stove", parts, 0.61, 0.62, h)


def fridge(d: Draws, p: Palette) -> Design:
    """Two doors over one another, with upright handles."""
    body, metal, h = p.smooth(), p.metal(), d.between(1.6, 1.95)
    split = h * d.choice((0.35, 0.66))
    parts = [box(0, -0.02, 0.03, 0.64, 0.6, h - 0.04, body)]
    parts += [cushion(0, 0.31, 0.05, 0.64, 0.07, split - 0.06, body, 0.025)]
    parts += [cushion(0, 0.31, split, 0.64, 0.07, h - split - 0.01, body, 0.025)]
    side = d.choice((-1, 1)) * 0.26
    parts += [
        box(side, 0.37, split - 0.34, 0.025, 0.035, 0.28, metal),
        box(side, 0.37, split + 0.06, 0.025, 0.035, 0.28, metal),
    ]
    if d.chance(0.5):
        parts.append(sheet(-side * 0.4, 0.3455, split + 0.3, 0.18, 0.24, p.decal("paper")))
    return design("fridge", parts, 0.66, 0.7, h)


def wall_cabinet(d: Draws, p: Palette, w: float | None = None) -> Design:
    """Cupboards that hang at head height."""
    width, body = w or d.between(0.8, 1.6), p.hard()
    columns = max(2, round(width / 0.45))
    low, high = d.between(1.42, 1.52), d.between(2.05, 2.2)
    parts = [box(0, 0, low, width, 0.33, high - low, body)]
    parts += fronts(width, 0.165, low, high, columns, 1, body, p.metal())
    return design("wall_cabinet", parts, width, 0.36, high)


def hood(d: Draws, p: Palette) -> Design:
    """A sloping hood with its chimney."""
    metal, low = p.metal(), d.between(1.5, 1.6)
    flare = post(0, 0, low + 0.06, 0.42, 0.24, metal, 0.42, 0.8)
    parts = [box(0, 0, low, 0.6, 0.48, 0.07, metal), flare, box(0, -0.1, low + 0.28, 0.26, 0.24, 0.7, metal)]
    return design("hood", parts, 0.62, 0.5, low + 1.0)


def washer(d: Draws, p: Palette) -> Design:
    """A washing machine with a round door and a row of knobs."""
    body, h = p.smooth(), 0.86
    parts = [cushion(0, 0, 0.01, 0.6, 0.58, h - 0.02, body, 0.02)]
    parts.append(tilted(post(0, 0.295, 0.4 - 0.02, 0.21, 0.04, p.metal()), turn_x(1.5708)))
    parts.append(sheet(0, 0.3175, 0.4, 0.39, 0.39, p.decal("porthole", gloss=0.3)))
    parts.append(sheet(0, 0.2905, 0.77, 0.52, 0.1, p.decal("buttons")))
    if d.chance(0.4):
        parts += [cushion(0, 0, h, 0.38, 0.3, 0.2, p.soft(), 0.06)]
    return design("washer", parts, 0.62, 0.62, h)


def drying_rack(d: Draws, p: Palette) -> Design:
    """Lines on folding legs, with cloths over them."""
    metal, w, h = p.metal(), d.between(1.1, 1.4), d.between(0.9, 1.0)
    parts = [rod(0, (i - 3) * 0.09, h, w, 0.006, metal) for i in range(7)]
    for s in (-1, 1):
        parts.append(rod(s * w / 2, 0, h, 0.56, 0.01, metal, along="y"))
        for lean in (-0.5, 0.5):
            leg = tilted(rod(s * w / 2, 0, h / 2, h * 1.1, 0.01, metal, along="y"), turn_x(1.5708 + lean))
            parts.append(leg)
    for _ in range(d.integer(2, 4)):
        x, y = d.between(-0.4, 0.4) * w, (d.integer(0, 6) - 3) * 0.09
        long = d.between(0.3, 0.55)
        parts.append(cushion(x, y, h - long, d.between(0.22, 0.4), 0.03, long + 0.01, p.soft(), 0.012))
    return design("drying_rack", parts, w, 0.6, h)


def pendant(d: Draws, p: Palette, h: float, drop: float) -> list[Part]:
    """A hanging lamp of length ``drop`` from a ceiling at ``h``."""
    shade = p.shining(1.2)
    low = h - drop
    shape = ball(0, 0, low + 0.12, 0.3, 0.3, 0.24, shade) if d.chance(0.4) else post(0, 0, low, 0.19, 0.2, shade, 0.5)
    return [post(0, 0, low + 0.15, 0.008, drop - 0.15, p.metal()), shape]
