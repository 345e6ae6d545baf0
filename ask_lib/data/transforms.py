"""Pictures to tensors and back: sizes, crops, normalisation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from ask_lib.checks import check_choice, check_range
from ask_lib.errors import RangeError, ShapeError

if TYPE_CHECKING:
    from PIL.Image import Image

Mode = Literal["short", "warp", "area"]

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


def resize(picture: Image, size: int | tuple[int, int], mode: Mode = "short") -> Image:
    """Resize, antialiased (bicubic).

    Args:
        picture: RGB.
        size: Pixels; (H, W) is allowed for ``warp``.
        mode: ``short``: the short side becomes ``size``, the aspect stays. ``warp``: exactly ``size``, whatever the
            aspect. ``area``: about ``size`` squared pixels, the aspect kept as far as sides divisible by 32 allow.

    Raises:
        ChoiceError: If there is no such mode.
        RangeError: If a size is not positive.
        ShapeError: If two sizes are given but ``mode`` takes one.
    """
    from PIL.Image import Resampling

    height, width = target_size((picture.height, picture.width), size, mode)
    if (picture.height, picture.width) == (height, width):
        return picture
    return picture.resize((width, height), Resampling.BICUBIC)


def target_size(current: tuple[int, int], size: int | tuple[int, int], mode: Mode = "short") -> tuple[int, int]:
    """(H, W) that ``resize`` gives a picture of ``current`` (H, W)."""
    check_choice("mode", mode, ["short", "warp", "area"])
    sides = (size, size) if isinstance(size, int) else size
    for side in sides:
        check_range("size", side, 1)
    if mode == "warp":
        return sides
    if not isinstance(size, int):
        raise ShapeError(f"size: mode {mode!r} takes one number, got {size}. Use mode='warp' for an exact (H, W).")
    height, width = current
    if mode == "short":
        short = min(height, width)
        return max(size, int(size * height / short)), max(size, int(size * width / short))  # as torchvision rounds
    scale = size / math.sqrt(height * width)
    return _to_multiple(height * scale), _to_multiple(width * scale)


def centre_crop(picture: Image, size: int | tuple[int, int]) -> Image:
    """The middle (H, W) of a picture.

    Raises:
        RangeError: If the picture is smaller.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if picture.height < height or picture.width < width:
        raise RangeError(
            f"centre_crop: the picture is {picture.height} x {picture.width}, smaller than {height} x {width}. "
            "Resize it first."
        )
    left, top = round((picture.width - width) / 2), round((picture.height - height) / 2)
    return picture.crop((left, top, left + width, top + height))


def batch(
    pictures: Iterable[Image],
    size: int | tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    mode: Mode = "short",
) -> torch.Tensor:
    """Pictures as one normalised batch ``(B, 3, H, W)``.

    Args:
        pictures: RGB.
        size: Pixels; (H, W) only with ``warp``.
        mean: Of the network, for RGB in 0..1.
        std: Of the network.
        mode: As in ``resize``; after ``short`` the middle square is cut out.

    Raises:
        ShapeError: If there is no picture, or if sizes differ after ``area``.
    """
    ready = [resize(picture, size, mode) for picture in pictures]
    if not ready:
        raise ShapeError("pictures: expected at least one, got none.")
    if mode == "short":
        ready = [centre_crop(picture, size) for picture in ready]
    sizes = {(picture.height, picture.width) for picture in ready}
    if len(sizes) > 1:
        raise ShapeError(
            f"pictures: sizes differ after mode='area': {sorted(sizes)[:4]}. Batch those of one size, or one by one."
        )
    return normalize(torch.stack([to_tensor(picture) for picture in ready]), mean, std)  # (B, 3, H, W)


def _to_multiple(side: float) -> int:
    return max(MULTIPLE, MULTIPLE * round(side / MULTIPLE))
