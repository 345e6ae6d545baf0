"""The sliders in a real JupyterLab, driven by the keyboard."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

from ask_lib.show.explorer import Explorer
from tests.browser import chromium_path, open_page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CELLS = [
    """import io
import numpy as np
from PIL import Image
from ask_lib.show.explorer import Explorer
picture = np.full((60, 80, 3), 128, np.uint8)
cells = Explorer.threshold(picture, np.arange(12.0).reshape(3, 4), alt="{kept} cells")
cells""",
    """def render(K):
    made = io.BytesIO()
    Image.new("RGB", (8 * K, 6)).save(made, "png")
    return made.getvalue()
lazy = Explorer.frames(render, {"K": [1, 2, 3, 4]}, alt="{K} bars", readout="{K} points", precompute=False)
lazy""",
    "print('kernel:', cells.values['threshold'], lazy.values['K'], lazy.state_at()['readout'])",
    "cells.choose(threshold=2.0); print('moved')",
]

READY = """async () => {
    const session = jupyterapp.shell.currentWidget.sessionContext;
    await session.ready;
    await session.session.kernel.info;
}"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """The address of a JupyterLab that serves one notebook; it reads no settings of this machine's user."""
    chromium_path()  # fails or skips before anything is started
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS], metadata=kernel)
    work = tmp_path / "work"
    work.mkdir()
    nbformat.write(nb, work / "live.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    homes = ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    environment = {**os.environ, **{name: str(tmp_path / name.lower()) for name in homes}}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += [
        f"--ServerApp.root_dir={work}",
        "--IdentityProvider.token=",
        "--ServerApp.password=",
        "--expose-app-in-browser",
    ]
    command += ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    command += ["--LabApp.extension_manager=readonly", "--ServerApp.port_retries=0"]
    log = (tmp_path / "lab.log").open("wb")
    server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/api/status", server, tmp_path / "lab.log")
        yield address
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.25)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}", pytrace=False)


def test_arrow_keys_move_the_slider_and_the_kernel_follows(lab: str, tmp_path: Path):
    expected = Explorer.threshold(
        np.full((60, 80, 3), 128, np.uint8), np.arange(12.0).reshape(3, 4), alt="{kept} cells"
    )
    with open_page(f"{lab}/lab/tree/live.ipynb", height=1400) as visit:
        page = visit.page
        page.set_default_timeout(60_000)
        page.locator(".jp-CodeCell").nth(3).wait_for()
        page.evaluate(READY)  # a cell that is run before JupyterLab has its kernel is not run at all
        page.locator(".jp-CodeCell").first.locator(".cm-content").click()
        roots = page.locator(".ask-explorer")
        for at in range(2):
            page.keyboard.press("Shift+Enter")
            roots.nth(at).wait_for()
        cells, lazy = roots.nth(0), roots.nth(1)

        cells.get_by_label("Threshold").focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowLeft")
        _says(cells, expected.state_at(threshold=1.15)["readout"])
        assert cells.locator("img").get_attribute("alt") == expected.state_at(threshold=1.15)["alt"]

        page.evaluate("document.addEventListener('keydown', jupyterapp, true)")  # Lumino's default
        page.keyboard.press("ArrowDown")
        _says(cells, expected.state_at(threshold=1.1)["readout"])
        page.keyboard.press("x")  # in a notebook's command mode: cut the cell
        assert page.evaluate("document.querySelectorAll('.jp-CodeCell').length") == len(CELLS)

        before = lazy.locator("img").get_attribute("src")
        lazy.get_by_label("K").focus()
        page.keyboard.press("End")
        _says(lazy, "4 points")
        assert lazy.locator("img").get_attribute("alt") == "4 bars"
        assert lazy.locator("img").get_attribute("src") != before
        assert (
            lazy.locator("img").evaluate("async (image) => { await image.decode(); return image.naturalWidth; }") == 32
        )
        page.keyboard.press("ArrowLeft")
        _says(lazy, "3 points")

        saved = (tmp_path / "work" / "live.ipynb").stat().st_mtime_ns
        page.keyboard.press("Control+s")  # a slider that has the focus leaves JupyterLab its other keys
        _until(page, lambda: (tmp_path / "work" / "live.ipynb").stat().st_mtime_ns != saved)

        page.locator(".jp-CodeCell").nth(2).locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        page.get_by_text("kernel: 1.1 3 3 points", exact=True).wait_for()
        page.keyboard.press("Shift+Enter")
        _says(cells, expected.state_at(threshold=2.0)["readout"])  # the kernel moves the page's slider too
        assert cells.get_by_label("Threshold").get_attribute("aria-valuetext") == "2.00 × mean"
        assert visit.foreign(lab.removeprefix("http://")) == []
        assert not [problem for problem in visit.problems if re.search("explorer|anywidget|widget", problem, re.I)]


def _says(root: Any, text: str) -> None:
    root.locator("output").get_by_text(text, exact=True).wait_for()


def _until(page: Any, done: Any) -> None:
    for _ in range(100):
        if done():
            return
        page.wait_for_timeout(100)
    pytest.fail("waited 10 s in vain")
