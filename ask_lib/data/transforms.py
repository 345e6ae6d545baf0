"""Pictures to tensors and back: sizes, crops, normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from ask_lib.checks import check_choice, check_range
from ask_lib.errors import RangeError, ShapeError

if TYPE_CHECKING:
    from PIL.Image import Image

Mode = Literal["short", "area"]

MULTIPLE = 32  # of the sides that "area" gives: the largest stride of the usual networks


def to_tensor(picture: Image | np.ndarray) -> torch.Tensor:
    """A picture as ``(3, H, W)``, float in 0..1.

    Args:
        picture: RGB from PIL, or uint8 ``(H, W, 3)``.

    Raises:
        ShapeError: If it is not RGB with 8 bits.
    """
    pixels = np.asarray(picture)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ShapeError(
            f"picture: expected uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}. "
            "ask_lib.data.image_folder.to_rgb makes RGB of any PIL picture."
        )
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous().float() / 255  # (3, H, W)


def normalize(images: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """``(image - mean) / std``, channel by channel, of ``(..., C, H, W)``."""
    if images.ndim < 3 or images.shape[-3] != len(mean) or len(mean) != len(std):
        raise ShapeError(
            f"images: expected (..., {len(mean)}, H, W) for {len(mean)} means and {len(std)} stds, "
            f"got {tuple(images.shape)}."
        )
    m, s = images.new_tensor(mean)[:, None, None], images.new_tensor(std)[:, None, None]  # (C, 1, 1)
    return (images - m) / s


def resize(picture: Image, size: int, mode: Mode = "short") -> Image:
    """Resize, antialiased (bicubic).

    Args:
        picture: RGB.
        size: Pixels.
        mode: ``short``: the short side becomes ``size``, the aspect stays. ``area``: about ``size`` squared pixels, the
            aspect kept as far as sides divisible by 32 allow.

    Raises:
        ChoiceError: If there is no such mode.
        RangeError: If ``size`` is not positive.
    """
    from PIL.Image import Resampling

    height, width = target_size((picture.height, picture.width), size, mode)
    if (picture.height, picture.width) == (height, width):
        return picture
    return picture.resize((width, height), Resampling.BICUBIC)


def target_size(current: tuple[int, int], size: int, mode: Mode = "short") -> tuple[int, int]:
    """(H, W) that ``resize`` gives a picture of ``current`` (H, W)."""
    check_choice("mode", mode, ["short", "area"])
    check_range("size", size, 1)
    if mode == "short":
        short = min(current)
        height, width = (max(size, int(size * side / short)) for side in current)  # as torchvision rounds
    else:
        sides = (side * size / math.sqrt(math.prod(current)) for side in current)
        height, width = (max(MULTIPLE, MULTIPLE * round(side / MULTIPLE)) for side in sides)
    return height, width


def warp(picture: Image, size: tuple[int, int]) -> Image:
    """The whole picture at a size (H, W), antialiased (bicubic); the aspect is not kept."""
    from PIL.Image import Resampling

    return picture.resize((size[1], size[0]), Resampling.BICUBIC)


def centre_crop(picture: Image, size: int) -> Image:
    """The middle square of a picture.

    Raises:
        RangeError: If the picture is smaller.
    """
    if min(picture.height, picture.width) < size:
        raise RangeError(
            f"centre_crop: the picture is {picture.height} x {picture.width}, smaller than {size} x {size}. "
            "Resize it first."
        )
    left, top = round((picture.width - size) / 2), round((picture.height - size) / 2)
    return picture.crop((left, top, left + size, top + size))
