import fcntl
import json
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
    said = [(tmp_path / name).read_text() for name in ("a", "b")]
    assert said.count("trained") == 1
    winner = children[said.index("trained")]
    (refused,) = (text for text in said if text != "trained")
    assert refused.startswith(f"{out}: process {winner.pid} on ") and "\n" not in refused
    fit(restless_task(), RESTLESS, out=tmp_path / "alone", progress=False)
    same(checkpoint.load(tmp_path / "alone" / "last.pt"), checkpoint.load(out / "last.pt"))
    assert not (out / "run.pid").exists()


@pytest.mark.parametrize("command", ["run", "table"])
def test_the_command_line_names_folder_and_process_and_takes_over_when_it_is_killed(tmp_path, capsys, command):
    out, results = tmp_path / "run", tmp_path / "results"
    if command == "run":
        path, what, words = out / "run.lock", out, ["run", "toy", "--out", str(out), "--resume"]
    else:
        path, what = results / ".toy.lock", results / "toy.json"
        words = ["table", "toy", "--results", str(results), "--runs", str(out), "--seeds", "0"]
    words += ["--quiet", "--device", "cpu", *QUICK]
    with holder(path, what) as other:
        assert main(words) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"error: {what}: process {other.pid} on ") and said.count("\n") == 1
        assert sorted(item.name for item in path.parent.iterdir()) == [path.name, path.with_suffix(".pid").name]
    assert path.with_suffix(".pid").exists()  # the killed one's
    assert main(words) == 0
    assert not path.with_suffix(".pid").exists()


def test_a_nested_hold_keeps_the_outer_one(tmp_path):
    path = tmp_path / "run.lock"
    with checkpoint.hold(path, tmp_path, ALONE):
        with checkpoint.hold(path, tmp_path, ALONE):
            pass
        assert json.loads((tmp_path / "run.pid").read_text())["pid"]
        assert not free(path)
        child = multiprocessing.get_context("fork").Process(target=int)  # a data worker: it comes and goes
        child.start()
        child.join()
        assert not free(path)
    assert free(path) and not (tmp_path / "run.pid").exists()


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
    with holder(path, tmp_path):
        pass  # killed: its note stays
    worker = path.open()
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


@pytest.mark.parametrize("note", ["{", "[1]", '{"pid": -1, "host": "x"}', '{"pid": 1e99, "host": 3}', "NaN"])
def test_a_damaged_note_is_no_note(tmp_path, note, monkeypatch):
    path = tmp_path / "run.lock"
    path.with_suffix(".pid").write_text(note)
    monkeypatch.setattr(checkpoint, "PATIENCE", 0.0)
    with path.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(CheckpointError, match="another process"), checkpoint.hold(path, tmp_path, ALONE):
            pass


def test_a_note_from_another_machine_is_believed(tmp_path):
    path = tmp_path / "run.lock"
    path.with_suffix(".pid").write_text(json.dumps({"pid": 2**22 + 1, "host": "elsewhere"}))
    with path.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with (
            pytest.raises(CheckpointError, match=f"process {2**22 + 1} on elsewhere"),
            checkpoint.hold(path, tmp_path, ALONE),
        ):
            pass
