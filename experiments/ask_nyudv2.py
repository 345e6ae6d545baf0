"""Record ASK on the real NYU Depth v2.

`streams` fine-tunes each stream alone (`experiments.ask_streams`).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ask_lib.models.backbones import load_backbone
from experiments.ask_streams import (
    MADE_BY,
    MODALITIES,
    NETWORK,
    Scenes,
    logic_digest,
    read_scenes,
    stream_config,
    train_stream,
)
from experiments.recording import KEPT, kept, parser_of, run
from tools.imports import digest

STREAM_SEEDS = (0, 1, 2)
HERE = "ask_nyudv2"


def stream_folder(made_from: str, modality: str, seed: int) -> Path:
    """Where a stream's checkpoints lie."""
    return KEPT / HERE / f"{modality}-{seed}-{digest([made_from.encode()])[:8]}"


def streams(scenes: Scenes, weights: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """The first stage: what each stream came to, by modality and seed; those not there yet are trained."""
    found = {}
    for seed in STREAM_SEEDS:
        for modality in MODALITIES:
            key = stream_key(scenes, weights, modality, seed)
            folder = stream_folder(key, modality, seed)
            make = partial(train_stream, scenes, weights, modality, seed, folder)
            found[modality, seed] = part = kept(KEPT / HERE, f"{modality}-{seed}", key, make)
            print(
                f"  {modality} {seed}: validation {part['validation']:.1f}, epoch {part['best_epoch'] + 1}", flush=True
            )
    return found


def stream_key(scenes: Scenes, weights: Path, modality: str, seed: int) -> str:
    """What a stream is made from."""
    backbone = load_backbone(NETWORK, weights).weights
    settings = stream_config(scenes, modality, seed).digest()
    return f"torch {torch.__version__}, {backbone}, settings {settings}, code {logic_digest(MADE_BY)}"


def record(args: argparse.Namespace) -> None:
    """Run a stage."""
    torch.set_num_threads(args.threads)
    scenes = read_scenes(args.root, cache=args.cache)
    streams(scenes, args.weights)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = parser_of("experiments.ask_nyudv2", __doc__, seeds=range(5))
    real = Path(os.environ.get("ASK_REALDATA") or Path(__file__).resolve().parents[2] / "shared" / "realdata")
    parser.add_argument("stage", choices=["streams"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--root", type=Path, default=real / "nyuv2", help="the folder with rgb/, depth/, labels.csv")
    parser.add_argument("--weights", type=Path, default=real / "weights" / "squeezenet1_1_places365.pt")
    parser.add_argument("--cache", type=Path, default=None, help="cache folder of HHA; usually ~/.cache/ask_lib")
    return run(parser, record, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
