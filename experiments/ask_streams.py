"""The two streams of `experiments.ask_nyudv2`, each fine-tuned alone: its first stage.

All of SqueezeNet-Places is trained, on 80 % of each class of the official training frames. The paper does not say how
frames of 4:3 become the squares that its maps of 7 x 7 come from: here whole frames are resized to 224 x 224, and the
maps of 13 x 13 averaged to 7 x 7 before the last Fire module, which is trained further with each row. Adam is the
paper's; its 1e-4 stands beside higher rates, since 20 epochs take the place of its 300: validation chooses, for each
modality, on the first seed. The new classifier, which starts from nothing, has ten times that. The rest was chosen
before any result was seen: batches of 16 (64 would make 180 steps), a rate that falls along a cosine, crops beside the
paper's flips and random erasing, no cutout. A seed and a frame have one geometric draw, the same for RGB and for HHA.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ask_lib.data.nyudv2 import NYUDv2Folder
from ask_lib.data.rgbd import Pairs
from ask_lib.errors import ResultError
from ask_lib.models.backbones import Backbone, load_backbone
from ask_lib.models.features import evaluating
from ask_lib.models.two_stream import HHA_MEAN, HHA_STD, cut_encoder
from ask_lib.train import checkpoint
from ask_lib.train.augment import Augment, InputSpec, prepare
from ask_lib.train.config import Schedule, TrainConfig
from ask_lib.train.data import Data, Subset, TensorData, stratified_split
from ask_lib.train.distributed import Process
from ask_lib.train.loop import Outcome, Task, fit
from ask_lib.train.metrics import confusion_matrix, mean_class_accuracy
from tools.imports import ROOT, digest

NETWORK, LAYER = "squeezenet1_1_places365", "features.11"
SIZE, CELLS = (224, 224), (7, 7)
MODALITIES = ("rgb", "hha")
EPOCHS, BATCH, DROPOUT = 20, 16, 0.5
RATES = (1e-4, 3e-4, 1e-3)
AUGMENT = Augment(flip=0.5, crop=(0.5, 1.0), aspect=4 / 3, erase=0.5)
HELD_OUT = 0.2  # of each class
CPU = torch.device("cpu")
AT_ONCE = 64  # frames
MADE_BY = (
    "experiments.ask_streams", "ask_lib.models.backbones", "ask_lib.models.two_stream", "ask_lib.train.augment",
    "ask_lib.train.config", "ask_lib.train.data", "ask_lib.train.loop",
)  # fmt: skip


@dataclass(frozen=True)
class Scenes:
    """All frames in memory, and who is for what.

    Attributes:
        pictures: Of each modality, ``(N, 3, H, W)`` uint8.
        labels: ``(N,)``.
        train: Rows to train on, ``(M,)``.
        validation: Rows held out of the official training frames.
        test: The official test frames' rows.
        classes: Names.
        version: Of all that.
    """

    pictures: dict[str, torch.Tensor]
    labels: torch.Tensor
    train: torch.Tensor
    validation: torch.Tensor
    test: torch.Tensor
    classes: tuple[str, ...]
    version: str


class Stream(nn.Module):
    """One modality's network: the part whose maps are kept, the part that is trained on them, and a classifier."""

    def __init__(self, network: nn.Module, num_classes: int) -> None:
        super().__init__()
        lower, self.upper = cut_encoder(network, LAYER)
        self.lower = nn.Sequential(lower, nn.AdaptiveAvgPool2d(CELLS))
        with evaluating(self), torch.no_grad():
            channels = self.upper(self.lower(torch.zeros(1, 3, 64, 64))).shape[1]
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(DROPOUT))
        self.classify = nn.Linear(channels, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """``(B, 3, h, w)``, normalised, to logits."""
        logits: torch.Tensor = self.classify(self.pool(self.upper(self.lower(images))))
        return logits


def read_scenes(root: Path, *, cache: Path | None = None) -> Scenes:
    """The frames of nyuv2's folder; HHA is computed where it is not kept yet.

    Args:
        root: The folder.
        cache: Cache folder of HHA.
    """
    frames = NYUDv2Folder(root, labels="not read")
    pictures, labels = Pairs(frames, torch.arange(len(frames)), SIZE, root=cache).tensors()
    official = frames.rows("train")
    mine, held = stratified_split(labels[official], HELD_OUT)
    whole = [pictures[name].numpy().tobytes() for name in MODALITIES]
    version = digest([*whole, labels.numpy().tobytes(), " ".join(frames.splits).encode()])[:12]
    return Scenes(
        pictures, labels, official[mine], official[held], frames.rows("test"), frames.classes, f"frames {version}"
    )


def spec_of(modality: str, backbone: Backbone) -> InputSpec:
    """How a modality's pictures become the network's input."""
    if modality == "rgb":
        return InputSpec(kind="image", mean=backbone.mean, std=backbone.std)
    return InputSpec(kind="levels", mean=HHA_MEAN, std=HHA_STD)


def stream_task(scenes: Scenes, weights: str | Path, modality: str, seed: int) -> Task:
    """What a stream's training is; a seed decides the classifier's first weights."""
    backbone = load_backbone(NETWORK, weights)
    data = TensorData({"image": scenes.pictures[modality]}, scenes.labels)
    torch.manual_seed(seed)
    return Task(
        network=Stream(backbone.network, len(scenes.classes)),
        step=lambda network, batch, _: {
            "main": nn.functional.cross_entropy(network(batch.inputs["image"]), batch.labels)
        },
        predict=lambda network, inputs: network(inputs["image"]),
        num_classes=len(scenes.classes),
        train=Subset(data, scenes.train),
        validation=Subset(data, scenes.validation),
        test=Subset(data, scenes.test),
        specs={"image": spec_of(modality, backbone)},
        data_version=scenes.version,
    )


def stream_config(scenes: Scenes, modality: str, seed: int, rate: float) -> TrainConfig:
    """How a stream is trained."""
    return TrainConfig(
        experiment=f"ask_nyudv2 {modality}",
        data=scenes.version,
        seed=seed,
        epochs=EPOCHS,
        batch=BATCH,
        optimizer="adam",
        lr=rate,
        groups={"classify": 10.0},
        schedule=Schedule(kind="cosine"),
        augment=AUGMENT,
        precision="float32",
    )


@dataclass(frozen=True)
class StreamRun:
    """A stream's training; ``folder`` holds its checkpoints, from which it goes on if it was stopped."""

    scenes: Scenes
    weights: Path
    config: TrainConfig
    modality: str
    folder: Path

    def fitted(self) -> tuple[Task, Outcome]:
        """Trained, with the weights of its best epoch; the test frames are not read."""
        task = stream_task(self.scenes, self.weights, self.modality, self.config.seed)
        return task, fit(task, self.config, out=self.folder, resume=True, process=Process(CPU), progress=False)

    def tried(self) -> dict[str, Any]:
        """What it came to on validation."""
        return on_validation(self.fitted()[1])

    def judged(self) -> dict[str, Any]:
        """What it came to; the test frames are read."""
        return judged(*self.fitted())

    def trained(self) -> Stream:
        """The stream that was left in ``folder``, at its best epoch."""
        state = checkpoint.load(self.folder / "best.pt", self.config.digest())
        stream = Stream(load_backbone(NETWORK, self.weights).network, len(self.scenes.classes))
        stream.load_state_dict(state["network"])
        return stream.eval()


def on_validation(outcome: Outcome) -> dict[str, Any]:
    """Mean-class accuracy of a run on validation, percent: the best, and by epoch."""
    epochs = [round(100 * entry["validation"]["mean_class_accuracy"], 4) for entry in outcome.history]
    return {"validation": max(epochs), "best_epoch": outcome.best_epoch, "epochs": epochs}


def judged(task: Task, outcome: Outcome) -> dict[str, Any]:
    """What is kept of a run that has ended: percent, the class that each test frame was given, and the epochs."""
    if task.validation is None or task.test is None:
        raise ResultError("judged: expected validation and test data.")
    found = {name: predicted(task, data) for name, data in (("validation", task.validation), ("test", task.test))}
    scores = {name: confusion_matrix(found[name], getattr(task, name).labels, task.num_classes) for name in found}
    return {
        **{name: round(100 * float(mean_class_accuracy(matrix)), 4) for name, matrix in scores.items()},
        "hits": scores["test"].diagonal().tolist(),
        "predicted": "".join(map(str, found["test"].tolist())),  # a digit a frame: there are ten classes
        "best_epoch": outcome.best_epoch,
        "epochs": [round(100 * entry["validation"]["mean_class_accuracy"], 2) for entry in outcome.history],
        "terms": [{name: round(value, 5) for name, value in entry["terms"].items()} for entry in outcome.history],
    }


def predicted(task: Task, data: Data) -> torch.Tensor:
    """The class that the task's network gives each frame, ``(N,)``."""
    order = torch.split(torch.arange(len(data.labels)), AT_ONCE)
    with evaluating(task.network), torch.inference_mode():
        logits = [task.predict(task.network, prepare(b.inputs, task.specs)) for b in data.batches(order, CPU)]
    return torch.cat(logits).argmax(dim=1)


def logic_digest(modules: Sequence[str], root: Path = ROOT) -> str:
    """Of what some modules do, not of the words about it: comments and docstrings do not count, nor their imports.

    A stage that takes hours stays valid when prose, or another stage, changes.
    """
    return digest(_bare(root.joinpath(*name.split(".")).with_suffix(".py")) for name in modules)[:12]


def _bare(path: Path) -> bytes:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [each for each in body if not _is_text(each)]  # type: ignore[attr-defined]
    return ast.dump(tree).encode()


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
