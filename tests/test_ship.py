"""The networks that ship: how they are made, and that those in the package are what their cards say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ask_lib.data.objects import Objects
from ask_lib.data.rooms import Rooms
from ask_lib.errors import AskError, ChoiceError, WeightsError
from ask_lib.models.backbones import BACKBONES, load_backbone
from ask_lib.models.features import FeatureTap
from ask_lib.models.small import SmallVGG, read_card, save_safetensors
from ask_lib.train.config import differences
from ask_lib.train.distributed import Process
from ask_lib.train.tasks.rooms import ROOMS_SPECS
from ask_scenes import objects, rooms
from ask_scenes.objects import JUDGE_CLASSES, ObjectOptions
from experiments import weights as shipping
from experiments.weights import main

CLASSES = {"rooms": rooms.LABELS, "objects": objects.TRAIN_CLASSES}
NAMES = pytest.mark.parametrize("name", list(shipping.SHIPPED))
QUICK = ("count=40", "test_count=10", "epochs=1", "batch=10", "validation=0.25", "schedule.warmup=0")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASK_CACHE", str(cache))


def word(name: str) -> str:
    """What a network was trained on, which is also the name of its weights."""
    return name.partition("_")[0]


def card_of(name: str) -> dict[str, Any]:
    return read_card(shipping.PACKAGE / f"{name}.safetensors")


# --- those in the package


@NAMES
def test_the_card_says_what_a_reader_must_know(name: str):
    card, made = card_of(name), shipping.SHIPPED[name]
    version = {"rooms": rooms.VERSION, "objects": objects.VERSION}[word(name)]
    assert card["classes"] == list(CLASSES[word(name)]) and card["trained_on"]["data"] == f"{word(name)} {version}"
    assert card["trained_on"]["split"] == made.split and card["trained_on"]["labels"] == made.labels
    assert card["bytes"] <= shipping.LIMIT == 4 * 2**20
    assert card["command"] and card["commit"] and card["environment"]["torch"] and card["sha256"]
    assert not card["commit"].endswith("-dirty"), "train from a commit, so that it can be repeated"
    assert 30 < card["accuracy"]["value"] < 100
    spec = ROOMS_SPECS[made.modality]
    assert card["input"]["modality"] == made.modality and card["input"]["mean"] == list(spec.mean)
    backbone = load_backbone(name, word(name))
    assert (backbone.mean, backbone.std) == (spec.mean, spec.std)


@NAMES
def test_the_card_holds_the_config_of_today(name: str):
    told = differences(card_of(name)["recipe"], shipping.config_of(name).to_dict())
    # Settings that came or went since then are not differences; those that both know are.
    assert [line for line in told if "None" not in line.replace(":", " ").split()] == [], "make weights"


def test_the_twins_differ_in_their_data_only():
    rgb, hha = (shipping.config_of(name).to_dict() for name in ("rooms_resnet", "rooms_hha_resnet"))
    assert [line.split(":")[0] for line in differences(rgb, hha)] == ["modality"]


@NAMES
def test_no_network_that_ships_saw_a_class_that_judges(name: str):
    assert set(card_of(name)["classes"]).isdisjoint(JUDGE_CLASSES)


@NAMES
def test_it_names_frames_that_it_never_saw(name: str):
    # Frames of `val`: neither trained on, nor what the card's accuracy was measured on.
    trained_on = ObjectOptions(classes="train")
    frames: Any = Rooms("val", 50, seed=7, progress=False)
    if word(name) == "objects":
        frames = Objects("val", 48, 7, trained_on, progress=False)
    backbone = load_backbone(name, word(name))
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (backbone.mean, backbone.std))
    with torch.no_grad():
        levels = frames.hha() if card_of(name)["input"]["modality"] == "hha" else frames.rgb
        guess = backbone.network((levels.float() / 255 - mean) / std).argmax(1)
    right, said = (guess == frames.label).float().mean().item(), card_of(name)["accuracy"]["value"] / 100
    spread = (said * (1 - said) / len(guess)) ** 0.5
    assert abs(right - said) < 4 * spread


@NAMES
def test_it_is_a_backbone_like_the_others(name: str):
    backbone = load_backbone(name, word(name))
    classes = CLASSES[word(name)]
    assert backbone.trained and backbone.classes == classes and backbone.num_classes == len(classes)
    assert name in backbone.weights and card_of(name)["sha256"][:8] in backbone.weights
    layers = backbone.default_layers
    with FeatureTap(backbone.network, layers) as tap:
        maps = tap(torch.zeros(1, 3, 120, 160))
    *_, before, last = (maps[layer].shape[-2:] for layer in layers)
    assert min(last) >= 7 and before[0] >= 2 * last[0] - 1 and before[1] >= 2 * last[1] - 1


def test_the_vgg_that_ships_is_plain():
    names = [name for name, _ in load_backbone("rooms_vgg", "rooms").network.named_children()]
    assert not [name for name in names if name.startswith("norm")]
    assert {"pool1", "pool5", "fc6", "fc7"} <= set(names)


# --- how they are made


@NAMES
def test_shipping_writes_weights_and_card_and_goes_on(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    words = [name, "--runs", str(tmp_path / "runs"), "--to", str(tmp_path / "out"), "--quiet"]
    words += [part for change in QUICK for part in ("--set", change)]
    assert main([*words, "--device", "cpu"]) == 0
    path = tmp_path / "out" / f"{name}.safetensors"
    card = read_card(path)
    assert card["trained_on"]["frames"] == 30 and card["recipe"]["epochs"] == 1 and card["parameters"] > 10_000
    monkeypatch.setitem(
        BACKBONES, name, BACKBONES[name].__class__(**{**vars(BACKBONES[name]), "packaged": {word(name): path}})
    )
    assert load_backbone(name, word(name)).classes == CLASSES[word(name)]
    first = path.read_bytes()
    path.unlink()
    assert main([*words, "--device", "cpu"]) == 0  # a finished run is not trained again
    assert path.read_bytes() == first


def test_a_changed_config_does_not_overwrite_what_ships(capsys: pytest.CaptureFixture[str]):
    assert main(["rooms_vgg", "--set", "epochs=1"]) == 2
    assert "--to" in capsys.readouterr().err
    with pytest.raises(ChoiceError, match="rooms_vgg"):
        shipping.config_of("rooms_vg")


def test_weights_that_are_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shipping, "LIMIT", 1000)
    with pytest.raises(WeightsError, match="1000"):
        shipping.make(
            "rooms_vgg",
            runs=tmp_path / "runs",
            process=Process(torch.device("cpu")),
            out=tmp_path / "out",
            changes=QUICK,
            progress=False,
        )
    assert not (tmp_path / "out").exists()


def test_a_backbone_whose_file_was_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "rooms_vgg.safetensors"
    save_safetensors(SmallVGG(10, norm="none"), path, {"name": "rooms_vgg"})
    card = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**card, "sha256": "0" * 64}))
    monkeypatch.setitem(
        BACKBONES,
        "rooms_vgg",
        BACKBONES["rooms_vgg"].__class__(**{**vars(BACKBONES["rooms_vgg"]), "packaged": {"rooms": path}}),
    )
    with pytest.raises(AskError, match="SHA-256"):
        load_backbone("rooms_vgg", "rooms")
