"""The command line: ``python -m ask_lib.train --help``. Torch is loaded when a command runs, not for its help."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ask_lib.command import exit_status
from ask_lib.errors import ConfigError
from ask_lib.train.tasks import EXPERIMENTS, TABLES, find_experiment


def main(words: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status, see `exit_status`."""
    words = list(sys.argv[1:] if words is None else words)

    def body() -> None:
        options = _parse(words)
        options.do(options, shlex.join(["python", "-m", "ask_lib.train", *words]))

    return exit_status(body)


def _show(options: argparse.Namespace, command: str) -> None:
    config = find_experiment(options.experiment).config.override(options.changes)
    sys.stdout.write(json.dumps({"digest": config.digest(), "config": config.to_dict()}, indent=2) + "\n")


def _run(options: argparse.Namespace, command: str) -> None:
    from ask_lib.train.distributed import init
    from ask_lib.train.run import run

    config = find_experiment(options.experiment).config.override(options.changes)
    with init(options.device) as process:
        result = run(
            config,
            out=options.out,
            resume=options.resume,
            process=process,
            command=command,
            progress=not options.quiet,
        )
    if process.is_main:
        sys.stdout.write(json.dumps(result["values"], indent=2) + "\n")


def _table(options: argparse.Namespace, command: str) -> None:
    from ask_lib.train.distributed import init
    from ask_lib.train.run import run_table

    if options.changes and options.results == Path("results"):
        raise ConfigError("a changed table would overwrite the recorded one: give it another folder with --results.")
    with init(options.device) as process:
        content = run_table(
            options.table,
            results=options.results,
            runs=options.runs,
            changes=options.changes,
            seeds=options.seeds,
            process=process,
            command=command,
            progress=not options.quiet,
        )
    if process.is_main:
        summary = {label: row["summary"] for label, row in content["rows"].items()}
        sys.stdout.write(json.dumps(summary, indent=2) + "\n")


def _parse(words: Sequence[str]) -> argparse.Namespace:
    """The options; ``key=value`` may stand anywhere, which argparse alone refuses after an option."""
    options, rest = _parser().parse_known_args(words)
    stray = [word for word in rest if word.startswith("-") or "=" not in word]
    if stray:
        raise ConfigError(f"unknown: {' '.join(stray)}; settings are given as key=value.")
    options.changes += rest
    return options


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}. See {self.prog} --help.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m ask_lib.train",
        description="Train an experiment, or a table of them.",
        epilog=_lists(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    show = commands.add_parser("show", help="print an experiment's settings, changed as given")
    show.set_defaults(do=_show)
    train = commands.add_parser("run", help="train one experiment")
    train.set_defaults(do=_run)
    for command in (show, train):
        command.add_argument("experiment", metavar="NAME", help=f"one of: {', '.join(EXPERIMENTS)}")
        command.add_argument("changes", nargs="*", metavar="key=value", help="e.g. lr=0.01 augment.flip=0.5")
    train.add_argument("--out", type=Path, required=True, help="the run's folder")
    train.add_argument("--resume", action="store_true", help="go on with the folder's run, or start it")

    table = commands.add_parser("table", help="train a table's rows for all its seeds; run it again to go on")
    table.set_defaults(do=_table)
    table.add_argument("table", metavar="NAME", help=f"one of: {', '.join(TABLES)}")
    table.add_argument("changes", nargs="*", metavar="key=value", help="for every row; needs --results")
    table.add_argument("--results", type=Path, default=Path("results"), help="folder of the recorded tables")
    table.add_argument("--runs", type=Path, default=Path("_build/runs"), help="folder of the single runs")
    table.add_argument("--seeds", type=_seeds, help="e.g. 0,1,2, in place of the table's own")
    for command in (train, table):
        command.add_argument("--device", default="auto", help="auto, cpu or cuda")
        command.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def _seeds(text: str) -> list[int]:
    return [int(item) for item in text.split(",")]


def _lists() -> str:
    lines = ["experiments:", *(f"  {name:16}{summary}" for name, (_, summary) in EXPERIMENTS.items())]
    lines += ["tables:", *(f"  {name:16}{table.title}" for name, table in TABLES.items())]
    lines += [
        "examples:",
        "  python -m ask_lib.train show toy",
        "  python -m ask_lib.train run toy --out runs/toy lr=0.002 augment.cutout=0.2 --resume",
        "  torchrun --nproc-per-node 2 -m ask_lib.train run toy --out runs/two --device cpu",
        "  python -m ask_lib.train table toy epochs=2 --results runs/trial",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
