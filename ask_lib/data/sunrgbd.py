"""SUN RGB-D (Song et al., CVPR 2015): 10,335 frames of four kinds of sensor; 19 types of scene are classified.

Source: Song, Lichtenberg, Xiao: SUN RGB-D: A RGB-D Scene Understanding Benchmark Suite, CVPR 2015: the types with more
than 80 frames, 4,845 for training and 4,659 for testing. "idk" has as many, and is no type: left out, as in theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ask_lib.data.download import curl_line
from ask_lib.data.rgbd import SPLITS, RGBDFrames, check_names, read_levels, read_mat, read_picture
from ask_lib.errors import DataNotFoundError
from ask_lib.files import shown

if TYPE_CHECKING:
    from PIL.Image import Image

CLASSES = (
    "bathroom", "bedroom", "classroom", "computer_room", "conference_room", "corridor", "dining_area", "dining_room",
    "discussion_area", "furniture_store", "home_office", "kitchen", "lab", "lecture_theatre", "library", "living_room",
    "office", "rest_space", "study_space",
)  # fmt: skip
FARTHEST = 8.0  # metres: the toolbox takes what is beyond for this
HOST = "https://rgbd.cs.princeton.edu/data"
SPLIT = "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"


class SUNRGBD(RGBDFrames):
    """The frames of the 19 classes, by the official split, in the official folders.

    Args:
        root: The folder ``SUNRGBD``, with kv1, kv2, realsense and xtion.
        split: ``allsplit.mat``; by default that of the toolbox, unpacked beside the root.
        raw: Depth as it was measured, with holes, not in-painted; HHA of either departs from the paper, see
            `ask_lib.data.rgbd.hha_files`.

    Attributes:
        scenes: The type of scene of each frame.

    Raises:
        DataNotFoundError: If the set, its split or a frame is missing.
    """

    title, classes = "sunrgbd", CLASSES

    def __init__(self, root: str | Path, split: str | Path | None = None, *, raw: bool = False) -> None:
        self.root, self.options = Path(root).expanduser(), "depth" if raw else "depth_bfx"
        if not self.root.is_dir():
            raise DataNotFoundError(
                f"SUN RGB-D: expected the folder {shown(self.root)}. Unpack there what this fetches (6.4 GB): "
                f"{curl_line(f'{HOST}/SUNRGBD.zip', self.root.with_suffix('.zip'))}"
            )
        listed = read_split(Path(split).expanduser() if split else self.root.parent / SPLIT)
        scenes = {name: read_scene(self.root / name) for names in listed.values() for name in names}
        self.names, self.splits = protocol(listed, scenes)
        self.scenes = tuple(scenes[name] for name in self.names)
        self.labels = torch.tensor([CLASSES.index(scene) for scene in self.scenes], dtype=torch.int64)
        kinds = f"{self.options}/*.png", "intrinsics.txt"
        self.sources = tuple(_only(self.root / name, kind) for kind in kinds for name in self.names)  # depth first

    def picture(self, row: int) -> Image:
        """See `RGBDFrames`."""
        return read_picture(_only(self.root / self.names[row], "image/*.jpg"))

    def depth(self, row: int) -> np.ndarray:
        """See `RGBDFrames`."""
        return decode_depth(read_levels(self.sources[row]))

    def camera(self, row: int) -> np.ndarray:
        """See `RGBDFrames`."""
        return _numbers(self.root / self.names[row] / "intrinsics.txt", (3, 3))

    def rotation(self, row: int) -> np.ndarray:
        """``(3, 3)`` float64, from the camera's axes to upright ones: its second row is straight down."""
        return _numbers(_only(self.root / self.names[row], "extrinsics/*.txt"), (3, 4))[:, :3]


def decode_depth(levels: np.ndarray) -> np.ndarray:
    """Metres, float32 ``(H, W)``, at most 8, of uint16 levels: millimetres whose bits are rotated left by three.

    >>> decode_depth(np.array([[1600 << 3, 0, 1 << 3 | 1]], dtype=np.uint16))
    array([[1.6, 0. , 8. ]], dtype=float32)
    """
    millimetres = (levels >> 3) | (levels << 13)
    return np.minimum(millimetres.astype(np.float32) / 1000, FARTHEST)


def protocol(listed: Mapping[str, Sequence[str]], scenes: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The frames of the 19 classes and the split of each.

    Args:
        listed: The names of each split's frames.
        scenes: The type of scene of a frame; one without is left out.
    """
    chosen = [(name, split) for split in SPLITS for name in listed[split] if scenes.get(name) in CLASSES]
    return tuple(name for name, _ in chosen), tuple(split for _, split in chosen)


def read_split(path: Path) -> dict[str, tuple[str, ...]]:
    """``allsplit.mat``: the frames of ``train`` and ``test``, as folders below ``SUNRGBD``.

    Raises:
        DataNotFoundError: If it is missing, or another file.
    """
    if not path.is_file():
        raise DataNotFoundError(
            f"SUN RGB-D: expected the split {shown(path)}. It is in the toolbox: "
            f"{curl_line(f'{HOST}/SUNRGBDtoolbox.zip', 'SUNRGBDtoolbox.zip')}"
        )
    train, test = read_mat(path, [f"all{split}" for split in SPLITS], _below)
    check_names(train + test, path)
    return {"train": tuple(train), "test": tuple(test)}


def read_scene(folder: Path) -> str:
    """A frame's type of scene."""
    try:
        return (folder / "scene.txt").read_text(encoding="utf-8").strip()
    except OSError as error:
        raise DataNotFoundError(
            f"SUN RGB-D: expected {shown(folder)} with a scene.txt ({error.strerror}). Unpack SUNRGBD.zip anew."
        ) from error


def _below(cell: np.ndarray) -> str:
    return str.split(cell.item(), "SUNRGBD/", 1)[-1].strip("/")  # a TypeError if it holds no text


def _only(folder: Path, pattern: str) -> Path:
    """The one file of a kind; of several the last."""
    found = sorted(folder.glob(pattern))
    if not found:
        raise DataNotFoundError(f"SUN RGB-D: expected {shown(folder / pattern)}. Unpack SUNRGBD.zip anew.")
    return found[-1]


def _numbers(path: Path, shape: tuple[int, int]) -> np.ndarray:
    try:
        return np.array(path.read_text(encoding="utf-8").split(), dtype=np.float64).reshape(shape)
    except (OSError, ValueError) as error:
        raise DataNotFoundError(f"SUN RGB-D: expected {shape[0]} x {shape[1]} numbers in {shown(path)}.") from error
