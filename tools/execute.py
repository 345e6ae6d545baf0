"""Execute the chapters with papermill, one copy a profile, and only those whose inputs changed."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ask_lib.show.record import Value
from tools.expect import recorded_in
from tools.imports import digest
from tools.inputs import files_behind, marks_of
from tools.notebooks import assigned, code_cells, parameters_cell
from tools.project import (
    BUILD,
    CAP_SECONDS,
    PROFILES,
    ROOT,
    ToolError,
    chosen_notebooks,
    executed_path,
    exit_status,
    one_at_a_time,
    read_json,
    tree_bytes,
    work_folder,
    write_atomic,
)

ANSI = re.compile(r"\x1b\[[0-9;]*m")
SHARED_INPUTS = ("constraints.txt", "tools/execute.py")
PATH_KNOBS = ("IMAGES", "WEIGHTS", "DATA")
MUST_EXIST = ("IMAGES", "DATA")  # WEIGHTS may also be a name


def run_key(source: Path, profile: str, parameters: dict[str, Any], root: Path = ROOT) -> str:
    """Fingerprint of all that an executed copy depends on.

    That is the source, the modules of the library that it imports (directly or not), the pins, Python, the profile, the
    parameters, and the files that they name.
    """
    cells = ["".join(cell["source"]) for cell in code_cells(read_json(source), source.name)]
    parts = list(tree_bytes([source, *files_behind(cells, root), *(ROOT / name for name in SHARED_INPUTS)]))
    parts.append(json.dumps([profile, parameters, sys.version], sort_keys=True).encode())
    for value in parameters.values():
        if isinstance(value, str) and os.sep in value and os.access(value, os.F_OK):
            parts += marks_of(Path(value))
    return digest(parts)


def default_parameters(source: Path) -> dict[str, Any]:
    """The names and values of a chapter's first code cell.

    Raises:
        ToolError: If that cell is missing, or holds anything but assignments of plain values.
    """
    return assigned(parameters_cell(read_json(source), source.name))


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
    """Whether an executed copy exists and was made from the same inputs; a damaged one was not."""
    try:
        return bool(read_json(target)["metadata"]["ask"]["key"] == key)
    except (ToolError, KeyError, TypeError):
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
    import nbformat
    from papermill.exceptions import PapermillExecutionError

    started = time.monotonic()
    key = run_key(source, profile, parameters)
    failed = target.with_suffix(".failed.ipynb")
    target.parent.mkdir(parents=True, exist_ok=True)
    check_names(source, parameters)
    with work_folder(source.stem) as folder:
        scratch = folder / source.name
        try:
            _papermill(source, scratch, {"PROFILE": profile, **parameters})
        except PapermillExecutionError as error:
            write_atomic(failed, scratch.read_text(encoding="utf-8"))
            raise ToolError(_failure(source, failed, error)) from None
        notebook = nbformat.read(scratch, as_version=4)
    seconds = time.monotonic() - started
    _finish(notebook, {"key": key, "profile": profile, "parameters": parameters, "seconds": round(seconds, 1)})
    write_atomic(target, nbformat.writes(notebook))
    failed.unlink(missing_ok=True)
    return seconds


def _papermill(source: Path, scratch: Path, parameters: dict[str, Any]) -> None:
    """Run a notebook in an empty folder, as in Colab: one that reads the clone's files fails here first."""
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import DeadKernelError

    empty = scratch.with_name("content")
    empty.mkdir()
    try:
        papermill.execute_notebook(
            source,
            scratch,
            parameters=parameters,
            kernel_name="python3",
            cwd=str(empty),
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


def _failure(source: Path, kept: Path, error: Any) -> str:
    trace = ANSI.sub("", "\n".join(error.traceback))
    name = source.relative_to(ROOT) if source.is_relative_to(ROOT) else source
    first = next((line for line in error.source.splitlines() if line.strip()), "")
    return (
        f"{name}, code cell [{error.exec_count}] starting {first!r} raised {error.ename}: {error.evalue}\n"
        f"{trace}\n(the run up to there: {kept})"
    )


def _finish(notebook: Any, about: dict[str, Any]) -> None:
    """Note what the copy was made from, and hide papermill's injected cell in the rendered page."""
    notebook.metadata["ask"] = about
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:
            cell.metadata["tags"] = [*tags, "remove-cell"]


def parse_parameters(pairs: Sequence[str], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """``NAME=value`` pairs; the type of a knob's default says how a value is read, so that text stays text.

    Paths are made absolute, since a notebook runs in another folder.

    Args:
        pairs: As typed.
        defaults: The knobs and their defaults. A name that is none of them is read as text; `check_names` refuses it.

    Raises:
        ToolError: If a pair is none, a value is of another type than the default, or a folder does not exist.
    """
    parameters: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise ToolError(f"parameter {pair!r}: expected NAME=value")
        default = defaults.get(name, "")
        parameters[name] = _text_or_path(name, text) if isinstance(default, str) else _from_json(name, text, default)
    return parameters


def _text_or_path(name: str, text: str) -> str:
    path = Path(text).expanduser()
    if not text or not (name in PATH_KNOBS or os.sep in text):
        return text
    if not os.access(path, os.F_OK):
        if name in MUST_EXIST or (name in PATH_KNOBS and os.sep in text):
            raise ToolError(f"parameter {name}: there is no file or folder {text!r}")
        return text
    try:
        return os.fsencode(path.resolve()).decode("utf-8")
    except UnicodeDecodeError:
        raise ToolError(f"parameter {name}: the name {text!r} is not UTF-8, which a notebook cannot hold") from None


def _from_json(name: str, text: str, default: Any) -> Any:
    """A value of the type of a default that is no text; a number with a fraction may also be given as a whole one."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    kinds = {type(default), int} if isinstance(default, float) else {type(default)}
    if type(value) not in kinds or value != value:  # NaN is no value either
        raise ToolError(f"parameter {name}: expected a value like its default, {json.dumps(default)}; got {text!r}")
    return value


def words_of(typed: str) -> list[str]:
    """The ``NAME=value`` pairs of make's PARAMS: a value goes on until the next NAME=, and needs no quotes."""
    return [pair.strip() for pair in re.split(r"\s+(?=[A-Za-z_]\w*=)", typed.strip()) if pair.strip()]


def as_parameter(value: Any, default: Any) -> str:
    """The text that `parse_parameters` reads as this value: plain where the default is text, else JSON."""
    return value if isinstance(value, str) and isinstance(default, str) else json.dumps(value)


def run_all(profile: str, parameters: dict[str, Any], names: Sequence[str] = (), *, force: bool = False) -> list[Path]:
    """Execute the chapters (or those named) that are not current; return all their executed copies.

    A run with parameters of its own lies apart, in ``_build/own``: pages never show it.
    """
    chosen, done = chosen_notebooks(names), []
    for count, source in enumerate(chosen, 1):
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
    from ask_lib.results import shell_word, without_machine  # it loads torch
    from tools.results import check_result_name, record_chapter

    check_result_name(name)
    if len(chapters) != 1:
        raise ToolError("--record takes one chapter: python -m tools.execute 00_start_here --record NAME -p ...")
    (source,) = chosen_notebooks(chapters)
    defaults = default_parameters(source)
    texts = {key: as_parameter(without_machine(value), defaults.get(key, "")) for key, value in parameters.items()}
    words = [f"-p {key}={shell_word(text)}" for key, text in texts.items()]
    words += ["--seeds", *map(str, seeds)] if seeds else []
    command = " ".join([f"python -m tools.execute {source.stem} --profile {profile} --record {name}", *words])
    effective = {**defaults, **parameters, "PROFILE": profile}
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
    return recorded_in(target)


def over_runs(runs: Sequence[dict[str, Value]]) -> dict[str, Value]:
    """Every number's mean over the runs; ``NAME std``, ``NAME low`` and ``NAME high`` are its spread.

    ``std`` is of the runs (n - 1), ``low`` to ``high`` the 95 % Student interval of the mean. What is the same in all
    runs stays as it is; other values that are no numbers have no mean, and are left out.
    """
    from ask_lib.results import summarise

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


def _joined(knobs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {name: default for defaults in reversed(knobs) for name, default in defaults.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.execute", description=__doc__)
    parser.add_argument("notebooks", nargs="*", help="chapters by name, for example 00_start_here (default: all)")
    parser.add_argument("--profile", choices=PROFILES, default="book", help="how much to compute (default: book)")
    parser.add_argument("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help="a knob's value")
    parser.add_argument("--typed-parameters", action="store_true", help="more of them, as make's PARAMS in ASK_PARAMS")
    parser.add_argument("--record", metavar="NAME", help="keep the values of one chapter's run as results/NAME.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[], help="with --record: one run each, and their mean")
    parser.add_argument("--force", action="store_true", help="run also what is current")
    args = parser.parse_args(argv)

    def body() -> None:
        if args.seeds and not args.record:
            raise ToolError("--seeds goes with --record NAME: pages show one run")
        knobs = [default_parameters(source) for source in chosen_notebooks(args.notebooks)]
        typed = words_of(os.environ.get("ASK_PARAMS", "")) if args.typed_parameters else []
        parameters = parse_parameters(args.parameter + typed, _joined(knobs))
        with one_at_a_time("execute"):
            if args.record:
                record_run(args.record, args.notebooks, args.profile, parameters, args.seeds)
            else:
                run_all(args.profile, parameters, args.notebooks, force=args.force)

    return exit_status(body)


if __name__ == "__main__":
    raise SystemExit(main())
