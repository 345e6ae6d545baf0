"""The command line: ``python -m ask_lib.train --help``."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from ask_lib.checks import check_choice
from ask_lib.errors import AskError
from ask_lib.train.distributed import join
from ask_lib.train.errors import RecipeError
from ask_lib.train.recipes import EXPERIMENTS, find_experiment
from ask_lib.train.run import run
from ask_lib.train.table import TABLES, run_table


def main(words: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, or 2 with one line on what is wrong."""
    words = list(sys.argv[1:] if words is None else words)
    options = _parse(words)
    command = shlex.join(["python", "-m", "ask_lib.train", *words])
    try:
        return int(options.do(options, command))
    except AskError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


def _show(options: argparse.Namespace, command: str) -> int:
    recipe = find_experiment(options.recipe).recipe.override(options.changes)
    sys.stdout.write(json.dumps({"digest": recipe.digest(), "recipe": recipe.to_dict()}, indent=2) + "\n")
    return 0


def _run(options: argparse.Namespace, command: str) -> int:
    recipe = find_experiment(options.recipe).recipe.override(options.changes)
    with join(options.device) as process:
        result = run(
            recipe,
            out=options.out,
            resume=options.resume,
            process=process,
            progress=not options.quiet,
            tensorboard=options.tensorboard,
            save_every=options.save_every,
            command=command,
        )
    if process.writes:
        sys.stdout.write(json.dumps(result["numbers"], indent=2) + "\n")
    return 0


def _table(options: argparse.Namespace, command: str) -> int:
    if options.changes and options.results == Path("results"):
        raise RecipeError("a changed table would overwrite the recorded one: give it another folder with --results.")
    with join(options.device) as process:
        content = run_table(
            options.table,
            results=options.results,
            runs=options.runs,
            changes=options.changes,
            seeds=options.seeds,
            process=process,
            progress=not options.quiet,
            save_every=options.save_every,
            command=command,
        )
    if process.writes:
        summary = {label: row["summary"] for label, row in content["rows"].items()}
        sys.stdout.write(json.dumps(summary, indent=2) + "\n")
    return 0


def _weights(options: argparse.Namespace, command: str) -> int:
    from ask_lib.train.ship import SHIPPED, ship

    for name in options.networks or SHIPPED:
        check_choice("network", name, SHIPPED)
    if options.changes and options.to is None:
        raise RecipeError("a changed recipe would overwrite what ships: give it another folder with --to.")
    with join(options.device) as process:
        for name in options.networks or SHIPPED:
            card = ship(
                name,
                runs=options.runs,
                out=options.to,
                changes=tuple(options.changes),
                process=process,
                progress=not options.quiet,
                save_every=options.save_every,
                command=command,
            )
            if process.writes:
                sys.stdout.write(f"{name}: {card['accuracy']['value']} %, {card['bytes']} bytes\n")
    return 0


def _parse(words: Sequence[str]) -> argparse.Namespace:
    """The options; ``key=value`` may stand anywhere, which argparse alone refuses after an option."""
    parser = _parser()
    options, rest = parser.parse_known_args(words)
    stray = [word for word in rest if word.startswith("-") or "=" not in word]
    if stray:
        parser.error(f"unknown: {' '.join(stray)}; settings are given as key=value")
    options.changes += rest
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ask_lib.train",
        description="Train a recipe, or a table of recipes.",
        epilog=_lists(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    show = commands.add_parser("show", help="print a recipe's settings, changed as given")
    show.set_defaults(do=_show)
    train = commands.add_parser("run", help="train one recipe")
    train.set_defaults(do=_run)
    for command in (show, train):
        command.add_argument("recipe", metavar="RECIPE", help=f"one of: {', '.join(EXPERIMENTS)}")
        command.add_argument("changes", nargs="*", metavar="key=value", help="e.g. lr=0.01 augment.flip=0.5")
    train.add_argument("--out", type=Path, required=True, help="the run's folder")
    train.add_argument("--resume", action="store_true", help="go on with the folder's run, or start it")
    train.add_argument("--tensorboard", action="store_true", help="log to the folder (needs `pip install tensorboard`)")

    table = commands.add_parser("table", help="train a table's rows for all its seeds; run it again to go on")
    table.set_defaults(do=_table)
    table.add_argument("table", metavar="TABLE", help=f"one of: {', '.join(TABLES)}")
    table.add_argument("changes", nargs="*", metavar="key=value", help="for every row; needs --results")
    table.add_argument("--results", type=Path, default=Path("results"), help="folder of the recorded tables")
    table.add_argument("--runs", type=Path, default=Path("_build/runs"), help="folder of the single runs")
    table.add_argument("--seeds", type=_seeds, help="e.g. 0,1,2, in place of the table's own")
    weights = commands.add_parser("weights", help="train the networks that ship; run it again to go on")
    weights.set_defaults(do=_weights)
    weights.add_argument("networks", nargs="*", metavar="NAME", help="by default all")
    weights.add_argument("--set", dest="changes", action="append", default=[], metavar="key=value", help="needs --to")
    weights.add_argument("--runs", type=Path, default=Path("_build/runs/weights"), help="folder of the single runs")
    weights.add_argument("--to", type=Path, help="where the files go; by default into the package")
    for command in (train, table, weights):
        command.add_argument("--device", default="auto", help="auto, cpu or cuda")
        command.add_argument("--save-every", type=int, default=0, metavar="STEPS", help="checkpoints inside an epoch")
        command.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def _seeds(text: str) -> list[int]:
    return [int(item) for item in text.split(",")]


def _lists() -> str:
    wide = max(len(name) for name in [*EXPERIMENTS, *TABLES])
    lines = ["recipes:"]
    lines += [f"  {name:{wide}}  {found.summary}" for name, found in EXPERIMENTS.items()]
    lines += ["tables:"]
    lines += [f"  {name:{wide}}  {table.title}" for name, table in TABLES.items()]
    lines += [
        "examples:",
        "  python -m ask_lib.train show toy",
        "  python -m ask_lib.train run toy --out runs/toy lr=0.002 augment.cutout=0.2",
        "  python -m ask_lib.train run toy --out runs/toy lr=0.002 augment.cutout=0.2 --resume",
        "  torchrun --nproc-per-node 2 -m ask_lib.train run toy --out runs/two --device cpu",
        "  python -m ask_lib.train table toy epochs=2 --results runs/trial",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
