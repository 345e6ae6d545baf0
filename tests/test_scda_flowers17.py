"""SCDA on flowers: the sizes, the gains, and what a run keeps and writes down."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ask_lib.methods.scda import bounding_box, selection_mask
from experiments import scda as record_scda
from experiments.scda import VARIANTS, cut, grid_box, mean_gain, sized, values_of
from tools.project import read_json
from tools.results import RESULTS


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


class Run:
    """The command on pictures of its own, without a network."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch):
        self.root, self.made = root, []
        draw(root / "flowers")
        backbone = SimpleNamespace(name="net", weights="file w.pt (sha256 0)", default_layers=("low", "high"))
        patch.setattr(record_scda, "KEPT", root / "kept")
        patch.setattr(record_scda, "load_backbone", lambda *args: backbone)
        patch.setattr(record_scda, "score_variant", lambda *args: self.made.append(args[2]) or fake_part(*args))

    def __call__(self, run: str, *words: str) -> dict[str, Any]:
        """What it recorded; ``made`` then names the parts that were made for it."""
        self.made.clear()
        assert record_scda.main([run, "--out", str(self.root), "--images", str(self.root / "flowers"), *words]) == 0
        return dict(read_json(self.root / "scda_flowers17.json"))


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
    weights = run("flowers17", "--weights", "/mine/realdata/my weights/w.pt")["command"]
    assert weights.endswith("""flowers17 --images flowers --weights "$ASK_REALDATA"/'my weights/w.pt'""")
