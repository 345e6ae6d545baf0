"""The materials of one object, drawn without knowing its class."""

from __future__ import annotations

import math

from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.materials import NEUTRALS, WOODS, Colour, Material, muted, shade

CONTRAST = 0.2


class Look:
    """What an object is made of.

    Args:
        draws: The stream to draw from.
        avoid: The main colour keeps away from these, so that an object is not lost before its wall.

    Attributes:
        main: Most of the object.
        second: Its other large parts.
        third: Small parts.
        trim: Knobs, hands, rims.
    """

    def __init__(self, draws: Draws, avoid: tuple[Colour, ...] = ()) -> None:
        base = [_colour(draws)]
        for _ in range(20):
            if all(_distance(base[0], other) > CONTRAST for other in avoid):
                break
            base[0] = _colour(draws)
        while len(base) < 4:
            new = _colour(draws)
            if _distance(new, base[-1]) > 0.25 and _distance(new, base[0]) > 0.2:
                base.append(new)
        gloss = draws.choice((0.03, 0.15, 0.5, 0.9))
        self.main = _material(draws, base[0], gloss, busy=True)
        self.second = _material(draws, base[1], gloss, busy=True) if draws.chance(0.75) else self.main
        self.third = _material(draws, base[2], gloss, busy=False)
        self.trim = _material(draws, base[3], draws.between(0.2, 0.9), busy=False)


def _colour(draws: Draws) -> Colour:
    kind = draws.choice(("hue", "neutral", "wood"), (0.55, 0.25, 0.2))
    if kind == "hue":
        return muted(draws, (0.28, 0.9), (0.2, 0.68))
    return shade(draws.choice(NEUTRALS if kind == "neutral" else WOODS), draws.between(0.85, 1.1))


def _material(draws: Draws, base: Colour, gloss: float, *, busy: bool) -> Material:
    names = ("plain", "grain", "speckle", "weave", "stripe", "check")
    texture = draws.choice(names, (0.62, 0.14, 0.08, 0.06, 0.06, 0.04)) if busy else "plain"
    second = shade(base, draws.choice((draws.between(0.65, 0.85), draws.between(1.15, 1.4))))
    return Material(texture, base, second, draws.between(0.08, 0.2), gloss, 0.0, draws.integer(0, 65535))


def _distance(first: Colour, second: Colour) -> float:
    return math.dist(first, second)
