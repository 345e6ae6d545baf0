"""Seeds, the device, and a report of what a run stood on."""

from __future__ import annotations

import importlib.metadata
import platform
import random
import subprocess
from pathlib import Path

import numpy as np
import torch

from ask_lib.checks import check_choice, check_range

LARGEST_SEED = 2**32 - 1  # numpy's
REPORTED = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "ipywidgets", "anywidget")


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch (every device) with a number in [0, `LARGEST_SEED`]."""
    check_range("seed", seed, 0, LARGEST_SEED)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - scikit-learn reads the global state when none is given
    torch.manual_seed(seed)


def pick_device(name: str = "auto") -> torch.device:
    """The device of that name, if it is there: ``cpu``, ``cuda``, or ``auto`` (CUDA where there is one, else CPU).

    Apple's MPS has no float64, which the masks need, so it is not offered.
    """
    there = ["cuda", "cpu"] if torch.cuda.is_available() else ["cpu"]
    if name == "auto":
        return torch.device(there[0])
    check_choice("device", name, ["auto", *there])
    return torch.device(name)


def environment_report(device: torch.device | None = None) -> dict[str, str]:
    """What a recorded number needs beside it: Python, platform, device, and package versions."""
    device = device or pick_device()
    report = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": str(torch.get_num_threads()),
    }
    return report | {name: _version(name) for name in REPORTED}


def commit(folder: Path | None = None) -> str:
    """The commit that a number stands on.

    Args:
        folder: Whose commit; by default this library's own folder.

    Returns:
        The commit, with ``+changes`` where files of the folder differ from it; ``unknown`` without git, or where git
        does not track the folder (a repository that merely has the library in its environment).
    """
    place = folder or Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(place), *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        tracked = git("ls-files", ".")
        head = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", ".")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+changes" if changed else "") if tracked else "unknown"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
