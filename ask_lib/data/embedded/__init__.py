"""What the embedded data sets share: shards on disk, drawing in several processes, sheets, probes, command lines.

``ask_lib.data.rooms`` and ``ask_lib.data.objects`` say what a frame holds and how it is drawn; the rest is here.
"""

from __future__ import annotations

from ask_lib.data.embedded.drawing import Drawing, draw_split
from ask_lib.data.embedded.shards import cache_folder

__all__ = ["Drawing", "cache_folder", "draw_split"]
