"""What experiments share: parts that are kept, a digest of what they were made from, and one kind of command line.

An experiment is a file like this one, with a docstring, which ``--help`` prints, and one for each function::

    from __future__ import annotations

    import argparse
    from functools import partial
    from statistics import fmean
    from typing import Any

    import torch

    from experiments.recording import KEPT, code_digest, kept, parser_of, run, save


    def measure(seed: int) -> dict[str, Any]:
        draws = torch.rand(1000, generator=torch.Generator().manual_seed(seed))
        return {"mean": float(draws.mean())}


    def record(args: argparse.Namespace) -> None:
        made_from = f"{code_digest('experiments.mine')}, torch {torch.__version__}"
        parts = {seed: kept(KEPT / "mine", f"{seed}", made_from, partial(measure, seed)) for seed in args.seeds}
        save(
            args.out,
            "mine",
            command=args.command,
            title="The mean of random numbers",
            protocol="1,000 numbers a seed",
            seeds=args.seeds,
            values={"mean": fmean(part["mean"] for part in parts.values())},
            details={"parts": {str(seed): part for seed, part in parts.items()}},
        )


    def main(arguments: list[str] | None = None) -> int:
        return run(parser_of("experiments.mine", __doc__, seeds=[0, 1, 2]), record, arguments)


    if __name__ == "__main__":
        raise SystemExit(main())

``made_from`` names all that a part depends on beside its own name: data, weights, options. `ask_lib.results.new_result`
lists what else ``save`` takes. Options of its own are added to the parser: ``parser.add_argument("--device", ...)``.
A run that is stopped goes on with the next part when the same command is given again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ask_lib.command import exit_status
from ask_lib.errors import ResultError
from ask_lib.files import check_writable, read_object, write_json
from ask_lib.results import new_result, shell_word, without_machine, write_result
from ask_scenes.commands import SEED, Parser
from tools.imports import ROOT, digest, own_files

if TYPE_CHECKING:
    from ask_lib.data.image_folder import PictureFolder

RESULTS = ROOT / "results"
KEPT = ROOT / "_build" / "recorded"
REALDATA = Path(os.environ.get("ASK_REALDATA") or ROOT.parent / "shared" / "realdata")
"""Where the public data sets lie, if nobody says otherwise."""
OF_THIS_MACHINE = ("--out", "--root")  # where things lie; no number depends on it
Body = Callable[[argparse.Namespace], int | None]


def kept(folder: Path, name: str, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A part from the folder, or made now and kept there as ``NAME.json``.

    Args:
        folder: Where this experiment's parts lie.
        name: The part's.
        key: What it was made from: code, data, seeds. A part of another key, or one that is damaged, is made again.
        make: Gives the part; what JSON holds.

    Returns:
        The part, with ``seconds``: how long it took.

    Raises:
        ResultError: If the part holds NaN, or what JSON has no form for.
    """
    path = folder / f"{name}.json"
    if (part := _held(path, key)) is not None:
        print(f"{name}: kept", flush=True)
        return part
    print(f"{name}: begun", flush=True)
    started = time.monotonic()
    part = make()
    part["seconds"] = round(time.monotonic() - started, 1)
    try:
        write_json(path, {"key": key, "part": part})
    except (ValueError, TypeError, RecursionError) as error:
        raise ResultError(f"part {name!r} of {folder.name} cannot be kept as JSON ({error}).") from error
    print(f"{name}: {part['seconds']:.0f} s", flush=True)
    return part


def _held(path: Path, key: str) -> dict[str, Any] | None:
    """A part of this key, or None where there is none."""
    if not path.exists():
        return None
    try:
        held = read_object(path, "a part of an experiment", ResultError)
    except ResultError as error:
        print(f"{path.stem}: damaged, made again ({error})", flush=True)
        return None
    part = held.get("part")
    return part if held.get("key") == key and isinstance(part, dict) else None


def code_digest(*modules: str, root: Path = ROOT) -> str:
    """Of the code that makes a part: some modules and all of ours that they import, directly or not.

    Args:
        modules: The experiment's own first: ``experiments.scda``.
        root: The repository.

    Raises:
        ResultError: If one of them has no file, as a digest of nothing would never change.
    """
    for module in modules:
        place = root.joinpath(*module.split("."))
        if not (place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()):
            raise ResultError(f"code_digest: no module {module!r} below {root}.")
    files = own_files(modules, root)
    parts = (part for path in files for part in (path.relative_to(root).as_posix().encode(), path.read_bytes()))
    return digest(parts)[:12]


def pictures_digest(pictures: PictureFolder) -> str:
    """Of the pictures' names, sizes and pixels."""
    read = ((each.name, str(each.image.size), each.image.tobytes()) for each in pictures)
    return digest(part for name, size, pixels in read for part in (name.encode(), size.encode(), pixels))[:12]


def command_of(module: str, words: Sequence[str]) -> str:
    """What to type to run a command again on another machine.

    Args:
        module: What ``python -m`` runs.
        words: What came after it; ``--out`` and ``--root`` are left out, folders are written without this machine's.
    """
    typed, left = [f"python -m {module}"], iter(words)
    for word in left:
        name, equals, value = word.partition("=")
        if name in OF_THIS_MACHINE:
            if not equals:
                next(left, None)
        elif name.startswith("--") and equals:
            typed.append(f"{name}={shell_word(without_machine(value))}")
        else:
            typed.append(shell_word(without_machine(word)))
    return " ".join(typed)


def parser_of(module: str, doc: str | None, seeds: Sequence[int] = ()) -> argparse.ArgumentParser:
    """A command's parser with ``--out``, and ``--seeds`` where it has any; the experiment adds its own options.

    Args:
        module: What ``python -m`` runs.
        doc: The module's docstring: what ``--help`` prints.
        seeds: The usual ones.
    """
    how = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog=f"python -m {module}", description=doc, formatter_class=how)
    if seeds:
        parser.add_argument("--seeds", type=SEED, nargs="+", default=list(seeds), help=f"usually {list(seeds)}")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of what is recorded; usually results/")
    return parser


def run(parser: argparse.ArgumentParser, body: Body, arguments: Sequence[str] | None = None) -> int:
    """Run an experiment's command; an error that is foreseen becomes one line on stderr.

    Args:
        parser: Of `parser_of`.
        body: The experiment. Its arguments have ``command`` too: what to type to repeat it. It may return a status.
        arguments: The words; by default the command line's.

    Returns:
        The exit status, as `ask_lib.command.exit_status` has it.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    args = parser.parse_args(words)
    args.command = command_of(parser.prog.removeprefix("python -m "), words)

    def begin() -> int | None:
        check_writable(args.out / "NAME.json")  # now, not after hours
        return body(args)

    return exit_status(begin)


def save(out: Path, name: str, *, command: str, **more: Any) -> dict[str, Any]:
    """Write a recorded run to ``out/NAME.json`` with this repository's commit, and say so.

    Args:
        out: The folder.
        name: The run's.
        command: What to type to repeat it.
        more: What else `ask_lib.results.new_result` takes.

    Returns:
        What was written.
    """
    content = new_result(name, command=command, folder=ROOT, **more)
    print(f"recorded {write_result(out, content)}", flush=True)
    return content
