"""`experiments.ask_nyudv2` with everything fine-tuned: its regime (b), both streams and the head at once, from Places.

As `experiments.ask_streams` in all else, with each stream's chosen rate; fewer epochs, since a step takes both streams.
RGB alone is that file's own stream.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ask_lib.models.ask import ASK, ASKHead, ASKOptions
from ask_lib.models.backbones import load_backbone
from ask_lib.models.two_stream import TwoStream
from ask_lib.train.augment import InputSpec
from ask_lib.train.config import Schedule, TrainConfig
from ask_lib.train.data import Batch, Subset, TensorData
from ask_lib.train.loop import Task
from experiments.ask_rows import Regular, Row, loss_terms
from experiments.ask_streams import AUGMENT, BATCH, MODALITIES, NETWORK, Scenes, Stream, spec_of

EPOCHS = 15
SEEDS = (0,)
ROWS = ("global, L_aux", "global + local, full", "global + local, grid")
MADE_BY = ("experiments.ask_whole", "experiments.ask_rows", "experiments.ask_streams", "ask_lib.methods.dlfs",
           "ask_lib.models.ask", "ask_lib.models.two_stream", "ask_lib.train.augment", "ask_lib.train.data",
           "ask_lib.train.loop")  # fmt: skip


def whole_task(scenes: Scenes, weights: str | Path, row: Row, how: Regular, seed: int) -> Task:
    """What a run trains; the seed decides the head's first weights."""
    classes = len(scenes.classes)
    rgb, hha = (Stream(load_backbone(NETWORK, weights).network, classes) for _ in MODALITIES)
    torch.manual_seed(seed)
    options = ASKOptions(
        **{"keypoints": row.keypoints, "dropout": how.dropout, "local_width": how.local_width, **row.options}
    )
    data = TensorData({modality: scenes.pictures[modality] for modality in MODALITIES}, scenes.labels)
    return Task(
        network=ASK(TwoStream(_encoder(rgb), _encoder(hha)), ASKHead(rgb.classify.in_features, classes, options)),
        step=_step,
        predict=lambda network, inputs: row.logits(network(*(inputs[modality] for modality in MODALITIES))),
        num_classes=classes,
        train=Subset(data, scenes.train),
        validation=Subset(data, scenes.validation),
        test=Subset(data, scenes.test),
        weights=row.all_weights() | {"spread": 0.0},
        specs=_specs(weights),
        data_version=scenes.version,
    )


def whole_config(scenes: Scenes, name: str, how: Regular, seed: int, rates: tuple[float, float]) -> TrainConfig:
    """How a run is trained; ``rates`` of RGB and of HHA."""
    return TrainConfig(
        experiment=f"ask_nyudv2 whole {name}",
        data=scenes.version,
        seed=seed,
        epochs=EPOCHS,
        batch=BATCH,
        optimizer="adam",
        lr=rates[0],
        groups={"streams.depth": rates[1] / rates[0], "head": 10.0},
        weight_decay=how.weight_decay,
        schedule=Schedule(kind="cosine"),
        augment=AUGMENT,
        precision="float32",
    )


def _step(network: ASK, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
    outputs = network(*(batch.inputs[modality] for modality in MODALITIES))
    return loss_terms(network, outputs, batch.labels, generator)


def _encoder(stream: Stream) -> nn.Sequential:
    return nn.Sequential(stream.lower, stream.upper)


def _specs(weights: str | Path) -> dict[str, InputSpec]:
    backbone = load_backbone(NETWORK, weights)
    return {modality: spec_of(modality, backbone) for modality in MODALITIES}
