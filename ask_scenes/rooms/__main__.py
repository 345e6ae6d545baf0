"""The command line: contact sheets, splits and timings of the rooms."""

# ruff: noqa: T201 - a command line prints

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ask_scenes import commands
from ask_scenes.rooms import LABELS, SPLITS, RoomOptions, render_batch, render_room
from ask_scenes.rooms.sheet import PANELS, panel
from ask_scenes.rooms.split import drawing_of


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    return commands.run_command(_parser(), words)


def _parser() -> argparse.ArgumentParser:
    parser = commands.Parser(prog="python -m ask_scenes.rooms", description=__doc__)
    add = partial(commands.add_command, parser.add_subparsers(required=True, metavar="COMMAND"), splits=SPLITS)
    sheet = add("sheet", _sheet, "a contact sheet of all classes as a PNG")
    sheet.add_argument("path", type=Path)
    sheet.add_argument("--columns", type=commands.COUNT, default=4, help="frames a class")
    sheet.add_argument("--height", type=commands.HEIGHT, default=240)
    sheet.add_argument("--panels", nargs="+", default=["rgb"], choices=PANELS)
    sheet.add_argument("--quality", default="figure", choices=["dataset", "figure"])
    sheet.add_argument("--labels", nargs="+", default=list(LABELS), choices=LABELS)
    sheet.add_argument("--remove-key-objects", action="store_true")
    sheet.add_argument("--remove-distractors", action="store_true")
    sheet.add_argument("--first", type=commands.SEED, default=0, help="the first index")
    make = add("make", _make, "draw a split into the cache")
    make.add_argument("count", type=commands.COUNT)
    make.add_argument("--height", type=commands.HEIGHT, default=120)
    make.add_argument("--exact", action="store_true", help="keep exact depth and normals too")
    commands.add_cache(make)
    clock = add("time", _time, "time drawing, without the cache")
    clock.add_argument("--height", type=commands.HEIGHT, default=120)
    commands.add_timing(clock)
    return parser


def _sheet(given: argparse.Namespace) -> None:
    options = RoomOptions(
        size=commands.three_by_four(given.height),
        quality=given.quality,
        remove_key_objects=given.remove_key_objects,
        remove_distractors=given.remove_distractors,
    )
    render = partial(render_room, seed=given.seed, split=given.split, options=options, device=given.device)
    commands.save_sheet(
        given.path,
        lambda: [
            [panel(frame, name) for frame in map(render, _indices(label, given)) for name in given.panels]
            for label in given.labels
        ],
    )
    print(f"{given.path}: {len(given.labels)} rows ({', '.join(given.labels)})")


def _indices(label: str, given: argparse.Namespace) -> range:
    first: int = given.first + LABELS.index(label)
    return range(first, first + given.columns * len(LABELS), len(LABELS))


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
    raise SystemExit(main())
