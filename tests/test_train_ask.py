"""ASK's experiments at the paper's settings: dry runs on small files in the official layouts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ask_lib.data.nyudv2 import NYUDv2
from ask_lib.data.sunrgbd import SPLIT
from ask_lib.errors import CheckpointError, ChoiceError, DataNotFoundError, RangeError, WeightsError
from ask_lib.models.ask import ASKOptions
from ask_lib.train import checkpoint, loop
from ask_lib.train.__main__ import main
from ask_lib.train.augment import prepare_augmented
from ask_lib.train.config import Schedule
from ask_lib.train.run import build
from ask_lib.train.tasks import ask, find_experiment
from tests.test_rgbd import make_folder, make_split, make_sun, official
from tests.test_train_distributed import compare
from tests.test_train_resume import same
from tests.train_children import train_in_two

__all__ = ["official"]  # a fixture
SMALL = ["backbone=rooms_resnet", "weights=none", "size=64,64", "batch=2", "epochs=2", "lr=0.001"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASK_CACHE", str(tmp_path / "cache"))


def nyudv2(folder: Path) -> str:
    """Six frames to train on, of two classes, and two to test on; not more than one process computes HHA of."""
    make_folder(folder, count=8)
    rows = [f"{n:04d},{('office', 'bedroom')[n % 2]},{'train' if n < 7 else 'test'}" for n in range(1, 9)]
    (folder / "labels.csv").write_text("\n".join(["index,scene,split", *rows]))
    return f"root={folder}"


def sun_rgbd(folder: Path) -> str:
    """The same in the other set's tree."""
    root = make_sun(folder)
    places = [f"kv2/frame_{n}" for n in range(8)]
    for n, place in enumerate(places):
        shutil.copytree(root / "kv1/b3dodata/img_0001", root / place)
        (root / place / "scene.txt").write_text(("lab", "kitchen")[n % 2])
    make_split(folder / SPLIT, places[:6], places[6:])
    return f"root={root}"


def train(name: str, out: Path, *changes: str, resume: bool = False) -> int:
    words = ["run", name, "--device", "cpu", "--quiet", "--out", str(out), *SMALL, *changes]
    return main([*words, "--resume"] if resume else words)


def task_of(name: str, changes: Sequence[str]) -> loop.Task:
    return build(find_experiment(name).config.override([*SMALL, *changes]))


def state_of(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = checkpoint.load(path)["network"]
    return state


# --- the settings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ask_nyudv2", "ask_sunrgbd"])
def test_the_defaults_are_the_papers(name: str):
    config = find_experiment(name).config
    assert (config.optimizer, config.lr, config.batch, config.epochs) == ("adam", 1e-4, 64, 300)
    assert config.schedule == Schedule(kind="step", factor=0.1, every=80) and config.validation == 0.2
    assert [config.schedule(step, 1, 300) for step in (0, 79, 80, 240)] == pytest.approx([1, 1, 0.1, 1e-3])
    assert config.override(["schedule.factor=0.9"]).schedule(80, 1, 300) == 0.9
    assert config.augment.flip and config.augment.cutout and config.augment.erase
    assert replace(config.augment, flip=0.0, cutout=0.0, erase=0.0) == type(config.augment)()
    assert config.losses == {"main": 1, "auxiliary": 1, "information": 0.1, "correlation": 0.1}
    assert config.backbone == "resnet18" and config.size == (224, 224) and config.final == "best"
    assert config.head == ASKOptions(keypoints=(16, 4)) and config.head.mining == "random"
    changed = config.override(["head.keypoints=9,0", "losses.information=0"])
    assert changed.head.keypoints == (9, 0) and changed.losses == {**config.losses, "information": 0}


def test_a_missing_weight_file_or_set_says_where_to_get_it(tmp_path: Path):
    root = nyudv2(tmp_path / "set")
    with pytest.raises(WeightsError, match=r"expected a file at a/b\.pt\..*curl .* a/b\.pt http.*resnet18_places365"):
        task_of("ask_nyudv2", [root, "weights=a/b.pt"])
    for name, says in (("ask_nyudv2", r"labeled\.mat.*curl"), ("ask_sunrgbd", r"SUNRGBD\.zip")):
        with pytest.raises(DataNotFoundError, match=says):
            task_of(name, [f"root={tmp_path / 'nowhere'}"])
    with pytest.raises(RangeError, match="short side of size"):
        task_of("ask_nyudv2", [root, "size=0,64"])
    with pytest.raises(ChoiceError, match="information"):
        task_of("ask_nyudv2", [root, "losses.informatoin=0"])


@pytest.mark.slow  # torchvision starts, and makes three ResNets
def test_a_file_of_places365_starts_both_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from torchvision.models import resnet18

    torch.manual_seed(3)
    wanted = resnet18(num_classes=365).state_dict()
    monkeypatch.setattr(torch.nn.init, "kaiming_normal_", lambda x, *_, **__: x)  # drawing them takes most of the time
    path = tmp_path / "resnet18_places365.pth.tar"
    torch.save({"arch": "resnet18", "state_dict": {f"module.{name}": x for name, x in wanted.items()}}, path)
    task = task_of("ask_nyudv2", [nyudv2(tmp_path / "set"), "backbone=resnet18", f"weights={path}"])
    for stream in ("rgb", "depth"):
        (first, *_), last = (getattr(task.network.streams, stream)[at] for at in (slice(1), -1))
        assert torch.equal(first.weight, wanted["conv1.weight"])
        assert torch.equal(last.conv2.weight, wanted["layer4.1.conv2.weight"])
    assert task.num_classes == 10 and "file resnet18_places365.pth.tar (sha256" in task.data_version


def test_of_the_official_file_too(official: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ask, "ask_task", lambda frames, config: frames)
    frames = find_experiment("ask_nyudv2").build(find_experiment("ask_nyudv2").config.override([f"root={official}"]))
    assert isinstance(frames, NYUDv2) and len(frames) == 3


# --- the task -----------------------------------------------------------------------------------------------------


def test_both_modalities_get_one_draw_and_a_fifth_of_each_class_validates(tmp_path: Path):
    task = task_of("ask_nyudv2", [nyudv2(tmp_path / "set")])
    assert [len(part.labels) for part in (task.train, task.validation, task.test)] == [4, 2, 2]  # type: ignore[union-attr]
    assert sorted(task.validation.labels.tolist()) == [0, 5]  # type: ignore[union-attr]
    assert {name: spec.kind for name, spec in task.specs.items()} == {"rgb": "image", "hha": "levels"}
    (batch,) = task.train.batches([torch.arange(4)], torch.device("cpu"))
    made = prepare_augmented(
        batch.inputs, task.specs, replace(find_experiment("ask_nyudv2").config.augment, erase=1.0), 0, 0, batch.index
    )
    erased = [(made[name] == 0).all(dim=1) for name in ("rgb", "hha")]
    assert erased[0].any(dim=(1, 2)).all() and torch.equal(erased[0], erased[1])
    terms = task.step(task.network, replace(batch, inputs=made), torch.Generator())
    assert set(terms) == set(task.weights) == {"main", "auxiliary", "information", "correlation", "spread"}
    assert all(term.isfinite() for term in terms.values()) and task.weights["spread"] == 0


@pytest.mark.parametrize(
    ("changes", "idle"),
    [
        ([], ()),
        (["losses.information=0"], ("head.scales.0.information", "head.scales.1.information")),
        (["losses.auxiliary=0", "head.keypoints=0,0"], ("head.auxiliary",)),
    ],
)
def test_what_no_term_needs_is_held(tmp_path: Path, changes: list[str], idle: tuple[str, ...]):
    task = task_of("ask_nyudv2", [nyudv2(tmp_path / "set"), *changes])
    for name, parameter in task.network.named_parameters():
        assert parameter.requires_grad != name.startswith(idle or "nothing"), name


# --- dry runs -----------------------------------------------------------------------------------------------------


def test_a_stopped_run_goes_on_to_the_same_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root, finish = nyudv2(tmp_path / "set"), loop.finish_epoch
    assert train("ask_nyudv2", tmp_path / "whole", root) == 0
    values = json.loads((tmp_path / "whole" / "result.json").read_text())["values"]
    assert 0 <= values["test_mean_class_accuracy"] <= 1

    def stop(run: loop.Run, rate: float) -> None:
        finish(run, rate)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "finish_epoch", stop)
    assert train("ask_nyudv2", tmp_path / "stopped", root) == 130
    monkeypatch.setattr(loop, "finish_epoch", finish)
    assert checkpoint.load(tmp_path / "stopped" / "last.pt")["epoch"] == 1
    assert train("ask_nyudv2", tmp_path / "stopped", root, resume=True) == 0
    for name in ("last.pt", "best.pt"):
        same(*(checkpoint.load(tmp_path / folder / name) for folder in ("whole", "stopped")))


def test_sun_rgbd_is_trained_on_and_its_weights_begin_the_other(tmp_path: Path):
    """All goes over but what has a number for each class."""
    root, best = nyudv2(tmp_path / "set"), tmp_path / "sun" / "best.pt"
    assert train("ask_sunrgbd", tmp_path / "sun", sun_rgbd(tmp_path), "epochs=1") == 0
    assert train("ask_nyudv2", tmp_path / "nyu", root, f"start={best}", "epochs=1") == 0
    data = json.loads((tmp_path / "nyu" / "result.json").read_text())["data"]["ask_nyudv2"]
    assert data.endswith(f", run {checkpoint.load(best)['digest']}")

    sun, fresh = state_of(best), task_of("ask_nyudv2", [root]).network.state_dict()
    begun = task_of("ask_nyudv2", [root, f"start={best}", "weights=not/there.pt"]).network.state_dict()
    anew = {name for name in begun if begun[name].shape != sun[name].shape}
    heads = ("classify", "auxiliary.0", "auxiliary.1", "scales.0.information", "scales.1.information")
    assert anew == {name for name in begun if name.startswith(tuple(f"head.{head}." for head in heads))}
    for name, value in begun.items():
        assert torch.equal(value, (fresh if name in anew else sun)[name]), name

    with pytest.raises(WeightsError, match=r"of .*best\.pt do not fit ASK"):
        task_of("ask_nyudv2", [root, f"start={best}", "head.keypoints=16,0"])
    with pytest.raises(CheckpointError, match="no such file"):
        task_of("ask_nyudv2", [root, f"start={tmp_path / 'nowhere.pt'}"])


@pytest.mark.slow  # two processes start torch
def test_two_processes_equal_one(tmp_path: Path):
    """Where a frame's loss does not depend on its neighbours: without batch norm, mining and dropout."""
    alone = ["backbone=rooms_vgg", "head.dropout=0", "losses.correlation=0", "losses.auxiliary=0", "batch=4"]
    changes = [*SMALL, nyudv2(tmp_path / "set"), *alone, "precision=float64"]
    assert train_in_two(changes, tmp_path / "two", experiment="ask_nyudv2") == [0, 0]
    assert not list(tmp_path.glob("error*"))
    assert train("ask_nyudv2", tmp_path / "one", *changes) == 0
    one, two = (checkpoint.load(tmp_path / name / "last.pt") for name in ("one", "two"))
    compare(one, two, 1e-6)
    start = task_of("ask_nyudv2", changes).network.state_dict()
    assert max((start[name] - value).abs().max() for name, value in one["network"].items()) > 1e-3
