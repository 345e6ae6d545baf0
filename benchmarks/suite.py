"""Every benchmark as a stream of ratios: what ``python -m benchmarks`` prints and a GPU's record keeps."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.alternate import Timing, alternate, line


@dataclass(frozen=True)
class Size:
    """How much is timed.

    Attributes:
        device: ``cpu`` or ``cuda``.
        rounds: Timed rounds, at least 2.
        tiny: Whether to take sizes that show only that it runs.
    """

    device: str = "cpu"
    rounds: int = 5
    tiny: bool = False


@dataclass(frozen=True)
class Ratio:
    """One line of a benchmark.

    Attributes:
        name: What was timed, with its size.
        ours: Of the library.
        theirs: Of the baseline.
    """

    name: str
    ours: Timing
    theirs: Timing

    def __str__(self) -> str:
        return line(self.name, self.ours, self.theirs)


def scda_pooling(size: Size) -> Iterator[Ratio]:
    """SCDA beside the plain loop over images in numpy and scipy."""
    from benchmarks.scda import compare

    batch, channels = (2, 8) if size.tiny else (64, 512)
    for side in (7, 14):
        with torch.inference_mode():
            theirs, ours = compare(batch, channels, side, size.rounds, size.device)
        yield Ratio(f"SCDA {batch} x {channels} x {side} x {side} / numpy + scipy loop", ours, theirs)


def components(size: Size) -> Iterator[Ratio]:
    """The largest component beside scipy's labelling, mask after mask (on CUDA it pays for bringing the masks over)."""
    from ask_lib.methods.scda import largest_component
    from benchmarks.scda import EIGHT

    def loop(masks: torch.Tensor) -> NDArray[np.bool_]:
        from scipy import ndimage

        kept = []
        for mask in masks.cpu().numpy():
            labels, _ = ndimage.label(mask.T, EIGHT)
            kept.append((labels == np.bincount(labels.ravel())[1:].argmax() + 1).T)
        return np.stack(kept)

    count = 2 if size.tiny else 64
    for side in (7,) if size.tiny else (14, 224):
        generator = torch.Generator().manual_seed(0)
        masks = (torch.rand(count, side, side, generator=generator) < 0.45).to(size.device)
        if not np.array_equal(largest_component(masks).cpu().numpy(), loop(masks)):
            raise AssertionError("the two components differ")
        calls: dict[str, Callable[[], object]] = {
            "scipy": partial(loop, masks),
            "ask_lib": partial(largest_component, masks),
        }
        theirs, ours = alternate(calls, size.rounds)
        yield Ratio(f"largest component of {count} masks {side} x {side} / scipy loop", ours, theirs)


def crow_pooling(size: Size) -> Iterator[Ratio]:
    """CroW beside its authors' form: image after image in numpy."""
    from ask_lib.methods.encoding import crow
    from benchmarks.scda import blobs

    def loop(maps: torch.Tensor) -> NDArray[np.float32]:
        rows = []
        for features in maps.cpu().numpy():
            place = features.sum(axis=0)
            place = np.sqrt(place / np.linalg.norm(place))
            share = (features > 0).mean(axis=(1, 2))
            channel = np.log(np.where(share > 0, share.sum() / np.where(share > 0, share, 1), 1))
            rows.append((features * place).sum(axis=(1, 2)) * channel)
        return np.stack(rows).astype(np.float32)

    batch, channels, side = (2, 8, 7) if size.tiny else (64, 512, 14)
    maps = blobs(batch, channels, side).to(size.device)
    torch.testing.assert_close(crow(maps).cpu(), torch.from_numpy(loop(maps)), rtol=1e-3, atol=1e-4)
    theirs, ours = alternate({"numpy": lambda: loop(maps), "ask_lib": lambda: crow(maps)}, size.rounds)
    yield Ratio(f"CroW {batch} x {channels} x {side} x {side} / numpy loop", ours, theirs)


def cross_layer_pooling(size: Size) -> Iterator[Ratio]:
    """Cross-layer pooling beside the bare product, and beside the loop over channels."""
    from benchmarks.cross_layer_pooling import compare

    batch, channels, side = (2, 8, 7) if size.tiny else (8, 512, 14)
    with torch.inference_mode():
        bare, ours, loop = compare(batch, channels, side, size.rounds, size.device)
    name = f"cross-layer pooling {batch} x {channels} x {channels} x {side} x {side}"
    yield Ratio(f"{name} / bare product", ours, bare)
    yield Ratio(f"{name}: loop over channels / bare product", loop, bare)


def interactive(size: Size) -> Iterator[Ratio]:
    """InterActive of all layers beside the forward pass."""
    from benchmarks.interactive import compare

    batch = 1 if size.device == "cpu" else 16
    forward, ours = compare(size.rounds, size.device, tiny=size.tiny, batch=batch, captum=False)
    yield Ratio(f"InterActive, {ours.name.removeprefix('ask_lib, ')}, {batch} images / forward pass", ours, forward)


def interactive_captum(size: Size) -> Iterator[Ratio]:
    """Captum's loop over all layers beside the forward pass."""
    from benchmarks.interactive import compare

    forward, _, loop = compare(2, size.device, tiny=size.tiny)  # it is slow
    yield Ratio("InterActive with captum, layer by layer / forward pass", loop, forward)


def hha_frame(size: Size) -> Iterator[Ratio]:
    """HHA of one depth frame beside the usual port's steps in plain numpy."""
    from benchmarks.hha import compare

    height, width = (24, 32) if size.tiny else (480, 640)
    theirs, ours = compare(height, width, min(size.rounds, 3), size.device)
    yield Ratio(f"HHA of {height} x {width} / plain numpy", ours, theirs)


def dlfs_sampling(size: Size) -> Iterator[Ratio]:
    """Soft-argmax and sampling, forward and backward, beside kornia and grid_sample."""
    from benchmarks.dlfs import compare

    batch, count, channels = (2, 3, 8) if size.tiny else (64, 16, 512)
    for side in (7, 14):
        theirs, ours = compare((batch, count, channels, side), size.rounds, size.device)
        name = f"soft-argmax and sampling, K = {count}, 2 x {batch} x {channels} x {side} x {side}"
        yield Ratio(f"{name} / kornia + grid_sample", ours, theirs)


def feature_tap(size: Size) -> Iterator[Ratio]:
    """FeatureTap beside the bare forward pass."""
    from ask_lib.models.backbones import load_backbone
    from benchmarks.feature_tap import rivals

    side, batch = (64, 1) if size.tiny else (224, 2 if size.device == "cpu" else 64)
    images = torch.rand(batch, 3, side, side).to(size.device)
    for name in ("squeezenet1_0",) if size.tiny else ("squeezenet1_0", "resnet18"):
        backbone = load_backbone(name, device=size.device)
        bare, *others = alternate(rivals(backbone, backbone.default_layers, images), size.rounds)
        for other in others:
            yield Ratio(f"{name}, {batch} images of {side}: {other.name} / {bare.name}", other, bare)


def training(size: Size) -> Iterator[Ratio]:
    """An epoch of the toy recipe, augmentation and all, beside as many bare steps of its network."""
    from torch.nn import functional

    from ask_lib.train import Process, fit
    from ask_lib.train.run import build
    from ask_lib.train.tasks import find_experiment

    batch, steps = (8, 2) if size.tiny else (64, 20) if size.device == "cpu" else (512, 50)
    changes = [f"count={batch * steps}", f"batch={batch}", "test_count=0", "validation=0", "epochs=1"]
    config = find_experiment("toy").config.override([*changes, "network=resnet", "precision=float32"])
    device = torch.device(size.device)
    task = build(config)
    bare = build(config).network.to(device).to(memory_format=torch.channels_last).train()
    images = torch.rand(batch, 3, 24, 32).to(device=device, memory_format=torch.channels_last)
    labels = (torch.arange(batch) % task.num_classes).to(device)
    optimizer = torch.optim.Adam(bare.parameters())

    def bare_steps() -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            torch.autograd.backward(functional.cross_entropy(bare(images), labels))
            optimizer.step()

    calls: dict[str, Callable[[], object]] = {
        "bare": bare_steps,
        "fit": lambda: fit(task, config, process=Process(device), progress=False),
    }
    theirs, ours = alternate(calls, size.rounds, warm_up=1)
    yield Ratio(f"training {steps} steps of {batch} pictures / bare forward + backward", ours, theirs)


def ask(size: Size) -> Iterator[Ratio]:
    """A training step of ASK beside the bare two-stream step."""
    from benchmarks.ask import compare

    backbone, batch, side = ("rooms_resnet", 4, 64) if size.tiny else ("resnet18", 8, 224)
    theirs, ours = compare(backbone, batch, side, size.rounds, size.device)
    yield Ratio(f"ASK, {backbone}, a step of {batch} pairs of {side} / two encoders, average, linear", ours, theirs)


def rooms(size: Size) -> Iterator[Ratio]:
    """Drawing rooms in one batch beside one after the other on one CPU core."""
    from ask_scenes.drawing import one_thread
    from ask_scenes.rooms import RoomOptions, render_batch

    options = RoomOptions(size=(24, 32) if size.tiny else (96, 128))
    count = 2 if size.tiny else 8 if size.device == "cpu" else 32

    def one_by_one() -> None:
        for index in range(count):
            render_batch([index], options=options)

    with one_thread():
        theirs, ours = alternate(
            {
                "one by one on the CPU": one_by_one,
                "batch": lambda: render_batch(range(count), options=options, device=size.device),
            },
            2 if size.tiny else min(size.rounds, 3),
            warm_up=1,
        )
    height, width = options.size
    yield Ratio(f"{count} rooms of {height} x {width}, a batch on {size.device} / one by one, one core", ours, theirs)


BENCHMARKS: dict[str, Callable[[Size], Iterator[Ratio]]] = {
    "scda": scda_pooling,
    "components": components,
    "crow": crow_pooling,
    "cross_layer_pooling": cross_layer_pooling,
    "interactive": interactive,
    "interactive_captum": interactive_captum,
    "hha": hha_frame,
    "dlfs": dlfs_sampling,
    "feature_tap": feature_tap,
    "training": training,
    "ask": ask,
    "rooms": rooms,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every benchmark's lines; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(BENCHMARKS)}")
    parser.add_argument("--list", action="store_true", help="name them and stop")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds, at least 2")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--tiny", action="store_true", help="sizes that show only that it runs")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    if options.rounds < 2:
        parser.error(f"--rounds: at least 2, got {options.rounds}")
    torch.set_num_threads(options.threads)
    for name in options.names or BENCHMARKS:
        if options.list:
            print(f"{name}: {BENCHMARKS[name].__doc__}")
            continue
        for ratio in BENCHMARKS[name](Size(options.device, options.rounds, options.tiny)):
            print(ratio, flush=True)
    return 0
