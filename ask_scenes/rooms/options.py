"""What can be asked of a frame, and what a frame holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ask_lib.checks import check_choice, check_range
from ask_lib.errors import ChoiceError, ShapeError
from ask_scenes.shards import Array as Array

SPLITS: tuple[str, ...] = ("train", "val", "test", "pretrain")


@dataclass(frozen=True)
class Quality:
    """What a picture may cost.

    Attributes:
        samples: Samples a pixel on each side; 2 is four in all.
        bounces: Points that send light back from the room's sides.
        shadow_map: Cells of a light's map on a side.
    """

    samples: int = 2
    bounces: int = 6
    shadow_map: int = 48


QUALITIES = {"dataset": Quality(), "figure": Quality(samples=3, bounces=36, shadow_map=128)}


@dataclass(frozen=True)
class RoomOptions:
    """How a room is drawn. Nothing here changes what stands where.

    Attributes:
        size: Height and width in pixels, 3 : 4.
        depth_noise: Strength of the depth sensor's faults; 0 gives exact depth, 1 a poor structured-light
            sensor: errors of a few centimetres at two metres, holes on dark, slanted and far surfaces.
        remove_key_objects: Leave out the objects that tell the class, and what stands on them.
        remove_distractors: Leave out the objects that do not; windows, doors, radiators and lamps stay.
        camera_height: Metres above the floor, instead of the frame's own.
        camera_pitch: Radians, negative looks down, instead of the frame's own.
        exact: Keep exact depth and normals with every frame.
        quality: ``dataset`` or ``figure``; more samples and softer shadows for pages, at ten times the price.
    """

    size: tuple[int, int] = (120, 160)
    depth_noise: float = 1.0
    remove_key_objects: bool = False
    remove_distractors: bool = False
    camera_height: float | None = None
    camera_pitch: float | None = None
    exact: bool = False
    quality: str = "dataset"

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ShapeError: If the size is not 3 : 4.
            RangeError: If a number lies outside its range.
            ChoiceError: If the quality is unknown.
        """
        if len(self.size) != 2 or 4 * self.size[0] != 3 * self.size[1] or self.size[0] < 12:
            raise ShapeError(f"size: expected (height, width) as 3 : 4, such as (120, 160), got {self.size!r}.")
        object.__setattr__(self, "size", (int(self.size[0]), int(self.size[1])))
        check_range("depth_noise", self.depth_noise, 0.0, 10.0)
        if self.camera_height is not None:
            check_range("camera_height", self.camera_height, 0.3, 2.3)
        if self.camera_pitch is not None:
            check_range("camera_pitch", self.camera_pitch, -1.2, 1.2)
        check_choice("quality", self.quality, QUALITIES)


@dataclass(frozen=True)
class RoomFrame:
    """One frame.

    Attributes:
        rgb: ``(3, H, W)`` uint8.
        depth: ``(H, W)`` float32, metres along the camera's axis, as the sensor gives it; 0 = missing.
        exact_depth: ``(H, W)`` float32, metres, never missing.
        normal: ``(3, H, W)`` float32, unit, camera axes (x right, y down, z ahead).
        instance: ``(H, W)`` uint8; 0 to 5 are the sides of the room (-x, +x, -y, +y, floor, ceiling).
        category: ``(H, W)`` uint8, index into ``CATEGORIES``.
        key_mask: ``(H, W)`` bool, the objects that tell the class.
        intrinsics: ``(3, 3)`` float64, pixel centres at whole numbers.
        pose: ``(4, 4)`` float64, camera axes to the room's (x right, y away from the camera's wall, z up; metres).
        label: Index into ``LABELS``.
        meta: ``kind`` of room, ``version``, ``seed``, ``split``, ``index``, ``content`` hash, ``dim``,
            ``camouflage``, ``key_objects`` (names), room ``size``.
    """

    rgb: Array
    depth: Array
    exact_depth: Array
    normal: Array
    instance: Array
    category: Array
    key_mask: Array
    intrinsics: Array
    pose: Array
    label: int
    meta: dict[str, Any] = field(default_factory=dict)

    def points(self) -> Array:
        """Where each pixel lies in the room, ``(H, W, 3)`` metres, from the exact depth."""
        height, width = self.exact_depth.shape
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(self.intrinsics).T
        local = rays * self.exact_depth[..., None].astype(np.float64)
        points: Array = local @ self.pose[:3, :3].T + self.pose[:3, 3]
        return points


def label_number(label: str | int | None, index: int, labels: tuple[str, ...]) -> int:
    """The number of a label given by name, by number, or by the index alone (balanced over the labels).

    Raises:
        ChoiceError: If there is no such label.
    """
    if label is None:
        return index % len(labels)
    if isinstance(label, str):
        check_choice("label", label, labels)
        return labels.index(label)
    if not 0 <= label < len(labels):
        raise ChoiceError(f"label: expected 0 to {len(labels) - 1} or a name, got {label!r}.")
    return label
