"""experiments.ask_rooms on few small frames, and its numbers against loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ask_lib.data.rooms import Rooms
from ask_lib.results import read_result
from ask_scenes.rooms import RoomOptions
from experiments import ask_rooms, ask_rows
from experiments.ask_nyudv2 import GRID
from experiments.ask_rooms import Draw, auc, main, on_objects, values_of

ROWS = ("global, L_aux", "global + local, full")


@pytest.fixture(scope="module")
def rooms() -> Rooms:
    return Rooms("test", 20, 3, RoomOptions(size=(120, 160)), progress=False)


def small(patch: pytest.MonkeyPatch, place: Path) -> None:
    patch.setattr(ask_rooms, "KEPT", place / "kept")
    patch.setattr(ask_rooms, "GRID", GRID[:1])
    patch.setattr(ask_rooms, "COUNTS", {"train": 20, "val": 10, "test": 20})
    patch.setattr(ask_rows, "EPOCHS", 1)


def command(place: Path) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        small(patch, place)
        assert main(["--out", str(place / "out"), "--seeds", "1", "2", "--rows", *ROWS]) == 0
    return read_result(place / "out" / "ask_rooms.json")


@pytest.mark.slow
def test_the_record_holds_every_draw_and_a_second_run_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    content = command(tmp_path)
    runs, values = content["details"]["runs"], content["values"]
    assert not content["complete"] and set(runs) == {"1", "2"} and values["draws"] == 2
    for name in ROWS:
        assert values[f"{name} test"] == pytest.approx(sum(runs[draw][name]["test"] for draw in runs) / 2, abs=1e-4)
    full = [runs[draw][ROWS[1]] for draw in runs]
    gains = [one["test"] - runs[draw][ROWS[0]]["test"] for one, draw in zip(full, runs, strict=True)]
    assert values["gain, local features"] == pytest.approx(sum(gains) / 2, abs=1e-4)
    assert "hits" not in runs["1"][ROWS[0]] and {"hits", "shuffled", "AUC"} <= set(full[0])
    capsys.readouterr()
    assert command(tmp_path)["values"] == values
    assert "begun" not in capsys.readouterr().out


def test_a_draw_has_frames_of_its_own_and_test_frames_choose_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    small(monkeypatch, tmp_path)
    first, second = Draw(1, None), Draw(2, None)
    assert not torch.equal(first.rooms["test"].rgb, second.rooms["test"].rgb)
    rows = [set(each.tolist()) for each in (first.scenes.train, first.scenes.validation, first.scenes.test)]
    assert [len(each) for each in rows] == [20, 10, 20] and len(set.union(*rows)) == 50
    monkeypatch.setattr(ask_rows, "judged", None)  # what reads the test frames
    assert first.tried(ROWS[1], GRID[0], 1e-4)["validation"] >= 0


def test_keypoints_on_key_objects_against_loops(rooms: Rooms):
    points = torch.rand(20, 3, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([9.0, 7.0])
    own, others = [], []
    for n in range(20):
        for m in range(20):
            hits = [
                bool(rooms.key_mask[n, int((float(y) + 0.5) * 15), int((float(x) + 0.5) * 16)]) for x, y in points[m]
            ]
            if n == m:
                own.append(sum(hits) / 3)
            elif rooms.label[n] != rooms.label[m]:
                others.append((n, sum(hits) / 3))
    frames = [[hit for k, hit in others if k == n] for n in range(20)]
    found = on_objects(points, rooms)
    assert found["hits"] == pytest.approx(100 * sum(own) / 20)
    outside = torch.cat([points, torch.full((20, 3, 2), 9.5)], dim=1)
    assert on_objects(outside, rooms)["hits"] == pytest.approx(found["hits"] / 2)
    assert found["shuffled"] == pytest.approx(100 * sum(sum(each) / len(each) for each in frames) / 20)


def test_auc_is_full_where_key_objects_alone_correlate(rooms: Rooms):
    area = torch.nn.functional.avg_pool2d(rooms.key_mask[:, None].double(), (15, 16))[:, 0]  # (N, 8, 10)
    assert auc((area > 0.5).double(), rooms) == 100
    assert auc((area <= 0.5).double(), rooms) == 0
    assert auc(torch.ones(20, 8, 10), rooms) == 50


def test_values_are_means_over_draws_and_differences_within_them():
    before = [
        {"before training AUC": 60.0, "random weights AUC": 50.0},
        {"before training AUC": 62.0, "random weights AUC": 54.0},
    ]
    draws = [
        {
            "global + local, full": {
                "test": 90.0,
                "hits": 30.0,
                "shuffled": 20.0,
                "shuffled in class": 25.0,
                "AUC": 70.0,
            }
        },
        {
            "global + local, full": {
                "test": 80.0,
                "hits": 40.0,
                "shuffled": 20.0,
                "shuffled in class": 25.0,
                "AUC": 71.0,
            }
        },
    ]
    values = values_of(draws, before)
    assert values["global + local, full test"] == 85 and values["global + local, full hits over shuffled"] == 15
    assert values["before training AUC over random"] == 9 and values["global + local, full AUC over before"] == 9.5
    assert values["global + local, full test low"] < 85 < values["global + local, full test high"]


def test_a_row_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["--rows", "nothing"]) == 2
    assert "row" in capsys.readouterr().err
