"""The command lines of the data sets: what they ask alike, and do alike."""

# ruff: noqa: T201 - a command line prints

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ask_lib.files import atomic_path
from ask_scenes.drawing import Drawing, draw_split, one_thread
from ask_scenes.shards import Array


class CommandLine:
    """The commands of a data set.

    Args:
        package: What ``python -m`` runs.
        description: What the commands are for.
        splits: Names of the splits.
    """

    def __init__(self, package: str, description: str | None, splits: Iterable[str]) -> None:
        self.package, self.splits = package, tuple(splits)
        self._parser = argparse.ArgumentParser(prog=f"python -m {package}", description=description)
        self._commands = self._parser.add_subparsers(required=True)

    def add(self, name: str, run: Callable[[argparse.Namespace], None], about: str) -> argparse.ArgumentParser:
        """A command that knows ``--split``, ``--seed`` and ``--device``.

        Args:
            name: What to type.
            run: Called with what was given.
            about: The command's help.

        Returns:
            Its parser, for what else it is to know.
        """
        parser = self._commands.add_parser(name, help=about, allow_abbrev=False)
        parser.add_argument("--split", default="train", choices=self.splits)
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--device", default="cpu")
        parser.set_defaults(run=run)
        return parser

    def run(self, arguments: Sequence[str] | None = None) -> None:
        """Run one command, by default the one that the process was started with."""
        words = sys.argv[1:] if arguments is None else arguments
        given = self._parser.parse_args(words)
        given.run(given)


def add_cache(parser: argparse.ArgumentParser) -> None:
    """Options of a command that draws into the cache."""
    parser.add_argument("--workers", type=int, default=2, help="processes that draw")
    parser.add_argument("--root", type=Path, default=None, help="cache folder; default ASK_CACHE or ~/.cache/ask_lib")


def add_timing(parser: argparse.ArgumentParser) -> None:
    """Options of a command that times the drawing."""
    parser.add_argument("--count", type=int, default=40, help="frames to draw")
    parser.add_argument("--batch", type=int, default=1, help="frames at once")


def three_by_four(height: int) -> tuple[int, int]:
    """Height and width of a 3 : 4 frame."""
    return height, height * 4 // 3


def save_sheet(path: Path, picture: Array) -> None:
    """Write a contact sheet ``(H, W, 3)`` uint8 as a PNG, whole or not at all."""
    from PIL import Image

    with atomic_path(path) as part:
        Image.fromarray(picture).save(part, format="PNG")


def time_drawing(draw: Callable[[Sequence[int]], object], count: int, batch: int) -> None:
    """Draw frames in this process, without the cache, and print what one takes.

    Args:
        draw: Draws the frames of these numbers.
        count: How many frames.
        batch: How many at once.
    """
    with one_thread():
        draw(range(1))  # what is made once is not the frames' own
        wall, busy = time.perf_counter(), time.process_time()
        for first in range(0, count, batch):
            draw(range(first, min(first + batch, count)))
        wall, busy = time.perf_counter() - wall, time.process_time() - busy
    print(f"{count} frames, one process: {1000 * wall / count:.0f} ms a frame on the clock, ", end="")
    print(f"{1000 * busy / count:.0f} ms of processor time")


def time_split(drawing: Drawing[Any], count: int, root: Path | None, workers: int) -> None:
    """Draw a split into the cache, and print how large it is and how long that took."""
    start = time.perf_counter()
    rgb = draw_split(drawing, count, root=root, processes=workers)["rgb"]
    print(f"{len(rgb)} frames of {tuple(rgb.shape[2:])} in {time.perf_counter() - start:.1f} s")
