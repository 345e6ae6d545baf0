"""The rows of `experiments.ask_nyudv2` on the streams' kept maps: its second stage.

The maps of every frame, upright and mirrored, are kept in half precision. The last module of each stream, fine-tuned
before, and the head are trained on them: 25 epochs of Adam, batches of 32, 1e-4 for the streams and ten times that for
the head, which starts from nothing. Random erasing sets cells of the kept maps, 7 x 7, to zero, the same ones in both
modalities, where the paper erases pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ask_lib.checks import check_choice
from ask_lib.evaluate.spread import Interval
from ask_lib.files import atomic_path
from ask_lib.methods.dlfs import keypoint_spread
from ask_lib.models.ask import ASK, WEIGHTS, ASKHead, ASKOptions, ASKOutputs
from ask_lib.models.backbones import load_backbone
from ask_lib.models.features import evaluating
from ask_lib.models.two_stream import TwoStream, encoder
from ask_lib.train.augment import Augment, InputSpec, prepare, prepare_augmented
from ask_lib.train.config import Schedule, TrainConfig
from ask_lib.train.data import Batch, Subset, TensorData
from ask_lib.train.distributed import Process
from ask_lib.train.loop import Task, fit
from ask_lib.train.metrics import confusion_matrix, mean_class_accuracy
from experiments.ask_streams import AT_ONCE, CPU, MODALITIES, NETWORK, Scenes, Stream, judged, on_validation, spec_of

EPOCHS, BATCH, RATE = 25, 32, 1e-4
ERASE = Augment(erase=0.5)
PROBE_C = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
DRAWS = 2000
MAPS = {modality: InputSpec(kind="map") for modality in MODALITIES}
MADE_BY = (
    "experiments.ask_rows", "experiments.ask_streams", "ask_lib.methods.dlfs", "ask_lib.models.ask",
    "ask_lib.models.two_stream", "ask_lib.train.augment", "ask_lib.train.data", "ask_lib.train.loop",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a row's network has, and which terms of [ASK-16] it is trained by.

    Attributes:
        terms: Names; the others are watched only.
        keypoints: As of `ask_lib.models.ask.ASKOptions`.
        reads: Whose logits count: ``both``, or the auxiliary ones of ``rgb`` or ``hha``.
        options: Further ones of `ask_lib.models.ask.ASKOptions`.
        weights: Of terms, the paper's where not named.
    """

    terms: tuple[str, ...] = tuple(WEIGHTS)
    keypoints: tuple[int, int] = (16, 0)
    reads: str = "both"
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for term in (*self.terms, *self.weights):
            check_choice("term", term, WEIGHTS)
        check_choice("reads", self.reads, ("both", *MODALITIES))

    def all_weights(self) -> dict[str, float]:
        """Of every term, 0 where it does not train."""
        return {term: {**WEIGHTS, **self.weights}[term] if term in self.terms else 0.0 for term in WEIGHTS}

    def logits(self, outputs: ASKOutputs) -> torch.Tensor:
        """Those that count, ``(B, N)``."""
        return outputs.logits if self.reads == "both" else outputs.auxiliary[MODALITIES.index(self.reads)]


@dataclass(frozen=True, kw_only=True)
class Regular:
    """What holds all rows back alike, chosen once: see `ask_lib.models.ask.ASKOptions` and the optimizer."""

    dropout: float
    weight_decay: float
    local_width: int


# --- the maps -----------------------------------------------------------------------------------------------------


def keep_maps(path: Path, scenes: Scenes, weights: str | Path, streams: Mapping[str, Stream]) -> None:
    """Write the streams' maps of all frames: ``rgb``, ``hha``, and the same ``mirrored``, ``(N, C, h, w)`` each."""
    from safetensors.torch import save_file

    backbone, found = load_backbone(NETWORK, weights), {}
    for modality, stream in streams.items():
        spec = {"image": spec_of(modality, backbone)}
        for name, mirrored in ((modality, False), (f"{modality} mirrored", True)):
            found[name] = _maps(stream, scenes.pictures[modality], spec, mirrored)
    with atomic_path(path) as part:
        save_file(found, part)


def _maps(stream: Stream, pictures: torch.Tensor, spec: Mapping[str, InputSpec], mirrored: bool) -> torch.Tensor:
    made = []
    with evaluating(stream), torch.inference_mode():
        for piece in torch.split(pictures, AT_ONCE):
            images = prepare({"image": piece.flip(3) if mirrored else piece}, spec)["image"]
            made.append(stream.lower(images.contiguous(memory_format=torch.channels_last)).half().contiguous())
    return torch.cat(made)


# --- a run --------------------------------------------------------------------------------------------------------


def row_task(
    scenes: Scenes, maps: Mapping[str, torch.Tensor], streams: Mapping[str, Stream], row: Row, how: Regular, seed: int
) -> Task:
    """What a run trains; the seed decides the head's first weights.

    Args:
        scenes: The frames.
        maps: Of `keep_maps`.
        streams: Whose maps they are; their last modules are trained further, in place.
        row: Which.
        how: What all rows share.
        seed: Of the head.
    """
    classes, channels = len(scenes.classes), streams["rgb"].classify.in_features
    torch.manual_seed(seed)
    options = ASKOptions(
        **{"keypoints": row.keypoints, "dropout": how.dropout, "local_width": how.local_width, **row.options}
    )
    upright = TensorData({modality: maps[modality] for modality in MODALITIES}, scenes.labels)
    return Task(
        network=ASK(TwoStream(streams["rgb"].upper, streams["hha"].upper), ASKHead(channels, classes, options)),
        step=_step,
        predict=lambda network, inputs: row.logits(network(*_whole(inputs))),
        num_classes=classes,
        train=Subset(TensorData(maps, scenes.labels), scenes.train),
        validation=Subset(upright, scenes.validation),
        test=Subset(upright, scenes.test),
        weights=row.all_weights() | {"spread": 0.0},
        data_version=scenes.version,
    )


def row_config(scenes: Scenes, name: str, how: Regular, seed: int) -> TrainConfig:
    """How a run is trained."""
    return TrainConfig(
        experiment=f"ask_nyudv2 {name}",
        data=scenes.version,
        seed=seed,
        epochs=EPOCHS,
        batch=BATCH,
        optimizer="adam",
        lr=RATE,
        groups={"head": 10.0},
        weight_decay=how.weight_decay,
        schedule=Schedule(kind="cosine"),
        precision="float32",
    )


def train_row(task: Task, config: TrainConfig, folder: Path) -> dict[str, Any]:
    """A run, and what is kept of it; the test frames are read once, with the weights of the best epoch."""
    outcome = fit(task, config, out=folder, resume=True, process=Process(CPU), progress=False)
    found = judged(task, outcome) | _placed(task)
    (folder / "last.pt").unlink()  # best.pt stays
    return found


def trial(task: Task, config: TrainConfig, _: Path) -> dict[str, Any]:
    """A run that only chooses: mean-class accuracy on validation, percent. Test frames stay unread."""
    return on_validation(fit(task, config, process=Process(CPU), progress=False))


def loss_terms(
    network: ASK, outputs: ASKOutputs, labels: torch.Tensor, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """The terms of [ASK-16] without their weights, and the spread of the first scale's keypoints, in cells."""
    loss = network.head.loss(outputs, labels, generator=generator)
    spreads = [keypoint_spread(keypoints).mean() for keypoints in outputs.keypoints[:1]]
    terms = loss._asdict() | {"spread": spreads[0] if spreads else loss.total.new_zeros(())}
    return {name: term for name, term in terms.items() if name != "total"}


def _step(network: ASK, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
    outputs: ASKOutputs = network(*_augmented(batch, generator))
    return loss_terms(network, outputs, batch.labels, generator)


def _augmented(batch: Batch, generator: torch.Generator) -> list[torch.Tensor]:
    """Maps of both modalities, half of the frames mirrored, some with cells erased: one draw a frame."""
    mirrored = (torch.rand(len(batch.labels), generator=generator) < 0.5)[:, None, None, None]
    chosen = {m: torch.where(mirrored, batch.inputs[f"{m} mirrored"], batch.inputs[m]) for m in MODALITIES}
    number = int(torch.randint(2**31, (), generator=generator))
    made = prepare_augmented(chosen, MAPS, ERASE, number, 0, batch.index)
    return [made[modality] for modality in MODALITIES]


def _whole(inputs: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    return [inputs[modality].float() for modality in MODALITIES]


def _placed(task: Task) -> dict[str, float]:
    """Of the test frames' keypoints, in cells; nothing where there are none.

    ``spread``: how far a frame's lie from their middle; ``travel``: how far each lies from its own mean over frames,
    which is 0 for a grid.
    """
    points = torch.cat(list(keypoints_of(task)))  # (N, K, 2)
    if not points.shape[1]:
        return {}
    travel = keypoint_spread(points.transpose(0, 1)).mean()
    return {"spread": round(float(keypoint_spread(points).mean()), 4), "travel": round(float(travel), 4)}


def keypoints_of(task: Task) -> Iterator[torch.Tensor]:
    """Of the first scale, ``(B, K, 2)`` a batch of test frames; K is 0 where there are none."""
    assert task.test is not None
    order = torch.split(torch.arange(len(task.test.labels)), AT_ONCE)
    with evaluating(task.network), torch.inference_mode():
        for batch in task.test.batches(list(order), CPU):
            outputs: ASKOutputs = task.network(*_whole(prepare(batch.inputs, task.specs)))
            yield outputs.keypoints[0] if outputs.keypoints else torch.zeros(len(batch.labels), 0, 2)


# --- what the rows are held against -------------------------------------------------------------------------------


def probe(scenes: Scenes, weights: str | Path) -> dict[str, Any]:
    """Logistic regression on the averaged last maps of the network as it came, trained on the same frames.

    C is the best of ``PROBE_C`` on validation, the smallest of equals.

    Returns:
        By ``rgb``, ``hha`` and ``both``: what `ask_streams.judged` keeps.
    """
    backbone = load_backbone(NETWORK, weights)
    network, vectors = encoder(backbone.network).eval(), {}
    for modality in MODALITIES:
        spec, made = {"image": spec_of(modality, backbone)}, []
        with torch.inference_mode():
            for piece in torch.split(scenes.pictures[modality], AT_ONCE):
                made.append(network(prepare({"image": piece}, spec)["image"]).mean(dim=(2, 3)))
        vectors[modality] = torch.cat(made)
    vectors["both"] = torch.cat([vectors[modality] for modality in MODALITIES], dim=1)
    return {name: _probed(scenes, each.double()) for name, each in vectors.items()}


def _probed(scenes: Scenes, vectors: torch.Tensor) -> dict[str, Any]:
    from sklearn.linear_model import LogisticRegression

    mine = vectors[scenes.train]
    unit = ((vectors - mine.mean(dim=0)) / mine.std(dim=0).clamp(min=1e-6)).numpy()
    labels = scenes.labels[scenes.train].numpy()
    fits = {c: LogisticRegression(C=c, max_iter=2000).fit(unit[scenes.train], labels) for c in PROBE_C}

    def called(c: float, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = torch.from_numpy(fits[c].predict(unit[rows]))
        return found, confusion_matrix(found, scenes.labels[rows], len(scenes.classes))

    scores = {c: 100 * float(mean_class_accuracy(called(c, scenes.validation)[1])) for c in PROBE_C}
    best = max(PROBE_C, key=lambda c: scores[c])
    found, matrix = called(best, scenes.test)
    return {
        "validation": round(scores[best], 4),
        "test": round(100 * float(mean_class_accuracy(matrix)), 4),
        "hits": matrix.diagonal().tolist(),
        "predicted": "".join(map(str, found.tolist())),
        "C": best,
    }


def over_frames(right: torch.Tensor, labels: torch.Tensor, seed: int = 0) -> Interval:
    """95 % percentile interval of a mean over classes, each class's frames drawn with replacement.

    Args:
        right: ``(N,)``: whether a frame was called right, or how often, or a difference of two such.
        labels: ``(N,)``; classes without frames do not count.
        seed: Of the draw.
    """
    generator = torch.Generator().manual_seed(seed)
    means, drawn = [], []
    for number in sorted(set(labels.tolist())):
        own = right[labels == number].double()
        means.append(own.mean())
        drawn.append(own[torch.randint(len(own), (DRAWS, len(own)), generator=generator)].mean(dim=1))
    low, high = torch.stack(drawn).mean(dim=0).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Interval(float(torch.stack(means).mean()), low, high)


def rights(predicted: str, labels: torch.Tensor) -> torch.Tensor:
    """Which frames were called right, of the digits that `ask_streams.judged` keeps: ``(N,)`` float64."""
    return (torch.tensor([int(digit) for digit in predicted]) == labels).double()
