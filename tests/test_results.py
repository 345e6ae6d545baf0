"""Recorded runs stand on commits that anyone with the project's history can look up."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tools import results
from tools.project import ROOT, read_json

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


@pytest.mark.parametrize(
    ("value", "spec", "shown"),
    [
        (-0.04, "+.1f", "+0.0"),
        (-0.04, ".1f", "0.0"),
        (-0.06, "+.1f", "-0.1"),
        (-0.04, "+.2f", "-0.04"),
        (-10.0, ".0f", "-10"),
    ],
)
def test_a_page_shows_no_minus_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, spec: str, shown: str
):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    about = {"commit": "0" * 40, "environment": {"device": "cpu"}, "values": {"gain": value}}
    (tmp_path / "run.json").write_text(json.dumps(about))
    assert results.result_text(f"run/gain:{spec}")[0] == shown
