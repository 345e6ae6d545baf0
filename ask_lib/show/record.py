"""Values that a page shows and a test checks: recorded once, typed nowhere.

A notebook calls ``record(name, value)``. The page shows the value with ``{glue:text}``; the regression test
reads the same value from the executed notebook.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ask_lib.errors import AskError, ChoiceError
from ask_lib.files import read_object

PUBLISHED = Path(__file__).with_name("published.json")
PREFIX = "application/papermill.record/"
Value = bool | int | float | str


class RecordError(AskError, ValueError):
    """A value that cannot be recorded."""


def record(name: str, value: Any) -> Value:
    """Store a value in the cell's output, the way myst_nb's ``glue`` does, without needing myst_nb.

    Args:
        name: Its name on the page and in ``tests/expected``; letters, digits and underscores.
        value: A number, a text or a bool; a tensor or array with one element is turned into a number.

    Returns:
        The plain value, for use in the same cell.

    Raises:
        RecordError: If the name is not an identifier, or the value is not a finite scalar or a text.
    """
    from IPython.display import display

    if not name.isidentifier():
        raise RecordError(f"name: expected letters, digits and underscores; got {name!r}.")
    plain = _plain(name, value)
    text = plain if isinstance(plain, str) else repr(plain)
    display(
        {PREFIX + "text/plain": text},
        raw=True,
        metadata={"scrapbook": {"name": name, "mime_prefix": PREFIX, "value": plain}},
    )
    return plain


def _plain(name: str, value: Any) -> Value:
    if hasattr(value, "item"):
        try:
            value = value.item()
        except (RuntimeError, ValueError) as error:
            raise RecordError(f"{name}: expected one number. {error}") from None
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()  # a file's name may hold what no JSON file can
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise RecordError(f"{name}: expected a finite number, a text or a bool; got {value!r}.")


def recorded_values(notebook: Mapping[str, Any]) -> dict[str, Value]:
    """All values that an executed notebook (``nbformat`` or ``json``) recorded, by name.

    Raises:
        RecordError: If a name was recorded twice, or a value is none that `record` stores.
    """
    values: dict[str, Value] = {}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            about = output.get("metadata", {}).get("scrapbook", {})
            if "value" not in about:
                continue
            if about["name"] in values:
                raise RecordError(f"{about['name']} is recorded twice: the page could show either.")
            values[about["name"]] = _plain(about["name"], about["value"])
    return values


def published_text(address: str) -> str:
    """A number that a paper printed, with the paper's digits.

    Args:
        address: ``PAPER/table/row/column``, for example ``SCDA/3/SCDA/CUB top1``.

    Raises:
        ChoiceError: If there is no such entry; near ones are offered.
    """
    return _entry(address)["value"]


def published_source(address: str) -> str:
    """Where it stands: paper, table, row, column and unit, as one line for a tooltip."""
    entry = _entry(address)
    paper, table, row, column = address.split("/")
    return f"{paper}, {entry['where'].format(table=table)}, row {row}, column {column} ({entry['unit']})"


def _entry(address: str) -> dict[str, str]:
    values = _published()
    if address not in values:
        near = difflib.get_close_matches(address, values, n=3)
        raise ChoiceError(f"published number: no {address!r}. Near: {', '.join(near) or 'none'}.")
    return values[address]


@cache
def _published(path: Path = PUBLISHED) -> dict[str, dict[str, str]]:
    """Address to value, unit and place."""
    flat: dict[str, dict[str, str]] = {}
    try:
        for paper, tables in read_object(path, "the numbers that the papers print", RecordError)["papers"].items():
            for table, content in tables.items():
                about = {"unit": content["unit"], "where": content["where"]}
                for row, numbers in content["rows"].items():
                    for column, value in zip(content["columns"], numbers, strict=True):
                        if value is not None:
                            flat[f"{paper}/{table}/{row}/{column}"] = {"value": value, **about}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"{path}: expected papers, their tables, and rows as long as columns; {error!r}.") from error
    return flat
