import signal
import subprocess
import sys

import pytest
import torch

from ask_lib.errors import CheckpointError, RangeError
from ask_lib.train import checkpoint
from ask_lib.train.__main__ import main
from ask_lib.train.distributed import init
from ask_lib.train.loop import fit
from ask_lib.train.run import build
from ask_lib.train.tasks import find_experiment
from tests.train_children import holder, train_in_two, with_two_views

CHANGES = ["epochs=3", "count=200", "optimizer=sgd", "lr=0.05", "augment.erase=0.5"]


def alone(changes, out, views=False):
    config = find_experiment("toy").config.override(changes)
    task = with_two_views(build(config)) if views else build(config)
    fit(task, config, out=out, progress=False)
    return checkpoint.load(out / "last.pt")


def compare(one, two, tolerance):
    for name, value in one["network"].items():
        torch.testing.assert_close(two["network"][name], value, rtol=tolerance, atol=tolerance, msg=name)
    for first, second in zip(one["history"], two["history"], strict=True):
        assert second["terms"]["main"] == pytest.approx(first["terms"]["main"], rel=10 * tolerance)
        assert second["validation"]["accuracy"] == pytest.approx(first["validation"]["accuracy"], abs=0.051)


@pytest.mark.parametrize(
    ("extra", "how", "tolerance"),
    [
        (["precision=float32"], "", 1e-5),
        (["precision=float64", "batch=37"], "workers", 1e-6),  # shares of unequal size
        (["precision=float64", "norm=none", "optimizer=adam", "lr=0.001"], "", 1e-6),
        (["precision=float64", "batch=30", "per_class=5", 'groups={"0": 0, "3": 0.5}'], "views", 1e-6),
    ],
)
def test_two_processes_equal_one(tmp_path, extra, how, tolerance):
    assert train_in_two(CHANGES + extra, tmp_path / "two", how) == [0, 0]
    assert not list(tmp_path.glob("error*"))
    two = checkpoint.load(tmp_path / "two" / "last.pt")
    one = alone(CHANGES + extra, tmp_path / "one", views=how == "views")
    compare(one, two, tolerance)
    start = build(find_experiment("toy").config.override(CHANGES + extra)).network.state_dict()
    assert any((start[name] - value).abs().max() > 0.003 for name, value in one["network"].items())  # it did train


def test_two_processes_resume_after_a_kill(tmp_path):
    changes = [*CHANGES, "norm=batch", "epochs=10"]
    assert train_in_two(changes, tmp_path / "whole") == [0, 0]
    assert train_in_two(changes, tmp_path / "killed", how="workers", kill=True) == [-signal.SIGKILL] * 2
    state = checkpoint.load(tmp_path / "killed" / "last.pt")
    assert 0 < state["epoch"] < 10  # in the middle
    assert train_in_two(changes, tmp_path / "killed", how="workers") == [0, 0]
    assert not list(tmp_path.glob("error*"))
    whole, killed = (checkpoint.load(tmp_path / name / "last.pt")["network"] for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    config = find_experiment("toy").config.override(changes)
    with pytest.raises(CheckpointError, match="2 processes"):
        fit(build(config), config, out=tmp_path / "whole", resume=True, progress=False)


def test_a_nan_in_one_process_stops_both(tmp_path):
    assert train_in_two(CHANGES, tmp_path / "two", how="nan on process 1") == [0, 0]
    for rank in (0, 1):
        text = (tmp_path / f"error{rank}").read_text()
        assert text.startswith("NonFiniteError: loss term 'main'") and "epoch 0, step 0" in text
    assert not (tmp_path / "two" / "last.pt").exists()


def test_both_processes_hear_that_the_folder_is_taken(tmp_path):
    out = tmp_path / "two"
    with holder(out / "run.lock", out):
        assert train_in_two(CHANGES, out, how="taken") == [0, 0]
    texts = {(tmp_path / f"error{rank}").read_text() for rank in (0, 1)}
    assert len(texts) == 1 and f"{out}: another process" in texts.pop()
    assert [path.name for path in out.iterdir()] == ["run.lock"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"RANK": "0"}, "WORLD_SIZE is missing"),
        ({"WORLD_SIZE": "2"}, "RANK is missing"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR is missing"),
        ({"RANK": "x", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, "RANK: expected a whole number"),
        ({"RANK": "-1", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, "RANK: expected a whole number"),
        ({"RANK": "0", "WORLD_SIZE": "0", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, "WORLD_SIZE: expected"),
        ({"RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, "RANK: expected a value"),
        ({"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "a", "MASTER_PORT": "70000"}, "MASTER_PORT"),
    ],
)
def test_torchruns_variables_are_set_whole_or_not_at_all(monkeypatch, capsys, tmp_path, given, says):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert main(["run", "toy", "--device", "cpu", "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert says in said and said.startswith("error: ") and said.count("\n") == 1 and not (tmp_path / "run").exists()


def test_each_process_needs_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in {
        "RANK": "1",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "x",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RangeError, match=r"LOCAL_RANK \(a GPU for each process\)"), init("cuda"):
        pass


@pytest.mark.slow
def test_torchrun_runs_the_same_config(tmp_path):
    changes = [*CHANGES, "precision=float64", "epochs=1"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "ask_lib.train", "run", "toy", "--device", "cpu", "--quiet", "--out", str(tmp_path / "two")]
    done = subprocess.run([*command, *changes], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("test_accuracy") == 1  # one process speaks
    compare(alone(changes, tmp_path / "one"), checkpoint.load(tmp_path / "two" / "last.pt"), 1e-6)
