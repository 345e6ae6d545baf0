"""Whole runs: build, train, evaluate once on the test data, write down what the numbers stand on; one run, or a table.

A table is rows times seeds. A finished (row, seed) is kept while its config is the same; what is missing is trained.
The file is written after each one, so a killed table goes on where it stopped.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ask_lib.errors import ConfigError, ResultError
from ask_lib.reproduce import environment_report, pick_device, seed_everything
from ask_lib.results import new_result, read_result, summarise, write_result
from ask_lib.train.checkpoint import hold, hold_folder
from ask_lib.train.config import TrainConfig
from ask_lib.train.distributed import Process, in_main
from ask_lib.train.loop import Task, evaluate, fit
from ask_lib.train.tasks import Row, Table, find_experiment, find_table


def build(config: TrainConfig) -> Task:
    """The config's task, its network initialised from the config's seed (the same in every process)."""
    seed_everything(config.seed)
    task = find_experiment(config.experiment).build(config)
    if config.data and config.data != task.data_version:
        raise ConfigError(f"data: the config is for {config.data!r}, the data at hand are {task.data_version!r}.")
    return task


def run(
    config: TrainConfig,
    *,
    task: Task | None = None,
    out: Path | None = None,
    process: Process | None = None,
    command: str = "",
    **how: Any,
) -> dict[str, Any]:
    """Train a config and evaluate the network that it ends with.

    Args:
        config: An experiment's config.
        task: What `build` made of it, for a caller who wants the trained network.
        out: The run's folder; none writes nothing.
        process: This process, from `init`.
        command: For the record.
        how: ``resume`` and ``progress`` of `fit`. A finished run that is resumed is evaluated again, not trained.

    Returns:
        The content of ``result.json``, as of `ask_lib.results`: the numbers are its ``values``; ``seconds`` are those
        of this start.
    """
    process = process or Process(pick_device())
    with hold_folder(out, process):
        task = task or build(config)
        begun = time.perf_counter()
        outcome = fit(task, config, out=out, process=process, **how)
        result = new_result(
            "result",
            title=config.experiment,
            command=command,
            environment=environment_report(process.device),
            data={config.experiment: task.data_version},
            settings=config.to_dict(),
            seeds=[config.seed],
            values=_numbers(task, config, process),
            seconds=time.perf_counter() - begun,
            details={
                "digest": config.digest(),
                "processes": process.world,
                "parameters": sum(p.numel() for p in task.network.parameters()),
                "best_epoch": outcome.best_epoch,
                "images_per_second": statistics.median_high(e["images_per_second"] for e in outcome.history),
            },
        )
        if out is not None and process.is_main:
            write_result(out, result)
    return result


def _numbers(task: Task, config: TrainConfig, process: Process) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for part, data in (("validation", task.validation), ("test", task.test)):
        if data is not None and len(data.labels):
            scores = evaluate(task, config, data, process)
            numbers |= {f"{part}_{name}": value for name, value in scores.items()}
    return numbers


def row_config(row: Row, seed: int, changes: Sequence[str] = ()) -> TrainConfig:
    """A row's config for one seed; ``changes`` come last."""
    return find_experiment(row.experiment).config.override([*row.changes, *changes, f"seed={seed}"])


def run_table(
    name: str,
    *,
    results: Path = Path("results"),
    runs: Path = Path("_build/runs"),
    changes: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    process: Process | None = None,
    command: str = "",
    **how: Any,
) -> dict[str, Any]:
    """Train what is missing of a table, and write it down.

    Args:
        name: The table's name.
        results: The folder of the recorded tables; give a trial its own.
        runs: The folder of the single runs, with their checkpoints.
        changes: ``key=value`` for every row, e.g. ``epochs=1``.
        seeds: In place of the table's.
        process: This process, from `init`.
        command: For the record.
        how: ``progress`` of `fit`.

    Returns:
        The content of the file, as of `ask_lib.results`; a row has ``settings``, ``runs`` (seed to the run's
        ``numbers`` and what they stand on) and their ``summary``.
    """
    process = process or Process(pick_device())
    table, path = find_table(name), results / f"{name}.json"
    wanted = {
        (label, seed): row_config(row, seed, changes)
        for label, row in table.rows.items()
        for seed in (table.seeds if seeds is None else seeds)
    }
    with hold(results / f".{name}.lock", path, process):
        rows = in_main(process, lambda: _read_rows(path, table))
        for (label, seed), config in wanted.items():
            row = rows.get(label)
            if row and row["runs"].get(str(seed), {}).get("digest") == config.digest():
                continue
            folder = runs / name / f"{config.digest()}-seed{seed}"
            kept = in_main(process, partial(_finished, folder, config))
            result = kept or run(config, out=folder, resume=True, process=process, command=command, **how)
            _add(rows, label, config, result)
            if process.is_main:
                write_result(results, _content(name, table, rows, process, command))
        content = _content(name, table, rows, process, command)
        if process.is_main:
            write_result(results, content)
        return content


def _finished(folder: Path, config: TrainConfig) -> dict[str, Any] | None:
    """A finished run's result, where it is this config's; else none."""
    if not (folder / "result.json").exists():
        return None
    content = read_result(folder / "result.json")
    return content if content["details"].get("digest") == config.digest() else None


def _read_rows(path: Path, table: Table) -> dict[str, Any]:
    """The rows of a table's file that the table still has, or none yet."""
    if not path.exists() and not path.is_symlink():
        return {}
    rows: dict[str, Any] = read_result(path)["rows"]
    for label, row in rows.items():
        runs = row.get("runs") if isinstance(row, dict) else None
        entries = runs.items() if isinstance(runs, dict) else [("", None)]
        if not all(seed.isdecimal() and _is_run(entry) for seed, entry in entries):
            raise ResultError(f"{path}: row {label!r} holds no runs by seed. Move the file away to start anew.")
    return {label: row for label, row in rows.items() if label in table.rows}


def _is_run(entry: Any) -> bool:
    numbers = entry.get("numbers") if isinstance(entry, dict) else None
    return isinstance(numbers, dict) and all(isinstance(value, int | float) for value in numbers.values())


def _add(rows: dict[str, Any], label: str, config: TrainConfig, result: Mapping[str, Any]) -> None:
    settings = {key: value for key, value in config.to_dict().items() if key != "seed"}
    row = rows.setdefault(label, {"settings": settings, "runs": {}})
    if row.get("settings") != settings:
        row = rows[label] = {"settings": settings, "runs": {}}  # other settings' runs are not this row's
    kept = ("command", "commit", "environment", "data", "seconds")
    entry = {"numbers": result["values"], **result["details"], **{key: result[key] for key in kept}}
    row["runs"][str(config.seed)] = entry
    runs = [row["runs"][seed] for seed in sorted(row["runs"], key=int)]
    names = [name for name in runs[0]["numbers"] if all(name in run["numbers"] for run in runs)]
    row["summary"] = {name: summarise([run["numbers"][name] for run in runs]) for name in names}


def _content(name: str, table: Table, rows: Mapping[str, Any], process: Process, command: str) -> dict[str, Any]:
    runs = [run for row in rows.values() for run in row["runs"].values()]
    return new_result(
        name,
        title=table.title,
        command=command,
        environment=environment_report(process.device),
        data={key: version for run in runs for key, version in run["data"].items()},
        seeds=sorted({int(seed) for row in rows.values() for seed in row["runs"]}),
        complete=set(rows) == set(table.rows),
        seconds=sum(run["seconds"] for run in runs),
        rows={label: rows[label] for label in table.rows if label in rows},
    )
