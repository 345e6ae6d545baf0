"""The chapters as regression tests: executed at `smoke`, their values held against the expected ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.execute import is_current, run_key
from tools.expect import differences, expected_of, new_guard, recorded_in
from tools.project import CAP_SECONDS, executed_path, notebooks, read_json

CHAPTERS = pytest.mark.parametrize("source", notebooks(), ids=lambda path: path.stem)


@pytest.mark.built
@CHAPTERS
def test_the_chapter_ran_and_its_copy_is_current(source: Path):
    assert is_current(executed_path(source, "smoke"), run_key(source, "smoke", {})), "make test executes them first"


@pytest.mark.built
@CHAPTERS
def test_the_values_are_the_expected_ones(source: Path):
    recorded = recorded_in(executed_path(source, "smoke"))
    assert recorded, "a chapter records at least one value"
    assert differences(recorded, expected_of("smoke").get(source.stem, {})) == []


@pytest.mark.built
@CHAPTERS
def test_the_chapter_stays_within_its_minute(source: Path):
    about = read_json(executed_path(source, "smoke"))["metadata"]["ask"]
    # Twice the cap: a busy machine must not fail a test; a chapter that outgrew its profile must.
    assert about["seconds"] < 2 * CAP_SECONDS["smoke"]


@pytest.mark.built
@CHAPTERS
def test_no_cell_complains(source: Path):
    for cell in read_json(executed_path(source, "smoke"))["cells"]:
        for output in cell.get("outputs", []):
            text = "".join(output.get("text", ""))
            assert output["output_type"] != "error"
            assert "Warning" not in text, text


@pytest.mark.built
@CHAPTERS
def test_each_figure_has_alt_text_a_caption_and_a_name(source: Path):
    for cell in read_json(executed_path(source, "smoke"))["cells"]:
        outputs = cell.get("outputs", [])
        if any("image/png" in output.get("data", {}) for output in outputs):
            about = cell["metadata"]["mystnb"]
            assert about["image"]["alt"] and about["figure"]["caption"] and about["figure"]["name"]


def test_each_kind_of_guard_fails_on_a_planted_fault():
    expected = {
        "cells": {"value": 169},
        "network": {"value": "squeezenet1_0"},
        "coverage": {"value": 0.5, "relative": 1e-4},
        "accuracy": {"value": 0.8, "std": 0.01},
        "wild": {"value": 0.8, "std": 0.5},
        "loss_after": {"below": "loss_before"},
        "loss_before": {"value": 2.0, "relative": 1e-4},
        "tuned": {"above": "coverage"},
        "found": {"value": 16.9, "within": 1.0},
        "gain": {"low": -1.0, "high": 3.0},
    }
    right = {
        "cells": 169, "network": "squeezenet1_0", "coverage": 0.50004, "accuracy": 0.829, "wild": 0.849,
        "loss_after": 1.0, "loss_before": 2.0, "tuned": 0.6, "gain": 3.0, "found": 16.0,
    }  # fmt: skip
    assert differences(right, expected) == []
    faults = {
        "cells": 170, "network": "squeezenet1_1", "coverage": 0.50006, "accuracy": 0.831, "wild": 0.851,
        "loss_after": 2.0, "tuned": 0.5, "gain": -1.1, "found": 18.0,
    }  # fmt: skip
    for name, wrong in faults.items():
        assert [line.split(":")[0] for line in differences({**right, name: wrong}, expected)] == [name]


def test_a_missing_and_an_extra_value_are_seen():
    assert differences({}, {"a": {"value": 1}}) == ["a: expected, but not recorded"]
    assert differences({"b": 1}, {}) == ["b: recorded, but not expected"]


def test_a_float_for_a_whole_number_is_seen():
    assert differences({"a": 1.0}, {"a": {"value": 1}}) != []
    assert differences({"a": True}, {"a": {"value": 1}}) != []


def test_writing_anew_keeps_the_kind_of_guard():
    assert new_guard(0.5, {"value": 0.4, "std": 0.1}) == {"value": 0.5, "std": 0.1}
    for kind in ({"below": "x"}, {"above": "x"}, {"low": 0.0, "high": 2.0}):
        assert new_guard(1.0, kind) == kind
    assert new_guard(0.5, {"value": 0.4, "within": 0.1}) == {"value": 0.5, "within": 0.1}
    assert new_guard(0.5, None) == {"value": 0.5, "relative": 1e-4}
    assert new_guard("a", None) == {"value": "a"}
