"""A run's folder: who writes there, its settings, its checkpoints. Every file is whole or absent.

``config.json`` what is run; ``last.pt`` all that a resumed run needs, the history too; ``best.pt`` the network of the
best epoch; ``result.json`` the end; ``run.lock``: one process writes at a time (the operating system's own lock, so it
ends with the process that holds it, however that ends). Checkpoints hold tensors and plain containers only, so they
load with ``weights_only=True``, and the SHA-256 of all that: torch itself checks no sums.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ask_lib.errors import CheckpointError
from ask_lib.files import atomic_path, read_object, remove_parts, write_json
from ask_lib.train.config import TrainConfig, differences
from ask_lib.train.distributed import Process, in_main

FORMAT = 3
PATIENCE = 7.0  # seconds; a killed run's data workers notice within five, and may hold its lock until then
ENTRIES: Mapping[str, type] = {"digest": str, "network": dict, "epoch": int}  # of both kinds of checkpoints
LAST: Mapping[str, type] = {"optimizer": dict, "best": dict, "history": list, "processes": list}  # of last.pt, besides


def open_folder(folder: Path, config: TrainConfig, resume: bool) -> None:
    """Make a run's folder, or accept the one that is there; with ``resume`` an empty or missing one starts a run.

    Raises:
        CheckpointError: If the folder holds another config's run, or any run without ``resume``.
    """
    path = folder / "config.json"
    if not path.exists() and not (folder / "last.pt").exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, {"digest": config.digest(), "config": config.to_dict()})
        return
    found = read_object(path, "a run's settings", CheckpointError)
    if found.get("digest") != config.digest():
        settings = found.get("config")
        lines = "; ".join(differences(settings if isinstance(settings, dict) else {}, config.to_dict()))
        raise CheckpointError(
            f"{folder}: holds a run with other settings (folder / now: {lines}). "
            "Use another folder, or the same settings."
        )
    if not resume:
        raise CheckpointError(f"{folder}: holds a run already. Pass --resume (resume=True), or use another folder.")
    remove_parts(folder)


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically, with its format and its sum."""
    whole = io.BytesIO()  # a full disk is then the system's error, not one of torch's
    torch.save({**state, "format": FORMAT, "sha256": _sum(state)}, whole)
    with atomic_path(path) as part:
        part.write_bytes(whole.getbuffer())


def load(path: Path, digest: str | None = None, more: Mapping[str, type] | None = None) -> dict[str, Any]:
    """Read a checkpoint to the CPU.

    Args:
        path: The file.
        digest: Of the config that it must belong to; by default any.
        more: Entries that it must have besides `ENTRIES`, with their types.

    Raises:
        CheckpointError: If the file is missing, damaged, newer than this code, or another run's.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: expected a checkpoint, there is no such file.") from error
    except Exception as error:  # damaged files make torch's reader raise whatever its parts raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise _refused(path, f"it cannot be read ({reason})") from error
    if not isinstance(state, dict) or not isinstance(state.get("format"), int):
        raise _refused(path, "it is none of this library's")
    if state["format"] != FORMAT:
        raise _refused(path, f"it has format {state['format']}, this code reads {FORMAT}: is it from another version?")
    for name, kind in {**ENTRIES, **(more or {})}.items():
        if not isinstance(state.get(name), kind):
            raise _refused(path, f"its entry {name!r} is {type(state.get(name)).__name__}, not {kind.__name__}")
    del state["format"]
    if state.pop("sha256", None) != _sum(state):
        raise _refused(path, "its content does not match its SHA-256: it was damaged or changed")
    if digest is not None and state["digest"] != digest:
        raise _refused(path, "it belongs to a run with other settings, or another seed")
    return state


@contextlib.contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Inside, whatever does not fit (a network that changed) is a checkpoint's error."""
    try:
        yield
    except (RuntimeError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise _refused(path, f"it does not fit this network ({' '.join(str(error).split())[:300]})") from error


def _refused(path: Path, why: str) -> CheckpointError:
    hint = "Move it away and start the run again, or put back a whole copy."
    return CheckpointError(f"{path}: expected a checkpoint of this run, but {why}. {hint}")


def _sum(content: Any) -> str:
    total = hashlib.sha256()
    _feed(total, content)
    return total.hexdigest()


def _feed(total: Any, content: Any) -> None:
    """Add a tree of containers, tensors and plain values to a sum, with types, shapes and lengths."""
    if isinstance(content, torch.Tensor):
        plain = content.detach().cpu().contiguous()
        total.update(f"{plain.dtype}{tuple(plain.shape)}".encode())
        total.update(plain.reshape(-1).view(torch.uint8).numpy())
    elif isinstance(content, Mapping):
        total.update(f"dict{len(content)}".encode())
        for key, value in content.items():
            total.update(f"{key!r};".encode())
            _feed(total, value)
    elif isinstance(content, list | tuple):
        total.update(f"list{len(content)}".encode())
        for value in content:
            _feed(total, value)
    else:
        total.update(f"{content!r};".encode())


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of every global generator (Python, numpy, torch, this device), in plain containers."""
    version, numbers, gauss = random.getstate()
    of_numpy: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    of_numpy["state"]["key"] = of_numpy["state"]["key"].tolist()
    state = {"python": [version, list(numbers), gauss], "numpy": of_numpy, "torch": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Put every global generator back where `random_state` found it."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


@contextlib.contextmanager
def hold_folder(folder: Path | None, process: Process) -> Iterator[None]:
    """Inside, a run's folder belongs to this run; see `hold`. No folder, no lock."""
    with contextlib.nullcontext() if folder is None else hold(folder / "run.lock", folder, process):
        yield


@contextlib.contextmanager
def hold(path: Path, what: Path, process: Process) -> Iterator[None]:
    """Inside, no other run holds this lock on ``what``; process 0 takes it for all. The outermost hold gives it back.

    Its file stays, empty: removing it would let two hold "it" at once.

    Raises:
        CheckpointError: In every process, if another run still holds it after `PATIENCE`.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, is_singleton=True)

    def take() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            text = f"{what}: another process is writing here. Wait for it, stop it, or use another folder."
            raise CheckpointError(text) from None

    in_main(process, take)
    try:
        yield
    finally:
        if process.is_main:
            lock.release()
