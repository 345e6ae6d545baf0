"""Shards of frames on disk: written whole or not at all, and checked when read."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ask_lib.files import atomic_path

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]

DIGEST = 32  # bytes of SHA-256, in front of the arrays


def cache_folder(root: str | Path | None = None) -> Path:
    """The folder for generated data: the given one, else ``ASK_CACHE``, else ``~/.cache/ask_lib``."""
    if root is not None:
        return Path(root).expanduser()
    named = os.environ.get("ASK_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "ask_lib"


def save(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays to a shard in one step, with a checksum in front.

    The same arrays give the same bytes, so of two runs at once the second puts there what is there already.

    Args:
        path: The shard; its folder is made where missing.
        arrays: What to keep, by name.
    """
    body = _zipped(arrays)
    with atomic_path(path) as part:
        part.write_bytes(hashlib.sha256(body).digest() + body)


def load(path: Path) -> dict[str, Array] | None:
    """The arrays of a shard.

    Args:
        path: The shard.

    Returns:
        The arrays by name, or None if the shard is not there or is not what was written.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if hashlib.sha256(data[DIGEST:]).digest() != data[:DIGEST]:
        return None
    with np.load(io.BytesIO(data[DIGEST:]), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _zipped(arrays: Mapping[str, Array]) -> bytes:
    """As ``np.savez_compressed`` does it, but fast: pixels with noise gain little from more work."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()
