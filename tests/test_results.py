"""Recorded runs stand on commits that anyone with the project's history can look up."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from ask_lib.errors import ResultError
from ask_lib.results import new_result, read_result, write_result
from tests.chapter import in_markdown, roles
from tools import results
from tools.expect import expected_of
from tools.project import ROOT, ToolError, read_json

RECORDED = sorted((ROOT / "results").glob("*.json"))


def git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def whole_history() -> list[str]:
    """All commits up to this one; none in a copy without git, or without its past."""
    own = Path(git("rev-parse", "--show-toplevel") or "/").resolve() == ROOT.resolve()
    if not own or git("rev-parse", "--is-shallow-repository") != "false":
        return []
    return git("rev-list", "HEAD").split()


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_recorded_run_names_a_commit_of_this_history(path: Path):
    commit = read_json(path)["commit"]
    assert re.fullmatch(r"[0-9a-f]{7,40}", commit)
    history = whole_history()
    assert not history or any(each.startswith(commit) for each in history)


CHAPTERS = {path.stem: "\n".join(in_markdown(read_json(path))) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
PAGES = CHAPTERS | {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "book").rglob("*.md"))}


@pytest.mark.parametrize("text", PAGES.values(), ids=PAGES.keys())
def test_every_recorded_or_printed_number_of_a_page_exists(text: str):
    assert all(results.result_text(address)[0] for address in roles(text, "recorded"))
    assert all(results.printed(address)[0] for address in roles(text, "published"))


def test_the_numbers_of_a_recorded_table_are_found():
    text = "{recorded}`a/x:.1f`\n```{recorded-table}\n| row | ours |\n| {0} | b/{1}:.1f |\nmean | y\n```\n"
    assert roles(text, "recorded") == ["a/x:.1f", "b/y:.1f"]
    assert min(len(roles(PAGES[name], "recorded")) for name in ("scda.md", "ask.md", "07_ask")) > 10


@pytest.mark.parametrize("profile", ["smoke", "book"])
@pytest.mark.parametrize("name", CHAPTERS)
def test_every_value_that_a_chapter_shows_is_expected(name: str, profile: str):
    values = expected_of(profile).get(name, {})
    assert [each for each in roles(CHAPTERS[name], "glue:text") if each.partition(":")[0] not in values] == []


@pytest.mark.parametrize(
    ("value", "spec", "shown"),
    [
        (-0.04, "+.1f", "0.0"),
        (-0.04, ".1f", "0.0"),
        (-0.06, "+.1f", "\u22120.1"),
        (-0.04, "+.2f", "\u22120.04"),
        (-10.0, ".0f", "\u221210"),
    ],
)
def test_a_page_shows_a_true_minus_and_no_minus_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, spec: str, shown: str
):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    write_result(tmp_path, new_result("run", command="", values={"gain": value}))
    assert results.result_text(f"run/gain:{spec}")[0] == shown


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("run/gain:.2q", "not shown as '.2q'"),
        ("run/name:.2f", "'name' is 'a', not shown as '.2f'"),
        ("run/gian", "has no value 'gian'; near it: gain"),
        ("walk/gain", "no recorded run 'walk'"),
    ],
)
def test_what_a_page_cannot_show_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, said: str):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    write_result(tmp_path, new_result("run", command="", values={"gain": 1.0, "name": "a"}))
    with pytest.raises(ToolError) as caught:
        results.result_text(address)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_each_recorded_run_has_the_one_schema(path: Path):
    assert read_result(path)["name"] == path.stem


def test_a_page_shows_no_half_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    for complete in (True, False):
        content = new_result(
            "run", command="python -m x", complete=complete, values={"gain": 1.0}, environment={"a": "b"}
        )
        write_result(tmp_path, content)
        if complete:
            assert results.result_text("run/gain")[1].endswith(", device unknown")
    with pytest.raises(ToolError, match=r"results/run\.json is of a run that was stopped.*: python -m x$"):
        results.result_text("run/gain")


WHOLE = {"name": "run", "command": "python -m x", "values": {"score": 1.5, "network": "a"}}


def test_a_result_is_read_as_it_was_written(tmp_path: Path):
    content = new_result(**WHOLE, seeds=[1, 2], data={"rooms": 1}, seconds=1.26)
    assert read_result(write_result(tmp_path, content)) == content and content["seconds"] == 1.3
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_name_that_is_not_utf8_is_read_as_it_was(tmp_path: Path):
    name = os.fsdecode(b"\xff.jpg")
    path = write_result(tmp_path, new_result("run", command="", values={"worst": name}, details={name: "ä"}))
    found = read_result(path)
    assert found["values"] == {"worst": name} and found["details"] == {name: "ä"} and '"ä"' in path.read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot read it"),
        ('{"schema": 1', "cannot read it"),
        ('{"values": NaN}', "NaN is no JSON number"),
        ('{"values": 1e999}', "1e999 is no JSON number"),
        ('{"values": -1' + "0" * 400 + "}", "-1000000000000000000 is no JSON number"),
        ('{"values": 1' + "0" * 5000 + "}", "0 is no JSON number"),
        ("[" * 100_000, "nested too deep"),
        ("null", "it holds a NoneType"),
        ("[]", "it holds a list"),
        ("{}", "'schema' is missing"),
        ("\x80", "cannot read it"),
    ],
)
def test_a_damaged_result_is_one_error(tmp_path: Path, text: str, said: str):
    path = tmp_path / "run.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ResultError, match=re.escape(said)) as caught:
        read_result(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [("schema", 2), ("schema", True), ("name", "../x"), ("values", {"a": None}), ("values", {"a": float("nan")}),
     ("values", {"a": [1]}), ("seeds", None), ("complete", 1), ("extra", 1)],
)  # fmt: skip
def test_what_does_not_fit_the_schema_is_refused(tmp_path: Path, key: str, value: object):
    content = {**new_result(**WHOLE), key: value}
    with pytest.raises(ResultError):
        write_result(tmp_path, content)
    assert list(tmp_path.iterdir()) == []
