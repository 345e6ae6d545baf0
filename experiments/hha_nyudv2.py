"""What HHA adds to depth on NYU Depth v2: one pixel's surface, as `experiments.hha_rooms` asks it of rooms.

Real depth, of 8 bits and in-painted, and labels drawn by people. Six draws of 30 official training frames to learn on
and 30 official test frames to ask about, evenly spread, no frame twice. The surfaces are floor (with mats), wall,
ceiling, tops (all that is labelled table, desk or counter, legs too) and other; pixels without a label are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ask_lib.data.nyudv2 import NYUDv2Folder
from ask_lib.errors import DataNotFoundError
from ask_lib.methods.hha import hha_batch, smooth
from experiments.hha_rooms import (
    AGAINST,
    CHANNELS,
    FRAMES,
    INPUTS,
    LEAVES,
    PIXELS,
    SURFACES,
    hha_along,
    tree_accuracy,
    values_of,
)
from experiments.recording import KEPT, REALDATA, code_digest, kept, parser_of, run, save
from tools.imports import digest

DRAWS = range(1, 7)
UNLABELLED = 39  # the file's last number; it also holds "other prop"
KINDS = {1: 0, 19: 0, 0: 1, 21: 2, 6: 3, 11: 3, 13: 3}  # the file's number to the one in SURFACES; all else is "other"
KNOWN = tuple(name for name in INPUTS if name != "HHA, true gravity")
LEVEL, UPRIGHT = 38, 128  # the angle's grey levels of a floor and of a wall


def chosen(frames: NYUDv2Folder, split: str, draw: int) -> list[int]:
    """The numbers of a draw's frames, of 1 to 6: every sixth of those evenly spread over the split."""
    rows = frames.rows(split).numpy()
    spread = rows[np.linspace(0, len(rows) - 1, len(DRAWS) * FRAMES).round().astype(int)]
    return [int(row) for row in spread[draw - 1 :: len(DRAWS)]]


def labels_of(frames: NYUDv2Folder, row: int) -> np.ndarray:
    """The file's labels, ``(h, w)``.

    Raises:
        DataNotFoundError: If there are none.
    """
    segments = frames.segments(row)
    if segments is None:
        raise DataNotFoundError(f"hha_nyudv2: expected {frames.root / 'label40'} with labels of pixels.")
    return segments


def surfaces_of(labels: np.ndarray) -> np.ndarray:
    """Index into ``SURFACES`` of each label, int64."""
    table = np.full(256, SURFACES.index("other"))
    table[list(KINDS)] = list(KINDS.values())
    kinds: np.ndarray = table[labels]
    return kinds


def pictures_of(frames: NYUDv2Folder, row: int, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Each of ``KNOWN`` at ``size`` (h, w): uint8 ``(h, w, 3)``."""
    depth = torch.from_numpy(frames.depth(row)).double()[None]
    camera = torch.from_numpy(frames.camera(row))[None]
    upright = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    whole = hha_batch(depth, camera, sigma=frames.sigma)[0]
    fixed = hha_along(smooth(depth, frames.sigma), camera, upright)[0]
    grey = (51 * depth).round().clamp(0, 255).to(torch.uint8)[0]
    down, across = (torch.linspace(0, 255, n).to(torch.uint8) for n in grey.shape)
    place = torch.stack([grey, down[:, None].expand(grey.shape), across.expand(grey.shape)])
    once = {"depth": grey} | dict(zip(CHANNELS, whole, strict=True))
    levels = {name: each.expand(3, -1, -1) for name, each in once.items()}
    levels |= {"depth, row, column": place, "HHA": whole, "HHA, gravity fixed": fixed}
    steps = [full // part for full, part in zip(grey.shape, size, strict=True)]
    return {name: each[:, :: steps[0], :: steps[1]].permute(1, 2, 0).numpy() for name, each in levels.items()}


def readings(levels: np.ndarray, kinds: np.ndarray) -> dict[str, float]:
    """What one frame's floor and walls read in HHA ``(h, w, 3)``: cm, and degrees off. Fewer than 50 pixels do not."""
    floor, wall = levels[kinds == SURFACES.index("floor")].astype(int), levels[kinds == SURFACES.index("wall")]
    found = {}
    if len(floor) >= 50:
        found["floor reads"] = float(np.median(floor[:, 1]))
        found["floor off"] = float(np.median(np.abs(floor[:, 2] - LEVEL)))
    if len(wall) >= 50:
        found["wall off"] = float(np.median(np.abs(wall[:, 2].astype(int) - UPRIGHT)))
    return found


def measure(frames: NYUDv2Folder, draw: int) -> dict[str, Any]:
    """Every number of one draw."""
    values: dict[str, dict[str, list[np.ndarray]]] = {name: {"train": [], "test": []} for name in KNOWN}
    kinds: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    read: list[dict[str, float]] = []
    some = np.random.default_rng(draw)
    for split, kept_kinds in kinds.items():
        for row in chosen(frames, split, draw):
            labels = labels_of(frames, row)
            pictures, surfaces = pictures_of(frames, row, labels.shape), surfaces_of(labels)
            at = some.choice(np.flatnonzero(labels != UNLABELLED), PIXELS, replace=False)
            kept_kinds.append(surfaces.ravel()[at])
            for name, picture in pictures.items():
                values[name][split].append(picture.reshape(-1, 3)[at])
            if split == "test":
                read.append(readings(pictures["HHA"], np.where(labels == UNLABELLED, -1, surfaces)))
    truth = {split: np.concatenate(each) for split, each in kinds.items()}
    found: dict[str, float] = {}
    for name, parts in values.items():
        joined = {split: np.concatenate(each) for split, each in parts.items()}
        found[f"pixel {name}"] = tree_accuracy(joined, truth)["test"]
    for step, other in AGAINST.items():
        found[f"pixel {step}"] = found["pixel HHA"] - found[f"pixel {other}"]
    for name in ("floor reads", "floor off", "wall off"):
        found[name] = float(np.median([each[name] for each in read if name in each]))
    print(f"  draw {draw}: HHA {found['pixel HHA']:.1f}, depth {found['pixel depth']:.1f}", flush=True)
    return {name: round(value, 4) for name, value in found.items()}


def record(args: argparse.Namespace) -> None:
    """Measure every draw, and write results/hha_nyudv2.json."""
    frames = NYUDv2Folder(args.frames)
    files = digest(path.read_bytes() for path in frames.sources)[:12]
    made_from = f"code {code_digest('experiments.hha_nyudv2')}, torch {torch.__version__}, depth {files}"
    parts = {draw: kept(KEPT / "hha_nyudv2", f"{draw}", made_from, partial(measure, frames, draw)) for draw in DRAWS}
    seconds = sum(part.pop("seconds") for part in parts.values())
    save(
        args.out,
        "hha_nyudv2",
        command=args.command,
        title="HHA beside depth, on NYU Depth v2",
        data={"NYU Depth v2": f"1,449 frames as a folder, depth {files}"},
        settings={"frames": FRAMES, "pixels": PIXELS, "leaves": LEAVES, "sigma": frames.sigma},
        seeds=list(DRAWS),
        protocol="a seed is a draw of official training frames to learn on and of test frames to ask about, no frame "
        "twice; draws may share scenes; a tree on single labelled pixels, accuracy averaged over five surfaces; "
        "intervals: Student's, over draws; floor and wall: medians over a frame's pixels, then over test frames",
        seconds=seconds,
        values=values_of(list(parts.values())) | {"draws": len(parts), "frames": FRAMES},
        details={"runs": {str(draw): part for draw, part in parts.items()}},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = parser_of("experiments.hha_nyudv2", __doc__)
    parser.add_argument("--frames", type=Path, default=REALDATA / "nyuv2", help="the set, as NYUDv2Folder reads it")
    return run(parser, record, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
