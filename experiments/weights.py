"""The networks that ship: trained by a config, written into the package with a card. ``make weights`` does it again."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ask_lib.checks import check_choice
from ask_lib.command import exit_status
from ask_lib.data.objects import Objects
from ask_lib.data.rooms import Rooms
from ask_lib.errors import ConfigError, WeightsError
from ask_lib.models import small
from ask_lib.train.config import TrainConfig
from ask_lib.train.distributed import Process, init
from ask_lib.train.run import build, run
from ask_lib.train.tasks import find_experiment
from ask_lib.train.tasks.rooms import ROOMS_SPECS
from ask_scenes.objects import TRAIN_CLASSES, ObjectOptions
from ask_scenes.rooms import LABELS
from experiments.recording import command_of

PACKAGE = Path(small.__file__).resolve().parent / "packaged"
LIMIT = 4 * 2**20  # bytes: what a clone and a page can carry


@dataclass(frozen=True)
class Shipped:
    """A network that ships: its experiment, what is changed in its config, and what the card says of the data."""

    experiment: str
    network: str
    split: str
    labels: str
    classes: tuple[str, ...]
    modality: str = "rgb"


ROOMS = ("pretrain", "scene classes only", LABELS)
SHIPPED: Mapping[str, Shipped] = {
    "rooms_vgg": Shipped("rooms_pretrain", "vgg", *ROOMS),
    "rooms_resnet": Shipped("rooms_pretrain", "resnet", *ROOMS),
    "rooms_hha_resnet": Shipped("rooms_pretrain", "resnet", *ROOMS, "hha"),
    "objects_vgg": Shipped("objects_pretrain", "vgg", "train", "the 16 classes that judge nothing", TRAIN_CLASSES),
}


def config_of(name: str, changes: Sequence[str] = ()) -> TrainConfig:
    """The config by which a network that ships is trained.

    Raises:
        ChoiceError: If no such network ships.
    """
    check_choice("network", name, SHIPPED)
    made = SHIPPED[name]
    own = (f"network={made.network}", f"modality={made.modality}")
    return find_experiment(made.experiment).config.override([*own, *changes])


def make(
    name: str,
    *,
    runs: Path,
    process: Process,
    out: Path = PACKAGE,
    changes: Sequence[str] = (),
    command: str = "",
    **how: Any,
) -> dict[str, Any]:
    """Train a network, or go on with its run, and write ``NAME.safetensors`` and its card.

    Args:
        name: One of ``SHIPPED``.
        runs: Folder of the runs; this one's is ``NAME`` in it.
        process: This process, from `init`.
        out: Where the two files go; by default into the package.
        changes: To the config, as on the command line.
        command: For the card.
        how: ``progress`` of `fit`.

    Returns:
        The card.

    Raises:
        ChoiceError: If no such network ships.
        WeightsError: If the file would be larger than ``LIMIT``.
    """
    config: Any = config_of(name, changes)
    _draw(SHIPPED[name].split, config.count + config.test_count, how.get("progress", True))
    task = build(config)
    result = run(config, task=task, out=runs / name, resume=True, process=process, command=command, **how)
    network = _plain(task.network)
    size = 4 * sum(value.numel() for value in network.state_dict().values())
    if size > LIMIT:
        raise WeightsError(f"{name}: {size} bytes of weights, at most {LIMIT} can ship.")
    card = _card(name, config, result)
    return small.save_safetensors(network, out / f"{name}.safetensors", card) if process.is_main else card


def _draw(split: str, count: int, progress: bool) -> None:
    """Draw the frames by all cores; the experiment then reads the cache."""
    how: dict[str, Any] = {"workers": os.cpu_count() or 1, "progress": progress}
    if split == "pretrain":
        Rooms(split, count, **how)
    else:
        Objects(split, count, options=ObjectOptions(classes="train"), **how)


def _plain(network: nn.Module) -> nn.Module:
    """What ships: a VGG without normalisation layers, a ResNet as it was trained."""
    if isinstance(network, small.SmallVGG) and network.norm == "batch":
        return small.fold_batch_norm(network)
    return network.eval()


def _card(name: str, config: Any, result: Mapping[str, Any]) -> dict[str, Any]:
    spec, made = ROOMS_SPECS[config.modality], SHIPPED[name]
    return {
        "name": name,
        "input": {"modality": config.modality, "size": [120, 160], "mean": list(spec.mean), "std": list(spec.std)},
        "classes": list(made.classes),
        "trained_on": {
            "data": result["data"][made.experiment],
            "split": made.split,
            "frames": config.count - round(config.validation * config.count),
            "labels": made.labels,
        },
        "accuracy": {
            "measured_on": f"{config.test_count} further frames of {made.split}, in percent",
            "value": round(100 * result["values"]["test_accuracy"], 2),
        },
        "seed": config.seed,
        "recipe": config.to_dict(),
        "command": result["command"],
        "commit": result["commit"],
        "environment": result["environment"],
        "seconds": round(result["seconds"], 1),
    }


def main(words: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    words = list(sys.argv[1:] if words is None else words)

    def body() -> None:
        given = _parser().parse_args(words)
        if given.changes and given.to == PACKAGE:
            raise ConfigError("a changed config would overwrite what ships: give it another folder with --to.")
        how = {"progress": not given.quiet}
        command = command_of("experiments.weights", words)
        names = given.networks or SHIPPED
        for name in names:
            check_choice("network", name, SHIPPED)
        with init(given.device) as process:
            for name in names:
                card = make(
                    name, runs=given.runs, process=process, out=given.to, changes=given.changes, command=command, **how
                )
                if process.is_main:
                    sys.stdout.write(f"{name}: {card['accuracy']['value']} %, {card['bytes']} bytes\n")

    return exit_status(body)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.weights", description="Train the networks that ship; run it again to go on."
    )
    parser.add_argument("networks", nargs="*", metavar="NAME", help="by default all")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="key=value", help="needs --to")
    parser.add_argument("--runs", type=Path, default=Path("_build/runs/weights"), help="folder of the single runs")
    parser.add_argument("--to", type=Path, default=PACKAGE, help="where the files go; by default into the package")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


if __name__ == "__main__":
    sys.exit(main())
