"""The shared descriptor functions and SCDA's first two steps, against loops and limits; PCA."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA as Decomposition

from ask_lib.errors import AskError, RangeError, ShapeError
from ask_lib.methods.descriptors import (
    PCA,
    above_mean,
    avg_pool,
    l2_normalize,
    max_pool,
    signed_sqrt,
    to_descriptors,
)
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


# --- pooling under a mask -----------------------------------------------------------------------------------------


def test_pooling_under_a_mask_of_all_of_none_and_of_what_is_not_a_number():
    maps = features(2, 3, 4, 5)
    everywhere = torch.ones(2, 4, 5, dtype=torch.bool)
    torch.testing.assert_close(avg_pool(maps, everywhere), avg_pool(maps))
    assert torch.equal(max_pool(maps, everywhere), max_pool(maps))
    assert torch.equal(avg_pool(maps, everywhere.to(torch.uint8) * 255), avg_pool(maps, everywhere))
    maps[0, 0, 0, 0] = torch.nan
    for pool in (avg_pool, max_pool):
        assert not pool(features(2, 3, 4, 5), ~everywhere).any()
        assert pool(maps, everywhere)[0, 0].isnan() and pool(maps, everywhere)[1:].isfinite().all()


def test_no_gradient_reaches_a_dropped_cell():
    """Zeros are common after a ReLU: they must not pass as cells at a bound."""
    maps = features(2, 3, 4, 5).requires_grad_()
    mask = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(1)) < 0.5
    for pool in (avg_pool, max_pool):
        (gradient,) = torch.autograd.grad(pool(maps, mask).sum(), maps)
        assert not gradient[~mask[:, None].expand_as(gradient)].any() and gradient.any()


def test_a_map_without_cells_is_refused():
    for pool in (avg_pool, max_pool):
        with pytest.raises(ShapeError, match="at least one cell"):
            pool(torch.zeros(2, 3, 0, 4))
        assert pool(torch.zeros(0, 3, 5, 4)).shape == (0, 3)


# --- PCA ----------------------------------------------------------------------------------------------------------


def rows(number: int = 50, length: int = 6, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(length, length, generator=generator, dtype=torch.float64)
    return torch.randn(number, length, generator=generator, dtype=torch.float64) @ mixed + 3


@pytest.mark.parametrize("center", [True, False])
def test_pca_keeps_what_varies_most(center: bool):
    """Against the eigenvectors of the (uncentred) covariance."""
    x = rows()
    about = x - x.mean(0) if center else x
    values, axes = torch.linalg.eigh(about.T @ about / (len(x) - 1))
    pca = PCA(3, center=center).fit(x)
    torch.testing.assert_close(pca.spread**2, values.flip(0)[:3])
    torch.testing.assert_close((pca.axes @ axes.flip(1)[:, :3]).abs(), torch.eye(3, dtype=torch.float64), atol=1e-8,
                               rtol=0)  # fmt: skip
    torch.testing.assert_close(pca.transform(x), about @ pca.axes.T)


@pytest.mark.parametrize("center", [True, False])
def test_whitening_gives_unit_spread_without_correlation(center: bool):
    x = rows()
    white = PCA(6, whiten=True, center=center).fit(x).transform(x)
    torch.testing.assert_close(white.T @ white / (len(x) - 1), torch.eye(6, dtype=torch.float64))


@pytest.mark.parametrize("center", [True, False])
def test_all_axes_keep_all_distances_and_two_fits_agree(center: bool):
    x = rows()
    pca = PCA(6, center=center).fit(x)
    exact = "donot_use_mm_for_euclid_dist"
    got, expected = (torch.cdist(v, v, compute_mode=exact) for v in (pca.transform(x), x))
    torch.testing.assert_close(got, expected)
    again = PCA(6, center=center).fit(x.clone())
    assert torch.equal(pca.axes, again.axes)


@pytest.mark.parametrize("center", [True, False])
def test_an_axis_without_spread_whitens_to_zero(center: bool):
    x = rows()
    x[:, 5] = x[:, 4]
    white = PCA(6, whiten=True, center=center).fit(x).transform(x)
    torch.testing.assert_close(white[:, 5], torch.zeros(50, dtype=torch.float64), atol=1e-6, rtol=0)


def test_pca_is_scikit_learns():
    x = rows(200, 30)
    theirs = Decomposition(5, svd_solver="full").fit(x.numpy())
    torch.testing.assert_close(PCA(5).fit(x).transform(x), torch.from_numpy(theirs.transform(x.numpy())))
    theirs = Decomposition(5, svd_solver="full", whiten=True).fit(x.numpy())
    torch.testing.assert_close(PCA(5, whiten=True).fit(x).transform(x), torch.from_numpy(theirs.transform(x.numpy())))


def test_pca_transforms_any_shape_in_its_own_type():
    x = rows()
    pca = PCA(2).fit(x)
    blocks = pca.transform(x.view(5, 10, 6))
    torch.testing.assert_close(blocks.flatten(0, 1), pca.transform(x))
    torch.testing.assert_close(pca.transform(x[0]), pca.transform(x)[0])
    assert pca.transform(x.float()).dtype == torch.float32


def test_pca_says_what_it_needs():
    with pytest.raises(AskError, match="fit"):
        PCA(2).transform(rows())
    with pytest.raises(RangeError, match="Lower dim"):
        PCA(7).fit(rows())
    with pytest.raises(RangeError, match="vectors"):
        PCA(1).fit(rows(1))
    with pytest.raises(ShapeError, match="flatten"):
        PCA(2).fit(rows().view(5, 10, 6))
    with pytest.raises(ShapeError, match="in fit"):
        PCA(2).fit(rows()).transform(rows(length=5))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_pca_on_cuda_equals_the_cpu():
    x = rows()
    pca = PCA(3, whiten=True).fit(x.cuda())
    torch.testing.assert_close(pca.transform(x.cuda()).cpu(), PCA(3, whiten=True).fit(x).transform(x))
