"""Record DLFS on rooms, and on a toy task in which only one place tells the class.

Rooms: the last maps of a network that learned other rooms, of the RGB picture and of HHA, stay as they are; heads are
trained on them. Learned points stand beside a fixed grid, random places, the strongest cells, and global averages. A
seed is a draw of frames, and of all that is random in training; frames are as many as the lesson's page takes. Nothing
is chosen on the test frames. Toy: where the points end, by temperature and with L_VI.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from ask_lib.data.rooms import Rooms
from ask_lib.methods.dlfs import DLFS, VariationalInformation, keypoint_spread
from ask_lib.methods.hha import hha_batch
from ask_lib.models.ask import ASKHead, ASKOptions
from ask_lib.models.backbones import load_backbone
from ask_lib.represent import extract
from ask_lib.results import summarise
from ask_scenes.rooms import LABELS, VERSION, RoomOptions
from experiments.recording import KEPT, code_digest, kept, parser_of, run, save

TRAIN, TEST, EPOCHS = 200, 100, 20  # what the lesson's page takes
SIZE, K, BATCH, RATE = (120, 160), 16, 50, 3e-3
LOSSES = {"information": 0.1, "correlation": 0.1}
ROWS: dict[str, tuple[dict[str, Any], dict[str, float]]] = {  # head, and weights of its further losses
    "global average": ({"keypoints": (0, 0)}, {}),
    "learned": ({}, {}),
    "learned, L_VI": ({}, {"information": 0.1}),
    "learned, L_C": ({}, {"correlation": 0.1}),
    "learned, both losses": ({}, LOSSES),
    "learned, temperature 0.3": ({"temperature": 0.3}, {}),
    "grid": ({"points": "grid"}, {}),
    "random": ({"points": "random"}, {}),
    "strongest": ({"points": "strongest"}, {}),
}
TOYS = {  # temperature, and weight of L_VI
    "temperature 0.3": (0.3, 0.0),
    "temperature 1": (1.0, 0.0),
    "temperature 3": (3.0, 0.0),
    "L_VI": (1.0, 0.1),
    "L_VI, a hundredth": (1.0, 0.001),
    "L_VI, temperature 0.3": (0.3, 0.1),
}
STEPS = 300


class Maps(NamedTuple):
    """A split's last maps, labels and true masks of its key objects."""

    rgb: torch.Tensor  # (N, C, h, w)
    depth: torch.Tensor  # (N, C, h, w), of HHA
    label: torch.Tensor  # (N,)
    key: torch.Tensor  # (N, H, W) bool


def maps_of(split: str, count: int, seed: int, depth_network: str, root: Path | None) -> Maps:
    """Maps of both modalities."""
    rooms = Rooms(split, count, seed, RoomOptions(size=SIZE), root=root, progress=False)
    found = []
    for name, images in (("rooms_resnet", rooms.rgb), (depth_network, hha_batch(rooms.depth, rooms.intrinsics))):
        backbone = load_backbone(name, "rooms")
        found.append(torch.stack(extract(backbone, images, ["layer4"], progress=False)["layer4"]))
    return Maps(found[0], found[1], rooms.label, rooms.key_mask)


def train(maps: Maps, options: Mapping[str, Any], weights: Mapping[str, float], seed: int) -> ASKHead:
    """A head on maps that stay as they are."""
    torch.manual_seed(seed)
    common = {"local_only": True, "local_width": 16} if "keypoints" not in options else {}
    head = ASKHead(maps.rgb.shape[1], len(LABELS), ASKOptions(dropout=0.2, **{**common, **options}))
    adam = torch.optim.AdamW(head.parameters(), RATE, weight_decay=0.01)
    for _ in range(EPOCHS):
        for at in torch.randperm(len(maps.label)).split(BATCH):  # type: ignore[no-untyped-call]
            outputs = head(maps.rgb[at], maps.depth[at])
            none = {"information": 0.0, "correlation": 0.0}
            adam.zero_grad()
            head.loss(outputs, maps.label[at], weights={**none, **weights}).total.backward()  # type: ignore[no-untyped-call]
            adam.step()
    return head.eval()


def on_objects(points: torch.Tensor, key: torch.Tensor, grid: tuple[int, int]) -> float:
    """Percent of keypoints ``(N, K, 2)``, in cells, that lie on key objects ``(N, H, W)``."""
    scale = points.new_tensor([key.shape[2] / grid[1], key.shape[1] / grid[0]])
    x, y = ((points + 0.5) * scale).long().unbind(dim=2)  # (N, K)
    return 100 * float(key[torch.arange(len(key))[:, None], y, x].double().mean())


def measure_head(head: ASKHead, maps: Maps) -> dict[str, float]:
    """Accuracy; of points their hit rate, that of another picture's points, and their spread in cells.

    Frame i is of class i mod 10.
    """
    with torch.no_grad():
        outputs = head(maps.rgb, maps.depth)
    found = {"accuracy": 100 * float((outputs.logits.argmax(1) == maps.label).double().mean())}
    for points in outputs.keypoints:
        grid = (maps.rgb.shape[2], maps.rgb.shape[3])
        found["hits"] = on_objects(points, maps.key, grid)
        found["shuffled"] = on_objects(points.roll(1, 0), maps.key, grid)  # the next frame is of another class
        found["shuffled in class"] = on_objects(points.roll(len(LABELS), 0), maps.key, grid)
        found["spread"] = float(keypoint_spread(points).mean())
    return found


def toy(count: int, draw: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Maps (N, 8, 9, 9), classes, places (N, 2): noise, and in one cell an object of one of two kinds."""
    maps = 0.1 * torch.randn(count, 8, 9, 9, generator=draw)
    kind = torch.randint(2, (count,), generator=draw)
    x, y = torch.randint(9, (2, count), generator=draw)
    at = torch.arange(count)
    maps[at, 0, y, x] += 2
    maps[at, 1 + kind, y, x] += 2
    return maps, kind, torch.stack([x, y], dim=1)


def measure_toy(seed: int, temperature: float, weight: float) -> dict[str, float]:
    """What a toy head does on new pictures.

    Accuracy, also that of L_VI's own guess U; how far from the object the nearer of two points ends, in cells, in
    pictures of the one kind (near) and of the other (far); how far the middle is.
    """
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    new, true, place = toy(256, draw)
    select, classify, information = DLFS(8, 2, temperature=temperature), nn.Linear(32, 2), VariationalInformation(2, 2)
    adam = torch.optim.Adam([p for one in (select, classify, information) for p in one.parameters()], 0.03)
    for _ in range(STEPS):
        maps, kind, _ = toy(64, draw)
        found = select(maps, maps)
        logits = classify(torch.cat([found.rgb, found.depth], dim=2).flatten(1))
        loss = functional.cross_entropy(logits, kind)
        if weight:
            loss = loss + weight * information(found.maps, kind)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    with torch.no_grad():
        found = select(new, new)
        logits = classify(torch.cat([found.rgb, found.depth], dim=2).flatten(1))
        guess = information.conv(functional.adaptive_max_pool2d(found.maps, information.size)).flatten(1)
    away = (found.keypoints - place[:, None]).norm(dim=2)  # (N, K)
    by_kind = torch.stack([away[true == one].mean(dim=0) for one in (0, 1)]).amin(dim=1)  # (2,)
    return {
        "accuracy": 100 * float((logits.argmax(1) == true).double().mean()),
        "guess": 100 * float((guess.argmax(1) == true).double().mean()),
        "near": float(by_kind.min()),
        "far": float(by_kind.max()),
        "middle": float((torch.full((2,), 4.0) - place).norm(dim=1).mean()),
    }


def measure(seed: int, depth_network: str, root: Path | None) -> dict[str, Any]:
    """All rows and toys of a seed."""
    learn = maps_of("train", TRAIN, seed, depth_network, root)
    test = maps_of("test", TEST, seed, depth_network, root)
    found: dict[str, Any] = {
        name: measure_head(train(learn, options, weights, seed), test) for name, (options, weights) in ROWS.items()
    }
    for name, settings in TOYS.items():
        found[f"toy {name}"] = measure_toy(seed, *settings)
    return found


def differences(part: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Every value of a seed, and of each row the accuracy that learned points have more."""
    for row, numbers in part.items():
        yield from ((f"{row} {name}", value) for name, value in numbers.items())
    for row in ("global average", "grid", "random", "strongest"):
        yield f"learned over {row}", part["learned"]["accuracy"] - part[row]["accuracy"]
        yield f"losses over {row}", part["learned, both losses"]["accuracy"] - part[row]["accuracy"]
    for row in ("learned, L_VI", "learned, L_C", "learned, both losses", "learned, temperature 0.3"):
        yield f"{row} over learned", part[row]["accuracy"] - part["learned"]["accuracy"]
    for row in ("learned", "learned, both losses"):
        yield f"{row}: hits over shuffled", part[row]["hits"] - part[row]["shuffled"]
        yield f"{row}: hits over shuffled in class", part[row]["hits"] - part[row]["shuffled in class"]
        yield f"{row}: hits over grid", part[row]["hits"] - part["grid"]["hits"]


def values_of(parts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean, standard deviation and Student's interval over seeds: ``NAME``, ``NAME std``, ``NAME low``, ..."""
    values: dict[str, float] = {}
    held = [dict(differences(part)) for part in parts]
    for name in held[0]:
        over = summarise([one[name] for one in held])
        values[name] = round(float(over["mean"] or 0), 4)
        values |= {f"{name} {end}": round(float(over[end] or 0), 4) for end in ("std", "low", "high")}
    return values


def record(args: argparse.Namespace) -> None:
    """Measure every seed, and write results/dlfs_rooms.json."""
    weights = [load_backbone(name, "rooms").weights for name in ("rooms_resnet", args.depth_network)]
    made_from = f"code {code_digest('experiments.dlfs_rooms')}, torch {torch.__version__}, {weights}"
    parts = {
        seed: kept(KEPT / "dlfs_rooms", f"{seed}", made_from, partial(measure, seed, args.depth_network, args.root))
        for seed in args.seeds
    }
    seconds = {str(seed): part.pop("seconds") for seed, part in parts.items()}
    save(
        args.out,
        "dlfs_rooms",
        command=args.command,
        title="DLFS on rooms and on a toy task",
        data={"rooms": str(VERSION)},
        settings={"train": TRAIN, "test": TEST, "epochs": EPOCHS, "K": K, "height": SIZE[0]},
        seeds=args.seeds,
        protocol="a seed is a draw of frames and of all that is random; heads learn on cached maps of `train`, and are "
        "measured on `test` once; intervals: Student's, over seeds",
        seconds=sum(seconds.values()),
        values=values_of(list(parts.values())) | {"draws": len(parts), "train": TRAIN, "test": TEST},
        details={"runs": {str(seed): part for seed, part in parts.items()}, "seconds": seconds, "networks": weights},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = parser_of("experiments.dlfs_rooms", __doc__, seeds=range(1, 6))
    parser.add_argument("--depth-network", default="rooms_resnet", help="that reads HHA; usually rooms_resnet")
    parser.add_argument("--root", type=Path, default=None, help="cache folder of the frames; usually ~/.cache/ask_lib")
    return run(parser, record, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
