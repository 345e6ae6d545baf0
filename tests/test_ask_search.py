"""experiments.ask_search on a small folder in nyuv2's form, and what it holds equal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ask_lib.errors import ResultError
from ask_lib.models.ask import ASKHead, ASKOptions
from ask_lib.results import read_result
from experiments import ask_nyudv2, ask_rows, ask_search, ask_streams
from experiments.ask_nyudv2 import GRID, ROWS
from experiments.ask_search import FAMILIES, SEARCH_SEEDS, Search, settings_from
from experiments.ask_shared import values_of
from tests.test_ask_experiment import WEIGHTS_FILE, draw_folder, make_small

Main = Callable[[list[str]], int]


def command(main: Main, words: list[str], place: Path) -> int:
    """Run a stage of an experiment on ``place/nyuv2``, its parts in ``place/kept``; returns the status."""
    threads = ["--threads", str(torch.get_num_threads())]
    where = ["--root", place / "nyuv2", "--cache", place / "cache", "--out", place / "out", "--weights", WEIGHTS_FILE]
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        for name, value in {"ROWS": ROWS, "KEPT": place / "kept", "CHOOSERS": (FAMILIES["learned"],)}.items():
            patch.setattr(ask_nyudv2, name, value)
        patch.setattr(ask_nyudv2, "GRID", GRID[:1])
        patch.setattr(ask_search, "settings_from", lambda base: few(settings_from(base)))
        return main([*words, *map(str, where), *threads])


def few(families: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The first and the last setting of each family."""
    return {family: {name: each[name] for name in (next(iter(each)), [*each][-1])} for family, each in families.items()}


def make_chosen(place: Path) -> None:
    """A folder where the regularisation is chosen."""
    draw_folder(place / "nyuv2")
    assert command(ask_nyudv2.main, ["choose"], place) == 0


def searched(place: Path, *stages: str) -> dict[str, Any]:
    """What is recorded after some stages."""
    for stage in stages:
        assert command(ask_search.main, [stage, "--seeds", "0"], place) == 0
    return read_result(place / "out" / "ask_search.json")


@pytest.mark.slow
def test_the_best_of_each_is_read_on_test_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    make_chosen(tmp_path)
    with monkeypatch.context() as patch:
        for module, name in ((ask_rows, "judged"), (ask_streams, "judged"), (ask_streams, "predicted")):
            patch.setattr(module, name, None)  # what reads the test frames
        first = searched(tmp_path, "search", "save")
    assert not first["rows"] and set(first["details"]["chosen"]) == set(FAMILIES)
    content = searched(tmp_path, "test")
    assert set(content["rows"]) == set(FAMILIES) and not content["complete"]  # of one seed
    assert content["details"]["chosen"] == first["details"]["chosen"]
    for family, tried in content["details"]["tried"].items():
        means = {name: sum(each["validation"].values()) / len(SEARCH_SEEDS) for name, each in tried.items()}
        best = content["details"]["chosen"][family]
        assert len(means) == 2 and means[best] == max(means.values())
        assert all(content["values"][f"validation, {name}"] == pytest.approx(mean) for name, mean in means.items())
    assert {"learned low", "learned over grid high", "grid over attention"} <= set(content["values"])
    capsys.readouterr()
    assert searched(tmp_path, "test")["values"] == content["values"]
    assert "begun" not in capsys.readouterr().out  # all is kept


@pytest.mark.parametrize("base", GRID, ids=str)
def test_each_family_has_eight_settings_and_all_differ(base: ask_search.Regular):
    families = settings_from(base)
    assert set(families) == set(FAMILIES) and all(len(each) == 8 for each in families.values())
    every = [setting for each in families.values() for setting in each.values()]
    assert len({str(setting) for setting in every}) == 24
    names = [name for each in families.values() for name in each]
    assert len(set(names)) == 24 and set(names) & set(ROWS) == set(FAMILIES.values())  # no part replaces another's
    for family, first in FAMILIES.items():
        assert families[family][first] == ask_search.Setting(ROWS[first], base)
    for setting in every:
        options = {"local_width": setting.how.local_width, "dropout": setting.how.dropout} | dict(setting.row.options)
        head = ASKHead(8, 3, ASKOptions(keypoints=(min(setting.row.keypoints[0], 8), 0), **options))
        assert head.classify.out_features == 3


def test_a_family_is_chosen_by_its_mean_on_validation(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ask_search, "SEARCH_SEEDS", (0, 1))
    search = object.__new__(Search)
    search.families = settings_from(GRID[0])
    scores = {name: {seed: {"validation": 50.0} for seed in (0, 1)} for name in search.families["grid"]}
    monkeypatch.setattr(Search, "trials", lambda *_: scores)
    assert search.best("grid") == FAMILIES["grid"]
    scores["grid, K = 25"] = {0: {"validation": 40.0}, 1: {"validation": 61.0}}
    assert search.best("grid") == "grid, K = 25"
    scores["grid, K = 9"] = {0: {"validation": 99.0}}
    with pytest.raises(ResultError, match="not all settings were tried"):
        search.best("grid")


def test_nothing_is_searched_before_the_regularisation_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    draw_folder(tmp_path / "nyuv2")
    assert command(ask_search.main, ["search"], tmp_path) == 2
    assert "experiments.ask_nyudv2 choose" in capsys.readouterr().err


def test_values_pair_the_seeds_that_both_rows_have():
    labels = torch.tensor([0, 0, 1, 1])
    runs = {"a": {0: {"predicted": "0011"}, 1: {"predicted": "0000"}}, "b": {0: {"predicted": "0001"}}}
    values = values_of(runs, {"a over b": ("a", "b"), "a over c": ("a", "c")}, labels)
    assert values["a"] == 75 and values["b"] == 75
    assert values["a over b"] == 25  # of seed 0 alone
    assert "a over c" not in values and values["a over b low"] <= 25 <= values["a over b high"]
