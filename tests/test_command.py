"""A command's known failures are one line and a status; all else keeps its traceback."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from ask_lib.command import exit_status
from ask_lib.errors import RangeError
from ask_lib.files import atomic_path


def failing(error: BaseException):
    def body() -> None:
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RangeError("a:\nexpected"), "error: a: expected\n"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/last.pt"), "error: /x/last.pt: the disk is full"),
        (OSError(errno.EROFS, "Read-only file system", "/x"), "error: /x: may not be written"),
        (OSError(errno.EIO, "Input/output error"), "error: Input/output error\n"),
    ],
)
def test_a_known_failure_is_one_line(error: BaseException, says: str, capsys):
    assert exit_status(failing(error)) == 2
    text = capsys.readouterr().err
    assert text.startswith(says) and text.count("\n") == 1


def test_ctrl_c_is_one_line_too(capsys):
    assert exit_status(failing(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err.strip().count("\n") == 0


@pytest.mark.parametrize("error", [ValueError("ours"), OSError("no number")])
def test_all_else_keeps_its_traceback(error: Exception):
    with pytest.raises(type(error)):
        exit_status(failing(error))


def test_what_the_body_returns_is_the_status():
    assert (exit_status(lambda: 3), exit_status(lambda: None)) == (3, 0)


def test_a_file_or_a_dead_link_where_a_folder_should_be(tmp_path: Path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        assert exit_status(lambda place=tmp_path / name: place.mkdir(exist_ok=True)) == 2
        assert f"{name}: expected a folder" in capsys.readouterr().err


def test_a_full_disk_names_the_file_that_was_meant(tmp_path: Path, capsys):
    def body() -> None:
        with atomic_path(tmp_path / "a.json") as part:
            part.touch()
            raise OSError(errno.ENOSPC, "No space left on device")

    assert exit_status(body) == 2
    assert f"error: {tmp_path / 'a.json'}: the disk is full" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_it_loads_no_torch():
    code = "import sys, ask_lib.command, ask_lib.files; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
