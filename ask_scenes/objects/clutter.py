"""Things that lie about and hang on walls: they tell nothing of the class."""

from __future__ import annotations

from collections.abc import Callable

from ask_scenes.objects.decor import Decor
from ask_scenes.objects.makers.shapes import lathe, smooth
from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.materials import Material
from ask_scenes.rooms.parts import Part, ball, box, cushion, moved, post, rod, sheet, tilted, turn_x, turn_y, turn_z

Clutter = Callable[[Draws, Decor], list[Part]]


def books_lying(d: Draws, p: Decor) -> list[Part]:
    """A pile of books."""
    parts, z = [], 0.0
    for _ in range(d.integer(2, 4)):
        w, dep, h = d.between(0.4, 0.6), d.between(0.28, 0.4), d.between(0.05, 0.1)
        turn = turn_z(d.between(-0.3, 0.3))
        cover = p.small()
        parts.append(tilted(box(0, 0, z, w, dep, h, cover), turn))
        parts.append(
            tilted(
                box(
                    0,
                    0,
                    z + 0.012,
                    w * 0.97,
                    dep * 1.005,
                    h - 0.024,
                    Material("plain", (0.9, 0.87, 0.8), (0.8, 0.8, 0.8)),
                ),
                turn,
            )
        )
        z += h
    return parts


def books_standing(d: Draws, p: Decor) -> list[Part]:
    """A row of books, the last one leaning."""
    parts, x = [], -0.3
    while x < 0.24:
        w, h = d.between(0.05, 0.1), d.between(0.42, 0.62)
        book = box(x + w / 2, 0, 0, w, d.between(0.28, 0.36), h, p.small())
        parts.append(book)
        x += w + 0.004
    lean = box(x + 0.09, 0, 0, 0.06, 0.3, 0.5, p.small())
    return [*parts, tilted(lean, turn_y(-0.22))]


def carton(d: Draws, p: Decor) -> list[Part]:
    """A box, or two."""
    w, h, look = d.between(0.28, 0.5), d.between(0.2, 0.4), p.small()
    parts = [box(0, 0, 0, w, w * d.between(0.6, 1.0), h, look)]
    if d.chance(0.4):
        parts.append(tilted(box(0, 0, h, w * 0.6, w * 0.5, h * 0.5, p.small()), turn_z(d.between(0, 1))))
    return parts


def toy_ball(d: Draws, p: Decor) -> list[Part]:
    """A ball."""
    r = d.between(0.11, 0.2)
    return [ball(0, 0, r, 2 * r, 2 * r, 2 * r, p.small(0.4))]


def plant(d: Draws, p: Decor) -> list[Part]:
    """A pot with leaves."""
    r, h, leaf = d.between(0.11, 0.15), d.between(0.18, 0.26), p.small()
    parts = [post(0, 0, 0, r * 0.75, h, p.small(), 1.35)]
    count = d.integer(6, 9)
    for i in range(count):
        angle, lean, long = 6.283 * (i + d.unit() * 0.6) / count, d.between(0.15, 0.8), d.between(0.35, 0.55)
        blade = tilted(ball(0, 0, h + long * 0.42, 0.1, 0.025, long, leaf), turn_x(-lean))
        parts.append(moved(moved(blade, (0, long * 0.4 * lean, -0.04 * lean), 0.0), (0, 0, 0), angle))
    return parts


def bowl(d: Draws, p: Decor) -> list[Part]:
    """A bowl of round things."""
    r, fruit = d.between(0.2, 0.27), p.small(0.3)
    parts = lathe(smooth([(0, r * 0.5), (0.06, r * 0.75), (0.15, r)], 5), p.small(0.4))
    return parts + [
        ball(x * r, y * r, 0.16, 0.15, 0.15, 0.15, fruit)
        for x, y in ((0.4, 0), (-0.3, 0.35), (-0.2, -0.4), (0.05, 0.02))
    ]


def bottles(d: Draws, p: Decor) -> list[Part]:
    """One to three bottles and jars."""
    parts: list[Part] = []
    for i in range(d.integer(1, 3)):
        r, h = d.between(0.06, 0.1), d.between(0.3, 0.6)
        body = smooth([(0, r), (h * 0.55, r), (h * 0.75, r * 0.4), (h, r * 0.38)], 7)
        parts += lathe(body, p.small(0.6), 0.22 * (i - 0.6), d.between(-0.08, 0.08))
    return parts


def blocks(d: Draws, p: Decor) -> list[Part]:
    """Toy blocks."""
    parts = []
    for i in range(d.integer(3, 5)):
        s = d.between(0.1, 0.16)
        z = 0.0 if i < 3 else s
        parts.append(
            tilted(box(0.17 * (i % 3 - 1), d.between(-0.06, 0.06), z, s, s, s, p.small()), turn_z(d.between(0, 1.5)))
        )
    return parts


def candle(d: Draws, p: Decor) -> list[Part]:
    """A candle on a dish."""
    h = d.between(0.2, 0.45)
    return [
        post(0, 0, 0, 0.12, 0.03, p.small(0.4), 1.2),
        post(0, 0, 0.03, d.between(0.04, 0.07), h, p.small()),
        post(0, 0, h + 0.03, 0.006, 0.05, p.metal()),
    ]


def standing_picture(d: Draws, p: Decor) -> list[Part]:
    """A framed picture that leans back."""
    w, h = d.between(0.3, 0.48), d.between(0.34, 0.5)
    frame = box(0, 0, 0, w, 0.035, h, p.small())
    print_ = sheet(0, -0.019, h / 2, w * 0.86, h * 0.86, p.decal(d.choice(("picture", "map", "notes"))))
    turned = moved(print_, (0, 0, 0), 3.14159)
    turned = moved(turned, (0, -2 * turned.centre[1] - 0.019, 0), 0.0)
    return [tilted(frame, turn_x(0.0)), turned]


def roll(d: Draws, p: Decor) -> list[Part]:
    """A lying roll or tin."""
    r = d.between(0.07, 0.12)
    return [rod(0, 0, r, d.between(0.25, 0.5), r, p.small(0.3))]


def folded(d: Draws, p: Decor) -> list[Part]:
    """Folded cloths."""
    w = d.between(0.35, 0.5)
    return [cushion(0, 0, 0.09 * i, w, w * 0.7, 0.09, p.soft(), 0.04) for i in range(d.integer(1, 3))]


STANDING: tuple[Clutter, ...] = (
    books_lying, books_standing, carton, toy_ball, plant, bowl, bottles, blocks, candle, standing_picture, roll, folded,
)  # fmt: skip
REACH = 0.3


def on_wall(d: Draws, p: Decor, low: float, high: float) -> list[Part]:
    """A picture, map, pinboard or little shelf on a wall, seen from -y, about x = 0."""
    z = d.between(low, high)
    if d.chance(0.25):
        wood, parts = p.small(), [box(0, -0.12, z, d.between(0.8, 1.3), 0.24, 0.035, p.hard())]
        for x in (-0.3, 0.0, 0.3):
            if d.chance(0.7):
                parts.append(box(x, -0.12, z + 0.035, d.between(0.06, 0.2), 0.16, d.between(0.12, 0.36), p.small()))
        return [*parts, box(0, -0.03, z - 0.08, 0.06, 0.06, 0.08, wood)]
    w, h = d.between(0.5, 1.2), d.between(0.45, 0.9)
    print_ = p.decal(d.choice(("picture", "picture", "map", "notes", "sky", "board")), gloss=0.05)
    return [
        box(0, -0.02, z - h / 2, w + 0.05, 0.04, h + 0.05, p.small()),
        moved(sheet(0, 0.045, z, w, h, print_), (0, 0, 0), 3.14159265),
    ]
