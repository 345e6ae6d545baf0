"""The questions that froze the data set: what can be told from colour alone, from depth alone, from the key objects?

None of them names a method of the book. Settings were chosen on ``val``; the numbers here are of ``val`` too, and
``test`` is left alone. Each seed has rooms and a network of its own. The training loop is a private one, so that a
change in ``train/`` cannot move the data set.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ask_lib.data.rooms import Rooms
from ask_scenes.rooms.furniture.design import CATEGORIES
from ask_scenes.rooms.layout import VERSION
from ask_scenes.rooms.options import Array, RoomOptions
from ask_scenes.rooms.scenes import LABELS
from experiments import probes


@dataclass(frozen=True)
class ProbeSettings(probes.ProbeSettings):
    """Sizes of the probes, and what the networks see.

    Attributes:
        inputs: One network each; ``geometry`` is height and levelness worked out from depth and the exact pose.
    """

    train: int = 2000
    val: int = 500
    size: tuple[int, int] = (96, 128)
    epochs: int = 25
    inputs: tuple[str, ...] = ("rgb", "depth", "rgb+depth")


def run_probes(
    settings: ProbeSettings,
    root: str | Path | None = None,
    keep: probes.Keep = lambda numbers: None,
) -> dict[str, Any]:
    """All probes.

    Args:
        settings: Sizes.
        root: Cache folder.
        keep: Given all results so far after each seed, so that a run that is stopped leaves something.

    Returns:
        By probe: ``values`` a seed in percent, their ``mean`` and ``std`` (of the seeds themselves), and for the
        linear probes the class that was found best, and how often.
    """
    results: dict[str, Any] = {}

    def add(name: str, value: float, **more: Any) -> None:
        summary = results.setdefault(name, {"values": []})
        summary["values"].append(round(value, 2))
        for key, one in more.items():
            summary.setdefault(key, []).append(one)
        if "best" in summary:
            summary["highest"] = max(summary["best"])
        summary["mean"] = round(statistics.fmean(summary["values"]), 2)
        summary["std"] = round(statistics.pstdev(summary["values"]), 2)
        print(f"{name}: {summary}", flush=True)

    for seed in settings.seeds:
        _replicate(settings, seed, root, add)
        keep(results)
    return results


def _replicate(settings: ProbeSettings, seed: int, root: str | Path | None, add: Callable[..., None]) -> None:
    """All probes once, on rooms and networks of their own."""
    plain = RoomOptions(size=settings.size)
    draw = partial(_rooms, settings=settings, seed=seed, root=root)
    train, val = draw("train", settings.train, options=plain), draw("val", settings.val, options=plain)
    for name, features in (("colour_histogram", colour_histogram), ("mean_depth", mean_depth)):
        share, best, best_share = _linear(features(train), train, features(val), val)
        add(name, share, best_class=best, best=best_share)
    add("key_masks", _forest(train, val, seed))
    others = {
        "key_objects_removed": draw("val", settings.val, options=replace(plain, remove_key_objects=True)),
        "distractors_removed": draw("val", settings.val, options=replace(plain, remove_distractors=True)),
    }
    for name in settings.inputs:
        for key, value in _network(name.split("+"), train, {"": val, **others}, settings, seed).items():
            add(f"{name}_{key}" if key else name, value)


def colour_histogram(rooms: Rooms) -> Array:
    """Shares of 6 x 6 x 6 colours, ``(N, 216)``, as square roots."""
    roots: Array = (probes.colour_counts(rooms.rgb) / rooms.depth_mm[0].numel()).sqrt().numpy()
    return roots


def mean_depth(rooms: Rooms) -> Array:
    """Mean and spread of the depth that is there, and how much is missing, ``(N, 3)``."""
    depth, there = rooms.depth, rooms.depth_mm > 0
    count = there.sum((1, 2)).clamp_min(1)
    mean = depth.sum((1, 2)) / count
    spread = (((depth - mean[:, None, None]) ** 2) * there).sum((1, 2)) / count
    stacked: Array = torch.stack([mean, spread.sqrt(), there.float().mean((1, 2))], 1).numpy()
    return stacked


def key_features(rooms: Rooms) -> Array:
    """For each category: area of its key objects, and its share in each of 3 x 3 cells, ``(N, 10 C)``."""
    maps = F.one_hot((rooms.category.long() * rooms.key_mask)[:, ::2, ::2], len(CATEGORIES)).float()  # (N, h, w, C)
    cells = F.adaptive_avg_pool2d(maps.movedim(3, 1)[:, 1:], 3).flatten(2)  # (N, C, 9)
    features: Array = torch.cat([cells.mean(2), cells.flatten(1)], 1).sqrt().numpy()
    return features


def depth_channels(rooms: Rooms) -> torch.Tensor:
    """Nearness, height above the floor, and how level the surface is, ``(N, 3, H, W)``; holes are filled first."""
    depth = _filled(rooms.depth)
    h, w = depth.shape[1:]
    x, y = torch.arange(w).float(), torch.arange(h).float()
    k = rooms.intrinsics
    right = (x[None, None] - k[:, 0, 2, None, None]) / k[:, 0, 0, None, None] * depth
    down = (y[None, :, None] - k[:, 1, 2, None, None]) / k[:, 1, 1, None, None] * depth
    up = rooms.pose[:, 2]  # (N, 4): the room's height as a mixture of camera axes
    height = (
        up[:, 0, None, None] * right + up[:, 1, None, None] * down + up[:, 2, None, None] * depth + up[:, 3, None, None]
    )
    smooth = F.avg_pool2d(height[:, None], 3, 1, 1)[:, 0]
    rise = F.pad(smooth[:, 2:] - smooth[:, :-2], (0, 0, 1, 1)).abs() / (depth * 2 / k[:, 0, 0, None, None])
    channels = torch.stack([1.5 / depth.clamp_min(0.5) - 0.7, height.clamp(-0.2, 3) - 1, rise.clamp(0, 2) - 0.6], 1)
    return channels


def _filled(depth: torch.Tensor) -> torch.Tensor:
    values, there = depth[:, None], (depth > 0).float()[:, None]
    for _ in range(24):
        if bool((there > 0).all()):
            break
        weight = F.avg_pool2d(there, 3, 1, 1)
        spread = F.avg_pool2d(values * there, 3, 1, 1) / weight.clamp_min(1e-6)
        values = torch.where(there > 0, values, spread)
        there = (weight > 0).float()
    return values[:, 0]


def _rooms(
    split: str, count: int, *, settings: ProbeSettings, seed: int, options: RoomOptions, root: str | Path | None
) -> Rooms:
    return Rooms(split, count, settings.data_seed + seed, options, root=root, workers=settings.workers)


def _linear(train_x: Array, train: Rooms, val_x: Array, val: Rooms) -> tuple[float, str, float]:
    """Percent named rightly by a linear model, and the class that it finds best with its share."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    guess = model.fit(train_x, train.label.numpy()).predict(val_x)
    truth = val.label.numpy()
    each = {name: float((guess[truth == i] == i).mean() * 100) for i, name in enumerate(LABELS)}
    best = max(each, key=lambda name: each[name])
    return float((guess == truth).mean() * 100), best, round(each[best], 1)


def _forest(train: Rooms, val: Rooms, seed: int) -> float:
    from sklearn.ensemble import ExtraTreesClassifier

    model = ExtraTreesClassifier(300, random_state=seed, max_features=0.2)
    model.fit(key_features(train), train.label.numpy())
    return float((model.predict(key_features(val)) == val.label.numpy()).mean() * 100)


BATCH = 50  # frames that a network sees at once
SHIFT = 6  # pixels, at most, of the augmentation
CHANNELS = {"rgb": 3, "depth": 1, "geometry": 3}


class _Streams(nn.Module):
    """One small convolutional stream an input, joined before the classifier."""

    def __init__(self, inputs: Sequence[str]) -> None:
        super().__init__()
        self.streams = nn.ModuleDict({name: _stream(CHANNELS[name]) for name in inputs})
        self.classify = nn.Linear(128 * 2 * len(inputs), len(LABELS))
        self.drop = nn.Dropout(0.3)

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits ``(B, 10)``."""
        maps = [stream(inputs[name]) for name, stream in self.streams.items()]
        pooled = [torch.cat([m.mean((2, 3)), m.amax((2, 3))], 1) for m in maps]
        logits: torch.Tensor = self.classify(self.drop(torch.cat(pooled, 1)))
        return logits


def _stream(channels: int) -> nn.Sequential:
    """Seven convolutions; the last map is a sixteenth of the frame on a side."""
    layers: list[nn.Module] = []
    for before, after, stride, pool in (
        (channels, 16, 2, True), (16, 32, 1, False), (32, 32, 1, True), (32, 64, 1, False), (64, 64, 1, False),
        (64, 96, 1, True), (96, 128, 1, False),
    ):  # fmt: skip
        layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if pool else []
    return nn.Sequential(*layers)


def _inputs(rooms: Rooms, inputs: Sequence[str], device: str) -> dict[str, torch.Tensor]:
    """What the networks may see: colour, depth as the sensor gives it, or depth with the pose worked in."""
    given = {}
    if "rgb" in inputs:
        rgb = rooms.rgb.float() / 255
        given["rgb"] = (rgb - rgb.mean((2, 3), keepdim=True)) / (rgb.std((1, 2, 3), keepdim=True) + 0.08)
    if "depth" in inputs:
        given["depth"] = 1.5 / _filled(rooms.depth).clamp_min(0.5)[:, None] - 0.7
    if "geometry" in inputs:
        given["geometry"] = depth_channels(rooms)
    return {name: value.to(device, memory_format=torch.channels_last) for name, value in given.items()}


def _network(
    inputs: Sequence[str], train: Rooms, tests: dict[str, Rooms], settings: ProbeSettings, seed: int
) -> dict[str, float]:
    """Train once, measure on each of the test sets, in percent."""
    torch.manual_seed(seed)
    net = _Streams(inputs).to(settings.device).to(memory_format=torch.channels_last)
    data, label = _inputs(train, inputs, settings.device), train.label.to(settings.device)
    steps = settings.epochs * (len(label) // BATCH)
    optimiser = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, steps)
    for _ in range(settings.epochs):
        for chosen in torch.randperm(len(label))[: len(label) // BATCH * BATCH].reshape(-1, BATCH):
            batch = _augmented({name: data[name][chosen] for name in inputs})
            with torch.autocast(settings.device.split(":")[0], torch.bfloat16):
                logits = net(batch)
            loss = F.cross_entropy(logits.float(), label[chosen], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    net.eval()
    return {name: _accuracy(net, rooms, inputs, settings.device) for name, rooms in tests.items()}


def _augmented(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A flip a frame and a shift a batch, the same for colour and depth; colours are mixed and change in strength."""
    first = next(iter(batch.values()))
    count, _, height, width = first.shape
    flip = (torch.rand(count, device=first.device) < 0.5)[:, None, None, None]
    dy, dx = (int(torch.randint(0, 2 * reach + 1, ())) for reach in (SHIFT, SHIFT))
    moved = {}
    for name, value in batch.items():
        padded = F.pad(torch.where(flip, value.flip(3), value), (SHIFT,) * 4, mode="replicate")
        moved[name] = padded[:, :, dy : dy + height, dx : dx + width]
    if "rgb" in moved:
        mix = torch.eye(3, device=first.device) + 0.2 * torch.randn(count, 3, 3, device=first.device)
        mix = mix * (1 + 0.2 * torch.randn(count, 1, 1, device=first.device))
        moved["rgb"] = torch.einsum("nchw,ncd->ndhw", moved["rgb"], mix)
    return {name: value.contiguous(memory_format=torch.channels_last) for name, value in moved.items()}


@torch.no_grad()
def _accuracy(net: nn.Module, rooms: Rooms, inputs: Sequence[str], device: str) -> float:
    data = _inputs(rooms, inputs, device)
    parts = [torch.arange(first, min(first + 100, len(rooms))) for first in range(0, len(rooms), 100)]
    guess = torch.cat([net({name: data[name][part] for name in inputs}).argmax(1).cpu() for part in parts])
    return float(np.mean((guess == rooms.label).numpy()) * 100)


def main(words: Sequence[str] | None = None) -> int:
    """Run the probes and record them; returns the exit status."""
    parser = probes.probes_parser("rooms_probes", __doc__, ProbeSettings(), BATCH)
    parser.add_argument(
        "--inputs", type=_inputs_of, nargs="+", default=list(ProbeSettings.inputs), help="such as rgb or rgb+depth"
    )
    return probes.run_probes_command(parser, {"rooms": VERSION}, _prepared_run, words)


def _prepared_run(given: argparse.Namespace) -> tuple[ProbeSettings, Callable[[probes.Keep], probes.Numbers]]:
    settings = probes.probe_settings(ProbeSettings(), given, inputs=tuple(given.inputs))
    return settings, partial(run_probes, settings, given.root)


def _inputs_of(text: str) -> str:
    if not set(text.split("+")) <= set(CHANNELS):
        raise argparse.ArgumentTypeError(f"expected {', '.join(CHANNELS)}, or some joined by +, got {text!r}")
    return text


if __name__ == "__main__":
    raise SystemExit(main())
