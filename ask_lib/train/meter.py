"""What a run counts while it runs: loss terms, and whether they are numbers."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ask_lib.checks import check_choice, check_shape
from ask_lib.errors import NonFiniteError
from ask_lib.train.distributed import Process, all_reduce

NEVER = 2**62


class Meter:
    """Loss terms of an epoch, added up on the device, and the first step at which one was not finite."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = weights
        self.names: list[str] = []
        self.sums = self.first_bad = torch.zeros(0)
        self.count = 0

    def add(self, terms: Mapping[str, torch.Tensor], samples: int, step: int) -> torch.Tensor:
        """Take in one step's terms (scalars, always the same names); returns their weighted sum."""
        if not self.names:
            self._start(terms)
        for name in terms:
            check_choice("loss term", name, self.names)
        for name in self.names:
            check_choice("loss term of the first step", name, terms)
        values = torch.stack([terms[name].detach().double() for name in self.names])  # (T,)
        self.sums += values * samples
        self.count += samples
        self.first_bad = torch.minimum(self.first_bad, torch.where(values.isfinite(), NEVER, step))
        weighted = [self.weights.get(name, 1.0) * terms[name] for name in self.names if self.weights.get(name, 1.0)]
        return torch.stack(weighted).sum()

    def _start(self, terms: Mapping[str, torch.Tensor]) -> None:
        for name, value in terms.items():
            check_shape(f"loss term {name!r}", value, (), "A step's terms are means over the batch.")
        for name in self.weights:
            check_choice("loss weight", name, terms)
        self.names = list(terms)
        device = next(iter(terms.values())).device
        self.sums = torch.zeros(len(terms), dtype=torch.float64, device=device)
        self.first_bad = torch.full((len(terms),), NEVER, dtype=torch.long, device=device)

    def check(self, process: Process, epoch: int) -> None:
        """Wait for the device; where a term was not finite, raise NonFiniteError in every process."""
        steps: list[int] = all_reduce(self.first_bad, process, "min").tolist()
        first = min(steps, default=NEVER)
        if first < NEVER:
            names = ", ".join(repr(name) for name, step in zip(self.names, steps, strict=True) if step == first)
            raise NonFiniteError(
                f"loss term {names}: not finite (NaN or infinite) in epoch {epoch}, step {first} (both from 0). "
                "Lower lr, or look for a logarithm or a division of zero in that term."
            )

    def means(self, process: Process) -> dict[str, float]:
        """The terms' means so far, over all processes."""
        count = int(all_reduce(torch.tensor(self.count, device=self.sums.device), process))
        sums = all_reduce(self.sums, process).tolist()
        return {name: value / count for name, value in zip(self.names, sums, strict=True)}
