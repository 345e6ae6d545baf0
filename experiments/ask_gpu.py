"""Lesson 07 at the size of a GPU: ASK on rooms with both networks trained above their stem, and what that takes.

The rows, the training and the numbers of rooms are those of the page's ``gpu`` profile; a seed is a draw of rooms and
of all that is random in training.

    python -m experiments.ask_gpu --device cuda
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Any

import torch

from ask_lib.data.rooms import Rooms
from ask_lib.models.ask import ASK, ASKHead, ASKOptions
from ask_lib.models.backbones import load_backbone
from ask_lib.models.features import evaluating
from ask_lib.models.two_stream import TwoStream, cut_encoder
from ask_lib.represent import extract
from ask_lib.reproduce import pick_device
from ask_lib.train.augment import Augment, InputSpec, prepare_augmented
from ask_scenes.rooms import LABELS, VERSION, RoomOptions
from experiments.recording import KEPT, code_digest, kept, parser_of, run, save

HERE, CUT, CHANNELS = "ask_gpu", "stem", 128
NETWORKS = ("rooms_resnet", "rooms_hha_resnet")
SIZES, TINY = (2000, 500, 25), (20, 10, 1)  # rooms to learn from, to measure on; epochs
ROWS: Mapping[str, tuple[dict[str, float], dict[str, Any]]] = {
    "global, L_aux": ({}, {"keypoints": (0, 0)}),
    "global + local": ({"information": 0, "correlation": 0}, {}),
    "global + local, full": ({}, {}),
}
"""Of each the weights of its terms and its options; the paper's where not named."""
SPECS = dict.fromkeys(("rgb", "hha"), InputSpec(kind="map"))
Maps = list[list[torch.Tensor]]
"""At ``CUT``, of each modality: as they are, and mirrored; ``(N, C, H, W)`` each."""


def maps_of(split: str, count: int, seed: int, device: torch.device) -> tuple[torch.Tensor, Maps]:
    """The labels of a split, and its maps."""
    rooms = Rooms(split, count, seed, RoomOptions(size=(120, 160)), device=device.type, progress=False)
    maps = []
    for name, images in zip(NETWORKS, (rooms.rgb, rooms.hha()), strict=True):
        layers = [CUT, f"flip:{CUT}"]
        found = extract(load_backbone(name, "rooms", device=device), images, layers, progress=False)
        maps.append([torch.stack(found[layer]).to(device) for layer in layers])
    return rooms.label.to(device), maps


def train(labels: torch.Tensor, maps: Maps, row: str, epochs: int, seed: int) -> ASK:
    """A row's network, as the lesson trains it."""
    weights, options = ROWS[row]
    rgb, hha = (cut_encoder(load_backbone(name, "rooms").network, CUT)[1] for name in NETWORKS)
    torch.manual_seed(seed)
    head = ASKHead(CHANNELS, len(LABELS), ASKOptions(local_width=16, **options))
    ask = ASK(TwoStream(rgb, hha), head).to(labels.device).train()
    groups: list[dict[str, Any]] = [{"params": head.parameters(), "lr": 1e-2}, {"params": ask.streams.parameters()}]
    adam = torch.optim.Adam(groups, 1e-3, weight_decay=1e-4)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(adam, epochs * -(-len(labels) // 32))
    for epoch in range(epochs):
        for at in torch.split(torch.randperm(len(labels)).to(labels.device), 32):
            flip = (torch.rand(len(at), device=at.device) < 0.5)[:, None, None, None]
            mixed = {m: torch.where(flip, pair[1][at], pair[0][at]) for m, pair in zip(SPECS, maps, strict=True)}
            made = prepare_augmented(mixed, SPECS, Augment(erase=0.5), seed, epoch, at)
            loss = head.loss(ask(made["rgb"], made["hha"]), labels[at], weights=weights)
            adam.zero_grad()
            loss.total.backward()  # type: ignore[no-untyped-call]
            adam.step()
            fall.step()
    return ask


def measure(row: str, seed: int, sizes: tuple[int, int, int], device: torch.device) -> dict[str, float]:
    """Percent of the test rooms named right, and the most memory taken, in MiB (0 on a CPU)."""
    learn, learn_maps = maps_of("train", sizes[0], seed, device)
    test, test_maps = maps_of("test", sizes[1], seed, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    ask = train(learn, learn_maps, row, sizes[2], seed)
    right = 0
    with evaluating(ask), torch.inference_mode():
        for at in torch.split(torch.arange(len(test), device=device), 50):
            found = ask(*(pair[0][at] for pair in test_maps)).logits.argmax(dim=1)
            right += int((found == test[at]).sum())
    most = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return {"accuracy": 100 * right / len(test), "MiB": round(most / 2**20, 1)}


def record(args: argparse.Namespace) -> None:
    """Every row of every seed, and what it took."""
    device, sizes = pick_device(args.device), TINY if args.tiny else SIZES
    made_from = f"code {code_digest('experiments.ask_gpu')}, torch {torch.__version__}, {device}, {sizes}"
    runs = {
        row: [
            kept(KEPT / HERE, f"{row} {seed}", made_from, partial(measure, row, seed, sizes, device))
            for seed in args.seeds
        ]
        for row in ROWS
    }
    values = {f"{row} {key}": fmean(one[key] for one in each) for row, each in runs.items() for key in each[0]}
    save(
        args.out,
        HERE,
        command=args.command,
        title="ASK on rooms, trained above the stem",
        data={"rooms": str(VERSION)},
        settings=dict(zip(("train", "test", "epochs"), sizes, strict=True)),
        seeds=args.seeds,
        protocol="percent of the test rooms named right after the last epoch; seconds with the drawing of the rooms "
        "where the cache has none",
        seconds=sum(float(one["seconds"]) for each in runs.values() for one in each),
        values=values,
        details={"runs": runs},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = parser_of("experiments.ask_gpu", __doc__, seeds=[0])
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes that show only that it runs")
    return run(parser, record, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
