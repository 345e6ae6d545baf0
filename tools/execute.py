"""Execute the chapters with papermill, one copy a profile, and only those whose inputs changed."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat

from ask_lib.show.record import recorded_values
from tools.project import (
    BUILD,
    CAP_SECONDS,
    PROFILES,
    ROOT,
    ToolError,
    digest,
    executed_path,
    exit_status,
    notebooks,
    one_at_a_time,
    read_json,
    tree_bytes,
    write_atomic,
)
from tools.results import without_machine, write_result

ANSI = re.compile(r"\x1b\[[0-9;]*m")
SHARED_INPUTS = ("ask_lib", "constraints.txt", "tools/execute.py")


def run_key(source: Path, profile: str, parameters: dict[str, Any]) -> str:
    """Fingerprint of all that an executed copy depends on: source, library, pins, profile, parameters."""
    parts = list(tree_bytes([source, *(ROOT / name for name in SHARED_INPUTS)]))
    parts.append(json.dumps([profile, parameters], sort_keys=True).encode())
    return digest(parts)


def is_current(target: Path, key: str) -> bool:
    """Whether an executed copy exists and was made from the same inputs."""
    if not target.is_file():
        return False
    try:
        return bool(read_json(target)["metadata"].get("ask", {}).get("key") == key)
    except (json.JSONDecodeError, KeyError, UnicodeDecodeError):
        return False


def execute(source: Path, target: Path, profile: str, parameters: dict[str, Any]) -> float:
    """Run one notebook and write its executed copy.

    Args:
        source: The notebook.
        target: Where the copy goes; a failed run leaves ``NAME.failed.ipynb`` beside it instead.
        profile: One of ``PROFILES``.
        parameters: More values for the cell tagged ``parameters``.

    Returns:
        Seconds taken.

    Raises:
        ToolError: If the kernel is missing or a cell raises; the message names notebook and cell.
    """
    started = time.monotonic()
    key = run_key(source, profile, parameters)
    scratch = target.with_name(f".{target.stem}.part.ipynb")
    scratch.parent.mkdir(parents=True, exist_ok=True)
    _papermill(source, scratch, profile, parameters)
    seconds = time.monotonic() - started
    notebook = nbformat.read(scratch, as_version=4)
    _finish(notebook, {"key": key, "profile": profile, "parameters": parameters, "seconds": round(seconds, 1)})
    write_atomic(target, nbformat.writes(notebook))
    scratch.unlink()
    target.with_suffix(".failed.ipynb").unlink(missing_ok=True)
    return seconds


def _papermill(source: Path, scratch: Path, profile: str, parameters: dict[str, Any]) -> None:
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from papermill.exceptions import PapermillExecutionError

    try:
        papermill.execute_notebook(
            source,
            scratch,
            parameters={"PROFILE": profile, **parameters},
            kernel_name="python3",
            cwd=_empty_folder(source, profile),
            progress_bar={"desc": f"{source.stem} ({profile})", "unit": " cells", "ncols": 100},
            request_save_on_cell_execute=False,
            start_timeout=120,
            log_output=False,
            extra_arguments=["--IPKernelApp.log_level=50"],  # its remarks on ports and shutdown are not the reader's
        )
    except NoSuchKernel as error:
        raise ToolError(
            f"there is no Jupyter kernel named {error.name!r} in {sys.prefix}. "
            "Remove .venv/.ask-stamp and run make again: it installs ipykernel."
        ) from None
    except PapermillExecutionError as error:
        kept = scratch.with_name(f"{source.stem}.failed.ipynb")
        scratch.replace(kept)
        raise ToolError(_failure(source, kept, error)) from None


def _failure(source: Path, kept: Path, error: Any) -> str:
    trace = ANSI.sub("", "\n".join(error.traceback))
    name = source.relative_to(ROOT) if source.is_relative_to(ROOT) else source
    first = next((line for line in error.source.splitlines() if line.strip()), "")
    return (
        f"{name}, code cell [{error.exec_count}] starting {first!r} raised {error.ename}: {error.evalue}\n"
        f"{trace}\n(the run up to there: {kept})"
    )


def _empty_folder(source: Path, profile: str) -> str:
    """A chapter runs in an empty folder, as in Colab: one that reads the clone's files fails here first."""
    folder = BUILD / "work" / profile / source.stem
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return str(folder)


def _finish(notebook: Any, about: dict[str, Any]) -> None:
    """Note what the copy was made from, and hide papermill's injected cell in the rendered page."""
    notebook.metadata["ask"] = about
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:
            cell.metadata["tags"] = [*tags, "remove-cell"]


def parse_parameters(pairs: Sequence[str]) -> dict[str, Any]:
    """``NAME=value`` pairs; values are read as JSON where they can be, else as text.

    Existing paths are made absolute, since a notebook runs in another folder.
    """
    parameters: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise ToolError(f"parameter {pair!r}: expected NAME=value")
        try:
            parameters[name] = json.loads(text)
        except json.JSONDecodeError:
            parameters[name] = str(Path(text).resolve()) if os.sep in text and Path(text).exists() else text
    return parameters


def run_all(profile: str, parameters: dict[str, Any], names: Sequence[str] = (), *, force: bool = False) -> list[Path]:
    """Execute the chapters (or those named) that are not current; return all their executed copies."""
    chosen = [path for path in notebooks() if not names or path.stem in names or path.name in names]
    if not chosen:
        known = ", ".join(path.stem for path in notebooks())
        raise ToolError(f"no such notebook: {', '.join(names)}. There are: {known}")
    done = []
    for count, source in enumerate(chosen, 1):
        if not source.is_file():
            raise ToolError(f"_toc.yml names {source.relative_to(ROOT)}, which does not exist")
        target = executed_path(source, profile)
        label = f"[{count}/{len(chosen)}] {source.stem}"
        if not force and is_current(target, run_key(source, profile, parameters)):
            print(f"{label}: unchanged")
        else:
            print(label, flush=True)
            _warn_if_slow(source, profile, execute(source, target, profile, parameters))
        done.append(target)
    return done


def record_run(name: str, chapters: Sequence[str], profile: str, parameters: dict[str, Any]) -> None:
    """Run one chapter apart from the copies that the pages show, and keep its values in ``results``."""
    if len(chapters) != 1:
        raise ToolError("--record takes one chapter: python -m tools.execute 00_start_here --record NAME -p ...")
    (source,) = [path for path in notebooks() if path.stem == chapters[0]] or [ROOT / "notebooks" / chapters[0]]
    target = BUILD / "recorded" / f"{name}.ipynb"
    execute(source, target, profile, parameters)
    shown = " ".join(f"-p {key}={without_machine(value)}" for key, value in parameters.items())
    command = f"python -m tools.execute {source.stem} --profile {profile} --record {name} {shown}".rstrip()
    print(f"Recorded {write_result(name, command, parameters, recorded_values(read_json(target)))}")


def _warn_if_slow(source: Path, profile: str, seconds: float) -> None:
    if seconds > CAP_SECONDS[profile]:
        print(f"  {source.stem} took {seconds:.0f} s; the {profile} profile allows {CAP_SECONDS[profile]:.0f} s")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.execute", description=__doc__)
    parser.add_argument("notebooks", nargs="*", help="chapters by name, for example 00_start_here (default: all)")
    parser.add_argument("--profile", choices=PROFILES, default="book", help="how much to compute (default: book)")
    parser.add_argument("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help="a knob's value")
    parser.add_argument("--record", metavar="NAME", help="keep the values of one chapter's run as results/NAME.json")
    parser.add_argument("--force", action="store_true", help="run also what is current")
    args = parser.parse_args(argv)

    def body() -> None:
        parameters = parse_parameters(args.parameter)
        with one_at_a_time("execute"):
            if args.record:
                record_run(args.record, args.notebooks, args.profile, parameters)
            else:
                run_all(args.profile, parameters, args.notebooks, force=args.force)

    return exit_status(body)


if __name__ == "__main__":
    raise SystemExit(main())
