"""The command line: contact sheets, splits, timings and probes of the rooms."""

# ruff: noqa: T201 - a command line prints

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ask_lib.data.rooms import LABELS, SPLITS, VERSION, RoomOptions, Rooms, render_batch, render_room
from ask_lib.data.rooms.probes import ProbeSettings, run_probes
from ask_lib.data.rooms.sheet import contact_sheet
from ask_lib.reproduce import environment_report


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command."""
    given = _parser().parse_args(arguments)
    given.run(given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ask_lib.data.rooms", description=__doc__)
    commands = parser.add_subparsers(required=True)
    sheet = commands.add_parser("sheet", help="a contact sheet of all classes as a PNG")
    sheet.add_argument("path", type=Path)
    sheet.add_argument("--columns", type=int, default=4, help="frames a class")
    sheet.add_argument("--height", type=int, default=240)
    sheet.add_argument("--panels", nargs="+", default=["rgb"], choices=["rgb", "depth", "key"])
    sheet.add_argument("--quality", default="figure", choices=["dataset", "figure"])
    sheet.add_argument("--labels", nargs="+", default=list(LABELS), choices=LABELS)
    sheet.add_argument("--remove-key-objects", action="store_true")
    sheet.add_argument("--remove-distractors", action="store_true")
    sheet.add_argument("--first", type=int, default=0, help="the first index")
    _shared(sheet, _sheet)
    make = commands.add_parser("make", help="draw a split into the cache")
    make.add_argument("count", type=int)
    make.add_argument("--height", type=int, default=120)
    make.add_argument("--exact", action="store_true", help="keep exact depth and normals too")
    _shared(make, _make)
    clock = commands.add_parser("time", help="time drawing, without the cache")
    clock.add_argument("--count", type=int, default=40)
    clock.add_argument("--height", type=int, default=120)
    clock.add_argument("--batch", type=int, default=1)
    _shared(clock, _time)
    probes = commands.add_parser("probes", help="run the probes and write results/rooms_probes.json")
    probes.add_argument("--train", type=int, default=ProbeSettings.train)
    probes.add_argument("--val", type=int, default=ProbeSettings.val)
    probes.add_argument("--height", type=int, default=ProbeSettings.size[0])
    probes.add_argument("--epochs", type=int, default=ProbeSettings.epochs)
    probes.add_argument("--seeds", type=int, nargs="+", default=list(ProbeSettings.seeds))
    probes.add_argument("--inputs", nargs="+", default=list(ProbeSettings.inputs), help="such as rgb or rgb+depth")
    probes.add_argument("--out", type=Path, default=Path("results/rooms_probes.json"))
    _shared(probes, _probes)
    return parser


def _shared(parser: argparse.ArgumentParser, run: Any) -> None:
    parser.add_argument("--split", default="train", choices=SPLITS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--root", type=Path, default=None, help="cache folder; default ASK_CACHE or ~/.cache/ask_lib")
    parser.set_defaults(run=run)


def _size(height: int) -> tuple[int, int]:
    return height, height * 4 // 3


def _sheet(given: argparse.Namespace) -> None:
    from PIL import Image

    options = RoomOptions(
        size=_size(given.height),
        quality=given.quality,
        remove_key_objects=given.remove_key_objects,
        remove_distractors=given.remove_distractors,
    )
    torch.set_num_threads(1)  # small steps: threads cost more than they bring
    rows = [
        [
            render_room(
                given.first + LABELS.index(label) + 10 * column,
                seed=given.seed,
                split=given.split,
                options=options,
                device=given.device,
            )
            for column in range(given.columns)
        ]
        for label in given.labels
    ]
    given.path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(contact_sheet(rows, given.panels)).save(given.path)
    print(f"{given.path}: {len(rows)} rows ({', '.join(given.labels)})")


def _make(given: argparse.Namespace) -> None:
    options = RoomOptions(size=_size(given.height), exact=given.exact)
    start = time.perf_counter()
    rooms = Rooms(
        given.split, given.count, given.seed, options, root=given.root, workers=given.workers, device=given.device
    )
    print(f"{len(rooms)} frames of {tuple(rooms.rgb.shape[2:])} in {time.perf_counter() - start:.1f} s")


def _time(given: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    options = RoomOptions(size=_size(given.height))
    render_room(0, options=options, device=given.device)
    wall, busy = time.perf_counter(), time.process_time()
    for first in range(0, given.count, given.batch):
        numbers = range(first, min(first + given.batch, given.count))
        render_batch(numbers, seed=given.seed, split=given.split, options=options, device=given.device)
    wall, busy = time.perf_counter() - wall, time.process_time() - busy
    print(f"{given.count} frames, one process: {1000 * wall / given.count:.0f} ms a frame on the clock, ", end="")
    print(f"{1000 * busy / given.count:.0f} ms of processor time")


def _probes(given: argparse.Namespace) -> None:
    settings = ProbeSettings(
        train=given.train,
        val=given.val,
        size=_size(given.height),
        epochs=given.epochs,
        seeds=tuple(given.seeds),
        data_seed=given.seed,
        workers=given.workers,
        device=given.device,
        inputs=tuple(given.inputs),
    )
    start, commit = time.perf_counter(), _commit()

    def keep(numbers: dict[str, Any]) -> None:
        record = {
            "command": "python -m ask_lib.data.rooms " + " ".join(sys.argv[1:]),
            "commit": commit,
            "data_version": VERSION,
            "frozen": VERSION > 0,
            "split": "val",
            "settings": dataclasses.asdict(settings),
            "environment": environment_report(torch.device(given.device)),
            "seconds": round(time.perf_counter() - start, 1),
            "numbers": numbers,
        }
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(record, indent=2) + "\n")

    keep(run_probes(settings, given.root, lambda line: print(line, flush=True), keep))
    print(f"written to {given.out}")


def _commit() -> str:
    asked = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
