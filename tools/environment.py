"""Make the virtual environment, or leave it alone when nothing that it depends on has changed.

Runs on the system's Python, before anything is installed, so it uses the standard library only.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST, NEWEST = (3, 11), (3, 13)
NEEDED_GB = 9.0  # a new environment: its files, and the installer's own copies of them
UPDATE_GB = 1.0
STAMP = ".ask-stamp"


class SetupError(Exception):
    """One line that says what is wrong and what to do."""


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> None:
    """Raise unless the running Python is one that the pins were resolved for."""
    if not OLDEST <= version <= NEWEST:
        raise SetupError(
            f"this is Python {version[0]}.{version[1]}; the book needs 3.11, 3.12 or 3.13. "
            "Install one and run: make PYTHON=python3.11 ..."
        )


def check_space(folder: Path, needed_gb: float = NEEDED_GB) -> None:
    """Raise when the disk below ``folder`` is too full for the packages (torch alone takes several GB)."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free_gb = shutil.disk_usage(there).free / 1e9
    if free_gb < needed_gb:
        raise SetupError(
            f"{free_gb:.1f} GB free below {folder}; the environment needs about {needed_gb:.0f} GB. "
            "Free some space, or put it elsewhere: make VENV=/somewhere/else ..."
        )


def check_ensurepip() -> None:
    """Raise when Python can make no environment with pip: Debian splits that off."""
    if importlib.util.find_spec("ensurepip") is None:
        raise SetupError(
            "this Python cannot make virtual environments (no ensurepip). "
            "Install them first: sudo apt-get install python3-venv"
        )


def is_usable(python: Path) -> bool:
    """Whether an environment's Python runs, is of this version, and has pip."""
    if not python.exists():
        return False
    code = "import sys, pip; print(*sys.version_info[:2])"
    try:
        said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return False
    return said == [str(part) for part in sys.version_info[:2]]


def fingerprint(packages: list[str], held: list[str]) -> str:
    """Hash of all that decides what gets installed."""
    parts = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    parts += [" ".join(names).encode() for names in (packages, held)]
    parts += [sys.version.encode(), str(ROOT).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def pin(name: str) -> str:
    """The exact requirement of a package, read from ``constraints.txt``."""
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        requirement = line.split(";")[0].strip()
        if requirement.startswith(f"{name}=="):
            return requirement
    raise SetupError(f"constraints.txt has no pin for {name}: run `make lock`")


def run(*command: str) -> None:
    """Run an installer; turn its failure into one line below its own output."""
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment.pop("VIRTUAL_ENV", None)
    if subprocess.run(command, env=environment, check=False).returncode:
        free_gb = shutil.disk_usage(ROOT).free / 1e9
        hint = "the disk is full" if free_gb < 0.2 else "the lines above say why (no network? a full disk?)"
        raise SetupError(f"`{' '.join(command[:4])} ...` failed: {hint}. Run the same make command again.")


def make(venv: Path, packages: list[str], held: list[str]) -> bool:
    """Make the environment.

    Args:
        venv: Where it goes.
        packages: What uv is to install; their versions come from ``constraints.txt``.
        held: Further exact requirements, which win over ``constraints.txt``.

    Returns:
        Whether anything had to be done.
    """
    stamp, wanted = venv / STAMP, fingerprint(packages, held)
    python = venv / "bin" / "python"
    if stamp.is_file() and stamp.read_bytes() == wanted.encode() and python.exists():
        return False
    usable = is_usable(python)
    check_space(venv, NEEDED_GB if not usable else UPDATE_GB)
    print(f"Making the environment in {venv} (torch is large: the first time takes a minute or two)", flush=True)
    stamp.unlink(missing_ok=True)
    if not usable:
        check_ensurepip()
        run(sys.executable, "-m", "venv", "--clear", str(venv))
    run(str(python), "-m", "pip", "install", "--quiet", pin("uv"))
    constraints = venv / "constraints.txt"
    constraints.write_text(_held_constraints(held))
    uv = [str(venv / "bin" / "uv"), "pip", "install", "--python", str(python)]
    run(*uv, "--constraints", str(constraints), *packages, *held)
    partial = stamp.with_suffix(".part")
    partial.write_text(wanted)
    partial.replace(stamp)
    return True


def _held_constraints(held: list[str]) -> str:
    """The constraints, less the packages that ``held`` pins otherwise."""
    names = {requirement.split("==")[0] for requirement in held}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return "\n".join(line for line in lines if line.split("==")[0] not in names) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="where the environment goes")
    parser.add_argument("--extras", default="book,test,docs", help="extras of the package, comma-separated")
    parser.add_argument("--packages", nargs="*", help="install these instead of the book's own package and its extras")
    parser.add_argument("--hold", nargs="*", default=[], help="exact requirements that win over the pins")
    args = parser.parse_args(argv)
    try:
        check_python()
        make(args.venv.absolute(), args.packages or ["--editable", f"{ROOT}[{args.extras}]"], args.hold)
    except SetupError as error:
        print(f"environment: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"environment: {error.strerror or error} ({error.filename or args.venv})", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
