"""Recorded runs: one schema for all of ``results/``, one writer, one reader.

A recorded run is a JSON object with

| key | what |
| --- | --- |
| ``schema`` | 1 |
| ``name``, ``title`` | the file's stem: letters, digits, ``_`` and ``-``; one line for a person |
| ``command``, ``commit``, ``environment`` | what to type to repeat it (no path of a machine), what it stood on |
| ``data`` | name of a data set to its version |
| ``settings``, ``seeds``, ``protocol`` | with what, how often, and in words |
| ``complete``, ``seconds`` | whether the run came to its end, and how long it took, or null |
| ``values`` | name to number, text or bool: what pages show, flat |
| ``rows`` | of a table: label to ``runs`` (seed to numbers by name) and ``summary`` |
| ``details`` | all else: single runs, pictures' outlines |
"""

from __future__ import annotations

import math
import os
import re
import shlex
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ask_lib.errors import ResultError
from ask_lib.files import read_object, write_json
from ask_lib.reproduce import commit, environment_report

SCHEMA = 1
KEYS: Mapping[str, type | tuple[type, ...]] = {
    "schema": int,
    "name": str,
    "title": str,
    "command": str,
    "commit": str,
    "environment": dict,
    "data": dict,
    "settings": dict,
    "seeds": list,
    "protocol": str,
    "complete": bool,
    "seconds": (int, float, type(None)),
    "values": dict,
    "rows": dict,
    "details": dict,
}
NAME = re.compile(r"[\w-]+")
REALDATA = "$ASK_REALDATA"


def new_result(
    name: str,
    *,
    command: str,
    title: str = "",
    data: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    seeds: Sequence[int] = (),
    protocol: str = "",
    complete: bool = True,
    seconds: float | None = None,
    values: Mapping[str, Any] | None = None,
    rows: Mapping[str, Any] | None = None,
    details: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> dict[str, Any]:
    """A recorded run's content, by the schema's keys, with commit and environment of this machine.

    ``environment`` is given where another device ran; the commit is that of ``folder``, by default the library's.

    Raises:
        ResultError: If something has another type than the schema's.
    """
    content = {
        "schema": SCHEMA,
        "name": name,
        "title": title,
        "command": command,
        "commit": commit(folder),
        "environment": dict(environment or environment_report()),
        "data": dict(data or {}),
        "settings": dict(settings or {}),
        "seeds": list(seeds),
        "protocol": protocol,
        "complete": complete,
        "seconds": seconds if seconds is None else round(seconds, 1),
        "values": dict(values or {}),
        "rows": dict(rows or {}),
        "details": dict(details or {}),
    }
    check_result(content, f"result {name!r}")
    return content


def write_result(folder: Path, content: Mapping[str, Any]) -> Path:
    """Write a recorded run to ``folder/NAME.json``, whole or not at all; returns the path.

    Raises:
        ResultError: If the content does not fit the schema, or holds NaN.
    """
    check_result(content, f"result {content.get('name')!r}")
    path = folder / f"{content['name']}.json"
    try:
        write_json(path, content)
    except (ValueError, TypeError, RecursionError) as error:
        raise ResultError(f"{path}: cannot be written as JSON ({error}).") from error
    return path


def read_result(path: Path) -> dict[str, Any]:
    """A recorded run.

    Raises:
        ResultError: If the file is missing, damaged, or no recorded run; a file like that is never overwritten unseen.
    """
    content = read_object(path, "a recorded run", ResultError)
    check_result(content, str(path))
    return content


def check_result(content: Mapping[str, Any], what: str) -> None:
    """Raise a `ResultError` that names the first key that is wrong, unless the content fits the schema."""
    for key, kind in KEYS.items():
        value = content.get(key)
        if key not in content or not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ResultError(f"{what}: {key!r} is {_shown(value)}, which is no recorded run's.")
    if unknown := [key for key in content if key not in KEYS]:
        raise ResultError(f"{what}: {unknown[0]!r} is no key of a recorded run; put it under 'details'.")
    if content["schema"] != SCHEMA:
        raise ResultError(
            f"{what}: schema {content['schema']}, this library reads {SCHEMA}. Is it newer than this code?"
        )
    if not NAME.fullmatch(content["name"]):
        raise ResultError(f"{what}: a name has letters, digits, _ and - only, such as scda_objects.")
    bad = [name for name, value in content["values"].items() if not _is_value(value)]
    if bad:
        raise ResultError(f"{what}: value {bad[0]!r} is {_shown(content['values'][bad[0]])}, expected a finite number.")


def without_machine(value: Any) -> Any:
    """Paths as another person would write them: below the real data, or by their last part."""
    if not isinstance(value, str) or os.sep not in value:
        return value
    parts = Path(value).parts
    return "/".join([REALDATA, *parts[parts.index("realdata") + 1 :]]) if "realdata" in parts else parts[-1]


def shell_word(text: str) -> str:
    """A text as one word of a command; what `without_machine` made of a path still names the real data's folder."""
    base, slash, rest = text.partition("/")
    return f'"{REALDATA}"{slash}{rest and shlex.quote(rest)}' if base == REALDATA else shlex.quote(text)


def flat(numbers: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Numbers by one name each: ``{"rgb": {"mean": 60.0}}`` has ``rgb_mean``; lists are left out."""
    return dict(_flat(numbers, prefix))


def summarise(values: Sequence[float]) -> dict[str, float | int | None]:
    """Mean, sample standard deviation, and the 95 % Student interval of the mean; the last three need two values."""
    count, mean = len(values), statistics.fmean(values)
    if count < 2:
        return {"n": count, "mean": mean, "std": None, "low": None, "high": None}
    from scipy.stats import t

    std = statistics.stdev(values)
    reach = float(t.ppf(0.975, count - 1)) * std / math.sqrt(count)
    return {"n": count, "mean": mean, "std": std, "low": mean - reach, "high": mean + reach}


def _flat(numbers: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}_")
        elif not isinstance(value, list | tuple):
            yield f"{prefix}{name}", value


def _is_value(value: Any) -> bool:
    return isinstance(value, str | bool) or (isinstance(value, int | float) and math.isfinite(value))


def _shown(value: Any) -> str:
    return "missing" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
