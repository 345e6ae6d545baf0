"""The pipeline's promises: what runs again, what fails with which line, what an interruption leaves."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.conftest import ROOT
from tools import check_browser, environment, execute, expect, project, results
from tools.check_pages import problems_of
from tools.notebooks import KEPT_METADATA
from tools.project import ToolError, exit_status, site_path, toc_pages, write_atomic


def notebook(tmp_path: Path, *sources: str, name: str = "demo.ipynb") -> Path:
    cells = [nbformat.v4.new_markdown_cell("# Demo")]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    cells[1].metadata["tags"] = ["parameters"]
    path = tmp_path / name
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KEPT_METADATA), path)
    return path


# --- execute ------------------------------------------------------------------------------------------------------


def test_an_executed_copy_has_the_profile_and_is_current(tmp_path: Path):
    source = notebook(tmp_path, 'PROFILE = "book"\nN = 1', "print(PROFILE, N)")
    target = tmp_path / "out" / "demo.ipynb"
    execute.execute(source, target, "smoke", {"N": 7})
    cells = json.loads(target.read_text())["cells"]
    printed = "".join(cells[-1]["outputs"][0]["text"])
    assert printed == "smoke 7\n"
    assert (
        "remove-cell"
        in next(c for c in cells if "injected-parameters" in c["metadata"].get("tags", []))["metadata"]["tags"]
    )
    assert execute.is_current(target, execute.run_key(source, "smoke", {"N": 7}))
    assert not execute.is_current(target, execute.run_key(source, "smoke", {"N": 8}))
    assert not execute.is_current(target, execute.run_key(source, "book", {"N": 7}))
    source.write_text(source.read_text().replace("print(PROFILE", "print(1, PROFILE"))
    assert not execute.is_current(target, execute.run_key(source, "smoke", {"N": 7}))


def test_runs_over_seeds_become_means_and_spreads():
    runs = [
        {"score": 1.0, "count": 3, "hits": 4, "name": "a", "verdict": "yes", "fixed": 2.0},
        {"score": 2.0, "count": 3, "hits": 6, "name": "a", "verdict": "no", "fixed": 2.0},
    ]
    merged = execute.over_runs(runs)
    assert {key: merged[key] for key in ("count", "name", "fixed", "fixed std")} == {
        "count": 3, "name": "a", "fixed": 2.0, "fixed std": 0.0,
    }  # fmt: skip
    assert (merged["score"], merged["hits"]) == (1.5, 5.0) and "verdict" not in merged and "name std" not in merged
    assert merged["score std"] == pytest.approx(0.5**0.5)
    assert merged["score high"] == pytest.approx(1.5 + 12.706 * 0.5, abs=1e-3)  # Student's t with one degree of freedom
    assert "score std" not in execute.over_runs(runs[:1])


def test_a_recorded_run_over_seeds_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cells = ("PROFILE = 'book'\nSEED = 0", "from ask_lib.show.record import record\nrecord('score', 1.5 * SEED)")
    source = notebook(tmp_path, *cells)
    monkeypatch.setattr(execute, "chosen_notebooks", lambda names: [source])
    monkeypatch.setattr(execute, "BUILD", tmp_path)
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    execute.record_run("over", ["demo"], "smoke", {}, [2])
    first = (tmp_path / "recorded" / "over-seed2.ipynb").stat().st_mtime_ns
    execute.record_run("over", ["demo"], "smoke", {}, [2, 4])
    assert (tmp_path / "recorded" / "over-seed2.ipynb").stat().st_mtime_ns == first
    kept = json.loads((tmp_path / "over.json").read_text())
    assert kept["values"]["score"] == 4.5 and kept["values"]["score std"] == pytest.approx(1.5 * 2**0.5)
    assert kept["seeds"] == [2, 4] and kept["details"]["runs"] == {"2": {"score": 3.0}, "4": {"score": 6.0}}
    assert "--seeds 2 4" in kept["command"] and "SEED" not in kept["settings"]
    with pytest.raises(ToolError):
        execute.record_run("over", [], "smoke", {}, [])


PARAMETERS = {
    "FLAG": True, "NOTHING": None, "COUNT": 3, "RATE": 0.5, "SIZES": [1, 2], "WORDS": "two words; $HOME 'n' more",
    "TEXT": "true", "DIGITS": "007", "NUMBER": "7", "EMPTY": "", "WEIGHTS": "/mine/realdata/my weights/w.pt",
    "IMAGES": "/mine/realdata", "DATA": "/mine/own data",
}  # fmt: skip


def recorded_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any]) -> str:
    source = notebook(tmp_path, "\n".join(f"{name} = None" for name in parameters))
    monkeypatch.setattr(execute, "chosen_notebooks", lambda names: [source])
    monkeypatch.setattr(execute, "_recorded_run", lambda *args, **more: {"score": 1.0})
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    execute.record_run("typed", ["demo"], "smoke", parameters)
    return str(json.loads((tmp_path / "typed.json").read_text())["command"])


def test_a_recorded_command_gives_a_shell_the_same_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    command = recorded_command(tmp_path, monkeypatch, PARAMETERS)
    script = f"python() {{ printf '%s\\n' \"$@\"; }}; {command}"
    environ = {**os.environ, "ASK_REALDATA": "/another place"}
    words = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=environ).stdout
    lines = words.splitlines()
    found = execute.parse_parameters([word for before, word in itertools.pairwise(lines) if before == "-p"])
    places = {"WEIGHTS": "/another place/my weights/w.pt", "IMAGES": "/another place", "DATA": "own data"}
    assert found == PARAMETERS | places


def test_a_recorded_command_writes_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    command = recorded_command(tmp_path, monkeypatch, {"X": True, "Y": None})
    assert shlex.split(command)[-4:] == ["-p", "X=true", "-p", "Y=null"]


@pytest.mark.parametrize("name", ["../out", "a/b", "a.b", "", "two words", "line\n"])
def test_a_recorded_run_stays_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    ran: list[object] = []
    monkeypatch.setattr(execute, "_recorded_run", lambda *args, **more: ran.append(args) or {})
    monkeypatch.setattr(results, "RESULTS", tmp_path / "in" / "results")
    for write in (
        lambda: execute.record_run(name, ["00_start_here"], "smoke", {}),
        lambda: results.write_result(name, "make", {}, {}),
    ):
        with pytest.raises(ToolError, match="letters, digits, _ and - only"):
            write()
    assert not ran and not list(tmp_path.rglob("*"))


def test_a_half_written_copy_is_not_current(tmp_path: Path):
    path = tmp_path / "half.ipynb"
    path.write_text('{"cells": [')
    assert not execute.is_current(path, "key")


def test_an_error_in_a_cell_names_notebook_cell_and_traceback(tmp_path: Path):
    source = notebook(tmp_path, "N = 1", "x = 1\nraise ValueError('the washbasin is missing')")
    target = tmp_path / "out" / "demo.ipynb"
    with pytest.raises(ToolError) as caught:
        execute.execute(source, target, "smoke", {})
    message = str(caught.value)
    assert "demo.ipynb" in message and "x = 1" in message
    assert "ValueError: the washbasin is missing" in message and "Traceback" in message
    assert not target.exists()
    assert (tmp_path / "out" / "demo.failed.ipynb").exists()


def test_a_missing_kernel_gives_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from jupyter_client.kernelspec import KernelSpecManager

    def missing(self: object, name: str) -> None:
        from jupyter_client.kernelspec import NoSuchKernel

        raise NoSuchKernel(name)

    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", missing)
    source = notebook(tmp_path, "N = 1")
    with pytest.raises(ToolError, match=r"no Jupyter kernel named 'python3'.*make again") as caught:
        execute.execute(source, tmp_path / "out" / "demo.ipynb", "smoke", {})
    assert "\n" not in str(caught.value)


def test_parameters_are_read_as_json_or_text_and_paths_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my" / "pictures").mkdir(parents=True)
    parsed = execute.parse_parameters(["K=16", "GAMMA=0.7", "NAME=squeezenet1_0", "IMAGES=my/pictures"])
    assert parsed == {"K": 16, "GAMMA": 0.7, "NAME": "squeezenet1_0", "IMAGES": str(tmp_path / "my" / "pictures")}
    with pytest.raises(ToolError, match="expected NAME=value"):
        execute.parse_parameters(["K"])


def test_a_knob_without_a_slash_is_a_path_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pt").write_bytes(b"x")
    (tmp_path / "layer3").mkdir()
    parsed = execute.parse_parameters(["WEIGHTS=w.pt", "LAYER=layer3", "IMAGES="])
    assert parsed == {"WEIGHTS": str(tmp_path / "w.pt"), "LAYER": "layer3", "IMAGES": ""}


def test_the_files_that_a_parameter_names_are_part_of_the_key(tmp_path: Path):
    source = notebook(tmp_path, 'PROFILE = "book"\nWEIGHTS = ""')
    file = tmp_path / "w.pt"
    file.write_bytes(b"first")
    before = execute.run_key(source, "smoke", {"WEIGHTS": str(file)})
    file.write_bytes(b"second one")
    assert execute.run_key(source, "smoke", {"WEIGHTS": str(file)}) != before


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"WEIGHT": "x"}, "Did you mean WEIGHTS"),
        ({"PROFILE": "gpu"}, "set by --profile"),
        ({"N": 1}, "no parameter 'N'"),
    ],
)
def test_a_parameter_that_the_chapter_lacks_is_refused(tmp_path: Path, parameters: dict[str, object], said: str):
    source = notebook(tmp_path, 'PROFILE = "book"\nWEIGHTS = ""')
    with pytest.raises(ToolError, match=said):
        execute.check_names(source, parameters)


def test_a_kernel_that_dies_gives_one_line(tmp_path: Path):
    source = notebook(tmp_path, "N = 1", "import os; os._exit(1)")
    with pytest.raises(ToolError, match=r"the kernel died while it ran demo.ipynb.*too little memory") as caught:
        execute.execute(source, tmp_path / "out" / "demo.ipynb", "smoke", {})
    assert "\n" not in str(caught.value)


def test_a_kernel_that_does_not_start_gives_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    broken = tmp_path / "share" / "jupyter" / "kernels" / "python3"
    broken.mkdir(parents=True)
    command = [sys.executable, "-c", "raise SystemExit(1)", "{connection_file}"]
    spec = {"argv": command, "display_name": "x", "language": "python"}
    (broken / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share" / "jupyter"))
    source = notebook(tmp_path, "N = 1")
    with pytest.raises(ToolError, match=r"does not start.*make distclean") as caught:
        execute.execute(source, tmp_path / "out" / "demo.ipynb", "smoke", {})
    assert "\n" not in str(caught.value)


def test_an_unknown_chapter_is_refused_with_the_known_ones():
    with pytest.raises(ToolError, match=r"no such notebook: 77_nothing\. There are: 00_start_here"):
        execute.run_all("smoke", {}, ["00_start_here", "77_nothing"])


# --- expected values; the other guards are in test_notebooks ---------------------------------------------------------


@pytest.mark.parametrize(
    ("guard", "near", "far"),
    [
        ({"value": 0.8, "std": 0.5}, 0.849, 0.851),  # a share: five points
        ({"value": -1.0, "std": 0.5}, -1.049, -1.051),
        ({"value": 62.0, "std": 1.0}, 64.9, 65.1),  # percent: three standard deviations
        ({"value": 62.0, "std": 9.0}, 66.9, 67.1),  # five points
        ({"value": 62.0, "std": 9.0, "most": 8.0}, 69.9, 70.1),
        ({"value": 0.8, "std": 0.5, "most": 0.02}, 0.819, 0.821),
    ],
)
def test_the_most_that_a_trained_number_may_be_off_has_its_unit(guard: dict[str, float], near: float, far: float):
    assert expect.differences({"a": near}, {"a": guard}) == []
    assert len(expect.differences({"a": far}, {"a": guard})) == 1
    assert expect.new_guard(far, guard) == {**guard, "value": far}


@pytest.mark.parametrize("kind", ["relative", "within", "std"])
@pytest.mark.parametrize("text", ["more", True])
def test_a_number_that_became_text_is_a_difference(kind: str, text: str | bool):
    for value, wanted in ((text, 0.5), (0.5, text), (text, text)):
        assert len(expect.differences({"a": value}, {"a": {"value": wanted, kind: 0.1}})) == 1
    assert expect.new_guard(text, {"value": 0.5, kind: 0.1}) == {"value": text}


def test_a_value_may_be_one_of_some_texts():
    guard = {"any": ["within chance", "more than chance"]}
    for right in guard["any"]:
        assert expect.differences({"a": right}, {"a": guard}) == []
        assert expect.new_guard(right, guard) == guard
    for wrong in ("less than chance", "chance", 1.0, True):
        (line,) = expect.differences({"a": wrong}, {"a": guard})
        assert repr(wrong) in line and "'more than chance'" in line
        assert expect.new_guard(wrong, guard) == guard


@pytest.mark.parametrize("texts", [[], ["a"], ["a", "a"], "ab", ["a", 1]])
def test_a_guard_of_fewer_than_two_texts_is_refused(texts: object):
    for recorded in ({"word": "a"}, {}):
        with pytest.raises(ToolError, match=r"word: .*two texts or more"):
            expect.differences(recorded, {"word": {"any": texts}})


# --- failures in one line ---------------------------------------------------------------------------------------


def test_a_full_disk_gives_one_line(capsys: pytest.CaptureFixture[str]):
    def body() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/somewhere/file")

    assert exit_status(body) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: the disk is full (/somewhere/file)") and error.count("\n") == 1


def test_other_errors_of_the_system_are_not_swallowed():
    def body() -> None:
        raise OSError(errno.EIO, "a bad cable")

    with pytest.raises(OSError, match="a bad cable"):
        exit_status(body)


def test_a_folder_that_may_not_be_written_gives_one_line(capsys: pytest.CaptureFixture[str]):
    def body() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/book/_build")

    assert exit_status(body) == 1
    assert capsys.readouterr().err == "error: may not write /book/_build: Permission denied\n"


def test_an_environment_of_another_python_is_made_anew(tmp_path: Path):
    python = tmp_path / "python"
    assert not environment.is_usable(python)
    python.write_text("#!/bin/sh\necho 3 9\n")
    python.chmod(0o755)
    assert not environment.is_usable(python)
    assert environment.is_usable(Path(sys.executable))


def test_a_python_that_cannot_make_environments_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(environment.SetupError, match="apt-get install python3-venv"):
        environment.check_ensurepip()


@pytest.mark.parametrize("version", [(3, 10), (3, 14), (2, 7)])
def test_a_wrong_python_is_refused(version: tuple[int, int]):
    with pytest.raises(environment.SetupError, match=r"this is Python .*3\.11, 3\.12 or 3\.13"):
        environment.check_python(version)


def test_a_disk_without_room_for_the_environment_is_refused(tmp_path: Path):
    with pytest.raises(environment.SetupError, match=r"GB free below .*needs about 1000000000 GB"):
        environment.check_space(tmp_path, needed_gb=1e9)


def test_the_environment_of_this_run_is_current():
    stamp = Path(sys.prefix) / environment.STAMP
    packages = ["--editable", f"{ROOT}[book,test,docs]"]
    if not stamp.is_file() or stamp.read_text() != environment.fingerprint(packages, []):
        pytest.fail("pyproject.toml or constraints.txt changed since the environment was made: run make test")
    assert environment.make(Path(sys.prefix), packages, []) is False


def test_a_missing_browser_fails_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("ASK_CHROMIUM", raising=False)
    monkeypatch.delenv("BROWSER", raising=False)
    with pytest.raises(ToolError, match="apt-get install chromium"):
        check_browser.require_chromium()
    monkeypatch.setenv("BROWSER", "skip")
    check_browser.require_chromium()


@pytest.mark.parametrize("tool", ["execute", "render", "check_pages", "expect", "notebooks", "record_scda"])
def test_each_tool_has_help(tool: str):
    command = [sys.executable, "-m", f"tools.{tool}", "--help"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0 and "usage: python -m tools" in result.stdout


def test_make_help_lists_the_commands():
    result = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in ("book", "test", "clean", "serve", "lint", "check", "notebook"):
        assert f"make {name} " in result.stdout


def test_make_with_a_wrong_python_gives_one_clear_line(tmp_path: Path):
    script = tmp_path / "old.py"
    script.write_text(
        "import sys; sys.path.insert(0, 'tools'); import environment\n"
        "environment.check_python.__defaults__ = ((3, 9),)\n"
        "raise SystemExit(environment.main([]))\n"
    )
    fake = tmp_path / "python3.9"
    fake.write_text(f"#!/bin/sh\nexec {sys.executable} {script}\n")
    fake.chmod(0o755)
    result = subprocess.run(["make", "env", f"PYTHON={fake}"], cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert result.returncode != 0
    assert len(lines) == 1 and lines[0].startswith("error: Python 3.11, 3.12 or 3.13 is needed")


# --- atomic writing -----------------------------------------------------------------------------------------------


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "file.json"
    write_atomic(path, "old")

    def killed(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["file.json"]


def test_fingerprints_keep_their_parts_apart():
    assert project.digest([b"ab", b"c"]) != project.digest([b"a", b"bc"])


# --- the rendered pages: each check is shown to fail ----------------------------------------------------------------


@pytest.fixture(scope="module")
def site() -> Path:
    folder = site_path("smoke")
    assert (folder / "index.html").is_file(), "make test renders the smoke profile before pytest"
    return folder


def test_the_rendered_book_has_no_problem(site: Path):
    assert problems_of(site, toc_pages()) == []


def test_what_any_page_may_show_calls_for_a_build_from_nothing(monkeypatch: pytest.MonkeyPatch):
    from tools import render

    pages, shared = render.render_keys("smoke")
    read = Path.read_bytes
    for name, changed in {"results": 1, "published.json": 1, "notation.md": 0, "sphinx_book.py": 1}.items():

        def edited(self: Path, name: str = name) -> bytes:
            return read(self) + (b" " if name in str(self) else b"")

        monkeypatch.setattr(Path, "read_bytes", edited)
        now = render.render_keys("smoke")
        assert (now[changed] != (pages, shared)[changed]) and now[1 - changed] == (pages, shared)[1 - changed], name


def test_what_stopped_sphinx_is_not_called_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import jupyter_book.sphinx

    from tools import render

    full = OSError(errno.ENOSPC, "No space left on device", "page.html")
    monkeypatch.setattr(jupyter_book.sphinx, "build_sphinx", lambda *a, **k: full)
    with pytest.raises(OSError, match="No space left"):
        render._sphinx(tmp_path, "smoke")


def test_images_of_earlier_builds_are_removed(tmp_path: Path):
    from tools import render

    for name in ("_images/old.png", "_images/new.png", "_static/frames/old.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "page.html").write_text('<img src="_images/new.png">')
    render._prune(tmp_path)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"page.html", "new.png"}


@pytest.fixture
def copy(site: Path, tmp_path: Path) -> Path:
    """The pages without MathJax, which is most of the files and is not under test here."""
    folder = tmp_path / "site"
    shutil.copytree(site, folder, ignore=shutil.ignore_patterns("mathjax", "*.map"))
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("new", "problem"),
    [
        ('<img src="../_static/cover.svg">', "image without alt text"),
        ('<script src="https://cdn.example.org/x.js"></script>', "loads from another host"),
        ('<img alt="x" src="nothing.png">', "loads a file that is not there"),
        ('<a href="nowhere.html">x</a>', "link to nothing"),
        ('<a href="../../../README.md">x</a>', "link out of the book"),
        ('<object data="https://example.org/x.svg"></object>', "loads from another host"),
        ('<a href="#no-such-place">x</a>', "link to a place that is not there"),
        ('<span class="problematic" id="id1">x</span>', "an unresolved role"),
    ],
)
def test_a_planted_fault_on_a_page_is_seen(copy: Path, new: str, problem: str):
    edit(copy / "book" / "index.html", "</article>", new + "</article>")
    assert any(problem in line and "book/index" in line for line in problems_of(copy, toc_pages()))


def test_a_missing_or_an_empty_page_is_seen(copy: Path):
    (copy / "book" / "notation.html").unlink()
    (copy / "book" / "api.html").write_text("<html><article></article></html>")
    found = problems_of(copy, toc_pages())
    assert "book/notation: missing" in found
    assert any(line.startswith("book/api: almost empty") for line in found)


FAULTS = {
    "{numref}`fig-that-does-not-exist`": "fig-that-does-not-exist",
    "{published}`SCDA/3/Pool6/CUB top1`": "published number: no 'SCDA/3/Pool6/CUB top1'",
    "{recorded}`no_such_run/value`": "no recorded run 'no_such_run'",
    "{cite}`nobody1900nothing`": "nobody1900nothing",
}


@pytest.mark.slow
def test_a_warning_is_a_failure_each_time(tmp_path: Path):
    clone = tmp_path / "clone"
    ignore = shutil.ignore_patterns(".git", ".venv*", "_build", "shared", "*.egg-info", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, clone, ignore=ignore)
    executed = Path("_build") / "executed" / "smoke"
    shutil.copytree(ROOT / executed, clone / executed)
    toc = clone / "_toc.yml"
    toc.write_text("format: jb-book\nroot: book/index\nchapters:\n- file: book/notation\n- file: book/bibliography\n")
    (clone / "book" / "index.md").write_text("# Small book\n\n" + "words " * 30)
    page = clone / "book" / "notation.md"
    page.write_text(page.read_text() + "\n\n" + "\n\n".join(FAULTS) + "\n")
    command = [sys.executable, "-m", "tools.render", "--profile", "smoke"]
    environ = {**os.environ, "PYTHONPATH": str(clone)}
    for _ in range(2):  # the second run must not pass because Sphinx has cached the page
        result = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False, env=environ)
        assert result.returncode == 1, result.stdout + result.stderr
        assert "notation" in result.stderr and "the pages are not finished" in result.stderr
        for said in FAULTS.values():
            assert said in result.stderr
