"""What a run shows while it runs: a bar, and TensorBoard where it is asked for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from ask_lib.train.errors import RecipeError


class Progress:
    """A bar over all steps of a run, with epoch, loss terms and images per second.

    Args:
        total: Steps in the run.
        done: Steps done already.
        shown: Whether to show it.
    """

    def __init__(self, total: int, done: int, shown: bool) -> None:
        self._bar: Any = None
        self._board: Any = None
        self._validation = ""
        if shown:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, initial=done, unit="step", dynamic_ncols=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._board is not None:
            self._board.close()

    def open_tensorboard(self, out: Path | None, done: int) -> None:
        """Log to a run's folder; what a killed run logged beyond ``done`` steps is dropped.

        Warns, and logs nothing, where TensorBoard is not installed: no run is lost for its log.

        Args:
            out: The run's folder.
            done: Steps done already.

        Raises:
            RecipeError: If there is no folder.
        """
        if out is None:
            raise RecipeError("tensorboard: expected a folder to log to. Give the run one with out=...")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            text = "tensorboard: not installed, so nothing is logged for it. Install it with `pip install tensorboard`."
            warnings.warn(text, stacklevel=2)
            return
        self._board = SummaryWriter(str(out / "tensorboard"), purge_step=done + 1)  # what stands at `done` stays

    def show(self, done: int, epoch: int, terms: Mapping[str, float], rate: float) -> None:
        """Bring bar and log up to ``done`` steps; ``terms`` are the epoch's means so far."""
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
            self._bar.set_description(f"epoch {epoch + 1}")
            text = " ".join(f"{name} {value:.4g}" for name, value in terms.items())
            self._bar.set_postfix_str(f"{text} {rate:.0f} images/s{self._validation}")
        if self._board is not None:
            for name, value in {**terms, "images_per_second": rate}.items():
                self._board.add_scalar(f"train/{name}", value, done)

    def note(self, entry: Mapping[str, Any], done: int) -> None:
        """Take in an epoch's entry of the history; the log counts in steps here too, or no purge could find it."""
        scores = entry.get("validation", {})
        if scores:
            self._validation = f" validation {100 * scores['mean_class_accuracy']:.1f} %"
        if self._board is not None:
            for name, value in {**scores, "lr": entry["lr"]}.items():
                self._board.add_scalar(f"epoch/{name}", value, done)
