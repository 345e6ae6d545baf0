"""Cross-layer pooling beside the bare product and the loop over channels: ``python -m benchmarks.cross_layer_pooling``.

The ratio is to the bare ``bmm`` of the two maps, in turns in one process; the goal is at most 1.1.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import torch

from ask_lib.methods.cross_layer_pooling import cross_layer_pool
from benchmarks.alternate import Timing, alternate, table
from benchmarks.scda import blobs


def loop(local: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """What one writes at first: weight channel after weight channel."""
    return torch.cat([(local * weights[:, k : k + 1]).sum(dim=(2, 3)) for k in range(weights.shape[1])], dim=1)


def compare(batch: int, channels: int, side: int, rounds: int, device: str) -> list[Timing]:
    """The bare product, the library and the loop on the same maps; all must agree."""
    local = blobs(batch, channels, side).to(device)
    weights = local.flip(0).roll(1, dims=1)
    torch.testing.assert_close(cross_layer_pool(local, weights), loop(local, weights), rtol=1e-3, atol=1e-3)
    rivals: dict[str, Callable[[], object]] = {
        "bare product": lambda: torch.bmm(weights.flatten(2), local.flatten(2).mT),
        "ask_lib": lambda: cross_layer_pool(local, weights),
        "loop over channels": lambda: loop(local, weights),
    }
    return alternate(rivals, rounds, warm_up=3)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for each map size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[14, 27], help="sides of the square maps")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--channels", type=int, default=512, help="of both layers")
    parser.add_argument("--rounds", type=int, default=20, help="timed rounds")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    with torch.inference_mode():
        for side in options.sides:
            print(f"\n{options.batch} x {options.channels} x {options.channels} x {side}x{side}, {options.device}")
            print(table(compare(options.batch, options.channels, side, options.rounds, options.device)))


if __name__ == "__main__":
    main()
