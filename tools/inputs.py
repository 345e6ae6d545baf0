"""What an executed chapter depends on: the modules that its cells import, directly or not, and a reader's own files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from tools.imports import ROOT, imported_names, own_files

PACKAGES = ("ask_lib", "ask_scenes")


def files_behind(sources: Iterable[str], root: Path = ROOT) -> list[Path]:
    """The files of our packages that some code depends on, directly or not.

    Args:
        sources: Python code, such as the cells of a chapter. Code that does not parse imports nothing: its run fails.
        root: Where the packages lie.

    Returns:
        The modules, and what lies beside them in their packages and is no module: weights, tables, scripts. Sorted.
    """
    names: set[str] = set()
    for source in sources:
        with contextlib.suppress(SyntaxError, ValueError):
            names |= {name for name in imported_names(source) if name.split(".")[0] in PACKAGES}
    modules = own_files(names, root)
    return sorted({*modules, *(path for folder in {module.parent for module in modules} for path in _data_of(folder))})


def _data_of(folder: Path) -> Iterator[Path]:
    """The files of a package that are no modules, also in folders that are no packages."""
    for path in folder.iterdir():
        if path.is_dir() and path.name != "__pycache__" and not (path / "__init__.py").is_file():
            yield from _data_of(path)
        elif path.is_file() and path.suffix != ".py":
            yield path


def marks_of(path: Path) -> Iterator[bytes]:
    """Name, size and time of a file, or of all files below a folder; none is read, and any name and link will do."""
    for file in sorted(_files_below(path)) if path.is_dir() else [path]:
        about = file.stat() if file.exists() else file.lstat()  # a link to nothing is a fact too
        yield os.fsencode(file) + f" {about.st_size} {about.st_mtime_ns}".encode()


def _files_below(folder: Path) -> Iterator[Path]:
    """All files, through links to folders too; a folder that links lead to twice is entered once."""
    seen: set[tuple[int, int]] = set()
    for base, folders, names in os.walk(folder, followlinks=True):
        about = Path(base).stat()
        if (about.st_dev, about.st_ino) in seen:
            folders.clear()
            continue
        seen.add((about.st_dev, about.st_ino))
        yield from (Path(base) / name for name in names)
