"""Which of the repository's own files a piece of code stands on: its imports, followed. Imports nothing heavy."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def imported_names(source: str) -> set[str]:
    """Every module that a source may import, also within functions: ``from a.b import c`` names ``a.b`` and ``a.b.c``.

    Raises:
        SyntaxError: If it is no Python.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def own_files(modules: Iterable[str], root: Path = ROOT) -> list[Path]:
    """The files below ``root`` that importing some modules runs, directly or not, sorted by path.

    Args:
        modules: Dotted names, such as ``ask_lib.methods.scda``; those that have no file below ``root`` (torch, names
            that are no module) are passed over. A module's packages count too: their ``__init__.py`` runs.
        root: The repository.
    """
    found: set[Path] = set()
    waiting = set(modules)
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            place = root.joinpath(*parts[:count])
            for path in {place.with_suffix(".py"), place / "__init__.py"} - found:
                if path.is_file():
                    found.add(path)
                    waiting |= imported_names(path.read_text(encoding="utf-8")) - seen
    return sorted(found)


def digest(parts: Iterable[bytes]) -> str:
    """sha256 of several byte strings, kept apart."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "little"))
        total.update(part)
    return total.hexdigest()
