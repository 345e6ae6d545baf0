"""Frames from their keys: ``render_object`` for one, ``render_batch`` for many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ask_lib.checks import check_choice
from ask_scenes.drawing import usable_device
from ask_scenes.objects.classes import CHOICES, CLASSES, FAMILY_OF
from ask_scenes.objects.layout import VERSION, Layout, build
from ask_scenes.objects.options import QUALITIES, SPLITS, Array, ObjectFrame, ObjectOptions, box_of
from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.layout import SIDES
from ask_scenes.rooms.sensor import sense_colour

if TYPE_CHECKING:
    import torch

Key = tuple[int, int, str, int]


def render_object(
    index: int,
    *,
    seed: int = 0,
    split: str = "train",
    label: str | int | None = None,
    options: ObjectOptions | None = None,
    device: torch.device | str = "cpu",
) -> ObjectFrame:
    """Draw one frame.

    What stands where depends on the version, seed, split, index, label and options alone. Pixels agree between
    machines and devices up to rounding.

    Args:
        index: Number of the frame in its split.
        seed: The data set's seed.
        split: One of ``SPLITS``; no two splits share a frame.
        label: Name or number of the main object's class; by default the classes asked for take turns.
        options: How to draw it.
        device: Where to draw it.

    Returns:
        The frame.

    Raises:
        ChoiceError: If the split or the device does not exist, or the label is not among the classes asked for.
    """
    return render_batch([index], seed=seed, split=split, labels=[label], options=options, device=device)[0]


def render_batch(
    indices: Sequence[int],
    *,
    seed: int = 0,
    split: str = "train",
    labels: Sequence[str | int | None] | None = None,
    options: ObjectOptions | None = None,
    device: torch.device | str = "cpu",
) -> list[ObjectFrame]:
    """Draw several frames at once, which pays on a GPU; each is as ``render_object`` draws it."""
    from ask_scenes.rooms.render import draw

    check_choice("split", split, SPLITS)
    options = options or ObjectOptions()
    asked = list(labels) if labels is not None else [None] * len(indices)
    keys: list[Key] = [(VERSION, seed, split, index) for index in indices]
    layouts = [
        build(key, label_number(label, key[3], options), options) for key, label in zip(keys, asked, strict=True)
    ]
    height, width = options.size
    scenes = [layout.scene for layout in layouts]
    drawn = draw(scenes, height, width, QUALITIES[options.quality], usable_device(device))
    rgb, instance = drawn.rgb.cpu().numpy(), drawn.instance.cpu().numpy()
    return [_frame(rgb[i], instance[i], key, layout) for i, (key, layout) in enumerate(zip(keys, layouts, strict=True))]


def layout_of(
    index: int,
    *,
    seed: int = 0,
    split: str = "train",
    label: str | int | None = None,
    options: ObjectOptions | None = None,
) -> Layout:
    """The description from which a frame is drawn."""
    check_choice("split", split, SPLITS)
    options = options or ObjectOptions()
    return build((VERSION, seed, split, index), label_number(label, index, options), options)


def label_number(label: str | int | None, index: int, options: ObjectOptions) -> int:
    """Index into ``CLASSES`` of a label given by name, by number, or by the frame's index alone.

    Raises:
        ChoiceError: If it is not among the classes asked for.
    """
    names = CHOICES[options.classes]
    if label is None:
        return CLASSES.index(names[index % len(names)])
    if not isinstance(label, str):
        label = CLASSES[label] if 0 <= label < len(CLASSES) else str(label)
    check_choice("label", label, names)
    return CLASSES.index(label)


def _frame(rgb: Array, instance: Array, key: Key, layout: Layout) -> ObjectFrame:
    number = instance.astype(np.int64) - SIDES + 1
    number = np.where((number >= 1) & (number <= len(layout.labels)), number, 0)
    if not layout.scene.things[0].parts:
        number = np.zeros_like(number)
    mask = number == 1
    name = CLASSES[layout.labels[0]]
    return ObjectFrame(
        rgb=sense_colour(rgb, layout.scene.exposure, Draws("objects", "sensor", *key)),
        mask=mask,
        box=box_of(mask),
        instance=number.astype(np.uint8),
        label=layout.labels[0],
        labels=layout.labels,
        meta={
            "name": name, "family": FAMILY_OF[name], "setting": layout.setting, "version": key[0], "seed": key[1],
            "split": key[2], "index": key[3], "content": layout.content,
        },
    )  # fmt: skip
