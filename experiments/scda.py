"""Record the runs of SCDA's chapter that do not fit a page's minutes, on 17 Category Flowers.

``flowers17`` writes results/scda_flowers17.json, the tables; ``masks`` writes results/scda_flowers17_masks.json, the
masks of some pictures. Every part of the tables is kept in ``_build/recorded`` as soon as it is done, so a run that is
stopped goes on with the next part. Other code, pictures, weights or seeds make all parts anew.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from torch.nn import functional
from tqdm import tqdm

from ask_lib.data import transforms
from ask_lib.data.image_folder import PictureFolder, read_images
from ask_lib.evaluate.controls import middle_mask
from ask_lib.evaluate.encodings import Encodings, Maps
from ask_lib.evaluate.retrieval import average_precision, hits, rank
from ask_lib.evaluate.spread import Interval, bootstrap
from ask_lib.methods.descriptors import PCA, l2_normalize
from ask_lib.methods.encoding import avg_max_pool
from ask_lib.methods.scda import activation_map, bounding_box, mean_mask, scda, selection_mask
from ask_lib.models.backbones import Backbone, load_backbone
from ask_lib.models.features import FeatureTap
from ask_lib.results import new_result, shell_word, without_machine, write_result
from ask_lib.train.data import stratified_split
from tools.project import BUILD, ROOT, digest, exit_status, read_json, tree_bytes, write_atomic
from tools.results import RESULTS

KEPT = BUILD / "recorded"
VARIANTS: dict[str, tuple[int, transforms.Mode] | None] = {
    "crop224": (224, "short"),  # the middle square
    "area224": (224, "area"),  # as many pixels, the aspect kept
    "own": None,  # as they come: what the authors' code takes
    "area384": (384, "area"),
}
DIMENSIONS = (64, 256)  # the paper's 256, and fewer, as the gallery is small
WHOLE = 0.9  # a component that holds more of what is above the mean counts as the only piece
FITTED_EACH = 10  # pictures a class that the codebooks are fitted on
STEPS = {  # differences of two rows, query by query
    "the largest piece": ("SCDA", "SCDA, all above"),
    "the second layer": ("SCDA+", "SCDA"),
    "the mirror": ("SCDA_flip+", "SCDA+"),
    "the mirror, without a mask": ("avg&max, flip", "avg&max"),
    "SCDA_flip+ against GeM": ("SCDA_flip+", "GeM"),
}


def maps_of(backbone: Backbone, tap: FeatureTap, images: torch.Tensor) -> tuple[Maps, dict[str, torch.Tensor]]:
    """The maps of normalised images and their mirror images, and rows of the classifier's outputs.

    Of the backbone's default layers the last is high, the one before it low.
    """
    low, high = backbone.default_layers[-2:]
    mirrored = tap(images.flip(3))
    upright = tap(images)
    outputs = {"fc8_im": tap.logits}
    boxes = bounding_box(selection_mask(upright[high]), (images.shape[2], images.shape[3])).tolist()
    cut = [images[at : at + 1, :, y0:y1, x0:x1] for at, (x0, y0, x1, y1) in enumerate(boxes)]
    size = (images.shape[2], images.shape[3])
    tap(torch.cat([functional.interpolate(each, size, mode="bilinear", antialias=True) for each in cut]))
    outputs["fc8_predBBox"] = tap.logits
    return Maps(upright[high], upright[low], mirrored[high], mirrored[low]), outputs


def network_size(picture: Image, variant: tuple[int, transforms.Mode] | None) -> tuple[int, int]:
    """(H, W) that a picture has when the network reads it."""
    current = (picture.height, picture.width)
    if variant is None:
        return current
    size, mode = variant
    return (size, size) if mode == "short" else transforms.target_size(current, size, mode)


def describe(
    backbone: Backbone, pictures: PictureFolder, variant: tuple[int, transforms.Mode] | None, batch: int = 20
) -> Any:
    """Rows of vectors, the last maps, and what the masks are like, of all the pictures."""
    rows: dict[str, list[torch.Tensor]] = {}
    highs: list[torch.Tensor] = []
    sized: dict[tuple[int, int], list[int]] = {}
    for at, picture in enumerate(pictures):
        sized.setdefault(network_size(picture.image, variant), []).append(at)
    order, encodings = [], Encodings()
    with torch.inference_mode(), FeatureTap(backbone.network, backbone.default_layers[-2:]) as tap:
        for own_size, same in sized.items():
            size, mode = variant or (own_size, "warp")  # to its own size: nothing is changed
            for first in range(0, len(same), batch):
                chosen = same[first : first + batch]
                ready = transforms.batch([pictures[at].image for at in chosen], size, backbone.mean, backbone.std, mode)
                maps, outputs = maps_of(backbone, tap, ready)
                kept = selection_mask(maps.high)
                found = outputs | encodings.pooled(maps)
                found |= {
                    "the cells that SCDA drops": scda(maps.high, ~kept),
                    "as many cells in the middle": scda(maps.high, middle_mask(kept)),
                    "facts": mask_facts(maps.high),
                }
                for name, vectors in found.items():
                    rows.setdefault(name, []).append(vectors)
                highs += list(maps.high)
                order += chosen
                print(f"  {len(order)} of {len(pictures)}", end="\r", flush=True)
    back = torch.tensor(order).argsort()
    return {name: torch.cat(parts)[back] for name, parts in rows.items()}, [highs[at] for at in back.tolist()]


def mask_facts(high: torch.Tensor) -> torch.Tensor:
    """Of each map: shares of cells above the mean and in the component, and of its border that the component holds."""
    above, kept = mean_mask(high), selection_mask(high)
    border = torch.ones_like(kept)
    border[:, 1:-1, 1:-1] = False
    on_border = (kept & border).flatten(1).sum(1) / border.flatten(1).sum(1)
    return torch.stack([above.float().mean((1, 2)), kept.float().mean((1, 2)), on_border], dim=1)  # (B, 3)


def coded(highs: list[torch.Tensor], labels: torch.Tensor, gallery: torch.Tensor) -> dict[str, torch.Tensor]:
    """VLAD and Fisher vectors, their codebooks fitted on some pictures of the gallery, as many of each class."""
    chosen = [at for c in range(int(labels.max()) + 1) for at in gallery[labels[gallery] == c][:FITTED_EACH].tolist()]
    encodings = Encodings().fit([highs[at][None] for at in chosen])
    pieces = [encodings.coded(high[None]) for high in highs]
    return {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}


def precisions(
    vectors: torch.Tensor, labels: torch.Tensor, queries: torch.Tensor, gallery: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Average precision of each query, at one and at five results."""
    found = hits(rank(vectors[queries], vectors[gallery], top=5), labels[queries], labels[gallery])
    return {f"top{k}": 100 * average_precision(found, k) for k in (1, 5)}


def compressed(vectors: torch.Tensor, gallery: torch.Tensor) -> dict[str, torch.Tensor]:
    """The vectors as they are, and after PCA and PCA-whitening; the axes come from the gallery."""
    unit = l2_normalize(vectors)
    found = {"": vectors}
    for dim in DIMENSIONS:
        if dim < min(unit.shape[1], len(gallery)):
            for name, whiten in (("PCA", False), ("whitened", True)):
                found[f", {name} {dim}"] = PCA(dim, whiten=whiten).fit(unit[gallery]).transform(unit)
    return found


def score_variant(backbone: Backbone, pictures: PictureFolder, name: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Every row of one way to size the pictures: means over the splits, and differences from average and maximum."""
    rows, highs = describe(backbone, pictures, VARIANTS[name])
    labels, facts = torch.tensor(pictures.targets), rows.pop("facts")
    whole = facts[:, 1] / facts[:, 0].clamp(min=1e-9)  # how much of what is above the mean the component holds
    runs: dict[str, dict[str, list[float]]] = {}
    gains: dict[str, torch.Tensor] = {}  # by picture, summed over the splits in which it is a query
    steps: dict[str, torch.Tensor] = {}
    asked = torch.zeros(len(labels), dtype=torch.double)
    for seed in seeds:
        gallery, queries = stratified_split(labels, 0.5, seed)
        found: dict[str, torch.Tensor] = {}
        for row, vectors in (rows | coded(highs, labels, gallery)).items():
            for suffix, made in compressed(vectors, gallery).items():
                scores = precisions(made, labels, queries, gallery)
                found[row + suffix] = scores["top1"]
                for column, values in scores.items():
                    runs.setdefault(row + suffix, {}).setdefault(column, []).append(float(values.mean()))
        asked[queries] += 1
        for row, values in found.items():
            gains.setdefault(row, torch.zeros_like(asked))[queries] += values - found["avg&max"]
        for step, (after, before) in STEPS.items():
            steps.setdefault(step, torch.zeros_like(asked))[queries] += found[after] - found[before]
        print(f"  {name}, split {seed}: SCDA {found['SCDA'].mean():.2f}, avg&max {found['avg&max'].mean():.2f}")
    return {
        "runs": runs,
        "gains": {row: vars(mean_gain(total, asked)) for row, total in gains.items()},
        "steps": {step: vars(mean_gain(total, asked)) for step, total in steps.items()},
        "above": 100 * float(facts[:, 0].mean()),
        "kept": 100 * float(facts[:, 1].mean()),
        "border": 100 * float(facts[:, 2].mean()),
        "one piece": 100 * float((whole > WHOLE)[asked > 0].double().mean()),
        "gain of one piece": mean_gain(gains["SCDA"], asked, whole > WHOLE).mean,
        "gain of several": mean_gain(gains["SCDA"], asked, whole <= WHOLE).mean,
    }


def mean_gain(total: torch.Tensor, asked: torch.Tensor, among: torch.Tensor | None = None) -> Interval:
    """The mean over queries of all splits, so that it is the difference of two rows' means; pictures are drawn anew.

    Args:
        total: ``(N,)``, each picture's gains, added up over the splits in which it is a query.
        asked: ``(N,)``, in how many it is.
        among: bool, ``(N,)``, only these pictures.
    """
    chosen = (asked > 0) if among is None else (asked > 0) & among
    return bootstrap(total[chosen] / asked[chosen], weights=asked[chosen])


def values_of(parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One flat table of values for the pages: ``VARIANT ROW top1``, ``... low``, ``... high``."""
    values: dict[str, Any] = {}
    for variant, part in parts.items():
        for row, columns in part["runs"].items():
            for column, numbers in columns.items():
                values[f"{variant} {row} {column}"] = statistics.mean(numbers)
                values[f"{variant} {row} {column} std"] = statistics.stdev(numbers) if len(numbers) > 1 else 0.0
            for end in ("mean", "low", "high"):
                values[f"{variant} {row} gain {end}"] = part["gains"][row][end]
        for step, gain in part["steps"].items():
            values |= {f"{variant} {step} {end}": gain[end] for end in ("mean", "low", "high")}
        facts = {key: value for key, value in part.items() if isinstance(value, float) and key != "seconds"}
        values |= {f"{variant} {key}": value for key, value in facts.items()}
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}


def rounded(runs: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, list[float]]]:
    """The single runs, to the fourth decimal."""
    return {row: {key: [round(v, 4) for v in each] for key, each in columns.items()} for row, columns in runs.items()}


def kept(folder: Path, name: str, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A part from the folder, or made now and kept; ``key`` says what it was made from."""
    path = folder / f"{name}.json"
    if path.is_file() and (held := read_json(path))["key"] == key:
        print(f"{name}: kept")
        return dict(held["part"])
    print(f"{name}: begun", flush=True)
    started = time.monotonic()
    part = make()
    part["seconds"] = round(time.monotonic() - started, 1)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps({"key": key, "part": part}, indent=1))
    print(f"{name}: {part['seconds']:.0f} s", flush=True)
    return part


def code_digest() -> str:
    """Of the code that makes a part: the library and this file."""
    return digest(tree_bytes([ROOT / "ask_lib", ROOT / "experiments" / "scda.py"], (".py",)))[:12]


def pictures_digest(pictures: PictureFolder) -> str:
    """Of the pictures' names, sizes and pixels."""
    read = ((each.name, str(each.image.size), each.image.tobytes()) for each in pictures)
    return digest(part for name, size, pixels in read for part in (name.encode(), size.encode(), pixels))[:12]


def record_flowers17(images: Path, weights: Path, seeds: Sequence[int], command: str) -> None:
    """Every row on 17 Category Flowers with SqueezeNet 1.0."""
    pictures = read_images(images)
    print(pictures.report)
    backbone = load_backbone("squeezenet1_0", weights)
    made_from = (
        f"code {code_digest()}, torch {torch.__version__}, {backbone.weights}, seeds {list(seeds)}, "
        f"{len(pictures)} pictures {pictures_digest(pictures)}"
    )
    parts = {
        variant: kept(
            KEPT / "scda_flowers17",
            variant,
            f"{size}, {made_from}",
            lambda variant=variant: score_variant(backbone, pictures, variant, seeds),  # type: ignore[misc]
        )
        for variant, size in VARIANTS.items()
    }
    values = values_of(parts) | {"network": f"{backbone.name} ({backbone.weights})", "pictures": len(pictures)}
    content = new_result(
        "scda_flowers17",
        title="SCDA on 17 Category Flowers",
        command=command,
        data=data_of(pictures),
        settings=settings_of(images, weights, layers=", ".join(backbone.default_layers[-2:])),
        seeds=seeds,
        protocol="half of each class is the gallery, half are the queries, a split a seed; the paper's mask, "
        "its authors' alpha, codebooks of two words fitted on ten gallery pictures of each class",
        seconds=sum(part["seconds"] for part in parts.values()),
        values=values,
        details={
            "runs": {variant: rounded(part["runs"]) for variant, part in parts.items()},
            "seconds": {variant: part["seconds"] for variant, part in parts.items()},
        },
        folder=ROOT,
    )
    print(f"Recorded {write_result(RESULTS, content)}")


def data_of(pictures: PictureFolder) -> dict[str, str]:
    """The data set, for the record."""
    return {"flowers17": f"17 Category Flowers, {len(pictures)} pictures in {len(pictures.classes)} folders"}


def settings_of(images: Path, weights: Path, **more: str) -> dict[str, str]:
    """The settings, for the record: no path of this machine."""
    return {"IMAGES": str(without_machine(str(images))), "WEIGHTS": str(without_machine(str(weights))), **more}


def looked_at(backbone: Backbone, pictures: PictureFolder, batch: int = 20) -> dict[str, torch.Tensor]:
    """Of all pictures, as middle squares of 224: the activation map, both masks, and the vectors of two rows."""
    found: dict[str, list[torch.Tensor]] = {}
    high = backbone.default_layers[-1]
    with torch.inference_mode(), FeatureTap(backbone.network, high) as tap:
        for first in tqdm(range(0, len(pictures), batch), desc="maps"):
            some = [pictures[at].image for at in range(first, min(first + batch, len(pictures)))]
            maps = tap(transforms.batch(some, 224, backbone.mean, backbone.std, "short"))[high]
            kept = selection_mask(maps)
            rows = {
                "activation": activation_map(maps),
                "above": mean_mask(maps),
                "kept": kept,
                "avg&max": avg_max_pool(maps, normalize=True),
                "SCDA": scda(maps, kept),
            }
            for name, part in rows.items():
                found.setdefault(name, []).append(part)
    return {name: torch.cat(parts) for name, parts in found.items()}


def first_of_each_class(rows: torch.Tensor, labels: torch.Tensor, most: int) -> list[int]:
    """The first rows in order, at most one of a class: a rule that no one's taste enters."""
    chosen: dict[int, int] = {}
    for at in rows.tolist():
        chosen.setdefault(int(labels[at]), at)
    return sorted(chosen.values())[:most]


def shown(found: dict[str, torch.Tensor], pictures: PictureFolder, at: int) -> dict[str, Any]:
    """What a page shows of one picture: its map in percent of the peak, and what became of each cell."""
    heat = found["activation"][at]
    marks = found["above"][at].int() + found["kept"][at].int()  # 0 below the mean, 1 dropped with its piece, 2 kept
    return {
        "file": pictures[at].name,
        "activation": [" ".join(map(str, row)) for row in (100 * heat / heat.max()).round().int().tolist()],
        "cells": ["".join(".+#"[mark] for mark in row) for row in marks.tolist()],
    }


def record_masks(images: Path, weights: Path, seed: int, command: str, most: int = 4) -> None:
    """The masks of queries whose first result the selection turns from right to wrong, and the other way round."""
    pictures = read_images(images)
    print(pictures.report)
    backbone = load_backbone("squeezenet1_0", weights)
    found, labels = looked_at(backbone, pictures), torch.tensor(pictures.targets)
    gallery, queries = stratified_split(labels, 0.5, seed)
    queries = queries.sort().values
    plain, ours = (precisions(found[name], labels, queries, gallery)["top1"] > 0 for name in ("avg&max", "SCDA"))
    pieces = (found["above"] & ~found["kept"]).flatten(1).any(dim=1)[queries]
    groups = {"lost": plain & ~ours, "won": ours & ~plain}
    chosen = {key: first_of_each_class(queries[rows], labels, most) for key, rows in groups.items()}
    values: dict[str, Any] = {"queries": len(queries), "pieces": 100 * float(pieces.double().mean())}
    for key, rows in groups.items():
        values[key] = int(rows.sum())
        if rows.any():  # nothing has no share
            values[f"{key} pieces"] = 100 * float(pieces[rows].double().mean())
    content = new_result(
        "scda_flowers17_masks",
        title="SCDA's masks of some flowers",
        command=command,
        data=data_of(pictures),
        settings=settings_of(images, weights, layer=backbone.default_layers[-1]),
        seeds=[seed],
        protocol=f"crop224, the split of seed {seed}; of each group the first {most} queries in the order of files, "
        "at most one of a class",
        values=values | {"network": f"{backbone.name} ({backbone.weights})"},
        details={"pictures": {key: [shown(found, pictures, at) for at in rows] for key, rows in chosen.items()}},
        folder=ROOT,
    )
    print(f"Recorded {write_result(RESULTS, content)}")


def command_of(args: argparse.Namespace, defaults: Mapping[str, Any]) -> str:
    """What to type to repeat the run: the arguments that are not the defaults, without this machine's folders."""

    def typed(value: Any) -> list[str]:
        return [shell_word(without_machine(str(each))) for each in (value if isinstance(value, list) else [value])]

    words = ["python -m experiments.scda", args.run]
    for name, default in defaults.items():
        given = typed(getattr(args, name))
        words += [f"--{name}", *given] if given != typed(default) else []
    return " ".join(words)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments.scda", description=__doc__)
    parser.add_argument("run", choices=["flowers17", "masks"], help="the tables, or the masks of some pictures")
    real = Path(os.environ.get("ASK_REALDATA") or Path(__file__).resolve().parents[2] / "shared" / "realdata")
    parser.add_argument("--images", type=Path, default=real / "flowers17", help="17 folders, one a class")
    parser.add_argument("--weights", type=Path, default=real / "weights" / "squeezenet1_0_imagenet.pt")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="of the splits; masks: the first")
    args = parser.parse_args(argv)
    command = command_of(args, {name: parser.get_default(name) for name in ("images", "weights", "seeds")})

    def body() -> None:
        if args.run == "masks":
            record_masks(args.images, args.weights, args.seeds[0], command)
        else:
            record_flowers17(args.images, args.weights, args.seeds, command)

    return exit_status(body)


if __name__ == "__main__":
    raise SystemExit(main())
