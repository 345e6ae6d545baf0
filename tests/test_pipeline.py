"""The pipeline's promises: what runs again, what fails with which line, what an interruption leaves."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.conftest import ROOT
from tools import check_browser, environment, execute, expect, imports, project, results
from tools.check_pages import problems_of
from tools.notebooks import KEPT_METADATA
from tools.project import ToolError, exit_status, site_path, toc_pages, write_atomic


def notebook(tmp_path: Path, *sources: str, name: str = "demo.ipynb") -> Path:
    """A small notebook; the first source is its settings."""
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
    "FLAG": True, "COUNT": 3, "RATE": 0.5, "SIZES": [1, 2], "WORDS": "two words; $HOME 'n' more",
    "TEXT": "true", "DIGITS": "007", "NUMBER": "7", "EMPTY": "", "WEIGHTS": "/mine/realdata/my weights/w.pt",
    "IMAGES": "/mine/realdata", "DATA": "/mine/own data",
}  # fmt: skip


def recorded_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any]) -> str:
    source = notebook(tmp_path, "\n".join(f"{name} = {value!r}" for name, value in parameters.items()))
    monkeypatch.setattr(execute, "chosen_notebooks", lambda names: [source])
    monkeypatch.setattr(execute, "_recorded_run", lambda *args, **more: {"score": 1.0})
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    execute.record_run("typed", ["demo"], "smoke", parameters)
    return str(json.loads((tmp_path / "typed.json").read_text())["command"])


def test_a_recorded_command_gives_a_shell_the_same_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    command = recorded_command(tmp_path, monkeypatch, PARAMETERS)
    script = f"python() {{ printf '%s\\n' \"$@\"; }}; {command}"
    place = tmp_path / "another place"
    (place / "my weights").mkdir(parents=True)
    (place / "my weights" / "w.pt").touch()
    (tmp_path / "own data").mkdir()
    environ = {**os.environ, "ASK_REALDATA": str(place)}
    words = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=environ).stdout
    monkeypatch.chdir(tmp_path)
    typed = [word for before, word in itertools.pairwise(words.splitlines()) if before == "-p"]
    places = {"WEIGHTS": place / "my weights" / "w.pt", "IMAGES": place, "DATA": tmp_path / "own data"}
    found = execute.parse_parameters(typed, PARAMETERS)
    assert found == PARAMETERS | {name: str(path) for name, path in places.items()}


def test_a_recorded_command_writes_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    command = recorded_command(tmp_path, monkeypatch, {"X": True, "Y": "true"})
    assert shlex.split(command)[-4:] == ["-p", "X=true", "-p", "Y=true"]


@pytest.mark.parametrize("name", ["../out", "a/b", "a.b", "", "two words", "line\n"])
def test_a_recorded_run_stays_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    ran: list[object] = []
    monkeypatch.setattr(execute, "_recorded_run", lambda *args, **more: ran.append(args) or {})
    monkeypatch.setattr(results, "RESULTS", tmp_path / "in" / "results")
    with pytest.raises(ToolError, match="letters, digits, _ and - only"):
        execute.record_run(name, ["00_start_here"], "smoke", {})
    assert not ran and not list(tmp_path.rglob("*"))


DAMAGED = ['{"cells": [', "", "null", "[]", "7", '{"a": NaN}', "[" * 100_000, "\udcff"]
NO_COPIES = ["{}", '{"metadata": null}', '{"metadata": {"ask": [1]}}']


@pytest.mark.parametrize(
    "text", [*DAMAGED, "{}", '{"metadata": null}', '{"metadata": {"ask": [1]}}'], ids=lambda t: t[:9]
)
def test_a_damaged_copy_is_not_current(tmp_path: Path, text: str):
    path = tmp_path / "half.ipynb"
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert not execute.is_current(path, "key")


@pytest.mark.parametrize("text", [*DAMAGED, '{"cells": null}', '{"cells": [1]}'], ids=lambda text: text[:22])
def test_a_damaged_file_of_ours_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str):
    path = tmp_path / "smoke.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    monkeypatch.setattr(expect, "EXPECTED", tmp_path)
    for read in (execute.default_parameters, expect.recorded_in, lambda path: expect.expected_of("smoke")):
        with pytest.raises(ToolError) as caught:
            read(path)
        assert path.name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [None, [1], {}, "NaN"])
def test_a_recorded_value_that_is_none_is_one_line(tmp_path: Path, value: object):
    about = {"scrapbook": {"name": "score", "value": value}}
    text = json.dumps({"cells": [{"outputs": [{"metadata": about}]}]}).replace('"NaN"', "1e999")
    (tmp_path / "a.ipynb").write_text(text)
    with pytest.raises(ToolError, match=r"a\.ipynb: (score: expected a finite number|.*1e999)"):
        expect.recorded_in(tmp_path / "a.ipynb")


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


DEFAULTS = {"K": 8, "GAMMA": 0.5, "NAME": "", "IMAGES": "", "WEIGHTS": "", "LAYER": "", "FLAG": False, "SIZES": [1]}


def parsed(*pairs: str) -> dict[str, Any]:
    return execute.parse_parameters(pairs, DEFAULTS)


def test_a_knob_is_read_by_its_defaults_type_and_a_path_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("my/pictures", "2024", "layer3"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "w.pt").touch()
    assert parsed("K=16", "GAMMA=1", "FLAG=true", "SIZES=[2, 3]") == {
        "K": 16,
        "GAMMA": 1,
        "FLAG": True,
        "SIZES": [2, 3],
    }
    assert parsed("NAME=2024", "LAYER=layer3", "WEIGHTS=imagenet") == {
        "NAME": "2024", "LAYER": "layer3", "WEIGHTS": "imagenet",
    }  # fmt: skip
    assert parsed("NAME=true", "IMAGES=") == {"NAME": "true", "IMAGES": ""}
    assert parsed("IMAGES=my/pictures", "WEIGHTS=w.pt") == {
        "IMAGES": str(tmp_path / "my" / "pictures"), "WEIGHTS": str(tmp_path / "w.pt"),
    }  # fmt: skip
    assert parsed("IMAGES=2024") == {"IMAGES": str(tmp_path / "2024")}


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("K", "expected NAME=value"),
        ("K=many", "expected a value like its default, 8; got 'many'"),
        ("K=1.5", "its default, 8"),
        ("K=true", "its default, 8"),
        ("GAMMA=NaN", "its default, 0.5"),
        ("FLAG=1", "its default, false"),
        ("SIZES=" + "[" * 100_000, "its default"),
        ("IMAGES=2023", "no file or folder '2023'"),
        ("WEIGHTS=no/such.pt", "no file or folder 'no/such.pt'"),
    ],
    ids=lambda text: text[:12],
)
def test_a_value_of_another_type_and_a_missing_folder_are_one_line(pair: str, said: str):
    with pytest.raises(ToolError) as caught:
        parsed(pair)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_of_dead_links_loops_and_names_that_are_not_utf8_has_a_key(tmp_path: Path):
    source = notebook(tmp_path, 'PROFILE = "book"\nIMAGES = ""')
    folder, elsewhere = tmp_path / "pictures", tmp_path / "elsewhere"
    for path in (folder, elsewhere):
        path.mkdir()
    (folder / "dead").symlink_to("nowhere")
    (folder / "loop").symlink_to(folder)
    (folder / "class").symlink_to(elsewhere)
    Path(os.fsdecode(bytes(folder) + b"/\xff\n.png")).touch()
    parameters = execute.parse_parameters([f"IMAGES={folder}"], DEFAULTS)
    keys = {execute.run_key(source, "smoke", parameters)}
    (elsewhere / "new.png").touch()
    keys.add(execute.run_key(source, "smoke", parameters))
    (folder / "dead").unlink()
    keys.add(execute.run_key(source, "smoke", parameters))
    assert len(keys) == 3
    odd = os.fsdecode(bytes(tmp_path) + b"/\xff")
    Path(odd).mkdir()
    with pytest.raises(ToolError, match="not UTF-8"):
        execute.parse_parameters([f"IMAGES={odd}"], DEFAULTS)


def test_the_files_that_a_parameter_names_are_part_of_the_key(tmp_path: Path):
    source = notebook(tmp_path, 'PROFILE = "book"\nWEIGHTS = ""')
    file = tmp_path / "w.pt"
    file.write_bytes(b"first")
    before = execute.run_key(source, "smoke", {"WEIGHTS": str(file)})
    file.write_bytes(b"second one")
    assert execute.run_key(source, "smoke", {"WEIGHTS": str(file)}) != before


MODULES = {
    "ask_lib/__init__.py": "",
    "ask_lib/used.py": "def run():\n    from ask_lib.models import net\n    return net",
    "ask_lib/other.py": "import ask_lib.used",
    "ask_lib/models/__init__.py": "",
    "ask_lib/models/net.py": "import torch, ask_scenes.rooms",
    "ask_lib/models/beside.py": "",
    "ask_lib/models/packaged/net.bin": "weights",
    "ask_lib/show/__init__.py": "",
    "ask_lib/show/page.js": "",
    "ask_scenes/__init__.py": "",
    "ask_scenes/rooms.py": "",
    "ask_scenes/objects.py": "",
}


@pytest.mark.parametrize("touched", MODULES)
def test_only_what_a_chapter_imports_makes_it_stale(tmp_path: Path, touched: str):
    source = notebook(tmp_path, "N = 1", "import ask_lib.used", "this is no Python")
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    before = execute.run_key(source, "smoke", {}, tmp_path)
    (tmp_path / touched).write_text(MODULES[touched] + "\n# touched")
    unrelated = {"ask_lib/other.py", "ask_lib/models/beside.py", "ask_lib/show/__init__.py", "ask_lib/show/page.js",
                 "ask_scenes/objects.py"}  # fmt: skip
    assert (execute.run_key(source, "smoke", {}, tmp_path) == before) == (touched in unrelated)


def test_an_import_in_any_form_is_found():
    forms = (
        "import ask_lib.a as b\nfrom ask_lib import c\ndef later():\n    from ask_scenes.d import e, f\nfrom . import g"
    )
    assert imports.imported_names(forms) == {
        "ask_lib.a", "ask_lib", "ask_lib.c", "ask_scenes.d", "ask_scenes.d.e", "ask_scenes.d.f",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", []),
        ("K=1", ["K=1"]),
        ("IMAGES=my own pictures K=1", ["IMAGES=my own pictures", "K=1"]),
        ('NAME=it\'s "$HOME" $$(date) `date` \\x  K=', ['NAME=it\'s "$HOME" $$(date) `date` \\x', "K="]),
        ("K", ["K"]),
    ],
)
def test_make_hands_parameters_on_as_they_were_typed(tmp_path: Path, typed: str, words: list[str]):
    assert execute.words_of(typed) == words
    said = tmp_path / "said"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nprintf "%s" "$ASK_PARAMS" > {said}\n')
    python.chmod(0o755)
    subprocess.run(["make", "-o", "env", "notebook", f"RUN={python}", f"PARAMS={typed}"], cwd=ROOT, check=True)
    assert said.read_text() == typed


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


@pytest.mark.parametrize(
    "guard",
    [None, [], {}, "a", {"value": None}, {"value": [1]}, {"value": 1, "relativ": 1}, {"value": 1.0, "std": "a"},
     {"low": 1.0}, {"low": None, "high": 1.0}, {"below": 1}, {"value": float("inf")}, {"value": 1.0, "within": True}],
)  # fmt: skip
def test_what_is_no_guard_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guard: Any):
    with pytest.raises(ToolError, match=r"score: .*guard"):
        expect.differences({"score": 1.0}, {"score": guard})


def test_one_chapters_expected_values_are_written_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(expect, "EXPECTED", tmp_path)
    old = {
        "00_start_here": {"a": {"value": 1}},
        "01_scda": {"b": {"value": 1.0, "within": 0.5}},
        "no_chapter": {"c": {"value": 1}},
    }
    (tmp_path / "smoke.json").write_text(json.dumps(old))
    monkeypatch.setattr(expect, "recorded_of", lambda profile, names: {name: {"b": 2.0} for name in names})
    assert expect.main(["01_scda"]) == 1
    assert "2.0, expected 1.0 within 0.5" in capsys.readouterr().out
    assert expect.main(["01_scda", "--write"]) == 0
    assert expect.expected_of("smoke") == {
        "00_start_here": {"a": {"value": 1}}, "01_scda": {"b": {"value": 2.0, "within": 0.5}},
    }  # fmt: skip
    assert expect.main(["01_scda"]) == 0


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


@pytest.mark.parametrize(
    ("mode", "kind", "verb"),
    [
        (0o000, errno.EACCES, "read"),
        (0o200, errno.EACCES, "read"),
        (0o400, errno.EACCES, "write"),
        (0o600, errno.EROFS, "write"),
        (None, errno.EACCES, "write"),
        (0o600, errno.EACCES, "enter the folder of"),
    ],
)
def test_a_file_that_may_not_be_used_gives_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    mode: int | None, kind: int, verb: str,
):  # fmt: skip
    path = tmp_path / "picture.png"
    if mode is not None:
        path.touch()
        path.chmod(mode)
    if verb == "enter the folder of":
        tmp_path.chmod(0o600)
    bits = {os.R_OK: stat.S_IRUSR, os.X_OK: stat.S_IXUSR}
    # The tests may run as root, who may read everything: the owner's bits decide here.
    monkeypatch.setattr(
        os, "access", lambda name, how: Path(name).exists() and bool(not how or Path(name).stat().st_mode & bits[how])
    )

    def body() -> None:
        raise OSError(kind, os.strerror(kind), str(path))

    assert exit_status(body) == 1
    tmp_path.chmod(0o700)
    assert capsys.readouterr().err == f"error: may not {verb} {path}: {os.strerror(kind)}\n"


HOLD = """
import sys, time
from pathlib import Path
from tools import project
project.BUILD = Path(sys.argv[1])
with project.work_folder("demo") as folder:
    (folder / "half").touch()
    print(folder, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_run_left_is_removed_and_a_run_that_lives_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(project, "BUILD", tmp_path)
    runs = [
        subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for _ in range(2)
    ]
    folders = [Path(run.stdout.readline().strip()) for run in runs if run.stdout]
    parts = [tmp_path / f"table.json.{run.pid}-0badcafe.part" for run in runs]
    foreign = tmp_path / "table.json.mine.part"
    try:
        for path in [*parts, foreign]:
            path.touch()
        runs[0].send_signal(signal.SIGKILL)
        runs[0].wait()
        assert folders[0].is_dir()
        with project.work_folder("demo"):
            assert not folders[0].exists() and (folders[1] / "half").exists()
        write_atomic(tmp_path / "table.json", "new")
        assert [path.exists() for path in [*parts, foreign]] == [False, True, True]
    finally:
        for run in runs:
            run.kill()
            run.communicate()


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


def test_each_tool_has_help_and_needs_no_torch_for_it():
    code = (
        "import contextlib, importlib, sys\n"
        "for tool in ('execute', 'expect', 'notebooks', 'new_chapter'):\n"
        "    with contextlib.suppress(SystemExit):\n"
        "        importlib.import_module(f'tools.{tool}').main(['--help'])\n"
        "assert 'torch' not in sys.modules\n"
        "for tool in ('render', 'check_pages'):\n"
        "    with contextlib.suppress(SystemExit):\n"
        "        importlib.import_module(f'tools.{tool}').main(['--help'])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.count("usage: python -m tools.") == 6


def test_make_help_lists_the_commands():
    result = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in ("book", "test", "test-fast", "clean", "serve", "lint", "check", "notebook", "expect"):
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
    assert imports.digest([b"ab", b"c"]) != imports.digest([b"a", b"bc"])


# --- the rendered pages: each check is shown to fail ----------------------------------------------------------------


@pytest.fixture(scope="module")
def site() -> Path:
    folder = site_path("smoke")
    assert (folder / "index.html").is_file(), "make test renders the smoke profile before pytest"
    return folder


@pytest.mark.built
def test_the_rendered_book_has_no_problem(site: Path):
    assert problems_of(site, toc_pages()) == []


def test_what_any_page_may_show_calls_for_a_build_from_nothing(monkeypatch: pytest.MonkeyPatch):
    from tools import render

    pages, shared = render.render_keys("smoke")
    read = Path.read_bytes
    kinds = {"results": 1, "published.json": 1, "options.py": 1, "notation.md": 0, "sphinx_book.py": 1}
    for name, changed in kinds.items():

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


@pytest.mark.built
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


@pytest.mark.built
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
@pytest.mark.built
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
    result = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False, env=environ)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "notation" in result.stderr and "the pages are not finished" in result.stderr
    for said in FAULTS.values():
        assert said in result.stderr
    # What Sphinx has read is gone: else a second run would pass, since it does not warn of a page that it knows.
    assert not (clone / "_build" / "doctrees-smoke").exists()
