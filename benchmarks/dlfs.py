"""Soft-argmax and sampling beside kornia's expectation and torch's grid_sample: ``python -m benchmarks.dlfs``.

Forward and backward, from keypoint maps to the descriptors of both modalities, and back to the gradients of all three.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch.nn import functional

from ask_lib.methods.dlfs import sample, soft_argmax
from benchmarks.alternate import Timing, alternate

Form = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], list[torch.Tensor]]


def usual(maps: torch.Tensor, rgb: torch.Tensor, depth: torch.Tensor) -> list[torch.Tensor]:
    """By others' code: maps ``(B, K, H, W)``, features ``(B, C, H, W)``; descriptors ``(B, K, C)`` of each modality."""
    from kornia.geometry import subpix

    points = subpix.spatial_expectation2d(subpix.spatial_softmax2d(maps))[:, :, None]  # (B, K, 1, 2), -1 to 1
    return [functional.grid_sample(each, points, align_corners=True)[..., 0].mT for each in (rgb, depth)]


def ours(maps: torch.Tensor, rgb: torch.Tensor, depth: torch.Tensor) -> list[torch.Tensor]:
    """As `ask_lib.methods.dlfs.DLFS` does once it has its maps."""
    keypoints = soft_argmax(maps)
    return [sample(each, keypoints) for each in (rgb, depth)]


def step(form: Form, inputs: Sequence[torch.Tensor], slopes: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Forward and backward: what comes out, and the gradients of maps and features."""
    found = form(*inputs)
    return [*found, *torch.autograd.grad(found, inputs, slopes)]


def compare(size: tuple[int, int, int, int], rounds: int, device: str) -> list[Timing]:
    """Both forms on the same input; results and gradients must agree.

    Args:
        size: Batch, keypoints, channels, side of the square maps.
        rounds: Timed ones.
        device: ``cpu`` or ``cuda``.
    """
    batch, count, channels, side = size
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    inputs = [draw(batch, each, side, side).requires_grad_() for each in (count, channels, channels)]
    slopes = [draw(batch, count, channels) for _ in range(2)]
    for one, other in zip(step(ours, inputs, slopes), step(usual, inputs, slopes), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    rivals: dict[str, Callable[[], object]] = {
        "kornia + grid_sample": partial(step, usual, inputs, slopes),
        "ask_lib": partial(step, ours, inputs, slopes),
    }
    return alternate(rivals, rounds)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each map size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[7, 14], help="sides of the square maps")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--keypoints", type=int, default=16)
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=30, help="timed rounds")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print(f"{options.batch} x {options.channels}, K = {options.keypoints}, {options.device}; milliseconds")
    print(f"{'map':>7}  {'kornia':>8}  {'ask_lib':>8}  {'ratio':>6}  quartiles of the ratio")
    for side in options.sides:
        size = (options.batch, options.keypoints, options.channels, side)
        theirs, mine = compare(size, options.rounds, options.device)
        print(
            f"{side:3d}x{side:<3d}  {theirs.median * 1e3:8.2f}  {mine.median * 1e3:8.2f}"
            f"  {mine.ratio:6.3f}  {mine.spread[0]:.3f} .. {mine.spread[1]:.3f}"
        )


if __name__ == "__main__":
    main()
