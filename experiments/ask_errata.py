"""Measure what ASK's paper prints wrong or leaves open: each beside "global + local, full" as we have it.

    python -m experiments.ask_errata rows [--rows NAME]   # all rows, or some
    python -m experiments.ask_errata save                 # results/ask_errata.json of what there is; rows ends so too

Streams, maps and regularisation are those of `experiments.ask_nyudv2`, whose stage ``choose`` comes first; the rows in
``SHARED`` are its own, and are not run twice. What `ask_lib` has no option for is in `experiments.ask_printed`. A run
that is stopped goes on when the same command is given again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ask_lib.checks import check_choice
from ask_lib.train.config import TrainConfig
from ask_lib.train.loop import Task
from experiments import ask_nyudv2
from experiments.ask_nyudv2 import Study, Train, make_streams, row_of, settings_of, stream_seed
from experiments.ask_printed import PrintedRow, printed_config, printed_task
from experiments.ask_rows import Regular, Row, row_config
from experiments.ask_shared import base_of, parser_with_data, values_of
from experiments.ask_streams import logic_digest, read_scenes
from experiments.recording import run, save

HERE = "ask_errata"
SEEDS = (0, 1)  # of that experiment's five
OURS, TWO_SCALES = "global + local, full", "global + local, two scales"
SHARED = (OURS, TWO_SCALES, "global + local", "global + local, L_C", "global + local, L_VI")
FULL = ask_nyudv2.ROWS[OURS]


def _open(**options: Any) -> Row:
    return replace(FULL, options={**FULL.options, **options})


def _printed(*forms: str, factor: float = 0.0) -> PrintedRow:
    return PrintedRow(**vars(FULL), forms=forms, factor=factor)


ERRATA: Mapping[str, Row] = {
    "axes as printed": _printed("axes"),
    "coordinates in [-1, 1]": _printed("coordinates"),
    "sign of 12 as printed": _printed("sign of 12"),
    "sign of 13 as printed": _printed("sign of 13"),
    "both signs as printed": _printed("sign of 12", "sign of 13"),
    "second scale of 4 x 4": replace(_open(kernel=1), keypoints=ask_nyudv2.ROWS[TWO_SCALES].keypoints),
    "one cosine of all keypoints": _open(flat=True),
    "hardest triplets": _open(mining="batch-hard"),
    "all triplets": _open(mining="all"),
    "floor 0.1": _open(floor=0.1),
    "K channels, no groups": _open(grouping="single"),
    "ReLU before the groups' sums": _open(grouping="relu"),
    "three heads averaged": _open(average=True),
    "rate x 0.1": _printed(factor=0.1),
    "rate x 0.9": _printed(factor=0.9),
}
ROWS: Mapping[str, Row] = {**{name: ask_nyudv2.ROWS[name] for name in SHARED}, **ERRATA}
DIFFERENCES = {
    **{f"{name}, over ours": (name, OURS) for name in (*ERRATA, TWO_SCALES)},
    "4 x 4 over 3 x 3": ("second scale of 4 x 4", TWO_SCALES),
    "rate x 0.1 over x 0.9": ("rate x 0.1", "rate x 0.9"),
    "L_C": (OURS, "global + local, L_VI"),
    "L_C, both signs as printed": ("both signs as printed", "global + local, L_VI"),
    "L_VI": (OURS, "global + local, L_C"),
    "L_VI, floor 0.1": ("floor 0.1", "global + local, L_C"),
    "both losses": (OURS, "global + local"),
    "both losses, both signs as printed": ("both signs as printed", "global + local"),
    "both losses, floor 0.1": ("floor 0.1", "global + local"),
}
"""Differences of two rows, test frame by test frame, each the mean over seeds."""

PROTOCOL = (
    "mean-class accuracy, percent; a fifth of each class of the 795 training frames chooses the epoch, the 654 test "
    "frames are read once a run; intervals of a row's summary: Student's, over seeds; of the values: bootstrap over "
    "test frames, class by class, of the mean over seeds"
)


class ErrataStudy(Study):
    """All parts; those of a `PrintedRow` are made from its forms' code too."""

    def task(self, name: str, how: Regular, seed: int) -> Task:
        """What a run trains."""
        task, row = super().task(name, how, seed), self.rows[name]
        return printed_task(task, row) if isinstance(row, PrintedRow) else task

    def config(self, name: str, how: Regular, seed: int) -> TrainConfig:
        """How a run is trained."""
        config, row = row_config(self.scenes, name, how, seed), self.rows[name]
        return printed_config(config, row) if isinstance(row, PrintedRow) else config

    def _row_key(self, name: str, how: Regular, seed: int) -> str:
        key = super()._row_key(name, how, seed)
        if not isinstance(self.rows[name], PrintedRow):
            return key
        code = logic_digest(["experiments.ask_printed"])
        return f"{key}, as printed: settings {self.config(name, how, seed).digest()}, code {code}"

    def _train(self, train: Train, name: str, how: Regular, seed: int, folder: Path) -> dict[str, Any]:
        return train(self.task(name, how, seed), self.config(name, how, seed), folder)


def make_rows(study: ErrataStudy, how: Regular, names: Sequence[str], seeds: Iterable[int]) -> None:
    """All runs."""
    for seed in seeds:
        make_streams(study, [stream_seed(seed)])
        for name in names:
            study.row(name, how, seed).made()


def runs_of(study: ErrataStudy, how: Regular, seeds: Sequence[int]) -> dict[str, dict[int, dict[str, Any]]]:
    """Row to seed to run, of those that are there."""
    runs = {name: {seed: study.row(name, how, seed).found() for seed in seeds} for name in ROWS}
    found = {name: {seed: part for seed, part in parts.items() if part} for name, parts in runs.items()}
    return {name: parts for name, parts in found.items() if parts}


def write(study: ErrataStudy, how: Regular, args: argparse.Namespace) -> None:
    """Write results/ask_errata.json of the parts that are there."""
    runs, labels = runs_of(study, how, args.seeds), study.scenes.labels[study.scenes.test]
    save(
        args.out,
        HERE,
        command="python -m experiments.ask_errata rows",
        title="ASK's errata on NYU Depth v2",
        data={"NYU Depth v2": study.scenes.version},
        settings=settings_of(study) | {"chosen": asdict(how)},
        seeds=args.seeds,
        protocol=PROTOCOL,
        complete=all(set(SEEDS) <= set(runs.get(name, {})) for name in ROWS),
        seconds=sum(part["seconds"] for parts in runs.values() for part in parts.values()),
        values=values_of(runs, DIFFERENCES, labels),
        rows={name: row_of(parts) for name, parts in runs.items()},
        details={
            "classes": list(study.scenes.classes),
            "labels": "".join(map(str, labels.tolist())),
            "what": {name: asdict(row) for name, row in ROWS.items()},
        },
    )


def record(args: argparse.Namespace) -> None:
    """Run a stage."""
    for name in args.rows:
        check_choice("row", name, ROWS)
    torch.set_num_threads(args.threads)
    scenes = read_scenes(args.root, cache=args.cache)
    how = base_of(Study(scenes, args.weights))
    study = ErrataStudy(scenes, args.weights, ROWS)
    if args.stage == "rows":
        make_rows(study, how, args.rows, args.seeds)
    write(study, how, args)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = parser_with_data("experiments.ask_errata", __doc__, SEEDS)
    parser.add_argument("stage", choices=["rows", "save"])
    parser.add_argument("--rows", nargs="+", default=list(ROWS), metavar="NAME", help=f"of: {'; '.join(ROWS)}")
    return run(parser, record, arguments)


if __name__ == "__main__":
    torch.set_flush_denormal(True)  # of the whole process: late epochs are nearly twice as fast
    raise SystemExit(main())
