"""The command lines of the data sets: what they ask alike, and do alike."""

# ruff: noqa: T201 - a command line prints

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ask_lib.command import exit_status
from ask_lib.files import atomic_path, check_writable
from ask_scenes.drawing import Drawing, draw_split, one_thread
from ask_scenes.shards import Array
from ask_scenes.sheet import tiled


class Parser(argparse.ArgumentParser):
    """Python's, but what is wrong takes one line, and nothing is abbreviated."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave with status 2."""
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def whole(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers from ``low`` to ``high``, for ``add_argument``'s ``type``."""

    def read(text: str) -> int:
        with_sign = text.strip().removeprefix("-")
        number = int(text) if with_sign.isdecimal() and len(with_sign) < 20 else low - 1
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"expected a whole number from {low} to {high}, got {text!r}")
        return number

    return read


SEED = whole(0, 2**32 - 1)  # what numpy, torch and scikit-learn all take
HEIGHT = whole(12, 2160)
COUNT = whole(1, 10**6)


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], None], about: str, splits: Iterable[str]
) -> argparse.ArgumentParser:
    """A command that knows ``--split``, ``--seed`` and ``--device``.

    Args:
        commands: Of ``add_subparsers``.
        name: What to type.
        run: Called with what was given.
        about: The command's help.
        splits: Names of the splits.

    Returns:
        Its parser, for what else it is to know.
    """
    parser: argparse.ArgumentParser = commands.add_parser(name, help=about)
    parser.add_argument("--split", default="train", choices=tuple(splits))
    parser.add_argument("--seed", type=SEED, default=0)
    parser.add_argument("--device", default="cpu")
    parser.set_defaults(run=run)
    return parser


def run_command(parser: argparse.ArgumentParser, words: Sequence[str] | None) -> int:
    """Run one command, by default the one that the process was started with; returns the exit status."""

    def body() -> None:
        given = parser.parse_args(sys.argv[1:] if words is None else words)
        given.run(given)

    return exit_status(body)


def add_cache(parser: argparse.ArgumentParser) -> None:
    """Options of a command that draws into the cache."""
    parser.add_argument("--workers", type=whole(1, 1024), default=2, help="processes that draw")
    parser.add_argument("--root", type=Path, default=None, help="cache folder; default ASK_CACHE or ~/.cache/ask_lib")


def add_timing(parser: argparse.ArgumentParser) -> None:
    """Options of a command that times the drawing."""
    parser.add_argument("--count", type=COUNT, default=40, help="frames to draw")
    parser.add_argument("--batch", type=COUNT, default=1, help="frames at once")


def three_by_four(height: int) -> tuple[int, int]:
    """Height and width of a 3 : 4 frame."""
    return height, height * 4 // 3


def save_sheet(path: Path, draw: Callable[[], Sequence[Sequence[Array]]]) -> None:
    """Draw a contact sheet and write it as a PNG, whole or not at all.

    Args:
        path: The file.
        draw: Gives the pictures, rows of ``(H, W, 3)`` uint8.

    Raises:
        OSError: If it cannot be written; before anything is drawn where that can be known.
    """
    from PIL import Image

    check_writable(path)
    with one_thread():
        sheet = tiled(draw())
    with atomic_path(path) as part:
        Image.fromarray(sheet).save(part, format="PNG")


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
    rgb = draw_split(drawing, count, root=root, processes=workers, progress=sys.stderr.isatty())["rgb"]
    print(f"{len(rgb)} frames of {tuple(rgb.shape[2:])} in {time.perf_counter() - start:.1f} s")
