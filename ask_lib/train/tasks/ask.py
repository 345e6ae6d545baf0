"""ASK as its paper trains it: on NYU Depth v2 and on SUN RGB-D, and on the first from a run on the second.

Source: ASK, section IV.A. Where it is silent: whole frames become squares of 224 x 224; weight decay and the side of
cutout are those of the first author's framework (loganxiong/RGBD-Scene-Recognition.pytorch), the probability of random
erasing is that of its own paper (Zhong et al.). The rate falls by x 0.1; "reduced by a fraction of 0.9" may also mean
x 0.9, ``schedule.factor=0.9``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ask_lib.checks import check_range
from ask_lib.data.download import curl_line
from ask_lib.data.nyudv2 import NYUDv2, NYUDv2Folder
from ask_lib.data.rgbd import Pairs, RGBDFrames
from ask_lib.data.sunrgbd import SUNRGBD
from ask_lib.errors import WeightsError
from ask_lib.methods.dlfs import keypoint_spread
from ask_lib.models.ask import ASK, WEIGHTS, ASKOptions, ASKOutputs, ask
from ask_lib.models.backbones import load_backbone
from ask_lib.models.features import evaluating
from ask_lib.models.two_stream import HHA_MEAN, HHA_STD
from ask_lib.models.weights import fit
from ask_lib.train import checkpoint
from ask_lib.train.augment import Augment, InputSpec
from ask_lib.train.config import Schedule, TrainConfig
from ask_lib.train.data import Batch, Subset, TensorData, split
from ask_lib.train.loop import Task
from ask_lib.train.tasks import experiment
from ask_scenes.shards import cache_folder, prepare

PLACES = "http://places2.csail.mit.edu/models_places365/resnet18_places365.pth.tar"
ANEW = re.compile(r"head\.(classify|auxiliary|scales\.\d\.information)\.")  # parameters with a number for each class


@dataclass(frozen=True, kw_only=True)
class ASKConfig(TrainConfig):
    """Settings of ASK; the defaults are its paper's, as are the ``batch`` and ``validation`` of every config.

    Attributes:
        root: The data set's folder, as its loader takes it.
        backbone: Of both streams, as of `ask_lib.models.backbones.load_backbone`; so are their ``weights``.
        start: The ``best.pt`` of an earlier run, in place of ``weights``; what has a number for each class begins anew.
        size: (h, w) of the pictures; each process keeps all of them in memory.
        head: What the head has.
        losses: Weights of the terms of [ASK-16]; of weight 0, a term is watched only.
    """

    root: str
    backbone: str = "resnet18"
    weights: str = "data/resnet18_places365.pth.tar"
    start: str = ""
    size: tuple[int, int] = (224, 224)
    head: ASKOptions = field(default_factory=lambda: ASKOptions(keypoints=(16, 4)))
    losses: Mapping[str, float] = field(default_factory=lambda: dict(WEIGHTS))
    epochs: int = 300
    optimizer: str = "adam"
    lr: float = 1e-4
    weight_decay: float = 1e-5
    schedule: Schedule = field(default_factory=lambda: Schedule(kind="step", factor=0.1, every=80))
    augment: Augment = field(default_factory=lambda: Augment(flip=0.5, cutout=16 / 224, erase=0.5))
    precision: str = "float32"


@experiment(ASKConfig(root="data/nyudv2"))
def ask_nyudv2(config: ASKConfig) -> Task:
    """ASK on NYU Depth v2, with its paper's settings; start=RUN/best.pt goes on from SUN RGB-D."""
    as_files = (Path(config.root).expanduser() / "labels.csv").is_file()
    return ask_task(NYUDv2Folder(config.root, labels="not read") if as_files else NYUDv2(config.root), config)


@experiment(ASKConfig(root="data/SUNRGBD"))
def ask_sunrgbd(config: ASKConfig) -> Task:
    """ASK on SUN RGB-D, with its paper's settings."""
    return ask_task(SUNRGBD(config.root), config)


def ask_task(frames: RGBDFrames, config: ASKConfig) -> Task:
    """The task of these settings on any RGB-D set with the official split."""
    weights = _weights(config)
    rgb = load_backbone(config.backbone, weights)
    network = ask(config.backbone, len(frames.classes), weights, options=config.head)
    source = _begin(network, Path(config.start).expanduser()) if config.start else rgb.weights
    losses = {**WEIGHTS, **config.losses}
    _hold_idle(network, losses)
    inputs = _read(frames, config.size)
    version = checkpoint.content_sum({**inputs, "labels": frames.labels, "splits": frames.splits})[:12]
    whole = TensorData(inputs, frames.labels)
    train, validation = split(Subset(whole, frames.rows("train")), config.validation)
    return Task(
        network=network,
        step=_step,
        predict=lambda network, inputs: network(inputs["rgb"], inputs["hha"]).logits,
        num_classes=len(frames.classes),
        train=train,
        validation=validation,
        test=Subset(whole, frames.rows("test")),
        specs={
            "rgb": InputSpec(kind="image", mean=rgb.mean, std=rgb.std),
            "hha": InputSpec(kind="levels", mean=HHA_MEAN, std=HHA_STD),
        },
        weights=losses | {"spread": 0.0},
        data_version=f"{frames.title} {version}, {source}",
    )


def _weights(config: ASKConfig) -> str:
    path = Path(config.weights).expanduser()
    if path.suffix and not path.is_file() and not config.start:
        raise WeightsError(
            f"weights: expected a file at {path}. ResNet18 of Places365 is from github.com/CSAILVision/places365: "
            f"{curl_line(PLACES, path)}"
        )
    return "none" if config.start else config.weights


def _begin(network: ASK, path: Path) -> str:
    """Take an earlier run's weights, all but those of its classes; says which run it was."""
    state = checkpoint.load(path)
    own = {name: value for name, value in network.state_dict().items() if ANEW.match(name)}
    taken = {name: value for name, value in state["network"].items() if not ANEW.match(name)}
    fit(network, taken | own, f"of {path}")
    return f"run {state['digest']}"


def _hold_idle(network: ASK, losses: Mapping[str, float]) -> None:
    """Hold what no minimised term needs: several processes wait for the gradient of all else."""
    images, parameters = torch.zeros(2, 3, 96, 96), list(network.parameters())
    with evaluating(network):
        total = network.head.loss(network(images, images), torch.tensor([0, 1]), weights=losses).total
    for parameter, slope in zip(parameters, torch.autograd.grad(total, parameters, allow_unused=True), strict=True):
        parameter.requires_grad_(slope is not None)


def _read(frames: RGBDFrames, size: tuple[int, int]) -> dict[str, torch.Tensor]:
    """RGB and HHA of all frames, ``(N, 3, h, w)`` uint8."""
    from filelock import FileLock

    check_range("short side of size", min(size), 1)
    prepare(lock := cache_folder() / f"{frames.title}.lock")
    with FileLock(lock):  # of several processes one computes HHA, on all cores, and the others find it
        pairs = Pairs(frames, torch.arange(len(frames)), size, workers=os.cpu_count() or 1)
    return {name: pictures for name, pictures in pairs.tensors()[0].items() if name != "segments"}


def _step(network: ASK, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
    outputs: ASKOutputs = network(batch.inputs["rgb"], batch.inputs["hha"])
    terms = network.head.loss(outputs, batch.labels, generator=generator)._asdict()
    spread = [keypoint_spread(points).mean() for points in outputs.keypoints[:1]]  # of the first scale, in cells
    terms["spread"] = spread[0] if spread else torch.zeros_like(terms["main"])
    return {name: term for name, term in terms.items() if name != "total"}
