"""Learning-rate schedules in closed form: a function of the step alone, so there is no state to save."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ask_lib.checks import check_choice, check_range

KINDS = ("constant", "cosine", "step")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the learning rate runs, as a factor of its base value.

    Attributes:
        kind: ``constant``; ``cosine`` down to ``final``; ``step``: times ``factor`` every ``every`` epochs.
        warmup: Epochs (fractions allowed) of a linear rise at the start, whatever the kind.
        final: The cosine's last factor.
        factor: The step's factor; ASK's "reduced by a fraction of 0.9 every 80 epochs" is read as times 0.9.
        every: Epochs between steps.
    """

    kind: str = "cosine"
    warmup: float = 0.0
    final: float = 0.0
    factor: float = 0.9
    every: int = 80

    def __post_init__(self) -> None:
        check_choice("schedule.kind", self.kind, KINDS)
        check_range("schedule.warmup", self.warmup, 0)
        check_range("schedule.final", self.final, 0, 1)
        check_range("schedule.factor", self.factor, 0, 1, open_low=True)
        check_range("schedule.every", self.every, 1)

    def __call__(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """The factor for one step.

        Args:
            step: From 0, over the whole run.
            steps_per_epoch: Steps in an epoch.
            epochs: Epochs in the run.

        Returns:
            With W warm-up steps of T: (step + 1) / W in the warm-up; at step W the cosine stands at 1, at step T (one
            after the last) at ``final``.
        """
        warmup = round(self.warmup * steps_per_epoch)
        if step < warmup:
            return (step + 1) / warmup
        if self.kind == "cosine":
            progress = (step - warmup) / max(1, steps_per_epoch * epochs - warmup)
            return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))
        if self.kind == "step":
            return float(self.factor ** (step // steps_per_epoch // self.every))
        return 1.0
