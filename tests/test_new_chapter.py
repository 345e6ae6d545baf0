"""A new chapter's skeleton: it runs as it stands, has every part of a lesson, and never replaces a chapter."""

from __future__ import annotations

import shutil
from pathlib import Path

import matplotlib
import pytest

from tests.conftest import ROOT
from tools import new_chapter
from tools.notebooks import check, parameters_cell
from tools.project import ToolError, in_markdown, read_json, toc_pages


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A book's root, with its table of contents and settings alone."""
    for name in ("_toc.yml", "_config.yml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def test_a_skeleton_is_tidy_and_stands_in_its_place(book: Path):
    path = new_chapter.new_chapter("00_zero", "Zero: a title", book)
    assert check([path]) == []
    pages = toc_pages(book)
    assert pages[pages.index("notebooks/00_zero") - 1] == "notebooks/00_start_here"
    assert len(pages) == len(toc_pages()) + 1
    headings = [line for text in in_markdown(read_json(path)) for line in text.splitlines() if line.startswith("#")]
    assert headings[0] == "# Zero: a title"
    assert headings[1:] == [
        "## The puzzle", "## The idea, in one figure", "## The whole method", "## Move it", "## Equation by equation",
        "## Extract", "## Results", "## A control that the paper lacks", "## What breaks it", "## Exercises",
        "## When should you use it?",
    ]  # fmt: skip


def test_every_cell_of_a_skeleton_runs(book: Path, monkeypatch: pytest.MonkeyPatch):
    matplotlib.use("agg")
    notebook = read_json(new_chapter.new_chapter("99_last_one", "Last", book))
    settings = parameters_cell(notebook, "")
    names: dict[str, object] = {"display": print}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            code = "".join(cell["source"])
            assert len(code.splitlines()) <= 24, code
            exec(compile(code, cell["id"], "exec"), names)
            if cell == settings:
                names["PROFILE"] = "smoke"
    assert names["count"] == 10 and names["explorer"].values  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "title", "said"),
    [
        ("1_short", "A", "two digits and a name"),
        ("02_../x", "A", "two digits and a name"),
        ("02_name", " ", "one line of text"),
        ("02_name", "a\nb", "one line of text"),
        ("01_scda", "A", "there is a chapter 01_scda"),
        ("00_a", "A", "by hand"),
    ],
)
def test_what_would_replace_or_hide_a_chapter_is_refused(book: Path, name: str, title: str, said: str):
    with pytest.raises(ToolError, match=said):
        new_chapter.new_chapter(name, title, book)
    assert (book / "_toc.yml").read_text() == (ROOT / "_toc.yml").read_text()
