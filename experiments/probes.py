"""What the probes of the data sets share: their sizes, the colours they count, and how they are written down."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from ask_lib.reproduce import environment_report
from ask_lib.results import flat, new_result, write_result
from ask_scenes.commands import COUNT, HEIGHT, SEED, add_cache, three_by_four, whole
from ask_scenes.drawing import usable_device
from experiments.recording import parser_of, run

Numbers = dict[str, Any]
Keep = Callable[[Numbers], None]
COLOURS = 6**3


@dataclass(frozen=True)
class ProbeSettings:
    """Sizes of the probes.

    Attributes:
        train: Frames to learn from.
        val: Frames to measure on.
        size: Height and width.
        epochs: Of the small networks.
        seeds: Of the small networks' initial weights and order.
        data_seed: Of the data.
        workers: Processes that draw.
        device: Where the networks run; frames are drawn on the CPU.
    """

    train: int
    val: int
    size: tuple[int, int] = (72, 96)
    epochs: int = 14
    seeds: tuple[int, ...] = (0, 1, 2)
    data_seed: int = 0
    workers: int = 2
    device: str = "cpu"


Settings = TypeVar("Settings", bound=ProbeSettings)


def record_probes(
    out: Path, command: str, data: Mapping[str, int], settings: ProbeSettings, run: Callable[[Keep], Numbers]
) -> dict[str, Any]:
    """Run probes and write them down with all that is needed to run them again.

    Args:
        out: The JSON file. It is written whole each time, so that a run that is stopped leaves what it had.
        command: What to type to repeat it.
        data: The data set's name and version.
        settings: Of the probes.
        run: Gives the numbers; what it is given takes those that there are so far.

    Returns:
        What was written last. ``complete`` is false in a file that a stopped run left.
    """
    start, used = time.perf_counter(), dataclasses.asdict(settings)

    def record(numbers: Numbers, complete: bool) -> dict[str, Any]:
        content = new_result(
            out.stem,
            title=f"Probes of the synthetic {' and '.join(data)}",
            command=command,
            data=data,
            settings={**used, "split": "val"},
            seeds=settings.seeds,
            complete=complete,
            seconds=time.perf_counter() - start,
            values=flat(numbers) | flat(used, "settings_"),
            details=numbers,
            environment=environment_report(torch.device(settings.device)),
        )
        write_result(out.parent, content)
        return content

    def keep(numbers: Numbers) -> None:
        record(numbers, complete=False)

    return record(run(keep), complete=True)


def colour_counts(rgb: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """How often each of 6 x 6 x 6 colours occurs.

    Args:
        rgb: ``(N, 3, H, W)`` uint8.
        mask: ``(N, H, W)`` bool, where to count; by default everywhere.

    Returns:
        ``(N, 216)`` int64.
    """
    bins = (rgb.long() * 6 // 256).clamp(0, 5)
    codes = bins[:, 0] * 36 + bins[:, 1] * 6 + bins[:, 2]
    inside = torch.ones_like(codes, dtype=torch.bool) if mask is None else mask
    return torch.stack(
        [torch.bincount(code[there], minlength=COLOURS) for code, there in zip(codes, inside, strict=True)]
    )


def probes_parser(name: str, about: str | None, usual: ProbeSettings, batch: int) -> argparse.ArgumentParser:
    """What a command that runs probes takes.

    Args:
        name: Of its module in ``experiments``.
        about: What it is for.
        usual: The defaults.
        batch: Frames that the networks see at once: the fewest to learn from.
    """
    parser = parser_of(f"experiments.{name}", about, usual.seeds)
    parser.add_argument("--train", type=whole(batch, 10**6), default=usual.train, help="frames to learn from")
    parser.add_argument("--val", type=COUNT, default=usual.val, help="frames to measure on")
    parser.add_argument("--height", type=HEIGHT, default=usual.size[0], help="of a 3 : 4 frame")
    parser.add_argument("--epochs", type=COUNT, default=usual.epochs)
    parser.add_argument("--seed", type=SEED, default=0, help="of the frames")
    parser.add_argument("--device", default="cpu")
    add_cache(parser)
    return parser


def run_probes_command(
    parser: argparse.ArgumentParser,
    data: Mapping[str, int],
    prepare: Callable[[argparse.Namespace], tuple[ProbeSettings, Callable[[Keep], Numbers]]],
    words: Sequence[str] | None,
) -> int:
    """Run the probes and record them.

    Args:
        parser: Of ``probes_parser``.
        data: The data set's name and version.
        prepare: Gives the settings and what runs the probes, from what was given.
        words: By default those that the process was started with.

    Returns:
        The exit status.
    """

    def body(given: argparse.Namespace) -> None:
        usable_device(given.device)
        out = given.out / f"{parser.prog.rpartition('.')[2]}.json"
        record_probes(out, given.command, data, *prepare(given))
        print(f"recorded {out}")

    return run(parser, body, words)


def probe_settings(usual: Settings, given: argparse.Namespace, **more: Any) -> Settings:
    """The probes' settings as given on the command line.

    Args:
        usual: The defaults.
        given: What ``probes_parser`` asked for.
        more: Values of what only these settings have.

    Returns:
        The settings.
    """
    return dataclasses.replace(
        usual,
        train=given.train,
        val=given.val,
        size=three_by_four(given.height),
        epochs=given.epochs,
        seeds=tuple(given.seeds),
        data_seed=given.seed,
        workers=given.workers,
        device=given.device,
        **more,
    )
