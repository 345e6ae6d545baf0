"""How far a mean can be trusted: the bootstrap over queries or images."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ask_lib.checks import check_range, check_shape
from ask_lib.errors import RangeError

_SAMPLES = 2000
_AT_ONCE = 2**24  # drawn values that are held at once


@dataclass(frozen=True)
class Interval:
    """A mean, and the ends of the interval where it would lie with other queries."""

    mean: float
    low: float
    high: float

    @property
    def beyond_zero(self) -> bool:
        """Whether the interval lies on one side of zero; a difference that does is more than chance."""
        return self.low > 0 or self.high < 0


def bootstrap(values: torch.Tensor, *, seed: int = 0, weights: torch.Tensor | None = None) -> Interval:
    """95 % percentile interval of a mean, from 2,000 samples drawn with replacement.

    Of two methods on the same queries, give the differences query by query: what makes a query hard for both cancels.
    The interval speaks of other queries from the same source, not of another gallery or another network. With fewer
    than about fifteen values it is too narrow.

    Args:
        values: ``(Q,)``, one score a query; at least one, all finite.
        seed: Of the draw.
        weights: ``(Q,)``, not negative: for an item that was asked several times, how often. The item is drawn as one.

    Raises:
        ShapeError: If ``values`` is not one-dimensional, or ``weights`` are not as many.
        RangeError: If there is no value, or a weight is negative or all are zero, or a value or a weight is not finite.
    """
    check_shape("values", values, "Q")
    check_range("number of values", len(values), 1)
    wide = values.detach().double().cpu()
    weight = torch.ones_like(wide) if weights is None else weights.detach().double().cpu()
    check_shape("weights", weight, (len(wide),), "One weight a value.")
    for name, held in (("values", wide), ("weights", weight)):
        if broken := int((~held.isfinite()).sum()):
            raise RangeError(f"{name}: expected finite numbers, got {broken} that are not.")
    check_range("the least weight", float(weight.min()), 0)
    check_range("sum of the weights", float(weight.sum()), 0, open_low=True)
    generator = torch.Generator().manual_seed(seed)
    means, at_once = [], max(1, _AT_ONCE // len(wide))
    for start in range(0, _SAMPLES, at_once):
        drawn = torch.randint(len(wide), (min(at_once, _SAMPLES - start), len(wide)), generator=generator)
        means.append((wide * weight)[drawn].sum(dim=1) / weight[drawn].sum(dim=1))
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = torch.nanquantile(torch.cat(means), ends).tolist()  # a sample of weightless items has no mean
    return Interval(float((wide * weight).sum() / weight.sum()), low, high)
