"""Rooms: embedded indoor scenes with colour, depth, masks and labels, drawn by ray casting.

``render_room`` draws one frame, ``Rooms`` a split. ``python -m ask_lib.data.rooms --help`` makes contact sheets and
splits and runs the probes.
"""

from __future__ import annotations

from ask_lib.data.embedded import cache_folder
from ask_lib.data.rooms.dataset import Rooms
from ask_lib.data.rooms.frames import render_batch, render_room, scene_of
from ask_lib.data.rooms.furniture.design import CATEGORIES
from ask_lib.data.rooms.layout import VERSION, Scene, content_hash
from ask_lib.data.rooms.options import SPLITS, RoomFrame, RoomOptions
from ask_lib.data.rooms.scenes import LABELS, OTHER_ROOMS

__all__ = [
    "CATEGORIES",
    "LABELS",
    "OTHER_ROOMS",
    "SPLITS",
    "VERSION",
    "RoomFrame",
    "RoomOptions",
    "Rooms",
    "Scene",
    "cache_folder",
    "content_hash",
    "render_batch",
    "render_room",
    "scene_of",
]
