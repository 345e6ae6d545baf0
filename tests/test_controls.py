"""How far a mean can be trusted, and masks that look at nothing."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from ask_lib.errors import RangeError, ShapeError
from ask_lib.evaluate.controls import centre_mask, shuffled_mask
from ask_lib.evaluate.spread import bootstrap


def test_the_bootstrap_agrees_with_the_normal_interval():
    values = torch.randn(400, generator=torch.Generator().manual_seed(0)) + 2
    found = bootstrap(values)
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


def test_the_centre_mask_has_as_many_cells_nearest_to_the_centre():
    mask = torch.rand(9, 5, 7, generator=torch.Generator().manual_seed(0)) > torch.linspace(0, 1, 9)[:, None, None]
    centre = centre_mask(mask)
    assert centre.sum(dim=(1, 2)).tolist() == mask.sum(dim=(1, 2)).tolist()


@pytest.mark.parametrize(("height", "width"), [(5, 7), (14, 14), (15, 20), (6, 9)])
def test_of_cells_equally_near_the_centre_mask_takes_the_first_in_reading_order(height: int, width: int):
    def distance(cell: int) -> Fraction:
        y, x = divmod(cell, width)
        return Fraction(2 * y + 1 - height, height) ** 2 + Fraction(2 * x + 1 - width, width) ** 2

    order = sorted(range(height * width), key=distance)  # stable: equals stay in reading order
    counts = torch.arange(height * width + 1)
    mask = (torch.arange(height * width) < counts[:, None]).view(-1, height, width)
    for count, centre in zip(counts.tolist(), centre_mask(mask), strict=True):
        assert sorted(order[:count]) == centre.flatten().nonzero()[:, 0].tolist()


def test_a_shuffled_mask_is_another_ones():
    mask = torch.eye(6).bool()[:, None].expand(6, 2, 6)
    shuffled = shuffled_mask(mask)
    assert not (shuffled == mask).all(dim=(1, 2)).any()
    assert shuffled.sum(dim=0).tolist() == mask.sum(dim=0).tolist()  # each one is used once
    assert torch.equal(shuffled_mask(mask[:1]), mask[:1])
    with pytest.raises(ShapeError):
        shuffled_mask(mask[0])
    with pytest.raises(ShapeError):
        centre_mask(mask[0])
