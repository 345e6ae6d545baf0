"""Recorded runs: what a run that does not fit a page's minutes gave, with all that is needed to repeat it."""

from __future__ import annotations

import difflib
from decimal import Decimal
from pathlib import Path
from typing import Any

from ask_lib.results import NAME, new_result, read_result, without_machine, write_result
from ask_lib.show.record import Value, published_source, published_text
from ask_scenes import objects, rooms
from tools.numerals import rounded, typeset
from tools.project import ROOT, ToolError

RESULTS = ROOT / "results"


def check_result_name(name: str) -> None:
    """Refuse a name that is no plain file name: a recorded run lies in ``results/``, nowhere else.

    Raises:
        ToolError: If there is anything but letters, digits, ``_`` and ``-`` in it, or nothing.
    """
    if not NAME.fullmatch(name):
        raise ToolError(f"a recorded run's name has letters, digits, _ and - only, such as scda_objects; got {name!r}")


def record_chapter(name: str, command: str, parameters: dict[str, Any], values: dict[str, Value], **more: Any) -> Path:
    """Write a chapter's recorded run to ``results/NAME.json``.

    Args:
        name: The run's name.
        command: What to type to repeat it.
        parameters: What it was called with.
        values: What it gave.
        more: What else `new_result` takes: seeds, details.
    """
    settings = {key: without_machine(value) for key, value in parameters.items()}
    data = {"rooms": rooms.VERSION, "objects": objects.VERSION}
    content = new_result(name, command=command, data=data, settings=settings, values=values, folder=ROOT, **more)
    return write_result(RESULTS, content)


def result_text(address: str) -> tuple[str, str]:
    """A value of a recorded run, as a page shows it, and where it comes from.

    Args:
        address: ``NAME/value`` or ``NAME/value:.2f``.

    Raises:
        ToolError: If there is no such run or value, or the run was stopped: no page shows half a run.
    """
    where, _, spec = address.partition(":")
    name, _, key = where.rpartition("/")
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        raise ToolError(f"no recorded run {name!r} in results/")
    run = read_result(path)
    if not run["complete"]:
        raise ToolError(f"results/{name}.json is of a run that was stopped. Run it to its end: {run['command']}")
    values = run["values"]
    if key not in values:
        near = ", ".join(difflib.get_close_matches(key, values, n=3)) or f"none of its {len(values)} values"
        raise ToolError(f"results/{name}.json has no value {key!r}; near it: {near}")
    source = f"results/{name}.json, commit {run['commit']}, {run['environment'].get('device', 'device unknown')}"
    try:
        text = format(values[key], spec)
    except ValueError as error:
        raise ToolError(f"results/{name}.json: {key!r} is {values[key]!r}, not shown as {spec!r} ({error})") from None
    return typeset(text), source


def printed(text: str) -> tuple[str, str]:
    """A number that a paper printed, or the difference of two, and where they stand.

    ``ADDRESS`` keeps the paper's digits, ``ADDRESS:.1f`` has so many decimals, and ``ADDRESS - ADDRESS:.1f`` is a gain,
    with its sign; where digits are lost, the source has them all.

    Raises:
        ChoiceError: If there is no such number.
    """
    addresses, _, decimals = text.partition(":.")
    names = addresses.split(" - ")
    if not decimals:
        return published_text(addresses), published_source(addresses)
    numbers = [published_text(name) for name in names]
    total = Decimal(numbers[0]) - sum(map(Decimal, numbers[1:]))
    shown = rounded(str(total), int(decimals.removesuffix("f")))
    where = "; minus ".join(f"{published_source(name)}: {number}" for name, number in zip(names, numbers, strict=True))
    return typeset(shown if len(names) == 1 or total < 0 else f"+{shown}"), where
