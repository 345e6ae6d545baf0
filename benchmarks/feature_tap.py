"""FeatureTap beside the bare forward pass and torchvision's feature extractor: ``python -m benchmarks.feature_tap``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import torch

from ask_lib.models.backbones import Backbone, load_backbone
from ask_lib.models.features import FeatureTap
from benchmarks.alternate import alternate, table


def rivals(backbone: Backbone, layers: Sequence[str], images: torch.Tensor) -> dict[str, Callable[[], object]]:
    """The calls that are compared; the first is the baseline."""
    from torchvision.models.feature_extraction import create_feature_extractor

    network = backbone.network
    extractor = create_feature_extractor(network, return_nodes=list(layers)).eval()
    open_tap = FeatureTap(network, layers)

    def bare() -> object:
        with torch.no_grad():
            return network(images)

    def extract() -> object:
        with torch.no_grad():
            return extractor(images)

    def fresh() -> object:
        with FeatureTap(network, layers) as tap:
            return tap(images)

    def reused() -> object:
        with open_tap:
            return open_tap(images)

    return {
        "bare forward pass": bare,
        "torchvision extractor (stops early)": extract,
        "FeatureTap, new each time": fresh,
        "FeatureTap, reused": reused,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for each backbone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbones", nargs="+", default=["squeezenet1_0", "resnet18"], help="names of load_backbone")
    parser.add_argument("--layers", nargs="+", help="layers to tap; default: each backbone's own")
    parser.add_argument("--batch", type=int, default=4, help="images a pass")
    parser.add_argument("--size", type=int, default=224, help="side of the images")
    parser.add_argument("--rounds", type=int, default=20, help="timed rounds")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    images = torch.rand(options.batch, 3, options.size, options.size).to(options.device)
    for name in options.backbones:
        backbone = load_backbone(name, device=options.device)
        layers = options.layers or backbone.default_layers
        print(f"\n{name}, {tuple(images.shape)}, {options.device}, {options.threads} threads; {', '.join(layers)}")
        print(table(alternate(rivals(backbone, layers, images), options.rounds)))


if __name__ == "__main__":
    main()
