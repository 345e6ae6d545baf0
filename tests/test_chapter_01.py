"""Chapter 01 on other input than its own: photographs by folders, a network trained on ImageNet; and its records."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import t as student

from ask_lib.show.record import published_text
from tests.chapter import in_markdown, runner
from tests.realdata import realdata
from tools.expect import expected_of
from tools.project import ROOT, ToolError, read_json
from tools.results import result_text

CHAPTER = ROOT / "notebooks" / "01_scda.ipynb"
RESULTS = ROOT / "results"
run = runner("01_scda")


@pytest.mark.slow
@pytest.mark.realdata
def test_photographs_and_trained_weights(tmp_path: Path):
    weights = realdata("weights", "squeezenet1_0_imagenet.pt")
    flowers = realdata("flowers17")
    sizes = {"CHOICES": 34, "QUERIES": 51, "GALLERY": 51, "HARD": 4}
    values, text = run(tmp_path, IMAGES=str(flowers), WEIGHTS=str(weights), **sizes)
    assert "file squeezenet1_0_imagenet.pt (sha256 b0c3d38d)" in str(values["network"])
    assert "136 pictures read, 0 files skipped" in text and "136 pictures of 17 classes are used" in text
    assert values["choices"] == 34
    assert values["high_layer"] == "features.12" and values["low_layer"] == "features.10"
    assert values["channels"] == 512 and values["high_height"] == values["high_width"] == 13
    assert values["queries"] == values["gallery"] == 51 and values["classes"] == 17
    assert values["top1_avg_max"] > 5 * values["chance"]
    # What needs true masks, or the book's own network, is left out and says so.
    assert "no table" in text and "the book's VGG only" in text
    assert not {"box_scda", "under_true", "top1_fc8_gtbbox", "svm_tuned_scda"} & set(values)


@pytest.mark.slow
def test_weights_that_learned_nothing_find_little(tmp_path: Path):
    values, _ = run(tmp_path, WEIGHTS="none", EPOCHS=1)
    assert "untrained" in str(values["network"])
    assert values["top1_scda"] < 25


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
def test_a_small_folder_of_ones_own(tmp_path: Path):
    images = some_pictures(tmp_path / "images", {"": 2, "few": 3, "a": 4, "b": 5, "c": 8})
    values, text = run(tmp_path, IMAGES=str(images), BACKBONE="rooms_vgg", HARD=2)
    assert "17 pictures of 3 classes are used" in text
    # A quarter of each class, half up: 1 + 1 + 2 to choose on. Of the other 3, 4 and 6, half, half up, are the queries.
    assert (values["choices"], values["queries"], values["gallery"]) == (4, 7, 6)
    assert values["classes"] == 3


@pytest.mark.slow
def test_a_folder_without_two_classes_is_refused_at_once(tmp_path: Path):
    images = some_pictures(tmp_path / "images", {"": 9, "a": 9, "b": 3})
    with pytest.raises(ToolError, match="subfolders with four or more pictures each; this chapter needs two"):
        run(tmp_path, IMAGES=str(images), BACKBONE="rooms_vgg", HARD=2)


@pytest.mark.slow
def test_a_network_without_two_layers_of_maps_is_refused_at_once(tmp_path: Path):
    with pytest.raises(ToolError, match="vit_b_16 has no two layers of maps"):
        run(tmp_path, BACKBONE="vit_b_16", WEIGHTS="none")


def shown(role: str) -> list[str]:
    text = "\n".join(in_markdown(read_json(CHAPTER)))
    return sorted(set(re.findall(r"\{" + role + r"\}`([^`]+)`", text)))


@pytest.mark.parametrize("profile", ["smoke", "book"])
def test_every_value_that_the_text_shows_is_recorded(profile: str):
    values = expected_of(profile)["01_scda"]
    assert [name for name in shown("glue:text") if name.partition(":")[0] not in values] == []


def test_every_recorded_and_published_number_of_the_text_exists():
    recorded, published = shown("recorded"), shown("published")
    assert len(recorded) > 200 and len(published) > 40
    assert all(result_text(address)[0] for address in recorded)
    assert all(published_text(address) for address in published)


# Whether the page's own run lies where the recorded runs expect a further one: the text of Table 3 says this.
WITHIN = {
    **dict.fromkeys(["top1_scda", "top1_scda_flip_plus", "top1_avg", "box_scda", "box_above", "box_average"], True),
    **dict.fromkeys(["top1_max", "top1_avg_max", "top1_avg_max_flip", "top1_gem", "top1_max_selected"], False),
    "top1_r_mac": True,
    "under_middle": False,
    **{f"svm_frozen_{row}": True for row in ("avg", "avg_max", "scda", "scda_flip_plus")},
}


@pytest.mark.parametrize(("name", "within"), WITHIN.items())
def test_the_text_says_rightly_whether_the_pages_own_run_is_as_expected(name: str, within: bool):
    recorded = read_json(RESULTS / "scda_objects.json")
    live = expected_of("book")["01_scda"][name]["value"]
    mean, std, runs = recorded["values"][name], recorded["values"][f"{name} std"], len(recorded["seeds"])
    reach = float(student.ppf(0.975, runs - 1)) * std * (1 + 1 / runs) ** 0.5  # for one further run
    assert (abs(live - mean) <= reach) == within


def objects(name: str) -> float:
    return float(read_json(RESULTS / "scda_objects.json")["values"][name])


def recorded_names() -> list[str]:
    return list(read_json(RESULTS / "scda_objects.json")["values"])


def flower_splits(size: str, row: str) -> list[float]:
    return list(read_json(RESULTS / "scda_flowers17.json")["details"]["runs"][size][row]["top1"])


def flowers(name: str) -> float:
    return float(read_json(RESULTS / "scda_flowers17.json")["values"][name])


def paired(after: str, before: str) -> tuple[float, float]:
    """Student's interval of the mean difference of two rows of the same run, over the ten runs."""
    runs = read_json(RESULTS / "scda_objects.json")["details"]["runs"].values()
    gains = np.array([run[after] - run[before] for run in runs])
    reach = float(student.ppf(0.975, len(gains) - 1)) * gains.std(ddof=1) / len(gains) ** 0.5
    return float(gains.mean() - reach), float(gains.mean() + reach)


TABLE2 = ["top1_selectvlad", "top1_scda", "top1_avg_selected", "top1_max_selected", "top1_selectfv"]
PRESSED = ("pca", "svd", "svd_pluswhitening")
FLOWER_ROWS = (
    *("fc8_im", "avg", "max", "avg&max", "SCDA, all above", "SCDA", "SCDA+", "SCDA_flip+", "CroW", "GeM"),
    *("SPoC (without cen.)", "SPoC (with cen.)", "R-MAC", "VLAD", "Fisher vector", "selectVLAD", "selectFV"),
)
# What the text says in words of the recorded runs.
CLAIMS: dict[str, Callable[[], bool]] = {
    "no proof that the mask is worth anything": lambda: objects("gain_mask low") < 0 < objects("gain_mask high"),
    "SCDA_flip+ is above Pool5": lambda: objects("gain_all low") > 1,
    "the mirror helps with the mask": lambda: objects("gain_mirror low") > 0,
    "the mirror helps without it": lambda: objects("gain_mirror_plain low") > 0,
    "with a mirror for both little is left": lambda: objects("gain_fair low") < 0 < objects("gain_fair"),
    "the middle does better, query by query": lambda: objects("gain_over_middle high") < 0,
    "another frame's mask does worse, query by query": lambda: objects("gain_over_shuffled low") > 0,
    "the second layer adds nothing": lambda: objects("gain_layer low") < 0 < objects("gain_layer high"),
    "one layer and the mirror do nearly as well": lambda: (
        abs(objects("top1_scda_flip") - objects("top1_scda_flip_plus")) < 1
    ),
    "a box that never looks does better": lambda: objects("box_average low") > objects("box_scda high"),
    "SCDA's box is better than another frame's": lambda: objects("box_scda low") > objects("box_shuffled high"),
    "and than all cells'": lambda: objects("box_scda low") > objects("box_above high"),
    "Table 2 lies within two points": lambda: max(map(objects, TABLE2)) - min(map(objects, TABLE2)) < 2,
    "VLAD first, Fisher vector last": lambda: sorted(TABLE2, key=objects)[::4] == [TABLE2[-1], TABLE2[0]],
    "the true box lifts fc8": lambda: objects("top1_fc8_gtbbox low") > objects("top1_fc8_im high"),
    "SCDA's box lowers it": lambda: objects("top1_fc8_predbbox high") < objects("top1_fc8_im low"),
    "SPoC with its centre is the best row, whitened or not": lambda: (
        {*sorted((n for n in recorded_names() if re.fullmatch(r"top1_\w+", n)), key=objects)[-2:]}
        == {"top1_spoc_with_cen", "top1_spoc_with_cen_whitened"}
    ),
    "this page's draw favours all cells more than any other": lambda: (
        expected_of("book")["01_scda"]["gain_mask"]["value"]
        < min(run["gain_mask"] for run in read_json(RESULTS / "scda_objects.json")["details"]["runs"].values())
    ),
    "SPoC as it is leads by no more than chance": lambda: (
        paired("top1_spoc_with_cen", "top1_scda_flip_plus")[0] < 0 < objects("top1_spoc_with_cen")
    ),
    "the true mask finds nearly twice as many": lambda: 1.7 < objects("under_true") / objects("under_scda") < 2,
    "the middle does better": lambda: objects("under_middle low") > objects("under_scda high"),
    "another picture's mask does worse": lambda: objects("under_shuffled high") < objects("under_scda low"),
    "what is dropped finds far less": lambda: objects("under_dropped high") < objects("under_scda low") - 5,
    "a sixteenth costs about a point at most": lambda: all(
        objects("top1_scda_flip_plus") - objects(f"short_{kind}_16_top1") < 1.2 for kind in PRESSED
    ),
    "an eighth costs next to nothing": lambda: all(
        objects("top1_scda_flip_plus") - objects(f"short_{kind}_8_top1") < 0.5 for kind in PRESSED
    ),
    "fine-tuning lifts every row": lambda: all(
        objects(f"svm_tuned_{row} low") > objects(f"svm_frozen_{row} high")
        for row in ("avg", "avg_max", "scda", "scda_flip_plus")
    ),
    "after fine-tuning ten runs see no difference": lambda: objects("gain_tuned low") < 0 < objects("gain_tuned high"),
    "fc7 finds a little more": lambda: objects("open_fc7 low") > 0,
    "alpha of one classifies a little worse": lambda: objects("open_svm_alpha high") < 0,
    "the other open points lie within chance": lambda: all(
        objects(f"open_{name} low") <= 0 <= objects(f"open_{name} high")
        for name in ("four", "raw", "whole", "second_step", "bilinear", "earlier", "usual", "vlad", "own_piece")
    ),
    "flowers: it loses on the square, within chance": lambda: (
        flowers("crop224 SCDA gain mean") < 0 < flowers("crop224 SCDA gain high")
    ),
    "flowers: the middle wins on large ones too": lambda: flowers("area384 as many cells in the middle gain low") > 0,
    "flowers: and all pieces are as good": lambda: (
        abs(flowers("area384 SCDA gain mean") - flowers("area384 SCDA, all above gain mean")) < 0.5
    ),
    "flowers: it wins on large pictures": lambda: flowers("area384 SCDA gain low") > 0,
    "flowers: the threshold is not to blame": lambda: flowers("crop224 SCDA, all above gain low") > 0,
    "flowers: on the square the largest piece costs": lambda: flowers("crop224 the largest piece high") < 0,
    "flowers: as they come, too": lambda: flowers("own the largest piece high") < 0,
    "flowers: on the other two sizes it is within chance": lambda: all(
        flowers(f"{size} the largest piece low") < 0 < flowers(f"{size} the largest piece high")
        for size in ("area224", "area384")
    ),
    "flowers: between, SCDA's gain is within chance": lambda: all(
        flowers(f"{size} SCDA gain low") < 0 < flowers(f"{size} SCDA gain high") for size in ("area224", "own")
    ),
    "flowers: all pieces are ahead of all cells at each size": lambda: all(
        flowers(f"{size} SCDA, all above gain low") > 0 for size in ("crop224", "area224", "own", "area384")
    ),
    "flowers: in the shown split SCDA falls furthest behind": lambda: (
        int(np.argmin(np.subtract(*(flower_splits("crop224", row) for row in ("SCDA", "avg&max"))))) == 0
    ),
    "flowers: the second layer changes little": lambda: all(
        abs(flowers(f"{size} the second layer mean")) < 1.2 for size in ("crop224", "own")
    ),
    "flowers: the mirror is within chance at 224": lambda: all(
        flowers(f"{size} the mirror low") < 0 < flowers(f"{size} the mirror high") for size in ("crop224", "area224")
    ),
    "flowers: it helps as they come": lambda: flowers("own the mirror low") > 0,
    "flowers: with 64 axes the loss is smaller": lambda: (
        sum(
            flowers(f"area384 {row}, whitened 64 top1") > flowers(f"area384 {row}, whitened 256 top1")
            for row in FLOWER_ROWS
        )
        >= len(FLOWER_ROWS) - 2
    ),
    "flowers: what is thrown away costs": lambda: (
        flowers("crop224 gain of several") < -1 < flowers("crop224 gain of one piece")
    ),
    "flowers: whitening lowers nearly every row": lambda: (
        sum(flowers(f"area384 {row}, whitened 256 top1") < flowers(f"area384 {row} top1") for row in FLOWER_ROWS)
        >= len(FLOWER_ROWS) - 1
    ),
    "flowers: GeM is the best row at 224": lambda: (
        max(FLOWER_ROWS, key=lambda row: flowers(f"crop224 {row} top1")) == "GeM"
    ),
    "flowers: SCDA_flip+ is as good on large ones": lambda: (
        abs(flowers("area384 SCDA_flip+ top1") - flowers("area384 GeM top1")) < 1
    ),
}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS.keys())
def test_what_the_text_says_in_words_is_so_in_the_recorded_runs(claim: Callable[[], bool]):
    assert claim()


@pytest.mark.parametrize("name", ["scda_objects", "scda_flowers17"])
def test_a_recorded_run_says_all_that_is_needed_to_repeat_it(name: str):
    run = read_json(RESULTS / f"{name}.json")
    assert run["command"].startswith("python -m tools.")
    assert len(run["commit"]) >= 7 and not run["commit"].endswith("+changes")
    assert run["environment"]["torch"] and len(run["seeds"]) >= 5 and len(run["values"]) > 50
    assert "/work" not in (RESULTS / f"{name}.json").read_text()


def test_the_recorded_objects_are_other_draws_than_the_pages():
    run = read_json(RESULTS / "scda_objects.json")
    assert 0 not in run["seeds"] and set(run["details"]["runs"]) == {str(seed) for seed in run["seeds"]}
    assert run["settings"]["PROFILE"] == "book" and run["settings"]["IMAGES"] == ""


# Where the part that is judged on may be named: its drawing, its encoding, the tables, figures and controls made of it,
# the divisor of top-5 (which changes no choice), and the last exercise, which looks at it once.
JUDGING = {f"scda-{n}" for n in ("06", "30", "32", "36", "38", "39", "41", "43", "45", "48", "56", "60")}
JUDGED = r"test|query_(?:rows|maps)|scores|kept_boxes|found_box|controls|sets_of|accuracies"  # and what is made of it


def test_the_chapter_reads_the_queries_in_the_final_tables_only():
    cells = [cell for cell in read_json(CHAPTER)["cells"] if cell["cell_type"] == "code"]
    named = {c["id"] for c in cells if re.search(rf"(?<!evaluate\.)\b(?:{JUDGED})\b", "".join(c["source"]))}
    assert named == JUDGING
    choosing = ("scda-28", "scda-34", "scda-52", "scda-54", "scda-58", "scda-59")
    assert not named & set(choosing) and set(choosing) < {c["id"] for c in cells}


def test_the_chapter_holds_every_equation_of_scda_that_chapter_00_does_not():
    text = "\n".join(in_markdown(read_json(CHAPTER)))
    assert [n for n in range(1, 10) if f"(eq-scda-{n})" in text] == list(range(3, 10))
    assert all(f"**[SCDA-{n}]**" in text for n in range(3, 10))
