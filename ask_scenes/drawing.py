"""A split drawn shard by shard into the cache, and read back as tensors."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np

from ask_lib.checks import check_range
from ask_lib.errors import CacheError, ChoiceError
from ask_scenes import shards, workers
from ask_scenes.shards import Array

if TYPE_CHECKING:
    import torch

Frame = TypeVar("Frame")


class Options(Protocol):
    """How frames are drawn: a frozen dataclass, whose ``repr`` therefore names every option."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""


def usable_device(name: torch.device | str) -> torch.device:
    """A device that can be drawn on here.

    Raises:
        ChoiceError: If torch knows no such device, or it is not there.
    """
    import torch

    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()  # asks for it; "meta" has no values to give back
    except (RuntimeError, AssertionError) as cause:
        reason = str(cause).partition("\n")[0]
        raise ChoiceError(
            f"device: expected one that is there, such as cpu or cuda; got {str(name)!r} ({reason})."
        ) from cause
    return device


@dataclass(frozen=True)
class Drawing(Generic[Frame]):
    """All that decides what a split's frames are, and how they become arrays.

    Attributes:
        data: Name of the data set.
        version: Of its drawing code.
        kind: What else its folder is called by, or nothing.
        split: Name of the split.
        seed: Of the data set.
        options: How the frames are drawn.
        device: Where to draw.
        render: Called with the frames' numbers and ``seed``, ``split``, ``options`` and ``device``.
        stack: The arrays of several frames.
        shard: Frames in a whole shard.
    """

    data: str
    version: int
    kind: str
    split: str
    seed: int
    options: Options
    device: str
    render: Callable[..., list[Frame]]
    stack: Callable[[list[Frame]], dict[str, Array]]
    shard: int

    def folder(self, root: str | Path | None = None) -> Path:
        """Folder of the shards, below the cache's: all that decides their content is in its name."""
        digest = hashlib.sha256(repr(self.options).encode()).hexdigest()[:12]
        height, width = self.options.size
        words = [f"v{self.version}", self.kind, self.split, f"seed{self.seed}", f"{height}x{width}", digest]
        # Devices agree up to rounding only, so what one of them drew is not passed off as another's.
        words.append("" if self._kind_of_device == "cpu" else self._kind_of_device)
        return shards.cache_folder(root) / self.data / "-".join(filter(None, words))

    def arrays(self, first: int, last: int) -> dict[str, Array]:
        """Draw frames ``first`` to ``last - 1``; many at once pay on a GPU only."""
        step = 1 if self._kind_of_device == "cpu" else self.shard
        frames: list[Frame] = []
        for start in range(first, last, step):
            frames += self.render(
                range(start, min(start + step, last)),
                seed=self.seed,
                split=self.split,
                options=self.options,
                device=self.device,
            )
        return self.stack(frames)

    @property
    def _kind_of_device(self) -> str:
        return str(self.device).partition(":")[0]


@dataclass(frozen=True)
class Job:
    """One shard to draw: frames ``first`` to ``last - 1``."""

    drawing: Drawing[Any]
    first: int
    last: int
    path: Path


def draw_split(
    drawing: Drawing[Any], count: int, *, root: str | Path | None = None, processes: int = 1, progress: bool = True
) -> dict[str, torch.Tensor]:
    """Frames 0 to ``count - 1``, drawn where the cache does not hold them yet.

    A killed run leaves whole shards only, and several runs at once draw the same ones. A longer set takes over the
    whole shards of a shorter one. A shard that was damaged since, or was put in another one's place, is drawn again.

    Args:
        drawing: What to draw.
        count: How many frames.
        root: Cache folder; see ``cache_folder``.
        processes: Processes that draw; 1 draws in this one.
        progress: Show a bar while drawing.

    Returns:
        The arrays of ``drawing.stack``, joined, by name.

    Raises:
        RangeError: If ``count`` or ``processes`` is not positive.
        ChoiceError: If the device is not there.
        CacheError: If a shard cannot be written or read back.
        WorkerError: If a process ended early.
    """
    from tqdm.auto import tqdm

    check_range("count", count, 1)
    check_range("workers", processes, 1)
    usable_device(drawing.device)
    jobs = _jobs(drawing, count, drawing.folder(root))
    found = {job.path: shards.load(job.path) for job in jobs}
    missing = [job for job in jobs if found[job.path] is None]
    if missing:
        shards.prepare(missing[0].path)
    frames = sum(job.last - job.first for job in missing)
    with (
        workers.spread(draw_shard, missing, processes) as done,
        tqdm(total=frames, unit="frame", desc=drawing.data, disable=not (progress and missing)) as bar,
    ):
        for job, _ in zip(missing, done, strict=True):
            found[job.path] = shards.load(job.path)
            bar.update(job.last - job.first)
    return _joined([_there(found[job.path], job.path) for job in jobs])


def draw_shard(job: Job) -> None:
    """Draw a shard and put it in the cache."""
    with one_thread():
        shards.save(job.path, job.drawing.arrays(job.first, job.last))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread for a while: a frame's steps are small, and threads cost more than they bring."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _jobs(drawing: Drawing[Any], count: int, folder: Path) -> list[Job]:
    # A shard's name holds its frames only: a longer set takes over the whole shards of a shorter one.
    spans = [(first, min(first + drawing.shard, count)) for first in range(0, count, drawing.shard)]
    return [Job(drawing, first, last, folder / f"{first:06d}-{last:06d}.shard") for first, last in spans]


def _there(shard: dict[str, Array] | None, path: Path) -> dict[str, Array]:
    if shard is None:
        raise CacheError(f"{path}: was written but cannot be read back; is the disk full? {shards.WAY_OUT}")
    return shard


def _joined(parts: list[dict[str, Array]]) -> dict[str, torch.Tensor]:
    import torch

    return {name: torch.from_numpy(np.concatenate([part[name] for part in parts])) for name in parts[0]}
