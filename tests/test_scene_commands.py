"""What the synthetic data sets share beside their shards: records of probes, command lines, sheets."""

from __future__ import annotations

import errno
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ask_lib.results import flat, read_result
from ask_scenes.sheet import tiled, tinted
from experiments.probes import Keep, ProbeSettings, colour_counts, record_probes
from tests.conftest import ROOT

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

    def fake(settings: Any, root: Path, keep: Keep) -> dict[str, Any]:
        seen.append((settings, root))
        keep({"half": 1})
        return {"all": 2}

    monkeypatch.setattr(module, "run_probes", fake)
    out = tmp_path / f"{name}_probes.json"
    where = ["--root", str(tmp_path), f"--out={tmp_path}"]
    assert module.main(["--train", "60", *where, "--seeds", "3", "4", "--height", "48", "--seed", "7"]) == 0
    record = read_result(out)
    assert record["details"] == {"all": 2}
    assert record["command"] == f"python -m experiments.{name}_probes --train 60 --seeds 3 4 --height 48 --seed 7"
    assert str(tmp_path) not in out.read_text()
    ((settings, root),) = seen
    assert (settings.train, settings.size, settings.seeds, settings.data_seed) == (60, (48, 64), (3, 4), 7)
    assert root == tmp_path
    with pytest.raises(SystemExit):
        module.main(["--roo", str(tmp_path)])  # an abbreviation would be recorded


@pytest.mark.filterwarnings("ignore:The number of unique classes")  # nearly as many as frames, at these sizes
@pytest.mark.slow  # scikit-learn and the optimisers load, and some eighty frames are drawn
@pytest.mark.parametrize(
    ("name", "few", "value"),
    [("rooms", ["--train", "50", "--inputs", "rgb"], "rgb_mean"), ("objects", ["--train", "32"], "network_mean")],
)
def test_the_probes_run(name: str, few: list[str], value: str, tmp_path: Path):
    module = importlib.import_module(f"experiments.{name}_probes")
    words = [*few, "--val", "10", "--height", "24", "--epochs", "1", "--seeds", "0", "--workers", "1"]
    assert module.main([*words, "--root", str(tmp_path), "--out", str(tmp_path / "results")]) == 0
    record = read_result(tmp_path / "results" / f"{name}_probes.json")
    assert record["complete"] and record["seeds"] == [0] and 0 <= record["values"][value] <= 100


# --- the commands, sheets and colours


@pytest.mark.parametrize("name", ["rooms", "objects"])
def test_sheet_make_and_time(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    main = importlib.import_module(f"ask_scenes.{name}.__main__").main
    threads = torch.get_num_threads()
    few = ["--labels", "kitchen"] if name == "rooms" else ["--names", "heron", "--each", "4"]
    sheet = ["sheet", str(tmp_path / "new" / "sheet.png"), "--height", "24", "--quality", "dataset", "--columns", "2"]
    assert main([*sheet, *few]) == 0
    assert (tmp_path / "new" / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert main(["make", "3", "--height", "24", "--root", str(tmp_path)]) == 0
    assert main(["time", "--height", "24", "--count", "2"]) == 0
    said = capsys.readouterr().out
    assert "3 frames of (24, 32) in" in said and "2 frames, one process:" in said
    assert len(list(tmp_path.rglob("*.shard"))) == 1 and torch.get_num_threads() == threads


WRONG = {
    "no command": [],
    "command": ["mak"],
    "count 0": ["make", "0"],
    "count": ["make", "many"],
    "height 0": ["make", "1", "--height", "0"],
    "height -3": ["time", "--height=-3"],
    "height": ["make", "1", "--height", "13"],
    "workers 0": ["make", "1", "--workers", "0"],
    "workers -1": ["make", "1", "--workers=-1"],
    "seed -1": ["time", "--seed=-1"],
    "seed huge": ["time", "--seed", "9" * 5000],
    "batch 0": ["time", "--batch", "0"],
    "columns 0": ["sheet", "x.png", "--columns", "0"],
    "split": ["time", "--split", "tests"],
    "abbreviation": ["make", "1", "--roo", "x"],
    "device": ["time", "--device", "tpu", "--count", "1"],
    "device that is not there": ["make", "1", "--device", "cuda:63"],
    "root is a file": ["make", "1", "--root", "file"],
    "root is a dead link": ["make", "1", "--root", "dead"],
    "sheet is a folder": ["sheet", "folder"],
    "sheet below a file": ["sheet", "file/sheet.png"],
}


def one_line(run: Callable[[], int], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says that fails with status 2, whether by leaving or by its result."""
    try:
        status = run()
    except SystemExit as left:
        status = left.code
    said = capsys.readouterr()
    assert status == 2 and said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1
    return said.err


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "dead").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASK_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize("words", WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("name", ["rooms", "objects"])
def test_what_is_wrong_is_one_line(name: str, words: list[str], places: Path, capsys: pytest.CaptureFixture[str]):
    main = importlib.import_module(f"ask_scenes.{name}.__main__").main
    one_line(lambda: main(words), capsys)
    assert sorted(path.name for path in places.iterdir()) == ["dead", "file", "folder"]


WRONG_PROBES = {
    "train": ["--train", "10"],
    "val": ["--val", "0"],
    "epochs": ["--epochs", "0"],
    "seeds": ["--seeds", "0", "-1"],
    "seed": ["--seed", str(2**32)],
    "device": ["--device", "tpu"],
    "out is a file": ["--out", "file"],
    "out below a file": ["--out", "file/results"],
    "root": ["--root", "file", "--out", "folder"],
}


@pytest.mark.parametrize("words", [*WRONG_PROBES.values(), ["--inputs", "rgb+smell"]], ids=[*WRONG_PROBES, "inputs"])
@pytest.mark.parametrize("name", ["rooms", "objects"])
def test_what_is_wrong_with_probes_is_one_line(
    name: str, words: list[str], places: Path, capsys: pytest.CaptureFixture[str]
):
    main = importlib.import_module(f"experiments.{name}_probes").main
    one_line(lambda: main(words), capsys)
    assert sorted(path.name for path in places.iterdir()) == ["dead", "file", "folder"]


def test_a_full_disk_is_one_line(places: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    main = importlib.import_module("ask_scenes.rooms.__main__").main
    said = one_line(lambda: main(["make", "1", "--height", "24"]), capsys)
    assert "cache" in said and "the disk is full" in said and "ASK_CACHE" in said


def test_help_needs_no_torch():
    code = (
        "import runpy, sys\n"
        "for name in ('rooms', 'objects'):\n"
        "    sys.argv = [name, '--help']\n"
        "    try: runpy.run_module(f'ask_scenes.{name}', run_name='__main__')\n"
        "    except SystemExit as left: assert left.code == 0\n"
        "assert 'ask_scenes.drawing' in sys.modules and 'torch' not in sys.modules"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "python -m ask_scenes.rooms" in said and "python -m ask_scenes.objects" in said


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
