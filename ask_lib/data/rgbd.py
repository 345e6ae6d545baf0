"""What RGB-D sets share: their frames, HHA that is computed once and kept, and aligned inputs to train on."""

from __future__ import annotations

import hashlib
import inspect
import multiprocessing
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch.nn import functional

from ask_lib.checks import check_choice
from ask_lib.data.image_folder import UnreadableError, read_rgb
from ask_lib.data.transforms import warp
from ask_lib.errors import CacheError, DataNotFoundError, RangeError
from ask_lib.files import atomic_path, shown
from ask_lib.methods import hha
from ask_scenes.shards import WAY_OUT, cache_folder, prepare
from ask_scenes.workers import spread

if TYPE_CHECKING:
    from PIL.Image import Image

CHUNK = 8  # frames that a process is given at once
KEPT = " It is a kept file: delete it and start again, and it is computed anew."
SPLITS = ("train", "test")
Value = TypeVar("Value")


class RGBDFrames(ABC):
    """The frames of an RGB-D set, read when they are asked for.

    Attributes:
        title: One word, for the cache.
        classes: Names.
        names: Of each frame.
        labels: ``(N,)`` int64, index into ``classes``.
        splits: ``train`` or ``test``, of each frame.
        sources: The files that hold the depth and the cameras.
        options: What else decides which depth is read.
        sigma: How depth is smoothed for HHA, pixels (`ask_lib.methods.hha.smooth`).
    """

    title: str
    classes: tuple[str, ...]
    names: tuple[str, ...]
    labels: torch.Tensor
    splits: tuple[str, ...]
    sources: tuple[Path, ...]
    options: str = ""
    sigma: float = 0.0

    def __len__(self) -> int:
        return len(self.names)

    def rows(self, split: str) -> torch.Tensor:
        """The numbers of a split's frames, ``(M,)`` int64."""
        check_choice("split", split, SPLITS)
        return torch.tensor([row for row, each in enumerate(self.splits) if each == split], dtype=torch.int64)

    @abstractmethod
    def picture(self, row: int) -> Image:
        """RGB, 8 bits."""

    @abstractmethod
    def depth(self, row: int) -> np.ndarray:
        """``(H, W)`` float32, metres, 0 = missing."""

    @abstractmethod
    def camera(self, row: int) -> np.ndarray:
        """``(3, 3)`` float64, pixels of the depth image."""

    def segments(self, row: int) -> np.ndarray | None:
        """Labels of pixels, ``(H, W)``, or None where there are none."""
        return None


class Pairs(torch.utils.data.Dataset[tuple[dict[str, torch.Tensor], int]]):
    """Frames as RGB, HHA and labels of pixels that lie on each other, for `ask_lib.train.data.LoaderData`.

    Each item is ``({"rgb", "hha": (3, h, w) uint8, "segments": (1, h, w) int16}, label)``, segments where the set has
    any. Augmentation is the training's, with one draw for all of them: ``InputSpec(kind="image")``, ``"levels"``, and
    ``"labels"``.

    Args:
        frames: The set.
        rows: ``(M,)``, which of them.
        size: (h, w) of all; the aspect is not kept.
        root: Cache folder of HHA, see `hha_files`.
        workers: Processes that compute HHA.
        progress: Show a bar.

    Attributes:
        labels: ``(M,)`` int64.
    """

    def __init__(
        self,
        frames: RGBDFrames,
        rows: torch.Tensor,
        size: tuple[int, int],
        *,
        root: str | Path | None = None,
        workers: int = 1,
        progress: bool = True,
    ) -> None:
        self.frames, self.chosen, self.size = frames, rows.tolist(), size
        self.labels = frames.labels[rows]
        self._hha = hha_files(frames, self.chosen, root=root, workers=workers, progress=progress)

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> tuple[dict[str, torch.Tensor], int]:
        row = self.chosen[index]
        pictures = {"rgb": self.frames.picture(row), "hha": read_picture(self._hha[index], KEPT)}
        inputs = {name: _bytes(warp(picture, self.size)) for name, picture in pictures.items()}
        if (segments := self.frames.segments(row)) is not None:
            numbers = torch.from_numpy(segments.astype(np.float32))[None, None]
            inputs["segments"] = functional.interpolate(numbers, self.size, mode="nearest-exact")[0].to(torch.int16)
        return inputs, int(self.labels[index])

    def tensors(self) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """All of it in memory, for `ask_lib.train.data.TensorData`."""
        items = [self[index][0] for index in range(len(self))]
        return {name: torch.stack([item[name] for item in items]) for name in items[0]}, self.labels


def hha_files(
    frames: RGBDFrames,
    rows: Sequence[int] | None = None,
    *,
    root: str | Path | None = None,
    workers: int = 1,
    progress: bool = True,
) -> list[Path]:
    """PNG files of the frames' HHA, at the depth's size (0.3 MB for 480 x 640); those not there yet are computed now.

    Each appears whole or not at all, so a run that is stopped goes on where it was. Other depth files, options or code
    of HHA have a folder of their own.

    Departs from paper: its HHA (Gupta's code) takes no normals where depth was filled in; here in-painted depth counts
    as measured, and angles there differ much. `ask_lib.methods.hha.hha` does as the paper where it is told ``missing``.

    Args:
        frames: The set.
        rows: Which; None: all.
        root: Cache folder; by default the variable ``ASK_CACHE`` names it, else it is ``~/.cache/ask_lib``.
        workers: Processes; more than 1 needs the usual guard in a script.
        progress: Show a bar.

    Raises:
        DataNotFoundError: If a frame's depth can't be read.
        RangeError: If it is no depth, with the frame's name.
        CacheError: If the cache can't be written.
        WorkerError: If a process ended early.
    """
    from tqdm.auto import tqdm

    folder = cache_folder(root) / "hha" / f"{frames.title}-{_digest(frames)}"
    chosen = range(len(frames)) if rows is None else rows
    paths = [folder / f"{_flat(frames.names[row])}.png" for row in chosen]
    todo = [(row, path) for row, path in zip(chosen, paths, strict=True) if not path.is_file()]
    if todo:
        prepare(folder / "NAME.png")
    chunks = [todo[at : at + CHUNK] for at in range(0, len(todo), CHUNK)]
    bar = tqdm(total=len(todo), desc=f"HHA of {frames.title}", unit="frame", disable=not (progress and todo))
    with bar, spread(partial(_compute, frames), chunks, workers) as done:
        for count in done:
            bar.update(count)
    return paths


def _compute(frames: RGBDFrames, todo: Sequence[tuple[int, Path]]) -> int:
    from PIL import Image as pil

    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)  # a process a core is faster than threads of each
    for row, path in todo:
        try:
            levels = hha.hha(frames.depth(row), frames.camera(row), sigma=frames.sigma)
        except RangeError as error:
            raise RangeError(f"{frames.title}, frame {frames.names[row]}: {error}") from error
        try:
            with atomic_path(path) as part:
                pil.fromarray(levels).save(part, "PNG", compress_level=1)
        except OSError as error:
            raise CacheError(f"{shown(path)}: {error.strerror or error}. {WAY_OUT}") from error
    return len(todo)


def _digest(frames: RGBDFrames) -> str:
    """Of what HHA depends on: the files' names, sizes and times, how they are read (the first shows it), its code."""
    states = ((path.name, path.stat()) for path in frames.sources)
    files = [f"{name} {state.st_size} {state.st_mtime_ns}" for name, state in states]
    text = "\n".join([*files, frames.options, f"{frames.sigma}", inspect.getsource(hha)])
    first = frames.depth(0).tobytes() + frames.camera(0).tobytes()
    return hashlib.sha256(text.encode() + first).hexdigest()[:12]


def read_picture(path: Path, hint: str = "") -> Image:
    """A file as 8-bit RGB; a ``DataNotFoundError``, which ends in ``hint``, if it gives no picture."""
    try:
        return read_rgb(path)[0]
    except UnreadableError as error:
        raise DataNotFoundError(f"{error}{hint}") from error


def read_levels(path: Path) -> np.ndarray:
    """A grey PNG as ``(H, W)``, uint8 or uint16; a ``DataNotFoundError`` if it is none."""
    from PIL import Image as pil

    try:
        with pil.open(path, formats=["PNG"]) as image:
            levels = np.array(image)
    except (OSError, SyntaxError) as error:
        raise DataNotFoundError(f"{shown(path)}: expected a grey PNG, and cannot read it ({error}).") from error
    if levels.ndim != 2:
        raise DataNotFoundError(f"{shown(path)}: expected a grey PNG, got one with {levels.shape[2]} channels.")
    return levels if levels.dtype == np.uint8 else levels.astype(np.uint16)  # older Pillow: int32


def check_names(names: Sequence[str], path: Path) -> None:
    """Raise a ``DataNotFoundError`` unless names that a file lists are of different frames, within its set's folder."""
    kept = Counter(map(_flat, names))
    wrong = [n for n in names if ".." in Path(n).parts or Path(n).is_absolute() or kept[_flat(n)] > 1]
    if wrong:
        raise DataNotFoundError(
            f"{shown(path)}: expected each frame once, below the set's folder; got {shown(wrong[0])}."
        )


def read_mat(path: Path, names: Sequence[str], read: Callable[[Any], Value]) -> list[list[Value]]:
    """``read`` of each entry of variables of a MATLAB file; a ``DataNotFoundError`` where it, or the file, fails."""
    from scipy.io import loadmat

    try:
        content = loadmat(path)
        return [[read(entry) for entry in content[name].ravel()] for name in names]
    except Exception as error:  # of a damaged file the parser raises whatever it runs into
        raise DataNotFoundError(
            f"{shown(path)}: expected MATLAB's {', '.join(names)}, and cannot read them ({error}). Fetch it again."
        ) from error


def scaled_camera(camera: np.ndarray, size: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """A camera's matrix for its picture resized from ``size`` to ``new``, both (H, W); the first pixel is 1."""
    (tall, wide), out = (b / a for a, b in zip(size, new, strict=True)), camera.astype(np.float64)
    out[0, 0], out[1, 1] = camera[0, 0] * wide, camera[1, 1] * tall
    out[0, 2], out[1, 2] = (camera[0, 2] - 0.5) * wide + 0.5, (camera[1, 2] - 0.5) * tall + 0.5
    return out


def _flat(name: str) -> str:
    return name.replace("/", "_")  # as a file in one folder


def _bytes(picture: Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()  # (3, h, w)
