"""A whole run: build, train, evaluate once on the test data, write down what the numbers stand on."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ask_lib.files import write_json
from ask_lib.reproduce import commit, environment_report, pick_device, seed_everything
from ask_lib.train.distributed import Process, collect
from ask_lib.train.errors import RecipeError
from ask_lib.train.lock import hold_folder
from ask_lib.train.loop import Outcome, Task, evaluate, fit
from ask_lib.train.recipe import Recipe
from ask_lib.train.recipes import find_experiment


def build(recipe: Recipe) -> Task:
    """The recipe's task, its network initialised from the recipe's seed (the same in every process).

    Raises:
        RecipeError: If the data at hand are of another version than the recipe's.
    """
    seed_everything(recipe.seed, deterministic=recipe.deterministic)
    task = find_experiment(recipe.experiment).build(recipe)
    if recipe.data and recipe.data != task.data_version:
        raise RecipeError(f"data: the recipe is for {recipe.data!r}, the data at hand are {task.data_version!r}.")
    return task


def run(
    recipe: Recipe,
    *,
    task: Task | None = None,
    out: Path | None = None,
    resume: bool = False,
    process: Process | None = None,
    progress: bool = True,
    tensorboard: bool = False,
    save_every: int = 0,
    command: str = "",
) -> dict[str, Any]:
    """Train a recipe and evaluate the network that it ends with.

    Args:
        recipe: An experiment's recipe.
        task: What `build` made of it, for a caller who wants the trained network; by default it is made here.
        out: The run's folder; none writes nothing.
        resume: Go on where the folder's run stopped; a finished run is evaluated again, not trained again.
        process: This process, from `join`.
        progress: Whether to show a bar.
        tensorboard: Whether to log for TensorBoard.
        save_every: Also write a checkpoint every so many steps.
        command: For the record.

    Returns:
        The content of ``result.json``: the numbers, and what they stand on; ``seconds`` are those of this start.

    Raises:
        CheckpointError: If ``out`` holds another run, or another process trains there.
    """
    process = process or Process(pick_device())
    with hold_folder(out, process):
        task = task or build(recipe)
        begun = time.perf_counter()
        outcome = fit(
            task,
            recipe,
            out=out,
            resume=resume,
            process=process,
            progress=progress,
            tensorboard=tensorboard,
            save_every=save_every,
        )
        result = provenance(command, process) | _describe(task, recipe, outcome)
        result |= {"numbers": _numbers(task, recipe, process), "seconds": time.perf_counter() - begun}
        if out is not None and process.writes:
            write_json(out / "result.json", result)
    return result


def _describe(task: Task, recipe: Recipe, outcome: Outcome) -> dict[str, Any]:
    return {
        "digest": recipe.digest(),
        "recipe": recipe.to_dict(),
        "data_version": task.data_version,
        "parameters": sum(p.numel() for p in task.network.parameters()),
        "best_epoch": outcome.best_epoch,
        "images_per_second": _median_rate(outcome),
    }


def _numbers(task: Task, recipe: Recipe, process: Process) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for part, data in (("validation", task.validation), ("test", task.test)):
        if data is not None and len(data.labels):
            scores = evaluate(task, recipe, data, process).to_dict()
            numbers |= {f"{part}_{name}": value for name, value in scores.items()}
    if task.measure is not None:
        numbers |= collect(task.measure(task.network, process.device), process)[0]
    return numbers


def _median_rate(outcome: Outcome) -> float:
    rates = sorted(entry["images_per_second"] for entry in outcome.history)
    return rates[len(rates) // 2] if rates else 0.0


def provenance(command: str, process: Process) -> dict[str, Any]:
    """What a recorded number needs beside it: command, commit, device, versions."""
    return {
        "command": command,
        "commit": commit(),
        "processes": process.world,
        "environment": environment_report(process.device),
    }


def read_result(out: Path, recipe: Recipe) -> dict[str, Any] | None:
    """A finished run's ``result.json``, where it is this recipe's; else none."""
    path = out / "result.json"
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) and content.get("digest") == recipe.digest() else None
