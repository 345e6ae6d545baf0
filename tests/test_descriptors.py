"""The shared descriptor functions and SCDA's first two steps, against loops and limits."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ask_lib.errors import ShapeError
from ask_lib.methods.descriptors import above_mean, l2_normalize, signed_sqrt, to_descriptors
from ask_lib.methods.scda import activation_map, mean_mask


def features(batch: int, channels: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, channels, height, width, generator=generator).sub(0.4).relu()


def activation_loop(maps: torch.Tensor) -> list[list[list[float]]]:
    batch, channels, height, width = maps.shape
    values = maps.double().tolist()
    return [
        [[sum(values[b][c][y][x] for c in range(channels)) for x in range(width)] for y in range(height)]
        for b in range(batch)
    ]


def mask_loop(values: list[list[float]]) -> list[list[bool]]:
    cells = [value for row in values for value in row]
    mean = math.fsum(cells) / len(cells)
    return [[value > mean and max(cells) > min(cells) for value in row] for row in values]


def test_to_descriptors_lists_cells_row_by_row():
    maps = features(2, 5, 3, 4)
    listed = to_descriptors(maps)
    assert listed.shape == (2, 12, 5)
    for y in range(3):
        for x in range(4):
            assert torch.equal(listed[:, y * 4 + x], maps[:, :, y, x])


@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 7), st.integers(1, 7), st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_scda_1_and_2_equal_the_loops(batch: int, channels: int, height: int, width: int, seed: int):
    """Tags: [SCDA-1] and [SCDA-2]."""
    maps = features(batch, channels, height, width, seed).double()
    expected = torch.tensor(activation_loop(maps), dtype=torch.float64)
    torch.testing.assert_close(activation_map(maps), expected, rtol=1e-12, atol=1e-12)
    masks = torch.tensor([mask_loop(values) for values in activation_map(maps).tolist()])
    assert torch.equal(mean_mask(maps), masks)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 7.7, 1e-20, 1e20])
def test_a_constant_map_selects_nothing(value: float):
    """In float32 a mean can round below the constant; then every cell would pass."""
    assert not above_mean(torch.full((2, 13, 13), value)).any()


def test_the_mean_itself_is_not_above_the_mean():
    assert above_mean(torch.tensor([[[1.0, 2.0, 3.0]]])).tolist() == [[[False, False, True]]]


def test_the_factor_moves_the_threshold():
    maps = torch.tensor([[[1.0, 2.0, 3.0, 6.0]]])  # mean 3
    assert above_mean(maps, 0.5).tolist() == [[[False, True, True, True]]]
    assert above_mean(maps, 2.0).tolist() == [[[False, False, False, False]]]


def test_scale_does_not_change_the_mask():
    maps = features(2, 8, 6, 6).sum(1)
    assert torch.equal(above_mean(maps), above_mean(maps * 1024))


def test_a_batch_of_two_is_two_of_one():
    maps = features(2, 8, 5, 7)
    single = torch.cat([mean_mask(maps[:1]), mean_mask(maps[1:])])
    assert torch.equal(mean_mask(maps), single)


def test_l2_normalize_keeps_zero_and_makes_unit_length():
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-20, 0.0]])
    torch.testing.assert_close(l2_normalize(x), torch.tensor([[0.6, 0.8], [0.0, 0.0], [1.0, 0.0]]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_l2_normalize_at_the_ends_of_the_range(dtype: torch.dtype):
    """Squares of these overflow or vanish."""
    limits = torch.finfo(dtype)
    for scale in (limits.max / 8, limits.tiny * 8, 1.0, *([1e25, 1e-30] if dtype != torch.float16 else [])):
        result = l2_normalize(torch.tensor([[3.0, -4.0], [0.0, 0.0]], dtype=torch.float64).mul(scale).to(dtype))
        assert result.dtype == dtype
        expected = torch.tensor([[0.6, -0.8], [0.0, 0.0]], dtype=dtype)
        torch.testing.assert_close(result, expected, rtol=2 * limits.eps, atol=0)


def test_l2_normalize_along_any_axis_of_any_size():
    x = features(2, 3, 4, 5)
    for dim in range(4):
        torch.testing.assert_close(l2_normalize(x, dim), torch.nn.functional.normalize(x, dim=dim))
    assert l2_normalize(torch.zeros(0, 3)).shape == (0, 3) and l2_normalize(torch.zeros(3, 0)).shape == (3, 0)
    assert l2_normalize(torch.tensor([float("nan"), 1.0])).isnan().all()  # never half of a vector


def test_l2_normalize_has_a_right_gradient():
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(l2_normalize, (x,)) and torch.autograd.gradgradcheck(l2_normalize, (x,))
    large = (x.detach() * 1e200).requires_grad_()
    (expected,) = torch.autograd.grad(l2_normalize(x)[:, 0].sum(), x)
    (got,) = torch.autograd.grad(l2_normalize(large)[:, 0].sum(), large)
    torch.testing.assert_close(got * 1e200, expected, rtol=1e-12, atol=1e-14)


def test_l2_normalize_has_a_finite_gradient_at_zero():
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0]], requires_grad=True)
    l2_normalize(x).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[1.0, 1.0], [0.0, 1.0]]


def test_signed_sqrt_has_gradient_zero_at_zero():
    x = torch.tensor([-4.0, 0.0, -0.0, 16.0], requires_grad=True)
    signed_sqrt(x.relu()).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [0.0, 0.0, 0.0, 0.125]
    x = torch.tensor([-4.0, 0.0, 1.0], requires_grad=True)
    signed_sqrt(x).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [0.25, 0.0, 0.5]
    y = torch.randn(9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(signed_sqrt, (y,))


def test_signed_sqrt():
    assert signed_sqrt(torch.tensor([-4.0, 0.0, 9.0])).tolist() == [-2.0, 0.0, 3.0]


@pytest.mark.parametrize("function", [to_descriptors, activation_map, mean_mask])
def test_a_map_without_batch_is_refused_with_advice(function):  # type: ignore[no-untyped-def]
    with pytest.raises(ShapeError, match=r"features\[None\]"):
        function(torch.zeros(3, 4, 4))
