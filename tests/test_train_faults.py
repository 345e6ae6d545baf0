"""Damaged files, wrong folders and wrong words: one owned error each, and nothing is trained on, or overwritten."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from ask_lib.errors import CheckpointError
from ask_lib.train import checkpoint
from ask_lib.train.__main__ import main
from ask_lib.train.loop import fit
from tests.train_children import RESTLESS, restless_task

CONFIG = replace(RESTLESS, epochs=2)
QUICK = ["epochs=1", "count=60", "test_count=12", "--quiet", "--device", "cpu"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    fit(restless_task(), CONFIG, out=folder, progress=False)
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def resume(folder, config=CONFIG, task=None):
    return fit(task or restless_task(), config, out=folder, resume=True, progress=False)


def rewritten(path, **changes):
    """The checkpoint with other content and a sum that fits it; None takes an entry away."""
    state = checkpoint.load(path)
    state = {key: value for key, value in {**state, **changes}.items() if value is not None}
    checkpoint.save(path, state)


def test_one_flipped_bit_of_a_weight_is_seen(folder):
    for name in ("best.pt", "last.pt"):
        path = folder / name
        weight = checkpoint.load(path)["network"]["6.weight"].numpy().tobytes()
        content = bytearray(path.read_bytes())
        place = content.index(weight)
        content[place + 2] ^= 1
        path.write_bytes(content)
        torch.load(path, weights_only=True)  # torch sees nothing
        with pytest.raises(CheckpointError, match=rf"{name}.*SHA-256"):
            resume(folder)


@pytest.mark.parametrize("name", ["best.pt", "last.pt"])
def test_a_bit_flipped_anywhere_is_seen_or_changes_nothing(folder, name):
    path, dice = folder / name, random.Random(0)
    whole, expected = path.read_bytes(), checkpoint._sum(checkpoint.load(path))
    refused = 0
    for _ in range(60):
        content = bytearray(whole)
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        path.write_bytes(content)
        try:
            assert checkpoint._sum(checkpoint.load(path)) == expected
        except CheckpointError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04", b"\x80\x02."])
def test_what_is_no_checkpoint_is_one_error(folder, content):
    (folder / "last.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"last\.pt: expected a checkpoint.*Move it away"):
        resume(folder)


def test_a_cut_file_and_a_missing_one_are_one_error(folder):
    path = folder / "best.pt"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match=r"best\.pt"):
        resume(folder)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"best\.pt.*no such file"):
        resume(folder)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"network": None}, "'network' is NoneType, not dict"),
        ({"epoch": "3"}, "'epoch' is str"),
        ({"processes": {}}, "'processes' is dict"),
        ({"best": None}, "'best' is NoneType"),
        ({"best": {}}, "does not fit this network"),
        ({"history": 3}, "'history' is int"),
        ({"optimizer": {"state": {}}}, "does not fit"),
    ],
)
def test_missing_and_wrongly_typed_entries(folder, changes, says):
    rewritten(folder / "last.pt", **changes)
    with pytest.raises(CheckpointError, match=says):
        resume(folder)


def test_a_newer_format_and_a_checkpoint_of_nobody(folder):
    path = folder / "last.pt"
    torch.save({**torch.load(path, weights_only=True), "format": 99}, path)
    with pytest.raises(CheckpointError, match=r"format 99.*another version"):
        resume(folder)
    torch.save({"network": {}}, path)
    with pytest.raises(CheckpointError, match="none of this library's"):
        resume(folder)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="none of this library's"):
        checkpoint.load(path)


@pytest.mark.parametrize("name", ["best.pt", "last.pt"])
def test_another_seeds_file_is_refused(folder, tmp_path, name):
    fit(restless_task(), replace(CONFIG, seed=1), out=tmp_path / "other", progress=False)
    shutil.copy(tmp_path / "other" / name, folder / name)
    with pytest.raises(CheckpointError, match=rf"{name}.*another seed"):
        resume(folder)


def test_best_of_another_epoch_is_refused(folder):
    rewritten(folder / "best.pt", epoch=7)
    with pytest.raises(CheckpointError, match="holds epoch 7"):
        resume(folder)


def test_a_network_that_changed_is_refused(folder):
    task = restless_task()
    task.network[-1] = nn.Linear(72, 3, bias=False)
    with pytest.raises(CheckpointError, match=r"does not fit this network.*6\.bias"):
        resume(folder, task=task)


def test_a_lost_config_does_not_start_a_run_over_another(folder):
    (folder / "config.json").unlink()
    before = (folder / "last.pt").read_bytes()
    with pytest.raises(CheckpointError, match=r"config\.json"):
        fit(restless_task(), CONFIG, out=folder, progress=False)
    assert (folder / "last.pt").read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"digest": NaN}', '{"digest": 3}', "{}"])
def test_damaged_settings_are_one_error(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json|other settings"):
        resume(folder)


def test_a_full_disk_keeps_the_old_checkpoint(folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = (folder / "last.pt").read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as error:
        checkpoint.save(folder / "last.pt", {"digest": "", "network": {}, "epoch": 0})
    assert error.value.filename == str(folder / "last.pt")
    assert (folder / "last.pt").read_bytes() == before and not list(folder.glob("*.part"))


# --- the command line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "toy", "--out", "FILE/run"], "expected a folder"),
        (["run", "toy", "--out", "FILE"], "expected a folder"),
        (["run", "toy", "--out", "LINK"], "expected a folder"),
        (["run", "toy", "--out", "/proc/nobody/run"], "/proc/nobody"),
        (["table", "toy", "--results", "LINK"], "expected a folder"),
        (["table", "toy", "--results", "OK", "--runs", "FILE"], "expected a folder"),
        (["table", "toy", "--results", "OK", "--seeds", "-1"], "seed"),
        (["table", "toy", "--results", "OK", f"--seeds={2**64}"], "seed: expected a value in [0, 4294967295]"),
        (["table", "toy", "--results", "OK", "--seeds", "a,b"], "--seeds"),
        (["table", "toy", "--results", "OK", "--seeds", ""], "--seeds"),
        (["run", "toy", "--out", "OK", "seed=-1"], "seed"),
        (["run", "toy", "--out", "OK", "--device", "tpu"], "device: expected one of"),
        (["run", "toy"], "--out"),
        (["run", "toi", "--out", "OK"], "Did you mean 'toy'"),
        (["run", "toy", "--out", "OK", "--fast"], "unknown: --fast"),
        (["walk"], "invalid choice"),
        ([], "COMMAND"),
    ],
)
def test_a_wrong_command_is_one_line(tmp_path, capsys, words, says):
    (tmp_path / "FILE").touch()
    (tmp_path / "LINK").symlink_to(tmp_path / "nowhere")
    names = ("FILE", "LINK", "OK")
    words = [str(tmp_path / word) if word.startswith(names) else word for word in words]
    assert main([*words, *(QUICK if len(words) > 2 and "--device" not in words else [])]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and says in said


def test_a_full_disk_is_one_line(tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert main(["run", "toy", "--out", str(tmp_path / "run"), *QUICK]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path / 'run'}") and "the disk is full" in said and said.count("\n") == 1


def test_help_and_ctrl_c(tmp_path):
    code = "import sys; from ask_lib.train.__main__ import main\ntry: main(['run', '--help'])\n"
    code += "except SystemExit: assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    command = [sys.executable, "-m", "ask_lib.train", "run", "toy", "--out", str(tmp_path), "epochs=1000"]
    with subprocess.Popen([*command, "--quiet", "--device", "cpu"], stderr=subprocess.PIPE, text=True) as child:
        while not (tmp_path / "last.pt").exists():
            assert child.poll() is None
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=60)
    assert child.returncode == 130 and said.strip().count("\n") == 0 and said.strip().startswith("stopped;"), said
