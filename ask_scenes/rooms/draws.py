"""Random numbers keyed by words, equal on every machine and with every numpy.

numpy promises to keep the raw stream of its bit generators, but not what ``Generator`` makes of it, so everything
is built here on the raw stream of PCG64.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def key_of(*words: object) -> int:
    """A 128-bit key from words: the same words give the same key, and no two lists of words share one."""
    text = "\x1f".join(str(word) for word in words)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


class Draws:
    """A stream of random numbers, fixed by its words.

    Args:
        words: What the stream is for, such as version, seed, index and purpose.
    """

    def __init__(self, *words: object) -> None:
        self._bits = np.random.PCG64(key_of(*words))

    def unit(self) -> float:
        """Uniform in [0, 1)."""
        return (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def between(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self.unit()

    def integer(self, low: int, high: int) -> int:
        """Uniform among low, ..., high, both ends included."""
        return low + int(self.unit() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.unit() < probability

    def normal(self, sigma: float = 1.0) -> float:
        """Normal with mean 0 (Box and Muller)."""
        radius = math.sqrt(-2.0 * math.log(1.0 - self.unit()))
        return sigma * radius * math.cos(2.0 * math.pi * self.unit())

    def choice(self, items: Sequence[Item], weights: Sequence[float] | None = None) -> Item:
        """One of the items, all equally likely unless weights say otherwise."""
        if weights is None:
            return items[self.integer(0, len(items) - 1)]
        left = self.unit() * sum(weights)
        for item, weight in zip(items, weights, strict=True):
            left -= weight
            if left < 0:
                return item
        return items[-1]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """The items in random order."""
        return [item for _, item in sorted(((self.unit(), item) for item in items), key=lambda pair: pair[0])]

    def poisson(self, mean: float) -> int:
        """A Poisson count."""
        count, left = 0, self.unit() - math.exp(-mean)
        term = math.exp(-mean)
        while left >= 0 and count < 100:
            count += 1
            term *= mean / count
            left -= term
        return count

    def units(self, *shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """An array of uniforms in [0, 1)."""
        raw = self._bits.random_raw(math.prod(shape))
        return (raw >> np.uint64(11)).astype(np.float64).reshape(shape) * 2.0**-53

    def normals(self, *shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """An array of standard normals."""
        pair = self.units(2, math.prod(shape))
        radius: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = np.sqrt(-2.0 * np.log1p(-pair[0]))
        wave: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = np.cos(2.0 * np.pi * pair[1])
        return (radius * wave).reshape(shape)
