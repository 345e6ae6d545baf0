"""Hold the values that the chapters recorded against those that are expected.

``tests/expected/PROFILE.json``: chapter -> name -> guard. Guards:

* ``{"value": v}``: the same text, whole number or bool;
* ``{"value": v, "relative": r}``: a number within ``r`` times its size (deterministic values: 1e-4; 0.02 where drawn
  pixels decide, which may differ in the last bit between machines);
* ``{"value": v, "std": s}``: a trained number within three standard deviations over seeds, five points at most;
* ``{"below": name}``: a number smaller than another value of the same chapter, where only an order is promised.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ask_lib.show.record import Value, recorded_values
from tools.project import PROFILES, ROOT, ToolError, executed_path, exit_status, notebooks, read_json, write_atomic

RELATIVE = 1e-4
MOST = 0.05  # five points of a score in 0..1
EXPECTED = ROOT / "tests" / "expected"


def differences(recorded: Mapping[str, Value], expected: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What does not agree, one line a value; empty when all do."""
    lines = [f"{name}: recorded, but not expected" for name in recorded if name not in expected]
    for name, guard in expected.items():
        if name not in recorded:
            lines.append(f"{name}: expected, but not recorded")
        elif problem := _problem(recorded[name], guard, recorded):
            lines.append(f"{name}: {problem}")
    return lines


def _problem(value: Value, guard: Mapping[str, Any], recorded: Mapping[str, Value]) -> str:
    if "below" in guard:
        other = recorded.get(guard["below"])
        below = isinstance(value, int | float) and isinstance(other, int | float) and value < other
        return "" if below else f"{value} is not below {guard['below']} = {other}"
    wanted, allowed = guard["value"], _allowed(guard)
    if allowed is None or isinstance(value, str | bool) or isinstance(wanted, str | bool):
        same = type(value) is type(wanted) and value == wanted
        return "" if same else f"{value!r}, expected {wanted!r}"
    off = abs(value - wanted)
    return "" if off <= allowed else f"{value!r}, expected {wanted!r} within {allowed:.3g}"


def _allowed(guard: Mapping[str, Any]) -> float | None:
    if "relative" in guard:
        return float(guard["relative"] * abs(guard["value"]))
    if "std" in guard:
        return min(3 * float(guard["std"]), MOST)
    return None


def new_guard(value: Value, old: Mapping[str, Any] | None) -> dict[str, Any]:
    """The guard of a value that is written anew: its old kind, else by the value's type."""
    if old and "below" in old:
        return dict(old)
    if old and ("relative" in old or "std" in old):
        return {**old, "value": value}
    return {"value": value, "relative": RELATIVE} if isinstance(value, float) else {"value": value}


def expected_of(profile: str) -> dict[str, dict[str, dict[str, Any]]]:
    """The expected values of a profile; empty when none are written."""
    path = EXPECTED / f"{profile}.json"
    return read_json(path) if path.is_file() else {}


def recorded_of(profile: str) -> dict[str, dict[str, Value]]:
    """What each chapter's executed copy recorded."""
    found = {}
    for source in notebooks():
        executed = executed_path(source, profile)
        if not executed.is_file():
            raise ToolError(f"{source.stem} is not executed for profile {profile}: make book PROFILE={profile}")
        found[source.stem] = recorded_values(read_json(executed))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.expect", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", choices=PROFILES, default="smoke", help="which run (default: smoke)")
    parser.add_argument("--write", action="store_true", help="write the expected values anew")
    args = parser.parse_args(argv)

    def body() -> None:
        recorded, expected = recorded_of(args.profile), expected_of(args.profile)
        lines = [
            f"{chapter}: {line}"
            for chapter, values in recorded.items()
            for line in differences(values, expected.get(chapter, {}))
        ]
        print("\n".join(lines) or f"all values of profile {args.profile} are as expected")
        if args.write:
            guards = {
                chapter: {name: new_guard(value, expected.get(chapter, {}).get(name)) for name, value in values.items()}
                for chapter, values in recorded.items()
            }
            write_atomic(EXPECTED / f"{args.profile}.json", json.dumps(guards, indent=1, sort_keys=True) + "\n")
        elif lines:
            raise ToolError(f"{len(lines)} values differ")

    return exit_status(body)


if __name__ == "__main__":
    raise SystemExit(main())
