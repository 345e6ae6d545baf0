"""The baselines against loops, limits and invariances."""

from __future__ import annotations

import math
from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ask_lib.errors import AskError, RangeError, ShapeError
from ask_lib.methods.descriptors import to_descriptors
from ask_lib.methods.encoding import (
    VLAD,
    FisherVector,
    avg_max_pool,
    avg_pool,
    crow,
    gem,
    max_pool,
    rmac,
    rmac_regions,
    spoc,
)
from ask_lib.methods.scda import scda, selection_mask
from tests import oracles


def maps(batch: int, channels: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, channels, height, width, generator=generator, dtype=torch.float64).sub(0.4).relu()


def words(batch: int = 6, number: int = 12, channels: int = 3, seed: int = 0) -> torch.Tensor:
    """Descriptors about three places, so that clusters exist."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.randn(3, channels, generator=generator, dtype=torch.float64) * 4
    which = torch.randint(3, (batch, number), generator=generator)
    return places[which] + torch.randn(batch, number, channels, generator=generator, dtype=torch.float64)


def stacked(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


# --- pooling ------------------------------------------------------------------------------------------------------


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 8), st.integers(1, 8), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_poolings_equal_the_loops(batch: int, channels: int, height: int, width: int, seed: int):
    features = maps(batch, channels, height, width, seed)
    literal = features.tolist()
    everywhere = [[True] * width] * height
    kept = [oracles.kept_descriptors(f, everywhere) for f in literal]
    for got, expected in (
        (avg_pool(features), [oracles.mean(k, channels) for k in kept]),
        (max_pool(features), [oracles.maximum(k, channels) for k in kept]),
        (spoc(features), [oracles.spoc(f) for f in literal]),
        (crow(features), [oracles.crow(f) for f in literal]),
        (gem(features, p=3.0), [oracles.gem(f, 3.0) for f in literal]),
        (gem(features, p=1.7), [oracles.gem(f, 1.7) for f in literal]),
        (rmac(features), [oracles.rmac(f, 3) for f in literal]),
        (rmac(features, levels=1), [oracles.rmac(f, 1) for f in literal]),
    ):
        torch.testing.assert_close(got, stacked(expected), rtol=1e-10, atol=1e-12)


@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_masked_poolings_equal_the_loops(channels: int, height: int, width: int, seed: int, share: float):
    features = maps(2, channels, height, width, seed) - 0.2  # of both signs
    mask = torch.rand(2, height, width, generator=torch.Generator().manual_seed(seed)) < share
    kept = [oracles.kept_descriptors(*pair) for pair in zip(features.tolist(), mask.tolist(), strict=True)]
    mean = stacked([oracles.mean(k, channels) for k in kept])
    peak = stacked([oracles.maximum(k, channels) for k in kept])
    torch.testing.assert_close(avg_pool(features, mask), mean, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(max_pool(features, mask), peak, rtol=0, atol=0)
    torch.testing.assert_close(avg_max_pool(features, mask), torch.cat([mean, peak], 1), rtol=1e-12, atol=1e-14)


def test_avg_max_pool_normalised_is_scda():
    features = maps(2, 6, 5, 7)
    torch.testing.assert_close(avg_max_pool(features, selection_mask(features), normalize=True), scda(features))
    everywhere = torch.ones(2, 5, 7, dtype=torch.bool)
    torch.testing.assert_close(avg_max_pool(features, normalize=True), scda(features, everywhere))


def test_spoc_without_centre_prior_is_the_sum_and_with_it_looks_at_the_centre():
    features = torch.zeros(1, 2, 5, 7)
    features[0, 0, 2, 3] = features[0, 1, 0, 0] = 1.0
    assert spoc(features, center_prior=False).tolist() == [[1.0, 1.0]]
    at_centre, at_corner = spoc(features)[0].tolist()
    assert at_centre == 1.0 and at_corner == pytest.approx(math.exp(-(2**2 + 3**2) / 2 / (5 / 6) ** 2))
    torch.testing.assert_close(spoc(maps(2, 3, 6, 8).flip(2, 3)), spoc(maps(2, 3, 6, 8)))


def test_crow_by_hand():
    features = torch.tensor([[[[3.0, 0.0]], [[1.0, 3.0]]]])  # activation (4, 3), its length 5
    place = math.sqrt(4 / 5), math.sqrt(3 / 5)
    rare, common = math.log(1.5 / 0.5), math.log(1.5 / 1.0)
    expected = torch.tensor([[rare * 3 * place[0], common * (place[0] + 3 * place[1])]])
    torch.testing.assert_close(crow(features), expected)


def test_crow_of_silent_channels_and_of_nothing_is_zero():
    features = maps(2, 4, 3, 3)
    features[:, 1] = 0
    features[1] = 0
    pooled = crow(features)
    assert pooled.isfinite().all() and not pooled[:, 1].any() and not pooled[1].any() and pooled[0, 0] > 0


def test_gem_lies_between_mean_and_maximum():
    features = maps(2, 4, 5, 5) + 0.01
    torch.testing.assert_close(gem(features, p=1.0), avg_pool(features))
    torch.testing.assert_close(gem(features, p=4000.0), max_pool(features), rtol=1e-2, atol=0)
    assert torch.equal(gem(features, p=math.inf), max_pool(features))
    large = features.float() * 1e30  # its cube is beyond float32
    torch.testing.assert_close(gem(large), gem(features).float() * 1e30)


def test_rmac_regions_by_hand():
    assert rmac_regions(4, 4, 2) == [(0, 0, 4), (0, 0, 2), (0, 2, 2), (2, 0, 2), (2, 2, 2)]
    wide = rmac_regions(4, 8, 1)
    assert wide == [(0, 0, 4), (0, 2, 4), (0, 4, 4)]  # overlapping by a half: two regions would not overlap
    assert [(x, y, side) for y, x, side in wide] == rmac_regions(8, 4, 1)
    assert rmac_regions(1, 1, 3) == [(0, 0, 1)]  # regions of no cell are left out
    assert len(rmac_regions(14, 14, 3)) == 1 + 4 + 9


def test_impossible_settings_are_refused():
    with pytest.raises(RangeError):
        gem(maps(1, 1, 2, 2), p=0.0)
    with pytest.raises(RangeError):
        rmac(maps(1, 1, 2, 2), levels=0)
    for kind in (VLAD, FisherVector):
        with pytest.raises(RangeError):
            kind(0)
        with pytest.raises(AskError, match="fit"):
            kind(2).encode(words())
        with pytest.raises(RangeError, match="lower k"):
            kind(5).fit(words(1, 4))
        with pytest.raises(ShapeError, match="to_descriptors"):
            kind(2).fit(words()[0])
        with pytest.raises(ShapeError, match="entry a descriptor"):
            kind(2).fit(words(2, 12), torch.ones(2, 11, dtype=torch.bool))
        with pytest.raises(ShapeError):
            kind(2).fit(words(channels=3)).encode(words(channels=4))


# --- VLAD and Fisher vectors --------------------------------------------------------------------------------------


def kept_rows(descriptors: torch.Tensor, mask: torch.Tensor) -> list[list[list[float]]]:
    return [d[m].tolist() for d, m in zip(descriptors, mask, strict=True)]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_vlad_equals_the_loop(k: int):
    descriptors = words()
    mask = torch.rand(6, 12, generator=torch.Generator().manual_seed(1)) < 0.6
    vlad = VLAD(k).fit(descriptors, mask)
    expected = [oracles.vlad(rows, vlad.centroids.tolist()) for rows in kept_rows(descriptors, mask)]
    torch.testing.assert_close(vlad.encode(descriptors, mask), stacked(expected), rtol=1e-10, atol=1e-12)


def test_vlad_of_one_centroid_is_the_sum_about_the_mean():
    descriptors = words()
    vlad = VLAD(1).fit(descriptors)
    expected = (descriptors - descriptors.flatten(0, 1).mean(0)).sum(1)
    torch.testing.assert_close(vlad.encode(descriptors), expected)


def test_vlad_gives_a_tie_to_the_first_centroid():
    vlad = VLAD(2)
    vlad.centroids = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    assert vlad.encode(torch.tensor([[[0.0]]])).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_fisher_vector_equals_the_loop(k: int):
    descriptors = words()
    mask = torch.rand(6, 12, generator=torch.Generator().manual_seed(1)) < 0.6
    fisher = FisherVector(k, weight_gradients=True).fit(descriptors, mask)
    mixture = fisher.weights.tolist(), fisher.means.tolist(), fisher.variances.tolist()
    expected = [[*chain(*oracles.fisher(rows, *mixture))] for rows in kept_rows(descriptors, mask)]
    got = fisher.encode(descriptors, mask)
    torch.testing.assert_close(got, stacked(expected), rtol=1e-9, atol=1e-10)
    fisher.weight_gradients = False
    assert torch.equal(fisher.encode(descriptors, mask), got[:, k:])


def test_fisher_vector_of_what_the_mixture_was_fitted_to_is_nearly_zero():
    """At the maximum of the likelihood its gradient is 0; for one Gaussian the maximum is exact, but for 1e-6."""
    descriptors = words(1, 500)
    fisher = FisherVector(1).fit(descriptors)
    torch.testing.assert_close(fisher.encode(descriptors), torch.zeros(1, 6, dtype=torch.float64), rtol=0, atol=1e-5)


@pytest.mark.parametrize("encoder", [VLAD(3), FisherVector(3, weight_gradients=True)], ids=["VLAD", "FV"])
def test_encoders_fit_alike_each_time_and_take_each_image_alone(encoder):  # type: ignore[no-untyped-def]
    descriptors = words(channels=4)
    whole = encoder.fit(descriptors).encode(descriptors)
    assert torch.equal(encoder.fit(descriptors).encode(descriptors), whole)
    single = torch.cat([encoder.encode(d[None]) for d in descriptors])
    torch.testing.assert_close(whole, single, rtol=1e-10, atol=1e-12)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(encoder.encode(descriptors[:, order]), whole, rtol=1e-10, atol=1e-10)
    assert encoder.encode(descriptors.float()).dtype == torch.float32


@pytest.mark.parametrize("encoder", [VLAD(2), FisherVector(2, weight_gradients=True)], ids=["VLAD", "FV"])
def test_encoders_take_a_maps_mask_and_an_empty_one(encoder):  # type: ignore[no-untyped-def]
    features = maps(3, 4, 5, 6)
    mask = selection_mask(features)
    mask[2] = False
    descriptors = to_descriptors(features)
    got = encoder.fit(descriptors, mask).encode(descriptors, mask)
    assert torch.equal(got, encoder.encode(descriptors, mask.flatten(1)))
    assert not got[2].any() and got[:2].any(dim=1).all()
    one = torch.zeros(3, 5, 6, dtype=torch.bool)
    one[:, 1, 1] = True  # a single descriptor
    torch.testing.assert_close(encoder.encode(descriptors, one), encoder.encode(descriptors[:, 7:8]))


def test_the_papers_dimensions():
    """Table 3: selectVLAD has 1,024 and selectFV 2,048 dimensions for 512 channels."""
    descriptors = torch.rand(2, 40, 512, generator=torch.Generator().manual_seed(0))
    assert VLAD(2).fit(descriptors).encode(descriptors).shape == (2, 1024)
    assert FisherVector(2).fit(descriptors).encode(descriptors).shape == (2, 2048)


def test_crow_has_finite_gradients_where_a_cell_is_dead():
    features = torch.rand(1, 4, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    features[:, :, 1, 1] = 0
    leaf = features.clone().requires_grad_()
    crow(leaf).sum().backward()
    assert torch.isfinite(leaf.grad).all() and (leaf.grad != 0).any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_codebooks_on_cuda_equal_the_cpu():
    features = maps(4, 32, 9, 13)
    mask, descriptors = selection_mask(features), to_descriptors(features)
    for encoder in (VLAD(3).fit(descriptors), FisherVector(3, weight_gradients=True).fit(descriptors)):
        there = encoder.encode(descriptors.cuda(), mask.cuda()).cpu()
        torch.testing.assert_close(there, encoder.encode(descriptors, mask), rtol=1e-8, atol=1e-9)


def test_spoc_and_crow_do_not_overflow_in_half_precision():
    features = torch.full((1, 2, 14, 14), 400.0).half()
    for found, wide in (
        (spoc(features, center_prior=False), spoc(features.float(), center_prior=False)),
        (crow(features), crow(features.float())),
    ):
        assert found.dtype == torch.float32 and torch.isfinite(found).all()
        torch.testing.assert_close(found, wide)


def test_what_lies_in_dropped_cells_has_no_say_in_vlad_and_fisher_vector():
    descriptors = torch.rand(2, 30, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(30).expand(2, -1) < 20
    wild = descriptors.masked_fill(~mask[..., None], torch.inf)
    for codebook in (VLAD(2), FisherVector(2)):
        codebook.fit(descriptors)
        assert torch.equal(codebook.encode(wild, mask), codebook.encode(descriptors, mask))
