"""What the experiments that stand on `experiments.ask_nyudv2`'s streams, maps and regularisation share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ask_lib.errors import ResultError
from experiments import ask_nyudv2
from experiments.ask_nyudv2 import SEEDS, Study, choose, trials_of
from experiments.ask_rows import Regular, over_frames, rights
from experiments.recording import REALDATA, parser_of

Runs = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""Row to seed to what `experiments.ask_streams.judged` keeps."""


def base_of(study: Study) -> Regular:
    """The regularisation that `experiments.ask_nyudv2` chose.

    Raises:
        ResultError: If it has not chosen yet.
    """
    trials = trials_of(study)
    if len(trials) < len(ask_nyudv2.GRID) * len(ask_nyudv2.CHOOSERS):
        raise ResultError("the regularisation is not chosen. Run python -m experiments.ask_nyudv2 choose first.")
    return choose(trials)


def values_of(runs: Runs, differences: Mapping[str, tuple[str, str]], labels: torch.Tensor) -> dict[str, Any]:
    """Percent with intervals over test frames: of the rows, each the mean over its seeds, and of differences of two.

    Args:
        runs: Of the rows that are there.
        differences: Name to two rows, the first less the second, over the seeds that both have.
        labels: Of the test frames.
    """
    values = {name: over_frames(_mean_right(parts, labels), labels) for name, parts in runs.items()}
    for name, (after, before) in differences.items():
        if seeds := runs.get(after, {}).keys() & runs.get(before, {}).keys():
            one, two = (_mean_right({seed: runs[row][seed] for seed in seeds}, labels) for row in (after, before))
            values[name] = over_frames(one - two, labels)
    return {
        f"{name}{end}": round(getattr(value, part), 4)
        for name, value in values.items()
        for end, part in (("", "mean"), (" low", "low"), (" high", "high"))
    }


def _mean_right(parts: Mapping[int, Mapping[str, Any]], labels: torch.Tensor) -> torch.Tensor:
    """How often each test frame was called right, percent, ``(N,)``."""
    return 100 * torch.stack([rights(part["predicted"], labels) for part in parts.values()]).mean(dim=0)


def parser_with_data(module: str, doc: str | None, seeds: Sequence[int] = SEEDS) -> argparse.ArgumentParser:
    """A command's parser with ``--seeds`` and ``--out``, and where frames and weights lie."""
    parser = parser_of(module, doc, seeds=seeds)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--root", type=Path, default=REALDATA / "nyuv2", help="the folder with rgb/, depth/, labels.csv"
    )
    parser.add_argument("--weights", type=Path, default=REALDATA / "weights" / "squeezenet1_1_places365.pt")
    parser.add_argument("--cache", type=Path, default=None, help="cache folder of HHA; usually ~/.cache/ask_lib")
    return parser
