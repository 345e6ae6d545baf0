"""The one command for a CUDA machine, tried without one."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ask_lib.results import new_result, read_result, write_result
from ask_scenes import objects, rooms
from benchmarks import suite
from benchmarks.alternate import alternate, line
from experiments import gpu
from experiments.gpu import Entry, Setting, gpu_test_files, run_all, run_part, run_tests, table
from tests.conftest import ROOT
from tools.imports import imported_names, own_files

JUPYTER = ("anywidget", "ipywidgets", "papermill", "nbformat", "nbclient", "sphinx", "jupyter_client", "IPython")
BARE = (*JUPYTER, "playwright", "traitlets", "jupyter_book", "yaml", "tqdm", "safetensors", "sklearn", "matplotlib")
FINDER = """
import sys
class Bare:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Bare())
"""


def bare(folder: Path, missing: tuple[str, ...]) -> dict[str, str]:
    """An environment whose Python, and every Python that it starts, lacks some packages."""
    (folder / "sitecustomize.py").write_text(FINDER.format(missing=missing))
    return os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


def setting(out: Path, seconds: float = 60) -> Setting:
    return Setting("cpu", True, out, time.time() + seconds)


# --- a machine without much ---------------------------------------------------------------------------------------


def test_it_runs_on_a_bare_machine(tmp_path: Path):
    out = tmp_path / "out"
    words = ["--only", "gpu_drawing", "--device", "cpu", "--tiny", "--minutes", "1", "--out", str(out)]
    command = [sys.executable, "-m", "experiments.gpu", *words]
    done = subprocess.run(command, cwd=ROOT, env=bare(tmp_path, BARE), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    summary, found = read_result(out / "gpu_summary.json"), read_result(out / "gpu_drawing.json")
    assert len(list(out.iterdir())) == 2  # a part leaves its one file
    assert summary["values"] == {"gpu_drawing": "done"} and summary["details"]["gpu_drawing"]["result"] == found
    assert found["command"] == "python -m experiments.gpu --only gpu_drawing --device cpu --tiny"
    assert found["complete"] and found["data"] == {"rooms": rooms.VERSION, "objects": objects.VERSION}
    assert found["values"]["rooms: colours off by more than 1/255, %"] == 0
    assert found["values"]["objects: frames/s in batches of 2"] > 0


def test_the_gpu_tests_can_be_collected_without_jupyter():
    names = [f"tests.{path.stem}" for path in gpu_test_files()]
    assert len(names) >= 9 and "tests.test_train_gpu" in names and "tests.test_gpu_command" not in names
    for path in own_files([*names, "tests.conftest", "experiments.gpu"]):
        first = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        needed = {name.split(".")[0] for node in first for name in imported_names(ast.unparse(node))}
        assert not needed & {*JUPYTER, "playwright", "yaml"}, path


def test_without_cuda_it_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    if gpu.torch.cuda.is_available():
        pytest.skip("has a CUDA device")
    assert gpu.main(["--out", str(tmp_path)]) == 2
    assert re.fullmatch(r"error: device: .*cuda.*\n", capsys.readouterr().err)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "x", "inf", ""])
def test_minutes_are_minutes(text: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        gpu.main([f"--minutes={text}"])
    assert stopped.value.code == 2 and "expected minutes, 0.1 at least" in capsys.readouterr().err


# --- parts and their time -----------------------------------------------------------------------------------------


def fake(name: str, out: Path, minutes: float = 0.01, by: float = 1.0, complete: bool = True) -> Entry:
    content = new_result(name, command="", complete=complete, values={"top1": 50.0}, environment={"device": "cpu"})
    write_result(out / "prepared", content)
    return Entry(name, "", minutes, ("tests.gpu_children", name, "{out}", "{device}", "{seconds}"), by)


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().split()[2] != "Z"


def test_each_part_has_its_end_and_leaves_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    parts = [
        fake("hangs", tmp_path, by=0.15, complete=False),
        fake("fails", tmp_path),
        fake("long", tmp_path, minutes=3),
        fake("good", tmp_path),
    ]
    began = time.time()
    summary = run_all(parts, setting(tmp_path, 20), "the command")
    assert 2.9 < time.time() - began < 16
    assert read_result(tmp_path / "gpu_summary.json") == summary and summary["complete"]
    assert summary["values"]["hangs"] == "stopped" and summary["values"]["fails"] == "failed (status 3)"
    assert re.fullmatch(r"not begun: needs 3 min, 0\.\d left", summary["values"]["long"])
    assert summary["values"]["good"] == "done" and summary["details"]["good"]["said"] == ""
    assert summary["details"]["hangs"]["result"]["values"] == {"top1": 50.0}
    assert re.match(r"fails cpu \d+ --tiny\n", summary["details"]["fails"]["said"])
    assert not alive(int((tmp_path / "pid").read_text()))
    assert list(table(summary))[-2:] == [
        f"{'good':16} {summary['details']['good']['seconds']:6.0f} s  done",
        "    top1: 50.0",
    ]
    assert [gpu.well(part) for part in summary["details"].values()] == [False, False, False, True]


@pytest.mark.parametrize("function", [False, True], ids=["command", "function"])
@pytest.mark.parametrize(
    ("name", "state"), [("idle", "stopped"), ("stuck", "stopped"), ("fails", "failed (status 3)"), ("good", "done")]
)
def test_an_older_file_is_not_this_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, state: str, function: bool
):
    entry = fake(name, tmp_path)
    (tmp_path / f"{name}.json").write_bytes((tmp_path / "prepared" / f"{name}.json").read_bytes())
    if function:
        words = gpu.words_of(entry, setting(tmp_path), 0)
        monkeypatch.setattr(gpu, "words_of", lambda *args: words)
        entry = Entry(name, "", 0.01, lambda setting, keep: {})
    found = gpu.run_entry(entry, setting(tmp_path), time.time() + (1 if name == "stuck" else 60))
    mine = name == "good" or (function and name == "idle")  # `run_part` says that what is there is of the same code
    assert found["state"] == ("done" if mine else state) and (found["result"] is not None) == mine
    assert mine or "this run did not write it" in found["said"]


def test_a_finished_part_is_kept_and_a_stopped_one_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    made: list[int] = []

    def make(setting: Setting, keep: gpu.Keep) -> dict[str, Any]:
        made.append(1)
        keep(values={"n": 0})
        if len(made) == 1:
            raise KeyboardInterrupt
        return {"values": {"n": len(made)}}

    entry = Entry("mine", "Mine", 0, make)
    with pytest.raises(KeyboardInterrupt):
        run_part(entry, setting(tmp_path))
    assert not read_result(tmp_path / "mine.json")["complete"]
    for _ in range(2):
        run_part(entry, setting(tmp_path))
        assert read_result(tmp_path / "mine.json")["values"] == {"n": 2}
    assert capsys.readouterr().out == "kept\n"
    (tmp_path / "mine.json").write_text("[]")
    run_part(entry, setting(tmp_path))
    assert made == [1, 1, 1]


def test_names_are_of_their_own():
    names = [entry.name for entry in gpu.PARTS]
    assert len({*names, gpu.SUMMARY}) == len(names) + 1


# --- the tests as a part ------------------------------------------------------------------------------------------

FILES = {
    "test_mixed.py": "import pytest\npytestmark = getattr(pytest.mark, 'gpu')\ndef test_a(): pass\n"
    "@pytest.mark.parametrize('x', [1, 2])\ndef test_b(x): assert x == 1, 'x is wrong'\n"
    "def test_c(): pytest.skip('no')\n",
    "test_broken.py": "import no_such_package\n",
    "test_none.py": "def test_other(): assert False\n",
    "test_dies.py": "import pytest, os\npytestmark = getattr(pytest.mark, 'gpu')\ndef test_a(): pass\n"
    "def test_b(): os.abort()\n",
}


def test_outcomes_of_tests_are_counted(tmp_path: Path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    kept: list[dict[str, Any]] = []
    record = run_tests(setting(tmp_path), lambda **found: kept.append(found), sorted(tmp_path.glob("test_*.py")))
    assert len(kept) == 4 and record["complete"] is True
    assert record["values"] == {
        "passed": 3, "failed": 1, "skipped": 1, "files": 4,
        "files not well": "test_broken.py, test_dies.py, test_mixed.py",
    }  # fmt: skip
    found = record["details"]
    states = {name: each["state"] for name, each in found.items()}
    assert states == {
        "test_mixed.py": "failed", "test_broken.py": "failed", "test_none.py": "none for this machine",
        "test_dies.py": "failed",
    }  # fmt: skip
    assert [name.split("/")[-1] for name in found["test_mixed.py"]["not passed"]] == ["test_mixed.py::test_b[2]"]
    assert "x is wrong" in found["test_mixed.py"]["said"] and "no_such_package" in found["test_broken.py"]["said"]
    assert found["test_none.py"]["said"] == "" and found["test_dies.py"]["passed"] == 1


def test_tests_whose_time_is_over_are_stopped(tmp_path: Path):
    (tmp_path / "test_hangs.py").write_text("import time\ntime.sleep(60)\n")
    record = run_tests(setting(tmp_path, 0.5), lambda **found: None, [tmp_path / "test_hangs.py"])
    assert record["complete"] is False and record["details"]["test_hangs.py"]["state"] == "stopped"


def test_without_pytest_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: None)
    assert run_tests(setting(tmp_path), lambda **found: None) == {"values": {"pytest": "not installed"}}


# --- benchmarks ---------------------------------------------------------------------------------------------------


def test_a_benchmark_is_a_line():
    theirs, ours = alternate({"slow": lambda: time.sleep(0.02), "quick": lambda: time.sleep(0.002)}, rounds=3)
    assert re.fullmatch(r"naps: \d+\.\d\d ms / \d+\.\d\d ms = 0\.\d{3}", line("naps", ours, theirs))


@pytest.mark.parametrize(
    "name",
    ["scda", "components", "crow", "cross_layer_pooling", "interactive", "interactive_captum", "hha", "dlfs", "ask"],
)
def test_a_benchmark_runs(name: str, capsys: pytest.CaptureFixture[str]):
    assert suite.main(["--tiny", "--rounds", "2", name]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines and all(re.fullmatch(r".+: [\d.]+ ms / [\d.]+ ms = [\d.]+", each) for each in lines)


def test_benchmarks_are_listed_and_names_checked(capsys: pytest.CaptureFixture[str]):
    assert suite.main(["--list"]) == 0
    assert [each.split(":")[0] for each in capsys.readouterr().out.splitlines()] == list(suite.BENCHMARKS)
    for words in (["scada"], ["--rounds", "1"]):
        with pytest.raises(SystemExit):
            suite.main(words)


def test_a_benchmark_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fails(size: suite.Size) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(suite, "BENCHMARKS", {"first": fails, "crow": suite.BENCHMARKS["crow"]})
    record = gpu.run_benchmarks(setting(tmp_path), lambda **found: None)
    first, second = record["values"].items()
    assert first == ("first", "failed: RuntimeError") and second[1] > 0
    assert record["details"]["first"] == {"said": "out of memory"}
