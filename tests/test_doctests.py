"""The examples in the docstrings of methods and representations: they run, and each public one has its own."""

from __future__ import annotations

import doctest
import importlib
import inspect
from types import ModuleType

import pytest
import torch

from ask_lib.methods import encoding
from tests.conftest import ROOT

MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in ("methods", "represent")
    for path in sorted((ROOT / "ask_lib" / package).rglob("*.py"))
]
WITHOUT = {  # steps and helpers, which their neighbours' examples show
    "Images", "Representation", "check_map", "extract", "lower_mask",
    "mean_mask", "rmac_regions", "scda_flip_plus", "Coded", "SCDAPlus", "Selection", "WithMirror", "extract_to_file",
    "activeness", "fully_convolutional", "gradient_times_input", "propagate", "rescore",
}  # fmt: skip


def public(module: ModuleType) -> list[str]:
    """Names of what a module defines itself."""
    return [
        name
        for name, thing in vars(module).items()
        if (inspect.isfunction(thing) or inspect.isclass(thing))
        and thing.__module__ == module.__name__
        and not name.startswith("_")
    ]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_run(name: str):
    module = importlib.import_module(name)
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS, extraglobs={"torch": torch})
    assert found.failed == 0


def test_each_method_has_an_example():
    named = {each: importlib.import_module(name) for name in MODULES for each in public(importlib.import_module(name))}
    missing = {each for each, module in named.items() if ">>>" not in (vars(module)[each].__doc__ or "")}
    assert missing == WITHOUT
    assert all(">>>" in (pool.__doc__ or "") for pool in encoding.POOLINGS.values())
