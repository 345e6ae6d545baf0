"""Record ASK on rooms, where the objects that make a class are known: the rows of `experiments.ask_nyudv2`.

Two shipped networks, of RGB and of HHA, that learned other rooms; their maps at layer3 are kept, and their last stage
is trained further with each row's head, as `experiments.ask_rows` does on NYU Depth v2. A seed is a draw of frames, and
of all that is random in training. Seed 0 chooses rate and regularisation, on validation frames, and is not recorded.

    python -m experiments.ask_rooms                 # all rows, five draws
    python -m experiments.ask_rooms --rows NAME     # some of them

Beside scores: the share of keypoints on key objects, and whether the correlation P of [ASK-11] ranks cells of key
objects above others (AUC, 50 where it does not), with random weights, with the twins as they came, and after training.
A cell is of a key object if most of its pixels are.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import nn

from ask_lib.checks import check_choice
from ask_lib.data.rooms import Rooms
from ask_lib.evaluate.keypoints import cell_counts, hit_rate, label_shares, labels_under
from ask_lib.methods.dlfs import correlation_map
from ask_lib.models.ask import ASK
from ask_lib.models.backbones import load_backbone
from ask_lib.models.features import evaluating
from ask_lib.models.two_stream import cut_encoder
from ask_lib.results import summarise
from ask_lib.train.augment import InputSpec, prepare
from ask_lib.train.config import TrainConfig
from ask_lib.train.loop import Task
from ask_scenes.rooms import LABELS, VERSION, RoomOptions
from experiments import ask_rows
from experiments.ask_nyudv2 import CHOOSERS, GAINS, GRID, ROWS
from experiments.ask_points import CORRELATION, frame_auc
from experiments.ask_rows import Regular, Row, keypoints_of, row_config, row_task, train_row, trial
from experiments.ask_streams import CPU, MODALITIES, Scenes, Stream
from experiments.recording import KEPT, code_digest, kept, parser_of, run, save

HERE = "ask_rooms"
NETWORKS = {"rgb": "rooms_resnet", "hha": "rooms_hha_resnet"}
LAYER, CHANNELS, CELLS = "layer3", 128, (8, 10)
COUNTS = {"train": 200, "val": 100, "test": 200}
SIZE = (120, 160)
RATES = (1e-4, 1e-3)
CHOOSES, SEEDS = 0, (1, 2, 3, 4, 5)
KEEP = ("validation", "test", "spread", "travel")
BEFORE, RANDOM = "before training", "random weights"


class Twin(Stream):
    """A shipped network cut at ``LAYER``, in the place of a stream that was fine-tuned."""

    def __init__(self, name: str, weights: str = "rooms", seed: int = 0) -> None:
        nn.Module.__init__(self)
        self.lower, self.upper = cut_encoder(load_backbone(name, weights, seed=seed).network, LAYER)
        self.classify = nn.Linear(CHANNELS, len(LABELS))  # not used; its width is


class Draw:
    """The frames of a seed, the maps of both networks, and what rows are trained on them.

    Args:
        seed: Of the frames.
        root: Cache folder of the frames.
    """

    rows: Mapping[str, Row] = ROWS

    def __init__(self, seed: int, root: Path | None) -> None:
        self.seed, self.root = seed, root

    @cached_property
    def rooms(self) -> dict[str, Rooms]:
        """By split."""
        options = RoomOptions(size=SIZE)
        return {
            split: Rooms(split, count, self.seed, options, root=self.root, progress=False)
            for split, count in COUNTS.items()
        }

    @cached_property
    def scenes(self) -> Scenes:
        """Whose rows are who's: splits one after the other."""
        labels = torch.cat([rooms.label for rooms in self.rooms.values()])
        train, validation, test = torch.split(torch.arange(len(labels)), list(COUNTS.values()))
        return Scenes({}, labels, train, validation, test, tuple(LABELS), f"rooms {VERSION}, draw {self.seed}")

    @cached_property
    def maps(self) -> dict[str, torch.Tensor]:
        """As of `experiments.ask_rows.keep_maps`."""
        found = {}
        for modality, name in NETWORKS.items():
            levels = torch.cat([levels_of(rooms, modality) for rooms in self.rooms.values()])
            for suffix, images in (("", levels), (" mirrored", levels.flip(3))):
                found[f"{modality}{suffix}"] = maps_of(Twin(name), name, images).half()
        return found

    def task(self, name: str, how: Regular) -> Task:
        """What a row trains."""
        streams = {modality: Twin(NETWORKS[modality]) for modality in MODALITIES}
        return row_task(self.scenes, self.maps, streams, self.rows[name], how, self.seed)

    def config(self, name: str, how: Regular, rate: float) -> TrainConfig:
        """How it is trained."""
        return replace(row_config(self.scenes, name, how, self.seed), lr=rate)

    def tried(self, name: str, how: Regular, rate: float) -> dict[str, Any]:
        """A run that helps to choose; test frames stay unread."""
        return trial(self.task(name, how), self.config(name, how, rate), Path())

    def measured(self, name: str, how: Regular, rate: float, folder: Path) -> dict[str, Any]:
        """A run, its score, and what its points and its correlation lie on."""
        task, rooms = self.task(name, how), self.rooms["test"]
        found = train_row(task, self.config(name, how, rate), folder)
        numbers: dict[str, Any] = {key: found[key] for key in KEEP if key in found}
        points = torch.cat(list(keypoints_of(task)))
        numbers |= on_objects(points, rooms) if points.shape[1] else {}
        return numbers | ({"AUC": auc(row_correlation(task), rooms)} if name in CORRELATION else {})

    def before(self, how: Regular) -> dict[str, Any]:
        """AUC of both twins as they came and with random weights; the area of key objects, percent."""
        rooms = self.rooms["test"]
        return {
            f"{BEFORE} AUC": auc(row_correlation(self.task(CORRELATION[0], how)), rooms),
            f"{RANDOM} AUC": auc(random_correlation(rooms, self.seed), rooms),
            "area": 100 * float(rooms.key_mask.double().mean()),
        }


def levels_of(rooms: Rooms, modality: str) -> torch.Tensor:
    """RGB or HHA, as the networks of ``NETWORKS`` learned it, before their normalisation."""
    return rooms.rgb if modality == "rgb" else rooms.hha()


def maps_of(twin: Twin, name: str, levels: torch.Tensor) -> torch.Tensor:
    """At ``LAYER``."""
    backbone = load_backbone(name, "rooms")
    spec = {"image": InputSpec(kind="levels", mean=backbone.mean, std=backbone.std)}
    with evaluating(twin.lower), torch.inference_mode():
        return torch.cat([twin.lower(prepare({"image": part}, spec)["image"]) for part in torch.split(levels, 50)])


def row_correlation(task: Task) -> torch.Tensor:
    """[ASK-11] P of the test frames, ``(N, h, w)``."""
    assert task.test is not None and isinstance(task.network, ASK)
    made, order = [], torch.split(torch.arange(len(task.test.labels)), 50)
    with evaluating(task.network), torch.inference_mode():
        for batch in task.test.batches(list(order), CPU):
            made.append(correlation_map(*task.network.streams(*(batch.inputs[m].float() for m in MODALITIES))))
    return torch.cat(made)


def random_correlation(rooms: Rooms, seed: int) -> torch.Tensor:
    """P of networks with random weights, ``(N, h, w)``."""
    made = []
    for modality, name in NETWORKS.items():
        twin = Twin(name, "none", seed).eval()
        with torch.inference_mode():
            made.append(twin.upper(maps_of(twin, name, levels_of(rooms, modality))))
    return correlation_map(*made)


def auc(correlation: torch.Tensor, rooms: Rooms) -> float:
    """Percent, mean over the frames that have cells of both kinds."""
    kinds = cell_counts(rooms.key_mask.long(), CELLS, 2).argmax(dim=1)
    return 100 * float(frame_auc(correlation, kinds).nanmean())


def on_objects(points: torch.Tensor, rooms: Rooms) -> dict[str, float]:
    """Percent of keypoints on key objects: a frame's own, those of frames of other classes, of others of its class."""
    inside = points.clamp(torch.zeros(2), torch.tensor(CELLS[::-1]) - 1.0)  # those outside are on nothing
    found = labels_under(rooms.key_mask.long(), inside, CELLS) * (points == inside).all(dim=2)
    same = rooms.label[:, None] == rooms.label
    own = torch.eye(len(same), dtype=torch.bool)
    pairs = {"hits": own, "shuffled": ~same, "shuffled in class": same & ~own}
    return {name: 100 * float(hit_rate(label_shares(found, each, 2), [1]).mean()) for name, each in pairs.items()}


def differences(runs: Mapping[str, Mapping[str, Any]], before: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """Every value of a draw, and what a row has more than another."""
    yield from ((name, value) for name, value in before.items() if name != "seconds")
    yield f"{BEFORE} AUC over random", before[f"{BEFORE} AUC"] - before[f"{RANDOM} AUC"]
    for name, numbers in runs.items():
        yield from ((f"{name} {key}", value) for key, value in numbers.items() if key not in ("validation", "seconds"))
        if "hits" in numbers:
            yield f"{name} hits over shuffled", numbers["hits"] - numbers["shuffled"]
            yield f"{name} hits over shuffled in class", numbers["hits"] - numbers["shuffled in class"]
        if "AUC" in numbers:
            yield f"{name} AUC over before", numbers["AUC"] - before[f"{BEFORE} AUC"]
    for name, (more, less) in GAINS.items():
        if more in runs and less in runs:
            yield f"gain, {name}", runs[more]["test"] - runs[less]["test"]


def values_of(
    draws: Sequence[Mapping[str, Mapping[str, Any]]], before: Sequence[Mapping[str, float]]
) -> dict[str, Any]:
    """Mean, standard deviation and Student's interval over draws: ``NAME``, ``NAME std``, ``NAME low``, ..."""
    held, values = [dict(differences(*each)) for each in zip(draws, before, strict=True)], {}
    for name in held[0]:
        over = summarise([one[name] for one in held])
        values[name] = round(float(over["mean"] or 0), 4)
        values |= {f"{name} {end}": round(float(over[end] or 0), 4) for end in ("std", "low", "high")}
    return values | {"draws": len(draws), **COUNTS}


def record(args: argparse.Namespace) -> None:
    """Choose, run every row of every draw, and write results/ask_rooms.json."""
    for name in args.rows:
        check_choice("row", name, ROWS)
    torch.set_num_threads(1)
    weights = [load_backbone(name, "rooms").weights for name in NETWORKS.values()]
    made_from = f"code {code_digest('experiments.ask_rooms')}, torch {torch.__version__}, {weights}, {COUNTS}"
    part = partial(kept, KEPT / HERE)
    tried = trials(part, made_from, Draw(CHOOSES, args.root))
    how, rate = max(tried, key=lambda each: fmean(one["validation"] for one in tried[each]))
    print(f"chosen: {how}, rate {rate:g}", flush=True)
    runs: dict[int, dict[str, dict[str, Any]]] = {}
    before: dict[int, dict[str, Any]] = {}
    for seed in args.seeds:
        draw, key = Draw(seed, args.root), f"{made_from}, {how}, {rate}"
        before[seed] = part(f"before {seed}", key, partial(draw.before, how))
        runs[seed] = {
            name: part(f"{name} {seed}", key, partial(draw.measured, name, how, rate, KEPT / HERE / f"{name} {seed}"))
            for name in args.rows
        }
    every = [*tried.values(), *(rows.values() for rows in runs.values()), before.values()]
    save(
        args.out,
        HERE,
        command=args.command,
        title="ASK on rooms",
        data={"rooms": str(VERSION)},
        settings={"counts": COUNTS, "height": SIZE[0], "epochs": ask_rows.EPOCHS, "rate": rate, "chosen": asdict(how)},
        seeds=args.seeds,
        protocol="a seed is a draw of frames and of all that is random; validation frames choose the epoch, those of "
        "another draw rate and regularisation; test frames are read once a run; intervals: Student's, over draws",
        seconds=round(sum(float(each["seconds"]) for group in every for each in group), 1),
        complete=set(args.rows) == set(ROWS) and set(SEEDS) <= set(args.seeds),
        values=values_of(list(runs.values()), list(before.values())),
        details={"runs": {str(seed): rows for seed, rows in runs.items()}, "networks": weights},
    )


def trials(part: Callable[..., dict[str, Any]], made_from: str, draw: Draw) -> dict[tuple[Regular, float], list[Any]]:
    """What was tried to choose, and its runs."""
    return {
        (how, rate): [
            part(f"{name}, {rate:g}, {how}", made_from, partial(draw.tried, name, how, rate)) for name in CHOOSERS
        ]
        for how, rate in itertools.product(GRID, RATES)
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = parser_of("experiments.ask_rooms", __doc__, seeds=SEEDS)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), metavar="NAME", help=f"of: {'; '.join(ROWS)}")
    parser.add_argument("--root", type=Path, default=None, help="cache folder of the frames; usually ~/.cache/ask_lib")
    return run(parser, record, arguments)


if __name__ == "__main__":
    torch.set_flush_denormal(True)  # of the whole process: late epochs are nearly twice as fast
    raise SystemExit(main())
