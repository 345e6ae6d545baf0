"""Record ASK on the real NYU Depth v2: Tables I and IV of its paper, and what keypoints are to be held against.

    python -m experiments.ask_nyudv2 streams              # each stream fine-tuned alone: rates, then three seeds
    python -m experiments.ask_nyudv2 choose               # the regularisation, on streams of the first seed
    python -m experiments.ask_nyudv2 rows [--rows NAME]   # all rows, or some, and what is missing before them
    python -m experiments.ask_nyudv2 whole                # a few rows with everything fine-tuned, one seed
    python -m experiments.ask_nyudv2 save                 # results/ask_nyudv2.json of what there is: rows, whole end so

A run that is stopped goes on when the same command is given again. How streams are trained is in
`experiments.ask_streams`, rows in `experiments.ask_rows`, whole networks in `experiments.ask_whole`. Of each class of
the official training frames a fifth chooses the epoch; the test frames are read once a run, at that epoch. Dropout,
weight decay and the width of local features are chosen on that fifth too, once, by the mean of two rows, one with
learned keypoints and one with the grid.

Departs from paper: SqueezeNet for ResNet18; no start from SUN RGB-D; lower layers fixed after each stream's own
training; no row for raw depth. Where Table I does not say so, L_aux is in each row with global features.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from ask_lib.checks import check_choice
from ask_lib.errors import ResultError
from ask_lib.files import read_object
from ask_lib.models.backbones import load_backbone
from ask_lib.results import summarise
from ask_lib.train.config import TrainConfig
from ask_lib.train.loop import Task
from experiments import ask_rows, ask_streams, ask_whole
from experiments.ask_rows import (
    Regular,
    Row,
    keep_maps,
    over_frames,
    probe,
    rights,
    row_config,
    row_task,
    train_row,
    trial,
)
from experiments.ask_streams import (
    MODALITIES,
    NETWORK,
    RATES,
    Scenes,
    Stream,
    StreamRun,
    logic_digest,
    read_scenes,
    stream_config,
)
from experiments.recording import KEPT, REALDATA, kept, parser_of, run, save
from tools.imports import digest

HERE, WHOLE = "ask_nyudv2", "whole,"
MADE_BY = {"streams": ask_streams.MADE_BY, "rows": ask_rows.MADE_BY, "whole": ask_whole.MADE_BY}
Train = Callable[[Task, TrainConfig, Path], dict[str, Any]]
STREAM_SEEDS = (0, 1, 2)
SEEDS = (0, 1, 2, 3, 4)
GLOBAL, LOCAL = ("main", "auxiliary"), ("main",)
VI, LC = ("information",), ("correlation",)
NO_POINTS = (0, 0)


def _local(*terms: str, **options: Any) -> Row:
    return Row(terms=(*LOCAL, *terms), options={"local_only": True, **options})


def _both(*terms: str, keypoints: tuple[int, int] = (16, 0), **options: Any) -> Row:
    return Row(terms=(*GLOBAL, *terms), keypoints=keypoints, options=options)


ROWS: Mapping[str, Row] = {
    "RGB": Row(terms=("auxiliary",), keypoints=NO_POINTS, reads="rgb"),
    "HHA": Row(terms=("auxiliary",), keypoints=NO_POINTS, reads="hha"),
    "global": Row(terms=LOCAL, keypoints=NO_POINTS),
    "global, L_aux": _both(keypoints=NO_POINTS),
    "global, spatial attention": _both(keypoints=NO_POINTS, attention=True),
    "local": _local(),
    "local, L_C": _local(*LC),
    "local, L_VI": _local(*VI),
    "local, full": _local(*VI, *LC),
    "global + local": _both(),
    "global + local, L_C": _both(*LC),
    "global + local, L_VI": _both(*VI),
    "global + local, full": _both(*VI, *LC),
    "global + local, full, all channels": _both(*VI, *LC, local_width=0),
    "global + local, two scales": _both(*VI, *LC, keypoints=(16, 4)),
    **{f"K = {k}": _both(*VI, *LC, keypoints=(k, 0)) for k in (1, 3, 9, 25, 36)},
    **{f"global + local, {points}": _both(*LC, points=points) for points in ("grid", "random", "strongest")},
    **{f"global + local, {points} keypoints": _both(*VI, *LC, points=points) for points in ("rgb", "depth")},
    **{f"local, {points}": _local(*LC, points=points) for points in ("grid", "random", "strongest")},
}
"""The losses of points that are not learned are those that apply: all but L_VI."""

SAME = {"K = 0": "global, L_aux", "K = 16": "global + local, full"}
"""Table IV's rows that stand in Table I."""

GAINS = {
    "L_aux": ("global, L_aux", "global"),
    "HHA": ("global, L_aux", "RGB"),
    "attention": ("global, spatial attention", "global, L_aux"),
    "local features": ("global + local, full", "global, L_aux"),
    "few numbers a keypoint": ("global + local, full", "global + local, full, all channels"),
    "second scale": ("global + local, two scales", "global + local, full"),
    "L_C": ("global + local, L_C", "global + local"),
    "L_VI": ("global + local, L_VI", "global + local"),
    "both losses": ("global + local, full", "global + local"),
    "both losses, local": ("local, full", "local"),
    "ASK over attention": ("global + local, full", "global, spatial attention"),
    **{f"over {p}": ("global + local, full", f"global + local, {p}") for p in ("grid", "random", "strongest")},
    **{f"over {p} keypoints": ("global + local, full", f"global + local, {p} keypoints") for p in ("rgb", "depth")},
    **{f"over {p}, local": ("local, full", f"local, {p}") for p in ("grid", "random", "strongest")},
}
"""Differences of two rows, test frame by test frame, each the mean over seeds."""

CHOOSERS = ("global + local, full", "global + local, grid")
GRID = tuple(
    Regular(dropout=dropout, weight_decay=decay, local_width=width)
    for width, dropout, decay in itertools.product((16, 64), (0.5, 0.7), (1e-4, 1e-3))
)
GRID_SEED = 0
PROTOCOL = (
    "mean-class accuracy, percent; a fifth of each class of the 795 training frames chooses the epoch and the "
    "regularisation, the 654 test frames are read once a run; intervals of a row's summary: Student's, over seeds; of "
    "the values: bootstrap over test frames, class by class, of the mean over seeds"
)


@dataclass(frozen=True)
class Part:
    """What one run leaves, kept under its name as long as it is made from the same.

    Attributes:
        name: Of its file.
        key: What it is made from.
        make: Makes it, in the folder it is given, where there may be checkpoints of it.
    """

    name: str
    key: str
    make: Callable[[Path], dict[str, Any]]

    @property
    def folder(self) -> Path:
        """For what is too large for JSON."""
        return KEPT / HERE / f"{self.name}-{digest([self.key.encode()])[:8]}"

    def made(self) -> dict[str, Any]:
        """The part; a line says what it came to."""
        part = kept(KEPT / HERE, self.name, self.key, lambda: self.make(self.folder))
        if "best_epoch" in part:
            print(f"  {self.name}: validation {part['validation']:.1f}, epoch {part['best_epoch'] + 1}", flush=True)
        return part

    def found(self) -> dict[str, Any] | None:
        """The part if it is there, else None."""
        path = KEPT / HERE / f"{self.name}.json"
        held = read_object(path, "a part of an experiment", ResultError) if path.is_file() else {}
        part: dict[str, Any] | None = held.get("part") if held.get("key") == self.key else None
        return part


class Study:
    """All parts, on some frames and the network that every stream starts from.

    Args:
        scenes: The frames.
        weights: File of the network's weights.
        rows: Which there are, by name; the paper's and the controls' if none are given.
    """

    def __init__(self, scenes: Scenes, weights: Path, rows: Mapping[str, Row] | None = None) -> None:
        self.scenes, self.weights, self.rows = scenes, weights, ROWS if rows is None else rows
        self._base = f"torch {torch.__version__}, {load_backbone(NETWORK, weights).weights}"
        self._code = {each: logic_digest(made) for each, made in MADE_BY.items()}
        self._maps: tuple[int, dict[str, torch.Tensor]] | None = None

    def stream_run(self, modality: str, seed: int, rate: float | None = None) -> tuple[str, StreamRun]:
        """A training of the first stage and its key, at a rate; at the chosen one if none is given."""
        config = stream_config(self.scenes, modality, seed, rate or self.rate(modality))
        key = f"{self._base}, settings {config.digest()}, code {self._code['streams']}"
        folder = KEPT / HERE / f"{modality}-{seed}-{digest([key.encode()])[:8]}"
        return key, StreamRun(self.scenes, self.weights, config, modality, folder)

    def stream(self, modality: str, seed: int) -> Part:
        """The first stage."""
        key, run = self.stream_run(modality, seed)
        return Part(f"{modality}-{seed}", key, lambda _: run.judged())

    def rate_trial(self, modality: str, rate: float) -> Part:
        """A run that helps to choose the rate; if it is chosen, the first stage goes on where it ended."""
        key, run = self.stream_run(modality, GRID_SEED, rate)
        return Part(f"{modality}, rate {rate:g}", key, lambda _: run.tried())

    def rates(self, modality: str) -> dict[float, float]:
        """Rate to validation, of those that were tried."""
        found = {rate: self.rate_trial(modality, rate).found() for rate in RATES}
        return {rate: part["validation"] for rate, part in found.items() if part}

    @property
    def rates_tried(self) -> bool:
        """Whether no trial of a rate is missing; nothing else can be there before."""
        return all(len(self.rates(modality)) == len(RATES) for modality in MODALITIES)

    def rate(self, modality: str) -> float:
        """The rate with the best validation, the first of equals.

        Raises:
            ResultError: If some were not tried yet.
        """
        scores = self.rates(modality)
        if len(scores) < len(RATES):
            raise ResultError(f"{modality}: not all rates were tried. Run the stage streams first.")
        return max(RATES, key=lambda rate: scores[rate])

    def row(self, name: str, how: Regular, seed: int) -> Part:
        """A run of the second stage."""
        return Part(f"{name} {seed}", self._row_key(name, how, seed), partial(self._train, train_row, name, how, seed))

    def whole(self, name: str, how: Regular, seed: int) -> Part:
        """A run with everything fine-tuned."""
        rates = self.rate("rgb"), self.rate("hha")
        config = ask_whole.whole_config(self.scenes, name, how, seed, rates)
        key = f"{self._base}, settings {config.digest()}, {self.rows[name]}, {how}, code {self._code['whole']}"
        task = partial(ask_whole.whole_task, self.scenes, self.weights, self.rows[name], how, seed)
        return Part(f"{WHOLE} {name} {seed}", key, lambda folder: train_row(task(), config, folder))

    def trial(self, name: str, how: Regular, seed: int = GRID_SEED) -> Part:
        """A run that helps to choose; the test frames are not read."""
        settings = f"{how.local_width} {how.dropout} {how.weight_decay} {seed}"
        return Part(f"{name}, {settings}", self._row_key(name, how, seed), partial(self._train, trial, name, how, seed))

    def probe(self) -> Part:
        """The frozen network's linear probe."""
        key = f"{self._base}, {self.scenes.version}, code {self._code['rows']}"
        return Part("probe", key, lambda _: probe(self.scenes, self.weights))

    def _row_key(self, name: str, how: Regular, seed: int) -> str:
        settings = f"{row_config(self.scenes, name, how, seed).digest()}, {self.rows[name]}, {how}"
        streams = [self.stream(modality, stream_seed(seed)).key for modality in MODALITIES]
        return f"{streams}, settings {settings}, code {self._code['rows']}"

    def task(self, name: str, how: Regular, seed: int) -> Task:
        """What a run of the second stage trains."""
        first = stream_seed(seed)
        return row_task(self.scenes, self._maps_of(first), self._trained(first), self.rows[name], how, seed)

    def _train(self, train: Train, name: str, how: Regular, seed: int, folder: Path) -> dict[str, Any]:
        return train(self.task(name, how, seed), row_config(self.scenes, name, how, seed), folder)

    def _trained(self, seed: int) -> dict[str, Stream]:
        """Both streams of a seed, as the first stage left them."""
        return {modality: self.stream_run(modality, seed)[1].trained() for modality in MODALITIES}

    def _maps_of(self, seed: int) -> dict[str, torch.Tensor]:
        """The maps of a seed's streams; the last ones asked for stay in memory, a gigabyte."""
        from safetensors.torch import load_file

        if self._maps is None or self._maps[0] != seed:
            key = "-".join(self.stream_run(modality, seed)[1].folder.name for modality in MODALITIES)
            path = KEPT / HERE / f"maps-{key}.safetensors"
            if not path.is_file():
                print(f"maps of seed {seed}: begun", flush=True)
                keep_maps(path, self.scenes, self.weights, self._trained(seed))
            self._maps = seed, load_file(path)
        return self._maps[1]


def stream_seed(seed: int) -> int:
    """Whose streams a row's seed stands on."""
    return STREAM_SEEDS[seed % len(STREAM_SEEDS)]


def choose(trials: Mapping[tuple[str, Regular], Mapping[str, Any]]) -> Regular:
    """The regularisation with the best mean over ``CHOOSERS`` on validation, the first of equals."""
    return max(GRID, key=lambda how: fmean(trials[name, how]["validation"] for name in CHOOSERS))


# --- the stages ---------------------------------------------------------------------------------------------------


def make_streams(study: Study, seeds: Iterable[int], modalities: Sequence[str] = MODALITIES) -> None:
    """The first stage, of some of its seeds; before it the rates are tried."""
    for modality in modalities:
        for rate in RATES:
            study.rate_trial(modality, rate).made()
        for seed in seeds:
            study.stream(modality, seed).made()


def make_choice(study: Study) -> Regular:
    """Choose the regularisation; takes the streams of one seed."""
    make_streams(study, [stream_seed(GRID_SEED)])
    how = choose({(name, how): study.trial(name, how).made() for how in GRID for name in CHOOSERS})
    print(f"chosen: {how}", flush=True)
    return how


def make_rows(study: Study, names: Sequence[str], seeds: Sequence[int]) -> None:
    """The second stage, and what is missing before it."""
    study.probe().made()
    how = make_choice(study)
    for seed in seeds:
        make_streams(study, [stream_seed(seed)])
        for name in names:
            study.row(name, how, seed).made()


def make_whole(study: Study) -> None:
    """Regime (b), and what is missing before it."""
    how = make_choice(study)
    for name in ask_whole.ROWS:
        for seed in ask_whole.SEEDS:
            study.whole(name, how, seed).made()


def trials_of(study: Study) -> dict[tuple[str, Regular], dict[str, Any]]:
    """Those that are there."""
    if not study.rates_tried:
        return {}
    return {(name, how): part for how in GRID for name in CHOOSERS if (part := study.trial(name, how).found())}


def runs_of(study: Study, chosen: Regular | None, seeds: Sequence[int]) -> dict[str, dict[int, dict[str, Any]]]:
    """Row to seed to run, of those that are there: each stream alone, then the rows."""
    if not study.rates_tried:
        return {}
    parts = {(f"{m} stream alone", seed): study.stream(m, seed) for m in MODALITIES for seed in STREAM_SEEDS}
    if chosen:
        parts |= {(name, seed): study.row(name, chosen, seed) for name in ROWS for seed in seeds}
        whole = ((name, seed) for name in ask_whole.ROWS for seed in ask_whole.SEEDS)
        parts |= {(f"{WHOLE} {name}", seed): study.whole(name, chosen, seed) for name, seed in whole}
    runs: dict[str, dict[int, dict[str, Any]]] = {}
    for (name, seed), part in parts.items():
        if found := part.found():
            runs.setdefault(name, {})[seed] = found
    return runs


def write(study: Study, args: argparse.Namespace) -> None:
    """Write results/ask_nyudv2.json of the parts that are there."""
    trials = trials_of(study)
    chosen = choose(trials) if len(trials) == len(GRID) * len(CHOOSERS) else None
    runs, linear = runs_of(study, chosen, args.seeds), study.probe().found() or {}
    labels = study.scenes.labels[study.scenes.test]
    every = [*trials.values(), *(part for parts in runs.values() for part in parts.values())]
    tried = [
        asdict(how) | {name: trials[name, how]["validation"] for name in CHOOSERS if (name, how) in trials}
        for how in GRID
    ]
    save(
        args.out,
        HERE,
        command="python -m experiments.ask_nyudv2 rows",
        title="ASK on NYU Depth v2",
        data={"NYU Depth v2": study.scenes.version},
        settings=settings_of(study) | {"chosen": asdict(chosen) if chosen else None},
        seeds=args.seeds,
        protocol=PROTOCOL,
        complete=bool(linear) and all(set(SEEDS) <= set(runs.get(name, {})) for name in ROWS),
        seconds=sum(part["seconds"] for part in every),
        values=values_of(runs, linear, labels),
        rows={name: row_of(parts) for name, parts in runs.items()},
        details={
            "classes": list(study.scenes.classes),
            "labels": "".join(map(str, labels.tolist())),
            "rates": {m: {f"{rate:g}": score for rate, score in study.rates(m).items()} for m in MODALITIES},
            "regularisation": tried,
            "probe": linear,
        },
    )


def settings_of(study: Study) -> dict[str, Any]:
    """What all runs share."""
    return {
        "network": f"{NETWORK} ({load_backbone(NETWORK, study.weights).weights})",
        "maps": f"{ask_streams.LAYER}, then {ask_streams.CELLS[0]} x {ask_streams.CELLS[1]}",
        "stream": _without_data(stream_config(study.scenes, "rgb", 0, RATES[0]).to_dict(), "lr"),
        "row": _without_data(row_config(study.scenes, "", GRID[0], 0).to_dict()),
        "whole epochs": ask_whole.EPOCHS,
        "erasing of cells": ask_rows.ERASE.erase,
        "frames": {name: len(getattr(study.scenes, name)) for name in ("train", "validation", "test")},
    }


def row_of(parts: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """A row of the record: its runs by seed, and their summary.

    Beside the numbers a run has its test frames' hits by class, the class that each was given, validation by epoch,
    the last epoch's loss terms without their weights, and the keypoints' spread in training by epoch.
    """
    names = [
        name for name in ("validation", "test", "spread", "travel", "seconds") if name in next(iter(parts.values()))
    ]
    runs = {
        str(seed): {"numbers": {name: part[name] for name in names}}
        | {name: part[name] for name in ("best_epoch", "hits", "predicted", "epochs")}
        | {"terms": part["terms"][-1], "spread": [epoch["spread"] for epoch in part["terms"] if epoch.get("spread")]}
        for seed, part in parts.items()
    }
    return {"runs": runs, "summary": {name: summarise([part[name] for part in parts.values()]) for name in names}}


def values_of(
    runs: Mapping[str, Mapping[int, Mapping[str, Any]]], linear: Mapping[str, Any], labels: torch.Tensor
) -> dict[str, Any]:
    """Means over seeds with intervals over test frames, of rows, of differences of rows, and of the linear probe.

    Args:
        runs: Row to seed to what `experiments.ask_streams.judged` keeps.
        linear: Of `experiments.ask_rows.probe`.
        labels: Of the test frames.
    """
    right = {name: _mean_right(list(parts.values()), labels) for name, parts in runs.items()}
    right |= {f"probe {name}": rights(part["predicted"], labels) for name, part in linear.items() if name != "seconds"}
    values = {name: over_frames(100 * each, labels) for name, each in right.items()}
    values |= {name: values[row] for name, row in SAME.items() if row in values}
    for name, (after, before) in GAINS.items():
        if seeds := [seed for seed in runs.get(after, {}) if seed in runs.get(before, {})]:
            pair = (_mean_right([runs[row][seed] for seed in seeds], labels) for row in (after, before))
            values[f"gain, {name}"] = over_frames(100 * (next(pair) - next(pair)), labels)
    return {
        f"{name}{end}": round(getattr(value, part), 4)
        for name, value in values.items()
        for end, part in (("", "mean"), (" low", "low"), (" high", "high"))
    }


def _mean_right(parts: Sequence[Mapping[str, Any]], labels: torch.Tensor) -> torch.Tensor:
    """How often each test frame was called right, ``(N,)``."""
    return torch.stack([rights(part["predicted"], labels) for part in parts]).mean(dim=0)


def _without_data(config: Mapping[str, Any], *more: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in ("data", "experiment", "seed", *more)}


def record(args: argparse.Namespace) -> None:
    """Run a stage."""
    for name in args.rows:
        check_choice("row", name, ROWS)
    torch.set_num_threads(args.threads)
    study = Study(read_scenes(args.root, cache=args.cache), args.weights)
    if args.stage == "streams":
        make_streams(study, STREAM_SEEDS, args.modalities)
    if args.stage == "choose":
        make_choice(study)
    if args.stage == "rows":
        make_rows(study, args.rows, args.seeds)
    if args.stage == "whole":
        make_whole(study)
    if args.stage in ("rows", "whole", "save"):
        write(study, args)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = parser_of("experiments.ask_nyudv2", __doc__, seeds=SEEDS)
    parser.add_argument("stage", choices=["streams", "choose", "rows", "whole", "save"])
    parser.add_argument("--rows", nargs="+", default=list(ROWS), metavar="NAME", help=f"of: {'; '.join(ROWS)}")
    parser.add_argument("--modalities", nargs="+", choices=MODALITIES, default=MODALITIES, help="of the stage streams")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--root", type=Path, default=REALDATA / "nyuv2", help="the folder with rgb/, depth/, labels.csv"
    )
    parser.add_argument("--weights", type=Path, default=REALDATA / "weights" / "squeezenet1_1_places365.pt")
    parser.add_argument("--cache", type=Path, default=None, help="cache folder of HHA; usually ~/.cache/ask_lib")
    return run(parser, record, arguments)


if __name__ == "__main__":
    torch.set_flush_denormal(True)  # of the whole process: late epochs are nearly twice as fast
    raise SystemExit(main())
