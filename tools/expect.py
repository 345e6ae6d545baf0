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
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from ask_lib.show.record import Value, recorded_values
from tools.project import PROFILES, ROOT, ToolError, executed_path, exit_status, notebooks, read_json, write_atomic

RELATIVE = 1e-4
MOST, MOST_POINTS = 0.05, 5.0  # five points: of a share, and of a value in percent
NUMERIC = {"relative", "within", "std"}  # guards of a number that has a value
KEPT = {"below", "above", "low", "any"}  # guards that name no value
EXPECTED = ROOT / "tests" / "expected"


def differences(recorded: Mapping[str, Value], expected: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What does not agree, one line a value; empty when all do.

    Raises:
        ToolError: If a guard lists fewer than two texts.
    """
    lines = [f"{name}: recorded, but not expected" for name in recorded if name not in expected]
    for name, guard in expected.items():
        if "any" in guard:
            _check_texts(name, guard["any"])
        if name not in recorded:
            lines.append(f"{name}: expected, but not recorded")
        elif problem := _problem(recorded[name], guard, recorded):
            lines.append(f"{name}: {problem}")
    return lines


def _check_texts(name: str, texts: Any) -> None:
    right = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
    if not right or len(set(texts)) < 2:
        raise ToolError(f'{name}: the guard "any" takes a list of two texts or more, got {texts!r}. For one: "value".')


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


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
