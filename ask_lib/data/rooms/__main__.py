"""The command line: contact sheets, splits, timings and probes of the rooms."""

# ruff: noqa: T201 - a command line prints

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ask_lib.data.embedded import commands
from ask_lib.data.embedded.drawing import one_thread
from ask_lib.data.rooms import LABELS, SPLITS, VERSION, RoomOptions, Rooms, render_batch, render_room
from ask_lib.data.rooms.probes import ProbeSettings, run_probes
from ask_lib.data.rooms.sheet import contact_sheet


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command."""
    _commands().run(arguments)


def _commands() -> commands.CommandLine:
    line = commands.CommandLine("ask_lib.data.rooms", __doc__, SPLITS)
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
    probes = line.add("probes", _probes, "run the probes and write results/rooms_probes.json")
    probes.add_argument("--inputs", nargs="+", default=list(ProbeSettings.inputs), help="such as rgb or rgb+depth")
    commands.add_probes(probes, ProbeSettings(), Path("results/rooms_probes.json"))
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
    where = {"root": given.root, "workers": given.workers, "device": given.device}
    commands.time_split(lambda: Rooms(given.split, given.count, given.seed, options, **where))


def _time(given: argparse.Namespace) -> None:
    options = RoomOptions(size=commands.three_by_four(given.height))
    draw = partial(render_batch, seed=given.seed, split=given.split, options=options, device=given.device)
    commands.time_drawing(draw, given.count, given.batch)


def _probes(given: argparse.Namespace) -> None:
    settings = commands.probe_settings(ProbeSettings(), given, inputs=tuple(given.inputs))
    report = partial(print, flush=True)
    commands.run_probe_command(given, settings, VERSION, lambda keep: run_probes(settings, given.root, report, keep))


if __name__ == "__main__":
    main()
