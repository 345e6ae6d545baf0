"""Hold the values that the chapters recorded against those that are expected.

``tests/expected/PROFILE.json``: chapter -> name -> guard. Guards:

* ``{"value": v}``: the same text, whole number or bool;
* ``{"any": [a, b]}``: one of these texts, two at least: a word that hangs on a number near its limit;
* ``{"value": v, "relative": r}``: a number within ``r`` times its size (deterministic values: 1e-4; 0.02 where drawn
  pixels decide, which may differ in the last bit between machines);
* ``{"value": v, "within": w}``: a number at most ``w`` away: shares of a few hundred queries, of which one or two may
  fall the other way on a machine that rounds otherwise;
* ``{"value": v, "std": s}``: a trained number within three standard deviations over seeds, but no further than
  ``"most": m``, in the value's unit. Without it five points: 0.05 for a value in -1..1, taken for a share, 5.0 for a
  larger one, taken for percent. Give ``most`` where the unit is another: a loss, or a percent below 1;
* ``{"below": name}``, ``{"above": name}``: a number smaller or larger than another value of the same chapter, where
  only an order is promised;
* ``{"low": a, "high": b}``: a number in a range, such as a difference of two trained numbers, whose range is three
  standard deviations about the recorded runs' mean.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from ask_lib.show.record import RecordError, Value, recorded_values
from tools.project import (
    PROFILES,
    ROOT,
    ToolError,
    chosen_notebooks,
    executed_path,
    exit_status,
    one_at_a_time,
    read_json,
    write_atomic,
)

RELATIVE = 1e-4
MOST, MOST_POINTS = 0.05, 5.0  # five points: of a share, and of a value in percent
NUMERIC = {"relative", "within", "std"}  # guards of a number that has a value
KEPT = {"below", "above", "low", "any"}  # guards that name no value
KINDS = ("value", "any", "value relative", "value within", "value std", "value std most", "below", "above", "low high")
EXPECTED = ROOT / "tests" / "expected"


def differences(recorded: Mapping[str, Value], expected: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What does not agree, one line a value; empty when all do.

    Raises:
        ToolError: If a guard is none.
    """
    lines = [f"{name}: recorded, but not expected" for name in recorded if name not in expected]
    for name, guard in expected.items():
        check_guard(name, guard)
        if name not in recorded:
            lines.append(f"{name}: expected, but not recorded")
        elif problem := _problem(recorded[name], guard, recorded):
            lines.append(f"{name}: {problem}")
    return lines


def check_guard(name: str, guard: Any) -> None:
    """Raise unless a guard is of one of the kinds that this module's first lines list.

    Raises:
        ToolError: If it is not; the line names the value that it guards.
    """
    if not isinstance(guard, dict) or set(guard) not in [set(kind.split()) for kind in KINDS]:
        raise ToolError(f"{name}: {guard!r} is no guard; a guard has one of: {', '.join(KINDS)}")
    for key, content in guard.items():
        if key == "any":
            right = isinstance(content, list) and all(isinstance(t, str) for t in content) and len(set(content)) > 1
        elif key in ("below", "above"):
            right = isinstance(content, str)
        else:
            right = _is_number(content) or (key == "value" and isinstance(content, str | bool))
        if not right:
            wanted = {"any": "two texts or more (for one: value)", "below": "a name", "above": "a name"}
            raise ToolError(f"{name}: the guard {key!r} takes {wanted.get(key, 'a number')}, got {content!r}")


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _problem(value: Value, guard: Mapping[str, Any], recorded: Mapping[str, Value]) -> str:
    for order in ("below", "above"):
        if order in guard:
            other = recorded.get(guard[order])
            numbers = _is_number(value) and _is_number(other)
            right = numbers and (value < other if order == "below" else value > other)  # type: ignore[operator]
            return "" if right else f"{value} is not {order} {guard[order]} = {other}"
    if "low" in guard:
        inside = _is_number(value) and guard["low"] <= value <= guard["high"]
        return "" if inside else f"{value} is not within {guard['low']} to {guard['high']}"
    if "any" in guard:
        return "" if value in guard["any"] else f"{value!r} is none of {', '.join(map(repr, guard['any']))}"
    wanted = guard["value"]
    if not NUMERIC & set(guard):
        same = type(value) is type(wanted) and value == wanted
        return "" if same else f"{value!r}, expected {wanted!r}"
    if not (_is_number(value) and _is_number(wanted)):
        return f"{value!r}, expected {wanted!r}: the guard is for numbers"
    allowed = _allowed(guard)
    return "" if abs(value - wanted) <= allowed else f"{value!r}, expected {wanted!r} within {allowed:.3g}"


def _allowed(guard: Mapping[str, Any]) -> float:
    size = abs(guard["value"])
    if "relative" in guard:
        return float(guard["relative"] * size)
    if "within" in guard:
        return float(guard["within"])
    return float(min(3 * guard["std"], guard.get("most", MOST if size <= 1 else MOST_POINTS)))


def new_guard(value: Value, old: Mapping[str, Any] | None) -> dict[str, Any]:
    """The guard of a value that is written anew: its old kind where that fits, else by the value's type."""
    if old and KEPT & set(old):
        return dict(old)
    if old and NUMERIC & set(old) and _is_number(value):
        return {**old, "value": value}
    return {"value": value, "relative": RELATIVE} if isinstance(value, float) else {"value": value}


def expected_of(profile: str) -> dict[str, dict[str, dict[str, Any]]]:
    """The expected values of a profile; empty when none are written.

    Raises:
        ToolError: If the file is damaged, or a chapter's part of it is no table of guards.
    """
    path = EXPECTED / f"{profile}.json"
    expected = read_json(path) if path.is_file() else {}
    for chapter, guards in expected.items():
        if not isinstance(guards, dict):
            raise ToolError(f"{path}: {chapter}: expected guards by name, it holds a {type(guards).__name__}")
        for name, guard in guards.items():
            check_guard(f"{path.name}: {chapter}: {name}", guard)
    return expected


def recorded_in(executed: Path) -> dict[str, Value]:
    """What an executed copy recorded.

    Raises:
        ToolError: If the copy is damaged, or what it recorded is no value.
    """
    try:
        return recorded_values(read_json(executed))
    except RecordError as error:
        raise ToolError(f"{executed}: {error} Run it again with --force.") from None
    except (AttributeError, KeyError, TypeError) as error:
        raise ToolError(f"{executed}: expected an executed notebook ({error!r}). Run it again with --force.") from None


def recorded_of(profile: str, names: Sequence[str] = ()) -> dict[str, dict[str, Value]]:
    """What the executed copies of the chapters (or of those named) recorded."""
    found = {}
    for source in chosen_notebooks(names):
        executed = executed_path(source, profile)
        if not executed.is_file():
            raise ToolError(f"{source.stem} is not executed for profile {profile}: make book PROFILE={profile}")
        found[source.stem] = recorded_in(executed)
    return found


def write_expected(profile: str, recorded: Mapping[str, Mapping[str, Value]]) -> None:
    """Write the guards of some chapters anew, each of its old kind; those of the others stay."""
    expected = expected_of(profile)
    for chapter, values in recorded.items():
        old = expected.get(chapter, {})
        expected[chapter] = {name: new_guard(value, old.get(name)) for name, value in values.items()}
    chapters = {source.stem for source in chosen_notebooks([])}
    kept = {chapter: guards for chapter, guards in expected.items() if chapter in chapters}
    write_atomic(EXPECTED / f"{profile}.json", json.dumps(kept, indent=1, sort_keys=True) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.expect", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", nargs="*", help="chapters by name, for example 00_start_here (default: all)")
    parser.add_argument("--profile", choices=PROFILES, default="smoke", help="which run (default: smoke)")
    parser.add_argument("--write", action="store_true", help="write the expected values anew")
    args = parser.parse_args(argv)

    def body() -> None:
        recorded, expected = recorded_of(args.profile, args.notebooks), expected_of(args.profile)
        lines = [
            f"{chapter}: {line}"
            for chapter, values in recorded.items()
            for line in differences(values, expected.get(chapter, {}))
        ]
        print("\n".join(lines) or f"all values of profile {args.profile} are as expected")
        if args.write:
            with one_at_a_time("expect"):
                write_expected(args.profile, recorded)
        elif lines:
            raise ToolError(f"{len(lines)} values differ")

    return exit_status(body)


if __name__ == "__main__":
    raise SystemExit(main())
