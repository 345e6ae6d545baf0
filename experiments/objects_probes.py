"""Does anything but the object's shape tell its class? And can its shape be learned?

None of the probes names a method of the book. All numbers are of ``val``; ``test`` and ``gallery`` are left alone.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ask_lib.data.objects import Objects
from ask_scenes.objects.layout import VERSION
from ask_scenes.objects.options import Array, ObjectOptions
from experiments import probes


@dataclass(frozen=True)
class ProbeSettings(probes.ProbeSettings):
    """Sizes of the probes."""

    train: int = 1600
    val: int = 640


BATCH = 32  # frames that the network sees at once
Features = Callable[[Objects], Array]


def run_probes(
    settings: ProbeSettings,
    root: str | Path | None = None,
    keep: probes.Keep = lambda numbers: None,
) -> dict[str, Any]:
    """All probes on the judge classes.

    Args:
        settings: Sizes.
        root: Cache folder.
        keep: Given all results so far after each seed, so that a run that is stopped leaves something.

    Returns:
        ``chance`` and, by probe, percent correct; the network's ``mean`` and ``values`` over the seeds.
    """
    train, val = (_objects(name, settings, root) for name in ("train", "val"))
    bare_train, bare_val = (_objects(name, settings, root, removed=True) for name in ("train", "val"))
    results: dict[str, Any] = {"chance": 100 / len(train.classes)}
    linear: tuple[tuple[str, Features, Objects, Objects], ...] = (
        ("colour_histogram_frame", colour_histogram, train, val),
        ("colour_histogram_object_removed", colour_histogram, bare_train, bare_val),
        ("thumbnail_object_removed", thumbnail, bare_train, bare_val),
        ("colour_histogram_object_only", object_histogram, train, val),
        ("box", box_features, train, val),
        ("silhouette", silhouette, train, val),
    )
    for name, features, first, second in linear:
        results[name] = _forest(features(first), first, features(second), second, linear=name != "silhouette")
        print(f"{name}: {results[name]:.1f}", flush=True)
    for name, first, second in (("network", train, val), ("network_object_removed", bare_train, bare_val)):
        values: list[float] = []
        for seed in settings.seeds:
            values.append(_network(first, second, settings, seed))
            results[name] = {"mean": statistics.mean(values), "values": values}
            keep(results)
        print(f"{name}: {results[name]}", flush=True)
    return results


def _objects(split: str, settings: ProbeSettings, root: str | Path | None, removed: bool = False) -> Objects:
    options = ObjectOptions(size=settings.size, remove_object=removed)
    count = settings.train if split == "train" else settings.val
    return Objects(split, count, settings.data_seed, options, root=root, workers=settings.workers)


def colour_histogram(objects: Objects) -> Array:
    """Shares of 6 x 6 x 6 colours of the whole frame, ``(N, 216)``, as square roots."""
    return _shares(probes.colour_counts(objects.rgb))


def object_histogram(objects: Objects) -> Array:
    """The same within the mask alone."""
    return _shares(probes.colour_counts(objects.rgb, objects.mask))


def _shares(counts: torch.Tensor) -> Array:
    counts = counts.double()
    roots: Array = (counts / counts.sum(1, keepdim=True).clamp_min(1)).sqrt().numpy()
    return roots


def thumbnail(objects: Objects) -> Array:
    """The frame at 8 x 8 pixels, ``(N, 192)``."""
    small: Array = F.adaptive_avg_pool2d(objects.rgb.float() / 255, 8).flatten(1).double().numpy()
    return small


def box_features(objects: Objects) -> Array:
    """Where the box lies and how large it and the mask are, ``(N, 5)``."""
    height, width = objects.mask.shape[1:]
    x0, y0, x1, y1 = objects.box.double().unbind(1)
    share = objects.mask.double().mean((1, 2))
    stacked: Array = torch.stack([x0 / width, y0 / height, x1 / width, y1 / height, share], 1).numpy()
    return stacked


def silhouette(objects: Objects) -> Array:
    """The mask inside its box at 16 x 16, and the box's aspect, ``(N, 257)``."""
    rows = []
    for mask, (x0, y0, x1, y1) in zip(objects.mask, objects.box.tolist(), strict=True):
        cut = F.adaptive_avg_pool2d(mask[None, y0:y1, x0:x1].double(), 16).flatten()
        rows.append(torch.cat([cut, torch.tensor([(x1 - x0) / (y1 - y0)], dtype=torch.float64)]))
    stacked: Array = torch.stack(rows).numpy()
    return stacked


def _forest(first: Array, train: Objects, second: Array, val: Objects, *, linear: bool) -> float:
    """Percent correct of a linear classifier, or of a forest."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = (
        make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
        if linear
        else RandomForestClassifier(300, random_state=0)
    )
    model.fit(first, train.label.numpy())
    return float(100 * np.mean(model.predict(second) == val.label.numpy()))


def _network(train: Objects, val: Objects, settings: ProbeSettings, seed: int) -> float:
    """Percent correct of a small network trained from nothing on whole frames."""
    torch.manual_seed(seed)
    device = torch.device(settings.device)
    names = torch.unique(train.label)
    target, truth = (torch.searchsorted(names, part.label).to(device) for part in (train, val))
    images, checks = (_prepared(part.rgb).to(device) for part in (train, val))
    model = _small(len(names)).to(device).train()
    steps = settings.epochs * (len(images) // BATCH)
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for _ in range(settings.epochs):
        order = torch.randperm(len(images))[: len(images) // BATCH * BATCH].reshape(-1, BATCH).to(device)
        for batch in order:
            x = images[batch]
            x = x.flip(3) if torch.rand(()) < 0.5 else x
            loss = F.cross_entropy(model(x), target[batch], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        guesses = torch.cat([model(part).argmax(1) for part in torch.split(checks, 128)])
    return float(100 * (guesses == truth).float().mean())


def _prepared(rgb: torch.Tensor) -> torch.Tensor:
    return (rgb.float() / 255 - 0.5) / 0.25


def _small(classes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    width = 3
    for out in (24, 48, 96, 160):
        layers += [nn.Conv2d(width, out, 3, 2 if width == 3 else 1, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if out < 160 else []
        width = out
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(width, classes))


def main(words: Sequence[str] | None = None) -> int:
    """Run the probes and record them; returns the exit status."""
    parser = probes.probes_parser("objects_probes", __doc__, ProbeSettings(), BATCH)
    return probes.run_probes_command(parser, {"objects": VERSION}, _prepared_run, words)


def _prepared_run(given: argparse.Namespace) -> tuple[ProbeSettings, Callable[[probes.Keep], probes.Numbers]]:
    settings = probes.probe_settings(ProbeSettings(), given)
    return settings, partial(run_probes, settings, given.root)


if __name__ == "__main__":
    raise SystemExit(main())
