import signal
import subprocess
import sys

import pytest
import torch

from ask_lib.errors import RangeError
from ask_lib.train import checkpoint
from ask_lib.train.distributed import join
from ask_lib.train.errors import CheckpointError
from ask_lib.train.loop import fit
from ask_lib.train.recipes import find_experiment
from ask_lib.train.run import build
from tests.train_children import holder, train_in_two

CHANGES = ["epochs=3", "count=200", "optimizer=sgd", "lr=0.05", "augment.erase=0.5", "augment.erase_fill=noise"]


def alone(changes, out):
    recipe = find_experiment("toy").recipe.override(changes)
    fit(build(recipe), recipe, out=out, progress=False)
    return checkpoint.load(out / "last.pt")


def compare(one, two, tolerance):
    for name, value in one["network"].items():
        torch.testing.assert_close(two["network"][name], value, rtol=tolerance, atol=tolerance, msg=name)
    for first, second in zip(one["history"], two["history"], strict=True):
        assert second["terms"]["main"] == pytest.approx(first["terms"]["main"], rel=10 * tolerance)
        assert second["validation"]["accuracy"] == pytest.approx(first["validation"]["accuracy"], abs=0.051)


@pytest.mark.parametrize(
    ("extra", "tolerance"),
    [
        (["precision=float64"], 1e-6),
        (["precision=float32"], 1e-5),
        (["precision=float64", "batch=37", "drop_last=false"], 1e-6),  # shares of unequal size
        (["precision=float64", "norm=none", "optimizer=adam", "lr=0.001", "clip_norm=0.5"], 1e-6),
    ],
)
def test_two_processes_equal_one(tmp_path, extra, tolerance):
    assert train_in_two(CHANGES + extra, tmp_path / "two") == [0, 0]
    assert not list(tmp_path.glob("error*"))
    two = checkpoint.load(tmp_path / "two" / "last.pt")
    one = alone(CHANGES + extra, tmp_path / "one")
    compare(one, two, tolerance)
    start = build(find_experiment("toy").recipe.override(CHANGES + extra)).network.state_dict()
    assert any((start[name] - value).abs().max() > 0.003 for name, value in one["network"].items())  # it did train


def test_two_processes_with_workers_that_read_equal_one(tmp_path):
    changes = [*CHANGES, "precision=float64", "batch=37", "drop_last=false"]
    assert train_in_two(changes, tmp_path / "two", how="workers") == [0, 0]
    assert not list(tmp_path.glob("error*"))
    compare(alone(changes, tmp_path / "one"), checkpoint.load(tmp_path / "two" / "last.pt"), 1e-6)


@pytest.mark.parametrize("how", ["", "workers"])
def test_two_processes_resume_after_a_kill(tmp_path, how):
    changes = [*CHANGES, "norm=batch", "epochs=10"]
    assert train_in_two(changes, tmp_path / "whole") == [0, 0]
    assert train_in_two(changes, tmp_path / "killed", how=how, kill=True) == [-signal.SIGKILL] * 2
    state = checkpoint.load(tmp_path / "killed" / "last.pt")
    assert state["epoch"] + state["step"] > 0 and state["epoch"] < 9  # in the middle
    assert train_in_two(changes, tmp_path / "killed", how=how) == [0, 0]
    assert not list(tmp_path.glob("error*"))
    whole, killed = (checkpoint.load(tmp_path / name / "last.pt")["network"] for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    recipe = find_experiment("toy").recipe.override(changes)
    with pytest.raises(CheckpointError, match="2 processes"):
        fit(build(recipe), recipe, out=tmp_path / "whole", resume=True, progress=False)


def test_a_nan_in_one_process_stops_both(tmp_path):
    assert train_in_two(CHANGES, tmp_path / "two", how="nan on process 1") == [0, 0]
    for rank in (0, 1):
        text = (tmp_path / f"error{rank}").read_text()
        assert text.startswith("NonFiniteError: loss term 'main'") and "epoch 0, step 0" in text
    assert not (tmp_path / "two" / "last.pt").exists()


def test_both_processes_hear_that_the_folder_is_taken(tmp_path):
    out = tmp_path / "two"
    with holder(out / "run.lock", out) as other:
        assert train_in_two(CHANGES, out) == [0, 0]
    texts = {(tmp_path / f"error{rank}").read_text() for rank in (0, 1)}
    assert len(texts) == 1 and f"{out}: process {other.pid} on" in texts.pop()
    assert sorted(path.name for path in out.iterdir()) == ["run.lock", "run.pid"]


def test_each_process_needs_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RangeError, match=r"LOCAL_RANK \(a GPU for each process\)"), join("cuda"):
        pass


@pytest.mark.slow
def test_torchrun_runs_the_same_recipe(tmp_path):
    changes = [*CHANGES, "precision=float64", "epochs=1"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "ask_lib.train", "run", "toy", "--device", "cpu", "--quiet", "--out", str(tmp_path / "two")]
    done = subprocess.run([*command, *changes], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("test_accuracy") == 1  # one process speaks
    compare(alone(changes, tmp_path / "one"), checkpoint.load(tmp_path / "two" / "last.pt"), 1e-6)
