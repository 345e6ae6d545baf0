"""The networks that ship: trained by a recipe, written into the package with a card. ``make weights`` does it again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ask_lib.checks import check_choice
from ask_lib.data.rooms import Rooms
from ask_lib.errors import WeightsError
from ask_lib.models.small import SmallVGG, fold_batch_norm, save_safetensors
from ask_lib.train.distributed import Process
from ask_lib.train.recipe import Recipe
from ask_lib.train.recipes import ROOMS_SPECS, find_experiment
from ask_lib.train.run import build, run
from ask_scenes.rooms import LABELS

PACKAGE = Path(__file__).resolve().parents[1] / "models" / "packaged"
LIMIT = 4 * 2**20  # bytes: what a clone and a page can carry
SHIPPED: Mapping[str, tuple[str, ...]] = {
    "rooms_vgg": ("network=vgg", "modality=rgb"),
    "rooms_resnet": ("network=resnet", "modality=rgb"),
}
"""Each network's changes to the recipe ``rooms_pretrain``."""


def recipe_of(name: str, changes: tuple[str, ...] = ()) -> Recipe:
    """The recipe by which a network that ships is trained.

    Raises:
        ChoiceError: If no such network ships.
    """
    check_choice("network", name, SHIPPED)
    return find_experiment("rooms_pretrain").recipe.override([*SHIPPED[name], *changes])


def ship(
    name: str,
    *,
    runs: Path,
    out: Path | None = None,
    changes: tuple[str, ...] = (),
    process: Process | None = None,
    progress: bool = True,
    save_every: int = 0,
    command: str = "",
) -> dict[str, Any]:
    """Train a network, or go on with its run, and write ``NAME.safetensors`` and its card.

    Args:
        name: One of ``SHIPPED``.
        runs: Folder of the runs; this one's is ``NAME`` in it.
        out: Where the two files go; by default into the package.
        changes: To the recipe, as on the command line.
        process: This process, from `join`.
        progress: Whether to show bars.
        save_every: Also write a checkpoint every so many steps.
        command: For the card.

    Returns:
        The card.

    Raises:
        ChoiceError: If no such network ships.
        WeightsError: If the file would be larger than ``LIMIT``.
    """
    recipe: Any = recipe_of(name, changes)
    # Drawn here by all cores; the experiment then reads the cache.
    Rooms("pretrain", recipe.count + recipe.test_count, workers=os.cpu_count() or 1, progress=progress)
    task = build(recipe)
    result = run(
        recipe,
        task=task,
        out=runs / name,
        resume=True,
        process=process,
        progress=progress,
        save_every=save_every,
        command=command,
    )
    network = _plain(task.network)
    size = 4 * sum(value.numel() for value in network.state_dict().values())
    if size > LIMIT:
        raise WeightsError(f"{name}: {size} bytes of weights, at most {LIMIT} can ship.")
    card = _card(name, recipe, result)
    if process is None or process.writes:
        card = save_safetensors(network, (out or PACKAGE) / f"{name}.safetensors", card)
    return card


def _plain(network: nn.Module) -> nn.Module:
    """What ships: a VGG without normalisation layers, a ResNet as it was trained."""
    if isinstance(network, SmallVGG) and network.norm == "batch":
        return fold_batch_norm(network)
    return network.eval()


def _card(name: str, recipe: Any, result: Mapping[str, Any]) -> dict[str, Any]:
    spec = ROOMS_SPECS[recipe.modality]
    return {
        "name": name,
        "input": {"modality": recipe.modality, "size": [120, 160], "mean": list(spec.mean), "std": list(spec.std)},
        "classes": list(LABELS),
        "trained_on": {
            "data": result["data_version"],
            "split": "pretrain",
            "frames": recipe.count - round(recipe.validation * recipe.count),
            "labels": "scene classes only",
        },
        "accuracy": {
            "measured_on": f"{recipe.test_count} further frames of pretrain, in percent",
            "value": round(100 * result["numbers"]["test_accuracy"], 2),
        },
        "seed": recipe.seed,
        "recipe": recipe.to_dict(),
        "command": result["command"],
        "commit": result["commit"],
        "environment": result["environment"],
        "seconds": round(result["seconds"], 1),
    }
