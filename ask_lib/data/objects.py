"""A split of objects as tensors in memory, drawn once and kept on disk."""

from __future__ import annotations

import torch

from ask_lib.data.frames import Frames
from ask_scenes.objects import CLASSES, FAMILIES, FAMILY_OF, ObjectOptions
from ask_scenes.objects.classes import CHOICES
from ask_scenes.objects.split import drawing_of


class Objects(Frames[ObjectOptions]):
    """Frames 0 to ``count - 1`` of a split; what it takes and raises is said at ``Frames``.

    Learn on the split ``train``, choose on ``val``, report on ``test``; queries come from ``test`` and are searched for
    in ``gallery``. ``options.classes`` says whose objects; a count that is a multiple of their number is balanced.

    Attributes:
        rgb: ``(N, 3, H, W)`` uint8.
        mask: ``(N, H, W)`` bool, where the main object is seen.
        box: ``(N, 4)`` int64, x0, y0, x1, y1 half-open in pixels, about the mask.
        label: ``(N,)`` int64, index into ``CLASSES``.
        family: ``(N,)`` int64, index into ``FAMILIES``.
        instance: ``(N, H, W)`` uint8, 1 = the main object, 2, 3, ... the others, 0 all else.
        labels: ``(N, count)`` int64, the classes of all the objects.
    """

    _usual, _drawing_of = ObjectOptions(), staticmethod(drawing_of)

    def _take(self, arrays: dict[str, torch.Tensor]) -> None:
        self.rgb, self.instance = arrays["rgb"], arrays["instance"]
        self.mask = self.instance == 1
        self.box, self.labels = arrays["box"], arrays["labels"]
        self.label = self.labels[:, 0].contiguous()
        self.family = torch.tensor([FAMILIES.index(FAMILY_OF[CLASSES[int(label)]]) for label in self.label])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that are shown."""
        return CHOICES[self.options.classes]

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {name: getattr(self, name)[index] for name in ("rgb", "mask", "box", "label", "family")}
