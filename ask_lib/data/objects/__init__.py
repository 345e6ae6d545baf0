"""Objects: embedded fine-grained pictures of one object amid clutter, with masks and boxes, drawn by ray casting.

``render_object`` draws one frame, ``Objects`` a split. ``python -m ask_lib.data.objects --help`` makes contact sheets
and splits, times the drawing and runs the probes.
"""

from __future__ import annotations

from ask_lib.data.objects.classes import CLASSES, FAMILIES, FAMILY_OF, JUDGE_CLASSES, TRAIN_CLASSES
from ask_lib.data.objects.dataset import Objects
from ask_lib.data.objects.frames import layout_of, render_batch, render_object
from ask_lib.data.objects.layout import VERSION, Layout
from ask_lib.data.objects.options import SPLITS, ObjectFrame, ObjectOptions
from ask_lib.data.objects.setting import SETTINGS

__all__ = [
    "CLASSES",
    "FAMILIES",
    "FAMILY_OF",
    "JUDGE_CLASSES",
    "SETTINGS",
    "SPLITS",
    "TRAIN_CLASSES",
    "VERSION",
    "Layout",
    "ObjectFrame",
    "ObjectOptions",
    "Objects",
    "layout_of",
    "render_batch",
    "render_object",
]
