"""The figures' one style: what is drawn where, readable in both modes and by colour-blind readers."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from ask_lib.errors import ShapeError
from ask_lib.methods.scda import selection_mask
from ask_lib.show import plots
from tools.cover import draw_cover, keypoints, scene


@pytest.fixture(autouse=True)
def closed():  # type: ignore[no-untyped-def]
    with plots.style():
        yield
    plt.close("all")


def segments(mask: np.ndarray) -> set[tuple[tuple[float, float], tuple[float, float]]]:
    _, grid = plots.figure()
    plots.mask_outline(grid[0, 0], mask, extent=(0, mask.shape[1], mask.shape[0], 0))
    lines = grid[0, 0].collections[0].get_segments()
    return {tuple(sorted((tuple(a), tuple(b)))) for a, b in (line.tolist() for line in lines)}  # type: ignore[misc]


def outline_loop(mask: np.ndarray) -> set[tuple[tuple[float, float], tuple[float, float]]]:
    """Each cell's four edges, kept where the neighbour across is different."""
    height, width = mask.shape

    def inside(y: int, x: int) -> bool:
        return 0 <= y < height and 0 <= x < width and bool(mask[y, x])

    edges = set()
    for y in range(height):
        for x in range(width):
            corners = {(0, -1): ((x, y), (x, y + 1)), (0, 1): ((x + 1, y), (x + 1, y + 1)),
                       (-1, 0): ((x, y), (x + 1, y)), (1, 0): ((x, y + 1), (x + 1, y + 1))}  # fmt: skip
            for (dy, dx), edge in corners.items():
                if inside(y, x) and not inside(y + dy, x + dx):
                    edges.add(tuple((float(a), float(b)) for a, b in edge))
    return edges  # type: ignore[return-value]


@pytest.mark.parametrize("seed", range(4))
def test_the_outline_follows_the_cells_edges(seed: int):
    mask = np.random.default_rng(seed).random((5, 7)) > 0.5
    assert segments(mask) == outline_loop(mask)


def test_an_empty_mask_has_no_outline_and_a_full_one_a_frame():
    assert segments(np.zeros((3, 4), bool)) == set()
    assert len(segments(np.ones((3, 4), bool))) == 2 * (3 + 4)


def test_selected_dims_what_is_outside():
    _, grid = plots.figure()
    mask = np.array([[True, False], [False, False]])
    plots.selected(grid[0, 0], np.full((8, 8, 3), 200, np.uint8), mask)
    veil = grid[0, 0].images[1].get_array()
    assert (np.asarray(veil)[..., 3] > 0).tolist() == (~mask).tolist()


def test_a_batch_is_refused_where_a_map_is_meant():
    _, grid = plots.figure()
    with pytest.raises(ShapeError, match="Take one image's map"):
        plots.heat_map(grid[0, 0], np.zeros((1, 3, 3)))


def test_the_style_is_one_and_white_paper():
    assert mpl.rcParams["figure.facecolor"] == "white"
    assert (
        mpl.rcParams["axes.prop_cycle"].by_key()["color"][0] == plots.BLUE.removeprefix("#")
        or mpl.rcParams["axes.prop_cycle"].by_key()["color"][0].upper() == plots.BLUE
    )


def luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_the_two_main_colours_differ_in_lightness_too():
    light, dark = luminance(plots.ORANGE), luminance(plots.BLUE)
    assert (light + 0.05) / (dark + 0.05) > 2


def test_an_interrupted_save_leaves_no_broken_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "figure.svg"
    path.write_text("old")
    drawn, _ = plots.figure()
    monkeypatch.setattr(type(drawn), "savefig", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        plots.save_atomic(drawn, path)
    assert path.read_text() == "old"


def test_the_cover_has_a_real_mask_and_is_drawn_once(tmp_path: Path):
    path = tmp_path / "cover.png"
    draw_cover(path)
    first = path.stat().st_mtime_ns
    about = json.loads(Image.open(path).text["layout"])  # type: ignore[attr-defined]
    assert [len(about[key]) for key in ("columns", "rows", "pictures")] == [3, 2, 6]
    draw_cover(path)
    assert path.stat().st_mtime_ns == first and path.stat().st_size < 1_500_000
    found = scene()
    assert found.mask.tolist() == selection_mask(torch.from_numpy(found.maps)[None])[0].tolist()
    assert 0 < found.mask.sum() < found.mask.size


def test_the_covers_points_are_no_neighbours():
    points = keypoints(np.random.default_rng(0).random((7, 10)).astype(np.float32))
    assert len(points) == 6
    assert all(max(abs(a - c), abs(b - d)) > 1 for (a, b), (c, d) in itertools.combinations(points, 2))


def about(drawn: Figure) -> dict[str, list[float]]:
    return json.loads(plots.layout(drawn))  # type: ignore[no-any-return]


def test_a_layout_says_where_columns_rows_and_pictures_lie():
    drawn, grid = plots.figure(2, 3)
    for count, axes in enumerate(grid.flat):
        plots.heat_map(axes, np.ones((4, 4)), str(count), label="a long label" if count == 1 else "")
    found = about(drawn)
    assert len(found["columns"]) == 3 and len(found["rows"]) == 2 and len(found["pictures"]) == 7  # and a colour bar
    bar = max(box[2] for box in found["pictures"][:7] if box[0] < found["columns"][2])
    assert found["columns"][1] < bar < found["columns"][2]
    (top, _), (_, bottom) = found["rows"]
    assert all(top <= box[1] and box[3] <= bottom for box in found["pictures"])  # no row cuts a bar
    grid[1, 2].set_title("")
    assert about(drawn)["rows"] == [[0, 1]] and about(drawn)["columns"] == [0]  # rows that belong together


def test_a_layout_is_that_of_the_saved_picture(tmp_path: Path):
    drawn, grid = plots.figure(1, 2, size=(6, 2))
    for axes in grid.flat:
        plots.picture(axes, np.zeros((30, 40, 3), np.uint8), "black")
    plots.save_atomic(drawn, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        boxes = json.loads(image.text["layout"])["pictures"]  # type: ignore[attr-defined]
        dark = np.asarray(image.convert("L")) < 128
    for left, top, right, bottom in boxes:
        rows = slice(round(top * dark.shape[0]) + 2, round(bottom * dark.shape[0]) - 2)
        columns = slice(round(left * dark.shape[1]) + 2, round(right * dark.shape[1]) - 2)
        assert dark[rows, columns].all()
        dark[rows.start - 4 : rows.stop + 4, columns.start - 4 : columns.stop + 4] = False
    assert dark[round(0.4 * dark.shape[0]) :].sum() == 0  # all else is paper, and the titles above


def test_a_column_is_no_wider_than_a_phone_can_show():
    assert plots.figure(size=(9, 3))[0].get_size_inches().tolist() == [plots.WIDEST, 3]
    assert plots.figure(1, 4, size=(9, 3))[0].get_size_inches().tolist() == [9, 3]


def test_a_heat_map_lies_on_its_pictures_grid():
    _, grid = plots.figure()
    axes = plots.heat_map(grid[0, 0], np.ones((3, 5)), over=np.zeros((60, 100, 3), np.uint8))
    below, above = axes.images
    assert below.get_extent() == above.get_extent() == [-0.5, 99.5, 59.5, -0.5]
    assert np.asarray(above.get_array()).shape == (3, 5) and 0 < above.get_alpha() < 1


def test_intervals_show_means_ends_and_marked_names():
    _, grid = plots.figure()
    axes = plots.intervals(grid[0, 0], ["a", "b"], [1, 2], [0.5, 1.5], [1.5, 2.5], label="score", marked=["b"])
    bars, dots = axes.lines[0::2], axes.lines[1::2]
    assert [list(line.get_xdata()) for line in bars] == [[0.5, 1.5], [1.5, 2.5]]
    assert [line.get_marker() for line in dots] == ["o", "s"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"]
    assert axes.get_ylim() == (1.5, -0.5) and axes.get_xlabel() == "score"
    with pytest.raises(ValueError, match="zip"):
        plots.intervals(grid[0, 0], ["a"], [1, 2], [0, 0], [1, 1], label="x")


NASTY = ["a$b_$c.png", r"\frac{x", "$", "{picture}", "line\nbreak", "bell\x07\x1b[31m", "byte\udcff", "<b>&amp;</b>"]


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
@pytest.mark.filterwarnings("ignore:Glyph")
def test_every_text_is_shown_as_it_is(text: str):
    drawn, grid = plt.subplots(1, 3)  # of any style
    image, ones = np.zeros((4, 4, 3), np.uint8), np.ones((2, 2))
    plots.picture(grid[0], image, text)
    plots.heat_map(grid[1], ones, text, label=text)
    plots.intervals(grid[2], [text], [1.0], [0.5], [1.5], label=text, title=text)
    drawn.canvas.draw()
    safe = text.replace("\x07", "\\x07").replace("\x1b", "\\x1b").replace("\udcff", "\\udcff")
    texts = [each.get_title() for each in grid] + [each.get_xlabel() for each in grid[2:]]
    texts += [each.get_yticklabels()[0].get_text() for each in grid[2:]] + [grid[1].child_axes[0].get_ylabel()]
    assert texts == [safe] * 6
