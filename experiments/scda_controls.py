"""Record SCDA's boxes beside boxes that match them in size, and what its mask does to the mean and to the maximum.

On birds (CUB, classes 1 to 40, test pictures, two sizes), on pets with true masks, and on draws of the synthetic
objects. A centre mask of SCDA's area has a smaller box than SCDA's mask, so a *centre box* of the same height and width
stands beside it. On birds the maximum and the mean of all cells and of the kept ones are searched with, query by query.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ask_lib.data.image_folder import PictureFolder, read_images
from ask_lib.evaluate.controls import centre_mask
from ask_lib.evaluate.localisation import box_iou
from ask_lib.evaluate.spread import bootstrap
from ask_lib.methods.encoding import avg_max_pool, avg_pool, max_pool
from ask_lib.methods.scda import bounding_box, mean_mask, scda, selection_mask
from ask_lib.models.backbones import Backbone, load_backbone
from ask_lib.represent import Pooled, Representation, extract
from ask_lib.results import summarise, without_machine
from experiments.recording import KEPT, REALDATA, code_digest, kept, parser_of, pictures_digest, run, save
from experiments.scda import BATCH, Lazy, precisions, sized
from experiments.scda_cub40 import SIZES, Birds, picture, read_birds, scale_of
from experiments.scda_objects import drawn, network_of
from experiments.scda_pets import trimap_of
from tools.imports import digest

OURS = "SCDA"
NETWORKS = ("objects_vgg", "rooms_vgg")
HALVES = {  # differences of two rows of the birds, query by query
    "the maximum of all cells over SCDA": ("max", "SCDA"),
    "the mask, for the mean": ("avg, selected", "avg"),
    "the mask, for the maximum": ("max, selected", "max"),
}


def centred(boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Boxes ``(N, 4)`` moved to the middle of a picture of (H, W)."""
    wide, high = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    x0, y0 = (size[1] - wide) / 2, (size[0] - high) / 2
    return torch.stack([x0, y0, x0 + wide, y0 + high], dim=1)


def boxes_of(high: torch.Tensor, size: tuple[int, int]) -> dict[str, torch.Tensor]:
    """Boxes ``(B, 4)`` of maps ``(B, C, h, w)``, in pixels of a picture of (H, W): SCDA's and those beside it."""
    kept_cells, above = selection_mask(high), mean_mask(high)
    own, all_above = bounding_box(kept_cells, size).double(), bounding_box(above, size).double()
    return {
        OURS: own,
        "all above the mean": all_above,
        "centre mask of its area": bounding_box(centre_mask(kept_cells), size).double(),
        "centre box of its size": centred(own, size),
        "centre box of all above's size": centred(all_above, size),
        "whole picture": torch.tensor([0.0, 0.0, size[1], size[0]], dtype=torch.float64).expand(len(high), 4),
    }


def right(rows: Mapping[str, torch.Tensor], truth: torch.Tensor) -> dict[str, torch.Tensor]:
    """Percent of each picture, 0 or 100: whether the box's IoU with the true one is above one half."""
    return {name: 100.0 * (box_iou(boxes, truth) > 0.5).double() for name, boxes in rows.items()}


def over_pictures(found: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Means of rows of pictures' values, and SCDA's differences from each with their intervals."""
    values = {f"box {name}": float(each.mean()) for name, each in found.items()}
    for name, each in found.items():
        if name != OURS:
            values |= interval(f"box over {name}", found[OURS] - each)
    return values


def interval(name: str, differences: torch.Tensor) -> dict[str, float]:
    """A mean difference and its bootstrap interval."""
    found = bootstrap(differences)
    return {f"{name} {end}": getattr(found, end) for end in ("mean", "low", "high")}


def measure_birds(backbone: Backbone, birds: Birds, longest: int | None) -> dict[str, Any]:
    """Boxes of the test pictures, and the halves of SCDA in retrieval."""
    high = backbone.default_layers[-1]
    images = Lazy(len(birds.files), lambda at: picture(birds.files[at], longest))
    maps = extract(backbone, images, [high], batch=BATCH)[high]
    train, test = birds.train.nonzero()[:, 0], (~birds.train).nonzero()[:, 0]
    rows: dict[str, list[torch.Tensor]] = {}
    truth = []
    for at in test.tolist():
        size = (int(images[at].shape[1]), int(images[at].shape[2]))
        truth.append(birds.box[at] * scale_of(stored_size(birds.files[at]), longest))
        for name, box in boxes_of(maps[at][None], size).items():
            rows.setdefault(name, []).append(box[0])
    values = over_pictures(right({name: torch.stack(each) for name, each in rows.items()}, torch.stack(truth)))
    pooled = {name: torch.cat([row({high: each[None]}) for each in maps]) for name, row in halves(high).items()}
    scores = {name: precisions(each, birds.label, test, train)["top1"] for name, each in pooled.items()}
    for name, (after, before) in HALVES.items():
        values |= interval(name, scores[after] - scores[before])
    return {"values": _rounded(values)}


def stored_size(file: Path) -> tuple[int, int]:
    """A picture's (width, height), from its head."""
    from PIL import Image

    with Image.open(file) as image:
        return image.size


def halves(high: str) -> dict[str, Representation]:
    """SCDA and its halves, under the mask and of all cells."""
    return {
        "avg": Pooled(avg_pool, high),
        "max": Pooled(max_pool, high),
        "avg, selected": Pooled(avg_pool, high, selection_mask),
        "max, selected": Pooled(max_pool, high, selection_mask),
        "avg&max": Pooled(partial(avg_max_pool, normalize=True), high),
        "SCDA": Pooled(scda, high, selection_mask),
    }


def measure_pets(backbone: Backbone, pictures: PictureFolder, trimaps: Path) -> dict[str, Any]:
    """Boxes of the pets; the true box goes around the border pixels too."""
    high = backbone.default_layers[-1]
    images = Lazy(len(pictures), lambda at: sized(pictures[at].image, None))
    rows: dict[str, list[torch.Tensor]] = {}
    truth = []
    for at, features in enumerate(extract(backbone, images, [high], batch=BATCH)[high]):
        trimap = trimap_of(trimaps, pictures[at].name)
        size = (trimap.shape[0], trimap.shape[1])
        truth.append(bounding_box((trimap != 2)[None], size)[0])
        for name, box in boxes_of(features[None], size).items():
            rows.setdefault(name, []).append(box[0])
    return {"values": _rounded(over_pictures(right({k: torch.stack(v) for k, v in rows.items()}, torch.stack(truth))))}


def measure_objects(seed: int, root: Path | None) -> dict[str, Any]:
    """Boxes of one draw's queries, by network; the average true box is that of the gallery."""
    draw = drawn(seed, root)
    values: dict[str, float] = {}
    size, truth = (draw.rgb.shape[2], draw.rgb.shape[3]), draw.box[draw.queries]
    for name in NETWORKS:
        backbone = network_of(name, seed)
        high = backbone.default_layers[-1]
        maps = torch.stack(extract(backbone, draw.rgb[draw.queries], [high], progress=False)[high])
        rows = boxes_of(maps, size) | {"average true box": draw.box[draw.gallery].double().mean(0).expand(len(maps), 4)}
        found = {row: float(each.mean()) for row, each in right(rows, truth).items()}
        values |= {f"{name} box {row}": value for row, value in found.items()}
        values |= {f"{name} box over {row}": found[OURS] - value for row, value in found.items() if row != OURS}
    return {"values": _rounded(values)}


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def over_draws(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean, standard deviation and Student's interval of each value."""
    values: dict[str, float] = {}
    for name in parts[0]:
        over = summarise([part[name] for part in parts])
        values[name] = float(over["mean"] or 0.0)
        values |= {f"{name} {end}": float(over[end] or 0.0) for end in ("std", "low", "high") if len(parts) > 1}
    return _rounded(values)


def record(args: argparse.Namespace) -> None:
    """Measure on all three, and write results/scda_controls.json."""
    birds, pets = read_birds(args.birds), read_images(args.pets / "images")
    backbone = load_backbone("squeezenet1_0", args.weights)
    files = digest(part for file in birds.files for part in (file.name.encode(), file.read_bytes()))[:12]
    made_from = (
        f"code {code_digest('experiments.scda_controls')}, torch {torch.__version__}, {backbone.weights}, "
        f"birds {files}, pets {pictures_digest(pets)}"
    )
    keep = partial(kept, KEPT / "scda_controls")
    parts = {
        f"birds {name}": keep(f"birds_{name}", made_from, partial(measure_birds, backbone, birds, longest))
        for name, longest in SIZES.items()
    }
    parts["pets"] = keep("pets", made_from, partial(measure_pets, backbone, pets, args.pets / "trimaps"))
    draws = [keep(f"objects_{seed}", made_from, partial(measure_objects, seed, args.root)) for seed in args.seeds]
    values = {f"{of} {name}": value for of, part in parts.items() for name, value in part["values"].items()}
    save(
        args.out,
        "scda_controls",
        command=args.command,
        title="SCDA's boxes beside boxes of their size",
        data={"birds": f"CUB-200-2011, classes 1 to 40, {len(birds.files)} pictures", "pets": f"{len(pets)} pictures"},
        settings={name: without_machine(str(getattr(args, name))) for name in ("birds", "pets", "weights")},
        seeds=args.seeds,
        protocol="birds: test pictures, searched for among training pictures; intervals: bootstrap over pictures, "
        "Student's over draws of the objects (a seed each)",
        seconds=sum(part["seconds"] for part in (*parts.values(), *draws)),
        values=values | over_draws([part["values"] for part in draws]) | {"draws": len(draws)},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = parser_of("experiments.scda_controls", __doc__, seeds=range(1, 11))
    parser.add_argument("--birds", type=Path, default=REALDATA / "cub40", help="a folder with labels.csv and images/")
    parser.add_argument("--pets", type=Path, default=REALDATA / "pets_masks", help="a folder with images/ and trimaps/")
    parser.add_argument("--weights", type=Path, default=REALDATA / "weights" / "squeezenet1_0_imagenet.pt")
    parser.add_argument("--root", type=Path, default=None, help="cache folder of the frames; usually ~/.cache/ask_lib")
    return run(parser, record, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
