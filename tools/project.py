"""Where things are, what the table of contents names, and the few helpers that all tools share."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from ask_lib.errors import AskError
from ask_lib.files import atomic_path, read_object

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "_build"
FRAMES = BUILD / "frames"  # of all profiles, named by content; a site gets those that its pages show
PROFILES = ("smoke", "book", "gpu", "paper")
CAP_SECONDS = {"smoke": 60.0, "book": 90.0, "gpu": 600.0, "paper": float("inf")}


class ToolError(AskError):
    """One line for a person: what went wrong, and what to do."""


def toc_pages(root: Path = ROOT) -> list[str]:
    """The pages that ``_toc.yml`` names, root first, without suffix."""
    toc = read_yaml(root / "_toc.yml")
    if "root" not in toc:
        raise ToolError(f"{root / '_toc.yml'}: expected `root: book/index` and the chapters below it")
    return [toc["root"], *_files(toc)]


def _files(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "file" in node:
            yield node["file"]
        for value in node.values():
            yield from _files(value)
    elif isinstance(node, list):
        for value in node:
            yield from _files(value)


def notebooks(root: Path = ROOT) -> list[Path]:
    """The chapters, in the order of the table of contents."""
    return [root / f"{page}.ipynb" for page in toc_pages(root) if page.startswith("notebooks/")]


def chosen_notebooks(names: Sequence[str]) -> list[Path]:
    """The chapters of those names; all of them for none.

    Raises:
        ToolError: If there is no chapter of a name.
    """
    known = {path.stem: path for path in notebooks()}
    stems = [name.removesuffix(".ipynb").rpartition("/")[2] for name in names]
    for stem in stems:
        if stem not in known:
            raise ToolError(f"no such notebook: {stem}. There are: {', '.join(known)}")
    return [path for stem, path in known.items() if not stems or stem in stems]


def executed_path(source: Path, profile: str) -> Path:
    """Where a notebook's executed copy for a profile lies."""
    return BUILD / "executed" / profile / source.name


def site_path(profile: str) -> Path:
    """Where the rendered pages of a profile lie; ``book`` is the one that people read."""
    return BUILD / "html" if profile == "book" else BUILD / f"html-{profile}"


def tree_bytes(folders: Iterable[Path], suffixes: tuple[str, ...] = ()) -> Iterator[bytes]:
    """Names and contents of all files below some folders (or of files), for a fingerprint."""
    for folder in folders:
        files = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.is_file())
        for path in files:
            if "__pycache__" in path.parts or (suffixes and path.suffix not in suffixes):
                continue
            yield (path.relative_to(ROOT) if path.is_relative_to(ROOT) else path).as_posix().encode()
            yield path.read_bytes()


def write_atomic(path: Path, text: str) -> None:
    """Write a text file so that an interruption leaves the old one or the new one, never a half.

    What killed writers of the same file left is removed; a writer that lives keeps its part.
    """
    for part in path.parent.glob(f"{path.name}.*.part"):
        if not _is_alive(part.suffixes[-2]):
            part.unlink(missing_ok=True)
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _is_alive(suffix: str) -> bool:
    """Whether the process runs that a part's name, ``.PID-RANDOM``, tells."""
    pid = re.match(r"\.(\d{1,9})-", suffix)
    try:
        if pid:
            os.kill(int(pid[1]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, for another user
        return True
    return True  # no part of ours is none that we may judge


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file's content, which must be an object.

    Raises:
        ToolError: If the file is missing, damaged, or holds anything else; one line that names it.
    """
    return read_object(path, "a notebook" if path.suffix == ".ipynb" else "a table", ToolError)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file's content, which must be an object.

    Raises:
        ToolError: If the file is damaged, or holds anything else.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ToolError(f"{path}: expected YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict):
        raise ToolError(f"{path}: expected names and values in YAML, it holds a {type(content).__name__}")
    return content


def in_markdown(notebook: dict[str, Any]) -> Iterator[str]:
    """The text of a notebook's Markdown cells."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            yield "".join(cell["source"])


def exit_status(main: Callable[[], None]) -> int:
    """Run a command's body; a known failure becomes one line on stderr and status 1."""
    try:
        main()
    except AskError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        said = _said_of(error)
        if not said:
            raise
        print(f"error: {said}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; what was finished is kept, the same command goes on from there", file=sys.stderr)
        return 130
    return 0


def _said_of(error: OSError) -> str:
    """One line on a full disk or a file that may not be used; nothing on other errors, which are ours to find."""
    name = Path(os.fsdecode(error.filename2 or error.filename or BUILD))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({name}). Free some space and run it again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"may not {_refused(name)} {name}: {error.strerror}"
    return ""


def _refused(name: Path) -> str:
    """What a process may not do with a file: the error itself does not say it."""
    if not os.access(name.parent, os.X_OK):
        return "enter the folder of"
    return "read" if os.access(name, os.F_OK) and not os.access(name, os.R_OK) else "write"


@contextlib.contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Hold a lock for a step, so that two `make` at once wait for each other instead of mixing their files."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / f".{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def work_folder(name: str) -> Iterator[Path]:
    """A folder of this process alone in ``_build/work``; what killed runs left there is removed first.

    Each folder is locked as long as its process lives, so that the folders of runs that go on are left alone.
    """
    work = BUILD / "work"
    with one_at_a_time("work"):
        work.mkdir(exist_ok=True)
        for left in work.iterdir():
            _remove_unless_locked(left)
        folder = Path(tempfile.mkdtemp(dir=work, prefix=f"{name}."))
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _remove_unless_locked(folder: Path) -> None:
    try:
        lock = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # its run has just come to an end
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:  # a run that lives
        pass
    finally:
        os.close(lock)
