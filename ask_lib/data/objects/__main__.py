"""The command line: contact sheets, splits, timings and probes of the objects."""

# ruff: noqa: T201 - a command line prints

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ask_lib.data.objects import CLASSES, SPLITS, ObjectOptions, Objects, render_batch, render_object
from ask_lib.data.objects.classes import CHOICES
from ask_lib.data.objects.probes import ProbeSettings, record_probes
from ask_lib.data.objects.sheet import contact_sheet


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command."""
    given = _parser().parse_args(arguments)
    given.run(given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ask_lib.data.objects", description=__doc__)
    commands = parser.add_subparsers(required=True)
    sheet = commands.add_parser("sheet", help="a contact sheet as a PNG, classes in turn")
    sheet.add_argument("path", type=Path)
    sheet.add_argument("--each", type=int, default=1, help="frames a class")
    sheet.add_argument("--columns", type=int, default=6)
    sheet.add_argument("--panels", nargs="+", default=["rgb"], choices=["rgb", "mask"])
    sheet.add_argument("--names", nargs="+", default=None, choices=CLASSES, metavar="CLASS", help="only these")
    sheet.add_argument("--first", type=int, default=0, help="the first index")
    sheet.add_argument("--same", action="store_true", help="one index for all: the class alone changes")
    _drawing(sheet, height=240, quality="figure", classes="all")
    _shared(sheet, _sheet)
    make = commands.add_parser("make", help="draw a split into the cache")
    make.add_argument("count", type=int)
    make.add_argument("--root", type=Path, default=None, help="cache folder; default ASK_CACHE or ~/.cache/ask_lib")
    make.add_argument("--workers", type=int, default=2)
    _drawing(make, height=120, quality="dataset", classes="judge")
    _shared(make, _make)
    clock = commands.add_parser("time", help="time drawing, without the cache")
    clock.add_argument("--frames", type=int, default=48)
    clock.add_argument("--batch", type=int, default=1)
    _drawing(clock, height=120, quality="dataset", classes="judge")
    _shared(clock, _time)
    probes = commands.add_parser("probes", help="run the probes and write results/objects_probes.json")
    probes.add_argument("--train", type=int, default=ProbeSettings.train)
    probes.add_argument("--val", type=int, default=ProbeSettings.val)
    probes.add_argument("--epochs", type=int, default=ProbeSettings.epochs)
    probes.add_argument("--seeds", type=int, nargs="+", default=list(ProbeSettings.seeds))
    probes.add_argument("--root", type=Path, default=None)
    probes.add_argument("--workers", type=int, default=2)
    probes.add_argument("--out", type=Path, default=Path("results/objects_probes.json"))
    _shared(probes, _probes)
    return parser


def _drawing(parser: argparse.ArgumentParser, *, height: int, quality: str, classes: str) -> None:
    parser.add_argument("--height", type=int, default=height, help="of a 3 : 4 frame")
    parser.add_argument("--square", action="store_true", help="square frames")
    parser.add_argument("--quality", default=quality, choices=["dataset", "figure"])
    parser.add_argument("--classes", default=classes, choices=list(CHOICES))
    parser.add_argument("--coverage", type=float, nargs=2, default=list(ObjectOptions.coverage))
    parser.add_argument("--objects", type=int, default=1, help="objects in a frame")
    parser.add_argument("--background", default="full", choices=["full", "plain"])
    parser.add_argument("--remove-object", action="store_true")


def _shared(parser: argparse.ArgumentParser, run: Any) -> None:
    parser.add_argument("--split", default="train", choices=SPLITS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.set_defaults(run=run)


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
    from PIL import Image

    options = _options(given)
    names = given.names or CHOICES[given.classes]
    torch.set_num_threads(1)  # small steps: threads cost more than they bring
    frames = [
        render_object(
            given.first + each + (0 if given.same else number * given.each),
            seed=given.seed,
            split=given.split,
            label=name,
            options=options,
            device=given.device,
        )
        for number, name in enumerate(names)
        for each in range(given.each)
    ]
    rows = [frames[i : i + given.columns] for i in range(0, len(frames), given.columns)]
    given.path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(contact_sheet(rows, given.panels)).save(given.path)
    print(f"{given.path}: {', '.join(names)}")


def _make(given: argparse.Namespace) -> None:
    start = time.perf_counter()
    objects = Objects(
        given.split, given.count, given.seed, _options(given), root=given.root, workers=given.workers,
        device=given.device,
    )  # fmt: skip
    print(f"{len(objects)} frames of {tuple(objects.rgb.shape[2:])} in {time.perf_counter() - start:.1f} s")


def _time(given: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    options = _options(given)
    render_object(0, options=options, device=given.device)
    wall, busy = time.perf_counter(), time.process_time()
    for first in range(0, given.frames, given.batch):
        numbers = range(first, min(first + given.batch, given.frames))
        render_batch(numbers, seed=given.seed, split=given.split, options=options, device=given.device)
    wall, busy = time.perf_counter() - wall, time.process_time() - busy
    print(f"{given.frames} frames, one process: {1000 * wall / given.frames:.0f} ms a frame on the clock, ", end="")
    print(f"{1000 * busy / given.frames:.0f} ms of processor time")


def _probes(given: argparse.Namespace) -> None:
    settings = ProbeSettings(
        train=given.train,
        val=given.val,
        epochs=given.epochs,
        seeds=tuple(given.seeds),
        data_seed=given.seed,
        workers=given.workers,
        device=given.device,
    )
    record_probes(settings, given.out, given.root, print)
    print(f"written to {given.out}")


if __name__ == "__main__":
    main()
