"""Colours and materials, and the palette of one room.

Nothing here knows the room's class: a palette is drawn first, and every object picks from it by role (hard, soft,
metal, accent) alone.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass, replace

from ask_scenes.rooms.draws import Draws

Colour = tuple[float, float, float]

SURFACES = ("plain", "grain", "weave", "speckle", "stripe", "check", "tile", "planks", "brick", "damask")
DECALS = (
    "screen", "board", "picture", "mirror", "rug", "rings", "plates", "oven", "porthole", "books", "keyboard",
    "paper", "clock", "sky", "glow", "notes", "buttons", "slats", "map",
)  # fmt: skip
TEXTURES = (*SURFACES, *DECALS)
APART = 0.22  # brightness by which furniture differs from the wall, unless it is camouflaged

WOODS: tuple[Colour, ...] = (
    (0.82, 0.68, 0.50), (0.70, 0.53, 0.36), (0.56, 0.38, 0.24), (0.40, 0.26, 0.17), (0.74, 0.62, 0.50),
    (0.62, 0.46, 0.34), (0.30, 0.21, 0.16), (0.88, 0.80, 0.68),
)  # fmt: skip
NEUTRALS: tuple[Colour, ...] = (
    (0.93, 0.92, 0.89), (0.86, 0.84, 0.80), (0.70, 0.69, 0.67), (0.50, 0.50, 0.51), (0.30, 0.31, 0.33),
    (0.17, 0.17, 0.19), (0.90, 0.86, 0.78),
)  # fmt: skip


@dataclass(frozen=True)
class Material:
    """How a surface looks.

    Attributes:
        texture: One of ``TEXTURES``.
        base: Main colour, sRGB in [0, 1].
        second: The texture's other colour.
        scale: Size of the texture's element, metres.
        gloss: Strength of the highlight, in [0, 1].
        glow: Light sent out by the surface itself, relative to white paper in the room's light.
        seed: Which of the texture's random forms.
    """

    texture: str
    base: Colour
    second: Colour
    scale: float = 0.3
    gloss: float = 0.0
    glow: float = 0.0
    seed: int = 0

    def paint(self, texture: str, seed: int, *, glow: float = 0.0, gloss: float | None = None) -> Material:
        """The same colours under another texture."""
        return replace(self, texture=texture, seed=seed, glow=glow, gloss=self.gloss if gloss is None else gloss)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """``first`` with a share of ``second``."""
    r, g, b = (a * (1 - share) + c * share for a, c in zip(first, second, strict=True))
    return r, g, b


def shade(colour: Colour, factor: float) -> Colour:
    """A darker or lighter colour, kept in [0, 1]."""
    r, g, b = (min(max(c * factor, 0.02), 0.97) for c in colour)
    return r, g, b


def _brightness(colour: Colour) -> float:
    return 0.3 * colour[0] + 0.6 * colour[1] + 0.1 * colour[2]


def muted(draws: Draws, value: tuple[float, float], saturation: tuple[float, float]) -> Colour:
    """A colour of any hue; strong yellow-greens and magentas, which rooms seldom have, are toned down."""
    hue, sat, val = draws.unit(), draws.between(*saturation), draws.between(*value)
    rare = 0.18 < hue < 0.42 or 0.72 < hue < 0.95
    return colorsys.hsv_to_rgb(hue, sat * (0.55 if rare else 1.0), val)


class Palette:
    """The materials of one room, drawn before the room is furnished.

    Args:
        draws: The stream to draw from.
        camouflage: Share of objects that take the wall's or the floor's material.
    """

    def __init__(self, draws: Draws, camouflage: float) -> None:
        self._draws = draws
        self._camouflage = camouflage
        busy = camouflage > 0.5
        self.wall = self._wall(busy)
        self.floor = self._floor()
        self.ceiling = Material("plain", mix(self.wall.base, (0.95, 0.95, 0.94), 0.75), (0.9, 0.9, 0.9))
        self._hard = [self._apart(self._any_hard) for _ in range(draws.integer(3, 4))]
        self._soft = [self._apart(self._any_soft) for _ in range(draws.integer(3, 4))]
        self._smooth = [self._apart(self._any_smooth) for _ in range(2)]
        self._metal = self._any_metal()
        self._accents = [muted(draws, (0.3, 0.85), (0.15, 0.52)) for _ in range(4)]

    def pick_with(self, draws: Draws) -> None:
        """Pick from now on with another stream; the materials stay."""
        self._draws = draws

    def hard(self) -> Material:
        """For furniture: wood or paint."""
        return self._hidden() or self._draws.choice(self._hard)

    def soft(self) -> Material:
        """For what is upholstered or woven."""
        return self._hidden() or self._draws.choice(self._soft)

    def smooth(self) -> Material:
        """For enamel, ceramics and painted sheet."""
        return self._hidden() or self._draws.choice(self._smooth)

    def shining(self, glow: float) -> Material:
        """For lamps and their shades: near white."""
        warm = (1.0, self._draws.between(0.9, 0.97), self._draws.between(0.78, 0.95))
        return Material("glow", warm, warm, 0.1, 0.0, glow, 0)

    def metal(self) -> Material:
        """For legs, handles and taps."""
        return self._metal

    def accent(self) -> Material:
        """A small thing's own colour."""
        base = self._draws.choice([*self._accents, *NEUTRALS[:4]])
        return self._solid("plain", base, gloss=0.1)

    def decal(self, texture: str, *, glow: float = 0.0, gloss: float = 0.0) -> Material:
        """A flat thing's print, in the room's accents."""
        base, second = self._draws.shuffled([*self._accents, *NEUTRALS])[:2]
        return Material(texture, base, second, 0.1, gloss, glow, self._seed())

    def _seed(self) -> int:
        return self._draws.integer(0, 65535)

    def _solid(self, texture: str, base: Colour, gloss: float = 0.0, scale: float = 0.3) -> Material:
        second = shade(base, self._draws.between(0.72, 0.9))
        return Material(texture, base, second, scale, gloss, 0.0, self._seed())

    def _wood(self) -> Colour:
        return shade(self._draws.choice(WOODS), self._draws.between(0.85, 1.1))

    def _apart(self, make: Callable[[], Material]) -> Material:
        """A material whose brightness differs from the wall's, if a few draws give one."""
        material = make()
        for _ in range(4):
            if abs(_brightness(material.base) - _brightness(self.wall.base)) > APART:
                break
            material = make()
        return material

    def _hidden(self) -> Material | None:
        if not self._draws.chance(self._camouflage):
            return None
        return self.wall if self._draws.chance(0.7) else self.floor

    def _any_hard(self) -> Material:
        kind = self._draws.choice(("wood", "neutral", "paint"), (0.5, 0.3, 0.2))
        gloss = self._draws.between(0.02, 0.25)
        if kind == "wood":
            return self._solid("grain", self._wood(), gloss, self._draws.between(0.2, 0.5))
        if kind == "neutral":
            return self._solid("plain", self._draws.choice(NEUTRALS), gloss)
        return self._solid("plain", muted(self._draws, (0.35, 0.85), (0.1, 0.45)), gloss)

    def _any_smooth(self) -> Material:
        neutral = self._draws.chance(0.65)
        base = self._draws.choice(NEUTRALS) if neutral else muted(self._draws, (0.4, 0.9), (0.1, 0.45))
        return self._solid("plain", base, self._draws.between(0.15, 0.5))

    def _any_soft(self) -> Material:
        texture = self._draws.choice(("weave", "plain", "stripe", "check", "speckle"), (0.4, 0.3, 0.1, 0.08, 0.12))
        neutral = self._draws.chance(0.4)
        base = self._draws.choice(NEUTRALS) if neutral else muted(self._draws, (0.25, 0.8), (0.1, 0.45))
        return self._solid(texture, base, 0.0, self._draws.between(0.06, 0.2))

    def _any_metal(self) -> Material:
        base = self._draws.choice(((0.75, 0.75, 0.76), (0.22, 0.22, 0.24), (0.72, 0.62, 0.42), (0.5, 0.5, 0.52)))
        return Material("plain", base, shade(base, 0.8), 0.3, 0.6)

    def _wall(self, busy: bool) -> Material:
        texture = self._draws.choice(
            ("plain", "damask", "stripe", "tile", "brick", "speckle"),
            (0.1, 0.3, 0.15, 0.1, 0.15, 0.2) if busy else (0.82, 0.04, 0.03, 0.05, 0.03, 0.03),
        )
        base = muted(self._draws, (0.62, 0.93), (0.02, 0.2))
        if self._draws.chance(0.15):
            base = muted(self._draws, (0.4, 0.62), (0.12, 0.34))
        return self._solid(texture, base, 0.0, self._draws.between(0.14, 0.34))

    def _floor(self) -> Material:
        texture = self._draws.choice(("planks", "tile", "speckle", "weave", "plain", "check"), (3, 1.3, 2, 1.5, 3, 0.2))
        if texture == "planks":
            return self._solid(texture, self._wood(), 0.12, self._draws.between(0.09, 0.2))
        neutral = self._draws.chance(0.6)
        base = self._draws.choice(NEUTRALS[:5]) if neutral else muted(self._draws, (0.35, 0.8), (0.05, 0.28))
        gloss = 0.15 if texture in ("tile", "check", "plain") else 0.0
        return self._solid(texture, base, gloss, self._draws.between(0.25, 0.5))
