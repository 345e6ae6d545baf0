"""Keep the chapters' sources in order: no outputs, one tagged parameters cell, the repository's one address."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tools.project import ROOT, ToolError, exit_status, notebooks, read_json, write_atomic

ADDRESS_LINE = re.compile(r'^REPOSITORY = ".*?"', re.MULTILINE)
CONFIG_LINE = re.compile(r"^(  url: ).*$", re.MULTILINE)
ADDRESS = re.compile(r"^https://[\w.-]+/[\w.-]+/[\w.-]+$")
KEPT_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def configured_address(root: Path = ROOT) -> str:
    """The repository's address in ``_config.yml``: the one place where it is set."""
    return str(yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"] or "")


def tidy(notebook: dict[str, Any], address: str) -> dict[str, Any]:
    """The notebook as it is committed: no outputs, no counts, little metadata, the address in its first cell."""
    for count, cell in enumerate(notebook["cells"]):
        cell["id"] = cell.get("id") or f"cell-{count:02d}"
        cell["metadata"] = {k: v for k, v in cell.get("metadata", {}).items() if k in ("tags", "mystnb")}
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    first = _parameters_cell(notebook)
    text = ADDRESS_LINE.sub(f'REPOSITORY = "{address}"', "".join(first["source"]))
    first["source"] = text.splitlines(keepends=True)
    notebook["metadata"] = KEPT_METADATA
    notebook["nbformat"], notebook["nbformat_minor"] = 4, 5
    return notebook


def _parameters_cell(notebook: dict[str, Any]) -> dict[str, Any]:
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    if not code or "parameters" not in code[0]["metadata"].get("tags", []):
        raise ToolError("the first code cell must be tagged `parameters`: papermill sets its values")
    first: dict[str, Any] = code[0]
    return first


def dump(notebook: dict[str, Any]) -> str:
    """The one way a notebook is written, so that differences show edits only."""
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def check(paths: Sequence[Path]) -> list[str]:
    """Names of the notebooks that are not as ``tidy`` would write them."""
    address = configured_address()
    return [path.name for path in paths if path.read_text(encoding="utf-8") != dump(tidy(read_json(path), address))]


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
            write_atomic(path, dump(tidy(read_json(path), configured_address())))

    return exit_status(body)


if __name__ == "__main__":
    raise SystemExit(main())
