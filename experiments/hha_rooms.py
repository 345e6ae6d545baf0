"""What HHA adds to depth, on rooms: one pixel's surface, the room's class, gravity, and what a tilted camera does.

Each picture has three channels, so that inputs are matched in size: depth repeated, depth with its row and column, each
channel of HHA repeated, HHA, and HHA with gravity fixed to the picture's own down or known from the pose. A decision
tree of sixteen leaves names the surface of single pixels: it learns on rooms as the camera was held, and is asked about
others, held alike and looking forty degrees down. A linear SVM names the room from what a frozen network, which learned
colour pictures of other rooms, makes of the three channels; it learns on four fifths of validation rooms.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ask_lib.data.rooms import Rooms
from ask_lib.evaluate.linear import LinearSVM
from ask_lib.methods.descriptors import l2_normalize
from ask_lib.methods.encoding import avg_max_pool
from ask_lib.methods.hha import COARSE, FINE, FLOOR, FLOOR_BELOW, gravity, hha_batch, normals
from ask_lib.models.backbones import load_backbone
from ask_lib.represent import Pooled, extract
from ask_lib.results import summarise
from ask_scenes.rooms import VERSION, RoomOptions
from experiments.recording import KEPT, code_digest, kept, parser_of, run, save

FRAMES, PIXELS, LEAVES = 30, 300, 16  # rooms of a split; pixels of a room; of the tree
TILTED, STEEP = -0.7, -1.0  # radians, of the camera
STEEP_FRAMES, SCENES, FOLDS = 10, 60, 5  # rooms; rooms of each of 2 * FOLDS validation seeds
SURFACES = ("floor", "wall", "ceiling", "level top", "other")
CHANNELS = ("disparity", "height", "angle")
INPUTS = ("depth", "depth, row, column", *CHANNELS, "HHA", "HHA, gravity fixed", "HHA, true gravity")
SPLITS = {"train": ("train", None), "held alike": ("test", None), "tilted": ("test", TILTED)}
AGAINST = {"over depth": "depth", "over place": "depth, row, column", "over fixed gravity": "HHA, gravity fixed"}


def drawn(name: str, seed: int, root: Path | None) -> Rooms:
    """The rooms of one of ``SPLITS``, with exact normals."""
    split, pitch = SPLITS[name]
    options = RoomOptions(exact=True, camera_pitch=pitch)
    return Rooms(split, FRAMES, seed, options, root=root, workers=2, progress=False)


def cameras_of(rooms: Rooms) -> torch.Tensor:
    """Intrinsics ``(N, 3, 3)`` of cameras whose first pixel is 1, as HHA counts."""
    one = torch.tensor([[0, 0, 1.0], [0, 0, 1.0], [0, 0, 0]])
    return rooms.intrinsics.double() + one


def true_down(rooms: Rooms) -> torch.Tensor:
    """The direction of gravity in camera axes, ``(N, 3)``."""
    return -rooms.pose[:, 2, :3].double()


def degrees_between(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Angles between unit vectors ``(N, 3)``: ``(N,)``."""
    return torch.rad2deg((first * second).sum(dim=1).clamp(-1, 1).acos())


def found_down(rooms: Rooms) -> torch.Tensor:
    """The direction that HHA finds, ``(N, 3)``."""
    z = rooms.depth.double()
    return gravity(normals(z, cameras_of(rooms), (COARSE,), z > 0)[0])


def hha_along(z: torch.Tensor, camera: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """HHA with gravity given in place of found.

    Args:
        z: Depth, metres, 0 = missing: ``(N, H, W)``, float64.
        camera: ``(N, 3, 3)``, float64; the first pixel is 1.
        down: Gravity's direction, ``(N, 3)``, float64.

    Returns:
        uint8, ``(N, 3, H, W)``.
    """
    known = z > 0
    (fine,) = normals(z, camera, (FINE,), known)
    height, width = z.shape[1:]
    v, u = torch.meshgrid(torch.arange(1.0, height + 1), torch.arange(1.0, width + 1), indexing="ij")
    rays = torch.linalg.inv(camera) @ torch.stack([u, v, torch.ones_like(u)]).double().flatten(1)  # (N, 3, HW)
    up = -100 * z * (down[:, None] @ rays).view(z.shape)  # cm
    lowest = torch.where(known, up, torch.inf).amin(dim=(1, 2))
    up = up - torch.where(lowest > FLOOR_BELOW, FLOOR, lowest)[:, None, None]
    cosine = (down[:, None] @ fine.flatten(2)).view(z.shape).clamp(-1, 1)
    angle = torch.rad2deg(cosine.acos()).nan_to_num(nan=180.0) + 38
    levels = torch.stack([31000 / (100 * z).clamp(min=100), up, angle], dim=1) * known[:, None]
    return levels.round().clamp(0, 255).to(torch.uint8)


def pictures_of(rooms: Rooms) -> dict[str, torch.Tensor]:
    """Each of ``INPUTS``, uint8 ``(N, 3, H, W)``; depth has 51 levels a metre."""
    count, height, width = rooms.depth.shape
    z, camera = rooms.depth.double(), cameras_of(rooms)
    depth = (51 * rooms.depth).round().clamp(0, 255).to(torch.uint8)
    row = torch.linspace(0, 255, height).to(torch.uint8)[:, None].expand(count, height, width)
    column = torch.linspace(0, 255, width).to(torch.uint8).expand(count, height, width)
    whole = hha_batch(rooms.depth, camera)
    upright = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).expand(count, 3)
    once = {"depth": depth} | dict(zip(CHANNELS, whole.unbind(dim=1), strict=True))
    return {name: levels[:, None].expand(-1, 3, -1, -1) for name, levels in once.items()} | {
        "depth, row, column": torch.stack([depth, row, column], dim=1),
        "HHA": whole,
        "HHA, gravity fixed": hha_along(z, camera, upright),
        "HHA, true gravity": hha_along(z, camera, true_down(rooms)),
    }


def surfaces_of(rooms: Rooms) -> torch.Tensor:
    """Index into ``SURFACES`` of each pixel, ``(N, H, W)``, from the exact normals and the instances."""
    assert rooms.normal is not None
    upward = -(true_down(rooms).float()[:, :, None, None] * rooms.normal.float() / 127).sum(dim=1)
    kinds = torch.where(upward > 0.9, 3, 4)
    for number, kind in ((0, 1), (1, 1), (2, 1), (3, 1), (4, 0), (5, 2)):  # the sides of a room
        kinds[rooms.instance == number] = kind
    return kinds


def some_pixels(rooms: Rooms, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Frame, row and column of ``PIXELS`` with depth in each frame."""
    draw = torch.Generator().manual_seed(seed)
    chance = torch.rand(rooms.depth.shape, generator=draw) * (rooms.depth > 0)
    best = chance.flatten(1).topk(PIXELS).indices  # (N, PIXELS)
    frame = torch.arange(len(best))[:, None].expand_as(best)
    return frame.flatten(), (best // rooms.depth.shape[2]).flatten(), (best % rooms.depth.shape[2]).flatten()


def pixel_accuracy(splits: Mapping[str, Rooms], pictures: Mapping[str, torch.Tensor], seed: int) -> dict[str, float]:
    """Percent of pixels whose surface the tree names, mean over surfaces, for each split but the one it learned on."""
    at = {name: some_pixels(rooms, seed) for name, rooms in splits.items()}
    kinds = {name: surfaces_of(rooms)[at[name]].numpy() for name, rooms in splits.items()}
    return tree_accuracy({name: pictures[name].permute(0, 2, 3, 1)[at[name]].numpy() for name in splits}, kinds)


def tree_accuracy(values: Mapping[str, np.ndarray], kinds: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Accuracy in percent, mean over surfaces, of a tree that learns on the first split, for each other one.

    Args:
        values: Of each split, three numbers of each pixel: ``(M, 3)``.
        kinds: The pixels' surfaces, ``(M,)``, index into ``SURFACES``.
    """
    from sklearn.tree import DecisionTreeClassifier

    first, *others = values
    tree = DecisionTreeClassifier(max_leaf_nodes=LEAVES, class_weight="balanced", random_state=0)
    tree.fit(values[first], kinds[first])
    found = {}
    for name in others:
        right = tree.predict(values[name]) == kinds[name]
        found[name] = 100 * float(np.mean([right[kinds[name] == kind].mean() for kind in np.unique(kinds[name])]))
    return found


def scenes(root: Path | None) -> dict[str, Any]:
    """Percent of validation rooms that a linear SVM names, for each input: mean over folds, and each fold's."""
    backbone = load_backbone("rooms_vgg", "rooms")
    pooled = Pooled(partial(avg_max_pool, normalize=True), backbone.last_layer)
    vectors: dict[str, list[torch.Tensor]] = {name: [] for name in INPUTS}
    labels = []
    for seed in range(1, 2 * FOLDS + 1):
        rooms = Rooms("val", SCENES, seed, root=root, progress=False)
        labels.append(rooms.label)
        for name, picture in pictures_of(rooms).items():
            vectors[name].append(l2_normalize(extract(backbone, picture, pooled, progress=False)))
    label = torch.cat(labels)
    fold = (torch.arange(len(label)) // SCENES) % FOLDS
    found = {}
    for name, parts in vectors.items():
        each = torch.cat(parts)
        found[name] = [
            100 * LinearSVM().fit(each[fold != at], label[fold != at]).accuracy(each[fold == at], label[fold == at])
            for at in range(FOLDS)
        ]
    return {"scenes": found}


def directions(rooms: Rooms) -> dict[str, float]:
    """How far gravity and the floor are off: percent, degrees and centimetres."""
    off = degrees_between(found_down(rooms), true_down(rooms))
    upright = degrees_between(torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64), true_down(rooms))
    height = hha_batch(rooms.depth, cameras_of(rooms))[:, 1]
    floor = (rooms.instance == 4) & (rooms.depth > 0)
    seen = [float(height[at][floor[at]].double().median()) for at in range(len(floor)) if floor[at].sum() > 50]
    return {
        "gravity median": float(off.median()),
        "gravity within 5": 100 * float((off < 5).double().mean()),
        "fixed median": float(upright.median()),
        "floor median": float(np.median(seen)),
        "holes": 100 * float((rooms.depth == 0).double().mean()),
    }


def measure(seed: int, root: Path | None) -> dict[str, Any]:
    """Every number of one draw of rooms."""
    splits = {name: drawn(name, seed, root) for name in SPLITS}
    pictures = {name: pictures_of(rooms) for name, rooms in splits.items()}
    found: dict[str, float] = {}
    for row in INPUTS:
        shares = pixel_accuracy(splits, {name: pictures[name][row] for name in splits}, seed)
        found |= {f"pixel {row} {name}": share for name, share in shares.items()}
    options = RoomOptions(exact=True, camera_pitch=STEEP)
    steep = Rooms("test", STEEP_FRAMES, seed, options, root=root, workers=2, progress=False)
    for name, rooms in {**splits, "steep": steep}.items():
        found |= {f"{key} {name}": value for key, value in directions(rooms).items()}
    for name in ("held alike", "tilted"):
        for step, other in AGAINST.items():
            found[f"pixel {step} {name}"] = found[f"pixel HHA {name}"] - found[f"pixel {other} {name}"]
    print(f"  draw {seed}: HHA {found['pixel HHA held alike']:.1f}, depth {found['pixel depth held alike']:.1f}")
    return {key: round(value, 4) for key, value in found.items()}


def scene_values(folds: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Of each input over the folds, and of HHA against others fold by fold: as `values_of`."""
    parts: list[dict[str, float]] = []
    for at in range(FOLDS):
        one = {f"scene {name}": shares[at] for name, shares in folds.items()}
        one |= {f"scene {step}": folds["HHA"][at] - folds[other][at] for step, other in AGAINST.items()}
        parts.append(one)
    return values_of(parts)


def values_of(parts: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Mean, standard deviation and Student's interval over draws: ``NAME``, ``NAME std``, ``NAME low``, ..."""
    values: dict[str, Any] = {}
    for name in parts[0]:
        over = summarise([part[name] for part in parts])
        values[name] = over["mean"]
        values |= {f"{name} {end}": over[end] for end in ("std", "low", "high") if over[end] is not None}
    return {name: round(value, 4) for name, value in values.items()}


def record(args: argparse.Namespace) -> None:
    """Measure on every draw, and write results/hha_rooms.json."""
    weights = load_backbone("rooms_vgg", "rooms").weights
    made_from = f"code {code_digest('experiments.hha_rooms')}, torch {torch.__version__}, {weights}"
    parts = {
        seed: kept(KEPT / "hha_rooms", f"{seed}", made_from, partial(measure, seed, args.root)) for seed in args.seeds
    }
    folds = kept(KEPT / "hha_rooms", "scenes", made_from, partial(scenes, args.root))
    seconds = {str(seed): part.pop("seconds") for seed, part in parts.items()} | {"scenes": folds["seconds"]}
    save(
        args.out,
        "hha_rooms",
        command=args.command,
        title="HHA beside depth, on rooms",
        data={"rooms": str(VERSION)},
        settings={"frames": FRAMES, "pixels": PIXELS, "leaves": LEAVES, "tilted": TILTED, "steep": STEEP},
        seeds=args.seeds,
        protocol="a seed is a draw of rooms: `train` to learn on, `test` as held and tilted; a tree on single pixels, "
        "accuracy averaged over five surfaces; scenes: validation rooms of seeds 1 to 10 in five folds, linear SVM, "
        "C = 1, on a frozen network's average and maximum; intervals: Student's, over draws or folds",
        seconds=sum(seconds.values()),
        values=values_of(list(parts.values()))
        | scene_values(folds["scenes"])
        | {"draws": len(parts), "frames": FRAMES, "pixels": PIXELS, "leaves": LEAVES, "network": weights}
        | {"scenes": 2 * FOLDS * SCENES, "folds": FOLDS},
        details={"runs": {str(seed): part for seed, part in parts.items()}, "folds": folds["scenes"]},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = parser_of("experiments.hha_rooms", __doc__, seeds=range(1, 7))
    parser.add_argument("--root", type=Path, default=None, help="cache folder of the frames; usually ~/.cache/ask_lib")
    return run(parser, record, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
