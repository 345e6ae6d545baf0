"""What the synthetic data sets share beside their shards: records of probes, command lines, sheets."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ask_lib.results import flat, read_result
from ask_scenes.sheet import tiled, tinted
from experiments.probes import Keep, ProbeSettings, colour_counts, command_line, record_probes

# --- records of probes


def test_a_stopped_run_leaves_its_last_seed(tmp_path: Path):
    out, settings = tmp_path / "results" / "probes.json", ProbeSettings(train=5, val=3)

    def stops(keep: Keep) -> dict[str, Any]:
        keep({"network": [1.5]})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_probes(out, "python -m x", {"rooms": 3}, settings, stops)
    left = read_result(out)
    assert left["details"] == {"network": [1.5]} and left["complete"] is False
    record = record_probes(out, "python -m x", {"rooms": 3}, settings, lambda keep: {"network": [1.5, 2.5]})
    assert record["complete"] is True and json.loads(out.read_text())["details"] == {"network": [1.5, 2.5]}
    assert record["values"]["settings_train"] == 5 and "network" not in record["values"]
    assert flat({"rgb": {"mean": 1.0, "values": [1.0]}, "chance": 10}) == {"rgb_mean": 1.0, "chance": 10}
    assert record["data"] == {"rooms": 3} and record["settings"]["train"] == 5 and record["environment"]["torch"]
    assert [path.name for path in out.parent.iterdir()] == ["probes.json"]


@pytest.mark.parametrize("name", ["rooms", "objects"])
def test_the_probes_commands_record_alike(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = importlib.import_module(f"experiments.{name}_probes")
    seen: list[Any] = []

    def fake(settings: Any, root: Path, report: Any, keep: Keep) -> dict[str, Any]:
        seen.append((settings, root))
        keep({"half": 1})
        return {"all": 2}

    monkeypatch.setattr(module, "run_probes", fake)
    out = tmp_path / "probes.json"
    where = ["--root", str(tmp_path), f"--out={out}"]
    module.main(["--train", "40", *where, "--seeds", "3", "4", "--height", "48", "--seed", "7"])
    record = read_result(out)
    assert record["details"] == {"all": 2}
    assert record["command"] == f"python -m experiments.{name}_probes --train 40 --seeds 3 4 --height 48 --seed 7"
    assert str(tmp_path) not in out.read_text()
    ((settings, root),) = seen
    assert (settings.train, settings.size, settings.seeds, settings.data_seed) == (40, (48, 64), (3, 4), 7)
    assert root == tmp_path
    with pytest.raises(SystemExit):
        module.main(["--roo", str(tmp_path)])  # an abbreviation would be recorded


def test_a_command_line_names_no_place_of_this_machine():
    words = ["probes", "--root", "/a b", "--seeds", "0", "1", "--out=/c/d.json", "--inputs", "rgb+depth", "a b"]
    line = command_line("ask_scenes.rooms", words)
    assert line == "python -m ask_scenes.rooms probes --seeds 0 1 --inputs rgb+depth 'a b'"


# --- the commands, sheets and colours


@pytest.mark.parametrize("name", ["rooms", "objects"])
def test_sheet_make_and_time(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    main = importlib.import_module(f"ask_scenes.{name}.__main__").main
    threads = torch.get_num_threads()
    few = ["--labels", "kitchen"] if name == "rooms" else ["--names", "heron", "--each", "4"]
    main(
        ["sheet", str(tmp_path / "new" / "sheet.png"), "--height", "24", "--quality", "dataset", "--columns", "2", *few]
    )
    assert (tmp_path / "new" / "sheet.png").read_bytes().startswith(b"\x89PNG")
    main(["make", "3", "--height", "24", "--root", str(tmp_path)])
    main(["time", "--height", "24", "--count", "2"])
    said = capsys.readouterr().out
    assert "3 frames of (24, 32) in" in said and "2 frames, one process:" in said
    assert len(list(tmp_path.rglob("*.shard"))) == 1 and torch.get_num_threads() == threads


def test_sheets_are_padded_and_tinted():
    black = np.zeros((2, 3, 3), np.uint8)
    sheet = tiled([[black, black], [black]], gap=1)
    assert sheet.shape == (6, 8, 3) and (sheet[3:, 4:] == 255).all() and (sheet[:2, :3] == 0).all()
    mask = np.array([[True, False, False]] * 2)
    green = tinted(black, mask)
    assert green.dtype == np.uint8 and (green[~mask] == 0).all() and green[0, 0].argmax() == 1


def test_colours_are_counted_within_a_mask():
    rgb = torch.tensor([0, 255, 128], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 4, 5)
    code = 0 * 36 + 5 * 6 + 3
    assert colour_counts(rgb)[:, code].tolist() == [20, 20] and colour_counts(rgb).sum() == 40
    mask = torch.zeros(2, 4, 5, dtype=torch.bool)
    mask[1, :2] = True
    assert colour_counts(rgb, mask)[:, code].tolist() == [0, 10]
