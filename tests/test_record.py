from __future__ import annotations

import math
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from ask_lib.errors import ChoiceError
from ask_lib.show.record import RecordError, _published, published_source, published_text, record, recorded_values


@pytest.fixture(scope="module")
def executed() -> nbformat.NotebookNode:
    cells = [
        "from ask_lib.show.record import record\nimport torch, numpy as np",
        'record("a", torch.tensor(0.25))\nrecord("b", np.int64(3));',
        'record("name", "squeezenet"); record("flag", True); record("file", "a$\\udcff");',
        "from myst_nb import glue\nglue('a', 0.25, display=False)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    return NotebookClient(notebook, kernel_name="python3").execute()


def test_values_come_back_from_an_executed_notebook(executed: nbformat.NotebookNode):
    values = recorded_values(executed)
    assert values == {"a": 0.25, "b": 3, "name": "squeezenet", "flag": True, "file": r"a$\udcff"}
    assert [type(value) for value in values.values()] == [float, int, str, bool, str]


def test_the_output_is_what_myst_nb_calls_glue(executed: nbformat.NotebookNode):
    ours, (theirs,) = executed.cells[1].outputs[0], executed.cells[3].outputs
    assert ours.data == theirs.data
    assert {k: ours.metadata.scrapbook[k] for k in ("name", "mime_prefix")} == theirs.metadata.scrapbook


def test_a_value_recorded_twice_is_refused(executed: nbformat.NotebookNode):
    for value in (math.nan, None, [1]):
        output = {"metadata": {"scrapbook": {"name": "x", "value": value}}}
        with pytest.raises(RecordError, match="x: expected a finite number"):
            recorded_values({"cells": [{"outputs": [output]}]})
    twice = {"cells": [*executed.cells, *executed.cells]}
    with pytest.raises(RecordError, match="a is recorded twice"):
        recorded_values(twice)


@pytest.mark.parametrize(
    "value", [math.nan, np.float32("inf"), 1j, b"x", {}, [1, 2], None, torch.zeros(2), np.zeros(2)], ids=repr
)
def test_what_cannot_be_checked_cannot_be_recorded(value: object):
    with pytest.raises(RecordError):
        record("x", value)


def test_a_name_is_an_identifier():
    with pytest.raises(RecordError, match="letters, digits"):
        record("two words", 1)


def test_published_numbers_keep_the_papers_digits_and_source():
    address = "SCDA/3/SPoC (without cen.)/Flowers top1"
    assert published_text(address) == "71.36"
    assert (
        published_source(address)
        == "SCDA, Table 3 in the order of the talk, row SPoC (without cen.), column Flowers top1 (mAP, %)"
    )
    assert published_text("IA/2/Orig., AVG/SUN-397") == "62.30"


def test_an_unknown_published_number_offers_near_ones():
    with pytest.raises(ChoiceError, match="Near: ASK/IV/K=16/NYUD v2"):
        published_text("ASK/IV/K=160/NYUD v2")


def test_a_dash_in_the_paper_is_no_number():
    with pytest.raises(ChoiceError):
        published_text("SCDA/3/fc8_gtBBox/Pets top1")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"papers": NaN}', '{"papers": []}', '{"papers": {"A": {"1": {}}}}', "[" * 9999]
)
def test_a_damaged_file_of_published_numbers_is_one_error(text: str, tmp_path: Path):
    (tmp_path / "published.json").write_text(text)
    with pytest.raises(RecordError, match=r"published\.json: expected"):
        _published(tmp_path / "published.json")
