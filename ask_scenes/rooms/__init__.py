"""Rooms: synthetic indoor scenes with colour, depth, masks and labels, drawn by ray casting.

``render_room`` draws one frame; ``ask_lib.data.rooms.Rooms`` is a split. ``python -m ask_scenes.rooms --help`` makes
contact sheets and splits.
"""

from __future__ import annotations

from ask_scenes.rooms.frames import render_batch, render_room, scene_of
from ask_scenes.rooms.furniture.design import CATEGORIES
from ask_scenes.rooms.layout import VERSION, Scene, content_hash
from ask_scenes.rooms.options import SPLITS, RoomFrame, RoomOptions
from ask_scenes.rooms.scenes import LABELS, OTHER_ROOMS

__all__ = [
    "CATEGORIES",
    "LABELS",
    "OTHER_ROOMS",
    "SPLITS",
    "VERSION",
    "RoomFrame",
    "RoomOptions",
    "Scene",
    "content_hash",
    "render_batch",
    "render_room",
    "scene_of",
]
