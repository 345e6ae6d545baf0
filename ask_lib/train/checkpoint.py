"""A run's folder: its recipe, its checkpoints, its history. Every file is whole or absent.

``recipe.json`` what is run; ``last.pt`` all that a resumed run needs; ``best.pt`` the network of the best epoch;
``history.json`` one entry an epoch; ``result.json`` the end; ``run.lock`` and, while it runs, ``run.pid``: who writes
here (`ask_lib.train.lock`). Checkpoints hold tensors and plain containers only, so
they load with ``weights_only=True``.
"""

from __future__ import annotations

import json
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ask_lib.files import atomic_path, remove_parts, write_json
from ask_lib.train.errors import CheckpointError
from ask_lib.train.recipe import Recipe, differences


def open_folder(folder: Path, recipe: Recipe, resume: bool) -> None:
    """Make a run's folder, or accept the one that is there.

    With ``resume`` an empty or missing folder starts a run, so one command line serves for the first start and for
    every other.

    Raises:
        CheckpointError: If the folder holds another recipe's run, or any run without ``resume``.
    """
    path = folder / "recipe.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, {"digest": recipe.digest(), "recipe": recipe.to_dict()})
        return
    found = _read_json(path)
    if found.get("digest") != recipe.digest():
        lines = "; ".join(differences(found.get("recipe", {}), recipe.to_dict()))
        raise CheckpointError(
            f"{folder}: holds a run of another recipe (folder / now: {lines}). "
            "Use another folder, or the same settings."
        )
    if not resume:
        raise CheckpointError(f"{folder}: holds a run already. Pass --resume (resume=True), or use another folder.")
    remove_parts(folder)


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically."""
    with atomic_path(path) as part:
        torch.save(state, part)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU.

    Raises:
        CheckpointError: If it cannot be read.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise CheckpointError(f"{path}: expected a checkpoint of this library ({error}).") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: expected a checkpoint of this library, got {type(state).__name__}.")
    return state


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of every global generator (Python, numpy, torch, this device), in plain containers."""
    version, numbers, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    state: dict[str, Any] = {
        "python": [version, list(numbers), gauss],
        "numpy": [
            str(kind),
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ],
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Put every global generator back where `random_state` found it."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: expected a run's recipe ({error}).") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(content).__name__}.")
    return content
