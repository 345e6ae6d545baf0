"""A split of rooms as tensors in memory, drawn once and kept on disk."""

from __future__ import annotations

from pathlib import Path

import torch

from ask_lib.checks import check_choice
from ask_scenes.drawing import draw_split
from ask_scenes.rooms import LABELS, SPLITS, RoomOptions
from ask_scenes.rooms.split import drawing_of


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
        device: Where to draw. Each kind of device has shards of its own: they agree up to rounding only.
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
        self.split, self.seed, self.options = split, seed, options or RoomOptions()
        drawing = drawing_of(split, seed, self.options, device)
        joined = draw_split(drawing, count, root=root, processes=workers, progress=progress)
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
