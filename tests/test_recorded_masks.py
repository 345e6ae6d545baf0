"""SCDA's recorded runs on photographs: what is kept and written of a run; the masks, how they are chosen and drawn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from ask_lib.methods.scda import bounding_box, selection_mask
from experiments import scda as record_scda
from experiments.scda import VARIANTS, cut, first_of_each_class, grid_box, mean_gain, shown, sized, values_of
from tools.project import read_json
from tools.recorded_masks import DROPPED, FLOWERS, GROUPS, KEPT, SOURCE, cells_of, draw_masks
from tools.results import RESULTS

PICTURES = [(group, one) for group, pictures in read_json(SOURCE)["details"]["pictures"].items() for one in pictures]
NAMES = [f"{group} {one['file']}" for group, one in PICTURES]


def test_the_first_of_each_class_are_chosen_in_order():
    labels = torch.tensor([2, 2, 0, 1, 0, 1])
    assert first_of_each_class(torch.tensor([1, 2, 3, 4, 5]), labels, 2) == [1, 2]
    assert first_of_each_class(torch.tensor([4, 5]), labels, 4) == [4, 5]
    assert first_of_each_class(torch.tensor([], dtype=torch.long), labels, 4) == []


def test_what_is_shown_of_a_picture():
    found = {
        "activation": torch.tensor([[[1.0, 4.0, 2.0]]]),
        "above": torch.tensor([[[False, True, True]]]),
        "kept": torch.tensor([[[False, True, False]]]),
    }
    one = shown(found, [SimpleNamespace(name="c1/a.jpg")], 0)  # type: ignore[arg-type]
    assert one == {"file": "c1/a.jpg", "activation": ["25 100 50"], "cells": [".#+"]}


@pytest.mark.parametrize(("variant", "size"), [("crop224", (224, 224)), ("own", (256, 341))])
def test_the_size_that_the_network_reads(variant: str, size: tuple[int, int]):
    assert sized(Image.new("RGB", (341, 256)), VARIANTS[variant]).shape == (3, *size)


@pytest.mark.parametrize("size", [(224, 224), (97, 131)])
def test_what_is_cut_out_is_what_the_box_holds(size: tuple[int, int]):
    """The box is kept in cells, as a row's numbers, and becomes pixels again."""
    features = torch.rand(3, 4, 5, 7, generator=torch.Generator().manual_seed(0)) ** 4
    features[2] = 1.0  # nothing is selected: the whole picture
    image = torch.randint(256, (3, *size), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    backbone = SimpleNamespace(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    for box, pixels in zip(grid_box(features), bounding_box(selection_mask(features), size), strict=True):
        x0, y0, x1, y1 = pixels.tolist()
        part = ((image.float() / 255 - 0.5) / 0.5)[None, :, y0:y1, x0:x1]
        expected = torch.nn.functional.interpolate(part, size, mode="bilinear", antialias=True)[0]
        torch.testing.assert_close(cut(image, box, backbone), expected)  # type: ignore[arg-type]
    assert (x0, y0, x1, y1) == (0, 0, size[1], size[0])


@pytest.mark.parametrize(("group", "picture"), PICTURES, ids=NAMES)
def test_recorded_cells_are_the_largest_piece_above_the_mean(group: str, picture: dict[str, list[str]]):
    assert group in GROUPS
    heat = np.array([row.split() for row in picture["activation"]], dtype=float)
    above = cells_of(picture["cells"], DROPPED + KEPT)
    assert heat.max() == 100 and heat.shape == above.shape == (13, 13)
    assert heat[above].min() >= heat.mean() - 1 and heat[~above].max() <= heat.mean() + 1  # the file has whole percents
    pieces, _ = ndimage.label(above, np.ones((3, 3)))
    sizes = Counter(pieces[above].tolist())
    (kept,) = set(pieces[cells_of(picture["cells"], KEPT)].tolist())
    assert sizes[kept] == max(sizes.values()) == cells_of(picture["cells"], KEPT).sum()


def test_no_class_is_shown_twice_in_a_row_of_the_figure():
    for group in GROUPS:
        folders = [one["file"].partition("/")[0] for name, one in PICTURES if name == group]
        assert len(folders) == 4 == len(set(folders))


def test_the_text_is_right_about_what_the_masks_drop():
    """Upper row: large bright pieces are dropped of the first and the fourth, small ones of the others."""
    lost = [one for group, one in PICTURES if group == "lost"]
    assert [int(cells_of(one["cells"], DROPPED).sum()) > 30 for one in lost] == [True, False, False, True]
    record = read_json(SOURCE)["values"]
    assert record["lost"] > record["won"]


def test_the_figure_is_the_same_each_time(tmp_path: Path):
    for name in ("a.svg", "b.svg"):
        draw_masks(tmp_path / name)
    drawn = (tmp_path / "a.svg").read_text()
    assert drawn == (tmp_path / "b.svg").read_text() and len(drawn) < 300_000
    assert all(FLOWERS[Path(one["file"]).parent.name] in drawn for _, one in PICTURES)


def test_the_mean_gain_is_the_difference_of_the_rows_means():
    """Two splits; picture 0 is a query in both, picture 3 in none."""
    ours = [{0: 100.0, 1: 0.0}, {0: 100.0, 2: 0.0}]
    theirs = [{0: 0.0, 1: 0.0}, {0: 0.0, 2: 100.0}]
    total, asked = torch.zeros(4, dtype=torch.double), torch.zeros(4, dtype=torch.double)
    for a, b in zip(ours, theirs, strict=True):
        for at in a:
            total[at] += a[at] - b[at]
            asked[at] += 1
    difference = np.mean([v for run in ours for v in run.values()]) - np.mean([v for r in theirs for v in r.values()])
    found = mean_gain(total, asked)
    assert found.mean == pytest.approx(difference) == 25 and found.low < 25 < found.high
    assert mean_gain(total, asked, torch.tensor([True, True, False, False])).mean == pytest.approx(200 / 3)


def test_the_recorded_gains_are_the_differences_of_the_recorded_rows():
    values = read_json(RESULTS / "scda_flowers17.json")["values"]
    for variant in VARIANTS:
        for row in ("SCDA", "SCDA, all above", "SCDA_flip+", "as many cells in the middle"):
            difference = values[f"{variant} {row} top1"] - values[f"{variant} avg&max top1"]
            assert values[f"{variant} {row} gain mean"] == pytest.approx(difference, abs=1e-3)


# --- what a run keeps, and what it writes down ----------------------------------------------------------------------


def draw(folder: Path, seed: int = 0) -> None:
    """Two classes of four pictures of noise."""
    noise = np.random.default_rng(seed)
    for at in range(8):
        path = folder / f"c{at // 4}" / f"{at}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(path)


def fake_part(backbone: object, pictures: object, name: str, seeds: list[int]) -> dict[str, Any]:
    gain = {"mean": 1.0, "low": 0.0, "high": 2.0}
    runs = {"SCDA": {"top1": [50.0 + seed for seed in seeds]}}
    return {"runs": runs, "gains": {"SCDA": gain}, "steps": {"the mirror": gain}, "border": 30.0}


def fake_maps(backbone: object, pictures: list[object]) -> dict[str, torch.Tensor]:
    above = torch.zeros(len(pictures), 2, 2, dtype=torch.bool)
    above[:, 0] = True
    vectors = torch.randn(len(pictures), 3, generator=torch.Generator().manual_seed(0))
    found = {"avg&max": vectors, "SCDA": vectors.flip(1).cumsum(1), "activation": above.float()}
    return found | {"above": above, "kept": above}


class Run:
    """The command on pictures of its own, without a network."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch):
        self.root, self.made = root, []
        draw(root / "flowers")
        backbone = SimpleNamespace(name="net", weights="file w.pt (sha256 0)", default_layers=("low", "high"))
        patch.setattr(record_scda, "KEPT", root / "kept")
        patch.setattr(record_scda, "load_backbone", lambda *args: backbone)
        patch.setattr(record_scda, "looked_at", fake_maps)
        patch.setattr(record_scda, "score_variant", lambda *args: self.made.append(args[2]) or fake_part(*args))

    def __call__(self, run: str, *words: str) -> dict[str, Any]:
        """What it recorded; ``made`` then names the parts that were made for it."""
        self.made.clear()
        assert record_scda.main([run, "--out", str(self.root), "--images", str(self.root / "flowers"), *words]) == 0
        return dict(read_json(self.root / f"scda_flowers17{'' if run == 'flowers17' else '_masks'}.json"))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(tmp_path, monkeypatch)


def test_kept_parts_are_taken_as_long_as_code_pictures_and_seeds_are_the_same(
    run: Run, monkeypatch: pytest.MonkeyPatch
):
    run("flowers17")
    assert run.made == list(VARIANTS)
    monkeypatch.setattr("ask_lib.results.commit", lambda folder: "another")
    assert run("flowers17")["commit"] == "another" and run.made == []
    run("flowers17", "--seeds", "7")
    assert run.made == list(VARIANTS)
    monkeypatch.setattr(record_scda, "code_digest", lambda *modules: "another")
    run("flowers17", "--seeds", "7")
    assert run.made == list(VARIANTS)


def test_other_pixels_make_the_parts_anew(run: Run):
    run("flowers17")
    draw(run.root / "flowers", seed=1)  # the same names and sizes
    run("flowers17")
    assert run.made == list(VARIANTS)


def test_seconds_are_no_value(run: Run):
    found = run("flowers17")
    assert set(found["details"]["seconds"]) == set(VARIANTS)
    assert not [name for name in found["values"] if "seconds" in name]
    assert found["values"]["own border"] == 30 and found["values"]["own the mirror high"] == 2
    assert "own seconds" not in values_of({"own": fake_part(None, None, "own", [0]) | {"seconds": 1.5}})


def test_a_recorded_command_names_no_folder_of_this_machine(run: Run):
    assert run("flowers17")["command"] == "python -m experiments.scda flowers17 --images flowers"
    weights = run("masks", "--weights", "/mine/realdata/my weights/w.pt")["command"]
    assert weights.endswith("""masks --images flowers --weights "$ASK_REALDATA"/'my weights/w.pt'""")


def test_masks_say_which_split_they_are_of(run: Run):
    found = run("masks", "--seeds", "3", "4")
    assert (
        found["seeds"] == [3] and "the split of seed 3;" in found["protocol"] and "first split" not in found["protocol"]
    )
