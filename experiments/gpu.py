"""Everything that asks for a GPU, in the given minutes: ``python -m experiments.gpu --minutes 8 --out FOLDER``.

First the tests marked ``gpu``, then the benchmarks as ratios, then the recorded runs of ``ENTRIES``, the most wanted
first. Each part runs in a process of its own and is stopped when its time is over. What it found is in
``FOLDER/NAME.json`` as soon as it is there, a recorded run like those in ``results/``; ``FOLDER/gpu_summary.json``
holds each of them whole, as ``details/NAME/result``, so that it alone needs to come back from a machine that gives few
files back, and a short table comes last. The same command goes on where the last one stopped: a finished part of
the same code and machine is kept. The status is 0 if every part came to its end and no test failed.

The machine needs PyTorch, torchvision, numpy, scipy and Pillow; no network, no Jupyter, no installation. What else is
missing there costs the parts that need it, and no others. ``--device cpu --tiny`` tries all of it without a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ask_lib.errors import ResultError
from ask_lib.reproduce import environment_report, pick_device
from ask_lib.results import new_result, read_result, write_result
from experiments.recording import code_digest, parser_of, run
from tools.imports import ROOT

MARGIN = 4.0  # seconds between what a part is told and when it is stopped, and again until the command ends
TAIL = 4000  # characters kept of what a failed process said
MODULE, SUMMARY = "experiments.gpu", "gpu_summary"
TEST_LINE = re.compile(r"^(\S+::.+) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b", re.M)
Keep = Callable[..., None]


@dataclass(frozen=True)
class Setting:
    """What a part has to know.

    Attributes:
        device: ``cuda`` or ``cpu``.
        tiny: Whether to take sizes that show only that it runs.
        out: Where the recorded runs go.
        until: When to be done, as `time.time` counts.
    """

    device: str
    tiny: bool
    out: Path
    until: float

    @property
    def left(self) -> float:
        """Seconds until then, at least 0."""
        return max(0.0, self.until - time.time())


@dataclass(frozen=True)
class Entry:
    """A part.

    Attributes:
        name: Of the recorded run that it writes: ``OUT/NAME.json``.
        title: One line for a person.
        minutes: With fewer left it is not begun. A part that keeps what it has and goes on from there needs few.
        run: What ``python -m`` runs, with ``{out}``, ``{device}``, ``{seconds}`` filled in and ``--tiny`` added where
            that is asked for; it writes the recorded run itself. Or a function: it is given the setting and a function
            that keeps what there is so far, and returns what `ask_lib.results.new_result` takes: values, details.
        by: Share of all minutes after which it is stopped; the last part may take what is left.
    """

    name: str
    title: str
    minutes: float
    run: tuple[str, ...] | Callable[[Setting, Keep], dict[str, Any]]
    by: float = 1.0


# --- the tests ----------------------------------------------------------------------------------------------------


def gpu_test_files(folder: Path = ROOT / "tests") -> list[Path]:
    """The test files in which something is marked ``gpu``."""
    return [path for path in sorted(folder.glob("test_*.py")) if "pytest.mark.gpu" in path.read_text(encoding="utf-8")]


def run_tests(setting: Setting, keep: Keep, files: Sequence[Path] | None = None) -> dict[str, Any]:
    """Each file's tests marked ``gpu`` in a process of its own, a few at once where there are cores."""
    if importlib.util.find_spec("pytest") is None:
        return {"values": {"pytest": "not installed"}}
    found: dict[str, Any] = {}
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        waiting = {pool.submit(run_test_file, path, setting): path.name for path in files or gpu_test_files()}
        for done in as_completed(waiting):
            found[waiting[done]] = done.result()
            keep(**tests_record(found))
    stopped = any(each["state"] == "stopped" for each in found.values())
    return {"complete": not stopped, **tests_record(found)}


def run_test_file(path: Path, setting: Setting) -> dict[str, Any]:
    """How often each outcome came, what did not pass, and the end of what pytest said where something is wrong."""
    words = ["pytest", "-m", "gpu", "-v", "--tb=short", "--color=no", "-p", "no:cacheprovider", str(path)]
    began = time.time()
    status, said = python(words, setting.left)
    outcomes = TEST_LINE.findall(said)
    counts = {name: sum(outcome == name.upper() for _, outcome in outcomes) for name in ("passed", "failed", "skipped")}
    state = {None: "stopped", 0: "passed", 5: "none for this machine"}.get(status, "failed")
    return {
        "state": state,
        "seconds": round(time.time() - began, 1),
        **counts,
        "not passed": [name for name, outcome in outcomes if outcome in ("FAILED", "ERROR")],
        "said": "" if state in ("passed", "none for this machine") else said[-TAIL:],
    }


def tests_record(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Values and details of the test files so far."""
    values: dict[str, Any] = {key: sum(each[key] for each in found.values()) for key in ("passed", "failed", "skipped")}
    wrong = sorted(name for name, each in found.items() if each["state"] in ("failed", "stopped"))
    values |= {"files": len(found), "files not well": ", ".join(wrong) or "none"}
    return {"values": values, "details": dict(found)}


# --- the benchmarks -----------------------------------------------------------------------------------------------


def run_benchmarks(setting: Setting, keep: Keep) -> dict[str, Any]:
    """Every benchmark's ratios; one that fails leaves the others alone."""
    from benchmarks.suite import BENCHMARKS, Size

    values: dict[str, Any] = {}
    details: dict[str, Any] = {}
    for name, benchmark in BENCHMARKS.items():
        try:
            for ratio in benchmark(Size(setting.device, 2 if setting.tiny else 10, setting.tiny)):
                print(ratio, flush=True)
                values[ratio.name] = round(ratio.ours.ratio, 4)
                details[ratio.name] = {
                    "ours ms": round(1e3 * ratio.ours.median, 4),
                    "theirs ms": round(1e3 * ratio.theirs.median, 4),
                    "quartiles": [round(each, 4) for each in ratio.ours.spread],
                }
                keep(values=values, details=details)
        except Exception as error:  # any: the machine is lent for minutes, and the next benchmark may run
            values[name] = f"failed: {type(error).__name__}"
            details[name] = {"said": str(error)[-TAIL:]}
    return {"values": values, "details": details}


# --- the recorded runs --------------------------------------------------------------------------------------------


def train_rates(setting: Setting, keep: Keep) -> dict[str, Any]:
    """Images a second of the toy recipe in float32 and in bfloat16, both also compiled where minutes are left."""
    size = ["epochs=1", "count=120"] if setting.tiny else ["epochs=4", "count=24000", "batch=512", "network=resnet"]
    values: dict[str, Any] = {}
    for compiled in (False,) if setting.tiny else (False, True):
        for precision in ("float32", "bfloat16"):
            if compiled and setting.left < 90:  # compiling alone takes up to a minute
                continue
            changes = [f"precision={precision}", f"compile={str(compiled).lower()}"]
            values[f"{precision}{', compiled' * compiled} images/s"] = train_rate([*size, *changes], setting)
            keep(values=values)
    return {"values": values, "settings": {"recipe": " ".join(["toy", *size])}, "seeds": [0]}


def train_rate(changes: Sequence[str], setting: Setting) -> float:
    """Images a second of one run of the toy recipe, the median of its epochs."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["ask_lib.train", "run", "toy", *changes, "--quiet", "--device", setting.device, "--out", folder]
        status, said = python(words, setting.left)
        if status != 0:
            print(said[-TAIL:], flush=True)
            raise ResultError(f"python -m {' '.join(words)} ended with status {status}.")
        result = read_result(Path(folder, "result.json"))
    return round(float(result["details"]["images_per_second"]), 1)


def draw_scenes(setting: Setting, keep: Keep) -> dict[str, Any]:
    """Frames a second in batches of several sizes, and what differs from the CPU's frames, in percent of the pixels."""
    from ask_scenes import objects, rooms
    from ask_scenes.drawing import one_thread

    size = (24, 32) if setting.tiny else (96, 128)
    values: dict[str, Any] = {}
    sets: tuple[tuple[str, Callable[..., list[Any]], Any], ...] = (
        ("rooms", rooms.render_batch, rooms.RoomOptions(size=size)),
        ("objects", objects.render_batch, objects.ObjectOptions(size=size)),
    )
    with one_thread():  # as the frames are drawn for the cache: one core a process
        for name, render, options in sets:
            found = drawing_of(partial(render, options=options), setting)
            values |= {f"{name}: {key}": round(value, 4) for key, value in found.items()}
            keep(values=values)
    return {"values": values, "data": {"rooms": rooms.VERSION, "objects": objects.VERSION}}


def drawing_of(render: Callable[..., list[Any]], setting: Setting) -> dict[str, float]:
    """Of one kind of frames; ``render`` draws those of some numbers on a device."""
    few, batches, times = (2, (2,), 1) if setting.tiny else (16, (1, 16, 64), 3)
    pairs = list(zip(render(range(few)), render(range(few), device=setting.device), strict=True))
    colours = [abs(here.rgb.astype(int) - there.rgb) > 1 for here, there in pairs]
    found = {"colours off by more than 1/255, %": percent(colours)}
    if hasattr(pairs[0][0], "exact_depth"):
        depths = [abs(here.exact_depth - there.exact_depth) > 1e-3 for here, there in pairs]
        found["depths off by more than 1 mm, %"] = percent(depths)
    else:
        found["cells of the mask that differ, %"] = percent([here.mask != there.mask for here, there in pairs])
    for batch in batches:
        seconds = []
        for _ in range(times):
            began = time.perf_counter()
            render(range(batch), device=setting.device)
            seconds.append(time.perf_counter() - began)
        found[f"frames/s in batches of {batch}"] = batch / statistics.median(seconds)
    return found


def percent(wrong: Sequence[Any]) -> float:
    """Mean of some boolean arrays, in percent."""
    return 100 * statistics.fmean(float(each.mean()) for each in wrong)


# The most wanted first. Each writes one file, whole in the summary too. A later experiment adds a line:
#     Entry("scda_rooms", "SCDA on the rooms", 1, ("experiments.scda", "rooms", "--device={device}", "--out={out}")),
ENTRIES = (
    Entry("gpu_training", "Training images a second, float32 and bfloat16", 0.5, train_rates),
    Entry("gpu_drawing", "Frames a second, and agreement with the CPU", 0.3, draw_scenes),
    Entry("ask_gpu", "Lesson 07 at its gpu profile", 1, ("experiments.ask_gpu", "--device={device}", "--out={out}")),
)
PARTS = (
    Entry("gpu_tests", "Tests marked gpu", 0.1, run_tests, by=0.4),
    Entry("gpu_benchmarks", "Benchmarks as ratios: ours / theirs", 0.1, run_benchmarks, by=0.6),
    *ENTRIES,
)


# --- one part in this process ---------------------------------------------------------------------------------------


def run_part(entry: Entry, setting: Setting) -> None:
    """Run a part that is a function, and write what it keeps and returns; a finished one is left as it is."""
    if not callable(entry.run):
        raise ResultError(f"{entry.name} is a command of its own; run it.")
    environment = environment_report(torch.device(setting.device))
    code = code_digest(MODULE, "ask_lib.train.__main__", *(f"tests.{path.stem}" for path in gpu_test_files()))
    made_from = f"code {code}, torch {environment['torch']}, {environment['device']}, tiny {setting.tiny}"
    with contextlib.suppress(ResultError):  # none yet, or a damaged one: it is made
        held = read_result(setting.out / f"{entry.name}.json")
        if held["complete"] and held["settings"].get("made_from") == made_from:
            print("kept")
            return
    began = time.monotonic()

    def keep(complete: bool = False, settings: Mapping[str, Any] | None = None, **found: Any) -> None:
        content = new_result(
            entry.name,
            title=entry.title,
            command=f"python -m {MODULE} --only {entry.name} --device {setting.device}{' --tiny' * setting.tiny}",
            complete=complete,
            seconds=time.monotonic() - began,
            environment=environment,
            settings={**(settings or {}), "made_from": made_from},
            folder=ROOT,
            **found,
        )
        write_result(setting.out, content)

    keep(**{"complete": True, **entry.run(setting, keep)})


# --- all parts, each in a process of its own --------------------------------------------------------------------------


def python(words: Sequence[str], seconds: float, *, group: bool = False) -> tuple[int | None, str]:
    """Run ``python -m`` in the repository for some seconds at most.

    Args:
        words: What comes after it.
        seconds: When it is stopped.
        group: Whether all processes that it started end with it. Once is enough: what a part starts is in its group.

    Returns:
        The exit status, None where it was stopped, and all that it said.
    """
    cores = os.cpu_count() or 1
    usual = {"OMP_NUM_THREADS": str(max(1, cores // 4)), "PYTHONUNBUFFERED": "1"}
    with tempfile.TemporaryFile() as said:  # a pipe would stay open as long as a process's own child lives
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=ROOT,
            env=usual | os.environ,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            process_group=0 if group else None,
        )
        try:
            status: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            if group:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.wait()
        said.seek(0)
        return status, said.read().decode("utf-8", "replace")


def run_all(entries: Sequence[Entry], setting: Setting, command: str) -> dict[str, Any]:
    """Run all parts, one after the other, and write the summary after each.

    Args:
        entries: The parts, in this order.
        setting: Its ``until`` is when the last part is stopped.
        command: For the summary.

    Returns:
        The summary: of each part its state, seconds, and all that it wrote.
    """
    start = time.time()
    details: dict[str, Any] = {}
    content: dict[str, Any] = {}
    for number, entry in enumerate(entries, start=1):
        print(f"{entry.name}: begun", flush=True)
        by = entry.by if number < len(entries) else 1.0
        details[entry.name] = part = run_entry(entry, setting, start + by * (setting.until - start))
        print(f"{entry.name}: {part['state']}, {part['seconds']:.0f} s", flush=True)
        if part["said"]:
            print(part["said"][-1500:], flush=True)
        content = new_result(
            SUMMARY,
            title="What a GPU found",
            command=command,
            complete=number == len(entries),
            seconds=time.time() - start,
            settings={"device": setting.device, "tiny": setting.tiny},
            values={name: each["state"] for name, each in details.items()},
            details=details,
            environment=environment_report(torch.device(setting.device)),
            folder=ROOT,
        )
        write_result(setting.out, content)
    return content


def run_entry(entry: Entry, setting: Setting, until: float) -> dict[str, Any]:
    """One part in a process of its own: its state, its seconds, what it said if it failed, and what it wrote.

    A file that lies there from an earlier run is this run's only where `run_part` came to its end, which judges it.
    """
    began, path = time.time(), setting.out / f"{entry.name}.json"
    if until - began < 60 * entry.minutes:
        needs = f"not begun: needs {entry.minutes} min, {max(0.0, until - began) / 60:.1f} left"
        return {"state": needs, "seconds": 0.0, "said": "", "result": None}
    before = written_at(path)
    status, said = python(words_of(entry, setting, until - MARGIN), until - began, group=True)
    result: dict[str, Any] | None = None
    if written_at(path) != before or (status == 0 and callable(entry.run)):
        try:
            result = read_result(path)
        except ResultError as error:
            said = f"{said}\n{error}"
    else:
        said = f"{said}\n{path}: this run did not write it."
    whole = status == 0 and result is not None and result["complete"]
    state = "done" if whole else "stopped" if status in (0, None) else f"failed (status {status})"
    said = "" if state == "done" else said[-TAIL:]
    return {"state": state, "seconds": round(time.time() - began, 1), "said": said, "result": result}


def written_at(path: Path) -> int:
    """When a file was last written, in nanoseconds; 0 for none."""
    return path.stat().st_mtime_ns if path.is_file() else 0


def words_of(entry: Entry, setting: Setting, until: float) -> list[str]:
    """What ``python -m`` runs for a part that has to be done by ``until``."""
    tiny = ["--tiny"] if setting.tiny else []
    if callable(entry.run):
        words = [MODULE, "--part", entry.name, "--until", f"{until:.1f}", "--device", setting.device]
        return [*words, "--out", str(setting.out), *tiny]
    filled = {"out": setting.out, "device": setting.device, "seconds": f"{max(1.0, until - time.time()):.0f}"}
    return [word.format(**filled) for word in entry.run] + tiny


def table(summary: Mapping[str, Any], most: int = 20) -> Iterator[str]:
    """The summary's lines for a person: each part's state, and its first values."""
    for name, part in summary["details"].items():
        yield f"{name:16} {part['seconds']:6.0f} s  {part['state']}"
        for key, value in list((part["result"] or {"values": {}})["values"].items())[:most]:
            yield f"    {key}: {value}"


# --- the command --------------------------------------------------------------------------------------------------


def record(args: argparse.Namespace) -> int:
    """Run all parts, or one; returns the exit status: 0 if all is well."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever stops this stops the part that runs
    device = pick_device(args.device).type
    out = args.out.resolve()
    parts = {entry.name: entry for entry in PARTS}
    if args.part:
        run_part(parts[args.part], Setting(device, args.tiny, out, args.until))
        return 0
    until = time.time() + 60 * args.minutes - MARGIN
    chosen = [parts[name] for name in args.only or parts]
    summary = run_all(chosen, Setting(device, args.tiny, out, until), args.command)
    print(f"\n{summary['environment']['device']}, torch {summary['environment']['torch']}, {summary['seconds']:.0f} s")
    print("\n".join(table(summary)))
    return 0 if all(well(part) for part in summary["details"].values()) else 1


def well(part: Mapping[str, Any]) -> bool:
    """Whether a part came to its end, and all its tests passed if it has any."""
    return bool(part["state"] == "done" and part["result"]["values"].get("files not well", "none") == "none")


def _minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 1e5:
        raise argparse.ArgumentTypeError(f"expected minutes, 0.1 at least, got {text!r}")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = parser_of(MODULE, __doc__)
    names = [entry.name for entry in PARTS]
    parser.set_defaults(out=ROOT / "_build" / "gpu")
    parser.add_argument("--minutes", type=_minutes, default=8.0, help="after which all is over; usually 8")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu for a rehearsal")
    parser.add_argument("--tiny", action="store_true", help="sizes that show only that it runs")
    parser.add_argument("--only", nargs="+", choices=names, metavar="PART", help=f"some of {', '.join(names)}")
    parser.add_argument("--part", choices=names, help=argparse.SUPPRESS)  # in a process of its own
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    return run(parser, record, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
