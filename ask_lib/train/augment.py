"""From stored pictures to a network's input, with augmentation keyed by sample.

Every random draw is a hash of (seed, epoch, sample index, view, name of the draw): the same picture gets the same
treatment in whatever batch, order, process or device it comes. One draw serves all of a sample's inputs of one view, so
RGB and depth stay aligned; another view of the same picture is drawn independently.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch.nn import functional

from ask_lib.checks import check_choice, check_range, check_shape

_MASK = 0xFFFFFFFF
ERASE_AREA, ERASE_ASPECT = (0.02, 0.33), 0.3  # the defaults of Zhong et al.
Word = TypeVar("Word", int, torch.Tensor)


def mix(*keys: int) -> int:
    """One 32-bit number from several integers, for seeding; the same on every machine."""
    state = 0
    for key in keys:
        state = _hash((state ^ (key & _MASK)) + 0x9E3779B9)
    return state


def uniform(seed: int, epoch: int, index: torch.Tensor, draw: str) -> torch.Tensor:
    """One number in [0, 1) a sample, a hash of its arguments: ``(B,)`` float32, the same bits on CPU and GPU."""
    key = mix(seed, epoch, zlib.crc32(draw.encode()))
    return (_hash(_hash(index ^ key) ^ mix(key)) >> 8).to(torch.float32) * 2.0**-24


def _hash(x: Word) -> Word:
    """A 32-bit integer hash (Wellons' lowbias32); in int64 the low 32 bits of the products are exact."""
    x = x & _MASK
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _MASK
    return x ^ (x >> 16)


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Which augmentations, and how strong. All off by default.

    Attributes:
        flip: Probability of a horizontal flip.
        shift: Largest shift, as a fraction of each side; whole pixels, the border repeated (a padded random crop).
        crop: Smallest and largest area of a random crop resized to the input's size, e.g. (0.08, 1.0).
        aspect: Largest stretch of that crop's aspect ratio, e.g. 4/3; 1 keeps it.
        cutout: Side of a square set to the mean, as a fraction of the short side; centred anywhere, so it may reach
            over the border (DeVries and Taylor).
        erase: Probability of a random erasing (Zhong et al.): 2 to 33 % of the area, aspect ratio 0.3 to 1 / 0.3, set
            to the mean. Departs from paper: a rectangle larger than the picture is cut, where the paper draws again.
        brightness: A factor in [1 - b, 1 + b], pictures only.
        contrast: Distance from the picture's mean times a factor in [1 - c, 1 + c], pictures only.
    """

    flip: float = 0.0
    shift: float = 0.0
    crop: tuple[float, float] = (1.0, 1.0)
    aspect: float = 1.0
    cutout: float = 0.0
    erase: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0

    def __post_init__(self) -> None:
        for name in ("flip", "shift", "cutout", "erase", "brightness", "contrast"):
            check_range(f"augment.{name}", getattr(self, name), 0, 1)
        check_range("augment.crop[0]", self.crop[0], 0, 1, open_low=True)
        check_range("augment.crop[1]", self.crop[1], self.crop[0], 1)
        check_range("augment.aspect", self.aspect, 1)


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """How one input is prepared.

    Attributes:
        kind: ``image`` (bilinear when resized, brightness and contrast apply, uint8 is divided by 255), ``levels``
            (the same without brightness and contrast, for HHA, whose levels are lengths and angles), ``map`` (nearest,
            so that missing depth never blends with measured; geometry and erasing only) or ``labels`` (nearest,
            geometry only; they keep their type and are not normalised).
        mean: Subtracted, one number a channel or one for all.
        std: Divided by, likewise.
        source: The stored input that it is made from; empty: the one of its own name.
        view: Inputs of one view share their random draws. Two views of one picture are
            ``{"first": InputSpec(source="rgb"), "second": InputSpec(source="rgb", view=1)}``.
    """

    kind: str = "image"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    source: str = ""
    view: int = 0

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, ("image", "levels", "map", "labels"))


Inputs = dict[str, torch.Tensor]


def prepare(inputs: Inputs, specs: Mapping[str, InputSpec], dtype: torch.dtype = torch.float32) -> Inputs:
    """Inputs as a network takes them, without augmentation; stored ones without a spec pass as they are."""
    made = {
        name: x if specs[name].kind == "labels" else _normalise(_to_float(x, specs[name], dtype), specs[name])
        for name, x in _sources(inputs, specs)
    }
    return inputs | made


def prepare_augmented(
    inputs: Inputs,
    specs: Mapping[str, InputSpec],
    augment: Augment,
    seed: int,
    epoch: int,
    index: torch.Tensor,
    dtype: torch.dtype = torch.float32,
) -> Inputs:
    """Inputs as a network takes them, augmented: geometry, jitter, normalisation, erasing, in this order.

    Inputs with a spec are ``(B, C, H, W)``, of one size; others pass as they are. ``index`` is ``(B,)`` long: the
    samples' numbers in their data set, on the inputs' device.
    """
    chosen = dict(_sources(inputs, specs))
    size = _common_size(chosen)
    draws = {spec.view: Draw(seed, epoch, index, spec.view) for spec in specs.values()}
    masks = {view: _erased(augment, draw, size) for view, draw in draws.items()}
    out = dict(inputs)
    for name, x in chosen.items():
        spec = specs[name]
        draw = draws[spec.view]
        x = _to_float(_whole_pixels(x, augment, draw), spec, dtype)  # moved while it is small
        if augment.crop != (1.0, 1.0):
            x = _resized_crop(x, spec, augment, draw)
        if spec.kind == "labels":
            out[name] = x.to(chosen[name].dtype)
            continue
        if spec.kind == "image":
            x = _jitter(x, augment, draw)
        x = _normalise(x, spec)
        for mask in masks[spec.view]:
            x = x.masked_fill(mask, 0.0)
        out[name] = x
    return out


@dataclass(frozen=True)
class Draw:
    """The random numbers of one batch, by name."""

    seed: int
    epoch: int
    index: torch.Tensor
    view: int = 0

    def __call__(self, name: str, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """``(B,)`` float32, uniform in [low, high)."""
        name = f"{name}, view {self.view}" if self.view else name
        return low + (high - low) * uniform(self.seed, self.epoch, self.index, name)


def _sources(inputs: Inputs, specs: Mapping[str, InputSpec]) -> Iterator[tuple[str, torch.Tensor]]:
    for name, spec in specs.items():
        source = spec.source or name
        check_choice(f"input of {name!r}", source, inputs)
        yield name, inputs[source]


def _common_size(inputs: Inputs) -> tuple[int, int]:
    size: tuple[int, int] = (0, 0)
    for number, (name, x) in enumerate(inputs.items()):
        check_shape(name, x, "BCHW", "Give depth a channel axis with depth[:, None].")
        if number == 0:
            size = (x.shape[2], x.shape[3])
        check_shape(name, x, ("B", "C", *size), "A sample's inputs share one size.")
    return size


def _to_float(x: torch.Tensor, spec: InputSpec, dtype: torch.dtype) -> torch.Tensor:
    if spec.kind == "labels":
        return x.to(torch.float32)  # half precision would round numbers above 2048
    if x.dtype == torch.uint8 and spec.kind != "map":
        return x.to(dtype).div_(255)  # a new tensor: the caller's is uint8
    return x.to(dtype)


def _normalise(x: torch.Tensor, spec: InputSpec) -> torch.Tensor:
    if spec.mean == (0.0,) and spec.std == (1.0,):
        return x
    mean, std = (
        torch.tensor(values, dtype=x.dtype).to(x.device, non_blocking=True).view(1, -1, 1, 1)  # nothing waits
        for values in (spec.mean, spec.std)
    )
    return (x - mean).div_(std)


def _whole_pixels(x: torch.Tensor, augment: Augment, draw: Draw) -> torch.Tensor:
    """Shift and flip: every output pixel is one input pixel, of any type."""
    if not (augment.flip or augment.shift):
        return x
    samples, channels, height, width = x.shape
    rows = _shifted(height, draw, "shift y", int(augment.shift * height))  # (B, H)
    columns = _shifted(width, draw, "shift x", int(augment.shift * width))  # (B, W)
    flipped = draw("flip") < augment.flip
    columns = torch.where(flipped[:, None], width - 1 - columns, columns)
    place = (rows[:, :, None] * width + columns[:, None, :]).view(samples, 1, -1)  # (B, 1, HW)
    return x.flatten(2).gather(2, place.expand(-1, channels, -1)).view(x.shape)


def _shifted(size: int, draw: Draw, name: str, reach: int) -> torch.Tensor:
    shift = torch.floor(draw(name, -reach, reach + 1)).long()  # (B,) in -reach ... reach
    return (torch.arange(size, device=shift.device)[None] + shift[:, None]).clamp(0, size - 1)


def _resized_crop(x: torch.Tensor, spec: InputSpec, augment: Augment, draw: Draw) -> torch.Tensor:
    area = draw("crop area", *augment.crop)
    stretch = torch.exp(0.5 * math.log(augment.aspect) * draw("crop aspect", -1.0, 1.0))
    tall = (area.sqrt() / stretch).clamp(max=1.0)  # (B,) fractions of the sides
    wide = (area.sqrt() * stretch).clamp(max=1.0)
    centre_y = (1 - tall) * draw("crop y", -1.0, 1.0)  # in grid_sample's [-1, 1]
    centre_x = (1 - wide) * draw("crop x", -1.0, 1.0)
    zero = torch.zeros_like(tall)
    top = torch.stack([wide, zero, centre_x], dim=1)
    theta = torch.stack([top, torch.stack([zero, tall, centre_y], dim=1)], dim=1).to(x.dtype)  # (B, 2, 3)
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    mode = "bilinear" if spec.kind in ("image", "levels") else "nearest"
    return functional.grid_sample(x, grid, mode=mode, padding_mode="border", align_corners=False)


def _jitter(x: torch.Tensor, augment: Augment, draw: Draw) -> torch.Tensor:
    if not (augment.brightness or augment.contrast):
        return x
    bright, contrast = (
        (1 + draw(name, -reach, reach)).to(x.dtype)[:, None, None, None]  # (B, 1, 1, 1)
        for name, reach in (("brightness", augment.brightness), ("contrast", augment.contrast))
    )
    x = (x * bright).clamp_(0, 1)
    return torch.lerp(x.mean(dim=(1, 2, 3), keepdim=True), x, contrast).clamp_(0, 1)


def _erased(augment: Augment, draw: Draw, size: tuple[int, int]) -> list[torch.Tensor]:
    """Rectangles to set to the mean: bool ``(B, 1, H, W)`` each."""
    masks = [_cutout(augment, draw, size)] if augment.cutout else []
    return [*masks, _erasing(augment, draw, size)] if augment.erase else masks


def _cutout(augment: Augment, draw: Draw, size: tuple[int, int]) -> torch.Tensor:
    side = max(1, round(augment.cutout * min(size)))
    top = torch.floor(draw("cutout y", 0, size[0])) - side // 2
    left = torch.floor(draw("cutout x", 0, size[1])) - side // 2
    return _rectangles(top, left, torch.full_like(top, side), torch.full_like(top, side), size)


def _erasing(augment: Augment, draw: Draw, size: tuple[int, int]) -> torch.Tensor:
    height, width = size
    area = draw("erase area", *ERASE_AREA) * (height * width)
    reach = -math.log(ERASE_ASPECT)
    ratio = torch.exp(draw("erase aspect", -reach, reach))
    tall = torch.round(torch.sqrt(area * ratio)).clamp(1, height)
    wide = torch.round(torch.sqrt(area / ratio)).clamp(1, width)
    top = torch.floor(draw("erase y") * (height - tall + 1))
    left = torch.floor(draw("erase x") * (width - wide + 1))
    return _rectangles(top, left, tall, wide, size) & (draw("erase") < augment.erase)[:, None, None, None]


def _rectangles(
    top: torch.Tensor, left: torch.Tensor, tall: torch.Tensor, wide: torch.Tensor, size: tuple[int, int]
) -> torch.Tensor:
    rows = torch.arange(size[0], device=top.device)[None]  # (1, H)
    columns = torch.arange(size[1], device=top.device)[None]
    inside_y = (rows >= top[:, None]) & (rows < (top + tall)[:, None])  # (B, H)
    inside_x = (columns >= left[:, None]) & (columns < (left + wide)[:, None])
    return (inside_y[:, :, None] & inside_x[:, None, :])[:, None]  # (B, 1, H, W)
