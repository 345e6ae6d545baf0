from __future__ import annotations

import random
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from ask_lib.checks import check_choice, check_range, check_shape
from ask_lib.errors import AskError, ChoiceError, RangeError, ShapeError
from ask_lib.reproduce import commit, environment_report, pick_device, seed_everything


def test_shapes_that_fit_pass():
    check_shape("x", torch.zeros(2, 3, 4, 4), "BCHW")
    check_shape("x", torch.zeros(2, 3, 4, 4), ["B", 3, "S", "S"])


@pytest.mark.parametrize("pattern", ["BHW", ["B", 1, "H", "W"], ["B", "C", "C", "W"]], ids=str)
def test_shapes_that_do_not_fit_say_what_came(pattern: list[str]):
    with pytest.raises(ShapeError, match=r"maps: expected \(.*\), got \(2, 3, 4, 5\)\. Do this\."):
        check_shape("maps", torch.zeros(2, 3, 4, 5), pattern, "Do this.")


def test_something_else_than_a_tensor_is_named():
    with pytest.raises(ShapeError, match="got ndarray"):
        check_shape("maps", np.zeros((2, 2)), "HW")  # type: ignore[arg-type]


def test_a_wrong_choice_offers_the_nearest():
    check_choice("pool", "avg", ["avg", "max"])
    with pytest.raises(ChoiceError, match=r"expected one of last, next; got 'lats'. Did you mean 'last'"):
        check_choice("target", "lats", ["last", "next"])


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_range_holds_its_ends(value: float):
    check_range("gamma", value, 0, 1)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"value": 1.5, "low": 0, "high": 1}, r"\[0, 1\]; got 1.5"),
        ({"value": float("nan"), "low": 0, "high": 1}, r"got nan"),
        ({"value": 0.0, "low": 0, "open_low": True}, r"\(0, inf\); got 0.0"),
        ({"value": 3, "high": 2}, r"\(-inf, 2\]; got 3"),
    ],
)
def test_outside_a_range_says_which(arguments: dict[str, float], text: str):
    with pytest.raises(RangeError, match=text):
        check_range("gamma", **arguments)


def test_all_errors_are_the_librarys_and_pythons():
    assert issubclass(ShapeError, AskError) and issubclass(ShapeError, ValueError)


def test_seeding_reaches_all_three_generators():
    draws = []
    for _ in range(2):
        seed_everything(3)
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))  # noqa: NPY002
    assert draws[0] == draws[1]
    for seed in (-1, 2**32):
        with pytest.raises(RangeError, match="seed"):
            seed_everything(seed)


def test_the_device_is_one_that_is_there():
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ChoiceError, match="expected one of auto"):
        pick_device("tpu")


def test_the_report_names_what_a_number_stood_on():
    report = environment_report(torch.device("cpu"))
    assert report["device"] == "cpu"
    assert torch.__version__.startswith(report["torch"])
    assert all(isinstance(value, str) and value for value in report.values())


def test_a_commit_is_named_with_what_differs_from_it(tmp_path: Path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=test", "-c", "user.email=test@example.invalid"]
    assert commit(tmp_path) == "unknown"
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "code.py").write_text("x = 1")
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
    head = commit(tmp_path)
    assert len(head) == 40
    (tmp_path / "code.py").write_text("x = 2")
    assert commit(tmp_path) == head + "+changes"


def test_a_project_that_only_contains_the_library_gives_no_commit(tmp_path: Path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    inside = tmp_path / ".venv" / "ask_lib"
    inside.mkdir(parents=True)
    assert commit(inside) == "unknown"
