"""Search on validation for what makes DLFS work on real frames, as long as for a fixed grid and for attention.

    python -m experiments.ask_search search   # eight settings of each of three; no test frame is read
    python -m experiments.ask_search test     # what is missing of that, then the best of each: five seeds, test frames
    python -m experiments.ask_search save     # results/ask_search.json of what there is; test ends so too

It begins from the regularisation, the streams and the maps of `experiments.ask_nyudv2`, whose stage ``choose`` comes
first. The first setting of each of the three is a row of that experiment, the others change one thing, or two. A run
that is stopped goes on when the same command is given again.

Not searched: maps of 13 x 13, which take streams of their own.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from ask_lib.errors import ResultError
from experiments.ask_nyudv2 import GLOBAL, ROWS, SEEDS, Study, make_streams, row_of, settings_of, stream_seed
from experiments.ask_rows import Regular, Row
from experiments.ask_shared import base_of, parser_with_data, values_of
from experiments.ask_streams import Scenes, read_scenes
from experiments.recording import run, save

HERE = "ask_search"
FAMILIES = {
    "learned": "global + local, full",
    "grid": "global + local, grid",
    "attention": "global, spatial attention",
}
"""What is searched for, and the row of `experiments.ask_nyudv2` that it begins from."""

SEARCH_SEEDS = (0,)  # what the machine had time for
WIDTHS, DROPOUTS, DECAYS = (16, 64), (0.3, 0.5, 0.7), (1e-5, 1e-4, 1e-3)
PROTOCOL = (
    "mean-class accuracy, percent; a fifth of each class of the 795 training frames chooses each run's epoch, and the "
    "setting by one seed; the 654 test frames are read by the best setting of each family alone; "
    "intervals of a row's summary: Student's, over seeds; of the values: bootstrap over test frames, class by class, "
    "of the mean over seeds"
)


@dataclass(frozen=True)
class Setting:
    """What a run has and what holds it back."""

    row: Row
    how: Regular


def changed(start: Setting, row: Mapping[str, Any] | None = None, *, how: Any = None, **options: Any) -> Setting:
    """A setting with some of its row's fields, of its regularisation ``how`` or of its head's options changed."""
    fields = {"options": {**start.row.options, **options}, **(row or {})}
    return Setting(replace(start.row, **fields), replace(start.how, **(how or {})))


def settings_from(base: Regular) -> dict[str, dict[str, Setting]]:
    """Family to name to setting, eight each: what was tried is all here."""
    learned, grid, attention = (Setting(ROWS[name], base) for name in FAMILIES.values())
    little = {"weights": {"information": 0.01}}
    found = {
        "learned": {
            "temperature 0.3": changed(learned, temperature=0.3),
            "L_VI x 0.01": changed(learned, little),
            "floor 0.1": changed(learned, floor=0.1),
            "unit length": changed(learned, normalize=True),
            "local dropout 0.5": changed(learned, local_dropout=0.5),
            "temperature 0.3, L_VI x 0.01": changed(learned, little, temperature=0.3),
            "keypoints of RGB": changed(learned, points="rgb"),
        },
        "grid": {
            **{f"K = {k}": changed(grid, {"keypoints": (k, 0)}) for k in (9, 25, 49)},  # 49: all cells
            "without L_C": changed(grid, {"terms": GLOBAL}),
            "unit length": changed(grid, normalize=True),
            "local dropout 0.5": changed(grid, local_dropout=0.5),
            **{f"local width {w}": changed(grid, how={"local_width": w}) for w in _others(WIDTHS, base.local_width)},
        },
        "attention": {
            **{f"dropout {d:g}": changed(attention, how={"dropout": d}) for d in _others(DROPOUTS, base.dropout)},
            **{
                f"weight decay {d:g}": changed(attention, how={"weight_decay": d})
                for d in _others(DECAYS, base.weight_decay)
            },
            "three heads averaged": changed(attention, average=True),
            "width 192": changed(attention, width=192),
            "L_aux x 0.3": changed(attention, {"weights": {"auxiliary": 0.3}}),
        },
    }
    return {
        family: {FAMILIES[family]: first, **{f"{family}, {what}": each for what, each in found[family].items()}}
        for family, first in zip(FAMILIES, (learned, grid, attention), strict=True)
    }


def _others(values: Sequence[float], own: float) -> list[float]:
    return [value for value in values if value != own]


class Search(Study):
    """All trials, and the runs of what they choose.

    Args:
        scenes: The frames.
        weights: File of the network's weights.
        base: The regularisation to begin from.
    """

    def __init__(self, scenes: Scenes, weights: Path, base: Regular) -> None:
        self.families = settings_from(base)
        self.how = {name: each.how for settings in self.families.values() for name, each in settings.items()}
        super().__init__(
            scenes, weights, {name: each.row for settings in self.families.values() for name, each in settings.items()}
        )

    def trials(self, family: str) -> dict[str, dict[int, dict[str, Any]]]:
        """Setting to seed to trial, of those that are there."""
        pairs = itertools.product(self.families[family], SEARCH_SEEDS)
        parts = {(name, seed): self.trial(name, self.how[name], seed).found() for name, seed in pairs}
        return {
            name: {seed: part for seed in SEARCH_SEEDS if (part := parts[name, seed])} for name in self.families[family]
        }

    def searched(self, family: str) -> bool:
        """Whether no trial is missing."""
        return all(len(parts) == len(SEARCH_SEEDS) for parts in self.trials(family).values())

    def best(self, family: str) -> str:
        """The setting with the best mean on validation, the first of equals.

        Raises:
            ResultError: If a trial is missing.
        """
        if not self.searched(family):
            raise ResultError(f"{family}: not all settings were tried. Run the stage search first.")
        scores = {name: validation(parts) for name, parts in self.trials(family).items()}
        return max(scores, key=lambda name: scores[name])

    def runs(self, family: str, seeds: Iterable[int]) -> dict[int, dict[str, Any]]:
        """Seed to run of the best setting, of those that are there."""
        name = self.best(family)
        parts = {seed: self.row(name, self.how[name], seed).found() for seed in seeds}
        return {seed: part for seed, part in parts.items() if part}


def validation(parts: Mapping[int, Mapping[str, Any]]) -> float:
    """The mean over seeds."""
    return fmean(part["validation"] for part in parts.values())


def make_trials(search: Search, families: Iterable[str]) -> None:
    """The search, on some of the families."""
    make_streams(search, [stream_seed(seed) for seed in SEARCH_SEEDS])
    for seed, family in itertools.product(SEARCH_SEEDS, families):  # a seed's maps are a gigabyte
        for name in search.families[family]:
            search.trial(name, search.how[name], seed).made()


def make_runs(search: Search, families: Iterable[str], seeds: Iterable[int]) -> None:
    """The best of some of the families on the test frames."""
    best = [search.best(family) for family in families]
    for seed in seeds:
        make_streams(search, [stream_seed(seed)])
        for name in best:
            search.row(name, search.how[name], seed).made()


def write(search: Search, base: Regular, args: argparse.Namespace) -> None:
    """Write results/ask_search.json of the parts that are there."""
    done = [family for family in FAMILIES if search.searched(family)]
    runs = {family: found for family in done if (found := search.runs(family, args.seeds))}
    trials = {family: search.trials(family) for family in FAMILIES}
    labels = search.scenes.labels[search.scenes.test]
    every = [*runs.values(), *(parts for tried in trials.values() for parts in tried.values())]
    save(
        args.out,
        HERE,
        command="python -m experiments.ask_search test",
        title="What makes DLFS work on NYU Depth v2",
        data={"NYU Depth v2": search.scenes.version},
        settings=settings_of(search) | {"base": asdict(base), "seeds of the search": list(SEARCH_SEEDS)},
        seeds=args.seeds,
        protocol=PROTOCOL,
        complete=all(set(SEEDS) <= set(runs.get(family, {})) for family in FAMILIES),
        seconds=sum(part["seconds"] for parts in every for part in parts.values()),
        values=_values(search, trials, runs, labels),
        rows={family: row_of(parts) for family, parts in runs.items()},
        details={
            "classes": list(search.scenes.classes),
            "labels": "".join(map(str, labels.tolist())),
            "chosen": {family: search.best(family) for family in done},
            "tried": {family: _tried(search.families[family], tried) for family, tried in trials.items()},
        },
    )


def _values(
    search: Search,
    trials: Mapping[str, Mapping[str, Mapping[int, Mapping[str, Any]]]],
    runs: Mapping[str, Mapping[int, Mapping[str, Any]]],
    labels: torch.Tensor,
) -> dict[str, Any]:
    """Each setting's mean on validation, and the best of each family on test, beside each other."""
    tried = {name: parts for family in trials.values() for name, parts in family.items() if parts}
    scores = {f"validation, {name}": round(validation(parts), 4) for name, parts in tried.items()}
    differences = {f"{one} over {two}": (one, two) for one, two in itertools.combinations(FAMILIES, 2)}
    return scores | values_of(runs, differences, labels)


def _tried(
    settings: Mapping[str, Setting], trials: Mapping[str, Mapping[int, Mapping[str, Any]]]
) -> dict[str, dict[str, Any]]:
    """Settings by name, each with its validation by seed."""
    return {
        name: asdict(each) | {"validation": {str(seed): part["validation"] for seed, part in trials[name].items()}}
        for name, each in settings.items()
    }


def record(args: argparse.Namespace) -> None:
    """Run a stage."""
    torch.set_num_threads(args.threads)
    scenes = read_scenes(args.root, cache=args.cache)
    base = base_of(Study(scenes, args.weights))
    search = Search(scenes, args.weights, base)
    if args.stage in ("search", "test"):
        make_trials(search, args.families)
    if args.stage == "test":
        make_runs(search, args.families, args.seeds)
    if args.stage in ("test", "save"):
        write(search, base, args)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = parser_with_data("experiments.ask_search", __doc__)
    parser.add_argument("stage", choices=["search", "test", "save"])
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    return run(parser, record, arguments)


if __name__ == "__main__":
    torch.set_flush_denormal(True)  # of the whole process: late epochs are nearly twice as fast
    raise SystemExit(main())
