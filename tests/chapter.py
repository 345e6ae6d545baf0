"""Runs a chapter as a reader would, with parameters of one's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ask_lib.show.record import Value, recorded_values
from tools.execute import execute
from tools.project import ROOT, read_json
from tools.records import table_lines

TABLE = re.compile(r"^```\{recorded-table\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Runner(Protocol):
    """Runs one chapter at the smoke profile."""

    def __call__(self, folder: Path, **parameters: object) -> tuple[dict[str, Value], str]:
        """Its recorded values and its printed text; the run lies in ``folder/out``."""


def runner(name: str) -> Runner:
    """The runner of ``notebooks/NAME.ipynb``."""
    return partial(_run, ROOT / "notebooks" / f"{name}.ipynb")


def _run(source: Path, folder: Path, **parameters: object) -> tuple[dict[str, Value], str]:
    target = folder / "out" / source.name
    execute(source, target, "smoke", parameters)
    notebook = read_json(target)
    texts = ["".join(o.get("text", "")) for cell in notebook["cells"] for o in cell.get("outputs", [])]
    return dict(recorded_values(notebook)), "\n".join(texts)


def in_markdown(notebook: dict[str, Any]) -> Iterator[str]:
    """The text of a notebook's Markdown cells."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            yield "".join(cell["source"])


def roles(text: str, role: str) -> list[str]:
    """What a page's text asks of a role, once each; its ``{recorded-table}`` are written out first."""
    whole = TABLE.sub(lambda table: "\n".join(table_lines(table[1].splitlines())), text)
    return sorted(set(re.findall(r"\{" + role + r"\}`([^`]+)`", whole)))
