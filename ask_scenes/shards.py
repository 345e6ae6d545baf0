"""Shards of frames on disk: written whole or not at all, and checked when read."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ask_lib.command import describe
from ask_lib.errors import CacheError
from ask_lib.files import atomic_path, check_writable, remove_parts

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]

DIGEST = 32  # bytes of SHA-256, in front of the arrays
DAY = 24 * 3600.0
WAY_OUT = (
    "Frames are kept in the folder that root names, else the variable ASK_CACHE, else in ~/.cache/ask_lib: "
    "set one that you may write and that has room."
)


def cache_folder(root: str | Path | None = None) -> Path:
    """The folder for generated data: the given one, else ``ASK_CACHE``, else ``~/.cache/ask_lib``.

    Raises:
        CacheError: If there is no home folder to put it in.
    """
    named = root if root is not None else os.environ.get("ASK_CACHE") or "~/.cache/ask_lib"
    try:
        return Path(named).expanduser()
    except RuntimeError as cause:
        raise CacheError(f"{named}: there is no such home folder. {WAY_OUT}") from cause


def prepare(path: Path) -> None:
    """Make ready for a shard: its folder, without what killed runs left there.

    Args:
        path: The shard.

    Raises:
        CacheError: If it could not be written.
    """
    with _in_cache():
        check_writable(path)
        remove_parts(path.parent, older_than=DAY)  # no run that lives writes on a shard for a day


def save(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays to a shard in one step, with a checksum in front.

    The same arrays give the same bytes, so of two runs at once the second puts there what is there already.

    Args:
        path: The shard; its folder is made where missing.
        arrays: What to keep, by name.

    Raises:
        CacheError: If it cannot be written.
    """
    body = _zipped(arrays)
    with _in_cache(), atomic_path(path) as part:
        part.write_bytes(_checksum(path, body) + body)


def load(path: Path) -> dict[str, Array] | None:
    """The arrays of a shard.

    Args:
        path: The shard.

    Returns:
        The arrays by name, or None if the shard is not there, is not what was written, or was written elsewhere.

    Raises:
        CacheError: If it cannot be read.
    """
    with _in_cache():
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
    if _checksum(path, data[DIGEST:]) != data[:DIGEST]:
        return None
    with np.load(io.BytesIO(data[DIGEST:]), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _checksum(path: Path, body: bytes) -> bytes:
    """Of the content and its place: data set, folder (all that decides what frames look like) and frames.

    With the place in it, a shard that was put under another one's name is not taken for that one.
    """
    place = "/".join(path.parts[-3:])
    return hashlib.sha256(place.encode() + b"\0" + body).digest()


@contextlib.contextmanager
def _in_cache() -> Iterator[None]:
    try:
        yield
    except OSError as cause:
        raise CacheError(f"{describe(cause).rstrip('.')}. {WAY_OUT}") from cause


def _zipped(arrays: Mapping[str, Array]) -> bytes:
    """As ``np.savez_compressed`` does it, but fast: pixels with noise gain little from more work."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()
