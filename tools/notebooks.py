"""Keep the chapters' sources in order: no outputs, settings first, then the one installer, the one address."""

from __future__ import annotations

import argparse
import ast
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.project import ROOT, ToolError, exit_status, notebooks, read_json, read_yaml, write_atomic

ADDRESS_LINE = re.compile(r'^REPOSITORY = ".*?"', re.MULTILINE)
CONFIG_LINE = re.compile(r"^(  url: ).*$", re.MULTILINE)
ADDRESS = re.compile(r"^https://[\w.-]+/[\w.-]+/[\w.-]+$")
KEPT_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


# The cell after the settings of every chapter. Pip must leave three packages as they are, so it never brings torch.
INSTALLER = """\
# Where ask_lib is missing, as in Colab: install it, and leave torch as it is.
import subprocess
import sys
from importlib import metadata, util

if util.find_spec("ask_lib") is None:
    names = ("torch", "torchvision", "numpy")
    held = [f"{name}=={metadata.version(name)}" for name in names]
    pip = [sys.executable, "-m", "pip", "install", "-q", f"git+{REPOSITORY}"]
    if subprocess.run(pip + held).returncode:
        raise RuntimeError("Set REPOSITORY above to the book's address.")
"""
INSTALLER_CELL = {
    "cell_type": "code",
    "execution_count": None,
    "id": "install",
    "metadata": {
        "mystnb": {"code_prompt_hide": "Hide", "code_prompt_show": "Install the library (in Colab)"},
        "tags": ["hide-input"],
    },
    "outputs": [],
    "source": INSTALLER.strip().splitlines(keepends=True),
}


def configured_address(root: Path = ROOT) -> str:
    """The repository's address in ``_config.yml``: the one place where it is set."""
    repository = read_yaml(root / "_config.yml").get("repository")
    return str(repository.get("url") or "") if isinstance(repository, dict) else ""


def tidy(notebook: dict[str, Any], address: str, name: str = "the notebook") -> dict[str, Any]:
    """The notebook as it is committed.

    No outputs, no counts, little metadata; the address among its settings, and after them the installer.

    Raises:
        ToolError: If its first code cell is not one of settings.
    """
    settings = parameters_cell(notebook, name)
    assigned(settings)
    cells = [cell for cell in notebook["cells"] if cell.get("id") != INSTALLER_CELL["id"]]
    for count, cell in enumerate(cells):
        cell["id"] = cell.get("id") or f"cell-{count:02d}"
        cell["metadata"] = {k: v for k, v in cell.get("metadata", {}).items() if k in ("tags", "mystnb")}
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    text = ADDRESS_LINE.sub(f'REPOSITORY = "{address}"', "".join(settings["source"]))
    settings["source"] = text.splitlines(keepends=True)
    place = cells.index(settings) + 1
    notebook["cells"] = [*cells[:place], INSTALLER_CELL, *cells[place:]]
    notebook["metadata"] = KEPT_METADATA
    notebook["nbformat"], notebook["nbformat_minor"] = 4, 5
    return notebook


def parameters_cell(notebook: dict[str, Any], name: str) -> dict[str, Any]:
    """The first code cell, tagged ``parameters``.

    Raises:
        ToolError: If there is none.
    """
    first = next(iter(code_cells(notebook, name)), {})
    if "parameters" not in first.get("metadata", {}).get("tags", []):
        raise ToolError(f"{name}: the first code cell must be tagged `parameters`: papermill sets its values")
    return first


def code_cells(notebook: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The code cells, each with a source.

    Raises:
        ToolError: If it is no notebook.
    """
    try:
        code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        if all(isinstance("".join(cell["source"]), str) and isinstance(cell["metadata"], dict) for cell in code):
            return code
    except (KeyError, TypeError):
        pass  # said below
    raise ToolError(f"{name}: expected a notebook, whose code cells have a source and metadata")


def assigned(settings: dict[str, Any]) -> dict[str, Any]:
    """The names and values of a cell of settings.

    Raises:
        ToolError: If it holds anything but assignments of plain values to names: papermill's own cell follows it, so
            code in it would not see the values that were asked for.
    """
    found: dict[str, Any] = {}
    try:
        for node in ast.parse("".join(settings["source"])).body:
            if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
                raise ValueError(f"line {node.lineno} is no assignment")
            found[node.targets[0].id] = ast.literal_eval(node.value)
    except (ValueError, SyntaxError) as error:
        raise ToolError(f"the cell tagged `parameters` may hold assignments of plain values only ({error})") from None
    return found


def dump(notebook: dict[str, Any]) -> str:
    """The one way a notebook is written, so that differences show edits only."""
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def tidied(path: Path) -> str:
    """A notebook's text as it is committed."""
    return dump(tidy(read_json(path), configured_address(), path.name))


def check(paths: Sequence[Path]) -> list[str]:
    """Names of the notebooks that are not as ``tidy`` would write them."""
    return [path.name for path in paths if path.read_text(encoding="utf-8") != tidied(path)]


def set_address(address: str) -> None:
    """Write the repository's address into ``_config.yml``; the notebooks follow when they are tidied.

    Raises:
        ToolError: If it is not a web address of a repository.
    """
    address = address.removesuffix("/").removesuffix(".git")
    if address and not ADDRESS.match(address):
        raise ToolError(f"expected an address like https://github.com/OWNER/NAME; got {address!r}")
    path = ROOT / "_config.yml"
    text = path.read_text(encoding="utf-8")
    write_atomic(path, CONFIG_LINE.sub(rf'\g<1>"{address}"', text, count=1))


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.notebooks", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a notebook is not tidy")
    parser.add_argument("--repository", metavar="URL", help="set the repository's address in all places first")
    parser.add_argument("files", nargs="*", type=Path, help="notebooks (default: all chapters)")
    args = parser.parse_args(argv)

    def body() -> None:
        paths = args.files or notebooks()
        if args.repository is not None:
            set_address(args.repository)
        if args.check:
            untidy = check(paths)
            if untidy:
                raise ToolError(f"not tidy: {', '.join(untidy)}. Run: python -m tools.notebooks")
            return
        for path in paths:
            write_atomic(path, tidied(path))

    return exit_status(body)


if __name__ == "__main__":
    raise SystemExit(main())
