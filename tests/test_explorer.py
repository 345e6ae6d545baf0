from __future__ import annotations

import io
import itertools
import json
import math
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ask_lib.errors import ChoiceError, RangeError, ShapeError
from ask_lib.evaluate.localisation import mask_iou
from ask_lib.methods.descriptors import above_mean, resize_mask
from ask_lib.methods.scda import largest_component
from ask_lib.show.explorer import COMPONENTS, Explorer, fill, fixed
from tests.browser import open_browser, open_page
from tools.static_widgets import STATE, VIEW, StaticWidgetError, bundle, slim_notebook, stylesheet

PICTURE = np.full((60, 80, 3), 128, np.uint8)
ALT = "Activation map of {picture}: {kept} of {cells} cells kept."

# The maps of the test page. "ties" has cells equal to its mean (2), to 1.5 and to 0.5 times it; the mean of "close" is
# its largest value in float32, and below it in float64.
MAPS = {
    "random": np.random.default_rng(0).random((13, 13), dtype=np.float32),
    "ties": np.array([[1, 2, 3], [2, 2, 2]], np.float32),
    "constant": np.full((4, 5), 0.1, np.float32),
    "tiny numbers": (np.random.default_rng(1).random((7, 9)) * 1e-30).astype(np.float32),
    "close": np.array([[0.1, np.nextafter(np.float32(0.1), np.float32(1))]], np.float32),
}

CELLS = [
    """
    import numpy as np
    from ask_lib.show.explorer import Explorer
    maps = {
        "random": np.random.default_rng(0).random((13, 13), dtype=np.float32),
        "ties": np.array([[1, 2, 3], [2, 2, 2]], np.float32),
        "constant": np.full((4, 5), 0.1, np.float32),
        "tiny numbers": (np.random.default_rng(1).random((7, 9)) * 1e-30).astype(np.float32),
        "close": np.array([[0.1, np.nextafter(np.float32(0.1), np.float32(1))]], np.float32),
    }
    y, x = np.mgrid[0:240, 0:320]
    picture = np.stack([x * 255 // 320, y * 255 // 240, 128 + 0 * x], axis=-1).astype(np.uint8)
    cells = Explorer.threshold(
        {name: picture for name in maps}, maps, label="Threshold γ",
        alt="Activation map of {picture}: {kept} of {cells} cells kept.",
        keypoints={name: [[2, 1], [1, 1], [0, 0]] for name in maps}, top=[0, 1, 2, 3],
    )
    cells
    """,
    "cells  # a second view of the same",
    """
    import matplotlib.figure
    def render(K, kind):
        figure = matplotlib.figure.Figure(figsize=(4, 2.5))
        figure.subplots().bar(range(K), range(1, K + 1), color="C0" if kind == "a" else "C1")
        return figure
    frames = Explorer.frames(render, {"K": [1, 2, 3], "kind": ["a", "b"]}, labels={"K": "Points K", "kind": "Kind"},
                             alt="{K} bars",
                             readout=lambda K, kind: f"{K} points of {kind} </script> & <b> <!--<script> </SCRIPT >")
    frames
    """,
    """
    lazy = Explorer.frames(
        lambda K: render(K, "a"), {"K": [1, 2]}, alt="{K} bars", readout="{K} points", precompute=False
    )
    lazy
    """,
    """
    import ipywidgets
    bar = ipywidgets.IntProgress(value=3, max=10)
    display(ipywidgets.HBox([bar]))
    print("after")
    """,
    """
    draw = np.random.default_rng(2)
    shapes = {"random": (13, 13), "wide": (7, 10), "fine": (15, 20), "equal pieces": (2, 5)}
    truth_maps = {name: draw.random(shape, dtype=np.float32) for name, shape in shapes.items()}
    truth_maps["equal pieces"] = np.array([[3, 0, 0, 3, 0], [3, 0, 0, 0, 3]], np.float32)
    y, x = np.mgrid[0:61, 0:83]
    truths = {name: (x - 40) ** 2 + (y - 30) ** 2 < 90 * (i + 1) for i, name in enumerate(truth_maps)}
    truths["equal pieces"][:] = False
    Explorer.threshold(
        {name: picture for name in truth_maps}, truth_maps, truth=truths, component=True,
        alt="{picture}: {kept} cells kept, {component}.", readout="{kept} kept ({component}), IoU {iou:.4f}",
    )
    """,
]

SHAPES = {"random": (13, 13), "wide": (7, 10), "fine": (15, 20), "equal pieces": (2, 5)}


def truth_maps() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(2)
    maps = {name: draw.random(shape, dtype=np.float32) for name, shape in SHAPES.items()}
    maps["equal pieces"] = np.array([[3, 0, 0, 3, 0], [3, 0, 0, 0, 3]], np.float32)  # the left piece comes first
    return maps


def truths() -> dict[str, np.ndarray]:
    """Discs on a grid of odd lengths; the last one empty."""
    y, x = np.mgrid[0:61, 0:83]
    masks = {name: (x - 40) ** 2 + (y - 30) ** 2 < 90 * (i + 1) for i, name in enumerate(SHAPES)}
    masks["equal pieces"][:] = False
    return masks


def with_truth() -> Explorer:
    return Explorer.threshold(
        dict.fromkeys(SHAPES, PICTURE), truth_maps(), truth=truths(), component=True,
        alt="{picture}: {kept} cells kept, {component}.", readout="{kept} kept ({component}), IoU {iou:.4f}",
    )  # fmt: skip


# ---- the Python side


def test_fixed_rounds_halves_away_from_zero_and_has_no_minus_zero():
    assert [fixed(2.5, 0), fixed(-2.5, 0), fixed(0.125, 2), fixed(1.005, 2)] == ["3", "-3", "0.13", "1.00"]
    assert [fixed(-0.0, 2), fixed(-0.001, 2), fixed(20.118, 1)] == ["0.00", "0.00", "20.1"]
    with pytest.raises(RangeError):
        fixed(math.nan, 1)


def test_fill_knows_values_decimals_and_braces():
    fields = {"t": (1.0, "1.00 × mean"), "p": (20.118, None), "word": (None, "a")}
    assert fill("{{{t}}} {p:.1f} % {word} {t:.1f}", fields) == "{1.00 × mean} 20.1 % a 1.0"
    for wrong in ("{nothing}", "{p}", "{word:.1f}", "{t", "{t:d}"):
        with pytest.raises(ChoiceError):
            fill(wrong, fields)


def test_threshold_counts_as_the_library_does():
    explorer = Explorer.threshold(dict.fromkeys(MAPS, PICTURE), MAPS, alt=ALT)
    for name, held in MAPS.items():
        for at in range(61):
            state = explorer.state_at(picture=name, threshold=at * 0.05)
            wanted = above_mean(torch.from_numpy(held)[None], round(at * 0.05, 2))[0].numpy()
            assert (state["mask"] == wanted).all()
            assert state["kept"] == wanted.sum()
    assert explorer.state_at(picture="constant")["kept"] == 0
    assert explorer.state_at(picture="ties", threshold=1)["kept"] == 1  # equal to the mean is not above it
    assert explorer.state_at(picture="ties")["readout"] == "1 of 6 cells kept (16.7 %), threshold 1.00 × mean"


def test_layers_keypoints_and_their_number():
    maps = {"room": {"early": np.eye(4), "late": np.eye(2)}}
    points = {"room": {"early": [[0, 0], [1, 2], [3, 3]], "late": [[0, 0]]}}
    explorer = Explorer.threshold({"room": PICTURE}, maps, alt="{layer} {points}", keypoints=points, top=[1, 2])
    assert explorer.values == {"picture": "room", "layer": "early", "threshold": 1.0, "top": 2}
    assert explorer.state_at(layer="late")["alt"] == "late 1"
    assert explorer.state_at(layer="early", top=2)["points"] == 2
    assert np.frombuffer(explorer.arrays[1], "<f4").tolist() == [0, 0, 1, 2, 3, 3]
    assert [control["kind"] for control in explorer.spec["controls"]] == ["select", "select", "range", "range"]


def test_overlap_with_the_truth_is_the_librarys():
    explorer = with_truth()
    for name, held in truth_maps().items():
        for at, component in itertools.product(range(0, 61, 3), COMPONENTS):
            state = explorer.state_at(picture=name, threshold=at * 0.05, component=component)
            kept = above_mean(torch.from_numpy(held)[None], round(at * 0.05, 2))
            kept = largest_component(kept) if component == COMPONENTS[0] else kept
            truth = torch.from_numpy(truths()[name])[None]
            assert (state["mask"] == kept[0].numpy()).all()
            assert state["iou"] == pytest.approx(float(mask_iou(resize_mask(kept, (61, 83)), truth)[0]), abs=1e-12)
    assert explorer.state_at(picture="equal pieces", component=COMPONENTS[0])["mask"].tolist() == [
        [True, False, False, False, False],
        [True, False, False, False, False],
    ]
    assert explorer.state_at(picture="equal pieces", threshold=3)["iou"] == 1  # nothing kept, and nothing to find
    assert [control["name"] for control in explorer.spec["controls"]] == ["picture", "threshold", "component"]
    assert len(explorer.arrays[1]) == math.ceil(61 * 83 / 8)


def test_truth_and_component_are_optional_and_checked():
    bare = Explorer.threshold(PICTURE, np.eye(3), alt="x")
    assert "iou" not in bare.state_at()
    assert bare.spec["scenes"][0]["truth"] is None and len(bare.arrays) == 1
    with pytest.raises(ChoiceError, match="iou"):
        Explorer.threshold(PICTURE, np.eye(3), alt="x", readout="{iou:.2f}")
    with pytest.raises(ShapeError, match="bool"):
        Explorer.threshold(PICTURE, np.eye(3), alt="x", truth=np.ones((6, 8)))
    with pytest.raises(ChoiceError, match="truth"):
        Explorer.threshold({"a": PICTURE, "b": PICTURE}, {"a": np.eye(2), "b": np.eye(2)}, alt="x",
                           truth={"a": np.ones((6, 8), bool)})  # fmt: skip


def test_threshold_says_what_is_wrong():
    with pytest.raises(ChoiceError, match=r"kepd.*Did you mean 'kept'"):
        Explorer.threshold(PICTURE, np.eye(3), alt="{kepd}")
    with pytest.raises(RangeError, match="high"):
        Explorer.threshold(PICTURE, np.eye(3), alt="x", high=0.5)
    with pytest.raises(ShapeError, match="uint8"):
        Explorer.threshold(PICTURE / 255, np.eye(3), alt="x")
    with pytest.raises(ShapeError, match=r"\(h, w\)"):
        Explorer.threshold(PICTURE, np.zeros((1, 3, 3)), alt="x")
    with pytest.raises(RangeError, match="finite"):
        Explorer.threshold(PICTURE, np.full((2, 2), np.nan), alt="x")
    with pytest.raises(ChoiceError, match="maps"):
        Explorer.threshold({"a": PICTURE, "b": PICTURE}, {"a": np.eye(2)}, alt="x")


def encoded(shade: int) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, shade, shade)).save(made, "png")
    return made.getvalue()


def test_frames_are_ready_and_the_same_picture_is_sent_once():
    explorer = Explorer.frames(
        lambda K, p: encoded(min(K, 2)), {"K": [1, 2, 3], "p": ["x", "y"]}, alt="{K:.1f} {p}", readout="{K}"
    )
    assert len(explorer.spec["stills"]) == 6
    assert len(explorer.images) == 2
    assert explorer.state_at(K=3, p="y") == {"values": {"K": 3, "p": "y"}, "alt": "3.0 y", "readout": "3"}
    assert (explorer.images[0]["width"], explorer.images[0]["mime"]) == (8, "image/png")


def test_frames_that_are_not_ready_are_made_once_when_chosen():
    calls = []
    explorer = Explorer.frames(
        lambda K: calls.append(K) or encoded(K), {"K": [1, 2, 3]}, alt="{K}", readout="{K}", precompute=False
    )
    assert calls == [1]
    assert explorer.current == {}
    explorer.choose(K=3)
    assert calls == [1, 3]
    assert explorer.current["at"] == [2]
    assert explorer.current["image"]["data"] == encoded(3)
    explorer.choose(K=1)
    explorer.choose(K=3)
    assert calls == [1, 3]


def test_a_render_that_fails_says_so_in_the_page_and_in_the_kernel():
    def render(K: int) -> bytes:
        return encoded(K) if K < 2 else encoded(int("many"))

    explorer = Explorer.frames(render, {"K": [1, 2]}, alt="{K}", readout="{K}", precompute=False)
    with pytest.raises(ValueError, match="many"):
        explorer.choose(K=2)
    assert explorer.current["error"].startswith("ValueError: invalid literal")


def test_figures_are_closed():
    import matplotlib.pyplot as plt

    explorer = Explorer.frames(
        lambda K: plt.figure(figsize=(2, 1)), {"K": [1, 2]}, alt="{K}", readout="{K}", fmt="webp"
    )
    assert plt.get_fignums() == []
    assert explorer.images[0]["mime"] == "image/webp"
    assert explorer.images[0]["show"] == 192


def test_index_from_a_page_is_checked():
    explorer = Explorer.threshold(PICTURE, np.eye(3), alt="x")
    for wrong in ([99], [-1], [0, 0], []):
        with pytest.raises(RangeError):
            explorer.index = wrong
    with pytest.raises(ChoiceError):
        explorer.choose(gamma=1)


def test_what_stands_in_for_the_sliders_says_what_they_would():
    explorer = Explorer.threshold(PICTURE, np.eye(3), alt="x")
    assert repr(explorer) == "Explorer: 3 of 9 cells kept (33.3 %), threshold 1.00 × mean (sliders: Threshold)"


def test_texts_of_a_user_are_printable():
    name = "a$b_{c}\n\x1b\udcff"
    cells = Explorer.threshold({name: PICTURE}, {name: np.eye(3)}, alt="{picture}", label=name)
    frames = Explorer.frames(lambda p: encoded(1), {"p": [name]}, alt="{p}", readout=lambda p: p, labels={"p": name})
    safe = r"a$b_{c}\n\x1b\udcff"
    assert cells.state_at(picture=name)["alt"] == cells.spec["controls"][1]["label"] == safe
    assert frames.state_at() == {"values": {"p": name}, "alt": safe, "readout": safe}
    for explorer in (cells, frames):
        assert json.dumps(explorer.spec, ensure_ascii=False).encode()


# ---- the rendered page


def notebook() -> dict[str, Any]:
    import textwrap

    import nbclient
    import nbformat

    sources = [textwrap.dedent(cell).strip() for cell in CELLS]
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    nbclient.NotebookClient(nb, timeout=120, kernel_name="python3").execute()
    return json.loads(nbformat.writes(nb))


def page_of(nb: dict[str, Any]) -> str:
    """A page as myst-nb writes it: the state once, every output's HTML in its place."""
    state = json.dumps(nb["metadata"]["widgets"][STATE]).replace("</script>", r"<\/script>")
    outputs = [
        "".join(output["data"]["text/html"])
        for cell in nb["cells"]
        for output in cell["outputs"]
        if "text/html" in output.get("data", {})
    ]
    lost = f'<script type="{VIEW}">{{"model_id": "no such model"}}</script>'
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        "<title>Explorer</title><link rel=stylesheet href=explorer.css><script src=explorer.js></script>"
        f'<script type="{STATE}">{state}</script><body>{"<hr>".join([*outputs, lost])}</body>'
    )


@pytest.fixture(scope="module")
def executed() -> dict[str, Any]:
    return notebook()


@pytest.fixture(scope="module")
def site(executed: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    slim = slim_notebook(executed, folder / "frames", "frames/")
    (folder / "explorer.js").write_text(bundle(), encoding="utf-8")
    (folder / "explorer.css").write_text(stylesheet(), encoding="utf-8")
    (folder / "index.html").write_text(page_of(slim), encoding="utf-8")
    return folder / "index.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as started:
        yield started


def test_slimming_leaves_data_only(executed: dict[str, Any], tmp_path: Path):
    before = json.dumps(executed)
    slim = slim_notebook(executed, tmp_path, "../_static/frames/")
    assert json.dumps(executed) == before
    models = list(slim["metadata"]["widgets"][STATE]["state"].values())
    assert len(models) == 4
    text = json.dumps(slim["metadata"])
    assert "_esm" not in text
    assert "_css" not in text
    assert "<" not in text
    assert len(text) < 40_000 < len(json.dumps(executed["metadata"]))
    urls = set(re.findall(r'"url": "([^"]*)"', text))
    assert {Path(url).name for url in urls} == {path.name for path in tmp_path.iterdir()}
    assert all(url.startswith("../_static/frames/") for url in urls)
    views = [cell["outputs"] for cell in slim["cells"]]
    assert [len(outputs) for outputs in views] == [
        1,
        1,
        1,
        1,
        1,
        1,
    ]  # no progress bar, but what was printed
    assert all(VIEW not in output.get("data", {}) for outputs in views for output in outputs)
    assert "<noscript>" in views[0][0]["data"]["text/html"]
    assert views[0][0]["data"]["text/plain"]


def test_slimming_refuses_an_explorer_without_its_state(executed: dict[str, Any], tmp_path: Path):
    lost = {**executed, "metadata": {}}
    with pytest.raises(StaticWidgetError, match="cell 0"):
        slim_notebook(lost, tmp_path, "")


def test_slimming_passes_a_notebook_without_widgets(tmp_path: Path):
    plain = {"metadata": {}, "cells": [{"cell_type": "markdown", "source": "x", "metadata": {}}]}
    assert slim_notebook(plain, tmp_path, "") == plain


@pytest.mark.browser
def test_page_counts_as_python_does(site: Path, browser: Any):
    explorer = Explorer.threshold(dict.fromkeys(MAPS, PICTURE), MAPS, alt=ALT)
    with open_page(site, browser) as visit:
        said = visit.page.evaluate(
            """() => {
                const root = document.querySelector(".ask-explorer"), said = [];
                const [picture, slider] = root.querySelectorAll("select, input");
                const move = (input, at) => { input.value = at; input.dispatchEvent(new Event("input")); };
                for (let p = 0; p < picture.options.length; p++) {
                    move(picture, p);
                    for (let t = 0; t <= slider.max; t++) {
                        move(slider, t);
                        said.push([root.querySelector("output").textContent, root.querySelector("img").alt,
                                   slider.getAttribute("aria-valuetext")]);
                    }
                }
                return said;
            }"""
        )
        assert visit.problems == []
    wanted = []
    for name in MAPS:
        for at in range(61):
            state = explorer.state_at(picture=name, threshold=at * 0.05)
            wanted.append([state["readout"], state["alt"], f"{fixed(at * 0.05, 2)} × mean"])
    assert said == wanted


@pytest.mark.browser
def test_page_finds_components_and_overlaps_as_python_does(site: Path, browser: Any):
    explorer = with_truth()
    with open_page(site, browser) as visit:
        said = visit.page.evaluate(
            """() => {
                const root = document.querySelectorAll(".ask-explorer")[4], said = [];
                const [picture, slider, component] = root.querySelectorAll("select, input");
                const move = (input, at) => { input.value = at; input.dispatchEvent(new Event("input")); };
                for (let p = 0; p < picture.options.length; p++) {
                    move(picture, p);
                    for (let c = 0; c < 2; c++) {
                        move(component, c);
                        for (let t = 0; t <= slider.max; t++) {
                            move(slider, t);
                            said.push([root.querySelector("output").textContent, root.querySelector("img").alt]);
                        }
                    }
                }
                return said;
            }"""
        )
        assert visit.problems == []
    states = [
        explorer.state_at(picture=name, component=component, threshold=at * 0.05)
        for name, component, at in itertools.product(SHAPES, COMPONENTS, range(61))
    ]
    assert said == [[state["readout"], state["alt"]] for state in states]
    assert len({line for line, _ in said}) > 100


@pytest.mark.browser
def test_the_drawing_shows_the_true_outline(site: Path, browser: Any):
    with open_page(site, browser) as visit:
        blue = visit.page.evaluate(
            """() => {
                const canvas = document.querySelectorAll(".ask-explorer canvas")[4];
                const context = canvas.getContext("2d");
                const held = context.getImageData(0, 0, canvas.width, canvas.height).data, seen = [];
                for (let i = 0; i < held.length; i += 4) {
                    const near = [86, 180, 233].every((value, c) => Math.abs(held[i + c] - value) < 12);
                    if (near && held[i + 3] > 240) {
                        const [x, y] = [(i / 4) % canvas.width, Math.floor(i / 4 / canvas.width)];
                        seen.push([x / canvas.width, y / canvas.height]);
                    }
                }
                return seen;
            }"""
        )
    x, y = np.array(blue).T
    radius = np.hypot(x * 83 - 40.5, y * 61 - 30.5)  # the disc of the first picture: 90 pixels within
    assert len(blue) > 100 and radius.min() > 7 and radius.max() < 12


@pytest.mark.browser
def test_page_formats_numbers_as_python_does(browser: Any):
    draw = random.Random(0)
    numbers = [draw.uniform(-1000, 1000) for _ in range(300)] + [draw.randint(-4000, 4000) / 16 for _ in range(300)]
    numbers += [0.0, -0.0, -0.001, 1e-300, 1e20, 2.5, 0.125, 1.005]
    source = re.search(r"function fixed.*?\n}", bundle(), re.S)
    assert source
    with open_page("about:blank", browser) as visit:
        said = visit.page.evaluate(f"(all) => {{ {source[0]}; return all.map((x, i) => fixed(x, i % 5)); }}", numbers)
    assert said == [fixed(number, at % 5) for at, number in enumerate(numbers)]


@pytest.mark.browser
def test_keyboard_and_mouse_move_the_slider_and_both_views(site: Path, browser: Any):
    explorer = Explorer.threshold(dict.fromkeys(MAPS, PICTURE), MAPS, alt=ALT)
    with open_page(site, browser) as visit:
        roots = visit.page.locator(".ask-explorer")
        assert roots.count() == 5
        first, second = roots.nth(0), roots.nth(1)
        slider = first.get_by_label("Threshold γ")

        def check(threshold: float) -> None:
            state = explorer.state_at(picture="random", threshold=threshold)
            for view in (first, second):
                assert view.locator("output").inner_text() == state["readout"]
                assert view.locator("img").get_attribute("alt") == state["alt"]

        check(1)
        visit.page.keyboard.press("Tab")  # the select of the picture
        visit.page.keyboard.press("Tab")
        assert visit.page.evaluate("document.activeElement.type") == "range"
        visit.page.keyboard.press("ArrowRight")
        check(1.05)
        visit.page.keyboard.press("ArrowDown")
        visit.page.keyboard.press("ArrowLeft")
        check(0.95)
        visit.page.keyboard.press("Home")
        check(0)
        visit.page.keyboard.press("End")
        check(3)
        visit.page.keyboard.press("PageDown")
        assert float(slider.input_value()) < 60
        visit.page.keyboard.press("Home")
        box = slider.bounding_box()
        visit.page.mouse.move(box["x"] + 9, box["y"] + box["height"] / 2)
        visit.page.mouse.down()
        visit.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=5)
        visit.page.mouse.up()
        check(1.5)
        first.get_by_label("Picture").select_option("ties")
        assert first.locator("img").get_attribute("alt") == explorer.state_at(picture="ties", threshold=1.5)["alt"]
        assert visit.foreign() == []
        assert visit.problems == []


@pytest.mark.browser
def test_the_drawing_shows_the_kept_cells(site: Path, browser: Any):
    held = MAPS["random"]
    explorer = Explorer.threshold(PICTURE, held, alt="x")
    with open_page(site, browser, device_scale_factor=2) as visit:
        # A theme's rule for pictures must not shift the picture under its drawing.
        visit.page.add_style_tag(content="html body img:not(.x) { padding: 6px; margin: 9px; border: 3px solid red; }")
        visit.page.locator(".ask-explorer").nth(0).get_by_label("Keypoints").fill("0")
        drawn = visit.page.evaluate(
            """([rows, columns]) => {
                const canvas = document.querySelector(".ask-explorer canvas"), context = canvas.getContext("2d");
                const cells = [];
                for (let y = 0; y < rows; y++) for (let x = 0; x < columns; x++) {
                    const at = [(x + 0.5) * canvas.width / columns, (y + 0.5) * canvas.height / rows].map(Math.floor);
                    cells.push(context.getImageData(...at, 1, 1).data[0] > 128);
                }
                const picture = document.querySelector(".ask-explorer img"), style = getComputedStyle(picture);
                const [a, b] = [picture, canvas].map((node) => node.getBoundingClientRect());
                const apart = ["x", "y", "width", "height"].map((side) => Math.abs(a[side] - b[side]));
                const inset = ["paddingLeft", "borderTopWidth", "marginLeft"].map((name) => parseFloat(style[name]));
                return { cells, ratio: canvas.width / canvas.clientWidth, off: Math.max(...apart, ...inset) };
            }""",
            list(held.shape),
        )
    assert drawn["cells"] == explorer.state_at()["mask"].ravel().tolist()
    assert drawn["ratio"] == 2
    assert drawn["off"] < 0.01


@pytest.mark.browser
def test_frames_follow_slider_and_select(site: Path, browser: Any):
    with open_page(site, browser) as visit:
        frames = visit.page.locator(".ask-explorer").nth(2)
        assert frames.locator("output").inner_text() == "1 points of a </script> & <b> <!--<script> </SCRIPT >"
        before = frames.locator("img").get_attribute("src")
        assert before.startswith("frames/")
        frames.get_by_label("Points K").focus()
        visit.page.keyboard.press("ArrowRight")
        assert frames.locator("img").get_attribute("src") != before
        assert frames.locator("img").get_attribute("alt") == "2 bars"
        frames.get_by_label("Kind").select_option("b")
        assert frames.locator("output").inner_text() == "2 points of b </script> & <b> <!--<script> </SCRIPT >"
        assert visit.page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 0 && i.alt)")
        lazy = visit.page.locator(".ask-explorer").nth(3)
        lazy.get_by_label("K").press("ArrowRight")
        assert "running kernel" in lazy.locator("output").inner_text()
        assert lazy.locator("img").get_attribute("alt") == "1 bars"  # still the picture that is shown
        lazy.get_by_label("K").press("ArrowLeft")
        assert lazy.locator("output").inner_text() == "1 points"
        assert visit.problems == []


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
def test_fits_a_phone_and_shows_focus(site: Path, browser: Any, dark: bool):
    with open_page(site, browser, width=390, height=844, dark=dark, has_touch=True, is_mobile=True) as visit:
        assert visit.overflow() <= 0
        visit.page.keyboard.press("Tab")
        visit.page.keyboard.press("Tab")
        style = "getComputedStyle(document.activeElement)"
        assert visit.page.evaluate(f"{style}.outlineStyle + parseFloat({style}.outlineWidth)") == "solid3"
        assert visit.page.evaluate("document.activeElement.getBoundingClientRect().height") >= 44
        visit.page.locator(".ask-explorer").nth(0).get_by_label("Threshold γ").tap()
        assert visit.problems == []


@pytest.mark.browser
def test_a_reader_without_javascript_sees_the_first_picture(site: Path, browser: Any):
    with open_page(site, browser, java_script_enabled=False) as visit:
        assert visit.page.locator("noscript img").count() == 5
        assert "need JavaScript" in visit.page.inner_text("body")
        assert "cells kept" in visit.page.inner_text("body")
        assert visit.problems == []


def test_a_truth_for_each_layer_is_refused_in_words():
    truth = {"a": {"low": np.zeros((60, 80), bool), "high": np.zeros((60, 80), bool)}}
    layers = {"a": {"low": np.ones((3, 4)), "high": np.ones((3, 4))}}
    with pytest.raises(ChoiceError, match="expected one for the picture, got one for each of low, high"):
        Explorer.threshold({"a": PICTURE}, layers, truth=truth, alt="{picture}")
