"""Shards of frames on disk: written whole or not at all, and checked when read.

A shard is written under a name of its own and then moved into place, which the file system does in one step: a
killed run leaves at most a file that nobody reads, and of two runs at once the second puts the same bytes there.
"""

from __future__ import annotations

import hashlib
import io
import os
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ask_lib.data.rooms.options import Array

DIGEST = 32


def cache_folder(root: str | Path | None = None) -> Path:
    """The folder for generated data: the given one, else ``ASK_CACHE``, else ``~/.cache/ask_lib``."""
    if root is not None:
        return Path(root).expanduser()
    named = os.environ.get("ASK_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "ask_lib"


def save(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays to a shard in one step, with a checksum in front."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = _zipped(arrays)
    own = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part")
    try:
        with own.open("wb") as file:
            file.write(hashlib.sha256(body).digest())
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        own.replace(path)
    finally:
        own.unlink(missing_ok=True)


def _zipped(arrays: Mapping[str, Array]) -> bytes:
    """As ``np.savez_compressed`` does it, but fast: pixels with noise gain little from more work."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def load(path: Path) -> dict[str, Array] | None:
    """The arrays of a shard, or None if it is not there, or is not whole."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if hashlib.sha256(data[DIGEST:]).digest() != data[:DIGEST]:
        return None
    try:
        with np.load(io.BytesIO(data[DIGEST:]), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (zipfile.BadZipFile, ValueError):
        return None
