"""Execute the chapters with papermill, one copy a profile, and only those whose inputs changed."""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat

from ask_lib.results import shell_word, summarise, without_machine
from ask_lib.show.record import Value, recorded_values
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
from tools.results import check_result_name, record_chapter

ANSI = re.compile(r"\x1b\[[0-9;]*m")
SHARED_INPUTS = ("ask_lib", "ask_scenes", "constraints.txt", "tools/execute.py", "tools/project.py")
PATH_KNOBS = ("IMAGES", "WEIGHTS", "DATA")


def run_key(source: Path, profile: str, parameters: dict[str, Any]) -> str:
    """Fingerprint of all that an executed copy depends on.

    That is the source, the library, the pins, Python, the profile, the parameters, and the files that they name.
    """
    parts = list(tree_bytes([source, *(ROOT / name for name in SHARED_INPUTS)]))
    parts.append(json.dumps([profile, parameters, sys.version], sort_keys=True).encode())
    parts += [outside for value in parameters.values() for outside in _outside(value)]
    return digest(parts)


def _outside(value: Any) -> Iterator[bytes]:
    """Name, size and time of the files that a parameter names; a folder of pictures is not read for that."""
    path = Path(value) if isinstance(value, str) and os.sep in value else None
    if path is None or not path.exists():
        return
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        about = file.stat()
        yield f"{file} {about.st_size} {about.st_mtime_ns}".encode()


def default_parameters(source: Path) -> dict[str, Any]:
    """The names and values of a chapter's first code cell."""
    cell = next(cell for cell in read_json(source)["cells"] if cell["cell_type"] == "code")
    found: dict[str, Any] = {}
    for node in ast.parse("".join(cell["source"])).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper():
            found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def check_names(source: Path, parameters: dict[str, Any]) -> None:
    """Refuse a parameter that the chapter does not have: papermill would set it and nothing would read it."""
    known = default_parameters(source)
    for name in parameters:
        if name == "PROFILE":
            raise ToolError("the profile is set by --profile (make: PROFILE=...), not as a parameter")
        if name not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1)
            guess = f" Did you mean {near[0]}?" if near else ""
            raise ToolError(f"{source.stem} has no parameter {name!r}; it has {', '.join(known)}.{guess}")


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
    check_names(source, parameters)
    with _empty_folder(source) as folder:
        _papermill(source, scratch, folder, {"PROFILE": profile, **parameters})
    seconds = time.monotonic() - started
    notebook = nbformat.read(scratch, as_version=4)
    _finish(notebook, {"key": key, "profile": profile, "parameters": parameters, "seconds": round(seconds, 1)})
    write_atomic(target, nbformat.writes(notebook))
    scratch.unlink()
    target.with_suffix(".failed.ipynb").unlink(missing_ok=True)
    return seconds


def _papermill(source: Path, scratch: Path, folder: str, parameters: dict[str, Any]) -> None:
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    try:
        papermill.execute_notebook(
            source,
            scratch,
            parameters=parameters,
            kernel_name="python3",
            cwd=folder,
            progress_bar={"desc": f"{source.stem} ({parameters['PROFILE']})", "unit": " cells", "ncols": 100},
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
    except DeadKernelError:
        raise ToolError(
            f"the kernel died while it ran {source.name}: most often there is too little memory. "
            "Close other programs, or choose a smaller profile."
        ) from None
    except RuntimeError as error:
        if "Kernel died" not in str(error):
            raise
        raise ToolError(
            f"the Jupyter kernel of {sys.prefix} does not start. Make the environment anew: make distclean, then again."
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


@contextlib.contextmanager
def _empty_folder(source: Path) -> Iterator[str]:
    """A chapter runs in an empty folder, as in Colab: one that reads the clone's files fails here first."""
    (BUILD / "work").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD / "work", prefix=f"{source.stem}.") as folder:
        yield folder


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

    Paths are made absolute where they exist, since a notebook runs in another folder.
    """
    parameters: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise ToolError(f"parameter {pair!r}: expected NAME=value")
        path = Path(text).expanduser()
        if text and (name in PATH_KNOBS or os.sep in text) and path.exists():
            parameters[name] = str(path.resolve())
            continue
        try:
            parameters[name] = json.loads(text)
        except json.JSONDecodeError:
            parameters[name] = text
    return parameters


def as_parameter(value: Any) -> str:
    """The text that `parse_parameters` reads as this value: JSON, and plain text where it would not be read as JSON."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except json.JSONDecodeError:
            return value
    return json.dumps(value)


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


def run_all(profile: str, parameters: dict[str, Any], names: Sequence[str] = (), *, force: bool = False) -> list[Path]:
    """Execute the chapters (or those named) that are not current; return all their executed copies.

    A run with parameters of its own lies apart, in ``_build/own``: pages never show it.
    """
    chosen, done = chosen_notebooks(names), []
    for count, source in enumerate(chosen, 1):
        if not source.is_file():
            raise ToolError(f"_toc.yml names {source.relative_to(ROOT)}, which does not exist")
        target = BUILD / "own" / profile / source.name if parameters else executed_path(source, profile)
        label = f"[{count}/{len(chosen)}] {source.stem}"
        if not force and is_current(target, run_key(source, profile, parameters)):
            print(f"{label}: unchanged")
        else:
            print(label, flush=True)
            _warn_if_slow(source, profile, execute(source, target, profile, parameters))
        if parameters:
            print(f"Open {target} in Jupyter or an editor")
        done.append(target)
    return done


def record_run(
    name: str, chapters: Sequence[str], profile: str, parameters: dict[str, Any], seeds: Sequence[int] = ()
) -> None:
    """Run one chapter apart from the copies that the pages show, and keep its values in ``results``.

    Args:
        name: Of the recorded run.
        chapters: The chapter: exactly one.
        profile: One of ``PROFILES``.
        parameters: Of the chapter.
        seeds: Run it once with each as ``SEED``, and keep what `over_runs` makes of the runs. Runs that are there and
            current are not repeated.

    Raises:
        ToolError: If the name is no plain file name, or there is not exactly one chapter.
    """
    check_result_name(name)
    if len(chapters) != 1:
        raise ToolError("--record takes one chapter: python -m tools.execute 00_start_here --record NAME -p ...")
    (source,) = chosen_notebooks(chapters)
    words = [f"-p {key}={shell_word(as_parameter(without_machine(value)))}" for key, value in parameters.items()]
    words += ["--seeds", *map(str, seeds)] if seeds else []
    command = " ".join([f"python -m tools.execute {source.stem} --profile {profile} --record {name}", *words])
    effective = {**default_parameters(source), **parameters, "PROFILE": profile}
    if not seeds:
        values = _recorded_run(source, BUILD / "recorded" / f"{name}.ipynb", profile, parameters, fresh=True)
        print(f"Recorded {record_chapter(name, command, effective, values)}")
        return
    runs = [
        _recorded_run(source, BUILD / "recorded" / f"{name}-seed{seed}.ipynb", profile, {**parameters, "SEED": seed})
        for seed in seeds
    ]
    details = {"runs": {str(seed): run for seed, run in zip(seeds, runs, strict=True)}}
    del effective["SEED"]
    print(f"Recorded {record_chapter(name, command, effective, over_runs(runs), seeds=seeds, details=details)}")


def _recorded_run(
    source: Path, target: Path, profile: str, parameters: dict[str, Any], *, fresh: bool = False
) -> dict[str, Value]:
    if fresh or not is_current(target, run_key(source, profile, parameters)):
        execute(source, target, profile, parameters)
    return recorded_values(read_json(target))


def over_runs(runs: Sequence[dict[str, Value]]) -> dict[str, Value]:
    """Every number's mean over the runs; ``NAME std``, ``NAME low`` and ``NAME high`` are its spread.

    ``std`` is of the runs (n - 1), ``low`` to ``high`` the 95 % Student interval of the mean. What is the same in all
    runs stays as it is; other values that are no numbers have no mean, and are left out.
    """
    merged: dict[str, Value] = {}
    for name, first in runs[0].items():
        values = [run.get(name) for run in runs]
        numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if all(value == first for value in values) and not isinstance(first, float):
            merged[name] = first
        elif len(numbers) == len(runs):
            found = summarise(numbers)
            merged[name] = statistics.fmean(numbers)
            merged |= {f"{name} {key}": value for key in ("std", "low", "high") if (value := found[key]) is not None}
    return merged


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
    parser.add_argument("--seeds", type=int, nargs="+", default=[], help="with --record: one run each, and their mean")
    parser.add_argument("--force", action="store_true", help="run also what is current")
    args = parser.parse_args(argv)

    def body() -> None:
        if args.seeds and not args.record:
            raise ToolError("--seeds goes with --record NAME: pages show one run")
        parameters = parse_parameters(args.parameter)
        with one_at_a_time("execute"):
            if args.record:
                record_run(args.record, args.notebooks, args.profile, parameters, args.seeds)
            else:
                run_all(args.profile, parameters, args.notebooks, force=args.force)

    return exit_status(body)


if __name__ == "__main__":
    raise SystemExit(main())
