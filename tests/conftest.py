"""What all tests share: the count of real-data tests at the end, and one place for the folders."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.realdata import ROOT as REALDATA_FOLDER

ROOT = Path(__file__).resolve().parents[1]
REALDATA = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REALDATA] = Counter()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the GPU tests where there is no GPU: they are no gap of this machine's run."""
    import torch

    if torch.cuda.is_available():
        return
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    items[:] = [item for item in items if item not in gpu]
    config.hook.pytest_deselected(items=gpu)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    report = yield
    if item.get_closest_marker("realdata") and (report.when == "call" or report.skipped):
        item.config.stash[REALDATA][report.outcome] += 1
    return report


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:  # type: ignore[no-untyped-def]
    counts = config.stash[REALDATA]
    ran, skipped = counts["passed"] + counts["failed"], counts["skipped"]
    terminalreporter.write_line(f"real-data tests: {ran} ran, {skipped} skipped (ASK_REALDATA: {REALDATA_FOLDER})")
