"""The figures' one style: what is drawn where, readable in both modes and by colour-blind readers."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from ask_lib.errors import ShapeError
from ask_lib.show import plots
from tools.cover import draw_cover


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


def test_the_cover_is_the_same_each_time(tmp_path: Path):
    for name in ("a.svg", "b.svg"):
        draw_cover(tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.svg").stat().st_size < 300_000


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
    drawn, grid = plt.subplots(1, 5)  # of any style
    image, ones = np.zeros((4, 4, 3), np.uint8), np.ones((2, 2))
    plots.picture(grid[0], image, text)
    plots.heat_map(grid[1], ones, text, label=text)
    plots.bars(grid[2], [text], [1.0], label=text, title=text)
    plots.intervals(grid[3], [text], [1.0], [0.5], [1.5], label=text, title=text)
    plots.dots(grid[4], [text], np.ones((1, 2)), label=text, title=text)
    drawn.canvas.draw()
    safe = text.replace("\x07", "\\x07").replace("\x1b", "\\x1b").replace("\udcff", "\\udcff")
    texts = [each.get_title() for each in grid] + [each.get_xlabel() for each in grid[2:]]
    texts += [each.get_yticklabels()[0].get_text() for each in grid[2:]] + [drawn.axes[-1].get_ylabel()]
    assert texts == [safe] * 12
