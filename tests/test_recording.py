"""What experiments share: kept parts, digests, command lines."""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from ask_lib.errors import ResultError
from ask_lib.results import read_result, shell_word, without_machine
from experiments import recording
from experiments.recording import code_digest, command_of, kept, parser_of, pictures_digest, run, save
from tools.imports import imported_names, own_files

# --- parts --------------------------------------------------------------------------------------------------------


def test_a_part_is_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    made: list[int] = []

    def make() -> dict[str, Any]:
        made.append(1)
        return {"accuracy": 0.5}

    first = kept(tmp_path / "new", "a", "key", make)
    assert kept(tmp_path / "new", "a", "key", make) == first == {"accuracy": 0.5, "seconds": 0.0}
    assert made == [1] and capsys.readouterr().out == "a: begun\na: 0 s\na: kept\n"
    assert kept(tmp_path / "new", "a", "another key", make) == first and made == [1, 1]


@pytest.mark.parametrize(
    "content",
    [
        b"", b'{"key": "key"', b"[]", b'["key", "part"]', b"null", b'{"key": "key"}', b'{"key": "key", "part": null}',
        b'{"key": "key", "part": [1]}', b'{"key": "key", "part": {"a": NaN}}', b"\xff\xfe", b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_damaged_part_is_made_again(tmp_path: Path, content: bytes):
    (tmp_path / "a.json").write_bytes(content)
    assert kept(tmp_path, "a", "key", lambda: {"x": 1}) == {"x": 1, "seconds": 0.0}
    assert json.loads((tmp_path / "a.json").read_text())["part"]["x"] == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
def test_a_part_that_json_cannot_hold_is_refused(tmp_path: Path, value: object):
    with pytest.raises(ResultError, match=r"part 'a' of .* cannot be kept as JSON"):
        kept(tmp_path, "a", "key", lambda: {"x": value})
    assert not list(tmp_path.iterdir())


# --- digests ------------------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    files = {
        "ours/__init__.py": "",
        "ours/start.py": "import torch\nfrom ours import near\ndef f():\n    from ours.deep.far import g\n",
        "ours/near.py": "import ours.start",
        "ours/deep/__init__.py": "import ours.through_init",
        "ours/deep/far.py": "",
        "ours/through_init.py": "",
        "ours/other.py": "import ours.near",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_imports_are_followed(repository: Path):
    found = [path.relative_to(repository).as_posix() for path in own_files(["ours.start"], repository)]
    assert found == [
        "ours/__init__.py", "ours/deep/__init__.py", "ours/deep/far.py", "ours/near.py", "ours/start.py",
        "ours/through_init.py",
    ]  # fmt: skip
    assert own_files(["torch", "ours.missing"], repository) == [repository / "ours" / "__init__.py"]
    assert imported_names("import a.b as c, d\nfrom e import f, g") == {"a.b", "d", "e", "e.f", "e.g"}


@pytest.mark.parametrize(
    ("name", "changes"), [("near", True), ("through_init", True), ("deep/far", True), ("other", False)]
)
def test_a_digest_is_of_what_is_imported(repository: Path, name: str, changes: bool):
    before = code_digest("ours.start", root=repository)
    assert before == code_digest("ours.start", root=repository)
    with (repository / "ours" / f"{name}.py").open("a") as file:
        file.write("# changed")
    assert (code_digest("ours.start", root=repository) != before) == changes


def test_a_digest_of_nothing_is_refused():
    with pytest.raises(ResultError, match=r"no module 'experiments\.skda'"):
        code_digest("experiments.recording", "experiments.skda")


def test_a_digest_of_pictures_reads_names_sizes_and_pixels():
    def one(name: str, size: tuple[int, int], colour: int) -> Any:
        return [SimpleNamespace(name=name, image=Image.new("RGB", size, (colour, 0, 0)))]

    others = [one("b", (2, 3), 0), one("a", (3, 2), 0), one("a", (2, 3), 1), one("a", (2, 3), 0) * 2]
    assert len({pictures_digest(each) for each in [one("a", (2, 3), 0), *others]}) == 5


# --- commands -----------------------------------------------------------------------------------------------------


def test_a_recorded_command_names_nothing_of_this_machine():
    words = ["flowers17", "--out", "/tmp/x", "--images", "/mine/realdata/my flowers", "--root=/y", "--w=/a/b.pt", "-n"]
    typed = command_of("experiments.scda", words)
    assert typed == """python -m experiments.scda flowers17 --images "$ASK_REALDATA"/'my flowers' --w=b.pt -n"""


def test_paths_are_written_as_another_person_would():
    assert without_machine("/home/me/realdata/flowers/a.jpg") == "$ASK_REALDATA/flowers/a.jpg"
    assert without_machine("/home/me/pictures") == "pictures" and without_machine(3) == 3
    assert shell_word("$ASK_REALDATA") == '"$ASK_REALDATA"' and shell_word("a b") == "'a b'"


def experiment(args: argparse.Namespace) -> None:
    save(args.out, "mine", command=args.command, seeds=args.seeds, values={"top1": 50.0})


def tried(words: list[str], body: Any = experiment) -> int:
    return run(parser_of("experiments.mine", "What it does.", seeds=[0, 1]), body, words)


def test_an_experiment_is_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert tried(["--out", str(tmp_path / "new"), "--seeds", "3", "4"]) == 0
    found = read_result(tmp_path / "new" / "mine.json")
    assert found["command"] == "python -m experiments.mine --seeds 3 4" and found["seeds"] == [3, 4]
    assert capsys.readouterr().out == f"recorded {tmp_path}/new/mine.json\n"


def test_the_template_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(recording, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(recording, "code_digest", lambda module: f"digest of {module}")  # it has no file
    lines = (recording.__doc__ or "").split("::\n", 1)[1].splitlines()
    template = textwrap.dedent("\n".join(line for line in lines if line.startswith("    ") or not line))
    names: dict[str, Any] = {"__name__": "experiments.mine", "__doc__": "Means."}
    exec(compile(template, "mine.py", "exec"), names)
    for seeds, begun in (("0 1", 2), ("0 1 2", 1)):
        assert names["main"]([f"--out={tmp_path}", "--seeds", *seeds.split()]) == 0
        assert capsys.readouterr().out.count("begun") == begun
    found = read_result(tmp_path / "mine.json")
    assert found["command"] == "python -m experiments.mine --seeds 0 1 2" and abs(found["values"]["mean"] - 0.5) < 0.05


@pytest.mark.parametrize("seed", ["-1", "1.5", "x", str(2**32), ""])
def test_a_wrong_seed_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: str):
    with pytest.raises(SystemExit) as stopped:
        tried(["--out", str(tmp_path), f"--seeds={seed}"])
    assert stopped.value.code == 2 and "expected a whole number from 0 to 4294967295" in capsys.readouterr().err


def raises(error: BaseException) -> Any:
    def body(args: argparse.Namespace) -> None:
        raise error

    return body


def test_an_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").write_text("")
    assert tried(["--out", str(tmp_path / "file")]) == 2
    assert tried(["--out", str(tmp_path)], raises(ResultError("this\nand that"))) == 2
    assert tried(["--out", str(tmp_path)], raises(OSError(28, "No space left on device", "/x"))) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and lines[1] == "error: this and that" and "the disk is full" in lines[2]
    assert tried(["--out", str(tmp_path)], raises(KeyboardInterrupt())) == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):  # a slip of ours is no line for a person
        tried(["--out", str(tmp_path)], raises(ZeroDivisionError()))
