"""What the synthetic data sets share: shards, their folders, and workers that end with their parent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ask_lib.data.rooms import Rooms
from ask_lib.errors import ChoiceError, RangeError
from ask_lib.files import atomic_path, remove_parts
from ask_scenes.drawing import Drawing, draw_split, shards
from ask_scenes.objects import ObjectOptions
from ask_scenes.objects.split import drawing_of as objects_of
from ask_scenes.rooms import RoomOptions
from ask_scenes.rooms.split import drawing_of as rooms_of

# --- shards: a drawing that takes no time, and keeps count


@dataclass(frozen=True)
class Plain:
    size: tuple[int, int] = (2, 3)


drawn: list[int] = []


def render(numbers: Sequence[int], *, seed: int, split: str, options: Plain, device: str) -> list[np.ndarray]:
    drawn.extend(numbers)
    return [np.random.default_rng([seed, number]).integers(0, 255, options.size) for number in numbers]


def stack(frames: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {"grey": np.stack(frames), "sum": np.array([frame.sum() for frame in frames])}


DRAWING: Drawing[np.ndarray] = Drawing("plain", 1, "", "val", 0, Plain(), "cpu", render, stack, 4)


def split_of(count: int, root: Path, drawing: Drawing[np.ndarray] = DRAWING) -> torch.Tensor:
    drawn.clear()
    return draw_split(drawing, count, root=root, progress=False)["grey"]


def test_a_longer_set_takes_over_the_whole_shards_of_a_shorter_one(tmp_path: Path):
    short = split_of(10, tmp_path)
    assert drawn == [*range(10)]
    longer = split_of(13, tmp_path)
    assert drawn == [8, 9, 10, 11, 12]
    assert torch.equal(longer[:10], short) and torch.equal(longer, split_of(13, tmp_path / "other"))
    assert torch.equal(split_of(10, tmp_path), short) and drawn == []
    with pytest.raises(RangeError, match="count"):
        split_of(0, tmp_path)


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


DAMAGES = {
    "cut": lambda data: data[:-1],
    "cut in the checksum": lambda data: data[:20],
    "empty": lambda data: b"",
    "one bit": flipped,
    "zeros at the end": lambda data: data[:-16] + bytes(16),
    "longer": lambda data: data + b"\0",
    "checksum": lambda data: bytes(32) + data[32:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_shard_is_seen_and_drawn_again(tmp_path: Path, damage):
    whole = split_of(10, tmp_path)
    shard = sorted(tmp_path.rglob("*.shard"))[1]
    bytes_before = shard.read_bytes()
    shard.write_bytes(damage(bytes_before))
    assert shards.load(shard) is None
    assert torch.equal(split_of(10, tmp_path), whole) and drawn == [4, 5, 6, 7]
    assert shard.read_bytes() == bytes_before


def test_what_killed_runs_left_is_never_read_and_goes_when_it_is_old(tmp_path: Path):
    folder = DRAWING.folder(tmp_path)
    folder.mkdir(parents=True)
    old, new = folder / "000000-000004.shard.7-abcd.part", folder / "000004-000008.shard.8-abcd.part"
    for part in (old, new):
        part.write_bytes(b"half a shard")
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    assert torch.equal(split_of(8, tmp_path), split_of(8, tmp_path / "other"))
    assert not old.exists() and new.exists()  # the new one may be another run's
    remove_parts(folder)
    assert sorted(path.suffix for path in folder.iterdir()) == [".shard", ".shard"]
    remove_parts(folder / "that is not there")


def test_a_shard_that_cannot_be_written_leaves_nothing(tmp_path: Path):
    path = tmp_path / "deep" / "a.shard"
    with pytest.raises(ValueError), atomic_path(path) as part:
        part.write_bytes(b"half")
        raise ValueError
    assert list(path.parent.iterdir()) == []


def test_a_shard_that_cannot_be_read_back_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shards, "save", lambda path, arrays: None)
    with pytest.raises(OSError, match="cannot be read back"):
        split_of(4, tmp_path)


# --- folder names

ROOMS = {
    "size": (24, 32), "depth_noise": 0.5, "remove_key_objects": True, "remove_distractors": True,
    "camera_height": 1.2, "camera_pitch": -0.1, "exact": True, "quality": "figure",
}  # fmt: skip
OBJECTS = {
    "size": (24, 32), "classes": "train", "coverage": (0.08, 0.380000001), "count": 2, "background": "plain",
    "remove_object": True, "quality": "figure",
}  # fmt: skip


@pytest.mark.parametrize(
    ("of", "options", "changes"), [(rooms_of, RoomOptions(), ROOMS), (objects_of, ObjectOptions(), OBJECTS)]
)
def test_all_that_decides_the_content_is_in_the_folder(of: Any, options: Any, changes: dict[str, Any], tmp_path: Path):
    assert set(changes) == {field.name for field in fields(options)}  # a new option belongs here
    usual = of("train", 0, options)
    others = [of("train", 0, replace(options, **{name: value})) for name, value in changes.items()]
    others += [of("val", 0, options), of("train", 1, options), of("train", 0, options, "cuda")]
    others.append(replace(usual, version=usual.version + 1))
    folders = {drawing.folder(tmp_path) for drawing in (usual, *others)}
    assert len(folders) == 1 + len(others)
    assert len({folder.name for folder in folders}) == len(folders)
    assert of("train", 0, type(options)()).folder(tmp_path) == usual.folder(tmp_path)


def test_nothing_else_is_in_the_folder(tmp_path: Path):
    assert DRAWING.folder(tmp_path) == replace(DRAWING, device="cpu:0", shard=9).folder(tmp_path)
    cuda = replace(DRAWING, device="cuda:1").folder(tmp_path)
    assert cuda == replace(DRAWING, device="cuda").folder(tmp_path) and cuda.name.endswith("-cuda")


def test_options_say_what_there_is():
    with pytest.raises(ChoiceError, match="Did you mean 'coverage'"):
        ObjectOptions.of({"coverag": (0.1, 0.2)})
    assert RoomOptions.of({"size": [24, 32]}) == RoomOptions(size=(24, 32))
    assert ObjectOptions.of({"coverage": [0.1, 0.2]}) == ObjectOptions(coverage=(0.1, 0.2))


# --- workers

SCRIPT = """
import sys
from ask_lib.data.rooms import Rooms
from ask_scenes.rooms import RoomOptions, split
split.SHARD = 4
if __name__ == "__main__":
    Rooms("train", 4000, options=RoomOptions(size=(24, 32)), root=sys.argv[1], workers=2, progress=False)
"""


@pytest.mark.slow
def test_workers_end_with_a_killed_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.rglob("*.shard"))) < 6 and time.monotonic() < deadline:  # both are at work by then
        time.sleep(0.02)
    try:
        assert parent.poll() is None
        parent.send_signal(signal.SIGKILL)
        # Parent and workers share one pipe, so it ends when the last of them has ended, and not before.
        parent.communicate(timeout=20)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
    done = list(tmp_path.rglob("*.shard"))
    assert 6 <= len(done) < 1000 and all(shards.load(shard) is not None for shard in done)
    time.sleep(0.5)
    assert list(tmp_path.rglob("*.shard")) == done  # nobody draws on
    monkeypatch.setattr("ask_scenes.rooms.split.SHARD", 4)
    tiny = RoomOptions(size=(24, 32))
    finished, whole = (
        Rooms("train", 12, options=tiny, root=root, progress=False) for root in (tmp_path, tmp_path / "o")
    )
    assert torch.equal(finished.rgb, whole.rgb) and torch.equal(finished.depth_mm, whole.depth_mm)
