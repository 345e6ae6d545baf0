"""Files that are either whole or absent: written beside the target, then renamed over it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ask_lib.errors import AskError


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that becomes ``path`` when the body ends well.

    A process killed at any moment leaves the old file or the new one, never half of one (at worst a stray
    ``*.part`` beside it). Readers and several writers at once do no harm: the last rename wins. The folder is made
    where missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part(path)
    try:
        yield part
        with part.open("rb") as handle:
            os.fsync(handle.fileno())
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(part)):
            error.filename = str(path)  # what was meant, for the message
        raise


def check_writable(path: Path) -> None:
    """Raise the `OSError` that writing a file would raise; called before hours of work, not after."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part(path)
    try:
        part.touch()
        part.unlink()
    except OSError as error:
        error.filename = str(path)
        raise


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically: two-space indent, UTF-8, NaN refused (it is no JSON)."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def read_object(path: Path, what: str, error: type[AskError]) -> dict[str, Any]:
    """A JSON file that holds an object; whatever is wrong with it becomes one error that says so.

    Args:
        path: The file.
        what: What it should be, for the message: ``"a recorded run"``.
        error: What to raise.

    Raises:
        AskError: The given kind, if the file is missing, unreadable, damaged, too deep, holds NaN, or no object.
    """
    try:
        content = json.loads(path.read_bytes(), parse_constant=_refuse_constant, parse_float=_finite)
    except FileNotFoundError as cause:
        raise error(f"{path}: expected {what}, there is no such file.") from cause
    except (OSError, ValueError, RecursionError) as cause:  # damaged JSON, UTF-8 or nesting
        reason = "nested too deep" if isinstance(cause, RecursionError) else str(cause)
        raise error(f"{path}: expected {what}, and cannot read it ({reason}). Move it away to start anew.") from cause
    if not isinstance(content, dict):
        found = type(content).__name__
        raise error(f"{path}: expected {what} (a JSON object), it holds a {found}. Move it away to start anew.")
    return content


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_constant(text)  # 1e999 is infinity


def shown(text: str | Path) -> str:
    """A name or text of a user as one printable line, for messages, figures and JSON.

    Control characters, line breaks and bytes that are no UTF-8 (a file's name may hold any) are escaped as in Python.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def remove_parts(folder: Path, older_than: float = 0.0) -> None:
    """Remove what killed writers left in a folder, which need not be there.

    What was written to in the last ``older_than`` seconds is left; 0 is only for a folder that one process owns.
    """
    latest = time.time() - older_than if older_than else math.inf
    for part in folder.glob("*.part"):
        # Somebody else was first, or its writer came to an end; or it is somebody else's to remove.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            if part.stat().st_mtime <= latest:
                part.unlink()


def sha256(path: Path) -> str:
    """A file's SHA-256, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
