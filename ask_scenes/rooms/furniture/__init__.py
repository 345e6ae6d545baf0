"""Furniture: functions that draw one design each, from a stream of draws and the room's palette."""

from __future__ import annotations

from ask_scenes.rooms.furniture.design import CATEGORIES, Design, Maker

__all__ = ["CATEGORIES", "Design", "Maker"]
