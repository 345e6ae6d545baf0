"""SCDA's experiments on birds and pets, end to end on a few small pictures in the sets' own form."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ask_lib.errors import DataNotFoundError
from ask_lib.models.backbones import load_backbone
from ask_lib.results import read_result
from experiments import scda_cub40, scda_pets


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


@pytest.mark.slow
def test_birds_are_recorded_in_the_one_schema(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scda_cub40, "SHORTER", {"an eighth": 1000})
    monkeypatch.setattr(scda_cub40, "SIZES", {"stored": None, "long384": 96})
    monkeypatch.setattr(scda_cub40, "KEPT", tmp_path / "kept")
    rows = [
        {"file": f"{label}/{at}.png", "label": label, "split": "train" if at < 3 else "test",
         "box_x": 20, "box_y": 16, "box_w": 40, "box_h": 32}
        for label in (1, 2, 3) for at in range(5)
    ]  # fmt: skip
    for at, row in enumerate(rows):
        noise(tmp_path / "birds" / "images" / str(row["file"]), at)
    with (tmp_path / "birds" / "labels.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
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
    trimap = np.full((64, 80), 2, np.uint8)
    trimap[16:48, 20:60] = 1
    trimap[16:18] = 3
    (tmp_path / "pets" / "trimaps").mkdir(parents=True)
    for at in range(3):
        noise(tmp_path / "pets" / "images" / f"pug_{at}.png", at)
        Image.fromarray(trimap).save(tmp_path / "pets" / "trimaps" / f"pug_{at}.png")
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
