"""Numbers, equations and figures as the pages set them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tools.equations import address, in_brackets
from tools.numerals import rounded, typeset
from tools.panels import darkened, layout_of, parts_of
from tools.results import printed


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("-1.5", "\u22121.5"),
        ("+1.5", "+1.5"),
        ("-0.0", "0.0"),
        ("+0.00", "0.00"),
        ("-0%", "0%"),
        ("-0.01", "\u22120.01"),
        ("-.5", "\u2212.5"),
        ("(-1.2 to -0.3)", "(\u22121.2 to \u22120.3)"),
        ("81.0 \u00b1 0.4", "81.0\u00a0\u00b1\u00a00.4"),
        ("81.0\u00b10.4", "81.0\u00b10.4"),
        ("2026-11-27", "2026-11-27"),
        ("resnet-18 and ASK-1", "resnet-18 and ASK-1"),
        ("1e-5", "1e-5"),
    ],
)
def test_numbers_have_true_minus_signs_and_names_keep_their_hyphens(text: str, shown: str):
    assert typeset(text) == shown


def test_an_equation_is_shown_by_its_label():
    assert address("eq-scda-1") == "SCDA-1"
    shown = '<span class="eqno">(SCDA-1)<a class="headerlink" href="#equation-eq-scda-1">'
    assert in_brackets(shown) == shown.replace("(SCDA-1)", "[SCDA-1]")


def png(path: Path, pixels: np.ndarray, **layout: Any) -> Path:
    text = PngInfo()
    if layout:
        text.add_text("layout", json.dumps(layout))
    Image.fromarray(pixels).save(path, pnginfo=text)
    return path


def test_the_dark_variant_mirrors_lightness_and_keeps_pictures():
    pixels = np.full((20, 20, 3), 255, np.uint8)
    pixels[0, 0] = 0  # black ink
    pixels[0, 1] = (0, 114, 178)  # blue
    pixels[0, 2] = 221  # a grey line
    pixels[10:, 10:] = (30, 60, 90)
    found = darkened(pixels, [[0.5, 0.5, 1.0, 1.0]])
    assert found[5, 5, 3] == 0, "paper is no ground at all"
    assert found[0, 0].tolist() == [255, 255, 255, 255]
    assert found[0, 1].tolist() == [77, 191, 255, 255], "lighter, and still blue"
    assert found[0, 2].tolist() == [255, 255, 255, 34], "as faint as it was"
    assert (found[10:, 10:] == (30, 60, 90, 255)).all()
    assert (found[9, 10:, 3] == 0).all()


def test_a_figure_becomes_its_parts_row_by_row(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    source = png(
        tmp_path / "a.png", pixels, columns=[0, 1 / 3, 2 / 3], rows=[[0, 0.5], [0.5, 1]], pictures=[], inches=9
    )
    row = parts_of(source, "what it shows", tmp_path)
    assert row["alt"] == "what it shows" and [one["mode"] for one in row] == ["light"] * 6 + ["dark"] * 6
    assert [one["inches"] for one in row] == pytest.approx([3] * 12)
    light = [np.asarray(Image.open(one["uri"])) for one in row[:6]]
    assert np.array_equal(np.vstack([np.hstack(light[:3]), np.hstack(light[3:])]), pixels)


def test_other_pictures_have_no_layout(tmp_path: Path):
    assert layout_of(png(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))) == {}


@pytest.mark.parametrize(
    ("printed", "shown"), [("60.65", "60.7"), ("59.64", "59.6"), ("80.5", "80.5"), ("9.96", "10.0")]
)
def test_a_printed_number_is_rounded_as_a_reader_would(printed: str, shown: str):
    assert rounded(printed, 1) == shown


def test_a_printed_gain_is_the_difference_of_two_printed_numbers():
    shown, where = printed("SCDA/3/SCDA/CUB top1 - SCDA/3/Pool5/CUB top1:.1f")
    assert shown == "+2.2" and where.count("Table 3") == 2 and "59.72" in where and "57.54" in where
    assert printed("SCDA/3/Pool5/CUB top1 - SCDA/3/SCDA/CUB top1:.1f")[0] == "\N{MINUS SIGN}2.2"
    assert printed("SCDA/3/SCDA/CUB top1:.1f")[0] == "59.7" and printed("SCDA/3/SCDA/CUB top1")[0] == "59.72"
