"""Where things are, what the table of contents names, and the few helpers that all tools share."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from ask_lib.files import atomic_path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "_build"
FRAMES = BUILD / "frames"  # of all profiles, named by content; a site gets those that its pages show
PROFILES = ("smoke", "book", "gpu", "paper")
CAP_SECONDS = {"smoke": 60.0, "book": 180.0, "gpu": 600.0, "paper": float("inf")}


class ToolError(Exception):
    """One line for a person: what went wrong, and what to do."""


def toc_pages(root: Path = ROOT) -> list[str]:
    """The pages that ``_toc.yml`` names, root first, without suffix."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    return [toc["root"], *_files(toc)]


def _files(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "file" in node:
            yield node["file"]
        for value in node.values():
            yield from _files(value)
    elif isinstance(node, list):
        for value in node:
            yield from _files(value)


def notebooks(root: Path = ROOT) -> list[Path]:
    """The chapters, in the order of the table of contents."""
    return [root / f"{page}.ipynb" for page in toc_pages(root) if page.startswith("notebooks/")]


def executed_path(source: Path, profile: str) -> Path:
    """Where a notebook's executed copy for a profile lies."""
    return BUILD / "executed" / profile / source.name


def site_path(profile: str) -> Path:
    """Where the rendered pages of a profile lie; ``book`` is the one that people read."""
    return BUILD / "html" if profile == "book" else BUILD / f"html-{profile}"


def digest(parts: Iterable[bytes]) -> str:
    """sha256 of several byte strings, kept apart."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "little"))
        total.update(part)
    return total.hexdigest()


def tree_bytes(folders: Iterable[Path], suffixes: tuple[str, ...] = ()) -> Iterator[bytes]:
    """Names and contents of all files below some folders (or of files), for a fingerprint."""
    for folder in folders:
        files = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.is_file())
        for path in files:
            if "__pycache__" in path.parts or (suffixes and path.suffix not in suffixes):
                continue
            yield (path.relative_to(ROOT) if path.is_relative_to(ROOT) else path).as_posix().encode()
            yield path.read_bytes()


def write_atomic(path: Path, text: str) -> None:
    """Write a text file so that an interruption leaves the old one or the new one, never a half."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """A JSON file's content."""
    return json.loads(path.read_text(encoding="utf-8"))


def in_markdown(notebook: dict[str, Any]) -> Iterator[str]:
    """The text of a notebook's Markdown cells."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            yield "".join(cell["source"])


def exit_status(main: Callable[[], None]) -> int:
    """Run a command's body; a known failure becomes one line on stderr and status 1."""
    try:
        main()
    except ToolError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EROFS):
            print(f"error: may not write {error.filename}: {error.strerror}", file=sys.stderr)
            return 1
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(
            f"error: the disk is full ({error.filename or BUILD}). Free some space and run it again.", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        print("\nstopped; what was finished is kept, the same command goes on from there", file=sys.stderr)
        return 130
    return 0


@contextlib.contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Hold a lock for a step, so that two `make` at once wait for each other instead of mixing their files."""
    import fcntl

    BUILD.mkdir(exist_ok=True)
    with (BUILD / f".{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
