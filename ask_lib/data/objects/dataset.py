"""A split of objects as tensors in memory, drawn once and kept on disk."""

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
from ask_lib.data.objects.classes import CHOICES, CLASSES, FAMILIES, FAMILY_OF
from ask_lib.data.objects.frames import render_batch
from ask_lib.data.objects.layout import VERSION
from ask_lib.data.objects.options import SPLITS, Array, ObjectFrame, ObjectOptions
from ask_lib.data.rooms import cache

SHARD = 64


@dataclass(frozen=True)
class Job:
    """One shard to draw: frames ``first`` to ``last - 1`` of a split."""

    split: str
    seed: int
    first: int
    last: int
    options: ObjectOptions
    device: str
    path: Path


class Objects(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Frames 0 to ``count - 1`` of a split.

    Args:
        split: One of ``SPLITS``: learn on ``train``, choose on ``val``, report on ``test``; queries come from
            ``test`` and are searched for in ``gallery``.
        count: How many; a multiple of the number of classes is balanced.
        seed: Of the data set.
        options: How the frames are drawn; ``options.classes`` says whose objects.
        root: Cache folder; see ``ask_lib.data.rooms.cache_folder``.
        workers: Processes that draw; 1 draws in this one. More are started afresh, so a script needs the usual
            ``if __name__ == "__main__"`` guard; a notebook does not.
        device: Where to draw.
        progress: Show a bar while drawing.

    Attributes:
        rgb: ``(N, 3, H, W)`` uint8.
        mask: ``(N, H, W)`` bool, where the main object is seen.
        box: ``(N, 4)`` int64, x0, y0, x1, y1 half-open in pixels, about the mask.
        label: ``(N,)`` int64, index into ``CLASSES``.
        family: ``(N,)`` int64, index into ``FAMILIES``.
        instance: ``(N, H, W)`` uint8, 1 = the main object, 2, 3, ... the others, 0 all else.
        labels: ``(N, count)`` int64, the classes of all the objects.

    Raises:
        ChoiceError: If the split does not exist.
        RangeError: If ``count`` is not positive.
    """

    def __init__(
        self,
        split: str,
        count: int,
        seed: int = 0,
        options: ObjectOptions | None = None,
        *,
        root: str | Path | None = None,
        workers: int = 1,
        device: str = "cpu",
        progress: bool = True,
    ) -> None:
        check_choice("split", split, SPLITS)
        check_range("count", count, 1)
        self.split, self.seed, self.options = split, seed, options or ObjectOptions()
        folder = cache.cache_folder(root) / "objects" / folder_name(split, seed, self.options)
        jobs = [
            Job(split, seed, first, min(first + SHARD, count), self.options, device, _path(folder, first, count))
            for first in range(0, count, SHARD)
        ]
        shards = _collect(jobs, workers, progress)
        joined = {name: torch.from_numpy(np.concatenate([shard[name] for shard in shards])) for name in shards[0]}
        self.rgb, self.instance = joined["rgb"], joined["instance"]
        self.mask = self.instance == 1
        self.box, self.labels = joined["box"], joined["labels"]
        self.label = self.labels[:, 0].contiguous()
        self.family = torch.tensor([FAMILIES.index(FAMILY_OF[CLASSES[int(label)]]) for label in self.label])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that are shown."""
        return CHOICES[self.options.classes]

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {
            "rgb": self.rgb[index],
            "mask": self.mask[index],
            "box": self.box[index],
            "label": self.label[index],
            "family": self.family[index],
        }


def folder_name(split: str, seed: int, options: ObjectOptions) -> str:
    """Folder of the shards: all that decides their content is in the name."""
    digest = hashlib.sha256(repr(options).encode()).hexdigest()[:12]
    height, width = options.size
    return f"v{VERSION}-{options.classes}-{split}-seed{seed}-{height}x{width}-{digest}"


def _path(folder: Path, first: int, count: int) -> Path:
    # A shard's name holds its frames only: a longer set takes over the whole shards of a shorter one.
    return folder / f"{first:06d}-{min(first + SHARD, count):06d}.shard"


def draw_shard(job: Job) -> Path:
    """Draw a shard and put it in the cache."""
    torch.set_num_threads(1)
    step = 1 if job.device == "cpu" else SHARD
    frames: list[ObjectFrame] = []
    for first in range(job.first, job.last, step):
        numbers = range(first, min(first + step, job.last))
        frames += render_batch(numbers, seed=job.seed, split=job.split, options=job.options, device=job.device)
    cache.save(job.path, _stack(frames))
    return job.path


def _stack(frames: list[ObjectFrame]) -> dict[str, Array]:
    return {
        "rgb": np.stack([f.rgb for f in frames]),
        "instance": np.stack([f.instance for f in frames]),
        "box": np.stack([f.box for f in frames]),
        "labels": np.array([f.labels for f in frames], np.int64),
    }


def _collect(jobs: list[Job], workers: int, progress: bool) -> list[dict[str, Array]]:
    found = {job.path: cache.load(job.path) for job in jobs}
    missing = [job for job in jobs if found[job.path] is None]
    sizes = {job.path: job.last - job.first for job in missing}
    with tqdm(total=sum(sizes.values()), unit="frame", desc="objects", disable=not (progress and missing)) as bar:
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
