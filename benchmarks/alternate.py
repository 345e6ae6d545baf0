"""Timings of rivals that take turns in one process, as ratios: machines are noisy, turns share the noise.

A benchmark names its rivals, the baseline first, and prints what comes back::

    theirs, ours = alternate({"plain loop": lambda: loop(maps), "ask_lib": lambda: scda(maps)})
    print(line("SCDA of 64 x 512 x 14 x 14", ours, theirs))  # SCDA ...: 4.10 ms / 15.20 ms = 0.270

A round runs every rival once; its ratio is of that round alone, and the median over the rounds is printed, so that a
moment in which the machine was busy spoils one round and not the result. On CUDA a call ends when the device has
finished. Both must compute the same: the benchmark checks that before it times them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Timing:
    """One rival's rounds.

    Attributes:
        name: Of the rival.
        seconds: Of each round.
        ratio: Median over the rounds of its time / the baseline's time in the same round.
        spread: Quartiles of that ratio.
    """

    name: str
    seconds: tuple[float, ...]
    ratio: float
    spread: tuple[float, float]

    @property
    def median(self) -> float:
        """Median of the rounds, seconds."""
        return statistics.median(self.seconds)


def alternate(rivals: Mapping[str, Callable[[], object]], rounds: int = 20, warm_up: int = 2) -> list[Timing]:
    """Run every rival in turn, round after round; the first is the baseline.

    The order is reversed every other round, so that none always follows the same one.

    Args:
        rivals: Name to a call without arguments.
        rounds: How many rounds are timed; at least 2.
        warm_up: Rounds before, that are not.
    """
    names = list(rivals)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(warm_up + rounds):
        for name in names if number % 2 == 0 else names[::-1]:
            taken = _time(rivals[name])
            if number >= warm_up:
                seconds[name].append(taken)
    return [_timing(name, seconds[name], seconds[names[0]]) for name in names]


def line(name: str, ours: Timing, theirs: Timing) -> str:
    """``name: ours / theirs = ratio``; below 1 ours is quicker.

    Args:
        name: What is timed, with its size.
        ours: Of the library.
        theirs: The baseline: the first of the rivals.
    """
    return f"{name}: {ours.median * 1e3:.2f} ms / {theirs.median * 1e3:.2f} ms = {ours.ratio:.3f}"


def table(timings: list[Timing]) -> str:
    """Lines to print: milliseconds, and the ratio to the first with its quartiles."""
    width = max(len(t.name) for t in timings)
    head = f"{'':{width}}  {'median':>10}  {'ratio':>6}  quartiles of the ratio"
    lines = [
        f"{t.name:{width}}  {t.median * 1e3:7.2f} ms  {t.ratio:6.3f}  {t.spread[0]:.3f} .. {t.spread[1]:.3f}"
        for t in timings
    ]
    return "\n".join([head, *lines])


def _time(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _timing(name: str, seconds: list[float], baseline: list[float]) -> Timing:
    ratios = [mine / theirs for mine, theirs in zip(seconds, baseline, strict=True)]
    quartiles = statistics.quantiles(ratios, n=4)
    return Timing(name, tuple(seconds), statistics.median(ratios), (quartiles[0], quartiles[2]))
