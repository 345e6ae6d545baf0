from __future__ import annotations

import math

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from ask_lib.errors import ChoiceError
from ask_lib.show.record import RecordError, published, published_source, published_text, record, recorded_values


@pytest.fixture(scope="module")
def executed() -> nbformat.NotebookNode:
    cells = [
        "from ask_lib.show.record import record\nimport torch, numpy as np",
        'record("a", torch.tensor(0.25))\nrecord("b", np.int64(3));',
        'record("name", "squeezenet"); record("flag", True);',
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    return NotebookClient(notebook, kernel_name="python3").execute()


def test_values_come_back_from_an_executed_notebook(executed: nbformat.NotebookNode):
    values = recorded_values(executed)
    assert values == {"a": 0.25, "b": 3, "name": "squeezenet", "flag": True}
    assert [type(value) for value in values.values()] == [float, int, str, bool]


def test_the_output_is_what_myst_nb_calls_glue(executed: nbformat.NotebookNode):
    outputs = [output for cell in executed.cells for output in cell.outputs]
    by_glue = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("from myst_nb import glue\nglue('a', 0.25, display=False)")]
    )
    NotebookClient(by_glue, kernel_name="python3").execute()
    (theirs,) = by_glue.cells[0].outputs
    ours = outputs[0]
    assert ours.data == theirs.data
    assert {k: ours.metadata.scrapbook[k] for k in ("name", "mime_prefix")} == theirs.metadata.scrapbook


def test_a_value_recorded_twice_is_refused(executed: nbformat.NotebookNode):
    twice = {"cells": [*executed.cells, *executed.cells]}
    with pytest.raises(RecordError, match="a is recorded twice"):
        recorded_values(twice)


@pytest.mark.parametrize("value", [math.nan, math.inf, [1, 2], None, torch.zeros(2), np.zeros(2)], ids=repr)
def test_what_cannot_be_checked_cannot_be_recorded(value: object):
    with pytest.raises(RecordError):
        record("x", value)


def test_a_name_is_an_identifier():
    with pytest.raises(RecordError, match="letters, digits"):
        record("two words", 1)


def test_published_numbers_keep_the_papers_digits_and_source():
    address = "SCDA/3/SPoC (without cen.)/Flowers top1"
    assert published_text(address) == "71.36"
    assert published(address) == 71.36
    assert (
        published_source(address)
        == "SCDA, Table 3 in the order of the talk, row SPoC (without cen.), column Flowers top1 (mAP, %)"
    )
    assert published_text("IA/2/Orig., AVG/SUN-397") == "62.30"


def test_an_unknown_published_number_offers_near_ones():
    with pytest.raises(ChoiceError, match="Near: ASK/IV/K=16/NYUD v2"):
        published("ASK/IV/K=160/NYUD v2")


def test_a_dash_in_the_paper_is_no_number():
    with pytest.raises(ChoiceError):
        published("SCDA/3/fc8_gtBBox/Pets top1")
