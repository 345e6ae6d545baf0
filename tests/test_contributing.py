"""CONTRIBUTING's templates are code that runs, and the page stays one page."""

from __future__ import annotations

import doctest
import inspect
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
METHOD, TEST = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_it_is_one_page_with_a_short_template():
    prose = re.sub(r"```python\n.*?```", "", PAGE, flags=re.DOTALL)
    assert len(prose.split()) < 800 and len(PAGE.splitlines()) < 160
    assert len(METHOD.splitlines()) <= 42  # 40 and the two lines that name file and paper


def test_the_templates_run(monkeypatch: pytest.MonkeyPatch):
    method = types.ModuleType("ask_lib.methods.norm_weighted")
    exec(compile(METHOD, "norm_weighted.py", "exec"), method.__dict__)
    monkeypatch.setitem(sys.modules, method.__name__, method)
    assert doctest.testmod(method) == doctest.TestResults(failed=0, attempted=1)
    names: dict[str, object] = {}
    exec(compile(TEST, "test_norm_weighted.py", "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_") and inspect.isfunction(value)]
    assert len(tests) == 2
    for test in tests:
        test()


@pytest.mark.parametrize("text", [METHOD, TEST], ids=["method", "test"])
def test_the_templates_are_as_lint_wants_them(text: str):
    name = text.splitlines()[0].removeprefix("# ")
    ruff = Path(sys.executable).with_name("ruff")
    ours = 'lint.isort.known-first-party = ["ask_lib"]'  # ruff looks for the file, which is not there
    for command in (["check", "--config", ours], ["format", "--check"]):
        words = [ruff, *command, "--stdin-filename", name, "-"]
        done = subprocess.run(words, input=text, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_page_names_is_there():
    for path in re.findall(r"`((?:ask_lib|experiments|book|tests|tools)/[\w/]+\.(?:py|md|json))`", PAGE):
        assert path == "experiments/NAME.py" or (ROOT / path).is_file(), path
