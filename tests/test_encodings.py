"""All rows at once: the right rows, a batch of two as two of one, and the bootstrap and the controls beside them."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch

from ask_lib.errors import AskError, RangeError, ShapeError
from ask_lib.evaluate.controls import middle_mask, shuffled_mask
from ask_lib.evaluate.encodings import Encodings, Maps
from ask_lib.evaluate.spread import bootstrap
from ask_lib.methods import encoding
from ask_lib.methods.descriptors import to_descriptors
from ask_lib.methods.scda import selection_mask
from tests import oracles


def maps(number: int = 3, seed: int = 0) -> Maps:
    draw = torch.Generator().manual_seed(seed)
    shapes = [(number, 8, 5, 6), (number, 6, 10, 12)] * 2
    return Maps(*(torch.randn(*shape, generator=draw).relu() for shape in shapes))


def by_hand(high: list, low: list, high_flip: list, low_flip: list) -> dict[str, list[float]]:  # type: ignore[type-arg]
    """Every row that needs no fit, of one image, from the oracles; ``alpha`` 0.25, ``p`` 2, three levels of R-MAC."""
    every = [[True] * len(high[0][0]) for _ in high[0]]
    above = oracles.above_mean(oracles.activation(high))
    kept = oracles.kept_descriptors(high, oracles.largest_component(above))
    whole = oracles.kept_descriptors(high, every)
    return {
        "avg": oracles.mean(whole, len(high)),
        "max": oracles.maximum(whole, len(high)),
        "avg&max": oracles.scda(high, every),
        "avg&max, flip": oracles.scda(high, every) + oracles.scda(high_flip, every),
        "SPoC (without cen.)": [len(whole) * value for value in oracles.mean(whole, len(high))],
        "SPoC (with cen.)": oracles.spoc(high),
        "CroW": oracles.crow(high),
        "GeM": oracles.gem(high, 2.0),
        "R-MAC": oracles.rmac(high, 3),
        "avg, selected": oracles.mean(kept, len(high)),
        "max, selected": oracles.maximum(kept, len(high)),
        "SCDA, all above": oracles.scda(high, above),
        "SCDA": oracles.scda(high),
        "SCDA, flip": oracles.scda(high) + oracles.scda(high_flip),
        "SCDA+": oracles.scda_plus(high, low, 0.25),
        "SCDA_flip+": oracles.scda_plus(high, low, 0.25) + oracles.scda_plus(high_flip, low_flip, 0.25),
    }


def test_each_row_is_what_its_name_says():
    given = maps()
    rows = Encodings(alpha=0.25, p=2.0)(given)
    for at in range(3):
        expected = by_hand(*(part[at].tolist() for part in vars(given).values()))
        assert set(rows) == set(expected)
        for name, vector in expected.items():
            torch.testing.assert_close(rows[name][at], torch.tensor(vector), rtol=1e-4, atol=1e-5)


def test_codebooks_are_fitted_on_all_or_on_the_kept_descriptors():
    """Fitted by the library, encoded by the oracles: signed square root, then unit length."""
    given = maps(20)
    fitted = Encodings(seed=3).fit([given.high])
    rows, image = fitted(given), given.high[0].tolist()
    kept = oracles.kept_descriptors(image, oracles.largest_component(oracles.above_mean(oracles.activation(image))))
    whole = oracles.kept_descriptors(image, [[True] * len(image[0][0]) for _ in image[0]])
    for which, (vlad, fisher, descriptors) in enumerate(
        [("VLAD", "Fisher vector", whole), ("selectVLAD", "selectFV", kept)]
    ):
        words, mixture = fitted.vlad[which], fitted.fisher[which]
        assert words.centroids is not None and mixture.means is not None
        given_by_hand = {
            vlad: oracles.vlad(descriptors, words.centroids.tolist()),
            fisher: [
                value
                for part in oracles.fisher(
                    descriptors, mixture.weights.tolist(), mixture.means.tolist(), mixture.variances.tolist()
                )[1:]
                for value in part
            ],
        }
        for name, vector in given_by_hand.items():
            rooted = [math.copysign(math.sqrt(abs(value)), value) for value in vector]
            torch.testing.assert_close(rows[name][0], torch.tensor(oracles.unit(rooted)), rtol=1e-3, atol=1e-4)


def test_the_kept_descriptors_have_codebooks_of_their_own():
    given = maps(20)
    fitted, kept = Encodings(seed=3).fit([given.high]), selection_mask(given.high)
    alone = encoding.VLAD(2, seed=3).fit(to_descriptors(given.high), kept.flatten(1))
    torch.testing.assert_close(fitted.vlad[1].centroids, alone.centroids)
    assert not torch.allclose(fitted.vlad[0].centroids, alone.centroids)


def test_maps_of_several_grids_fit_one_codebook():
    first, second = maps(6).high, maps(6, seed=1).high[:, :, :3]
    fitted = Encodings().fit([first, second])
    joined = torch.cat([to_descriptors(first).flatten(0, 1), to_descriptors(second).flatten(0, 1)])[None]
    wanted = encoding.VLAD(2).fit(joined)
    torch.testing.assert_close(fitted.vlad[0].centroids, wanted.centroids)


def test_a_batch_of_two_is_two_of_one():
    both, fitted = maps(2), Encodings().fit([maps(12, seed=5).high])
    together = fitted(both)
    for at in range(2):
        alone = fitted(Maps(*(part[at : at + 1] for part in vars(both).values())))
        for name, vectors in together.items():
            torch.testing.assert_close(vectors[at : at + 1], alone[name])


def test_codebooks_ask_to_be_fitted():
    with pytest.raises(AskError, match="fit"):
        Encodings().coded(maps().high)


def test_the_bootstrap_agrees_with_the_normal_interval():
    values = torch.randn(400, generator=torch.Generator().manual_seed(0)) + 2
    found = bootstrap(values, rounds=5000)
    reach = 1.96 * float(values.std()) / 20
    assert found.mean == pytest.approx(float(values.double().mean()))
    assert found.low == pytest.approx(found.mean - reach, abs=0.02)
    assert found.high == pytest.approx(found.mean + reach, abs=0.02)
    assert found.beyond_zero and not bootstrap(values - 2).beyond_zero


def test_the_bootstrap_weighs_items_that_were_asked_several_times():
    values = torch.randn(200, generator=torch.Generator().manual_seed(3))
    times = torch.arange(200) % 3
    found = bootstrap(values, weights=times)
    repeated = values.double().repeat_interleave(times)
    assert found.mean == pytest.approx(float(repeated.mean()))
    # Repeats are no further evidence: the interval is wider than if each were an item of its own.
    alone = bootstrap(repeated)
    assert found.high - found.low > 1.15 * (alone.high - alone.low)
    assert bootstrap(values, weights=torch.ones(200)) == bootstrap(values)
    with pytest.raises(RangeError, match="weight"):
        bootstrap(values, weights=torch.zeros(200))
    with pytest.raises(RangeError, match="weight"):
        bootstrap(values, weights=torch.linspace(-1, 1, 200))
    with pytest.raises(ShapeError, match="weights"):
        bootstrap(values, weights=torch.ones(3))


def test_the_bootstrap_is_repeatable_and_knows_its_limits():
    values = torch.rand(30, generator=torch.Generator().manual_seed(1))
    assert bootstrap(values) == bootstrap(values) != bootstrap(values, seed=1)
    assert vars(bootstrap(torch.full((5,), 3.0))) == {"mean": 3.0, "low": 3.0, "high": 3.0}
    with pytest.raises(RangeError):
        bootstrap(torch.zeros(0))
    with pytest.raises(ShapeError):
        bootstrap(torch.zeros(2, 2))
    for fault in (torch.nan, torch.inf):
        broken = torch.ones(30).index_fill_(0, torch.tensor(3), fault)
        with pytest.raises(RangeError, match=r"values: expected finite numbers, got 1 that are not\."):
            bootstrap(broken)
        with pytest.raises(RangeError, match=r"weights: expected finite numbers"):
            bootstrap(torch.ones(30), weights=broken)


def test_the_middle_mask_has_as_many_cells_nearest_to_the_middle():
    mask = torch.rand(9, 5, 7, generator=torch.Generator().manual_seed(0)) > torch.linspace(0, 1, 9)[:, None, None]
    middle = middle_mask(mask)
    assert middle.sum(dim=(1, 2)).tolist() == mask.sum(dim=(1, 2)).tolist()


@pytest.mark.parametrize(("height", "width"), [(5, 7), (14, 14), (15, 20), (6, 9)])
def test_of_cells_equally_near_the_middle_mask_takes_the_first_in_reading_order(height: int, width: int):
    def distance(cell: int) -> Fraction:
        y, x = divmod(cell, width)
        return Fraction(2 * y + 1 - height, height) ** 2 + Fraction(2 * x + 1 - width, width) ** 2

    order = sorted(range(height * width), key=distance)  # stable: equals stay in reading order
    counts = torch.arange(height * width + 1)
    mask = (torch.arange(height * width) < counts[:, None]).view(-1, height, width)
    for count, middle in zip(counts.tolist(), middle_mask(mask), strict=True):
        assert sorted(order[:count]) == middle.flatten().nonzero()[:, 0].tolist()


def test_a_shuffled_mask_is_another_ones():
    mask = torch.eye(6).bool()[:, None].expand(6, 2, 6)
    shuffled = shuffled_mask(mask)
    assert not (shuffled == mask).all(dim=(1, 2)).any()
    assert shuffled.sum(dim=0).tolist() == mask.sum(dim=0).tolist()  # each one is used once
    assert torch.equal(shuffled_mask(mask[:1]), mask[:1])
    with pytest.raises(ShapeError):
        shuffled_mask(mask[0])
    with pytest.raises(ShapeError):
        middle_mask(mask[0])
