"""SCDA against loops in the paper's order, and at its limits."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import forward_ad

from ask_lib.errors import AskError, RangeError, ShapeError
from ask_lib.methods import scda as module
from ask_lib.methods.descriptors import resize_mask
from ask_lib.methods.scda import (
    activation_map,
    bounding_box,
    largest_component,
    lower_mask,
    mean_mask,
    scda,
    scda_flip_plus,
    scda_plus,
    selection_mask,
)
from benchmarks import scda as benchmark
from tests import oracles

FINDERS = [module._largest_by_scipy, module._largest_by_pointers]


def maps(batch: int, channels: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, channels, height, width, generator=generator, dtype=torch.float64).sub(0.4).relu()


def masks(batch: int, height: int, width: int, seed: int, share: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, height, width, generator=generator) < share


def mask_of(*rows: str) -> torch.Tensor:
    return torch.tensor([[cell == "#" for cell in row] for row in rows])[None]


def spiral(side: int) -> torch.Tensor:
    """One path of a cell's width that winds inwards: the longest way through a mask."""
    mask = torch.zeros(side, side, dtype=torch.bool)
    y, x, dy, dx = 0, -1, 0, 1
    length, turns = side, 0
    while length > 0:
        for _ in range(length):
            y, x = y + dy, x + dx
            mask[y, x] = True
        dy, dx = dx, -dy
        turns += 1
        if turns == 1 or turns % 2 == 1:
            length -= 2 if turns > 2 else 1
    return mask[None]


sizes = st.integers(1, 9)


# --- steps --------------------------------------------------------------------------------------------------------


@given(st.integers(1, 3), st.integers(1, 6), sizes, sizes, st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_scda_1_2_and_3_equal_the_loops(batch: int, channels: int, height: int, width: int, seed: int):
    """Tags: [SCDA-1], [SCDA-2] and [SCDA-3]."""
    features = maps(batch, channels, height, width, seed)
    expected = torch.tensor([oracles.activation(f) for f in features.tolist()], dtype=torch.float64)
    torch.testing.assert_close(activation_map(features), expected, rtol=1e-12, atol=1e-12)
    for got, image in zip(selection_mask(features), activation_map(features).tolist(), strict=True):
        assert got.tolist() == oracles.largest_component(oracles.above_mean(image))
    assert torch.equal(selection_mask(features, largest=False), mean_mask(features))


@pytest.mark.parametrize("find", FINDERS)
@given(st.integers(1, 4), st.integers(1, 14), st.integers(1, 14), st.integers(0, 999), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_scda_3_largest_component_equals_flood_fill(find, batch, height, width, seed, share):  # type: ignore[no-untyped-def]
    """Tag: [SCDA-3]. Small sparse masks have many components of one size."""
    mask = masks(batch, height, width, seed, share)
    assert find(mask).tolist() == [oracles.largest_component(m) for m in mask.tolist()]


@pytest.mark.parametrize("find", FINDERS)
def test_scda_3_the_first_in_column_order_wins_a_tie(find):  # type: ignore[no-untyped-def]
    rows = mask_of("..#", "#..", "..#")  # row by row the right one would be first
    assert torch.equal(find(rows), mask_of("...", "#..", "..."))
    one_column = mask_of(".#", "..", ".#")
    assert torch.equal(find(one_column), mask_of(".#", "..", ".."))


@pytest.mark.parametrize("find", FINDERS)
def test_scda_3_corners_touch_and_images_do_not(find):  # type: ignore[no-untyped-def]
    diagonal = mask_of("#..", ".#.", "..#")
    assert torch.equal(find(diagonal), diagonal)
    stacked = torch.cat([mask_of("##.", "..."), mask_of("...", "#.#"), mask_of("###", "...")])
    expected = torch.cat([mask_of("##.", "..."), mask_of("...", "#.."), mask_of("###", "...")])
    assert torch.equal(find(stacked), expected)


@pytest.mark.parametrize("find", FINDERS)
@pytest.mark.parametrize("side", [5, 16, 61])
def test_scda_3_a_long_snake_stays_whole(find, side):  # type: ignore[no-untyped-def]
    """A fixed number of steps from cell to cell would cut it."""
    snake = spiral(side)
    assert 0.4 < snake.float().mean() < 0.8
    assert len(oracles.components(snake[0].tolist())) == 1
    for mask in (snake, snake.flip(1), snake.transpose(1, 2)):
        assert torch.equal(find(mask), mask)


@pytest.mark.parametrize("find", FINDERS)
def test_scda_3_empty_full_and_single(find):  # type: ignore[no-untyped-def]
    empty, full = torch.zeros(2, 3, 4, dtype=torch.bool), torch.ones(2, 3, 4, dtype=torch.bool)
    assert torch.equal(find(empty), empty) and torch.equal(find(full), full)
    assert find(torch.ones(1, 1, 1, dtype=torch.bool)).tolist() == [[[True]]]


def test_largest_component_of_nothing_and_of_numbers():
    assert largest_component(torch.zeros(0, 3, 3, dtype=torch.bool)).shape == (0, 3, 3)
    mask = mask_of("#.#", "#..")
    assert torch.equal(largest_component(mask.to(torch.uint8)), largest_component(mask))
    before = mask.clone()
    largest_component(mask)
    assert torch.equal(mask, before)


# --- vectors ------------------------------------------------------------------------------------------------------


@given(st.integers(1, 3), st.integers(1, 6), sizes, sizes, st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_scda_4_5_and_6_equal_the_loops(batch: int, channels: int, height: int, width: int, seed: int):
    """Tags: [SCDA-4], [SCDA-5] and [SCDA-6]."""
    features = maps(batch, channels, height, width, seed)
    expected = torch.tensor([oracles.scda(f) for f in features.tolist()], dtype=torch.float64)
    torch.testing.assert_close(scda(features), expected, rtol=1e-12, atol=1e-12)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 15), st.integers(1, 15), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_scda_7_8_and_9_equal_the_loops(height: int, width: int, tall: int, wide: int, seed: int):
    """Tags: [SCDA-7], [SCDA-8] and [SCDA-9]. The lower layer's grid may have any size."""
    pool5, relu5_2 = maps(2, 4, height, width, seed), maps(2, 3, tall, wide, seed + 1)
    component = selection_mask(pool5)
    lower = [oracles.lower_mask(*pair) for pair in zip(relu5_2.tolist(), component.tolist(), strict=True)]
    assert lower_mask(relu5_2, component).tolist() == lower
    pairs = zip(pool5.tolist(), relu5_2.tolist(), strict=True)
    expected = torch.tensor([oracles.scda_plus(*pair, 0.5) for pair in pairs], dtype=torch.float64)
    torch.testing.assert_close(scda_plus(pool5, relu5_2), expected, rtol=1e-12, atol=1e-12)
    mirrored = pool5.flip(3), relu5_2.flip(3)
    both = scda_flip_plus(pool5, relu5_2, *mirrored, alpha=0.7)
    parts = [scda_plus(pool5, relu5_2, 0.7), scda_plus(*mirrored, 0.7)]
    assert torch.equal(both, torch.cat(parts, dim=1)) and both.shape == (2, 4 * 4 + 4 * 3)


def test_scda_7_the_lower_mask_keeps_several_pieces():
    """No second component step: the paper's Fig. 6 would look different with one."""
    lower = torch.zeros(1, 1, 4, 4)
    lower[0, 0, 0, 0] = lower[0, 0, 3, 3] = 1.0
    everywhere = torch.ones(1, 2, 2, dtype=torch.bool)
    assert lower_mask(lower, everywhere).sum() == 2
    assert lower_mask(lower, ~everywhere).sum() == 0


def test_each_half_has_unit_length_and_the_whole_has_not():
    halves = scda(maps(3, 8, 7, 7)).view(3, 2, 8)
    torch.testing.assert_close(halves.norm(dim=2), torch.ones(3, 2, dtype=torch.float64))
    plus = scda_plus(maps(3, 8, 7, 7), maps(3, 8, 14, 14), alpha=0.5).view(3, 4, 8)
    torch.testing.assert_close(plus.norm(dim=2), torch.tensor([[1.0, 1.0, 0.5, 0.5]] * 3, dtype=torch.float64))


def test_one_kept_descriptor_is_its_own_mean_and_maximum():
    features = torch.zeros(1, 3, 4, 5)
    features[0, :, 2, 3] = torch.tensor([1.0, 2.0, 2.0])
    expected = torch.tensor([[1.0, 2.0, 2.0, 1.0, 2.0, 2.0]]) / 3
    torch.testing.assert_close(scda(features), expected)


def test_no_kept_descriptor_gives_a_zero_vector():
    constant = torch.full((2, 3, 4, 4), 0.1)
    assert not selection_mask(constant).any()
    assert scda(constant).tolist() == [[0.0] * 6] * 2
    assert scda_plus(constant, maps(2, 3, 8, 8).float()).tolist() == [[0.0] * 12] * 2


def test_an_own_mask_is_taken_as_it_is():
    features = maps(2, 4, 3, 5)
    mask = masks(2, 3, 5, seed=3, share=0.5)
    expected = [oracles.scda(f, m) for f, m in zip(features.tolist(), mask.tolist(), strict=True)]
    torch.testing.assert_close(scda(features, mask), torch.tensor(expected, dtype=torch.float64))
    assert torch.equal(scda(features, mask), scda(features, mask.to(torch.uint8)))


# --- what must not matter -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2, 45])
def test_a_mask_found_before_gives_the_same_bits(batch: int):
    """So SCDA+, which hands its masks on, holds SCDA itself."""
    pool5, relu5_2 = maps(batch, 512, 7, 7).float(), maps(batch, 512, 14, 14).float()
    found = selection_mask(pool5)
    assert torch.equal(scda(pool5, found), scda(pool5))
    parts = [scda(pool5), 0.5 * scda(relu5_2, lower_mask(relu5_2, found))]
    assert torch.equal(scda_plus(pool5, relu5_2), torch.cat(parts, dim=1))


def test_channels_may_be_permuted():
    features, order = maps(2, 8, 6, 7), torch.randperm(8, generator=torch.Generator().manual_seed(1))
    expected = scda(features).view(2, 2, 8)[:, :, order].flatten(1)
    torch.testing.assert_close(scda(features[:, order]), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("scale", [2.0**-20, 3.0, 1e6])
def test_scale_does_not_matter(scale: float):
    torch.testing.assert_close(scda(maps(2, 8, 6, 7) * scale), scda(maps(2, 8, 6, 7)), rtol=1e-12, atol=1e-14)


def test_a_mirrored_map_gives_the_same_vector_where_no_tie_decides():
    torch.testing.assert_close(scda(maps(3, 8, 9, 9).flip(3)), scda(maps(3, 8, 9, 9)), rtol=1e-12, atol=1e-14)


def test_a_batch_of_two_is_two_of_one():
    features, lower = maps(2, 8, 5, 7), maps(2, 6, 10, 14)
    torch.testing.assert_close(scda(features), torch.cat([scda(features[:1]), scda(features[1:])]))
    single = torch.cat([scda_plus(features[:1], lower[:1]), scda_plus(features[1:], lower[1:])])
    torch.testing.assert_close(scda_plus(features, lower), single)


def test_memory_format_and_gradient_mode_do_not_matter():
    features = maps(2, 8, 6, 7)
    expected = scda(features)
    torch.testing.assert_close(scda(features.contiguous(memory_format=torch.channels_last)), expected)
    with torch.inference_mode():
        assert torch.equal(scda(features.clone()), expected)
    torch.testing.assert_close(scda(features.clone().requires_grad_()), expected)
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.bfloat16, 3e-2), (torch.float16, 3e-3)):
        small = scda(features.to(dtype), selection_mask(features))
        assert small.dtype == dtype
        torch.testing.assert_close(small.double(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_neither_overflows_nor_rounds_the_mask(dtype: torch.dtype):
    features = (maps(3, 512, 6, 7) * 200).to(dtype)  # the channels' sum is beyond half precision's largest number
    assert activation_map(features).dtype == torch.float32
    assert torch.equal(selection_mask(features), selection_mask(features.float()))
    found = scda(features)
    assert found.dtype == dtype and torch.isfinite(found).all() and (found != 0).any(dim=1).all()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
def test_torch_func_the_tracer_and_forward_differentiation_follow():
    features, direction = maps(2, 4, 5, 6), maps(2, 4, 5, 6, seed=1)
    mask = selection_mask(features)  # which has no gradient
    leaf = features.clone().requires_grad_()
    scda(leaf)[:, 0].sum().backward()
    torch.testing.assert_close(torch.func.grad(lambda x: scda(x, mask)[:, 0].sum())(features), leaf.grad)
    traced = torch.jit.trace(lambda x: scda(x, mask), (features,))  # type: ignore[no-untyped-call]
    torch.testing.assert_close(traced(features + 1), scda(features + 1, mask))
    step = 1e-6 * direction
    numeric = (scda(features + step, mask) - scda(features - step, mask)) / 2e-6
    for own in (None, mask):
        with forward_ad.dual_level():
            tangent = forward_ad.unpack_dual(scda(forward_ad.make_dual(features, direction), own)).tangent
        torch.testing.assert_close(tangent, numeric, rtol=1e-5, atol=1e-7)


def test_the_search_for_the_component_is_never_lost_without_a_word():
    """A trace would hold the first image's mask: torch warns of it. What torch.func cannot follow fails."""
    features = maps(2, 4, 5, 6)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", torch.jit.TracerWarning)
        torch.jit.trace(scda, (features,), check_trace=False)  # type: ignore[no-untyped-call]
    assert any("NumPy array" in str(each.message) for each in seen)
    with pytest.raises(RuntimeError):
        torch.func.vmap(lambda x: scda(x[None]))(features)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("fault", [float("nan"), float("inf"), float("-inf")])
def test_a_broken_map_is_seen_in_its_vector_and_in_no_other(dtype: torch.dtype, fault: float):
    features = maps(3, 4, 5, 6).to(dtype)
    whole = scda(features)
    features[1, 2, 3, 4] = fault
    assert selection_mask(features)[1].all()
    found = scda(features)
    assert found[1].isnan().any()
    torch.testing.assert_close(found[[0, 2]], whole[[0, 2]])
    assert scda_plus(features, features)[1].isnan().any()


def test_a_batch_without_images():
    assert scda(torch.zeros(0, 3, 5, 4)).shape == (0, 6)


def test_a_mask_elsewhere_is_refused_with_what_to_do():
    with pytest.raises(AskError, match=r"mask: expected on cpu, got meta\. Bring it there"):
        scda(maps(1, 2, 3, 3), torch.ones(1, 3, 3, dtype=torch.bool, device="meta"))


def test_the_gradient_is_right_away_from_the_threshold():
    features = maps(1, 3, 3, 3).requires_grad_()
    mask = selection_mask(features)
    assert torch.autograd.gradcheck(lambda x: scda(x, mask), (features + 0.01,))


# --- boxes and sizes ----------------------------------------------------------------------------------------------


@given(sizes, sizes, st.integers(0, 40), st.integers(0, 40), st.integers(0, 99), st.floats(0, 0.3))
@settings(max_examples=60, deadline=None)
def test_the_box_is_that_of_the_enlarged_mask(height, width, more_y, more_x, seed, share):  # type: ignore[no-untyped-def]
    mask, size = masks(2, height, width, seed, share), (height + more_y, width + more_x)
    assert bounding_box(mask, size).tolist() == [oracles.bounding_box(m, *size) for m in mask.tolist()]
    assert resize_mask(mask, size).tolist() == [oracles.resize(m, *size) for m in mask.tolist()]


def test_a_box_by_hand():
    mask = mask_of("....", ".##.", ".#..", "....")
    assert bounding_box(mask, (128, 256)).tolist() == [[64, 32, 192, 96]]
    assert bounding_box(torch.zeros(1, 4, 4, dtype=torch.bool), (128, 256)).tolist() == [[0, 0, 256, 128]]


@pytest.mark.parametrize("sizes", [((7, 7), (14, 14)), ((7, 9), (14, 19)), ((14, 14), (7, 7)), ((5, 6), (224, 100))])
def test_resize_mask_is_torchs_nearest_exact(sizes):  # type: ignore[no-untyped-def]
    old, new = sizes
    mask = masks(2, *old, seed=0, share=0.5)
    theirs = torch.nn.functional.interpolate(mask[:, None].double(), new, mode="nearest-exact")[:, 0].bool()
    assert torch.equal(resize_mask(mask, new), theirs)


def test_resize_mask_puts_a_centre_on_a_border_to_the_right_at_every_size():
    """In float32, (i + 1/2) * (n / m) can fall below the whole number that it is."""
    for cells in range(1, 30):
        for length in range(1, 120):
            got = resize_mask(torch.arange(cells).view(1, 1, -1), (1, length))[0, 0].tolist()
            assert got == [(2 * i + 1) * cells // (2 * length) for i in range(length)]


# --- errors -------------------------------------------------------------------------------------------------------


def test_errors_say_what_to_do():
    features = maps(2, 4, 5, 5)
    with pytest.raises(ShapeError, match=r"features\[None\]"):
        scda(features[0])
    with pytest.raises(ShapeError, match=r"mask\[None\]"):
        largest_component(selection_mask(features)[0])
    with pytest.raises(ShapeError, match="own grid"):
        scda(features, selection_mask(maps(2, 4, 6, 5)))
    with pytest.raises(ShapeError, match="same images"):
        scda_plus(features, maps(3, 4, 10, 10))
    with pytest.raises(ShapeError, match="same images"):
        scda_flip_plus(features, features, maps(1, 4, 5, 5), features)
    with pytest.raises(RangeError, match="at least"):
        bounding_box(selection_mask(features), (4, 100))
    with pytest.raises(RangeError, match="size"):
        resize_mask(selection_mask(features), (0, 3))


# --- devices and the benchmark ------------------------------------------------------------------------------------


def test_the_benchmarks_loop_agrees_and_prints_a_ratio(capsys: pytest.CaptureFixture[str]):
    benchmark.main(["--batches", "2", "--sides", "5", "--channels", "8", "--rounds", "2"])
    assert "5x5" in capsys.readouterr().out


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("side", [7, 14, 28])
def test_cuda_equals_the_cpu(side: int):
    features = benchmark.blobs(16, 64, side).double()
    lower = benchmark.blobs(16, 48, 2 * side).double()
    component = selection_mask(features.cuda()).cpu()
    assert torch.equal(component, selection_mask(features))
    assert torch.equal(bounding_box(component.cuda(), (224, 300)).cpu(), bounding_box(component, (224, 300)))
    torch.testing.assert_close(scda(features.cuda()).cpu(), scda(features), rtol=1e-10, atol=1e-12)
    plus = scda_plus(features.cuda(), lower.cuda()).cpu()
    torch.testing.assert_close(plus, scda_plus(features, lower), rtol=1e-10, atol=1e-12)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 3e-3), (torch.bfloat16, 3e-2)])
def test_cuda_equals_the_cpu_in_every_precision(dtype: torch.dtype, tolerance: float):
    features = benchmark.blobs(16, 64, 14).to(dtype)
    mask = selection_mask(features)
    there = scda(features.cuda(), mask.cuda())
    assert there.dtype == dtype
    torch.testing.assert_close(there.cpu(), scda(features, mask), rtol=0, atol=tolerance)
    above, here = mean_mask(features.cuda()).cpu(), mean_mask(features)
    assert here.any() and (above != here).double().mean() < 0.01  # a cell at the very mean may fall on either side


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_finds_the_same_components():
    for seed in range(20):
        mask = masks(8, 31, 17, seed, share=0.2 + 0.03 * seed)
        assert torch.equal(largest_component(mask.cuda()).cpu(), largest_component(mask))
    assert torch.equal(largest_component(spiral(61).cuda()).cpu(), spiral(61))
