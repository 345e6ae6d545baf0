"""SCDA beside the plain numpy + scipy loop, at several batches and map sizes: ``python -m benchmarks.scda``.

The ratio is the library's time / the loop's, in turns in one process; at or below 1 the library is no slower. On CUDA
the loop pays for bringing the maps to the CPU, as anyone who writes it does.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ask_lib.methods.scda import scda
from benchmarks.alternate import Timing, alternate

EIGHT = np.ones((3, 3), dtype=int)


def plain_loop(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """What one writes at first: image after image, ``(B, C, H, W)`` to ``(B, 2C)``."""
    from scipy import ndimage

    rows = []
    for features in maps:
        activation = features.sum(axis=0)
        labels, count = ndimage.label((activation > activation.mean()).T, EIGHT)
        if not count:
            rows.append(np.zeros(2 * len(features), dtype=np.float32))
            continue
        chosen = np.bincount(labels.ravel())[1:].argmax() + 1
        kept = features[:, (labels == chosen).T]
        halves = (kept.mean(axis=1), kept.max(axis=1))
        rows.append(np.concatenate([half / np.linalg.norm(half) for half in halves]))
    return np.stack(rows)


def blobs(batch: int, channels: int, side: int) -> torch.Tensor:
    """Maps like a network's: most values zero, the others gathered about a place of each image's own."""
    generator = torch.Generator().manual_seed(0)
    grid = torch.arange(side) / side
    centre = torch.rand(batch, 2, 1, 1, generator=generator) * 0.6 + 0.2
    distance = (grid[:, None] - centre[:, :1]) ** 2 + (grid - centre[:, 1:]) ** 2  # (B, 1, H, W)
    noise = torch.randn(batch, channels, side, side, generator=generator)
    return (noise - 1 + 2 * torch.exp(-8 * distance)).relu()


def compare(batch: int, channels: int, side: int, rounds: int, device: str) -> list[Timing]:
    """The loop and the library on the same maps; both must agree."""
    maps = blobs(batch, channels, side).to(device)
    expected = torch.from_numpy(plain_loop(maps.cpu().numpy()))
    torch.testing.assert_close(scda(maps).cpu(), expected, rtol=1e-4, atol=1e-6)
    rivals: dict[str, Callable[[], object]] = {
        "plain loop": lambda: plain_loop(maps.cpu().numpy()),
        "ask_lib": lambda: scda(maps),
    }
    return alternate(rivals, rounds, warm_up=3)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each batch and map size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--sides", type=int, nargs="+", default=[7, 14, 28], help="sides of the square maps")
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=30, help="timed rounds")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print(f"SCDA, {options.channels} channels, {options.device}, {options.threads} threads; milliseconds")
    print(f"{'map':>7}  {'batch':>5}  {'plain loop':>10}  {'ask_lib':>8}  {'ratio':>6}  quartiles of the ratio")
    with torch.inference_mode():
        for side in options.sides:
            for batch in options.batches:
                loop, ours = compare(batch, options.channels, side, options.rounds, options.device)
                print(
                    f"{side:3d}x{side:<3d}  {batch:5d}  {loop.median * 1e3:10.3f}  {ours.median * 1e3:8.3f}"
                    f"  {ours.ratio:6.3f}  {ours.spread[0]:.3f} .. {ours.spread[1]:.3f}"
                )


if __name__ == "__main__":
    main()
