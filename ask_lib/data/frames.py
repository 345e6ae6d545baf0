"""What the synthetic data sets share: a split as tensors in memory, drawn once and kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from ask_scenes.drawing import Drawing, Options, draw_split

Chosen = TypeVar("Chosen", bound=Options)


class Frames(torch.utils.data.Dataset[dict[str, torch.Tensor]], Generic[Chosen]):
    """Frames 0 to ``count - 1`` of a split: the base of ``Rooms`` and ``Objects``.

    Args:
        split: Name of the split.
        count: How many.
        seed: Of the data set.
        options: How the frames are drawn.
        root: Cache folder; by default the variable ``ASK_CACHE`` names it, else it is ``~/.cache/ask_lib``.
        workers: Processes that draw; 1 draws in this one. More are started afresh, so a script needs the usual
            ``if __name__ == "__main__"`` guard; a notebook does not.
        device: Where to draw. Each kind of device has shards of its own: they agree up to rounding only.
        progress: Show a bar while drawing.

    Attributes:
        rgb: ``(N, 3, H, W)`` uint8.
        label: ``(N,)`` int64.

    Raises:
        ChoiceError: If the split or the device does not exist.
        RangeError: If ``count`` or ``workers`` is not positive.
        CacheError: If the cache cannot be read or written.
        WorkerError: If a process ended early.
    """

    rgb: torch.Tensor
    label: torch.Tensor
    _usual: Chosen  # what is taken for no options
    _drawing_of: Callable[..., Drawing[Any]]

    def __init__(
        self,
        split: str,
        count: int,
        seed: int = 0,
        options: Chosen | None = None,
        *,
        root: str | Path | None = None,
        workers: int = 1,
        device: str = "cpu",
        progress: bool = True,
    ) -> None:
        self.split, self.seed, self.options = split, seed, options or self._usual
        drawing = self._drawing_of(split, seed, self.options, device)
        self._take(draw_split(drawing, count, root=root, processes=workers, progress=progress))

    def _take(self, arrays: dict[str, torch.Tensor]) -> None:
        """Keep the joined arrays of all shards."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.label)
