"""experiments.ask_rooms_errata on few small frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ask_lib.results import read_result
from experiments import ask_rooms_errata
from experiments.ask_errata import ERRATA, FULL, OURS
from experiments.ask_nyudv2 import GRID
from experiments.ask_printed import PrintedRow
from experiments.ask_rooms import Draw
from experiments.ask_rooms import main as first
from experiments.ask_rooms_errata import ErrataDraw, main, values_of
from tests.test_ask_rooms import small

FEW = {name: ERRATA[name] for name in ("both signs as printed", "rate x 0.1")}


def command(place: Path) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        small(patch, place)
        patch.setattr(ask_rooms_errata, "KEPT", place / "kept")
        patch.setattr(ask_rooms_errata, "ERRATA", FEW)
        words = ["--out", str(place), "--seeds", "1"]
        if not (place / "ask_rooms.json").exists():
            assert first([*words, "--rows", OURS, "global + local, L_VI"]) == 0
        assert main([*words, "--first", str(place / "ask_rooms.json")]) == 0
    return read_result(place / "ask_rooms_errata.json")


@pytest.mark.slow
def test_each_change_is_held_against_ours_on_the_same_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    content, base = command(tmp_path), read_result(tmp_path / "ask_rooms.json")["details"]["runs"]["1"]
    runs, values = content["details"]["runs"]["1"], content["values"]
    for name in FEW:
        assert values[f"{name}, over ours"] == pytest.approx(runs[name]["test"] - base[OURS]["test"], abs=1e-4)
        assert values[f"{name}, over ours, hits"] == pytest.approx(runs[name]["hits"] - base[OURS]["hits"], abs=1e-4)
    assert values["L_C"] == pytest.approx(base[OURS]["test"] - base["global + local, L_VI"]["test"], abs=1e-4)
    capsys.readouterr()
    assert command(tmp_path)["values"] == values and not content["complete"]
    assert "begun" not in capsys.readouterr().out


def test_rows_are_trained_as_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    small(monkeypatch, tmp_path)
    printed, plain = ErrataDraw(1, None), Draw(1, None)
    row = ERRATA["both signs as printed"]
    assert isinstance(row, PrintedRow) and row.terms == FULL.terms
    heads = [
        type(draw.task(name, GRID[0]).network.head)
        for draw, name in ((printed, "both signs as printed"), (plain, OURS))
    ]
    assert heads[0] is not heads[1]
    assert printed.config("rate x 0.1", GRID[0], 1e-3).schedule.kind == "step"
    assert printed.config("all triplets", GRID[0], 1e-3).schedule == plain.config(OURS, GRID[0], 1e-3).schedule


def test_values_are_of_differences_within_draws():
    one = {OURS: {"test": 80.0, "hits": 20.0}, "rate x 0.1": {"test": 82.0, "hits": 21.0}}
    two = {OURS: {"test": 90.0, "hits": 30.0}, "rate x 0.1": {"test": 96.0, "hits": 33.0}}
    values = values_of({1: one, 2: two})
    assert values["rate x 0.1, over ours"] == 4 and values["rate x 0.1, over ours, hits"] == 2
    assert values["rate x 0.1, over ours low"] < 4 < values["rate x 0.1, over ours high"]
