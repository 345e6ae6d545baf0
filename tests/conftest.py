"""What all tests share: the count of real-data tests at the end, one place for the folders, and the order of files."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.realdata import ROOT as REALDATA_FOLDER

ROOT = Path(__file__).resolve().parents[1]
REALDATA: Counter[str] = Counter()


def pytest_configure(config: pytest.Config) -> None:
    """Two workers of pytest-xdist share two cores: each takes one thread, and so do the programs that it starts."""
    if hasattr(config, "workerinput"):
        import torch

        torch.set_num_threads(1)
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the GPU tests where there is no GPU: they are no gap of this machine's run. Slow files come first."""
    import torch

    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])  # a worker that gets the longest file last would end alone
    if torch.cuda.is_available():
        return
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    items[:] = [item for item in items if item not in gpu]
    config.hook.pytest_deselected(items=gpu)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count the real-data tests; the reports of all workers come together in the process that prints the summary."""
    if "realdata" in report.keywords and (report.when == "call" or report.skipped):
        REALDATA[report.outcome] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ran, skipped = REALDATA["passed"] + REALDATA["failed"], REALDATA["skipped"]
    terminalreporter.write_line(f"real-data tests: {ran} ran, {skipped} skipped (ASK_REALDATA: {REALDATA_FOLDER})")
