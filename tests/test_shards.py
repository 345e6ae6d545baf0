"""What the synthetic data sets share: shards, their folders, and workers that end with their parent."""

from __future__ import annotations

import contextlib
import errno
import functools
import operator
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ask_lib.data.rooms import Rooms
from ask_lib.errors import CacheError, ChoiceError, RangeError
from ask_lib.files import atomic_path, check_writable, remove_parts, write_json
from ask_scenes import shards, workers
from ask_scenes.drawing import Drawing, draw_split
from ask_scenes.objects import ObjectOptions
from ask_scenes.objects.split import drawing_of as objects_of
from ask_scenes.rooms import RoomOptions, render_room
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


def test_a_shard_in_another_ones_place_is_not_taken_for_it(tmp_path: Path):
    """Swapped, copied over another, a shorter one under a longer one's name, of another folder, version or data."""
    whole = split_of(8, tmp_path)
    first, second = sorted(DRAWING.folder(tmp_path).iterdir())
    short = first.with_name("000004-000006.shard")
    split_of(6, tmp_path)
    kept = {path: path.read_bytes() for path in (first, second, short)}
    others = [replace(DRAWING, seed=1), replace(DRAWING, version=2), replace(DRAWING, data="other")]
    for drawing in others:
        split_of(8, tmp_path, drawing)
    foreign = [(drawing.folder(tmp_path) / first.name).read_bytes() for drawing in others]
    for put in ({first: kept[second], second: kept[first]}, {second: kept[first]}, {second: kept[short]},
                *({first: data} for data in foreign)):  # fmt: skip
        for path, data in put.items():
            path.write_bytes(data)
            assert shards.load(path) is None
        assert torch.equal(split_of(8, tmp_path), whole) and len(drawn) == 4 * len(put)
        assert {path: path.read_bytes() for path in kept} == kept


def test_a_cache_may_be_moved_as_a_whole(tmp_path: Path):
    whole = split_of(8, tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    assert torch.equal(split_of(8, tmp_path / "there"), whole) and drawn == []


def test_two_at_once_do_no_harm(tmp_path: Path):
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: draw_split(DRAWING, 40, root=tmp_path, progress=False)["grey"], range(2))
    assert torch.equal(first, second) and torch.equal(first, split_of(40, tmp_path)) and drawn == []
    assert len(list(tmp_path.rglob("*.*"))) == 10


def test_a_shard_that_cannot_be_read_back_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shards, "save", lambda path, arrays: None)
    with pytest.raises(CacheError, match="cannot be read back"):
        split_of(4, tmp_path)


def test_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ASK_CACHE", str(tmp_path / "here"))
    assert shards.cache_folder() == tmp_path / "here"
    monkeypatch.delenv("ASK_CACHE")
    assert shards.cache_folder() == Path.home() / ".cache" / "ask_lib"


# --- a cache that cannot be written or read: the message names the path and ASK_CACHE, and nothing partial stays


def raising(number: int, *, after: bytes | None = None):
    def method(self: Path, *arguments: Any, **options: Any):
        if after is not None:
            with self.open("wb") as file:
                file.write(after)
        raise OSError(number, os.strerror(number), str(self))

    return method


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Path, "write_bytes", raising(errno.ENOSPC, after=b"half"))
    with pytest.raises(CacheError, match=r"000000-000004\.shard: the disk is full.*ASK_CACHE"):
        split_of(8, tmp_path)
    assert list(DRAWING.folder(tmp_path).iterdir()) == []


@pytest.mark.parametrize("step", ["mkdir", "touch"])
def test_a_home_that_is_read_only_is_seen_before_a_frame_is_drawn(step: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ASK_CACHE", raising=False)
    monkeypatch.setenv("HOME", "/nobody/is/here")
    monkeypatch.setattr(Path, "mkdir", lambda self, **how: None)
    monkeypatch.setattr(Path, step, raising(errno.EROFS))
    drawn.clear()
    with pytest.raises(CacheError, match=r"^/nobody/is/here/\.cache/ask_lib/plain/.*: may not be written.*ASK_CACHE"):
        draw_split(DRAWING, 4, progress=False)
    assert drawn == []


def test_a_root_that_is_no_folder(tmp_path: Path):
    (tmp_path / "file").touch()
    (tmp_path / "dead").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    for name in ("file", "dead", "round"):
        with pytest.raises(CacheError, match=f"{name}.*ASK_CACHE"):
            split_of(4, tmp_path / name)
    with pytest.raises(CacheError, match=r"no such home folder.*ASK_CACHE"):
        shards.cache_folder("~no-such-user-here/cache")


def test_a_cache_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    split_of(4, tmp_path)
    monkeypatch.setattr(Path, "read_bytes", raising(errno.EACCES))
    with pytest.raises(CacheError, match=r"\.shard: may not be written or read.*ASK_CACHE"):
        split_of(4, tmp_path)


def test_what_is_drawn_already_needs_no_right_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = split_of(4, tmp_path)
    for step in ("mkdir", "touch", "write_bytes"):
        monkeypatch.setattr(Path, step, raising(errno.EROFS))
    assert torch.equal(split_of(4, tmp_path), whole)


# --- files


def test_a_file_that_cannot_be_written_leaves_nothing_and_is_named(tmp_path: Path):
    path = tmp_path / "deep" / "a.json"
    with pytest.raises(ValueError), atomic_path(path) as part:
        part.write_bytes(b"half")
        raise ValueError
    (tmp_path / "folder").mkdir()
    for check in (lambda: write_json(tmp_path / "folder", {}), lambda: check_writable(tmp_path / "folder")):
        with pytest.raises(IsADirectoryError) as caught:
            check()
        assert caught.value.filename == str(tmp_path / "folder")
    check_writable(path)
    assert list(path.parent.iterdir()) == [] and sorted(p.name for p in tmp_path.iterdir()) == ["deep", "folder"]


def test_what_is_somebody_elses_to_remove_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    part = tmp_path / "a.part"
    part.touch()
    monkeypatch.setattr(Path, "unlink", raising(errno.EACCES))
    remove_parts(tmp_path)
    assert part.exists()


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


@pytest.mark.parametrize("device", ["tpu", "meta", "cuda:63"])
def test_a_device_that_is_not_there_is_named(device: str, tmp_path: Path):
    with pytest.raises(ChoiceError, match=f"device: expected one that is there.*{device}"):
        split_of(4, tmp_path, replace(DRAWING, device=device))
    with pytest.raises(ChoiceError, match=device):
        render_room(0, options=RoomOptions(size=(24, 32)), device=device)
    assert list(tmp_path.iterdir()) == []


# --- workers

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from ask_lib.command import exit_status
from ask_scenes import shards, workers

def work(number):
    shards.save(Path(sys.argv[1], f"{number}.shard"), {"a": np.full(100_000, number)})

def body():
    with workers.spread(work, range(100_000), 2) as done:
        list(done)

GUARD
    sys.exit(exit_status(body))
"""
GUARD = 'if __name__ == "__main__":'


def started(folder: Path, guard: str) -> subprocess.Popen[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT.replace("GUARD", guard))
    command = [sys.executable, str(script), str(folder / "out")]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, env=os.environ,
        preexec_fn=heeds_interrupts,
    )  # fmt: skip


def heeds_interrupts() -> None:
    """As a terminal starts a program; what a script starts in the background is deaf to Ctrl-C, and so is its child."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_workers_end_with_a_parent_that_is_killed_or_stopped(number: int, status: int, tmp_path: Path):
    parent = started(tmp_path, GUARD)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.rglob("*.shard"))) < 6 and time.monotonic() < deadline:  # both are at work by then
        time.sleep(0.02)
    try:
        assert parent.poll() is None
        if number == signal.SIGINT:
            os.killpg(parent.pid, number)  # as a terminal does it: to the parent and its workers
        else:
            parent.send_signal(number)
        # Parent and workers share one pipe, so it ends when the last of them has ended, and not before.
        said, _ = parent.communicate(timeout=20)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
    assert parent.returncode == status
    if number == signal.SIGINT:
        assert said.startswith("\nstopped") and said.count("\n") == 2
    done = list(tmp_path.rglob("*.shard"))
    assert 6 <= len(done) < 100_000 and all(shards.load(shard) is not None for shard in done)
    time.sleep(0.2)
    assert sorted(tmp_path.rglob("*.shard")) == sorted(done)  # nobody works on


def test_a_script_without_a_guard_is_told_so_once(tmp_path: Path):
    script = started(tmp_path, "if True:")
    said, _ = script.communicate(timeout=60)
    # The pool's own thread may trip over workers that vanish while they are started, and says so first.
    last = said.splitlines()[-1]
    assert script.returncode == 2 and said.count("error: ") == 1
    assert last.startswith("error: A process ended before")
    assert 'if __name__ == "__main__":' in last and not (tmp_path / "out").exists()


def test_workers_bring_results_and_errors_in_order():
    with workers.spread(abs, [-1, -2, 3], 2) as results:
        assert list(results) == [1, 2, 3]
    with pytest.raises(TypeError), workers.spread(abs, [-1, "a", 3], 2) as results:
        assert next(results) == 1
        next(results)


class Noted(int):
    """It notes how often it is sent to another process."""

    sent = 0

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        Noted.sent += 1
        return int, (int(self),)


def test_each_worker_is_given_the_work_once():
    with workers.spread(functools.partial(operator.add, Noted(1)), range(20), 2) as results:
        assert list(results) == list(range(1, 21))
    assert 1 <= Noted.sent <= 2


def test_without_shared_memory_one_process_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*arguments: Any, **options: Any):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(workers, "ProcessPoolExecutor", refuse)
    with pytest.warns(UserWarning, match="/dev/shm") as warned:
        draw_split(DRAWING, 8, root=tmp_path, processes=2, progress=False)
    assert len(warned) == 1 and len(list(tmp_path.rglob("*.shard"))) == 2


@pytest.mark.parametrize("count", [0, -1])
def test_no_workers_is_no_number_of_workers(count: int, tmp_path: Path):
    with pytest.raises(RangeError, match="workers"):
        draw_split(DRAWING, 8, root=tmp_path, processes=count)


@pytest.mark.slow  # two fresh processes import torch
def test_rooms_are_the_same_with_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ask_scenes.rooms.split.SHARD", 2)
    tiny = RoomOptions(size=(24, 32))
    both, alone = (
        Rooms("train", 4, options=tiny, root=tmp_path / str(workers), workers=workers, progress=False)
        for workers in (2, 1)
    )
    assert torch.equal(both.rgb, alone.rgb) and torch.equal(both.depth_mm, alone.depth_mm)
