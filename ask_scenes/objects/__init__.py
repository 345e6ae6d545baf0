"""Objects: synthetic fine-grained pictures of one object amid clutter, with masks and boxes, drawn by ray casting.

``render_object`` draws one frame; ``ask_lib.data.objects.Objects`` is a split. ``python -m ask_scenes.objects --help``
makes contact sheets and splits and times the drawing.
"""

from __future__ import annotations

from ask_scenes.objects.classes import CLASSES, FAMILIES, FAMILY_OF, JUDGE_CLASSES, TRAIN_CLASSES
from ask_scenes.objects.frames import layout_of, render_batch, render_object
from ask_scenes.objects.layout import VERSION, Layout
from ask_scenes.objects.options import SPLITS, ObjectFrame, ObjectOptions
from ask_scenes.objects.setting import SETTINGS

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
    "layout_of",
    "render_batch",
    "render_object",
]
