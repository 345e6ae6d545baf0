"""A split of objects as tensors in memory, drawn once and kept on disk."""

from __future__ import annotations

from pathlib import Path

import torch

from ask_lib.checks import check_choice
from ask_scenes.drawing import draw_split
from ask_scenes.objects import CLASSES, FAMILIES, FAMILY_OF, SPLITS, ObjectOptions
from ask_scenes.objects.classes import CHOICES
from ask_scenes.objects.split import drawing_of


class Objects(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Frames 0 to ``count - 1`` of a split.

    Args:
        split: One of ``SPLITS``: learn on ``train``, choose on ``val``, report on ``test``; queries come from
            ``test`` and are searched for in ``gallery``.
        count: How many; a multiple of the number of classes is balanced.
        seed: Of the data set.
        options: How the frames are drawn; ``options.classes`` says whose objects.
        root: Cache folder; see ``ask_scenes.shards.cache_folder``.
        workers: Processes that draw; 1 draws in this one. More are started afresh, so a script needs the usual
            ``if __name__ == "__main__"`` guard; a notebook does not.
        device: Where to draw. Each kind of device has shards of its own: they agree up to rounding only.
        progress: Show a bar while drawing.

    Attributes:
        rgb: ``(N, 3, H, W)`` uint8.
        mask: ``(N, H, W)`` bool, where the main object is seen.
        box: ``(N, 4)`` int64, x0, y0, x1, y1 half-open in pixels, about the mask.
        label: ``(N,)`` int64, index into ``CLASSES``.
        family: ``(N,)`` int64, index into ``FAMILIES``.
        instance: ``(N, H, W)`` uint8, 1 = the main object, 2, 3, ... the others, 0 all else.
        labels: ``(N, count)`` int64, the classes of all the objects.

    Raises:
        ChoiceError: If the split does not exist.
        RangeError: If ``count`` is not positive.
    """

    def __init__(
        self,
        split: str,
        count: int,
        seed: int = 0,
        options: ObjectOptions | None = None,
        *,
        root: str | Path | None = None,
        workers: int = 1,
        device: str = "cpu",
        progress: bool = True,
    ) -> None:
        check_choice("split", split, SPLITS)
        self.split, self.seed, self.options = split, seed, options or ObjectOptions()
        drawing = drawing_of(split, seed, self.options, device)
        joined = draw_split(drawing, count, root=root, processes=workers, progress=progress)
        self.rgb, self.instance = joined["rgb"], joined["instance"]
        self.mask = self.instance == 1
        self.box, self.labels = joined["box"], joined["labels"]
        self.label = self.labels[:, 0].contiguous()
        self.family = torch.tensor([FAMILIES.index(FAMILY_OF[CLASSES[int(label)]]) for label in self.label])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that are shown."""
        return CHOICES[self.options.classes]

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {
            "rgb": self.rgb[index],
            "mask": self.mask[index],
            "box": self.box[index],
            "label": self.label[index],
            "family": self.family[index],
        }
