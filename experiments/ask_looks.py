"""What trained rows of `experiments.ask_nyudv2`, and networks before them, show of the real test frames.

A look holds, a frame at a time and rounded: ``keypoints`` of the first scale, and on the maps' grid ``correlation``,
P of [ASK-11]; ``cam``, Grad-CAM of the true class's final logit on the maps of RGB, the form of Fig. 7 for a head that
is no average and linear layer; ``attention rgb`` and ``attention hha``, the weight that each cell has in spatial
attention, averaged over who asks. Looks are kept; pixels' labels are not needed for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ask_lib.errors import ResultError
from ask_lib.files import shown
from ask_lib.methods.descriptors import to_descriptors
from ask_lib.methods.dlfs import correlation_map
from ask_lib.models.ask import ASK, NonLocal
from ask_lib.models.backbones import Backbone, load_backbone
from ask_lib.models.features import evaluating
from ask_lib.results import shell_word
from ask_lib.train import checkpoint
from ask_lib.train.augment import prepare
from ask_lib.train.loop import Task
from experiments import ask_nyudv2, ask_streams
from experiments.ask_nyudv2 import Part, Study, stream_seed
from experiments.ask_rows import Regular, Row, row_config
from experiments.ask_streams import AT_ONCE, CPU, MODALITIES, Scenes, Stream, logic_digest, spec_of
from experiments.recording import KEPT, kept

HERE = "ask_points"
DIGITS = 7
RANDOM, PLACES, STREAMS = "random weights", "Places weights", "streams after stage 1"
COMMAND = "python -m experiments.ask_nyudv2"
MADE_BY = ("experiments.ask_looks", "ask_lib.methods.dlfs", "ask_lib.models.ask", *ask_streams.MADE_BY)
Look = dict[str, torch.Tensor]


# --- which runs are there -----------------------------------------------------------------------------------------


def chosen(study: Study) -> Regular:
    """The regularisation that all rows have.

    Raises:
        ResultError: If it was not chosen yet.
    """
    trials = ask_nyudv2.trials_of(study)
    if len(trials) < len(ask_nyudv2.GRID) * len(ask_nyudv2.CHOOSERS):
        raise ResultError(f"ask_points: the regularisation is not chosen yet. Run: {COMMAND} choose")
    return ask_nyudv2.choose(trials)


def check_runs(study: Study, how: Regular, names: Sequence[str], seeds: Sequence[int]) -> None:
    """Raise a `ResultError` that names the command if a stream or a row that is to be looked at was not trained."""
    first = sorted(set(map(stream_seed, seeds)))
    missing = [f"{m} {seed}" for m in MODALITIES for seed in first if not _left(study.stream(m, seed))]
    if missing:
        raise ResultError(f"ask_points: expected trained streams of {', '.join(missing)}. Run: {COMMAND} streams")
    rows = [(name, seed) for name in names for seed in seeds if not _left(study.row(name, how, seed))]
    if rows:
        words = " ".join(shell_word(name) for name in dict.fromkeys(name for name, _ in rows))
        numbers = " ".join(map(str, sorted({seed for _, seed in rows})))
        raise ResultError(
            f"ask_points: {len(rows)} trained rows are missing, the first is {rows[0][0]!r} of seed {rows[0][1]}. Run, "
            f"where a row's best.pt alone is gone after deleting its part in {shown(KEPT / ask_nyudv2.HERE)}: "
            f"{COMMAND} rows --rows {words} --seeds {numbers}"
        )


def _left(part: Part) -> bool:
    """Whether a run has ended and its weights are there."""
    return part.found() is not None and (part.folder / "best.pt").is_file()


# --- looks --------------------------------------------------------------------------------------------------------


def row_look(study: Study, name: str, how: Regular, seed: int) -> Look:
    """Of a trained row, at its best epoch."""
    part = study.row(name, how, seed)

    def make() -> dict[str, Any]:
        task = study.task(name, how, seed)
        state = checkpoint.load(part.folder / "best.pt", row_config(study.scenes, name, how, seed).digest())
        task.network.load_state_dict(state["network"])
        return _numbers(look_of(task, study.rows[name]))

    return _kept(part.name, part.key, make)


def before_look(study: Study, name: str, seed: int) -> Look:
    """``correlation`` of streams before rows: ``RANDOM``, ``PLACES`` or ``STREAMS``."""
    if name == STREAMS:
        made_from = ", ".join(study.stream(m, seed).key for m in MODALITIES)
    else:
        made_from = f"torch {torch.__version__}, {study.scenes.version}, {_untrained(study, name, seed).weights}"

    def make() -> dict[str, Any]:
        found = stream_correlation(study.scenes, study.weights, _streams(study, name, seed))
        return _numbers({"correlation": found})

    return _kept(f"{name} {seed}", made_from, make)


def _streams(study: Study, name: str, seed: int) -> dict[str, Stream]:
    """As stage 1 left them; before it both have the same weights."""
    if name == STREAMS:
        return {m: study.stream_run(m, seed)[1].trained() for m in MODALITIES}
    stream = Stream(_untrained(study, name, seed).network, len(study.scenes.classes)).eval()
    return dict.fromkeys(MODALITIES, stream)


def _untrained(study: Study, name: str, seed: int) -> Backbone:
    return load_backbone(ask_streams.NETWORK, "none" if name == RANDOM else study.weights, seed=seed)


def look_of(task: Task, row: Row) -> Look:
    """What a row's network shows of the test frames."""
    assert task.test is not None
    found: dict[str, list[torch.Tensor]] = {}
    order = torch.split(torch.arange(len(task.test.labels)), AT_ONCE)
    with evaluating(task.network):
        for batch in task.test.batches(list(order), CPU):
            maps = [batch.inputs[modality].float() for modality in MODALITIES]
            for name, each in _shown(task.network, row, maps, batch.labels).items():
                found.setdefault(name, []).append(each)
    return {name: torch.cat(each) for name, each in found.items()}


def _shown(
    network: nn.Module, row: Row, kept_maps: list[torch.Tensor], labels: torch.Tensor
) -> dict[str, torch.Tensor]:
    assert isinstance(network, ASK)
    with torch.no_grad():
        rgb, hha = network.streams(*kept_maps)
    rgb.requires_grad_()
    outputs = network.head(rgb, hha)
    true = row.logits(outputs).gather(1, labels[:, None]).sum()
    (gradient,) = torch.autograd.grad(true, rgb)
    shown = {"correlation": correlation_map(rgb, hha), "cam": grad_cam(rgb, gradient)}
    if outputs.keypoints:
        shown["keypoints"] = outputs.keypoints[0]
    for block, modality, maps in zip(network.head.attend, MODALITIES, (rgb, hha), strict=True):
        if isinstance(block, NonLocal):
            shown[f"attention {modality}"] = attention_mass(block, maps)
    return {name: each.detach() for name, each in shown.items()}


def stream_correlation(scenes: Scenes, weights: str | Path, streams: Mapping[str, Stream]) -> torch.Tensor:
    """[ASK-11] P of whole streams on the test frames, ``(N, h, w)``."""
    backbone, made = load_backbone(ask_streams.NETWORK, weights), []
    with torch.inference_mode():
        for rows in torch.split(scenes.test, AT_ONCE):
            maps = []
            for modality in MODALITIES:
                images = prepare({"image": scenes.pictures[modality][rows]}, {"image": spec_of(modality, backbone)})[
                    "image"
                ]
                maps.append(streams[modality].upper(streams[modality].lower(images)))
            made.append(correlation_map(*maps))
    return torch.cat(made)


def grad_cam(maps: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Grad-CAM (Selvaraju et al., 2017): ReLU of the maps' sum, each weighted by its mean gradient.

    Args:
        maps: ``(B, C, h, w)``.
        gradient: Of a score by them, the same shape.

    Returns:
        ``(B, h, w)``, each of sum 1; 0 throughout where nothing is positive.
    """
    weight = gradient.mean(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
    cam = (weight * maps).sum(dim=1).relu()
    whole = cam.sum(dim=(1, 2), keepdim=True)
    return cam / torch.where(whole > 0, whole, 1)


def attention_mass(block: NonLocal, maps: torch.Tensor) -> torch.Tensor:
    """The weight that each cell has, averaged over all cells that ask: ``(B, C, h, w)`` to ``(B, h, w)``, of sum 1."""
    query, key, _ = to_descriptors(block.embed(maps)).chunk(3, dim=2)  # (B, hw, C/2)
    weight = torch.softmax(query @ key.transpose(1, 2), dim=2)  # (B, who asks, who is asked)
    return weight.mean(dim=1).view(len(maps), *maps.shape[2:])


def _kept(name: str, made_from: str, make: Callable[[], dict[str, Any]]) -> Look:
    """A look that is kept, with ``seconds``: how long it took."""
    part = kept(KEPT / HERE, name, f"{made_from}, code {_code()}", make)
    return {each: torch.tensor(values) for each, values in part.items()}


@cache
def _code() -> str:
    return logic_digest(MADE_BY)


def _numbers(look: Look) -> dict[str, Any]:
    return {name: each.double().round(decimals=DIGITS).tolist() for name, each in look.items()}
