"""A split of objects on disk: what its shards hold."""

from __future__ import annotations

import numpy as np

from ask_lib.checks import check_choice
from ask_scenes.drawing import Drawing
from ask_scenes.objects.frames import render_batch
from ask_scenes.objects.layout import VERSION
from ask_scenes.objects.options import SPLITS, Array, ObjectFrame, ObjectOptions

SHARD = 64


def drawing_of(split: str, seed: int, options: ObjectOptions, device: str = "cpu") -> Drawing[ObjectFrame]:
    """What the shards of a split hold.

    Raises:
        ChoiceError: If there is no such split.
    """
    check_choice("split", split, SPLITS)
    return Drawing("objects", VERSION, options.classes, split, seed, options, device, render_batch, _stack, SHARD)


def _stack(frames: list[ObjectFrame]) -> dict[str, Array]:
    return {
        "rgb": np.stack([f.rgb for f in frames]),
        "instance": np.stack([f.instance for f in frames]),
        "box": np.stack([f.box for f in frames]),
        "labels": np.array([f.labels for f in frames], np.int64),
    }
