"""Recorded runs: rows times seeds, resumable row by row, into ``results/NAME.json``.

A finished (row, seed) is kept while its recipe is the same; what is missing is trained. The file is written after
each one, so a killed table goes on where it stopped, in the middle of a run too.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ask_lib.checks import check_choice
from ask_lib.files import write_json
from ask_lib.reproduce import pick_device
from ask_lib.results import summarise
from ask_lib.train.distributed import Process, collect
from ask_lib.train.errors import CheckpointError
from ask_lib.train.lock import hold
from ask_lib.train.recipe import Recipe
from ask_lib.train.recipes import find_experiment
from ask_lib.train.run import provenance, read_result, run


@dataclass(frozen=True)
class Row:
    """One row: an experiment and what is changed in its recipe.

    Attributes:
        experiment: Its name.
        changes: ``key=value`` each, as on the command line.
    """

    experiment: str
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Rows by label, and the seeds that each is run with.

    Attributes:
        title: One line.
        rows: By label.
        seeds: Of the runs.
    """

    title: str
    rows: Mapping[str, Row]
    seeds: tuple[int, ...] = field(default=(0, 1, 2))


TABLES: dict[str, Table] = {
    "toy": Table(
        "Coloured shapes: augmentation on and off",
        {
            "plain": Row("toy", ("augment.flip=0", "augment.shift=0")),
            "augmented": Row("toy"),
            "augmented, depth": Row("toy", ("modality=depth",)),
        },
    )
}


def find_table(name: str) -> Table:
    """The table of that name.

    Raises:
        ChoiceError: If there is none; the message offers the nearest one.
    """
    check_choice("table", name, TABLES)
    return TABLES[name]


def row_recipe(row: Row, seed: int, changes: Sequence[str] = ()) -> Recipe:
    """A row's recipe for one seed; ``changes`` come last."""
    return find_experiment(row.experiment).recipe.override([*row.changes, *changes, f"seed={seed}"])


def run_table(
    name: str,
    *,
    results: Path = Path("results"),
    runs: Path = Path("_build/runs"),
    changes: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    process: Process | None = None,
    progress: bool = True,
    save_every: int = 0,
    command: str = "",
) -> dict[str, Any]:
    """Train what is missing of a table, and write it down.

    Args:
        name: The table's name.
        results: The folder of the recorded tables.
        runs: The folder of the single runs, with their checkpoints.
        changes: ``key=value`` for every row, e.g. ``epochs=1`` for a trial; give a trial its own ``results``.
        seeds: In place of the table's.
        process: This process, from `join`.
        progress: Whether to show bars.
        save_every: Steps between checkpoints inside an epoch.
        command: For the record.

    Returns:
        The content of the file.

    Raises:
        CheckpointError: If another process fills this file, or it cannot be read.
    """
    process = process or Process(pick_device())
    table, path = find_table(name), results / f"{name}.json"
    seeds = tuple(table.seeds if seeds is None else seeds)
    with hold(results / f".{name}.lock", path, process):
        for label, row in table.rows.items():
            for seed in seeds:
                recipe = row_recipe(row, seed, changes)
                folder = runs / name / f"{recipe.digest()}-seed{seed}"
                if collect(_recorded(path, label, recipe), process)[0] is not None:
                    continue
                result = collect(read_result(folder, recipe), process)[0] or run(
                    recipe,
                    out=folder,
                    resume=True,
                    process=process,
                    progress=progress,
                    save_every=save_every,
                    command=command,
                )
                if process.writes:
                    _record(path, name, table, label, recipe, result, provenance(command, process))
        if process.writes:
            _tidy(path, table)
        return collect(_read(path), process)[0] or {}


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path}: expected a recorded table ({error}). Move it away to start anew.") from error
    return content if isinstance(content, dict) else None


def _recorded(path: Path, label: str, recipe: Recipe) -> dict[str, Any] | None:
    row = ((_read(path) or {}).get("rows") or {}).get(label) or {}
    entry = (row.get("runs") or {}).get(str(recipe.seed)) or {}
    return entry if entry.get("digest") == recipe.digest() else None


def _record(
    path: Path, name: str, table: Table, label: str, recipe: Recipe, result: dict[str, Any], where: dict[str, Any]
) -> None:
    """Read, add, write; the table's lock is held."""
    content = _read(path) or {"name": name, "rows": {}}
    content |= {"title": table.title, "updated": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
    content |= where | {"data_version": result["data_version"]}
    row = content["rows"].setdefault(label, {"runs": {}})
    shared = {key: value for key, value in recipe.to_dict().items() if key != "seed"}
    if row.get("recipe", shared) != shared:
        row["runs"] = {}  # another recipe's runs are not this row's
    row["recipe"] = shared
    row["runs"][str(recipe.seed)] = {key: value for key, value in result.items() if key != "recipe"}
    _refresh(content)
    write_json(path, content)


def _refresh(content: dict[str, Any]) -> None:
    runs = [entry for row in content["rows"].values() for entry in row["runs"].values()]
    for key in ("commit", "data_version"):  # more than one means that rows were made at different times
        content[f"{key}s"] = sorted({entry[key] for entry in runs})
    content["seeds"] = sorted({int(seed) for row in content["rows"].values() for seed in row["runs"]})
    for row in content["rows"].values():
        entries = [row["runs"][seed] for seed in sorted(row["runs"], key=int)]
        names = [name for name in entries[0]["numbers"] if all(name in entry["numbers"] for entry in entries)]
        row["summary"] = {name: summarise([entry["numbers"][name] for entry in entries]) for name in names}


def _tidy(path: Path, table: Table) -> None:
    """Rows that the table no longer has go; the others stand in the table's order."""
    content = _read(path)
    if content is None:
        return
    rows = {label: content["rows"][label] for label in table.rows if label in content["rows"]}
    if list(rows) != list(content["rows"]):
        content["rows"] = rows
        _refresh(content)
        write_json(path, content)
