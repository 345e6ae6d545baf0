"""Measure on rooms what ASK's paper prints wrong or leaves open: the rows of `experiments.ask_errata`.

    python -m experiments.ask_rooms_errata

Draws, regularisation, rate, and the rows that each is held against are those of results/ask_rooms.json, which comes
first. A run that is stopped goes on when the same command is given again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ask_lib.results import read_result, summarise
from ask_lib.train.config import TrainConfig
from ask_lib.train.loop import Task
from experiments.ask_errata import DIFFERENCES, ERRATA, ROWS
from experiments.ask_printed import PrintedRow, printed_config, printed_task
from experiments.ask_rooms import SEEDS, Draw
from experiments.ask_rows import Regular
from experiments.recording import KEPT, RESULTS, code_digest, kept, parser_of, run, save

HERE = "ask_rooms_errata"


class ErrataDraw(Draw):
    """A draw whose rows are those of `experiments.ask_errata`."""

    rows = ROWS

    def task(self, name: str, how: Regular) -> Task:
        """What a row trains."""
        task, row = super().task(name, how), self.rows[name]
        return printed_task(task, row) if isinstance(row, PrintedRow) else task

    def config(self, name: str, how: Regular, rate: float) -> TrainConfig:
        """How it is trained."""
        config, row = super().config(name, how, rate), self.rows[name]
        return printed_config(config, row) if isinstance(row, PrintedRow) else config


def values_of(draws: Mapping[int, Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Of differences within draws: mean and Student's interval over draws, of accuracy and of points on objects.

    Args:
        draws: Seed to row to what `experiments.ask_rooms` measures.
    """
    held = [dict(_differences(runs)) for runs in draws.values()]
    values: dict[str, Any] = {"draws": len(held)}
    for name in held[0]:
        over = summarise([one[name] for one in held])
        values |= {f"{name}{end}": round(float(over[part] or 0), 4) for end, part in ENDS.items()}
    return values


ENDS = {"": "mean", " low": "low", " high": "high"}


def _differences(runs: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    for name, (more, less) in DIFFERENCES.items():
        if more in runs and less in runs:
            yield name, runs[more]["test"] - runs[less]["test"]
            yield f"{name}, hits", runs[more]["hits"] - runs[less]["hits"]


def record(args: argparse.Namespace) -> None:
    """Run every row of every draw, and write results/ask_rooms_errata.json."""
    torch.set_num_threads(1)
    first = read_result(args.first)
    how, rate = Regular(**first["settings"]["chosen"]), first["settings"]["rate"]
    made_from = code_digest("experiments.ask_rooms_errata"), torch.__version__, first["details"]["networks"]
    key = f"{made_from}, {how}, {rate}"
    runs: dict[int, dict[str, dict[str, Any]]] = {}
    for seed in args.seeds:
        draw, before = ErrataDraw(seed, args.root), first["details"]["runs"][str(seed)]
        runs[seed] = {name: before[name] for name in ROWS if name in before} | {
            name: kept(
                KEPT / HERE,
                f"{name} {seed}",
                key,
                partial(draw.measured, name, how, rate, KEPT / HERE / f"{name} {seed}"),
            )
            for name in ERRATA
        }
    save(
        args.out,
        HERE,
        command=args.command,
        title="ASK's errata on rooms",
        data=first["data"],
        settings=first["settings"],
        seeds=args.seeds,
        protocol=first["protocol"],
        seconds=round(sum(float(rows[name]["seconds"]) for rows in runs.values() for name in ERRATA), 1),
        complete=set(SEEDS) <= set(args.seeds),
        values=values_of(runs),
        details={"runs": {str(seed): {name: rows[name] for name in ERRATA} for seed, rows in runs.items()}},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = parser_of("experiments.ask_rooms_errata", __doc__, seeds=SEEDS)
    parser.add_argument("--first", type=Path, default=RESULTS / "ask_rooms.json", help="what ask_rooms wrote")
    parser.add_argument("--root", type=Path, default=None, help="cache folder of the frames; usually ~/.cache/ask_lib")
    return run(parser, record, arguments)


if __name__ == "__main__":
    torch.set_flush_denormal(True)  # of the whole process: late epochs are nearly twice as fast
    raise SystemExit(main())
