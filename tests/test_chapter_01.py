"""Chapter 01 on other input than its own, and what its text says of recorded runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ask_lib.methods.scda import scda
from ask_lib.show.record import published_text
from tests.chapter import in_markdown, runner
from tests.realdata import realdata
from tools.expect import expected_of
from tools.project import ROOT, ToolError, read_json

CHAPTER = ROOT / "notebooks" / "01_scda.ipynb"
RESULTS = ROOT / "results"
run = runner("01_scda")


@pytest.mark.slow
@pytest.mark.realdata
def test_photographs_and_trained_weights(tmp_path: Path):
    weights, flowers = realdata("weights", "squeezenet1_0_imagenet.pt"), realdata("flowers17")
    values, text = run(tmp_path, IMAGES=str(flowers), WEIGHTS=str(weights), QUERIES=34, GALLERY=34)
    assert "file squeezenet1_0_imagenet.pt (sha256 b0c3d38d)" in str(values["network"])
    assert "68 pictures read, 0 files skipped" in text and "layers features.12 and features.10" in text
    assert (values["queries"], values["gallery"], values["dimensions"]) == (34, 34, 1024)
    assert float(values["top1_scda"]) > 5 * 100 / 17
    assert not {name for name in values if name.startswith("box_")}  # nobody knows where the flowers stand


@pytest.mark.slow
def test_a_small_folder_of_ones_own(tmp_path: Path):
    images = some_pictures(tmp_path / "images", {"a": 4, "b": 5, "c": 8})
    values, text = run(tmp_path, IMAGES=str(images), BACKBONE="rooms_vgg")
    # Half of each class, half up, is the gallery's: 2 + 3 + 4.
    assert "17 pictures read" in text and {values["queries"], values["gallery"]} == {8, 9}


def some_pictures(folder: Path, classes: dict[str, int]) -> Path:
    """So many noisy pictures a subfolder, each class of a colour of its own; "" is the folder itself."""
    for number, (name, count) in enumerate(classes.items()):
        draw = np.random.default_rng(number)
        (folder / name).mkdir(parents=True, exist_ok=True)
        for at in range(count):
            noise = draw.integers(0, 120, (60, 80, 3), dtype=np.uint8)
            noise[..., number % 3] += 100
            Image.fromarray(noise).save(folder / name / f"{number}_{at}.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("classes", [{"a": 4}, {"a": 4, "b": 1}])
def test_a_folder_without_two_classes_of_two_is_refused_at_once(tmp_path: Path, classes: dict[str, int]):
    images = some_pictures(tmp_path / "images", classes)
    with pytest.raises(ToolError, match="needs two subfolders, one a class, with two pictures each"):
        run(tmp_path, IMAGES=str(images), BACKBONE="rooms_vgg")


@pytest.mark.slow
def test_a_network_without_two_layers_of_maps_is_refused_at_once(tmp_path: Path):
    with pytest.raises(ToolError, match="vit_b_16 has no two layers of maps"):
        run(tmp_path, BACKBONE="vit_b_16", WEIGHTS="none")


def cells(kind: str = "code") -> list[str]:
    return ["".join(cell["source"]) for cell in read_json(CHAPTER)["cells"] if cell["cell_type"] == kind]


def test_the_method_from_memory_is_whole_in_twelve_lines():
    (source,) = (cell for cell in cells() if "def plain_scda" in cell)
    body = [line for line in source.splitlines() if line.strip() and not line.strip().startswith('"""')]
    assert len(body) <= 12
    from scipy import ndimage

    names: dict[str, object] = {"torch": torch, "np": np, "ndimage": ndimage}
    exec(source, names)
    draw = torch.Generator().manual_seed(3)
    for size in ((7, 10), (5, 5), (1, 9)):
        features = torch.rand(6, 8, *size, generator=draw).pow(4)
        assert torch.allclose(names["plain_scda"](features), scda(features), atol=1e-6)  # type: ignore[operator]


def objects(name: str) -> float:
    return float(read_json(RESULTS / "scda_objects.json")["values"][f"objects_vgg {name}"])


def birds(name: str) -> float:
    return float(read_json(RESULTS / "scda_cub40.json")["values"][f"stored {name}"])


def is_zero(value: Callable[[str], float], name: str) -> bool:
    """Whether the interval of a difference contains zero, or touches it."""
    return value(f"{name} low") <= 0 <= value(f"{name} high")


def controls(name: str) -> float:
    return float(read_json(RESULTS / "scda_controls.json")["values"][name])


def draws(first: str, second: str) -> np.ndarray:
    """Differences of two values of objects_vgg, draw by draw."""
    runs = read_json(RESULTS / "scda_objects.json")["details"]["runs"].values()
    return np.array([one["objects_vgg"][first] - one["objects_vgg"][second] for one in runs])


BOX = "box over centre box of its size"
CLAIMS: dict[str, Callable[[], bool]] = {
    "on objects and birds SCDA's box is right more often than one of its size": lambda: (
        controls(f"objects_vgg {BOX} low") > 0 and controls(f"birds stored {BOX} low") > 0
    ),
    "on pets it is not": lambda: controls(f"pets {BOX} low") <= 0 <= controls(f"pets {BOX} high"),
    "among so few pets even the whole picture can't be told from it": lambda: (
        controls("pets box over whole picture low") <= 0 <= controls("pets box over whole picture high")
    ),
    "on birds the average true box is right more often": lambda: birds("box over average true box high") < 0,
    "the component: much on birds, something on objects, a cost on pets": lambda: (
        controls("birds stored box over all above the mean low") > 15
        and 15 > controls("objects_vgg box over all above the mean low") > 0
        and controls("pets box over all above the mean high") < 0
    ),
    "on birds SCDA gains, and more than in the paper": lambda: birds("SCDA gain low") > 2.18,
    "the centre mask gains less": lambda: birds("over its centre mask low") > 0,
    "the maximum alone does as well": lambda: is_zero(controls, "birds stored the maximum of all cells over SCDA"),
    "what the mask adds it adds to the mean": lambda: (
        controls("birds stored the mask, for the mean low") > 0
        and is_zero(controls, "birds stored the mask, for the maximum")
    ),
    "on the objects nothing is gained": lambda: is_zero(objects, "SCDA gain"),
    "all cells with the mirror do as well as SCDA_flip+": lambda: is_zero(objects, "SCDA_flip+ over the mirror alone"),
    "SCDA_flip+ is ahead by the mirror": lambda: objects("the mirror low") > 0,
    "the mirror on birds": lambda: is_zero(birds, "the mirror"),
    "on the objects the true mask gains": lambda: objects("true mask gain low") > 0,
    "the component in retrieval": lambda: is_zero(objects, "the largest piece") and is_zero(birds, "the largest piece"),
    "the second layer, birds": lambda: is_zero(birds, "the second layer"),
    "three objects": lambda: objects("on three objects high") < objects("centre on three objects low"),
    "a tiny object": lambda: abs(draws("on tiny objects", "centre on tiny objects").mean()) < 0.3,
    "a room": lambda: objects("on rooms low") > objects("centre on rooms high"),
    "the paper's top-5 exceeds its top-1": lambda: all(
        float(published_text(f"SCDA/3/{row}/CUB top5")) > float(published_text(f"SCDA/3/{row}/CUB top1"))
        for row in ("fc8_im", "Pool5", "SCDA", "SCDA_flip+")
    ),
    "relu5_2's own component": lambda: not is_zero(birds, "open the lower layer's own component"),
}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS.keys())
def test_what_the_text_says_in_words_is_so_in_the_recorded_runs(claim: Callable[[], bool]):
    assert claim()


LIVE = {
    "box_scda": "scda_controls/objects_vgg box SCDA",
    "box_above": "scda_controls/objects_vgg box all above the mean",
    "box_centre": "scda_controls/objects_vgg box centre box of its size",
    "top1_all": "scda_objects/objects_vgg avg&max top1",
    "top1_scda": "scda_objects/objects_vgg SCDA top1",
    "top1_scda_flip_plus": "scda_objects/objects_vgg SCDA_flip+ top1",
}


@pytest.mark.parametrize(("name", "address"), LIVE.items())
def test_the_page_s_own_run_is_one_of_the_draws_that_the_record_expects(name: str, address: str):
    live = float(expected_of("book")["01_scda"][name]["value"])
    run, row = address.split("/", 1)
    values = read_json(RESULTS / f"{run}.json")["values"]
    assert abs(live - values[row]) < 3.5 * values[f"{row} std"]


@pytest.mark.parametrize("name", ["scda_objects", "scda_flowers17", "scda_cub40", "scda_pets", "scda_controls"])
def test_a_recorded_run_says_all_that_is_needed_to_repeat_it(name: str):
    recorded = read_json(RESULTS / f"{name}.json")
    assert recorded["command"].startswith("python -m ")
    assert recorded["environment"]["torch"] and len(recorded["values"]) > 10
    assert "/work" not in (RESULTS / f"{name}.json").read_text()


def test_the_recorded_objects_are_other_draws_than_the_page_s_and_as_large():
    recorded = read_json(RESULTS / "scda_objects.json")
    assert 0 not in recorded["seeds"] and len(recorded["seeds"]) >= 10
    values = expected_of("book")["01_scda"]
    assert recorded["settings"]["queries"] == values["queries"]["value"]
    assert recorded["settings"]["gallery"] == values["gallery"]["value"]


def test_nothing_is_chosen_on_the_queries():
    choosing = [cell for cell in cells() if "argmax(curve)" in cell]
    assert len(choosing) == 1
    before, _, after = choosing[0].partition("argmax(curve)")
    assert "val.box" in before and "queries" not in before.partition("factors = ")[2] and "queries.box" in after


def test_the_chapter_holds_every_equation_of_scda_that_chapter_00_does_not():
    text, code = "\n".join(in_markdown(read_json(CHAPTER))), "\n".join(cells())
    assert [n for n in range(1, 10) if f"(eq-scda-{n})" in text] == list(range(3, 10))
    assert all(f"[SCDA-{n}]" in code for n in range(1, 10))
