import fcntl
import multiprocessing
import threading
import time

import pytest
import torch

from ask_lib.errors import CheckpointError
from ask_lib.train import checkpoint
from ask_lib.train.__main__ import main
from ask_lib.train.distributed import Process
from ask_lib.train.loop import fit
from tests.test_train_resume import same
from tests.train_children import RESTLESS, holder, restless_task, spawner, start_together

ALONE = Process(torch.device("cpu"))
QUICK = ["epochs=1", "count=60", "test_count=12"]


def test_of_two_that_start_at_once_one_trains(tmp_path):
    gate, out = spawner.Barrier(2), tmp_path / "run"
    children = [spawner.Process(target=start_together, args=(gate, out, name)) for name in ("a", "b")]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    trained, refused = sorted(((tmp_path / name).read_text() for name in ("a", "b")), key=len)
    assert trained == "trained"
    assert refused.startswith(f"{out}: another process is writing here") and "\n" not in refused
    fit(restless_task(), RESTLESS, out=tmp_path / "alone", progress=False)
    same(checkpoint.load(tmp_path / "alone" / "last.pt"), checkpoint.load(out / "last.pt"))


@pytest.mark.parametrize("command", ["run", "table"])
def test_the_command_line_names_the_folder_and_takes_over_from_a_killed_one(tmp_path, capsys, monkeypatch, command):
    out, results = tmp_path / "run", tmp_path / "results"
    if command == "run":
        path, what, words = out / "run.lock", out, ["run", "toy", "--out", str(out), "--resume"]
    else:
        path, what = results / ".toy.lock", results / "toy.json"
        words = ["table", "toy", "--results", str(results), "--runs", str(out), "--seeds", "0"]
    words += ["--quiet", "--device", "cpu", *QUICK]
    monkeypatch.setattr(checkpoint, "PATIENCE", 0.1)
    with holder(path, what):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"error: {what}: another process is writing here") and said.count("\n") == 1
        assert [item.name for item in path.parent.iterdir()] == [path.name]
    assert main(words) == 0


def test_a_nested_hold_keeps_the_outer_one(tmp_path):
    path = tmp_path / "run.lock"
    with checkpoint.hold(path, tmp_path, ALONE):
        with checkpoint.hold(path, tmp_path, ALONE):
            pass
        assert not free(path)
        child = multiprocessing.get_context("fork").Process(target=int)  # a data worker: it comes and goes
        child.start()
        child.join()
        assert not free(path)
    assert free(path)


def free(path):
    with path.open() as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_the_lock_ends_with_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), checkpoint.hold(tmp_path / "run.lock", tmp_path, ALONE):
        _ = 1 / 0
    assert free(tmp_path / "run.lock")


def test_it_waits_for_the_workers_of_a_killed_run(tmp_path, monkeypatch):
    path = tmp_path / "run.lock"
    worker = path.open("w")
    fcntl.flock(worker, fcntl.LOCK_EX)
    threading.Timer(0.3, worker.close).start()
    begun = time.monotonic()
    with checkpoint.hold(path, tmp_path, ALONE):
        assert 0.2 < time.monotonic() - begun < checkpoint.PATIENCE
    monkeypatch.setattr(checkpoint, "PATIENCE", 0.2)
    with path.open() as worker:
        fcntl.flock(worker, fcntl.LOCK_EX)
        with pytest.raises(CheckpointError, match="another process"), checkpoint.hold(path, tmp_path, ALONE):
            pass
