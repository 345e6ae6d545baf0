"""Recorded runs: what a run that does not fit a page's minutes gave, with all that is needed to repeat it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ask_lib.data import objects, rooms
from ask_lib.data.embedded.probes import flat
from ask_lib.reproduce import commit, environment_report
from ask_lib.show.record import Value
from tools.project import ROOT, ToolError, read_json, write_atomic

RESULTS = ROOT / "results"


def without_machine(value: Any) -> Any:
    """Paths as another person would write them: below the real data, or by their last part."""
    if not isinstance(value, str) or os.sep not in value:
        return value
    parts = Path(value).parts
    return "/".join(["$ASK_REALDATA", *parts[parts.index("realdata") + 1 :]]) if "realdata" in parts else parts[-1]


def write_result(name: str, command: str, parameters: dict[str, Any], values: dict[str, Value]) -> Path:
    """Write one recorded run to ``results/NAME.json``.

    Args:
        name: The run's name.
        command: What to type to repeat it.
        parameters: What it was called with.
        values: What it gave.
    """
    about = {
        "command": command,
        "commit": commit(ROOT),
        "environment": environment_report(),
        "data_versions": {"rooms": rooms.VERSION, "objects": objects.VERSION},
        "parameters": {key: without_machine(value) for key, value in parameters.items()},
        "values": values,
    }
    path = RESULTS / f"{name}.json"
    write_atomic(path, json.dumps(about, indent=1) + "\n")
    return path


def result_text(address: str) -> tuple[str, str]:
    """A value of a recorded run, as a page shows it, and where it comes from.

    Args:
        address: ``NAME/value`` or ``NAME/value:.2f``.

    Raises:
        ToolError: If there is no such run or value.
    """
    where, _, spec = address.partition(":")
    name, _, key = where.rpartition("/")
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        raise ToolError(f"no recorded run {name!r} in results/")
    run = read_json(path)
    values = run.get("values") or flat(run["numbers"])
    if key not in values:
        raise ToolError(f"results/{name}.json has no value {key!r}; it has {', '.join(values)}")
    source = f"results/{name}.json, commit {run['commit']}, {run['environment']['device']}"
    return format(values[key], spec), source
