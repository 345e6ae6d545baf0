"""What the probes of the data sets share: their sizes, the colours they count, and how they are written down."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ask_lib.files import write_json
from ask_lib.reproduce import commit, environment_report

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


def record_probes(
    out: Path, command: str, version: int, settings: ProbeSettings, run: Callable[[Keep], Numbers]
) -> dict[str, Any]:
    """Run probes and write them down with all that is needed to run them again.

    Args:
        out: The JSON file. It is written whole each time, so that a run that is stopped leaves what it had.
        command: What to type to repeat it.
        version: Of the data.
        settings: Of the probes.
        run: Gives the numbers; what it is given takes those that there are so far.

    Returns:
        What was written last. ``complete`` is false in a file that a stopped run left.
    """
    start = time.perf_counter()
    about = {
        "command": command,
        "commit": commit(),
        "data_version": version,
        "split": "val",
        "settings": dataclasses.asdict(settings),
        "environment": environment_report(torch.device(settings.device)),
    }

    def record(numbers: Numbers, complete: bool) -> dict[str, Any]:
        values = flat(numbers) | flat(dataclasses.asdict(settings), "settings_")
        seconds = round(time.perf_counter() - start, 1)
        content = {**about, "complete": complete, "seconds": seconds, "values": values, "numbers": numbers}
        write_json(out, content)
        return content

    def keep(numbers: Numbers) -> None:
        record(numbers, complete=False)

    return record(run(keep), complete=True)


def flat(numbers: Numbers, prefix: str = "") -> dict[str, float | str]:
    """Numbers by one name each, as pages ask for them: ``{"rgb": {"mean": 60.0}}`` has ``rgb_mean``; lists are left."""
    values: dict[str, float | str] = {}
    for name, value in numbers.items():
        if isinstance(value, dict):
            values |= flat(value, f"{prefix}{name}_")
        elif not isinstance(value, list | tuple):
            values[f"{prefix}{name}"] = value
    return values


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
