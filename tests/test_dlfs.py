"""DLFS against loops in the paper's order, at its limits, and against what others wrote."""

from __future__ import annotations

import dsntnn
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia.geometry import subpix
from torch.nn import functional

from ask_lib.errors import ChoiceError, RangeError, ShapeError
from ask_lib.methods.dlfs import (
    DLFS,
    POINTS,
    VariationalInformation,
    correlation_map,
    expected_coordinates,
    grid_points,
    keypoint_maps,
    keypoint_spread,
    modal_correlation_loss,
    sample,
    soft_argmax,
    spatial_softmax,
    strongest_cells,
    triplet_correlation_loss,
)
from benchmarks import dlfs as benchmark
from tests import oracles

sizes = st.integers(1, 7)
LABELS = torch.tensor([0, 1, 0, 2, 1, 0])


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def points(batch: int, count: int, size: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """Within the map, at least 0.05 from each integer."""
    share = torch.rand(batch, count, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    inside = share * torch.tensor([size[1] - 1, size[0] - 1], dtype=torch.float64)
    return inside.floor() + (0.05 + 0.9 * inside.frac())


def close(found: torch.Tensor, expected: object) -> None:
    wanted = expected if isinstance(expected, torch.Tensor) else torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(found.detach(), wanted, rtol=1e-11, atol=1e-11)


# --- keypoints ----------------------------------------------------------------------------------------------------


@given(st.integers(1, 4), st.integers(1, 3), sizes, sizes, st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_ask_1_and_2_equal_the_loops(groups: int, size: int, height: int, width: int, seed: int):
    """Tags: [ASK-1] and [ASK-2]."""
    features, weight = draw(2, 3, height, width, seed=seed), draw(groups * size, 3, seed=seed + 1)
    expected = [oracles.grouped_maps(f, weight.tolist(), groups) for f in features.tolist()]
    close(keypoint_maps(features, weight, groups), expected)


def test_ask_2_gradients_are_those_of_the_convolution_and_the_sums():
    """Tag: [ASK-2]. Each weight of a group gets the group's gradient."""
    features, weight = draw(2, 4, 3, 3), draw(6, 4, seed=1).requires_grad_()
    plain = functional.conv2d(features, weight[..., None, None]).view(2, 3, 2, 3, 3).sum(dim=2)
    factor = draw(2, 3, 3, 3, seed=2)
    (expected,) = torch.autograd.grad((plain * factor).sum(), weight)
    (found,) = torch.autograd.grad((keypoint_maps(features, weight, 3) * factor).sum(), weight)
    close(found, expected)


@given(st.integers(1, 3), sizes, sizes, st.floats(0.1, 4), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_ask_3_and_4_equal_the_loops(count: int, height: int, width: int, temperature: float, seed: int):
    """Tags: [ASK-3] and [ASK-4]."""
    maps = 3 * draw(2, count, height, width, seed=seed)
    h = [[oracles.softmax_2d(channel, temperature) for channel in image] for image in maps.tolist()]
    close(spatial_softmax(maps, temperature), h)
    close(soft_argmax(maps, temperature), [[oracles.expectation(channel) for channel in image] for image in h])


def test_ask_3_and_4_agree_with_kornia_and_dsntnn():
    """Tags: [ASK-3] and [ASK-4]."""
    maps = draw(3, 5, 6, 9)
    kornias = subpix.spatial_softmax2d(maps)
    close(spatial_softmax(maps), kornias)
    close(soft_argmax(maps), subpix.spatial_expectation2d(kornias, normalized_coordinates=False))
    close(soft_argmax(maps), subpix.SpatialSoftArgmax2d(normalized_coordinates=False)(maps))
    close(soft_argmax(maps), dsntnn.dsnt(dsntnn.flat_softmax(maps), normalized_coordinates=False))


@given(sizes, sizes, st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_ask_5_equals_the_loops(height: int, width: int, seed: int):
    """Tag: [ASK-5]. A point outside the map, too."""
    features = draw(2, 3, height, width, seed=seed)
    keypoints = draw(2, 4, 2, seed=seed + 1).abs() * torch.tensor([width, height])
    pairs = zip(features.tolist(), keypoints.tolist(), strict=True)
    close(sample(features, keypoints), [[oracles.bilinear(f, x, y) for x, y in image] for f, image in pairs])


def test_ask_5_to_8_agree_with_grid_sample_and_its_gradients():
    """Tags: [ASK-5] to [ASK-8]; at integers too, and outside."""
    features = draw(2, 3, 5, 8).requires_grad_()
    odd = torch.tensor([[0.0, 0], [7, 4], [3, 1], [-0.5, 2], [9, 9]], dtype=torch.float64).expand(2, -1, -1)
    keypoints = torch.cat([points(2, 6, (5, 8)), odd], dim=1).requires_grad_()
    normalised = 2 * keypoints / torch.tensor([7.0, 4.0], dtype=torch.float64) - 1
    theirs = functional.grid_sample(features, normalised[:, :, None], align_corners=True)[..., 0].mT
    close(sample(features, keypoints), theirs.detach())
    factor = draw(*theirs.shape, seed=3)
    expected = torch.autograd.grad((theirs * factor).sum(), (features, keypoints))
    found = torch.autograd.grad((sample(features, keypoints) * factor).sum(), (features, keypoints))
    for one, other in zip(found, expected, strict=True):
        close(one, other)


def test_ask_6_to_8_closed_forms_are_autograds():
    """Tags: [ASK-6], [ASK-7] and [ASK-8], away from integers."""
    features, keypoints = draw(1, 1, 4, 5).requires_grad_(), points(1, 1, (4, 5)).requires_grad_()
    found = torch.autograd.grad(sample(features, keypoints).sum(), (features, keypoints))
    by_cell, by_x, by_y = oracles.bilinear_slopes(features[0, 0].tolist(), *keypoints[0, 0].tolist())
    close(found[0][0, 0], by_cell)
    close(found[1][0, 0], [by_x, by_y])


def test_gradients_equal_small_differences():
    maps, features = draw(2, 3, 4, 5).requires_grad_(), draw(2, 2, 4, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: soft_argmax(m, 0.7), maps)
    keypoints = points(2, 3, (4, 5)).requires_grad_()
    assert torch.autograd.gradcheck(sample, (features, keypoints))
    with torch.no_grad():
        assert (soft_argmax(maps).frac() - 0.5).abs().max() < 0.499  # the whole is checked away from integers, too
    assert torch.autograd.gradcheck(lambda f, m: sample(f, soft_argmax(m)), (features, maps))


def test_a_constant_map_gives_the_centre_and_a_peak_its_cell():
    close(soft_argmax(torch.full((1, 2, 5, 8), 7.0, dtype=torch.float64)), [[[3.5, 2.0]] * 2])
    peak = torch.zeros(1, 1, 5, 8, dtype=torch.float64)
    peak[0, 0, 1, 6] = 1e4
    close(soft_argmax(peak), [[[6.0, 1.0]]])
    assert torch.equal(sample(peak, soft_argmax(peak)), peak.amax().view(1, 1, 1))


@pytest.mark.parametrize("scale", [1e30, 3e38])
@pytest.mark.parametrize("temperature", [1.0, 1e-3])
def test_extreme_maps_stay_finite(scale: float, temperature: float):
    maps = draw(2, 3, 7, 7).float().clamp(-1, 1).mul(scale).requires_grad_()
    found = sample(torch.ones(2, 1, 7, 7), soft_argmax(maps, temperature))
    found.sum().backward()
    assert found.isfinite().all() and maps.grad is not None and maps.grad.isfinite().all()


def test_half_precision_keeps_its_coordinates():
    maps = draw(2, 3, 40, 60).bfloat16()
    assert soft_argmax(maps).dtype == torch.float32
    torch.testing.assert_close(soft_argmax(maps).double(), soft_argmax(maps.double()), rtol=1e-5, atol=1e-4)
    assert sample(maps, soft_argmax(maps)).dtype == torch.bfloat16


# --- where points come from ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", POINTS)
@pytest.mark.parametrize("count", [1, 3, 8])
def test_every_kind_of_points_is_read_in_both_maps(place: str, count: int):
    rgb, depth = draw(2, 8, 5, 7).float(), draw(2, 8, 5, 7, seed=1).float()
    select = DLFS(8, count, points=place)
    maps, keypoints, of_rgb, of_depth = select(rgb, depth)
    assert keypoints.shape == (2, count, 2) and (maps is None) == (place in ("grid", "random", "strongest"))
    torch.testing.assert_close(of_rgb, sample(rgb, keypoints))
    torch.testing.assert_close(of_depth, sample(depth, keypoints))
    torch.testing.assert_close(torch.cat([select(rgb[at : at + 1], depth[at : at + 1]).rgb for at in (0, 1)]), of_rgb)
    assert (keypoints >= 0).all() and (keypoints <= torch.tensor([6, 4])).all()
    moves = {"both": (True, True), "rgb": (True, False), "depth": (False, True), "strongest": (True, True)}
    mirrored = (rgb.flip(3), depth), (rgb, depth.flip(3))
    changed = [not torch.equal(select(*pair).keypoints, keypoints) for pair in mirrored]
    assert tuple(changed) == moves.get(place, (False, False))


def test_ask_2_the_width_is_the_largest_multiple_of_k():
    """Tag: [ASK-2]. Table IV's K = 3, 9, 25 and 36 do not divide 512."""
    widths = {k: DLFS(512, k).conv.out_channels for k in (1, 3, 9, 16, 25, 36)}  # type: ignore[union-attr]
    assert widths == {1: 512, 3: 510, 9: 504, 16: 512, 25: 500, 36: 504}
    assert DLFS(512, 25, grouping="single").conv.out_channels == 25  # type: ignore[union-attr]


def test_ask_1_the_maps_of_both_are_one_convolution_over_both_and_so_are_the_gradients():
    """Tag: [ASK-1]. The network adds the two modalities' convolutions, which spares a copy of their maps."""
    rgb, depth = draw(2, 4, 3, 5).requires_grad_(), draw(2, 4, 3, 5, seed=1).requires_grad_()
    select = DLFS(4, 2).double()
    assert select.conv is not None
    plain = select.conv(torch.cat([rgb, depth], dim=1)).view(2, 2, 2, 3, 5).sum(dim=2)
    found, factor, leaves = select(rgb, depth).maps, draw(*plain.shape, seed=2), (rgb, depth, select.conv.weight)
    close(found, plain.detach())
    expected = torch.autograd.grad((plain * factor).sum(), leaves)
    for one, other in zip(torch.autograd.grad((found * factor).sum(), leaves), expected, strict=True):
        close(one, other)


def test_ask_2_a_relu_between_convolution_and_sum():
    """Tag: [ASK-2]."""
    rgb, depth = draw(1, 4, 3, 3).float(), draw(1, 4, 3, 3, seed=1).float()
    select = DLFS(4, 2, grouping="relu")
    assert select.conv is not None
    expected = select.conv(torch.cat([rgb, depth], dim=1)).clamp(min=0).view(1, 2, 2, 3, 3).sum(dim=2)
    torch.testing.assert_close(select(rgb, depth).maps, expected)


def test_the_grid_tiles_the_map_and_the_strongest_cells_are_the_longest():
    assert sorted(map(tuple, grid_points(35, (5, 7)).tolist())) == [(x, y) for x in range(7) for y in range(5)]
    assert grid_points(1, (7, 7)).tolist() == [[3, 3]] and grid_points(3, (7, 9)).tolist() == [[1, 3], [4, 3], [7, 3]]
    features = draw(2, 3, 4, 5)
    for image, cells in zip(features, strongest_cells(features, 6).long().tolist(), strict=True):
        lengths = image.norm(dim=0)
        assert [float(lengths[y, x]) for x, y in cells] == sorted(lengths.flatten().tolist(), reverse=True)[:6]


def test_spread_is_zero_where_all_points_are_in_one_place():
    assert keypoint_spread(torch.full((2, 5, 2), 3.0)).tolist() == [0, 0]
    square = torch.tensor([[0.0, 0], [2, 0], [0, 2], [2, 2]])
    close(keypoint_spread(torch.stack([square, 3 * square]).double()), [2**0.5, 3 * 2**0.5])


# --- losses -------------------------------------------------------------------------------------------------------


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), sizes, sizes, st.sampled_from([0.0, 0.3]))
@settings(max_examples=20, deadline=None)
def test_ask_9_and_10_equal_the_loops(count: int, classes: int, size: int, height: int, width: int, floor: float):
    """Tags: [ASK-9] and [ASK-10]."""
    loss = VariationalInformation(count, classes, size, floor=floor).double()
    torch.nn.init.normal_(loss.log_sigma)
    maps, labels = draw(3, count, height, width), torch.arange(3) % classes
    parts = (loss.conv.weight.tolist(), loss.conv.bias.tolist(), loss.log_sigma.tolist())  # type: ignore[union-attr]
    close(loss(maps, labels), oracles.information_loss(maps.tolist(), labels.tolist(), *parts, floor))


def test_ask_10_the_best_sigma_is_the_root_mean_square_error():
    """Tag: [ASK-10]. Where its slope is 0; a floor keeps the loss from diving when the fit is perfect."""
    loss = VariationalInformation(2, 3).double()
    maps, labels = draw(4, 2, 7, 7), torch.tensor([0, 1, 2, 0])
    means = loss.conv(functional.adaptive_max_pool2d(maps, 3)).flatten(1)
    error = (functional.one_hot(labels, 3) - means).square().mean(dim=0)
    loss.log_sigma.data = error.log() / 2
    loss(maps, labels).backward()
    close(loss.log_sigma.grad, torch.zeros(3, dtype=torch.float64))  # type: ignore[arg-type]
    for floor, least in ((0.0, -30.0), (0.1, -6.91)):
        perfect = VariationalInformation(2, 3, floor=floor)
        torch.nn.init.zeros_(perfect.conv.weight)
        perfect.conv.bias.data = torch.tensor([1.0, 0.0, 0.0])  # type: ignore[union-attr]
        perfect.log_sigma.data.fill_(-10)
        assert perfect(maps.float(), torch.zeros(4, dtype=torch.long)).item() == pytest.approx(least, abs=0.01)


@pytest.mark.parametrize("floor", [0.0, 1e-30])
def test_ask_10_a_tiny_sigma_stays_a_number(floor: float):
    """Tag: [ASK-10]. Its square is 0 in single precision."""
    loss = VariationalInformation(2, 3, floor=floor)
    torch.nn.init.zeros_(loss.conv.weight)
    loss.conv.bias.data = torch.tensor([1.0, 0.0, 0.0])  # type: ignore[union-attr]
    loss.log_sigma.data.fill_(-55)
    found = loss(torch.zeros(4, 2, 7, 7), torch.zeros(4, dtype=torch.int32))
    found.backward()
    assert found.item() == pytest.approx(-165) and loss.log_sigma.grad is not None
    assert loss.log_sigma.grad.tolist() == pytest.approx([1, 1, 1])


@pytest.mark.parametrize("mining", ["random", "batch-hard", "all"])
def test_ask_13_in_half_precision_stays_near(mining: str):
    """Tag: [ASK-13]. The sum over all triplets of 128 images is above the largest half."""
    features, labels = draw(128, 4, 8).half(), torch.arange(128) % 4
    found, whole = (
        triplet_correlation_loss(x, labels, mining=mining, generator=torch.Generator().manual_seed(0))
        for x in (features, features.double())
    )
    assert found.dtype == torch.float32 and found.item() == pytest.approx(whole.item(), abs=0.02)


def test_ask_11_and_12_equal_the_loops():
    """Tags: [ASK-11] and [ASK-12]."""
    rgb, depth = draw(2, 4, 3, 5), draw(2, 4, 3, 5, seed=1)
    cells = [x.flatten(2).mT.tolist() for x in (rgb, depth)]
    expected = [[oracles.cosine(a, b) for a, b in zip(*image, strict=True)] for image in zip(*cells, strict=True)]
    close(correlation_map(rgb, depth).flatten(1), expected)
    close(modal_correlation_loss(*(x.flatten(2).mT for x in (rgb, depth))), 1 - sum(map(sum, expected)) / 30)
    assert correlation_map(torch.zeros(1, 2, 1, 1), rgb[:1, :2, :1, :1].float()).item() == 0  # not NaN


def test_ask_12_a_step_downhill_brings_the_modalities_together():
    """Tag: [ASK-12]. As printed it would part them."""
    rgb, depth = draw(2, 3, 4).requires_grad_(), draw(2, 3, 4, seed=1)
    loss = modal_correlation_loss(rgb, depth)
    (slope,) = torch.autograd.grad(loss, rgb)
    assert modal_correlation_loss(rgb - 0.1 * slope, depth) < loss


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("mining", ["batch-hard", "all"])
@pytest.mark.parametrize("margin", [1.0, 0.2])
def test_ask_13_equals_the_loops(mining: str, margin: float, flat: bool):
    """Tag: [ASK-13]."""
    features = draw(6, 3, 4)
    expected = oracles.triplet_loss(features.tolist(), LABELS.tolist(), margin, mining, flat)
    close(triplet_correlation_loss(features, LABELS, margin, mining, flat=flat), expected)


def test_ask_13_random_negatives_are_of_another_class_and_all_of_them_come():
    """Tag: [ASK-13]. One point and one number make each image's cosine its sign; the mean tends to that of all."""
    features = draw(6, 3, 4)
    generator = torch.Generator().manual_seed(0)
    losses = [triplet_correlation_loss(features, LABELS, generator=generator) for _ in range(3000)]
    rho = torch.tensor([[oracles.point_correlation(a, b, False) for b in features.tolist()] for a in features.tolist()])
    same = LABELS[:, None] == LABELS
    per_anchor = [
        (rho[a][~same[a]].mean() - rho[a][p] + 1) for a in range(6) for p in range(6) if same[a, p] and a != p
    ]
    assert torch.stack(losses).mean().item() == pytest.approx(float(sum(per_anchor) / len(per_anchor)), abs=0.01)
    known = torch.eye(2, dtype=torch.float64)[LABELS.clamp(max=1)][:, None]  # classes 1 and 2 look alike
    values = {round(triplet_correlation_loss(known, LABELS, generator=generator).item() * 8, 6) for _ in range(200)}
    assert values == {0.0, 1.0, 2.0}  # of 8 pairs, the two of class 1 may draw class 2 and lose 1 each


@pytest.mark.parametrize("mining", ["random", "batch-hard", "all"])
@pytest.mark.parametrize("labels", [[3, 3, 3], [0, 1, 2], [1]], ids=["one class", "no pair", "one image"])
def test_ask_13_without_a_triplet_it_is_zero_with_zero_gradient(mining: str, labels: list[int]):
    """Tag: [ASK-13]."""
    features = draw(len(labels), 2, 4).requires_grad_()
    loss = triplet_correlation_loss(features, torch.tensor(labels), mining=mining)
    loss.backward()
    assert loss.item() == 0 and features.grad is not None and torch.equal(features.grad, torch.zeros(len(labels), 2, 4))


@pytest.mark.parametrize("mining", ["random", "batch-hard", "all"])
def test_ask_13_a_step_downhill_parts_the_classes(mining: str):
    """Tag: [ASK-13]. As printed it would do the opposite."""
    features = draw(6, 2, 5)
    for _ in range(60):
        features.requires_grad_()
        (slope,) = torch.autograd.grad(triplet_correlation_loss(features, LABELS, mining=mining), features)
        features = (features - slope).detach()
    rho = torch.tensor([[oracles.point_correlation(a, b, False) for b in features.tolist()] for a in features.tolist()])
    same = LABELS[:, None] == LABELS
    assert rho[same].mean() > 0.8 and rho[~same].mean() < -0.1


def test_losses_equal_small_differences():
    features = draw(6, 2, 3).requires_grad_()
    for mining in ("batch-hard", "all"):
        assert torch.autograd.gradcheck(lambda f, m=mining: triplet_correlation_loss(f, LABELS, mining=m), features)
    loss = VariationalInformation(2, 3, floor=0.1).double()
    maps = draw(3, 2, 6, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda m, s: loss(m, torch.arange(3)), (maps, loss.log_sigma))


def test_zero_descriptors_and_wrong_input():
    zeros = torch.zeros(6, 2, 3, requires_grad=True)
    total = triplet_correlation_loss(zeros, LABELS) + modal_correlation_loss(zeros, zeros)
    total.backward()
    assert total.item() == 2 and zeros.grad is not None and zeros.grad.isfinite().all()
    with pytest.raises(ShapeError, match="one layer"):
        DLFS(4, 2)(torch.zeros(1, 4, 7, 7), torch.zeros(1, 4, 3, 3))
    with pytest.raises(ShapeError, match="keypoints"):
        sample(torch.zeros(2, 4, 7, 7), torch.zeros(3, 5, 2))
    with pytest.raises(RangeError, match="num_keypoints"):
        DLFS(4, 5)
    for count, error in ((3, ShapeError), (5, ShapeError), (0, RangeError)):
        with pytest.raises(error, match=r"num_keypoints"):
            keypoint_maps(torch.zeros(1, 2, 3, 3), torch.zeros(4, 2), count)
    with pytest.raises(RangeError, match="temperature"):
        spatial_softmax(torch.zeros(1, 1, 2, 2), 0)
    with pytest.raises(RangeError, match="count"):
        strongest_cells(torch.zeros(1, 1, 2, 2), 5)
    with pytest.raises(ChoiceError, match="batch-hard"):
        triplet_correlation_loss(zeros, LABELS, mining="batch-hrad")
    with pytest.raises(ShapeError, match="at least one cell"):
        expected_coordinates(torch.zeros(1, 1, 0, 4))


def test_the_benchmark_holds_us_against_kornia_and_prints_a_ratio(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    tiny = ["--sides", "5", "--batch", "2", "--keypoints", "3", "--channels", "4", "--rounds", "2"]
    benchmark.main(tiny)
    assert "5x5" in capsys.readouterr().out
    monkeypatch.setattr(benchmark, "ours", lambda maps, rgb, depth: benchmark.usual(maps, depth, rgb))
    with pytest.raises(AssertionError):
        benchmark.main(tiny)
