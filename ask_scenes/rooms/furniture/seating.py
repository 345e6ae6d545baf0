"""What one sits or lies on."""

from __future__ import annotations

from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.furniture.design import Design, design, four_legs
from ask_scenes.rooms.materials import Palette
from ask_scenes.rooms.parts import Part, ball, box, cushion, post, rod, tilted, turn_x, turn_z


def chair(d: Draws, p: Palette) -> Design:
    """A four-legged chair with a panel, slats or an upholstered back."""
    frame, seat = p.hard(), p.soft() if d.chance(0.5) else p.hard()
    w, h, back = d.between(0.4, 0.5), d.between(0.43, 0.48), d.between(0.36, 0.55)
    parts = four_legs(w, w, h, 0.045, frame, round_=d.chance(0.4))
    parts.append(cushion(0, 0, h - 0.02, w, w, 0.055, seat, 0.02))
    y, style = -w / 2 + 0.02, d.integer(0, 2)
    if style == 0:
        parts.append(cushion(0, y, h + 0.1, w, 0.035, back - 0.1, seat, 0.015))
    parts += [box(s * (w / 2 - 0.02), y, h, 0.035, 0.035, back, frame) for s in (-1, 1)]
    if style == 1:
        parts += [box(0, y, h + back * f, w - 0.05, 0.02, 0.07, frame) for f in (0.35, 0.6, 0.85)]
    if style == 2:
        parts += [box(w * f, y, h, 0.025, 0.02, back - 0.03, frame) for f in (-0.25, 0, 0.25)]
        parts.append(cushion(0, y, h + back - 0.06, w, 0.03, 0.07, frame, 0.012))
    return design("chair", parts, w, w, h)


def stool(d: Draws, p: Palette) -> Design:
    """A round stool."""
    r, h, frame = d.between(0.15, 0.2), d.between(0.42, 0.65), p.hard()
    seat = p.soft() if d.chance(0.5) else frame
    parts = [post(sx * r * 0.6, sy * r * 0.6, 0, 0.016, h, frame) for sx in (-1, 1) for sy in (-1, 1)]
    return design("stool", [*parts, post(0, 0, h, r, 0.045, seat)], 2 * r, 2 * r, h)


def swivel_chair(d: Draws, p: Palette) -> Design:
    """An office chair on a five-star foot."""
    soft, metal, w = p.soft(), p.metal(), d.between(0.46, 0.54)
    parts = [post(0, 0, 0.08, 0.03, 0.36, metal)]
    for i in range(3):
        arm = box(0, 0, 0.05, 0.56, 0.045, 0.035, metal)
        parts.append(tilted(arm, turn_z(i * 1.0472)))
    parts.append(cushion(0, 0.02, 0.43, w, w, 0.09, soft, 0.04))
    back = cushion(0, -w / 2 + 0.02, 0.58, w * 0.9, 0.07, d.between(0.42, 0.62), soft, 0.034)
    parts += [tilted(back, turn_x(0.12)), box(0, -w / 2 + 0.03, 0.4, 0.06, 0.03, 0.25, metal)]
    if d.chance(0.6):
        for s in (-1, 1):
            parts.append(cushion(s * w * 0.52, 0, 0.66, 0.05, 0.28, 0.035, metal, 0.015))
            parts.append(box(s * w * 0.52, 0, 0.46, 0.03, 0.04, 0.2, metal))
    return design("swivel_chair", parts, 0.58, 0.58, 0.47)


def _upholstered(d: Draws, p: Palette, category: str, seats: int) -> Design:
    seat, soft = d.between(0.58, 0.68), p.soft()
    arm, depth, h, back = d.between(0.12, 0.2), d.between(0.82, 0.95), d.between(0.4, 0.46), d.between(0.74, 0.9)
    inner = seats * seat
    w = inner + 2 * arm
    foot = p.metal()
    parts = [
        post(sx * (w / 2 - 0.08), sy * (depth / 2 - 0.08), 0, 0.02, 0.09, foot) for sx in (-1, 1) for sy in (-1, 1)
    ]
    parts.append(cushion(0, 0, 0.08, w - 0.02, depth - 0.04, h - 0.2, soft, 0.03))
    for i in range(seats):
        x = (i - (seats - 1) / 2) * seat
        parts.append(cushion(x, 0.08, h - 0.13, seat - 0.01, depth - 0.2, 0.16, soft, 0.06))
        lean = cushion(x, -depth / 2 + 0.24, h, seat - 0.02, 0.17, back - h + 0.02, soft, 0.075)
        parts.append(tilted(lean, turn_x(0.14)))
    parts.append(cushion(0, -depth / 2 + 0.1, 0.1, w - 0.04, 0.17, back - 0.16, soft, 0.06))
    parts += [cushion(s * (w - arm) / 2, 0, 0.08, arm, depth, d.between(0.5, 0.56), soft, 0.07) for s in (-1, 1)]
    parts += _loose(d, p, seats, inner, h)
    return design(category, parts, w, depth, h)


def _loose(d: Draws, p: Palette, seats: int, inner: float, h: float) -> list[Part]:
    pillow = p.soft()
    places = [d.between(-0.4, 0.4) * inner for _ in range(d.integer(0, seats))]
    return [tilted(cushion(x, 0.0, h, 0.42, 0.15, 0.38, pillow, 0.07), turn_x(0.3)) for x in places]


def sofa(d: Draws, p: Palette) -> Design:
    """Two or three seats, with arms and loose pillows."""
    return _upholstered(d, p, "sofa", d.integer(2, 3))


def armchair(d: Draws, p: Palette) -> Design:
    """A sofa for one."""
    return _upholstered(d, p, "armchair", 1)


def bed(d: Draws, p: Palette) -> Design:
    """A single or double bed: frame, mattress, blanket, pillows, headboard at the back."""
    w, long, frame = d.choice((0.95, 1.45, 1.7)), d.between(1.95, 2.1), p.hard()
    cover, linen, h = p.soft(), p.soft(), d.between(0.3, 0.42)
    parts = four_legs(w, long, h - 0.1, 0.07, frame)
    parts.append(box(0, 0, h - 0.16, w, long, 0.14, frame))
    parts.append(cushion(0, 0.02, h - 0.03, w - 0.04, long - 0.06, 0.2, linen, 0.06))
    blanket = long * d.between(0.55, 0.72)
    parts.append(cushion(0, (long - blanket) / 2 + 0.03, h - 0.1, w + 0.03, blanket, 0.3, cover, 0.06))
    parts.append(cushion(0, long / 2 - blanket + 0.05, h + 0.13, w + 0.035, 0.3, 0.085, linen, 0.035))
    board = d.between(0.75, 1.1)
    if d.chance(0.5):
        parts.append(cushion(0, -long / 2 + 0.03, 0.1, w + 0.06, 0.08, board, p.soft(), 0.035))
    else:
        parts.append(box(0, -long / 2 + 0.02, 0.05, w + 0.04, 0.04, board, frame))
    for i in range(1 if w < 1.2 else 2):
        x = (i - 0.5) * w * 0.47 if w > 1.2 else 0.0
        parts.append(tilted(cushion(x, -long / 2 + 0.32, h + 0.17, 0.58, 0.38, 0.15, linen, 0.07), turn_x(-0.25)))
    return design("bed", parts, w + 0.06, long, h + 0.18)


def cot(d: Draws, p: Palette) -> Design:
    """A child's bed with bars."""
    w, dep, h, frame = 1.25, 0.68, d.between(0.85, 0.98), p.hard()
    parts = four_legs(w, dep, h, 0.05, frame)
    parts.append(cushion(0, 0, 0.32, w - 0.08, dep - 0.08, 0.12, p.soft(), 0.04))
    parts.append(cushion(-w * 0.32, 0, 0.42, 0.3, 0.4, 0.08, p.soft(), 0.035))
    for s in (-1, 1):
        parts += [box(0, s * (dep / 2 - 0.02), z, w, 0.03, 0.045, frame) for z in (0.25, h - 0.06)]
        parts += [box(s * (w / 2 - 0.02), 0, 0.25, 0.03, dep, h - 0.25, frame)]
        parts += [post((i / 8 - 0.5) * w, s * (dep / 2 - 0.02), 0.27, 0.01, h - 0.3, frame) for i in range(1, 8)]
    return design("cot", parts, w, dep, h)


def weight_bench(d: Draws, p: Palette) -> Design:
    """A padded bench under a barbell on two uprights."""
    soft, metal = p.soft(), p.metal()
    parts = [cushion(0, 0.15, 0.4, 0.3, 1.15, 0.1, soft, 0.04), box(0, 0.15, 0.3, 0.08, 1.1, 0.1, metal)]
    parts += [box(0, y, 0, 0.4, 0.06, 0.32, metal) for y in (-0.3, 0.6)]
    parts += [box(s * 0.42, -0.45, 0, 0.07, 0.07, 1.05, metal) for s in (-1, 1)]
    parts += [box(s * 0.42, -0.3, 0, 0.07, 0.6, 0.05, metal) for s in (-1, 1)]
    parts.append(rod(0, -0.42, 1.0, 1.6, 0.016, metal))
    plate = p.accent()
    for s in (-1, 1):
        parts += [rod(s * (0.62 + 0.06 * i), -0.42, 1.0, 0.045, d.between(0.15, 0.21), plate) for i in range(2)]
    return design("weight_bench", parts, 1.5, 1.4, 0.5)


def gym_ball(d: Draws, p: Palette) -> Design:
    """A large ball."""
    r = d.between(0.28, 0.38)
    return design("gym_ball", [ball(0, 0, r * 0.96, 2 * r, 2 * r, 2 * r * 0.96, p.accent())], 2 * r, 2 * r, 2 * r)
