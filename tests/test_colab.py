"""A chapter alone in an empty folder, as Colab runs it: ipywidgets 7.7, no jupyter-book, ask_lib from a repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from ask_lib.show.record import recorded_values
from tests.conftest import ROOT
from tests.test_house import tracked
from tools import environment
from tools.expect import recorded_in
from tools.notebooks import INSTALLER
from tools.project import BUILD, executed_path, notebooks

pytestmark = [pytest.mark.slow, pytest.mark.built]
PACKAGES = ["torch", "torchvision", "matplotlib", "scipy", "scikit-learn", "tqdm", "pillow", "ipykernel"]
HELD = ["ipywidgets==7.7.1", "widgetsnbextension==3.6.10", "jupyterlab-widgets==1.1.11"]


def ask(python: Path, code: str) -> str:
    """What code prints in that environment alone, whatever PYTHONPATH says."""
    return subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def colab() -> Path:
    """An environment like Colab's, kept between runs; ask_lib is removed from it first, so that a chapter brings it."""
    folder = BUILD / "venv-colab"
    environment.make(folder, PACKAGES, HELD)
    python = folder / "bin" / "python"
    # The sliders' package comes with ask_lib, as in Colab.
    subprocess.run(
        [python, "-m", "pip", "uninstall", "-q", "-y", "ask-lib", "anywidget"], check=True, capture_output=True
    )
    missing = "import importlib.util as u; print([u.find_spec(n) for n in ('ask_lib', 'ask_scenes', 'jupyter_book')])"
    assert ask(python, missing) == "[None, None, None]"
    return python


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The working tree as a git repository of its own."""
    folder = tmp_path_factory.mktemp("repository")
    for path in tracked():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"]
    for command in (["init", "-q"], ["add", "--all"], [*identity, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder.as_uri()


def run_alone(source: Path, python: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> nbformat.NotebookNode:
    """Run a notebook in an empty folder on another environment's kernel."""
    prefix = folder / "kernel"
    install = [python, "-m", "ipykernel", "install", "--prefix", prefix, "--name", "colab"]
    subprocess.run(install, check=True, capture_output=True)
    monkeypatch.setenv("JUPYTER_PATH", str(prefix / "share" / "jupyter"))
    empty = folder / "content"
    empty.mkdir()
    notebook = nbformat.read(source, as_version=4)
    client = NotebookClient(
        notebook, kernel_name="colab", timeout=600, resources={"metadata": {"path": str(empty)}}, allow_errors=False
    )
    return client.execute()


def with_address(source: Path, address: str, folder: Path) -> Path:
    """The chapter as `make repository URL=...` would leave it, at the smoke profile."""
    notebook = nbformat.read(source, as_version=4)
    code = next(cell for cell in notebook.cells if cell.cell_type == "code")
    # At the smoke profile, whose values are at hand to compare with.
    for name, value in (("REPOSITORY", address), ("PROFILE", "smoke")):
        code.source, count = re.subn(rf'^{name} = ".*?"', f'{name} = "{value}"', code.source, flags=re.MULTILINE)
        assert count == 1
    path = folder / source.name
    nbformat.write(notebook, path)
    return path


def forget_the_library(python: Path) -> None:
    """As in a fresh Colab: what an installer brought is gone."""
    subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", "ask-lib"], check=True, capture_output=True)


def torch_files(python: Path) -> str:
    code = (
        "import importlib.metadata as m, hashlib; d = m.distribution('torch');"
        "r = d.locate_file('torch/version.py'); print(d.version, r.stat().st_mtime_ns, m.version('ipywidgets'))"
    )
    return ask(python, code)


@pytest.mark.parametrize("source", notebooks(), ids=lambda path: path.stem)
def test_a_chapter_runs_as_in_colab(
    source: Path, colab: Path, repository: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = torch_files(colab)
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):
        monkeypatch.delenv(name, raising=False)
    done = run_alone(with_address(source, repository, tmp_path), colab, tmp_path, monkeypatch)
    assert torch_files(colab) == before and before.endswith(" 7.7.1")
    for package in ("ask_lib", "ask_scenes"):
        assert "site-packages" in ask(colab, f"import {package}; print({package}.__file__)")
    here = recorded_in(executed_path(source, "smoke"))
    there = recorded_values(done)
    assert there.keys() == here.keys()
    for name, value in here.items():
        assert there[name] == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value)
    views = [
        o for cell in done.cells for o in cell.get("outputs", []) if "widget-view" in str(o.get("data", {}).keys())
    ]
    assert views, "the slider shows under ipywidgets 7.7"


def install(python: Path, repository: str, folder: Path, *before: str) -> subprocess.CompletedProcess[str]:
    """Run the installer's cell alone, after some lines of code."""
    code = "\n".join([f"REPOSITORY = {repository!r}", *before, INSTALLER, "print('fine')"])
    environ = {**os.environ, "PYTHONPATH": ""}
    command = [python, "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environ, check=False)


def test_without_an_address_the_installer_says_what_to_do(colab: Path, tmp_path: Path):
    forget_the_library(colab)
    done = install(colab, "", tmp_path)
    assert done.returncode == 1 and done.stderr.endswith("RuntimeError: Set REPOSITORY above to the book's address.\n")


NO_TORCH = (
    "import importlib.metadata as m; real = m.version",
    "def without(name):\n    if name == 'torch': raise m.PackageNotFoundError(name)\n    return real(name)",
    "m.version = without",
)


def test_without_torch_nothing_is_installed(colab: Path, repository: str, tmp_path: Path):
    forget_the_library(colab)
    done = install(colab, repository, tmp_path, *NO_TORCH)
    assert done.returncode == 1 and "No package metadata was found for torch" in done.stderr
    assert ask(colab, "import importlib.util as u; print(u.find_spec('ask_lib'))") == "None"


def test_where_the_library_is_installed_the_installer_changes_nothing(tmp_path: Path):
    done = install(Path(sys.executable), "", tmp_path, "import subprocess; subprocess.run = None")
    assert done.stdout == "fine\n", done.stderr
