from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as reference

from ask_lib.data.transforms import centre_crop, normalize, resize, target_size, to_tensor
from ask_lib.errors import ChoiceError, RangeError, ShapeError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def picture(height: int = 90, width: int = 120) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_to_tensor_equals_torchvisions() -> None:
    assert torch.equal(to_tensor(picture()), reference.to_tensor(picture()))
    assert torch.equal(to_tensor(np.asarray(picture())), reference.to_tensor(picture()))
    for wrong in (picture().convert("L"), np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8)):
        with pytest.raises(ShapeError, match="to_rgb"):
            to_tensor(wrong)


def test_normalize_equals_torchvisions_and_goes_back() -> None:
    x = to_tensor(picture())[None]
    y = normalize(x, MEAN, STD)
    torch.testing.assert_close(y, reference.normalize(x, MEAN, STD), rtol=0, atol=1e-6)
    assert normalize(x.double(), MEAN, STD).dtype == torch.float64
    with pytest.raises(ShapeError, match="3 means"):
        normalize(x[:, :2], MEAN, STD)


@pytest.mark.parametrize(("height", "width"), [(90, 120), (121, 77), (64, 64), (33, 200)])
def test_short_side_and_crop_equal_torchvisions(height: int, width: int) -> None:
    p = picture(height, width)
    want = reference.resize(p, 64, InterpolationMode.BICUBIC, antialias=True)
    got = resize(p, 64)
    assert np.array_equal(np.asarray(got), np.asarray(want))
    assert np.array_equal(np.asarray(centre_crop(got, 60)), np.asarray(reference.center_crop(want, [60, 60])))


def test_area() -> None:
    assert resize(picture(), 128, "area").size == (160, 96)
    assert target_size((480, 640), 512, "area") == (448, 576)  # 443.4 x 591.2 before rounding
    assert target_size((512, 512), 512, "area") == (512, 512)


@given(st.integers(32, 3000), st.integers(32, 3000), st.sampled_from([128, 224, 512]))
def test_area_keeps_about_the_pixels_and_the_aspect(height: int, width: int, size: int) -> None:
    h, w = target_size((height, width), size, "area")
    assert h % 32 == 0 and w % 32 == 0 and min(h, w) >= 32
    exact = np.sqrt(size * size * height / width)
    assert abs(h - exact) <= 16 or h == 32


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ChoiceError, match="area"):
        resize(picture(), 50, "squash")  # type: ignore[arg-type]
    with pytest.raises(RangeError):
        resize(picture(), 0)
    with pytest.raises(RangeError, match="90 x 120, smaller than 100 x 100"):
        centre_crop(picture(), 100)
