"""A split of rooms as tensors in memory, drawn once and kept on disk."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from ask_lib.checks import check_choice, check_range
from ask_lib.data.rooms import cache
from ask_lib.data.rooms.frames import render_batch
from ask_lib.data.rooms.layout import VERSION
from ask_lib.data.rooms.options import SPLITS, Array, RoomFrame, RoomOptions
from ask_lib.data.rooms.scenes import LABELS

SHARD = 50


@dataclass(frozen=True)
class Job:
    """One shard to draw: frames ``first`` to ``last - 1`` of a split."""

    split: str
    seed: int
    first: int
    last: int
    options: RoomOptions
    device: str
    path: Path


class Rooms(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Frames 0 to ``count - 1`` of a split.

    Args:
        split: One of ``SPLITS``. Chapters train on ``train``, choose on ``val`` and report on ``test``; the networks
            that ship saw ``pretrain`` only.
        count: How many; a multiple of ten is balanced over the labels.
        seed: Of the data set.
        options: How the frames are drawn.
        root: Cache folder; see ``cache_folder``.
        workers: Processes that draw; 1 draws in this one. More are started afresh, so a script needs the usual
            ``if __name__ == "__main__"`` guard; a notebook does not.
        device: Where to draw.
        progress: Show a bar while drawing.

    Attributes:
        rgb: ``(N, 3, H, W)`` uint8.
        depth_mm: ``(N, H, W)`` int32, sensor depth in millimetres, 0 = missing.
        instance: ``(N, H, W)`` uint8.
        category: ``(N, H, W)`` uint8, index into ``CATEGORIES``.
        key_mask: ``(N, H, W)`` bool.
        label: ``(N,)`` int64, index into ``LABELS``.
        intrinsics: ``(N, 3, 3)`` float32.
        pose: ``(N, 4, 4)`` float32, camera axes to the room's.
        exact_depth_mm: ``(N, H, W)`` int32, only with ``options.exact``, else None.
        normal: ``(N, 3, H, W)`` int8, in 127ths, only with ``options.exact``, else None.

    Raises:
        ChoiceError: If the split does not exist.
        RangeError: If ``count`` is not positive.
    """

    def __init__(
        self,
        split: str,
        count: int,
        seed: int = 0,
        options: RoomOptions | None = None,
        *,
        root: str | Path | None = None,
        workers: int = 1,
        device: str = "cpu",
        progress: bool = True,
    ) -> None:
        check_choice("split", split, SPLITS)
        check_range("count", count, 1)
        self.split, self.seed, self.options = split, seed, options or RoomOptions()
        folder = cache.cache_folder(root) / "rooms" / folder_name(split, seed, self.options)
        jobs = [
            Job(split, seed, first, min(first + SHARD, count), self.options, device, _path(folder, first, count))
            for first in range(0, count, SHARD)
        ]
        shards = _collect(jobs, workers, progress)
        joined = {name: torch.from_numpy(np.concatenate([shard[name] for shard in shards])) for name in shards[0]}
        self.rgb = joined["rgb"]
        self.depth_mm = joined["depth_mm"].to(torch.int32)
        self.instance, self.category = joined["instance"], joined["category"]
        self.key_mask = joined["key_mask"]
        self.label = joined["label"]
        self.intrinsics, self.pose = joined["intrinsics"], joined["pose"]
        self.exact_depth_mm = joined["exact_depth_mm"].to(torch.int32) if self.options.exact else None
        self.normal = joined["normal"] if self.options.exact else None

    @property
    def depth(self) -> torch.Tensor:
        """Sensor depth, ``(N, H, W)`` float32, metres, 0 = missing."""
        return self.depth_mm.float() / 1000

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels."""
        return LABELS

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {
            "rgb": self.rgb[index],
            "depth": self.depth_mm[index].float() / 1000,
            "key_mask": self.key_mask[index],
            "category": self.category[index],
            "intrinsics": self.intrinsics[index],
            "pose": self.pose[index],
            "label": self.label[index],
        }


def folder_name(split: str, seed: int, options: RoomOptions) -> str:
    """Folder of the shards: all that decides their content is in the name."""
    digest = hashlib.sha256(repr(options).encode()).hexdigest()[:12]
    height, width = options.size
    return f"v{VERSION}-{split}-seed{seed}-{height}x{width}-{digest}"


def _path(folder: Path, first: int, count: int) -> Path:
    # A shard's name holds its frames only: a longer set takes over the whole shards of a shorter one.
    return folder / f"{first:06d}-{min(first + SHARD, count):06d}.shard"


def draw_shard(job: Job) -> Path:
    """Draw a shard and put it in the cache."""
    torch.set_num_threads(1)
    step = 1 if job.device == "cpu" else SHARD
    frames: list[RoomFrame] = []
    for first in range(job.first, job.last, step):
        numbers = range(first, min(first + step, job.last))
        frames += render_batch(numbers, seed=job.seed, split=job.split, options=job.options, device=job.device)
    cache.save(job.path, _stack(frames, job.options.exact))
    return job.path


def _stack(frames: list[RoomFrame], exact: bool) -> dict[str, Array]:
    arrays = {
        "rgb": np.stack([f.rgb for f in frames]),
        "depth_mm": np.stack([_millimetres(f.depth) for f in frames]),
        "instance": np.stack([f.instance for f in frames]),
        "category": np.stack([f.category for f in frames]),
        "key_mask": np.stack([f.key_mask for f in frames]),
        "label": np.array([f.label for f in frames], np.int64),
        "intrinsics": np.stack([f.intrinsics for f in frames]).astype(np.float32),
        "pose": np.stack([f.pose for f in frames]).astype(np.float32),
    }
    if exact:
        arrays["exact_depth_mm"] = np.stack([_millimetres(f.exact_depth) for f in frames])
        arrays["normal"] = np.stack([np.round(f.normal * 127).astype(np.int8) for f in frames])
    return arrays


def _millimetres(depth: Array) -> Array:
    rounded: Array = np.clip(np.round(depth * 1000), 0, 65535).astype(np.uint16)
    return rounded


def _collect(jobs: list[Job], workers: int, progress: bool) -> list[dict[str, Array]]:
    found = {job.path: cache.load(job.path) for job in jobs}
    missing = [job for job in jobs if found[job.path] is None]
    frames = sum(job.last - job.first for job in missing)
    with tqdm(total=frames, unit="frame", desc="rooms", disable=not (progress and missing)) as bar:
        sizes = {job.path: job.last - job.first for job in missing}
        for path in _drawn(missing, workers):
            found[path] = cache.load(path)
            bar.update(sizes[path])
    return [_there(found[job.path], job.path) for job in jobs]


def _there(shard: dict[str, Array] | None, path: Path) -> dict[str, Array]:
    if shard is None:
        raise OSError(f"The shard {path} was written but cannot be read back; is the disk full?")
    return shard


def _drawn(jobs: list[Job], workers: int) -> Iterator[Path]:
    if workers <= 1 or len(jobs) <= 1:
        threads = torch.get_num_threads()
        try:
            yield from map(draw_shard, jobs)
        finally:
            torch.set_num_threads(threads)
        return
    # Started afresh, not forked: a fork of a process that has used torch's threads can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        yield from pool.map(draw_shard, jobs)
