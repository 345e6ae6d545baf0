"""experiments.ask_nyudv2 from end to end, on a small folder in nyuv2's form with the book's own small network."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ask_lib.models import backbones
from ask_lib.models.ask import WEIGHTS
from ask_lib.results import read_result
from ask_lib.train.data import Batch
from experiments import ask_nyudv2, ask_rows, ask_streams, ask_whole
from experiments.ask_nyudv2 import GAINS, GRID, RATES, ROWS, SAME, Part, choose, main, stream_seed, values_of
from experiments.ask_rows import Regular, Row, over_frames, rights
from experiments.ask_streams import Scenes, logic_digest, read_scenes

WEIGHTS_FILE = Path(backbones.__file__).parent / "packaged" / "rooms_resnet.safetensors"
SCENES = ("kitchen", "bedroom")
TRAIN, TEST = 10, 4  # frames of a class
WHOLE = "whole, global + local, full"
SMALL = {"RGB": ROWS["RGB"], "global + local, full": ROWS["global + local, two scales"]}


def draw_folder(root: Path, *, other_test: bool = False) -> Path:
    """Two classes that differ in colour and slope; the test frames may be other ones."""
    draw = np.random.default_rng(0)
    for name in ("rgb", "depth"):
        (root / name).mkdir(parents=True)
    rows = [(scene, split) for split, n in (("train", TRAIN), ("test", TEST)) for _ in range(n) for scene in SCENES]
    for number, (scene, split) in enumerate(rows, 1):
        kind, noise = SCENES.index(scene), draw.integers(0, 60, (48, 64, 3))
        if other_test and split == "test":
            kind = 1 - kind
        rgb = np.add(noise, (120 * kind, 60, 120 * (1 - kind))).astype(np.uint8)
        depth = np.linspace(40, 90 + 40 * kind, 48)[:, None] + noise[..., 0] / 20
        Image.fromarray(rgb).save(root / "rgb" / f"{number:04d}.jpg")
        Image.fromarray(depth.astype(np.uint8)).save(root / "depth" / f"{number:04d}.png")
    with (root / "labels.csv").open("w", newline="") as file:
        table = ((f"{number:04d}", *row) for number, row in enumerate(rows, 1))
        csv.writer(file).writerows([("index", "scene", "split"), *table])
    return root


def make_small(patch: pytest.MonkeyPatch) -> None:
    """The book's own network, frames of 64 x 64, two epochs, few rows."""
    for module in (ask_streams, ask_rows, ask_whole, ask_nyudv2):
        patch.setattr(module, "NETWORK", "rooms_resnet")
    for name, value in {"ROWS": ("global + local, full",), "EPOCHS": 2, "BATCH": 8}.items():
        patch.setattr(ask_whole, name, value)
    for name, value in {"LAYER": "layer3", "SIZE": (64, 64), "CELLS": (8, 8), "EPOCHS": 2, "BATCH": 8}.items():
        patch.setattr(ask_streams, name, value)
    for name, value in {"EPOCHS": 2, "BATCH": 8, "PROBE_C": (0.01, 1.0)}.items():
        patch.setattr(ask_rows, name, value)
    fewer = {
        "ROWS": SMALL,
        "GRID": GRID[:2],
        "RATES": RATES[:2],
        "CHOOSERS": ("global + local, full",),
        "STREAM_SEEDS": (0,),
        "SEEDS": (0,),
    }
    for name, value in fewer.items():
        patch.setattr(ask_nyudv2, name, value)


def command(stage: str, place: Path) -> int:
    """Run a stage on ``place/nyuv2``, its parts in ``place/kept``; returns the status."""
    threads = ["--threads", str(torch.get_num_threads()), "--seeds", "0"]
    where = ["--root", place / "nyuv2", "--cache", place / "cache", "--out", place / "out", "--weights", WEIGHTS_FILE]
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        patch.setattr(ask_nyudv2, "KEPT", place / "kept")
        return main([stage, *map(str, where), *threads, "--rows", *SMALL])


def recorded(place: Path) -> dict[str, Any]:
    return read_result(place / "out" / "ask_nyudv2.json")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where all stages went through."""
    place = tmp_path_factory.mktemp("whole")
    draw_folder(place / "nyuv2")
    assert command("rows", place) == command("whole", place) == 0
    return place


def without_seconds(content: dict[str, Any]) -> dict[str, Any]:
    """All numbers that must not depend on when they were made."""
    for row in content["rows"].values():
        row["summary"].pop("seconds")
        for each in row["runs"].values():
            each["numbers"].pop("seconds")
    content["details"]["probe"].pop("seconds")
    return {key: content[key] for key in ("values", "rows", "details", "settings", "complete")}


@pytest.mark.slow
def test_the_record_holds_every_run(whole: Path, capsys: pytest.CaptureFixture[str]):
    content = recorded(whole)
    assert content["complete"] and set(content["rows"]) == {*SMALL, "rgb stream alone", "hha stream alone", WHOLE}
    labels = torch.tensor([int(digit) for digit in content["details"]["labels"]])
    for name, row in content["rows"].items():
        (each,) = row["runs"].values()
        right = rights(each["predicted"], labels)
        assert len(each["epochs"]) == 2 and sum(each["hits"]) == int(right.sum())
        assert each["numbers"]["test"] == pytest.approx(100 * float(right.mean()))  # classes of equal size
        assert each["numbers"]["validation"] == pytest.approx(each["epochs"][each["best_epoch"]], abs=0.01)
        assert (each["numbers"].get("spread", 0) > 0) == (name in ("global + local, full", WHOLE))
    for modality, scores in content["details"]["rates"].items():
        alone = content["rows"][f"{modality} stream alone"]["runs"]["0"]["numbers"]
        assert len(scores) == 2 and alone["validation"] == max(scores.values())
    assert content["values"]["K = 16"] == content["values"]["global + local, full"]
    assert command("rows", whole) == command("whole", whole) == 0
    assert "begun" not in capsys.readouterr().out  # all is kept


@pytest.mark.slow
def test_stopped_and_resumed_it_records_the_same(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    draw_folder(tmp_path / "nyuv2")
    assert command("save", tmp_path) == 0
    nothing = recorded(tmp_path)
    assert not nothing["complete"] and not nothing["rows"] and nothing["settings"]["chosen"] is None

    def stop(*_: Any) -> Any:
        raise KeyboardInterrupt

    for stage, module, name in (
        ("streams", ask_streams, "on_validation"),
        ("streams", ask_streams, "judged"),
        ("rows", ask_rows, "_placed"),
    ):
        with monkeypatch.context() as patch:  # all epochs are done, the end is not
            patch.setattr(module, name, stop)
            assert command(stage, tmp_path) == 130
    assert command("save", tmp_path) == 0
    part = recorded(tmp_path)
    assert not part["complete"] and set(part["rows"]) == {"rgb stream alone", "hha stream alone"}
    assert command("rows", tmp_path) == command("whole", tmp_path) == 0
    assert without_seconds(recorded(tmp_path)) == without_seconds(recorded(whole))


@pytest.mark.slow
def test_test_frames_decide_nothing(whole: Path, tmp_path: Path):
    draw_folder(tmp_path / "nyuv2", other_test=True)
    assert command("rows", tmp_path) == command("whole", tmp_path) == 0
    first, second = recorded(whole), recorded(tmp_path)
    assert first["settings"]["chosen"] == second["settings"]["chosen"]
    for name in ("regularisation", "rates"):
        assert first["details"][name] == second["details"][name]
    one, two = ([each for row in f["rows"].values() for each in row["runs"].values()] for f in (first, second))
    for key in ("epochs", "terms", "best_epoch"):
        assert [each[key] for each in one] == [each[key] for each in two]
    assert [each["predicted"] for each in one] != [each["predicted"] for each in two]


def test_frames_are_for_one_purpose_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make_small(monkeypatch)
    scenes = read_scenes(draw_folder(tmp_path / "nyuv2"), cache=tmp_path / "cache")
    parts = [set(rows.tolist()) for rows in (scenes.train, scenes.validation, scenes.test)]
    assert [len(part) for part in parts] == [16, 4, 8] and len(set.union(*parts)) == 28
    for rows, each in ((scenes.train, 8), (scenes.validation, 2), (scenes.test, 4)):
        assert scenes.labels[rows].bincount().tolist() == [each, each]


def test_the_tables_of_the_paper_are_all_there():
    assert len(ROWS) == 28 and {row for pair in GAINS.values() for row in pair} <= set(ROWS) >= set(SAME.values())
    for name, row in ROWS.items():
        assert ("L_C" in name) <= ("correlation" in row.terms) and ("L_VI" in name) <= ("information" in row.terms)
        assert ("full" in name or name.startswith("K = ")) <= {"information", "correlation"}.issubset(row.terms)
        assert name.startswith("local") == row.options.get("local_only", False)
    counts = {row.keypoints[0] for name, row in ROWS.items() if name.startswith("K = ")}
    assert counts | {ROWS[name].keypoints[0] for name in SAME.values()} == {0, 1, 3, 9, 16, 25, 36}


@pytest.mark.parametrize("name", ROWS)
def test_each_row_has_a_gradient_for_what_it_trains(name: str):
    scenes = Scenes(
        {}, torch.tensor([0, 1, 0, 1]), torch.arange(4), torch.arange(2), torch.arange(2), ("a", "b"), "frames"
    )
    network = backbones.load_backbone("squeezenet1_1", "none").network
    streams = {m: ask_streams.Stream(network, 2) for m in ask_streams.MODALITIES}
    maps = torch.rand(4, 512, 7, 7, generator=torch.Generator().manual_seed(0)).half()
    inputs = {f"{m}{which}": maps for m in ask_streams.MODALITIES for which in ("", " mirrored")}
    how, row = Regular(dropout=0.5, weight_decay=0.0, local_width=16), ROWS[name]
    task = ask_rows.row_task(scenes, inputs, streams, row, how, 0)
    batch = next(iter(task.train.batches([torch.arange(4)], torch.device("cpu"))))
    terms = task.step(task.network.train(), batch, torch.Generator().manual_seed(0))
    assert set(terms) == {*WEIGHTS, "spread"} and all(term.isfinite() for term in terms.values())
    torch.stack([task.weights[each] * term for each, term in terms.items()]).sum().backward()
    graded = {p for p, each in task.network.named_parameters() if each.grad is not None and each.grad.abs().sum() > 0}
    assert any(p.startswith("streams.rgb") for p in graded)
    assert any("select.conv" in p for p in graded) == (
        row.keypoints[0] > 0 and row.options.get("points", "both") in ("both", "rgb", "depth")
    )
    assert any("information" in p for p in graded) == ("information" in row.terms and row.keypoints[0] > 0)
    logits = task.predict(task.network.eval(), dict.fromkeys(ask_streams.MODALITIES, maps))
    assert logits.shape == (4, 2)


def test_a_frame_is_mirrored_and_erased_in_both_modalities_at_once():
    value = {"rgb": 1, "hha": 2, "rgb mirrored": 3, "hha mirrored": 4}
    inputs = {name: torch.full((200, 2, 13, 13), each).half() for name, each in value.items()}
    batch = Batch(inputs, torch.zeros(200), torch.arange(200))
    rgb, hha = ask_rows._augmented(batch, torch.Generator().manual_seed(0))
    erased = rgb == 0
    assert torch.equal(erased, hha == 0) and torch.equal(erased[:, 0], erased[:, 1])
    assert 70 < erased.flatten(1).any(dim=1).sum() < 130  # about half of the frames
    mirrored = rgb.amax(dim=(1, 2, 3)) == 3
    assert 70 < mirrored.sum() < 130
    for maps, upright, other in ((rgb, 1, 3), (hha, 2, 4)):
        wanted = torch.where(mirrored, other, upright)[:, None, None, None].expand_as(maps)
        assert torch.equal(maps[~erased], wanted[~erased].float())


def test_a_row_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["rows", "--rows", "K = 2", "--root", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "K = 2" in capsys.readouterr().err


def test_the_regularisation_is_chosen_by_validation():
    scores = {(name, how): 50.0 for how in GRID for name in ask_nyudv2.CHOOSERS}
    made = lambda: {key: {"validation": value, "test": -value} for key, value in scores.items()}  # noqa: E731
    assert choose(made()) == GRID[0]
    scores[ask_nyudv2.CHOOSERS[1], GRID[3]] = 50.5
    assert choose(made()) == GRID[3]


def test_a_part_of_another_key_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ask_nyudv2, "KEPT", tmp_path)
    one = Part("a", "key", lambda folder: {"x": 1})
    assert one.found() is None and one.made()["x"] == 1 and one.found() == one.made()
    other = Part("a", "another", one.make)
    assert other.found() is None and other.folder != one.folder


def test_seeds_share_the_streams_in_turn():
    assert [stream_seed(seed) for seed in range(5)] == [0, 1, 2, 0, 1]


def test_intervals_over_frames_draw_within_each_class():
    labels = torch.tensor([0] * 50 + [1] * 2)
    right = torch.cat([torch.ones(50), torch.tensor([1.0, 0.0])])
    found = over_frames(right, labels)
    assert found.mean == pytest.approx(0.75)  # of 1 and 1/2, whatever the classes' sizes
    assert (found.low, found.high) == (0.5, 1.0)  # the second class has 0, 1 or 2 of two
    same = over_frames(torch.ones(52), labels)
    assert (same.low, same.mean, same.high) == (1, 1, 1)


def test_values_pair_the_seeds_that_both_rows_have():
    labels = torch.tensor([0, 0, 1, 1])
    runs = {
        "global, L_aux": {0: {"predicted": "0011"}, 1: {"predicted": "0000"}},
        "global": {0: {"predicted": "0001"}},
    }
    values = values_of(runs, {"rgb": {"predicted": "1111"}, "seconds": 1.0}, labels)
    assert values["global, L_aux"] == values["K = 0"] == 75 and values["global"] == 75
    assert values["gain, L_aux"] == 25  # of seed 0 alone
    assert values["probe rgb"] == 50 and "gain, HHA" not in values


def test_a_digest_of_logic_passes_over_words(tmp_path: Path):
    path = tmp_path / "ours.py"
    path.write_text('"""One."""\nX = 1  # why\ndef f():\n    """Two."""\n    return X\n')
    before = logic_digest(["ours"], tmp_path)
    path.write_text('"""Other."""\nX = 1\n\n\ndef f():\n    """Words."""\n    return X  # so\n')
    assert logic_digest(["ours"], tmp_path) == before
    path.write_text("X = 2\ndef f():\n    return X\n")
    assert logic_digest(["ours"], tmp_path) != before


@pytest.mark.parametrize("wrong", [{"terms": ("mian",)}, {"reads": "depth"}])
def test_a_row_knows_its_words(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match=r"mian|depth"):
        Row(**wrong)
