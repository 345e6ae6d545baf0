"""The materials of a setting, drawn without knowing what will stand in it.

A palette of its own, so that the objects do not change when the rooms' palette is tuned.
"""

from __future__ import annotations

from dataclasses import replace

from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.materials import NEUTRALS, WOODS, Colour, Material, muted, shade

WALLS: tuple[tuple[str, float], ...] = (
    ("plain", 0.52), ("damask", 0.07), ("stripe", 0.1), ("tile", 0.12), ("brick", 0.09), ("speckle", 0.1),
)  # fmt: skip
FLOORS: tuple[tuple[str, float], ...] = (
    ("planks", 4.0), ("tile", 1.5), ("speckle", 2.0), ("weave", 1.0), ("plain", 1.5), ("check", 0.5),
)  # fmt: skip
CLOTHS: tuple[tuple[str, float], ...] = (
    ("weave", 0.4), ("plain", 0.3), ("stripe", 0.1), ("check", 0.08), ("speckle", 0.12),
)  # fmt: skip


def _of(draws: Draws, table: tuple[tuple[str, float], ...]) -> str:
    return draws.choice([name for name, _ in table], [weight for _, weight in table])


class Decor:
    """Walls, floor, furniture and prints.

    Args:
        draws: The stream to draw from.

    Attributes:
        wall: Of all walls.
        floor: Of the floor.
    """

    def __init__(self, draws: Draws) -> None:
        self._draws = draws
        self.wall = self._wall()
        self.floor = self._floor()
        self._furniture = [self._any_hard() for _ in range(3)]
        self._metal = self._solid("plain", draws.choice(((0.75, 0.75, 0.76), (0.25, 0.25, 0.27), (0.7, 0.6, 0.4))), 0.6)
        self._accents = [muted(draws, (0.3, 0.88), (0.15, 0.52)) for _ in range(4)]

    def hard(self) -> Material:
        """Of furniture: wood or paint."""
        return self._draws.choice(self._furniture)

    def soft(self) -> Material:
        """Of cloths."""
        base = self._draws.choice(NEUTRALS) if self._draws.chance(0.4) else muted(self._draws, (0.3, 0.85), (0.1, 0.5))
        return self._solid(_of(self._draws, CLOTHS), base, 0.0, self._draws.between(0.06, 0.2))

    def metal(self) -> Material:
        """Of wires and rods."""
        return self._metal

    def decal(self, texture: str, gloss: float = 0.0) -> Material:
        """A print."""
        base, second = self._draws.shuffled([*self._accents, *NEUTRALS])[:2]
        return Material(texture, base, second, 0.1, gloss, 0.0, self._draws.integer(0, 65535))

    def small(self, gloss: float = 0.1) -> Material:
        """A colour of its own for a small thing."""
        d = self._draws
        kind = d.choice(("hue", "neutral", "wood"), (0.5, 0.3, 0.2))
        if kind == "hue":
            base = muted(d, (0.3, 0.88), (0.15, 0.6))
        else:
            base = shade(d.choice(NEUTRALS if kind == "neutral" else WOODS), d.between(0.85, 1.1))
        texture = d.choice(("plain", "grain", "speckle", "stripe", "weave"), (0.7, 0.1, 0.06, 0.08, 0.06))
        return self._solid(texture, base, gloss, d.between(0.06, 0.16))

    def _solid(self, texture: str, base: Colour, gloss: float = 0.0, scale: float = 0.3) -> Material:
        second = shade(base, self._draws.between(0.68, 0.88))
        return Material(texture, base, second, scale, gloss, 0.0, self._draws.integer(0, 65535))

    def _wood(self) -> Colour:
        return shade(self._draws.choice(WOODS), self._draws.between(0.85, 1.1))

    def _any_hard(self) -> Material:
        kind, gloss = self._draws.choice(("wood", "neutral", "paint"), (0.5, 0.3, 0.2)), self._draws.between(0.02, 0.25)
        if kind == "wood":
            return self._solid("grain", self._wood(), gloss, self._draws.between(0.2, 0.5))
        if kind == "neutral":
            return self._solid("plain", self._draws.choice(NEUTRALS), gloss)
        return self._solid("plain", muted(self._draws, (0.35, 0.85), (0.1, 0.45)), gloss)

    def _wall(self) -> Material:
        base = muted(self._draws, (0.62, 0.93), (0.02, 0.22))
        if self._draws.chance(0.18):
            base = muted(self._draws, (0.4, 0.62), (0.12, 0.36))
        return self._solid(_of(self._draws, WALLS), base, 0.0, self._draws.between(0.14, 0.34))

    def _floor(self) -> Material:
        texture = _of(self._draws, FLOORS)
        if texture == "planks":
            return self._solid(texture, self._wood(), 0.12, self._draws.between(0.09, 0.2))
        neutral = self._draws.chance(0.6)
        base = self._draws.choice(NEUTRALS[:5]) if neutral else muted(self._draws, (0.35, 0.8), (0.05, 0.28))
        return replace(self._solid(texture, base, 0.1), scale=self._draws.between(0.25, 0.5))
