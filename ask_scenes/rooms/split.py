"""A split of rooms on disk: what its shards hold."""

from __future__ import annotations

from functools import partial

import numpy as np

from ask_lib.checks import check_choice
from ask_scenes.drawing import Drawing
from ask_scenes.rooms.frames import render_batch
from ask_scenes.rooms.layout import VERSION
from ask_scenes.rooms.options import SPLITS, Array, RoomFrame, RoomOptions

SHARD = 50


def drawing_of(split: str, seed: int, options: RoomOptions, device: str = "cpu") -> Drawing[RoomFrame]:
    """What the shards of a split hold.

    Raises:
        ChoiceError: If there is no such split.
    """
    check_choice("split", split, SPLITS)
    stack = partial(_stack, exact=options.exact)
    return Drawing("rooms", VERSION, "", split, seed, options, device, render_batch, stack, SHARD)


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
