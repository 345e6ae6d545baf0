"""The command line: contact sheets, splits and timings of the rooms."""

# ruff: noqa: T201 - a command line prints

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ask_scenes import commands
from ask_scenes.drawing import one_thread
from ask_scenes.rooms import LABELS, SPLITS, RoomOptions, render_batch, render_room
from ask_scenes.rooms.sheet import contact_sheet
from ask_scenes.rooms.split import drawing_of


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command."""
    _commands().run(arguments)


def _commands() -> commands.CommandLine:
    line = commands.CommandLine("ask_scenes.rooms", __doc__, SPLITS)
    sheet = line.add("sheet", _sheet, "a contact sheet of all classes as a PNG")
    sheet.add_argument("path", type=Path)
    sheet.add_argument("--columns", type=int, default=4, help="frames a class")
    sheet.add_argument("--height", type=int, default=240)
    sheet.add_argument("--panels", nargs="+", default=["rgb"], choices=["rgb", "depth", "key"])
    sheet.add_argument("--quality", default="figure", choices=["dataset", "figure"])
    sheet.add_argument("--labels", nargs="+", default=list(LABELS), choices=LABELS)
    sheet.add_argument("--remove-key-objects", action="store_true")
    sheet.add_argument("--remove-distractors", action="store_true")
    sheet.add_argument("--first", type=int, default=0, help="the first index")
    make = line.add("make", _make, "draw a split into the cache")
    make.add_argument("count", type=int)
    make.add_argument("--height", type=int, default=120)
    make.add_argument("--exact", action="store_true", help="keep exact depth and normals too")
    commands.add_cache(make)
    clock = line.add("time", _time, "time drawing, without the cache")
    clock.add_argument("--height", type=int, default=120)
    commands.add_timing(clock)
    return line


def _sheet(given: argparse.Namespace) -> None:
    options = RoomOptions(
        size=commands.three_by_four(given.height),
        quality=given.quality,
        remove_key_objects=given.remove_key_objects,
        remove_distractors=given.remove_distractors,
    )
    render = partial(render_room, seed=given.seed, split=given.split, options=options, device=given.device)
    with one_thread():
        rows = [
            [render(given.first + LABELS.index(label) + 10 * column) for column in range(given.columns)]
            for label in given.labels
        ]
    commands.save_sheet(given.path, contact_sheet(rows, given.panels))
    print(f"{given.path}: {len(rows)} rows ({', '.join(given.labels)})")


def _make(given: argparse.Namespace) -> None:
    options = RoomOptions(size=commands.three_by_four(given.height), exact=given.exact)
    commands.time_split(
        drawing_of(given.split, given.seed, options, given.device), given.count, given.root, given.workers
    )


def _time(given: argparse.Namespace) -> None:
    options = RoomOptions(size=commands.three_by_four(given.height))
    draw = partial(render_batch, seed=given.seed, split=given.split, options=options, device=given.device)
    commands.time_drawing(draw, given.count, given.batch)


if __name__ == "__main__":
    main()
