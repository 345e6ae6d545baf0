import json
import time

import pytest
import torch

from ask_lib.errors import ChoiceError, ResultError
from ask_lib.results import new_result, write_result
from ask_lib.train import run as runs
from ask_lib.train.__main__ import main
from ask_lib.train.loop import Run
from ask_lib.train.run import row_config, run_table
from ask_lib.train.tasks import TABLES, Row, Table
from tests.train_children import command_line, spawner

QUICK = ("epochs=1", "count=60", "test_count=12")


@pytest.fixture
def small(monkeypatch, tmp_path):
    rows = {"plain": Row("toy", QUICK), "depth": Row("toy", (*QUICK, "modality=depth"))}
    monkeypatch.setitem(TABLES, "small", Table("A small one", rows, (0, 1)))
    done = []
    real = runs.run
    monkeypatch.setattr(runs, "run", lambda config, **given: (done.append(config), real(config, **given))[1])
    given = {"results": tmp_path / "results", "runs": tmp_path / "runs", "progress": False, "command": "make it"}
    return given, done


def test_a_table_holds_its_numbers_and_what_they_stand_on(small):
    given, done = small
    content = run_table("small", **given)
    assert json.loads((given["results"] / "small.json").read_text()) == content
    assert len(done) == 4 and list(content["rows"]) == ["plain", "depth"] and content["seeds"] == [0, 1]
    assert content["command"] == "make it" and content["data"] == {"toy": "toy-1"} and content["commit"]
    assert content["complete"]
    assert content["environment"]["device"] == "cpu" and content["environment"]["torch"]
    row = content["rows"]["depth"]
    assert row["settings"]["modality"] == "depth" and "seed" not in row["settings"]
    values = [row["runs"][seed]["numbers"]["test_accuracy"] for seed in ("0", "1")]
    summary = row["summary"]["test_accuracy"]
    assert summary["mean"] == pytest.approx(sum(values) / 2) and summary["n"] == 2


def test_only_what_is_missing_is_trained(small):
    given, done = small
    first = run_table("small", seeds=[0], **given)
    assert len(done) == 2
    second = run_table("small", **given)
    assert len(done) == 4  # the two of seed 1
    assert second["rows"]["plain"]["runs"]["0"] == first["rows"]["plain"]["runs"]["0"]
    run_table("small", **given)
    assert len(done) == 4
    (given["results"] / "small.json").unlink()  # finished runs are read from their folders
    assert run_table("small", **given)["rows"].keys() == second["rows"].keys() and len(done) == 4


def test_a_changed_config_is_trained_again_and_never_mixed(small, monkeypatch):
    given, done = small
    run_table("small", **given)
    rows = {"plain": Row("toy", (*QUICK, "lr=0.5"))}
    monkeypatch.setitem(TABLES, "small", Table("A small one", rows, (0,)))
    content = run_table("small", **given)
    assert len(done) == 5 and list(content["rows"]) == ["plain"]
    assert list(content["rows"]["plain"]["runs"]) == ["0"] and content["rows"]["plain"]["settings"]["lr"] == 0.5


def test_a_run_that_stopped_goes_on(small, monkeypatch):
    given, done = small
    real = runs.run

    def stops(config, **rest):
        if len(done) == 2:
            raise KeyboardInterrupt
        return real(config, **rest)

    monkeypatch.setattr(runs, "run", stops)
    with pytest.raises(KeyboardInterrupt):
        run_table("small", **given)
    assert list(json.loads((given["results"] / "small.json").read_text())["rows"]) == ["plain"]
    monkeypatch.setattr(runs, "run", real)
    assert list(run_table("small", **given)["rows"]) == ["plain", "depth"] and len(done) == 4


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "[[1]]", "null", "3", '"a"', "[" * 100_000, "NaN", '{"a": NaN}', "{}", '{"rows": {}}', "\x00", "\xff"],
)
def test_what_is_no_table_of_ours_is_refused_and_stays(small, text):
    given, done = small
    given["results"].mkdir()
    path = given["results"] / "small.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ResultError, match=r"small\.json"):
        run_table("small", **given)
    assert path.read_bytes() == text.encode("latin-1") and not done


@pytest.mark.parametrize("row", [[], {}, {"runs": []}, {"runs": {"x": {}}}, {"runs": {"0": {"numbers": {"a": "b"}}}}])
def test_rows_of_another_type_are_refused(small, row):
    given, done = small
    write_result(given["results"], new_result("small", command="", rows={"plain": row}))
    with pytest.raises(ResultError, match=r"small\.json: row 'plain'"):
        run_table("small", **given)
    assert not done


def test_a_damaged_result_of_a_run_is_named(small):
    given, _ = small
    run_table("small", **given)
    (given["results"] / "small.json").unlink()
    (path, *_) = sorted(given["runs"].rglob("result.json"))
    path.write_text("[]")
    with pytest.raises(ResultError, match=r"result\.json"):
        run_table("small", **given)


def test_unknown_tables(small):
    with pytest.raises(ChoiceError, match="Did you mean 'small'"):
        run_table("smal", **small[0])


def test_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "toy", "--out", "a", "--quiet", "--device", "cpu", *QUICK]) == 0
    assert "test_mean_class_accuracy" in json.loads(capsys.readouterr().out)
    result = json.loads((tmp_path / "a" / "result.json").read_text())
    assert result["command"].startswith("python -m ask_lib.train run toy --out a") and result["settings"]["epochs"] == 1
    assert main(["run", "toy", "--out", "a", "--quiet", *QUICK]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["run", "toy", "--out", "b", "lrr=1"]) == 2
    assert "Did you mean 'lr'" in capsys.readouterr().err
    assert main(["table", "toy", "epochs=1"]) == 2
    assert "--results" in capsys.readouterr().err
    assert main(["show", "toy", "lr=0.25"]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["lr"] == 0.25
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    shown = capsys.readouterr().out
    assert stop.value.code == 0 and "toy " in shown and "rooms_pretrain" in shown and "tables:" in shown


def test_a_table_killed_inside_a_run_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    changes = ["epochs=10", "count=150", "batch=24", "test_count=12"]
    words = ["table", "toy", "--device", "cpu", "--quiet", "--seeds", "0", *changes]

    def command(name):
        return [*words, "--results", str(tmp_path / name), "--runs", str(tmp_path / f"runs of {name}")]

    file, folder = tmp_path / "killed" / "toy.json", tmp_path / "runs of killed" / "toy"
    second = folder / f"{row_config(TABLES['toy'].rows['augmented'], 0, changes).digest()}-seed0"
    child = spawner.Process(target=command_line, args=(command("killed"),))
    child.start()
    while not (second / "last.pt").exists():
        assert child.is_alive()
        time.sleep(0.002)
    child.kill()
    child.join()
    first = json.loads(file.read_text())["rows"]
    assert list(first) == ["plain"]

    starts = []
    real = Run.restore
    monkeypatch.setattr(Run, "restore", lambda self: (real(self), starts.append(self) if self.total_steps else None)[0])
    torch.set_num_threads(1)
    assert main(command("killed")) == 0
    (start,) = starts  # the row in hand went on, the one before it was not touched, the one after it began anew
    assert start.config.digest() in second.name
    assert main(command("whole")) == 0
    killed, whole = (json.loads((tmp_path / name / "toy.json").read_text())["rows"] for name in ("killed", "whole"))
    assert list(killed) == list(whole) == list(TABLES["toy"].rows) and killed["plain"] == first["plain"]
    for label, row in whole.items():
        assert killed[label]["summary"] == row["summary"]
        (run,) = killed[label]["runs"].values()
        assert run["command"].startswith("python -m ask_lib.train table toy") and "epochs=10" in run["command"]
        assert len(run["commit"].removesuffix("+changes")) == 40 and run["environment"]["device"] == "cpu"
        assert {"python", "platform", "torch", "numpy"} <= run["environment"].keys()
        assert run["data"] == {"toy": "toy-1"} and run["processes"] == 1 and run["seconds"] > 0
        assert run["numbers"].keys() == row["summary"].keys() and killed[label]["settings"]["epochs"] == 10
