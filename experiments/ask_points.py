"""Record what no table of ASK's paper measured: where keypoints fall on the real NYU Depth v2, and two of its figures.

    python -m experiments.ask_points

It looks at the trained rows of `experiments.ask_nyudv2`, which must be there, and at the pixels' labels of the 654 test
frames; nothing is trained or chosen. Objects are all that is not wall, floor or ceiling; otherprop, which stands for
unlabelled pixels too, is left out.

- Where: the share of keypoints on objects. Held against the area, keypoints of all other frames, of another class or of
  the same, the fixed grid, the strongest cells, and the weight of cells in spatial attention.
- Figs. 5 and 10: does the correlation P of [ASK-11] rank a frame's object cells above its background cells? The area
  under the ROC curve (AUC), 50 where it does not. Held against the mean P of the other frames, which knows places only.
- Fig. 7: the share of Grad-CAM on object cells, against their area. A cell is what most of its pixels are.

A cell of the map counts as the 7 x 7th part of the frame that it covers; what the outermost cells of this network see
lies a quarter cell further in.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ask_lib.checks import check_shape
from ask_lib.data.nyudv2 import NYUDv2Folder
from ask_lib.errors import DataNotFoundError
from ask_lib.evaluate.keypoints import cell_counts, hit_rate, label_shares, labels_under
from ask_lib.evaluate.spread import Interval, bootstrap
from ask_lib.files import shown
from ask_lib.methods.dlfs import grid_points
from experiments.ask_looks import PLACES, RANDOM, STREAMS, Look, before_look, check_runs, chosen, row_look
from experiments.ask_nyudv2 import SEEDS, Study, stream_seed
from experiments.ask_streams import read_scenes
from experiments.recording import REALDATA, parser_of, run, save

LABELS = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter",
    "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat", "clothes", "ceiling", "books",
    "refrigerator", "television", "paper", "towel", "shower curtain", "box", "whiteboard", "person", "night stand",
    "toilet", "sink", "lamp", "bathtub", "bag", "otherstructure", "otherfurniture", "otherprop",
)  # fmt: skip
BACKGROUND, LEFT_OUT = tuple(map(LABELS.index, ("wall", "floor", "ceiling"))), (LABELS.index("otherprop"),)
OBJECTS = tuple(number for number in range(len(LABELS)) if number not in BACKGROUND + LEFT_OUT)
POINTS = ("local, full", "global + local, full", "global + local")
STRONGEST, ATTENTION = "global + local, strongest", "global, spatial attention"
CORRELATION = ("global + local, full", "global + local, L_C", "global + local")
CAM = tuple(f"{row}{losses}" for row in ("local", "global + local") for losses in ("", ", L_C", ", L_VI", ", full"))
WHOSE = ("", " of another class", " of the same class")  # a row's keypoints: the frame's own, and other frames'
LOOKED = tuple(dict.fromkeys((*POINTS, STRONGEST, ATTENTION, *CORRELATION, *CAM)))
GAINS = (
    (PLACES, RANDOM), (STREAMS, PLACES), ("global + local", STREAMS), ("global + local, L_C", "global + local"),
    ("global + local, full", "global + local"),
)  # fmt: skip
PROTOCOL = (
    "percent, a mean over test frames of the mean over seeds; intervals: 95 %, bootstrap over test frames, of each "
    "value alone; a frame where a value has no meaning, as an AUC without object cells, is left out of it; differences "
    "are taken frame by frame"
)
Frames = dict[str, torch.Tensor]  # name of a value to ``(N,)``, NaN where a frame has none


# --- pure parts ---------------------------------------------------------------------------------------------------


def cell_kinds(counts: torch.Tensor) -> torch.Tensor:
    """What most of a cell's pixels are: 1 object, 0 background, -1 left out; of equals the lower number.

    Args:
        counts: ``(N, L, h, w)``, of `ask_lib.evaluate.keypoints.cell_counts`.

    Returns:
        ``(N, h, w)`` int64.
    """
    kinds = [counts[:, list(each)].sum(dim=1) for each in (LEFT_OUT, BACKGROUND, OBJECTS)]
    return torch.stack(kinds, dim=1).argmax(dim=1) - 1


def frame_auc(scores: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
    """How often an object cell has more than a background cell of its frame, of all pairs; equals count half.

    Args:
        scores: ``(N, h, w)``.
        kinds: ``(N, h, w)``, of `cell_kinds`.

    Returns:
        ``(N,)`` float64, 0 to 1; NaN where a frame has no cell of one kind.
    """
    check_shape("kinds", kinds, tuple(scores.shape))
    first, second = scores.flatten(1)[:, :, None], scores.flatten(1)[:, None, :]
    pairs = (kinds.flatten(1) == 1)[:, :, None] & (kinds.flatten(1) == 0)[:, None, :]  # (N, hw, hw)
    won = (first > second).double() + (first == second).double() / 2
    return (won * pairs).sum(dim=(1, 2)) / pairs.sum(dim=(1, 2))


def mass_on_objects(mass: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
    """The share of a map's mass on object cells, of that on object and background cells: ``(N, h, w)`` to ``(N,)``.

    NaN where there is no mass.
    """
    check_shape("kinds", kinds, tuple(mass.shape))
    wide = mass.double()
    return (wide * (kinds == 1)).sum(dim=(1, 2)) / (wide * (kinds >= 0)).sum(dim=(1, 2))


def of_other_frames(maps: torch.Tensor) -> torch.Tensor:
    """For each frame the mean map of all others, ``(N, h, w)``."""
    wide = maps.double()
    return (wide.sum(dim=0) - wide) / (len(wide) - 1)


def label_mass(mass: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """The share of a map's mass on each label, a cell's spread evenly over its pixels: ``(N, h, w)`` to ``(N, L)``."""
    check_shape("mass", mass, (counts.shape[0], *counts.shape[2:]))
    shares = counts.double() / counts.sum(dim=1, keepdim=True)
    return (shares * mass.double()[:, None]).sum(dim=(2, 3)) / mass.double().sum(dim=(1, 2))[:, None]


def interval(values: torch.Tensor) -> Interval:
    """Of a value's mean over the frames that have it, ``(N,)``."""
    return bootstrap(values[values.isfinite()])


# --- tables -------------------------------------------------------------------------------------------------------


class Truth:
    """The test frames' labels of pixels, and what follows from them.

    Args:
        labels: ``(N, H, W)`` uint8, index into ``LABELS``.
        scene: ``(N,)``, the frames' classes.
        size: (h, w) of the maps.
    """

    def __init__(self, labels: torch.Tensor, scene: torch.Tensor, size: tuple[int, int]) -> None:
        self.labels, self.size = labels, size
        self.counts = cell_counts(labels, size, len(LABELS))
        self.kinds = cell_kinds(self.counts)
        own, same = torch.eye(len(scene)) > 0, scene[:, None] == scene
        self.pairs = dict(zip(WHOSE, (own, ~same, same & ~own), strict=True))

    def shares(self, points: torch.Tensor) -> dict[str, torch.Tensor]:
        """By ``WHOSE`` of keypoints ``(N, K, 2)``: the share on each label, ``(N, L)``."""
        found = labels_under(self.labels, points, self.size)
        return {name: label_shares(found, pairs, len(LABELS)) for name, pairs in self.pairs.items()}


def read_labels(root: Path) -> torch.Tensor:
    """Labels of the test frames' pixels, ``(N, H, W)`` uint8.

    Raises:
        DataNotFoundError: If the folder has none.
    """
    frames, found = NYUDv2Folder(root), []
    for row in frames.rows("test").tolist():
        if (segments := frames.segments(row)) is None:
            raise DataNotFoundError(f"{shown(root)}: expected label40/ with labels of pixels. Copy the set anew.")
        found.append(torch.from_numpy(np.ascontiguousarray(segments)))
    return torch.stack(found)


def shares_of(looks: Mapping[str, Sequence[Look]], truth: Truth) -> dict[str, torch.Tensor]:
    """Where what falls: the share of each frame on each label, ``(N, L)``, mean over seeds."""
    shares = {"area": label_mass(truth.counts.sum(dim=1), truth.counts)}
    for row in POINTS:
        shares |= {f"{row}{whose}": each for whose, each in _of_points(looks[row], truth).items()}
    count = len(looks[POINTS[0]][0]["keypoints"][0])
    shares["grid"] = truth.shares(grid_points(count, truth.size).expand(len(truth.labels), -1, -1))[""]
    shares["strongest"] = _of_points(looks[STRONGEST], truth)[""]
    for modality, name in (("rgb", "RGB"), ("hha", "HHA")):
        mass = torch.stack([look[f"attention {modality}"] for look in looks[ATTENTION]]).mean(dim=0)
        shares[f"attention, {name}"] = label_mass(mass, truth.counts)
    return shares


def _of_points(looks: Sequence[Look], truth: Truth) -> dict[str, torch.Tensor]:
    every = [truth.shares(look["keypoints"]) for look in looks]
    return {whose: torch.stack([each[whose] for each in every]).mean(dim=0) for whose in WHOSE}


def where(shares: Mapping[str, torch.Tensor]) -> Frames:
    """Percent on objects and left out, and what a row's keypoints have more than each control."""
    found = {f"{name}, on objects": 100 * hit_rate(each, OBJECTS, LEFT_OUT) for name, each in shares.items()}
    found |= {f"{name}, left out": 100 * each[:, list(LEFT_OUT)].sum(dim=1) for name, each in shares.items()}
    common = {name: name for name in ("area", "grid", "strongest", "attention, RGB", "attention, HHA")}
    for row in POINTS:
        for name, control in (common | {f"those{whose}": f"{row}{whose}" for whose in WHOSE[1:]}).items():
            more = found[f"{row}, on objects"] - found[f"{control}, on objects"]
            found[f"{row}, on objects over {name}"] = more
    return found


def by_class(placed: Frames, scene: torch.Tensor, classes: Sequence[str]) -> Frames:
    """What of `where` is asked of each class: the area, keypoints of one row, and what they have more than others'.

    Args:
        placed: Of `where`.
        scene: ``(N,)``, the frames' classes.
        classes: Their names.
    """
    name = f"{CORRELATION[0]}, on objects"
    asked = ("area, on objects", name, f"{name} over those{WHOSE[2]}", f"{name} over those{WHOSE[1]}")
    found = {
        f"{asks}, {label}": torch.where(scene == number, placed[asks], torch.nan)
        for number, label in enumerate(classes)
        for asks in asked
    }
    return {name: each for name, each in found.items() if each.isfinite().any()}


def ranks(looks: Mapping[str, Sequence[Look]], kinds: torch.Tensor) -> Frames:
    """Figs. 5 and 10: AUC of P, of the others' mean P, and differences."""
    found: Frames = {}
    for name in (RANDOM, PLACES, STREAMS, *CORRELATION):
        maps = [look["correlation"] for look in looks[name]]
        own, others = (
            torch.stack([100 * frame_auc(each, kinds) for each in made]).mean(dim=0)
            for made in (maps, [of_other_frames(each) for each in maps])
        )
        found |= {f"{name}, AUC": own, f"{name}, AUC of others": others, f"{name}, AUC over others": own - others}
    for after, before in GAINS:
        found[f"AUC, {after} over {before}"] = found[f"{after}, AUC"] - found[f"{before}, AUC"]
    return found


def activation(looks: Mapping[str, Sequence[Look]], kinds: torch.Tensor) -> Frames:
    """Fig. 7: percent of Grad-CAM on object cells, and how much that is over their area."""
    area = 100 * mass_on_objects(torch.ones_like(kinds), kinds)
    found = {"object cells": area}
    for row in CAM:
        every = [100 * mass_on_objects(look["cam"], kinds) for look in looks[row]]
        share = torch.stack(every).nanmean(dim=0)
        found |= {f"{row}, CAM on objects": share, f"{row}, CAM over object cells": share - area}
    return found


def by_label(shares: Mapping[str, torch.Tensor]) -> dict[str, dict[str, Any]]:
    """Label to the percent of what is not left out, by what; of keypoints also what they have more than the area."""
    counted = [number for number in range(len(LABELS)) if number not in LEFT_OUT]
    percent = {name: 100 * each / each[:, counted].sum(dim=1, keepdim=True) for name, each in shares.items()}
    table: dict[str, dict[str, Any]] = {}
    for number in counted:
        of_label = {name: each[:, number] for name, each in percent.items()}
        row: dict[str, Any] = {name: round(float(each[each.isfinite()].mean()), 4) for name, each in of_label.items()}
        for name in POINTS:
            over = interval(of_label[name] - of_label["area"])
            row[f"{name} over area"] = [round(each, 4) for each in (over.mean, over.low, over.high)]
        table[LABELS[number]] = row
    return table


# --- the command --------------------------------------------------------------------------------------------------


def looks_of(study: Study, seeds: Sequence[int]) -> dict[str, list[Look]]:
    """All looks, by row; seeds whose streams are the same come one after another, as their maps are large."""
    how = chosen(study)
    check_runs(study, how, LOOKED, seeds)
    streams = {seed: before_look(study, STREAMS, seed) for seed in sorted(set(map(stream_seed, seeds)))}
    looks = {
        RANDOM: [before_look(study, RANDOM, seed) for seed in seeds],
        PLACES: [before_look(study, PLACES, 0)],
        STREAMS: [streams[stream_seed(seed)] for seed in seeds],
    }
    for seed in sorted(seeds, key=stream_seed):
        for name in LOOKED:
            looks.setdefault(name, []).append(row_look(study, name, how, seed))
    return looks


def record(args: argparse.Namespace) -> None:
    """Look at all rows, and write results/ask_points.json."""
    torch.set_num_threads(args.threads)
    labels = read_labels(args.root)
    study = Study(read_scenes(args.root, cache=args.cache), args.weights)
    looks = looks_of(study, args.seeds)
    height, width = looks[PLACES][0]["correlation"].shape[1:]
    truth = Truth(labels, study.scenes.labels[study.scenes.test], (height, width))
    shares = shares_of(looks, truth)
    placed, table = where(shares), by_label(shares)
    scene = study.scenes.labels[study.scenes.test]
    frames = placed | ranks(looks, truth.kinds) | activation(looks, truth.kinds)
    frames |= by_class(placed, scene, study.scenes.classes)
    save(
        args.out,
        "ask_points",
        command=args.command,
        title="Where ASK looks on NYU Depth v2",
        data={"NYU Depth v2": study.scenes.version},
        settings={
            "cells": [height, width],
            "background": [LABELS[number] for number in BACKGROUND],
            "left out": [LABELS[number] for number in LEFT_OUT],
        },
        seeds=args.seeds,
        protocol=PROTOCOL,
        complete=set(SEEDS) <= set(args.seeds),
        seconds=round(sum(float(look["seconds"]) for each in looks.values() for look in each), 1),
        values=dict(_values(frames)) | dict(_label_values(table)),
        details={
            "labels": table,
            "frames": {name: int(each.isfinite().sum()) for name, each in frames.items()},
        },
    )


def _values(frames: Frames) -> Iterator[tuple[str, float]]:
    """``NAME``, ``NAME low``, ``NAME high``."""
    for name, each in frames.items():
        found = interval(each)
        for end, value in (("", found.mean), (" low", found.low), (" high", found.high)):
            yield f"{name}{end}", round(value, 4)


def _label_values(table: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    """``LABEL, WHAT``, with ``low`` and ``high`` where there is an interval."""
    for label, row in table.items():
        for name, value in row.items():
            numbers = value if isinstance(value, list) else [value]
            for end, number in zip(("", " low", " high"), numbers, strict=False):
                yield f"{label}, {name}{end}", number


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = parser_of("experiments.ask_points", __doc__, seeds=SEEDS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--root", type=Path, default=REALDATA / "nyuv2", help="with rgb/, depth/, label40/, labels.csv")
    parser.add_argument("--weights", type=Path, default=REALDATA / "weights" / "squeezenet1_1_places365.pt")
    parser.add_argument("--cache", type=Path, default=None, help="cache folder of HHA; usually ~/.cache/ask_lib")
    return run(parser, record, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
