"""NYU Depth v2 (Silberman et al., ECCV 2012): 1,449 frames of 27 types of scene, as ten classes.

Nine types are classes of their own and the other 18 are one, "others"; 795 frames are for training, 654 for testing.

Source: Gupta, Arbeláez, Malik: Perceptual Organization and Recognition of Indoor Scenes from RGB-D Images, CVPR 2013.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ask_lib.checks import check_choice, check_range
from ask_lib.data.download import curl_line
from ask_lib.data.rgbd import SPLITS, RGBDFrames, check_names, read_levels, read_mat, read_picture, scaled_camera
from ask_lib.errors import DataNotFoundError
from ask_lib.files import shown
from ask_lib.methods.hha import SIGMA_8BIT

if TYPE_CHECKING:
    from PIL.Image import Image

OTHERS = "others"
CLASSES = (
    "bedroom", "kitchen", "living_room", "bathroom", "dining_room", "office", "home_office", "classroom", "bookstore",
    OTHERS,
)  # fmt: skip
OTHER_TYPES = (
    "basement", "cafe", "computer_lab", "conference_room", "dinette", "excercise_room", "foyer", "furniture_store",
    "home_storage", "indoor_balcony", "laundry_room", "office_kitchen", "playroom", "printer_room", "reception_room",
    "student_lounge", "study", "study_room",
    # eight of them as SUN RGB-D names them, which has the same frames
    "cafeteria", "computer_room", "gym", "laundromat", "lobby", "recreation_room", "storage_room", "study_space",
)  # fmt: skip
CAMERA = np.array([[518.85790, 0, 325.58245], [0, 519.46961, 253.73617], [0, 0, 1]])  # of the RGB, 480 x 640
SIZE = (480, 640)
MAT, SPLIT = "nyu_depth_v2_labeled.mat", "splits.mat"
HOST = "http://horatio.cs.nyu.edu/mit/silberman"
ADDRESS = {MAT: f"{HOST}/nyu_depth_v2/{MAT}", SPLIT: f"{HOST}/indoor_seg_sup/{SPLIT}"}


def ten_classes(scenes: Sequence[str]) -> torch.Tensor:
    """The class of each type of scene, index into ``CLASSES``: int64 ``(N,)``; a ``ChoiceError`` if it is no type.

    >>> ten_classes(["kitchen", "gym"])
    tensor([1, 9])
    """
    number = {name: at for at, name in enumerate(CLASSES)} | dict.fromkeys(OTHER_TYPES, CLASSES.index(OTHERS))
    for scene in scenes:
        check_choice("type of scene", scene, number)
    return torch.tensor([number[scene] for scene in scenes], dtype=torch.int64)


class NYUDv2(RGBDFrames):
    """The official files: ``nyu_depth_v2_labeled.mat`` (2.8 GB, read frame by frame) and ``splits.mat``.

    Args:
        root: The folder that holds both.
        raw: Depth as it was measured, with holes, not in-painted; HHA of either departs from the paper, see
            `ask_lib.data.rgbd.hha_files`.

    Attributes:
        scenes: The type of scene of each frame.

    Raises:
        DataNotFoundError: If a file is missing or not what it should be.
        ChoiceError: If a type of scene is not among the 27.
    """

    title, classes = "nyudv2", CLASSES

    def __init__(self, root: str | Path, *, raw: bool = False) -> None:
        self.mat, self.options = Path(root).expanduser() / MAT, "rawDepths" if raw else "depths"
        self.sources = (self.mat,)
        with self._opened() as file:
            self.scenes = tuple(_text(file[place]) for place in file["sceneTypes"][()].ravel())
        self.names = tuple(f"{number:04d}" for number in range(1, len(self.scenes) + 1))
        self.labels = ten_classes(self.scenes)
        self.splits = _read_splits(self.mat.with_name(SPLIT), len(self))

    def picture(self, row: int) -> Image:
        """See `RGBDFrames`."""
        from PIL import Image as pil

        return pil.fromarray(self._read("images", row))

    def depth(self, row: int) -> np.ndarray:
        """See `RGBDFrames`."""
        return self._read(self.options, row).astype(np.float32)

    def camera(self, row: int) -> np.ndarray:
        """See `RGBDFrames`."""
        return CAMERA

    def segments(self, row: int) -> np.ndarray:
        """One of 894 names a pixel, 0 = none: ``(H, W)`` uint16."""
        return self._read("labels", row)

    def _read(self, name: str, row: int) -> np.ndarray:
        with self._opened() as file:
            return np.ascontiguousarray(file[name][row].T)  # MATLAB's axes come in the other order

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        import h5py

        _check_there(self.mat)
        try:
            with h5py.File(self.mat, "r") as file:
                yield file
        except (OSError, KeyError, ValueError) as error:  # the last of a reference to nothing
            raise DataNotFoundError(
                f"{shown(self.mat)}: expected the labelled set as HDF5, and cannot read it ({error}). Fetch it again: "
                f"{curl_line(ADDRESS[MAT], self.mat)}"
            ) from error


class NYUDv2Folder(RGBDFrames):
    """The set as files: ``rgb/NNNN.jpg``, ``depth/NNNN.png``, ``label40/NNNN.png``, and ``labels.csv``.

    ``labels.csv`` has the columns index (NNNN), scene (the type), and split. Pictures and depth may differ in size, and
    show the same. Depth of 8 bits is smoothed for HHA, by what costs least (`ask_lib.methods.hha.SIGMA_8BIT`).

    Args:
        root: The folder.
        scale: Levels a metre; None: 25.5 for 8 bits, where a level's middle counts, and 1000 for 16. Level 0 = missing.
        labels: The folder with labels of pixels; where it is missing, there are none.

    Attributes:
        scenes: The type of scene of each frame.

    Raises:
        DataNotFoundError: If the folder or its table is missing, or the table has other columns, or
            a frame twice or outside the folder.
        ChoiceError: If a type of scene is not among the 27.
        RangeError: If ``scale`` is not positive.
    """

    title, classes = "nyudv2_folder", CLASSES

    def __init__(self, root: str | Path, *, scale: float | None = None, labels: str = "label40") -> None:
        self.root = Path(root).expanduser()
        rows = _read_table(self.root / "labels.csv")
        self.names, self.scenes, self.splits = (
            tuple(row[column] for row in rows) for column in ("index", "scene", "split")
        )
        self.labels = ten_classes(self.scenes)
        self.sources = tuple(self.root / "depth" / f"{name}.png" for name in self.names)
        for path in self.sources:
            if not path.is_file():
                raise DataNotFoundError(
                    f"{shown(path)}: expected depth of each frame in labels.csv. Copy the set anew."
                )
        self._kind = read_levels(self.sources[0]).dtype
        eight = self._kind == np.uint8
        self.scale = (25.5 if eight else 1000.0) if scale is None else scale
        check_range("scale", self.scale, 0, open_low=True)
        self.half, self.sigma = (0.5, SIGMA_8BIT) if eight else (0.0, 0.0)
        self.options = f"{self.scale}"
        self._labels = self.root / labels

    def picture(self, row: int) -> Image:
        """See `RGBDFrames`."""
        return read_picture(self.root / "rgb" / f"{self.names[row]}.jpg")

    def depth(self, row: int) -> np.ndarray:
        """See `RGBDFrames`."""
        levels = read_levels(self.sources[row])
        if levels.dtype != self._kind:
            raise DataNotFoundError(f"{shown(self.sources[row])}: expected {self._kind} as in the first frame's file.")
        return np.where(levels > 0, (levels + self.half) / self.scale, 0).astype(np.float32)

    def camera(self, row: int) -> np.ndarray:
        """See `RGBDFrames`."""
        height, width = self.depth(row).shape
        return scaled_camera(CAMERA, SIZE, (height, width))

    def segments(self, row: int) -> np.ndarray | None:
        """The file's levels, ``(H, W)``: of 40 classes less 1."""
        return read_levels(self._labels / f"{self.names[row]}.png") if self._labels.is_dir() else None


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise DataNotFoundError(
            f"NYU Depth v2: expected {shown(path)}. It comes from "
            f"https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html: {curl_line(ADDRESS[path.name], path)}"
        )


def _read_splits(path: Path, count: int) -> tuple[str, ...]:
    """``train`` or ``test`` for each frame."""
    _check_there(path)
    numbers = dict(zip(SPLITS, read_mat(path, ("trainNdxs", "testNdxs"), float), strict=True))
    split = {number: name for name in SPLITS for number in numbers[name]}
    if sorted(split) != list(range(1, count + 1)) or sum(map(len, numbers.values())) != count:
        raise DataNotFoundError(f"{shown(path)}: expected each of the {count} frames once. Is it another set's?")
    return tuple(split[number] for number in range(1, count + 1))


def _read_table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise DataNotFoundError(
            f"NYU Depth v2 as a folder: expected {shown(path)} beside rgb/, depth/ and label40/. Of the official file "
            f"{MAT}, use NYUDv2."
        )
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"index", "scene", "split"} <= set(rows[0]) or {row["split"] for row in rows} - set(SPLITS):
        raise DataNotFoundError(f"{shown(path)}: expected the columns index, scene, split (train or test).")
    check_names([row["index"] for row in rows], path)
    return rows


def _text(codes: Any) -> str:
    return "".join(chr(code) for code in codes[()].ravel())
