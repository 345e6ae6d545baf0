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
import torch

from tests import test_poolings
from tests.conftest import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
METHOD, TEST = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_it_is_one_page_with_a_short_template():
    prose = re.sub(r"```python\n.*?```", "", PAGE, flags=re.DOTALL)
    assert len(prose.split()) < 800 and len(PAGE.splitlines()) < 160
    assert len(METHOD.splitlines()) <= 42  # 40 and the two lines that name file and paper


@pytest.fixture
def method(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The method's template, as if it were the file that it names."""
    module = types.ModuleType("ask_lib.methods.norm_weighted")
    exec(compile(METHOD, "norm_weighted.py", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_the_templates_run(method: types.ModuleType):
    assert doctest.testmod(method) == doctest.TestResults(failed=0, attempted=1)
    names: dict[str, object] = {}
    exec(compile(TEST, "test_norm_weighted.py", "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_") and inspect.isfunction(value)]
    assert len(tests) == 2
    for test in tests:
        test()


def test_the_template_passes_the_tests_of_a_pooling(method: types.ModuleType):
    pool = method.norm_weighted
    for mask in (None, test_poolings.masks()):
        test_poolings.test_a_batch_of_two_is_two_of_one(pool, mask)
        test_poolings.test_half_precision_comes_near_and_does_not_overflow(pool, torch.float16, mask)
    test_poolings.test_the_cells_order_does_not_matter(pool)
    test_poolings.test_a_factor_does_not_change_the_direction(pool)
    test_poolings.test_an_empty_mask_gives_zero_and_no_broken_gradient(pool)
    test_poolings.test_what_the_mask_drops_has_no_say(pool)
    test_poolings.test_gradients_are_right(pool, None)
    test_poolings.test_one_cell_is_a_map_and_none_is_not(pool)
    test_poolings.test_shapes_that_do_not_fit_are_refused_with_advice(pool)


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
