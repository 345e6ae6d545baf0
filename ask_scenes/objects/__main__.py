"""The command line: contact sheets, splits and timings of the objects."""

# ruff: noqa: T201 - a command line prints

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ask_scenes import commands
from ask_scenes.drawing import one_thread
from ask_scenes.objects import CLASSES, SPLITS, ObjectOptions, render_batch, render_object
from ask_scenes.objects.classes import CHOICES
from ask_scenes.objects.sheet import contact_sheet
from ask_scenes.objects.split import drawing_of


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command."""
    _commands().run(arguments)


def _commands() -> commands.CommandLine:
    line = commands.CommandLine("ask_scenes.objects", __doc__, SPLITS)
    sheet = line.add("sheet", _sheet, "a contact sheet as a PNG, classes in turn")
    sheet.add_argument("path", type=Path)
    sheet.add_argument("--each", type=int, default=1, help="frames a class")
    sheet.add_argument("--columns", type=int, default=6)
    sheet.add_argument("--panels", nargs="+", default=["rgb"], choices=["rgb", "mask"])
    sheet.add_argument("--names", nargs="+", default=None, choices=CLASSES, metavar="CLASS", help="only these")
    sheet.add_argument("--first", type=int, default=0, help="the first index")
    sheet.add_argument("--same", action="store_true", help="one index for all: the class alone changes")
    _drawing(sheet, height=240, quality="figure", classes="all")
    make = line.add("make", _make, "draw a split into the cache")
    make.add_argument("count", type=int)
    _drawing(make, height=120, quality="dataset", classes="judge")
    commands.add_cache(make)
    clock = line.add("time", _time, "time drawing, without the cache")
    _drawing(clock, height=120, quality="dataset", classes="judge")
    commands.add_timing(clock)
    return line


def _drawing(parser: argparse.ArgumentParser, *, height: int, quality: str, classes: str) -> None:
    parser.add_argument("--height", type=int, default=height, help="of a 3 : 4 frame")
    parser.add_argument("--square", action="store_true", help="square frames")
    parser.add_argument("--quality", default=quality, choices=["dataset", "figure"])
    parser.add_argument("--classes", default=classes, choices=list(CHOICES))
    parser.add_argument("--coverage", type=float, nargs=2, default=list(ObjectOptions.coverage))
    parser.add_argument("--objects", type=int, default=1, help="objects in a frame")
    parser.add_argument("--background", default="full", choices=["full", "plain"])
    parser.add_argument("--remove-object", action="store_true")


def _options(given: argparse.Namespace) -> ObjectOptions:
    return ObjectOptions(
        size=(given.height, given.height if given.square else given.height * 4 // 3),
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
    with one_thread():
        frames = [
            render(given.first + each + (0 if given.same else number * given.each), label=name)
            for number, name in enumerate(names)
            for each in range(given.each)
        ]
    rows = [frames[i : i + given.columns] for i in range(0, len(frames), given.columns)]
    commands.save_sheet(given.path, contact_sheet(rows, given.panels))
    print(f"{given.path}: {', '.join(names)}")


def _make(given: argparse.Namespace) -> None:
    commands.time_split(
        drawing_of(given.split, given.seed, _options(given), given.device), given.count, given.root, given.workers
    )


def _time(given: argparse.Namespace) -> None:
    draw = partial(render_batch, seed=given.seed, split=given.split, options=_options(given), device=given.device)
    commands.time_drawing(draw, given.count, given.batch)


if __name__ == "__main__":
    main()
