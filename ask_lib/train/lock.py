"""One process writes at a time: a run's folder, and a table's file, belong to whoever holds their lock.

The lock is the operating system's own (``flock``, through `filelock`), so it ends with the process that holds it,
however that ends. Beside it lies a note with that process's number, for the message alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ask_lib.files import write_json
from ask_lib.train.distributed import Process, in_first
from ask_lib.train.errors import CheckpointError

if TYPE_CHECKING:
    from filelock import FileLock

PATIENCE = 10.0  # seconds; a killed run's data workers notice within five, and may hold its lock until then


@contextlib.contextmanager
def hold_folder(folder: Path | None, process: Process) -> Iterator[None]:
    """Inside, a run's folder belongs to this run; see `hold`. No folder, no lock."""
    with contextlib.nullcontext() if folder is None else hold(folder / "run.lock", folder, process):
        yield


@contextlib.contextmanager
def hold(path: Path, what: Path, process: Process) -> Iterator[None]:
    """Inside, no other run holds this lock; process 0 takes it for all that train together.

    May be nested: the outermost gives it back.

    Args:
        path: The lock's file, ``*.lock``; it stays, empty (removing it would let two hold "it" at once).
        what: What is locked, for the message.
        process: This process.

    Raises:
        CheckpointError: In every process, if another run holds it.
    """
    with contextlib.ExitStack() as stack:
        in_first(process, lambda: stack.enter_context(_held(path, what)))
        yield


@contextlib.contextmanager
def _held(path: Path, what: Path) -> Iterator[None]:
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    lock, note = FileLock(path, is_singleton=True), path.with_suffix(".pid")
    _acquire(lock, note, what)
    try:
        if lock.lock_counter == 1:
            write_json(note, {"pid": os.getpid(), "host": platform.node()})
        yield
    finally:
        if lock.lock_counter == 1:
            note.unlink(missing_ok=True)
        lock.release()


def _acquire(lock: FileLock, note: Path, what: Path) -> None:
    """Take the lock, or say at once who has it; where that process is dead, wait for its workers to end."""
    from filelock import Timeout

    end = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0)
            return
        holder = _read(note)
        if _lives(holder) or time.monotonic() > end:
            name = f"process {holder['pid']} on {holder['host']}" if _lives(holder) else "another process"
            raise CheckpointError(f"{what}: {name} is writing here. Wait for it, stop it, or use another folder.")
        time.sleep(0.05)


def _read(note: Path) -> dict[str, Any]:
    """The holder's note; empty while it is not written yet."""
    try:
        content = json.loads(note.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return dict(content)


def _lives(holder: dict[str, Any]) -> bool:
    """Whether the noted process is there; on another machine nobody can tell, so it is."""
    if not holder or holder["host"] != platform.node() or os.name != "posix":
        return bool(holder)
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
