"""InterActive beside the bare forward pass and captum's loop over layers: ``python -m benchmarks.interactive``.

Nine layers of VGG-19, as the paper has them, against fc-7. The ratio is to the forward pass, in turns in one process;
the goal is at most 3.2. The loop takes captum's gradient at the layer t + 1 once a layer, and spreads it by a
transposed convolution of ones; both must agree.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ask_lib.models.backbones import load_backbone
from ask_lib.models.features import FeatureTap
from ask_lib.represent.interactive import fully_convolutional, interactive
from benchmarks.alternate import Timing, alternate, table

VGG19 = (*(f"features.{at}" for at in (4, 9, 15, 18, 24, 27, 33, 36)), "classifier.1")  # pool-1 to fc-6
TINY = ("pool1", "relu3_2", "pool5", "relu6")


def sequence(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers of a network without branches, in their order."""
    return [(n, m) for n, m in network.named_modules() if not list(m.children()) and not isinstance(m, nn.Dropout)]


def captum_loop(network: nn.Module, images: torch.Tensor, layers: Sequence[str], last: str) -> dict[str, torch.Tensor]:
    """What one writes with captum: a forward and a backward pass a layer, for p = 2 and the average."""
    from captum._utils.gradient import compute_layer_gradients_and_eval  # no public function gives both at once

    steps = sequence(network)
    names = [name for name, _ in steps]

    def density(given: torch.Tensor) -> torch.Tensor:
        x = given
        for name, module in steps:
            x = module(x)
            if name == last:
                break
        return x.mean(dim=(2, 3)).square().sum(dim=1)

    with FeatureTap(network, layers) as tap:
        maps = tap(images)
    found = {}
    for layer in layers:
        reader, after = (steps[names.index(layer) + i][1] for i in (1, 2))
        weighted = isinstance(reader, nn.Conv2d)
        slopes, responses = compute_layer_gradients_and_eval(density, after if weighted else reader, images)
        gated, x = slopes[0] * (responses[0] > 0), maps[layer]
        groups = 1 if weighted else x.shape[1]
        gated = gated.sum(dim=1, keepdim=True) if weighted else gated
        ones = gated.new_ones(groups, 1, *_pair(reader.kernel_size))
        how = (_pair(reader.stride), _pair(reader.padding))
        weights = functional.conv_transpose2d(gated, ones, None, *how, groups=groups)
        left = [a - b for a, b in zip(x.shape[2:], weights.shape[2:], strict=True)]
        found[layer] = (x * functional.pad(weights, (0, left[1], 0, left[0]))).mean(dim=(2, 3))
    return found


def compare(rounds: int, device: str, *, tiny: bool = False, batch: int = 1, captum: bool = True) -> list[Timing]:
    """The forward pass, the library and captum's loop on the same images; the latter two must agree."""
    size = (120, 160) if tiny else (224, 224)
    backbone = load_backbone("objects_vgg", "objects") if tiny else load_backbone("vgg19")
    network = fully_convolutional(backbone.network, size).to(device)
    layers, last = (TINY, "relu7") if tiny else (VGG19, "classifier.4")
    images = torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(0)).to(device)

    def forward() -> object:
        with torch.no_grad():
            return network(images)

    rivals: dict[str, Callable[[], object]] = {
        "forward pass": forward,
        f"ask_lib, {len(layers)} layers": lambda: interactive(network, images, layers),
    }
    if captum:
        ours, theirs = interactive(network, images, layers), captum_loop(network, images, layers, last)
        for layer in layers:
            unit = [functional.normalize(features[layer].double(), dim=1) for features in (ours, theirs)]
            torch.testing.assert_close(*unit, rtol=1e-2, atol=1e-3)
        rivals["captum, layer by layer"] = lambda: captum_loop(network, images, layers, last)
    return alternate(rivals, rounds, warm_up=1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=1, help="images a pass")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-captum", action="store_true", help="leave the slow rival out")
    parser.add_argument("--tiny", action="store_true", help="a small network that shows only that it runs")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print(f"InterActive, {options.batch} images, {options.device}, {options.threads} threads")
    how = {"tiny": options.tiny, "batch": options.batch, "captum": not options.no_captum}
    print(table(compare(options.rounds, options.device, **how)))


def _pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int) else value


if __name__ == "__main__":
    main()
