"""SCDA's experiments on birds and pets, end to end on a few small pictures in the sets' own form."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from ask_lib.data.objects import Objects
from ask_lib.errors import DataNotFoundError
from ask_lib.methods.scda import lower_mask, mean_mask, scda, scda_plus, selection_mask
from ask_lib.models.backbones import load_backbone
from ask_lib.results import read_result
from ask_scenes.objects import ObjectOptions
from experiments import scda_controls, scda_cub40, scda_objects, scda_pets
from experiments.scda import OPEN, TwoLayers, four_connected, of_possible, open_rows


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "squeezenet.pt"
    torch.save(load_backbone("squeezenet1_0", "none", seed=1).network.state_dict(), path)
    return path


def noise(path: Path, seed: int, size: tuple[int, int] = (64, 80)) -> None:
    """A picture with a bright square in it."""
    pixels = np.random.default_rng(seed).integers(0, 120, (*size, 3), dtype=np.uint8)
    pixels[16:48, 20:60] += 120
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def birds_in(folder: Path) -> None:
    """Three kinds of five birds each, in CUB's form."""
    rows = [
        {"file": f"{label}/{at}.png", "label": label, "split": "train" if at < 3 else "test",
         "box_x": 20, "box_y": 16, "box_w": 40, "box_h": 32}
        for label in (1, 2, 3) for at in range(5)
    ]  # fmt: skip
    for at, row in enumerate(rows):
        noise(folder / "images" / str(row["file"]), at)
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def pets_in(folder: Path) -> None:
    """Three pets with trimaps."""
    trimap = np.full((64, 80), 2, np.uint8)
    trimap[16:48, 20:60] = 1
    trimap[16:18] = 3
    (folder / "trimaps").mkdir(parents=True)
    for at in range(3):
        noise(folder / "images" / f"pug_{at}.png", at)
        Image.fromarray(trimap).save(folder / "trimaps" / f"pug_{at}.png")


@pytest.mark.slow
def test_birds_are_recorded_in_the_one_schema(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scda_cub40, "SHORTER", {"an eighth": 1000})
    monkeypatch.setattr(scda_cub40, "SIZES", {"stored": None, "long384": 96})
    monkeypatch.setattr(scda_cub40, "KEPT", tmp_path / "kept")
    birds_in(tmp_path / "birds")
    words = ["--images", str(tmp_path / "birds"), "--weights", str(weights), "--out", str(tmp_path / "out")]
    assert scda_cub40.main(words) == 0
    values = read_result(tmp_path / "out" / "scda_cub40.json")["values"]
    assert values["train"] == 9 and values["test"] == 6
    for size in ("stored", "long384"):
        for name in ("SCDA", "all above the mean", "centre mask of its area", "average true box", "whole picture"):
            assert 0 <= values[f"{size} box {name}"] <= 100 and 0 <= values[f"{size} iou {name}"] <= 1
        assert values[f"{size} iou average true box"] == pytest.approx(1, abs=0.02)  # all boxes are alike here
        assert values[f"{size} avg&max gain mean"] == 0
        assert 0 <= values[f"{size} svm SCDA"] <= 100 and f"{size} PCA, an eighth top1" in values


def test_the_true_box_s_cells_are_those_whose_centres_it_holds():
    cells = scda_cub40.true_cells(torch.tensor([20.0, 16.0, 60.0, 48.0]), (64, 80), (4, 8))
    assert cells.nonzero().tolist() == [[y, x] for y in (1, 2) for x in (2, 3, 4, 5)]
    tiny = scda_cub40.true_cells(torch.tensor([0.0, 0.0, 1.0, 1.0]), (64, 80), (4, 8))
    assert tiny.nonzero().tolist() == [[0, 0]]


def test_pets_are_recorded_in_the_one_schema(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scda_pets, "KEPT", tmp_path / "kept")
    pets_in(tmp_path / "pets")
    words = ["--images", str(tmp_path / "pets"), "--weights", str(weights), "--out", str(tmp_path / "out")]
    assert scda_pets.main(words) == 0
    values = read_result(tmp_path / "out" / "scda_pets.json")["values"]
    assert values["pictures"] == 3 and all(0 <= values[f"{row} iou"] <= 100 for row in ("SCDA", "all above the mean"))
    (tmp_path / "pets" / "trimaps" / "pug_1.png").unlink()
    assert scda_pets.main([*words[:5], str(tmp_path / "more")]) == 0  # the part is kept
    with pytest.raises(DataNotFoundError, match="pug_1"):
        scda_pets.trimap_of(tmp_path / "pets" / "trimaps", "pug_1.png")


def test_a_mask_on_the_pet_is_right_and_the_border_does_not_count():
    trimap = torch.full((64, 64), 2, dtype=torch.uint8)
    trimap[16:48, 16:48] = 1
    high = torch.zeros(1, 2, 4, 4)
    high[:, :, 1:3, 1:3] = 1.0
    found = scda_pets.overlaps(high, trimap)
    assert found["SCDA"] == (1.0, 1.0) and found["centre mask of the true area"] == (1.0, 1.0)
    trimap[44:48, 16:48] = 3  # now unsure: out of the count
    assert scda_pets.overlaps(high, trimap)["SCDA"] == (1.0, 1.0)


def test_without_the_birds_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert scda_cub40.main(["--images", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "labels.csv" in capsys.readouterr().err


def noisy_draw(seed: int, root: Path | None) -> scda_objects.Draw:
    """Frames of noise with a bright square, of sixteen classes, in place of drawn ones."""
    draw = torch.Generator().manual_seed(seed)
    rgb = torch.randint(0, 150, (96, 3, 48, 64), generator=draw, dtype=torch.uint8)
    mask = torch.zeros(96, 48, 64, dtype=torch.bool)
    mask[:, 10:34, 20:50] = True
    rgb += 100 * mask[:, None].to(torch.uint8)
    return scda_objects.Draw(rgb, torch.arange(96) % 16, mask, torch.tensor([20, 10, 50, 34]).expand(96, 4))


@pytest.mark.slow
def test_objects_are_recorded_in_the_one_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in {"QUERIES": 32, "GALLERY": 64, "KEPT": tmp_path / "kept", "drawn": noisy_draw}.items():
        monkeypatch.setattr(scda_objects, name, value)
    hard = noisy_draw(9, None)
    monkeypatch.setattr(scda_objects, "hard_cases", lambda seed, root: {"rooms": (hard.rgb[:9], hard.mask[:9])})
    monkeypatch.setattr(scda_objects, "NETWORKS", ("objects_vgg", "random"))
    words = ["--out", str(tmp_path / "out"), "--root", str(tmp_path / "frames"), "--seeds", "1", "2"]
    assert scda_objects.main(words) == 0
    content = read_result(tmp_path / "out" / "scda_objects.json")
    values, runs = content["values"], content["details"]["runs"]
    assert content["seeds"] == [1, 2] and values["draws"] == 2 and values["queries"] == 32
    for network in ("objects_vgg", "random"):
        two = [runs[seed][network] for seed in ("1", "2")]
        for name in ("SCDA top1", "box SCDA", "mask SCDA", "svm SCDA", "on rooms"):
            assert values[f"{network} {name}"] == pytest.approx(sum(run[name] for run in two) / 2, abs=1e-3)
            assert 0 <= values[f"{network} {name}"] <= 100 and values[f"{network} {name} std"] >= 0
        for run in two:
            assert run["SCDA gain"] == pytest.approx(run["SCDA top1"] - run["avg&max top1"], abs=1e-3)
            assert run["SCDA top5 of possible"] <= run["SCDA top5"]
        assert {f"{network} open {name} low" for name in OPEN} <= set(values)
    assert runs["1"]["random"] != runs["2"]["random"]  # another network in each draw


def test_a_draw_is_of_test_and_gallery_and_hard_frames_are_of_val(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in {"QUERIES": 2, "GALLERY": 3, "HARD": 2, "SIZE": (24, 32)}.items():
        monkeypatch.setattr(scda_objects, name, value)
    draw = scda_objects.drawn(4, tmp_path)
    assert draw.rgb.shape == (5, 3, 24, 32) and draw.queries.tolist() == [0, 1] and draw.gallery.tolist() == [2, 3, 4]
    options = ObjectOptions(size=(24, 32))
    assert torch.equal(draw.rgb[:2], Objects("test", 2, 4, options, root=tmp_path).rgb)
    assert torch.equal(draw.rgb[2:], Objects("gallery", 3, 4, options, root=tmp_path).rgb)
    monkeypatch.setattr(scda_objects, "Rooms", lambda *args, **more: SimpleNamespace(rgb=args, key_mask=more))
    cases = scda_objects.hard_cases(4, tmp_path)
    assert list(cases) == ["three objects", "tiny objects", "rooms"]
    assert cases["tiny objects"][1].double().mean() < 0.03 and cases["rooms"][0][0] == "val"


def test_true_cells_are_those_half_covered_or_the_best_one():
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[0, :2, :2] = True  # the first cell whole
    mask[0, 2, 2] = True  # a quarter of the last
    mask[1, 3, 0] = True  # a quarter of the third: the best there is
    cells = scda_objects.cells_of(mask, (2, 2))
    assert cells[0].tolist() == [[True, False], [False, False]]
    assert cells[1].tolist() == [[False, False], [True, False]]


def some_maps(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(4, 6, 5, 7, generator=draw).pow(6), torch.rand(4, 3, 10, 14, generator=draw).pow(6)


def test_without_corners_a_diagonal_falls_apart():
    features = torch.zeros(1, 1, 4, 5)
    features[0, 0, [0, 1, 1, 3, 3], [4, 2, 3, 0, 1]] = 1.0  # three by corners; two and two without
    assert selection_mask(features).sum() == 3
    assert four_connected(features).nonzero().tolist() == [[0, 3, 0], [0, 3, 1]]  # the first column's


def test_the_open_points_depart_in_one_thing_each():
    high, low = some_maps()
    maps, rows = {"high": high, "low": low}, open_rows("high", "low")
    plain = TwoLayers("high", "low", lower_mask)(maps)
    assert torch.allclose(plain, scda_plus(high, low))
    for name, row in rows.items():
        assert set(row.layers) <= {"high", "low", "flip:high", "flip:low"} and name in OPEN
    raw = rows["halves as they are"](maps).view(4, 2, -1)
    assert torch.allclose(torch.nn.functional.normalize(raw, dim=2).flatten(1), scda(high), atol=1e-6)
    own = rows["the lower layer's own component"](maps)[:, 12:]
    assert torch.allclose(own, 0.5 * scda(low, selection_mask(low)))
    second = rows["a second component step"](maps)[:, 12:]
    assert not torch.allclose(second, plain[:, 12:])
    soft = rows["enlarged bilinearly"]
    whole = soft({"high": torch.ones_like(high) + high * 0, "low": low})  # a constant map selects nothing
    assert whole[:, 12:].abs().sum() == 0 and mean_mask(low).any()


def test_top_5_of_what_is_possible_counts_what_was_missed():
    near = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])  # a query at angle 0, then a gallery of six
    labels = torch.tensor([0, 0, 1, 0, 1, 1, 0])
    vectors = torch.stack([near.cos(), near.sin()], dim=1)
    one = of_possible(vectors, labels, torch.tensor([0]), torch.arange(1, 7))
    assert float(one) == pytest.approx(100 * (1 / 1 + 2 / 3) / 3)  # the sixth is right too, and missed


@pytest.mark.slow
def test_controls_are_recorded_in_the_one_schema(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in {
        "KEPT": tmp_path / "kept",
        "SIZES": {"stored": None, "long384": 96},
        "drawn": noisy_draw,
    }.items():
        monkeypatch.setattr(scda_controls, name, value)
    for name, value in {"QUERIES": 32, "GALLERY": 64}.items():
        monkeypatch.setattr(scda_objects, name, value)
    birds_in(tmp_path / "birds")
    pets_in(tmp_path / "pets")
    words = ["--birds", str(tmp_path / "birds"), "--pets", str(tmp_path / "pets"), "--weights", str(weights)]
    assert scda_controls.main([*words, "--out", str(tmp_path / "out"), "--seeds", "1", "2"]) == 0
    values = read_result(tmp_path / "out" / "scda_controls.json")["values"]
    for of in ("birds stored", "birds long384", "pets", "objects_vgg"):
        ours = values[f"{of} box SCDA"]
        mean = f"{of} box over centre box of its size" + ("" if of == "objects_vgg" else " mean")
        assert values[mean] == pytest.approx(ours - values[f"{of} box centre box of its size"], abs=1e-3)
        assert values[mean.removesuffix(" mean") + " low"] <= values[mean]
    assert "birds stored the mask, for the mean high" in values and values["draws"] == 2


def test_a_centre_box_has_the_size_of_the_box_and_stands_in_the_middle():
    boxes = torch.tensor([[0.0, 0.0, 40.0, 20.0], [10.0, 10.0, 11.0, 13.0]], dtype=torch.float64)
    moved = scda_controls.centred(boxes, (60, 100))
    assert moved.tolist() == [[30, 20, 70, 40], [49.5, 28.5, 50.5, 31.5]]


def test_scda_s_box_on_a_bright_corner_beats_the_middle_s():
    high = torch.zeros(1, 1, 6, 8)
    high[..., 3:, 5:] = 1.0
    rows = scda_controls.boxes_of(high, (60, 80))
    assert rows["SCDA"].tolist() == [[50, 30, 80, 60]] == rows["all above the mean"].tolist()
    assert rows["centre box of its size"].tolist() == [[25, 15, 55, 45]]
    assert rows["whole picture"].tolist() == [[0, 0, 80, 60]]
    right = scda_controls.right(rows, torch.tensor([[50, 30, 80, 60]]))
    assert float(right["SCDA"]) == 100 and float(right["centre box of its size"]) == 0
