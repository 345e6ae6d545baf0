"""Record DLFS on rooms, and on a toy task in which only one place tells the class.

Rooms: two networks that learned other rooms, one of RGB and one of HHA, give maps, and heads are trained on them. The
maps stay as they are, or the last block of both networks, ``layer4``, is trained too (rows "tuned"). Learned points
stand beside a fixed grid, random places, the strongest cells, and global averages. A seed is a draw of frames, and of
all that is random in training; frames are as many as the lesson's page takes. Nothing is chosen on the test frames.
Toy: where the points end, by temperature and with L_VI.

The usual seeds are 11 to 15: the toy task, and what is asked of it, were designed with results of seeds 0 to 5 in view.
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
from ask_lib.methods.dlfs import DLFS, VariationalInformation, correlation_map, keypoint_spread
from ask_lib.models.ask import ASK, ASKHead, ASKOptions
from ask_lib.models.backbones import load_backbone
from ask_lib.models.features import evaluating
from ask_lib.models.two_stream import TwoStream, cut_encoder
from ask_lib.represent import extract
from ask_lib.results import summarise
from ask_scenes.rooms import LABELS, VERSION, RoomOptions
from experiments.recording import KEPT, code_digest, kept, parser_of, run, save

TRAIN, TEST, EPOCHS = 200, 100, 20  # what the lesson's page takes
SIZE, K, BATCH, RATE = (120, 160), 16, 50, 3e-3
TUNED = 0.1  # of the rate, for the networks' last block
NETWORKS = ("rooms_resnet", "rooms_hha_resnet")  # of RGB, and of HHA
LOCAL: dict[str, Any] = {"local_only": True}
LOSSES = {"information": 0.1, "correlation": 0.1}  # the paper's weights
Row = tuple[dict[str, Any], dict[str, float]]  # head, and weights of its further losses
ROWS: dict[str, Row] = {
    "global": ({"keypoints": (0, 0)}, {}),
    "learned": (LOCAL, {}),
    "learned, L_VI": (LOCAL, {"information": 0.1}),
    "learned, L_C": (LOCAL, {"correlation": 0.1}),
    "learned, both losses": (LOCAL, LOSSES),
    "learned, temperature 0.3": (LOCAL | {"temperature": 0.3}, {}),
    "grid": (LOCAL | {"points": "grid"}, {}),
    "random": (LOCAL | {"points": "random"}, {}),
    "strongest": (LOCAL | {"points": "strongest"}, {}),
    "global + learned": ({}, {}),
    "global + learned, both losses": ({}, LOSSES),
    "global + grid": ({"points": "grid"}, {}),
}
AGAIN = ("global", "learned", "grid")  # with the last block trained
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
    """A split's maps of one layer, labels and true masks of its key objects."""

    rgb: torch.Tensor  # (N, C, h, w)
    depth: torch.Tensor  # (N, C, h, w), of HHA
    label: torch.Tensor  # (N,)
    key: torch.Tensor  # (N, H, W) bool


def maps_of(split: str, count: int, seed: int, root: Path | None) -> dict[str, Maps]:
    """Maps of both modalities, by layer: the last, and the one before."""
    rooms = Rooms(split, count, seed, RoomOptions(size=SIZE), root=root, progress=False)
    layers = ["layer3", "layer4"]
    rgb, depth = (
        extract(load_backbone(name, "rooms"), images, layers, progress=False)
        for name, images in zip(NETWORKS, (rooms.rgb, rooms.hha()), strict=True)
    )
    return {
        layer: Maps(torch.stack(rgb[layer]), torch.stack(depth[layer]), rooms.label, rooms.key_mask) for layer in layers
    }


def network_of(row: Row, tuned: bool, seed: int) -> ASK:
    """A head, on maps that stay as they are, or on the networks' last block."""
    torch.manual_seed(seed)
    head = ASKHead(128, len(LABELS), ASKOptions(dropout=0.2, local_width=16, **row[0]))
    rgb, depth = (cut_encoder(load_backbone(name, "rooms").network, "layer3")[1] for name in NETWORKS)
    return ASK(TwoStream(rgb, depth) if tuned else TwoStream(nn.Identity(), nn.Identity()), head)


def train(maps: Maps, row: Row, seed: int, *, tuned: bool = False) -> ASK:
    """By class labels, and the further losses of the row."""
    network = network_of(row, tuned, seed).train()
    groups: list[dict[str, Any]] = [{"params": network.head.parameters()}]
    if tuned:
        groups.append({"params": network.streams.parameters(), "lr": TUNED * RATE})
    adam = torch.optim.AdamW(groups, RATE, weight_decay=0.01)
    for _ in range(EPOCHS):
        for at in torch.randperm(len(maps.label)).split(BATCH):  # type: ignore[no-untyped-call]
            outputs = network(maps.rgb[at], maps.depth[at])
            none = {"information": 0.0, "correlation": 0.0}
            adam.zero_grad()
            network.head.loss(outputs, maps.label[at], weights={**none, **row[1]}).total.backward()  # type: ignore[no-untyped-call]
            adam.step()
    return network


def on_objects(points: torch.Tensor, key: torch.Tensor, grid: tuple[int, int]) -> float:
    """Percent of keypoints ``(N, K, 2)``, in cells, that lie on key objects ``(N, H, W)``.

    Cells tile the picture, as in book/notation.md. What a cell of these networks sees is centred at 16 times its (x, y)
    and 1 pixel; read there, no rate of the lesson's draw moves by 5 percentage points, nor a lead's sign.
    """
    scale = points.new_tensor([key.shape[2] / grid[1], key.shape[1] / grid[0]])
    x, y = ((points + 0.5) * scale).long().unbind(dim=2)  # (N, K)
    return 100 * float(key[torch.arange(len(key))[:, None], y, x].double().mean())


def measure_network(network: ASK, maps: Maps) -> dict[str, float]:
    """Accuracy; of points their hit rate, that of another picture's points, and their spread in cells.

    Frame i is of class i mod 10.
    """
    with evaluating(network), torch.inference_mode():
        rgb, depth = network.streams(maps.rgb, maps.depth)
        outputs = network.head(rgb, depth)
    found = {"accuracy": 100 * float((outputs.logits.argmax(1) == maps.label).double().mean())}
    for points in outputs.keypoints:
        grid = (rgb.shape[2], rgb.shape[3])
        found["hits"] = on_objects(points, maps.key, grid)
        found["shuffled"] = on_objects(points.roll(1, 0), maps.key, grid)  # the next frame is of another class
        found["shuffled in class"] = on_objects(points.roll(len(LABELS), 0), maps.key, grid)
        found["spread"] = float(keypoint_spread(points).mean())
    return found


def measure_agreement(maps: Maps) -> dict[str, float]:
    """[ASK-11] The modalities' mean cosine on cells that are mostly key object, and on the others."""
    agree = correlation_map(maps.rgb, maps.depth)  # (N, h, w)
    grid = (agree.shape[1], agree.shape[2])
    on = functional.adaptive_avg_pool2d(maps.key.float()[:, None], grid)[:, 0] > 0.5
    return {"on": float(agree[on].mean()), "off": float(agree[~on].mean())}


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


def measure(seed: int, root: Path | None) -> dict[str, Any]:
    """All rows and toys of a seed."""
    learn, test = maps_of("train", TRAIN, seed, root), maps_of("test", TEST, seed, root)
    found: dict[str, Any] = {"agreement": measure_agreement(test["layer4"])}
    for name, row in ROWS.items():
        found[name] = measure_network(train(learn["layer4"], row, seed), test["layer4"])
    for name in AGAIN:
        network = train(learn["layer3"], ROWS[name], seed, tuned=True)
        found[f"tuned {name}"] = measure_network(network, test["layer3"])
    for name, settings in TOYS.items():
        found[f"toy {name}"] = measure_toy(seed, *settings)
    return found


DIFFERENCES: dict[str, tuple[str, ...]] = {  # a row, and those that its accuracy is held against
    "learned": ("global", "grid", "random", "strongest"),
    "learned, L_VI": ("learned",),
    "learned, L_C": ("learned",),
    "learned, both losses": ("learned", "grid", "global"),
    "learned, temperature 0.3": ("learned",),
    "global + learned": ("global", "global + grid"),
    "global + learned, both losses": ("global", "global + grid", "global + learned"),
    "tuned learned": ("tuned global", "tuned grid", "learned"),
    "tuned global": ("global",),
    "tuned grid": ("grid",),
}


def differences(part: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Every value of a seed, and differences of its rows."""
    for row, numbers in part.items():
        yield from ((f"{row} {name}", value) for name, value in numbers.items())
    yield "agreement on over off", part["agreement"]["on"] - part["agreement"]["off"]
    for row, others in DIFFERENCES.items():
        for other in others:
            yield f"{row} over {other}", part[row]["accuracy"] - part[other]["accuracy"]
    for row in ("learned", "learned, both losses", "tuned learned"):
        for other in ("shuffled", "shuffled in class"):
            yield f"{row} hits over {other}", part[row]["hits"] - part[row][other]
        for points in ("grid", "strongest"):
            yield f"{row} hits over {points}", part[row]["hits"] - part[points]["hits"]


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
    weights = [load_backbone(name, "rooms").weights for name in NETWORKS]
    made_from = f"code {code_digest('experiments.dlfs_rooms')}, torch {torch.__version__}, {weights}"
    parts = {
        seed: kept(KEPT / "dlfs_rooms", f"{seed}", made_from, partial(measure, seed, args.root)) for seed in args.seeds
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
        protocol="a seed is a draw of frames and of all that is random; heads, and in rows `tuned` the networks' last "
        "block, learn on cached maps of `train`, and are measured on `test` once; intervals: Student's, over seeds",
        seconds=sum(seconds.values()),
        values=values_of(list(parts.values())) | {"draws": len(parts), "train": TRAIN, "test": TEST},
        details={"runs": {str(seed): part for seed, part in parts.items()}, "seconds": seconds, "networks": weights},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = parser_of("experiments.dlfs_rooms", __doc__, seeds=range(11, 16))
    parser.add_argument("--root", type=Path, default=None, help="cache folder of the frames; usually ~/.cache/ask_lib")
    return run(parser, record, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
