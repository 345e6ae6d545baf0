"""What stands about in homes, schools and offices: lamps, plants, boards, screens, play and sport."""

from __future__ import annotations

import math
from dataclasses import replace

from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.furniture.design import Design, design, four_legs, fronts
from ask_scenes.rooms.materials import Palette
from ask_scenes.rooms.parts import Part, ball, box, cushion, mat, post, rod, sheet, tilted, turn_x, turn_y, turn_z


def television(d: Draws, p: Palette) -> Design:
    """A large screen on a low board."""
    w, body = d.between(1.2, 1.7), p.hard()
    parts = [*four_legs(w, 0.4, 0.12, 0.05, body), box(0, 0, 0.12, w, 0.4, 0.34, body)]
    parts += fronts(w, 0.2, 0.13, 0.45, 3, 1, body, p.metal())
    sw = w * d.between(0.62, 0.85)
    sh, metal = sw * 0.57, p.metal()
    parts += [box(0, -0.05, 0.46, 0.3, 0.18, 0.02, metal), box(0, -0.06, 0.46, 0.08, 0.04, 0.12, metal)]
    parts.append(cushion(0, -0.05, 0.54, sw, 0.05, sh, metal, 0.012))
    parts.append(
        sheet(0, -0.0245, 0.54 + sh / 2, sw - 0.03, sh - 0.03, p.decal("screen", glow=d.between(0.0, 0.9), gloss=0.3))
    )
    return design("television", parts, w, 0.42, 0.46)


def fireplace(d: Draws, p: Palette) -> Design:
    """A chimney breast with an opening and a mantel."""
    w, stone, h = d.between(1.2, 1.5), p.hard(), d.between(1.05, 1.2)
    parts = [box(s * (w / 2 - 0.16), 0, 0, 0.32, 0.36, h - 0.1, stone) for s in (-1, 1)]
    parts += [box(0, 0, h - 0.38, w - 0.6, 0.36, 0.28, stone), box(0, 0.04, h - 0.1, w + 0.16, 0.46, 0.08, p.hard())]
    parts += [box(0, 0.18, 0, w, 0.5, 0.05, stone), box(0, -0.12, 0.05, w - 0.62, 0.06, h - 0.4, p.metal())]
    log = p.hard()
    parts += [tilted(rod(0, 0.05, 0.12 + 0.07 * i, 0.45, 0.05, log), turn_z(0.5 * (i - 0.5))) for i in range(2)]
    parts.append(post(d.between(-0.4, 0.4), 0.0, h - 0.02, 0.05, 0.22, p.accent(), 0.6))
    return design("fireplace", parts, w + 0.16, 0.5, h)


def plant(d: Draws, p: Palette) -> Design:
    """A pot with leaves: long and leaning, or a round crown."""
    r, h, pot, leaf = d.between(0.13, 0.2), d.between(0.25, 0.42), p.hard(), p.accent()
    parts = [post(0, 0, 0, r * 0.75, h, pot, 1.35), post(0, 0, h, r * 0.95, 0.012, p.metal())]
    n, tall = d.integer(8, 12), d.between(0.5, 0.95)
    for i in range(n):
        angle, lean = 2 * math.pi * (i + d.unit() * 0.6) / n, d.between(0.15, 0.75)
        long = tall * d.between(0.7, 1.0)
        reach = long / 2 * math.sin(lean)
        x, y = reach * math.cos(angle), reach * math.sin(angle)
        blade = ball(x, y, h + long / 2 * math.cos(lean), 0.13, 0.025, long, leaf)
        turned = tilted(tilted(blade, turn_x(-lean)), turn_z(angle - math.pi / 2))
        parts.append(turned)
    return design("plant", parts, 2.6 * r, 2.6 * r, h + tall)


def floor_lamp(d: Draws, p: Palette) -> Design:
    """A standing lamp with a shade."""
    metal, h = p.metal(), d.between(1.35, 1.65)
    shade = p.shining(d.between(0.35, 1.4))
    parts = [post(0, 0, 0, 0.15, 0.03, metal), post(0, 0, 0, 0.014, h, metal)]
    parts.append(post(0, 0, h - 0.05, d.between(0.17, 0.23), 0.26, shade, d.between(0.5, 0.9)))
    return design("floor_lamp", parts, 0.4, 0.4, h)


def board(d: Draws, p: Palette) -> Design:
    """A wide writing board; flat, with a ledge for chalk."""
    w, h = d.between(2.0, 3.0), d.between(1.0, 1.2)
    parts = [
        sheet(0, -0.02, 0.85 + h / 2, w, h, p.decal("board", gloss=0.05)),
        box(0, 0.0, 0.82, w * 0.6, 0.05, 0.025, p.metal()),
    ]
    return design("board", parts, w, 0.04, 0.85 + h)


def wall_map(d: Draws, p: Palette) -> Design:
    """A large map on the wall; flat."""
    w, h = d.between(1.2, 1.8), d.between(0.85, 1.2)
    return design("wall_map", [sheet(0, -0.01, 1.0 + h / 2, w, h, p.decal("map"))], w, 0.02, 1.0 + h)


def wide_mirror(d: Draws, p: Palette) -> Design:
    """A mirror as wide as a wall of a gym; flat."""
    w, h = d.between(1.3, 2.2), d.between(1.2, 1.6)
    return design("mirror", [sheet(0, -0.01, 0.45 + h / 2, w, h, p.decal("mirror", gloss=0.4))], w, 0.02, 0.45 + h)


def pinboard(d: Draws, p: Palette) -> Design:
    """Notes on cork; flat."""
    w, h, z = d.between(0.8, 1.3), d.between(0.55, 0.8), d.between(1.35, 1.55)
    return design("pinboard", [sheet(0, -0.01, z, w, h, p.decal("notes"))], w, 0.02, z)


def picture(d: Draws, p: Palette) -> Design:
    """A framed picture, poster or map; flat."""
    w, h, z = d.between(0.35, 1.0), d.between(0.35, 0.8), d.between(1.45, 1.65)
    print_ = p.decal(d.choice(("picture", "picture", "map", "notes")), gloss=0.1)
    return design("picture", [sheet(0, -0.01, z, w, h, print_)], w, 0.02, z)


def mirror(d: Draws, p: Palette) -> Design:
    """A mirror; flat, and what it shows is invented."""
    w, h, z = d.between(0.45, 0.8), d.between(0.6, 1.0), d.between(1.4, 1.55)
    return design("mirror", [sheet(0, -0.01, z, w, h, p.decal("mirror", gloss=0.4))], w, 0.02, z)


def clock(d: Draws, p: Palette) -> Design:
    """A round wall clock."""
    r, z = d.between(0.13, 0.19), d.between(1.8, 2.05)
    rim = tilted(post(0, 0.0, z - 0.015, r, 0.03, p.metal()), turn_x(1.5708))
    return design("clock", [rim, sheet(0, 0.0155, z, 1.72 * r, 1.72 * r, p.decal("clock"))], 2 * r, 0.03, z)


def rug(d: Draws, p: Palette) -> Design:
    """A rug; flat."""
    w, dep = d.between(1.2, 2.2), d.between(0.9, 1.6)
    return design("rug", [mat(0, 0, 0, w, dep, p.decal("rug"))], w, dep, 0.0)


def wall_shelf(d: Draws, p: Palette) -> Design:
    """A board on the wall with a few things."""
    w, z, wood = d.between(0.6, 1.1), d.between(1.35, 1.7), p.hard()
    parts = [box(0, 0, z, w, 0.22, 0.03, wood)]
    x = -w / 2 + 0.08
    while x < w / 2 - 0.1:
        if d.chance(0.5):
            parts.append(box(x, 0, z + 0.03, d.between(0.08, 0.16), 0.15, d.between(0.1, 0.26), p.accent()))
        x += 0.19
    return design("wall_shelf", parts, w, 0.24, z)


def curtain(d: Draws, p: Palette) -> Design:
    """A gathered curtain on a rail."""
    soft, n = p.soft(), d.integer(4, 7)
    parts: list[Part] = [post((i - n / 2) * 0.085, 0, 0.12, 0.05, 2.05, soft, 0.9) for i in range(n)]
    parts.append(rod(0, 0, 2.2, n * 0.1 + 0.2, 0.014, p.metal()))
    return design("curtain", parts, n * 0.09, 0.1, 2.2)


def partition(d: Draws, p: Palette) -> Design:
    """An upholstered screen between two desks."""
    w, h = d.between(1.2, 1.6), d.between(1.2, 1.45)
    parts = [cushion(0, 0, 0.08, w, 0.06, h - 0.08, p.soft(), 0.02)]
    parts += [box(s * w * 0.42, 0, 0, 0.06, 0.4, 0.04, p.metal()) for s in (-1, 1)]
    return design("partition", parts, w, 0.4, h)


def copier(d: Draws, p: Palette) -> Design:
    """A copying machine with trays and a panel."""
    body, metal, h = p.smooth(), p.metal(), d.between(0.95, 1.1)
    parts = [box(0, 0, 0.05, 0.62, 0.6, h * 0.62, body)]
    parts += [box(0, 0.305, 0.1 + 0.17 * i, 0.54, 0.02, 0.14, metal) for i in range(3)]
    parts.append(box(0, -0.05, h * 0.62 + 0.05, 0.62, 0.5, 0.1, metal))
    parts.append(cushion(0, 0, h * 0.62 + 0.15, 0.64, 0.6, h * 0.38 - 0.15, body, 0.03))
    tray = tilted(box(-0.43, 0, h * 0.72, 0.28, 0.35, 0.02, metal), turn_y(0.3))
    parts += [
        tray,
        mat(0.15, 0.2, h + 0.001, 0.26, 0.14, p.decal("buttons")),
        mat(-0.12, -0.05, h + 0.001, 0.3, 0.36, p.decal("paper")),
    ]
    return design("copier", parts, 0.9, 0.66, h)


def treadmill(d: Draws, p: Palette) -> Design:
    """A running belt with rails and a console."""
    metal, belt = p.metal(), p.soft()
    parts = [cushion(0, 0.1, 0.06, 0.72, 1.55, 0.12, metal, 0.03), box(0, 0.15, 0.181, 0.48, 1.35, 0.004, belt)]
    parts.append(cushion(0, -0.62, 0.1, 0.7, 0.3, 0.16, metal, 0.06))
    for s in (-1, 1):
        parts.append(tilted(box(s * 0.34, -0.62, 0.1, 0.06, 0.06, 1.15, metal), turn_x(-0.08)))
        parts.append(rod(s * 0.34, -0.34, 0.95, 0.55, 0.02, belt, along="y"))
    console = tilted(cushion(0, -0.56, 1.12, 0.68, 0.06, 0.3, metal, 0.025), turn_x(-0.45))
    parts += [console, tilted(sheet(0, -0.525, 1.285, 0.4, 0.2, p.decal("buttons", glow=0.3)), turn_x(-0.45))]
    return design("treadmill", parts, 0.76, 1.7, 1.3)


def dumbbells(d: Draws, p: Palette) -> Design:
    """A slanted rack with two rows of dumbbells."""
    metal, w = p.metal(), d.between(1.0, 1.3)
    parts = [box(s * w / 2, 0, 0, 0.05, 0.4, 0.85, metal) for s in (-1, 1)]
    for j in range(2):
        z = 0.3 + 0.4 * j
        parts.append(tilted(box(0, 0, z, w, 0.34, 0.03, metal), turn_x(-0.35)))
        for i in range(4):
            x, r, tone = (i - 1.5) * w / 4.2, 0.05 + 0.01 * i, p.accent()
            parts.append(rod(x, 0, z + 0.12, 0.2, 0.014, metal, along="y"))
            parts += [rod(x, s * 0.1, z + 0.12, 0.08, r, tone, along="y") for s in (-1, 1)]
    return design("dumbbells", parts, w + 0.06, 0.42, 0.85)


def ladder(d: Draws, p: Palette) -> Design:
    """A step ladder standing open."""
    metal, h = p.metal(), d.between(1.4, 1.8)
    parts = []
    for s in (-1, 1):
        parts.append(tilted(box(s * 0.22, 0.2, 0, 0.05, 0.03, h, metal), turn_x(0.24)))
        parts.append(tilted(box(s * 0.2, -0.22, 0, 0.03, 0.025, h, metal), turn_x(-0.24)))
    n = round(h / 0.28)
    for i in range(1, n):
        z = i * h / n
        parts.append(box(0, 0.2 + (h / 2 - z) * 0.24, z, 0.42, 0.09, 0.03, metal))
    parts.append(box(0, 0, h - 0.03, 0.42, 0.2, 0.03, metal))
    return design("ladder", parts, 0.5, 0.9, h)


def play_tent(d: Draws, p: Palette) -> Design:
    """A child's pointed tent with an opening and crossed poles."""
    r, h, cloth, pole = d.between(0.55, 0.7), d.between(1.35, 1.6), p.soft(), p.hard()
    lean = math.atan2(r, h)
    parts = [post(0, 0, 0, r, h, cloth, 0.04)]
    for i in range(4):
        turn = turn_z(math.pi / 4 + i * math.pi / 2)
        x, y = turn[0][1] * r * 0.45, turn[1][1] * r * 0.45
        stick = tilted(post(x, y, 0.0, 0.015, h * 1.1, pole), turn_x(lean))
        parts.append(tilted(replace(stick, rotation=turn_x(lean)), turn))
    gap = tilted(post(0, r * 0.42, 0.0, 0.2, 0.85, p.metal(), 0.1), turn_x(lean * 0.5))
    return design("play_tent", [*parts, gap], 2 * r, 2 * r, h)


def toy_blocks(d: Draws, p: Palette) -> Design:
    """Blocks, a ball and a ring stack on the floor."""
    parts: list[Part] = []
    for _ in range(d.integer(5, 8)):
        s = d.between(0.1, 0.17)
        x, y = d.between(-0.4, 0.4), d.between(-0.35, 0.35)
        parts.append(tilted(box(x, y, 0, s, s, s, p.accent()), turn_z(d.between(0, 1.5))))
        if d.chance(0.35):
            parts.append(tilted(box(x, y, s, s * 0.8, s * 0.8, s * 0.8, p.accent()), turn_z(d.between(0, 1.5))))
    x, y = d.between(-0.3, 0.3), d.between(-0.2, 0.2)
    parts += [post(x, y, 0.06 * i, 0.12 - 0.02 * i, 0.055, p.accent()) for i in range(4)]
    parts.append(ball(-x, -y, 0.12, 0.24, 0.24, 0.24, p.accent()))
    return design("toy_blocks", parts, 0.95, 0.85, 0.3)


def stairs(d: Draws, p: Palette) -> Design:
    """A flight of steps along the wall, with a rail."""
    wood, w, n = p.hard(), d.between(0.8, 0.95), 8
    parts = [box(-1.0 + 0.27 * i, 0, 0, 0.27, w, 0.18 * (i + 1), wood) for i in range(n)]
    parts += [post(-1.0 + 0.27 * i, w / 2 - 0.04, 0.18 * (i + 1), 0.015, 0.85, p.metal()) for i in range(0, n, 1)]
    rail = tilted(
        rod(-1.0 + 0.27 * (n - 1) / 2, w / 2 - 0.04, 0.18 * (n + 1) / 2 + 0.86, 2.45, 0.03, wood), turn_y(-0.588)
    )
    return design("stairs", [*parts, rail], 2.3, w, 1.5)
