"""Record what 8-bit depth costs HHA, and which smoothing costs least.

The frame of the authors' reference is quantised as `nyuv2` is (metres = (value + 0.5) / 25.5, all levels to 10 m), then
smoothed by a Gaussian on inverse depth. Each row is the mean absolute difference from the reference's own HHA, in grey
levels, by channel. The smallest mean of the three channels is what 8-bit depth gets.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ask_lib.errors import DataNotFoundError
from ask_lib.methods.hha import hha
from experiments.recording import KEPT, REALDATA, code_digest, kept, parser_of, run, save
from tools.imports import digest

SIGMAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)  # pixels
CHANNELS = ("disparity", "height", "angle")
LEVELS_A_METRE = 25.5
CAMERA = np.array([[518.85790, 0, 325.58245], [0, 519.46961, 253.73617], [0, 0, 1]])


def grey(path: Path) -> np.ndarray:
    """A PNG's values.

    Raises:
        DataNotFoundError: If there is none.
    """
    if not path.is_file():
        raise DataNotFoundError(f"hha_quantised: expected {path}. Get charlesCXK/Depth2HHA-python's demo_data.")
    with Image.open(path, formats=["PNG"]) as image:
        return np.array(image)


def differences(levels: np.ndarray, gold: np.ndarray, sigma: float) -> dict[str, float]:
    """Mean absolute difference of each channel, and of all.

    Args:
        levels: Depth of 8 bits, ``(H, W)``.
        gold: The reference's HHA, ``(H, W, 3)``.
        sigma: Pixels.
    """
    ours = hha((levels + 0.5) / LEVELS_A_METRE, CAMERA, sigma=sigma)
    away = np.abs(ours.astype(int) - gold).mean(axis=(0, 1))
    return dict(zip(CHANNELS, map(float, away), strict=True)) | {"mean": float(away.mean())}


def measure(depth: np.ndarray, gold: np.ndarray, frame: np.ndarray) -> dict[str, Any]:
    """Every number: of 16-bit depth, and of 8 bits at each sigma."""
    levels = np.floor(depth / 10000 * LEVELS_A_METRE)
    exact = np.abs(hha(depth / 10000, CAMERA).astype(int) - gold)
    rows = {f"{sigma:g}": differences(levels, gold, sigma) for sigma in SIGMAS}
    best = min(rows, key=lambda sigma: rows[sigma]["mean"])
    values = {f"sigma {sigma} {name}": round(value, 4) for sigma, row in rows.items() for name, value in row.items()}
    return {
        "values": values
        | {
            "best sigma": float(best),
            "16 bits equal": 100 * float((exact == 0).mean()),
            "16 bits most": int(exact.max()),
        }
        | {f"best {name}": round(value, 4) for name, value in rows[best].items()}
        | {"quantised as stored": round(100 * float((levels == frame).mean()), 2)}
    }


def record(args: argparse.Namespace) -> None:
    """Measure, and write results/hha_quantised.json."""
    arrays = [grey(args.reference / "0.png"), grey(args.reference / "matlab_hha.png"), grey(args.frame)]
    pictures = digest(array.tobytes() for array in arrays)[:12]
    made_from = f"code {code_digest('experiments.hha_quantised')}, torch {torch.__version__}, pictures {pictures}"
    part = kept(KEPT, "hha_quantised", made_from, partial(measure, *arrays))
    save(
        args.out,
        "hha_quantised",
        command=args.command,
        title="HHA of 8-bit depth beside the authors' own",
        data={"reference": "Depth2HHA-python's frame with the authors' MATLAB HHA", "frame": "NYU Depth v2, frame 1"},
        settings={"sigmas": list(SIGMAS), "levels a metre": LEVELS_A_METRE},
        protocol="mean absolute difference in grey levels over one frame of 480 x 640",
        seconds=part["seconds"],
        values=part["values"],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = parser_of("experiments.hha_quantised", __doc__)
    reference = REALDATA / "hha_reference" / "depth2hha_python"
    parser.add_argument("--reference", type=Path, default=reference, help="a folder with 0.png and matlab_hha.png")
    parser.add_argument(
        "--frame", type=Path, default=REALDATA / "nyuv2" / "depth" / "0001.png", help="the same, 8 bits"
    )
    return run(parser, record, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
