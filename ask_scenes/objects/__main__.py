"""The command line: contact sheets, splits and timings of the objects."""

# ruff: noqa: T201 - a command line prints

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ask_scenes import commands
from ask_scenes.objects import CLASSES, SPLITS, ObjectOptions, render_batch, render_object
from ask_scenes.objects.classes import CHOICES
from ask_scenes.objects.sheet import PANELS, panel
from ask_scenes.objects.split import drawing_of
from ask_scenes.shards import Array


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    return commands.run_command(_parser(), words)


def _parser() -> argparse.ArgumentParser:
    parser = commands.Parser(prog="python -m ask_scenes.objects", description=__doc__)
    add = partial(commands.add_command, parser.add_subparsers(required=True, metavar="COMMAND"), splits=SPLITS)
    sheet = add("sheet", _sheet, "a contact sheet as a PNG, classes in turn")
    sheet.add_argument("path", type=Path)
    sheet.add_argument("--each", type=commands.COUNT, default=1, help="frames a class")
    sheet.add_argument("--columns", type=commands.COUNT, default=6)
    sheet.add_argument("--panels", nargs="+", default=["rgb"], choices=PANELS)
    sheet.add_argument("--names", nargs="+", default=None, choices=CLASSES, metavar="CLASS", help="only these")
    sheet.add_argument("--first", type=commands.SEED, default=0, help="the first index")
    sheet.add_argument("--same", action="store_true", help="one index for all: the class alone changes")
    _drawing(sheet, height=240, quality="figure", classes="all")
    make = add("make", _make, "draw a split into the cache")
    make.add_argument("count", type=commands.COUNT)
    _drawing(make, height=120, quality="dataset", classes="judge")
    commands.add_cache(make)
    clock = add("time", _time, "time drawing, without the cache")
    _drawing(clock, height=120, quality="dataset", classes="judge")
    commands.add_timing(clock)
    return parser


def _drawing(parser: argparse.ArgumentParser, *, height: int, quality: str, classes: str) -> None:
    parser.add_argument("--height", type=commands.HEIGHT, default=height, help="of a 3 : 4 frame")
    parser.add_argument("--square", action="store_true", help="square frames")
    parser.add_argument("--quality", default=quality, choices=["dataset", "figure"])
    parser.add_argument("--classes", default=classes, choices=list(CHOICES))
    parser.add_argument("--coverage", type=float, nargs=2, default=list(ObjectOptions.coverage))
    parser.add_argument("--objects", type=commands.whole(1, 3), default=1, help="objects in a frame")
    parser.add_argument("--background", default="full", choices=["full", "plain"])
    parser.add_argument("--remove-object", action="store_true")


def _options(given: argparse.Namespace) -> ObjectOptions:
    return ObjectOptions(
        size=(given.height, given.height if given.square else commands.three_by_four(given.height)[1]),
        classes=given.classes,
        coverage=(given.coverage[0], given.coverage[1]),
        count=given.objects,
        background=given.background,
        remove_object=given.remove_object,
        quality=given.quality,
    )


def _sheet(given: argparse.Namespace) -> None:
    names = given.names or CHOICES[given.classes]
    render = partial(render_object, seed=given.seed, split=given.split, options=_options(given), device=given.device)

    def rows() -> list[list[Array]]:
        frames = [
            render(given.first + each + (0 if given.same else number * given.each), label=name)
            for number, name in enumerate(names)
            for each in range(given.each)
        ]
        pictures = [panel(frame, shown) for frame in frames for shown in given.panels]
        across = given.columns * len(given.panels)
        return [pictures[i : i + across] for i in range(0, len(pictures), across)]

    commands.save_sheet(given.path, rows)
    print(f"{given.path}: {', '.join(names)}")


def _make(given: argparse.Namespace) -> None:
    commands.time_split(
        drawing_of(given.split, given.seed, _options(given), given.device), given.count, given.root, given.workers
    )


def _time(given: argparse.Namespace) -> None:
    draw = partial(render_batch, seed=given.seed, split=given.split, options=_options(given), device=given.device)
    commands.time_drawing(draw, given.count, given.batch)


if __name__ == "__main__":
    raise SystemExit(main())
