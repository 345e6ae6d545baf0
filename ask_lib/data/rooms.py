"""A split of rooms as tensors in memory, drawn once and kept on disk."""

from __future__ import annotations

import torch

from ask_lib.data.frames import Frames
from ask_lib.methods.hha import hha_batch
from ask_scenes.rooms import RoomOptions
from ask_scenes.rooms.split import drawing_of


class Rooms(Frames[RoomOptions]):
    """Frames 0 to ``count - 1`` of a split; what it takes and raises is said at ``Frames``.

    Chapters train on the split ``train``, choose on ``val`` and report on ``test``; the networks that ship saw
    ``pretrain`` only. A count that is a multiple of ten is balanced over the labels.

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
    """

    _usual, _drawing_of = RoomOptions(), staticmethod(drawing_of)

    def _take(self, arrays: dict[str, torch.Tensor]) -> None:
        self.rgb, self.label = arrays["rgb"], arrays["label"]
        self.depth_mm = arrays["depth_mm"].to(torch.int32)
        self.instance, self.category, self.key_mask = arrays["instance"], arrays["category"], arrays["key_mask"]
        self.intrinsics, self.pose = arrays["intrinsics"], arrays["pose"]
        self.exact_depth_mm = arrays["exact_depth_mm"].to(torch.int32) if self.options.exact else None
        self.normal = arrays["normal"] if self.options.exact else None

    @property
    def depth(self) -> torch.Tensor:
        """Sensor depth, ``(N, H, W)`` float32, metres, 0 = missing."""
        return self.depth_mm.float() / 1000

    def hha(self) -> torch.Tensor:
        """HHA of the sensor's depth, computed anew in each call: ``(N, 3, H, W)`` uint8."""
        one = torch.tensor([[0, 0, 1], [0, 0, 1], [0, 0, 0]])  # HHA counts pixels from 1
        parts = zip(torch.split(self.depth, 10), torch.split(self.intrinsics + one, 10), strict=True)
        return torch.cat([hha_batch(depth, cameras) for depth, cameras in parts])

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        held = ("rgb", "key_mask", "category", "intrinsics", "pose", "label")
        return {name: getattr(self, name)[index] for name in held} | {"depth": self.depth_mm[index].float() / 1000}
