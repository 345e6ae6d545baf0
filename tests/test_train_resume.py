import random
import signal
import time
from dataclasses import replace

import pytest
import torch

from ask_lib.errors import CheckpointError
from ask_lib.train import checkpoint
from ask_lib.train.__main__ import main
from ask_lib.train.distributed import Process
from ask_lib.train.loop import fit
from ask_lib.train.run import build
from ask_lib.train.tasks import find_experiment
from tests.train_children import RESTLESS, command_line, restless_task, spawner, train_restless


def same(one, two, where=""):
    """Equal to the last bit, whatever containers there are."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two), where
    elif isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            if key != "images_per_second":
                same(one[key], two[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), where
        for number, (a, b) in enumerate(zip(one, two, strict=True)):
            same(a, b, f"{where}[{number}]")
    else:
        assert one == two, where


@pytest.mark.parametrize(("optimizer", "workers"), [("adam", 0), ("sgd", 1)])
def test_a_run_killed_at_random_times_equals_one_that_was_not(tmp_path, optimizer, workers):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    child = spawner.Process(target=train_restless, args=(whole, optimizer))  # from memory, whoever reads the killed
    child.start()
    child.join(120)
    assert child.exitcode == 0
    dice, kills, epochs = random.Random(), 0, []
    for _ in range(60):
        child = spawner.Process(target=train_restless, args=(killed, optimizer, workers))
        seen = stamp(killed / "last.pt")
        child.start()
        while kills < 4 and child.is_alive() and stamp(killed / "last.pt") == seen:
            time.sleep(0.002)  # it has got on by an epoch at least
        if kills < 4:
            time.sleep(dice.uniform(0, 0.04))
            child.kill()
        child.join(120)
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
        kills += 1
        epochs.append(checkpoint.load(killed / "last.pt")["epoch"])  # whole at every moment
    assert kills >= 2 and epochs == sorted(epochs) and len(set(epochs)) >= 2, (kills, epochs)
    for name in ("last.pt", "best.pt"):
        same(checkpoint.load(whole / name), checkpoint.load(killed / name), name)


def stamp(path):
    return path.stat().st_mtime_ns if path.exists() else 0


def test_a_run_in_memory_equals_one_in_a_folder(tmp_path):
    config = replace(RESTLESS, epochs=2)
    one = fit(restless_task(), config, progress=False)
    two = fit(restless_task(), config, out=tmp_path, progress=False)
    same(one.network.state_dict(), two.network.state_dict())
    same(one.history, two.history)
    again = fit(restless_task(), config, out=tmp_path, resume=True, progress=False)  # finished: trains nothing
    same(one.network.state_dict(), again.network.state_dict())
    assert again.best_epoch == one.best_epoch >= 0


def test_a_folder_belongs_to_one_config(tmp_path):
    config = replace(RESTLESS, epochs=1)
    fit(restless_task(), config, out=tmp_path, progress=False)
    with pytest.raises(CheckpointError, match="resume"):
        fit(restless_task(), config, out=tmp_path, progress=False)
    with pytest.raises(CheckpointError, match=r"lr: 0.02 / 0.5"):
        fit(restless_task(), replace(config, lr=0.5), out=tmp_path, resume=True, progress=False)
    (tmp_path / "last.pt").write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match=r"last\.pt"):
        fit(restless_task(), config, out=tmp_path, resume=True, progress=False)


def test_checkpoints_hold_plain_things_only(tmp_path):
    fit(restless_task(), replace(RESTLESS, epochs=1), out=tmp_path, progress=False)
    for name in ("last.pt", "best.pt"):
        assert torch.load(tmp_path / name, weights_only=True)
    expected = ["best.pt", "config.json", "last.pt", "run.lock"]
    assert sorted(p.name for p in tmp_path.iterdir()) == expected


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "last.pt"
    content = {"digest": "", "network": {"a": torch.ones(2)}, "epoch": 0}
    checkpoint.save(path, content)
    with pytest.raises(Exception, match=r"pickle|lambda"):
        checkpoint.save(path, {"a": lambda: 1})
    assert checkpoint.load(path).keys() == content.keys() and [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_the_command_line_resumes(tmp_path):
    changes = ["epochs=2", "count=120", "test_count=12"]
    words = ["run", "toy", "--device", "cpu", "--quiet", *changes]
    words += ["--out", str(tmp_path / "killed"), "--resume"]
    child = spawner.Process(target=command_line, args=(words,))
    child.start()
    while stamp(tmp_path / "killed" / "last.pt") == 0:
        assert child.is_alive()
        time.sleep(0.002)
    child.kill()
    child.join()
    torch.set_num_threads(1)
    assert main(words) == 0
    config = find_experiment("toy").config.override(changes)
    fit(build(config), config, out=tmp_path / "whole", process=Process(torch.device("cpu")), progress=False)
    same(checkpoint.load(tmp_path / "whole" / "last.pt"), checkpoint.load(tmp_path / "killed" / "last.pt"))
