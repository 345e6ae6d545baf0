"""Record SCDA's Tables 1 to 5 on CUB-200-2011, classes 1 to 40, official split, with ImageNet's SqueezeNet 1.0.

Test pictures are searched for among training pictures; a linear SVM learns on the training pictures. Two sizes: as the
pictures are stored (224 on the short side), and 384 on the long side, which enlarges them. Nothing is chosen on these
pictures: the mask is the paper's, alpha its authors', SVM C = 1.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ask_lib.data.image_folder import read_rgb
from ask_lib.errors import DataNotFoundError
from ask_lib.evaluate.controls import centre_mask
from ask_lib.evaluate.linear import LinearSVM
from ask_lib.evaluate.localisation import box_iou
from ask_lib.evaluate.spread import bootstrap
from ask_lib.methods.descriptors import PCA, l2_normalize
from ask_lib.methods.scda import bounding_box, mean_mask, scda, selection_mask
from ask_lib.models.backbones import Backbone, load_backbone
from ask_lib.represent import Pooled, Representation, as_it_is, extract
from ask_lib.results import without_machine
from experiments.recording import KEPT, REALDATA, code_digest, kept, parser_of, run, save
from experiments.scda import (
    BATCH,
    OPEN,
    Lazy,
    PlainSum,
    codes_of,
    controls_of,
    cut,
    four_connected,
    grid_box,
    of_possible,
    open_rows,
    precisions,
    rows_of,
    to_fit_on,
)
from tools.imports import digest

SIZES = {"stored": None, "long384": 384}
SHORTER = {"an eighth": 8, "a sixteenth": 16}  # of SCDA_flip+; the paper's 512 and 256 of 4,096
CLASSIFIED = ("fc8_im", "avg", "max", "avg&max", "SCDA", "SCDA+", "SCDA_flip+", "SCDA_flip+, alpha 1")


@dataclass(frozen=True)
class Birds:
    """The pictures' files, and what is known of them: labels ``(N,)``, split ``(N,)``, boxes ``(N, 4)`` half open."""

    files: list[Path]
    label: torch.Tensor
    train: torch.Tensor
    box: torch.Tensor


def read_birds(folder: Path) -> Birds:
    """The birds of a folder with ``labels.csv`` and ``images/``.

    Raises:
        DataNotFoundError: If it is not there.
    """
    table = folder / "labels.csv"
    if not table.is_file():
        raise DataNotFoundError(f"birds: expected labels.csv and images/ in {folder}. Name the folder with --images.")
    with table.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    numbers = torch.tensor([[float(row[f"box_{key}"]) for key in ("x", "y", "w", "h")] for row in rows])
    return Birds(
        files=[folder / "images" / row["file"] for row in rows],
        label=torch.tensor([int(row["label"]) for row in rows]) - min(int(row["label"]) for row in rows),
        train=torch.tensor([row["split"] == "train" for row in rows]),
        box=torch.cat([numbers[:, :2], numbers[:, :2] + numbers[:, 2:]], dim=1),
    )


def scale_of(size: tuple[int, int], longest: int | None) -> float:
    """How much a picture of (width, height) is enlarged."""
    return 1.0 if longest is None else longest / max(size)


def picture(file: Path, longest: int | None) -> torch.Tensor:
    """A picture as the network reads it: uint8 ``(3, H, W)``."""
    image = read_rgb(file)[0]
    scale = scale_of(image.size, longest)
    if scale != 1:
        width, height = (round(length * scale) for length in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def true_cells(box: torch.Tensor, size: tuple[int, int], grid: tuple[int, int]) -> torch.Tensor:
    """The cells whose centres lie in a box of an image of ``size``: bool ``grid``; the nearest cell if none does."""
    y, x = ((torch.arange(n) + 0.5) * length / n for n, length in zip(grid, size, strict=True))
    x0, y0, x1, y1 = box.tolist()
    inside: torch.Tensor = ((y >= y0) & (y < y1))[:, None] & ((x >= x0) & (x < x1))
    if not inside.any():
        inside[(y - (y0 + y1) / 2).abs().argmin(), (x - (x0 + x1) / 2).abs().argmin()] = True
    return inside


def boxes_of(mask: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The box about one mask ``(h, w)``, in pixels."""
    box: torch.Tensor = bounding_box(mask[None], size)[0]
    return box.double()


def located(
    maps: Sequence[torch.Tensor], sizes: Sequence[tuple[int, int]], boxes: torch.Tensor, train: torch.Tensor
) -> dict[str, torch.Tensor]:
    """IoU of each picture's box with the true one, by row, of the test pictures: Table 1 and its controls."""
    scaled = boxes / torch.tensor([[w, h, w, h] for h, w in sizes])  # in shares of the picture
    average = scaled[train].mean(dim=0)  # made from annotations
    found: dict[str, list[torch.Tensor]] = {}
    for at in (~train).nonzero()[:, 0].tolist():
        high, size, grid = maps[at][None], sizes[at], (maps[at].shape[1], maps[at].shape[2])
        kept, above, true = selection_mask(high), mean_mask(high), true_cells(boxes[at], size, grid)
        height, width = size
        rows = {
            "SCDA": boxes_of(kept[0], size),
            "all above the mean": boxes_of(above[0], size),
            "centre mask of its area": boxes_of(centre_mask(kept)[0], size),
            "centre mask of the true area": boxes_of(centre_mask(true[None])[0], size),
            "average true box": average.double() * torch.tensor([width, height, width, height]),
            "whole picture": torch.tensor([0, 0, width, height]).double(),
        }
        for name, box in rows.items():
            found.setdefault(name, []).append(box)
    truth = boxes[~train]
    return {name: box_iou(torch.stack(each), truth) for name, each in found.items()}


def compressed(vectors: torch.Tensor, train: torch.Tensor) -> dict[str, torch.Tensor]:
    """SCDA_flip+ made shorter, as in Table 4; the axes come from the training pictures."""
    unit = l2_normalize(vectors)
    kinds = {"PCA": (True, False), "SVD": (False, False), "SVD + whitening": (False, True)}
    return {
        f"{kind}, {part}": PCA(unit.shape[1] // share, whiten, center=center).fit(unit[train]).transform(unit)
        for kind, (center, whiten) in kinds.items()
        for part, share in SHORTER.items()
    }


def measure(backbone: Backbone, birds: Birds, longest: int | None) -> dict[str, Any]:
    """Every number at one size."""
    low, high = backbone.default_layers[-2:]
    images = Lazy(len(birds.files), lambda at: picture(birds.files[at], longest))
    sizes = [(int(image.shape[1]), int(image.shape[2])) for image in map(images.__getitem__, range(len(images)))]
    stored = [read_rgb(file)[0].size for file in birds.files]
    boxes = birds.box * torch.tensor([scale_of(size, longest) for size in stored])[:, None]
    maps = extract(backbone, images, [high], batch=BATCH)[high]
    overlap = located(maps, sizes, boxes, birds.train)
    rows = vectors_of(backbone, images, maps, sizes, boxes, birds, (high, low))
    train, test = birds.train.nonzero()[:, 0], (~birds.train).nonzero()[:, 0]
    scores = {
        name: precisions(vectors, birds.label, test, train)
        for name, vectors in (rows | compressed(rows["SCDA_flip+"], train)).items()
    }
    found: dict[str, Any] = {f"box {name}": 100 * float((iou > 0.5).double().mean()) for name, iou in overlap.items()}
    found |= {f"iou {name}": float(iou.mean()) for name, iou in overlap.items()}
    for name, columns in scores.items():
        found |= {f"{name} {column}": float(values.mean()) for column, values in columns.items()}
        found |= _interval(f"{name} gain", columns["top1"] - scores["avg&max"]["top1"])
    ours = (overlap["SCDA"] > 0.5).double()
    for name in ("all above the mean", "centre mask of its area", "average true box"):
        found |= _interval(f"box over {name}", 100 * (ours - (overlap[name] > 0.5).double()))
    for name, row in OPEN.items():
        found |= _interval(f"open {name}", scores[name]["top1"] - scores[row]["top1"])
    found["SCDA top5 of possible"] = float(of_possible(rows["SCDA"], birds.label, test, train).mean())
    found["corners apart changed"] = 100 * float(torch.tensor([_changed(each) for each in maps]).double().mean())
    for step, (after, before) in {
        "the largest piece": ("SCDA", "SCDA, all above"),
        "over its centre mask": ("SCDA", "as many cells in the middle"),
        "the second layer": ("SCDA+", "SCDA"),
        "the mirror": ("SCDA_flip+", "SCDA+"),
        "the mirror, without a mask": ("avg&max, flip", "avg&max"),
    }.items():
        found |= _interval(step, scores[after]["top1"] - scores[before]["top1"])
    for name in CLASSIFIED:
        unit = l2_normalize(rows[name])
        svm = LinearSVM(dual=len(train) < unit.shape[1]).fit(unit[train], birds.label[train])
        found[f"svm {name}"] = 100 * svm.accuracy(unit[test], birds.label[test])
    return {"values": {name: round(value, 4) for name, value in found.items()}}


def _changed(features: torch.Tensor) -> bool:
    """Whether the component is another one where corners do not connect; ``(C, H, W)``."""
    return not torch.equal(four_connected(features[None]), selection_mask(features[None]))


def _interval(name: str, differences: torch.Tensor) -> dict[str, float]:
    """A mean difference and its 95 % bootstrap interval over test pictures."""
    found = bootstrap(differences)
    return {f"{name} mean": found.mean, f"{name} low": found.low, f"{name} high": found.high}


def vectors_of(
    backbone: Backbone,
    images: Lazy,
    maps: Sequence[torch.Tensor],
    sizes: Sequence[tuple[int, int]],
    boxes: torch.Tensor,
    birds: Birds,
    layers: tuple[str, str],
) -> dict[str, torch.Tensor]:
    """Row name to vectors of all pictures."""
    high, low = layers
    chosen = to_fit_on(birds.label, birds.train.nonzero()[:, 0])
    codes = {name: code.fit(*({high: maps[at][None]} for at in chosen)) for name, code in codes_of(high).items()}
    logits: Mapping[str, Representation] = {"fc8": Pooled(as_it_is, "logits")}
    asked: dict[str, Representation] = {
        "fc8_im": logits["fc8"],
        **rows_of(high, low),
        **controls_of(high),
        **open_rows(high, low),
        **codes,
        "selectVLAD, a plain sum": PlainSum(codes["selectVLAD"]),
        "box": Pooled(grid_box, high),
    }
    found: dict[str, torch.Tensor] = extract(backbone, images, asked, batch=BATCH)
    predicted = found.pop("box")
    truth = [true_cells(box, size, (m.shape[1], m.shape[2])) for box, size, m in zip(boxes, sizes, maps, strict=True)]
    under = [scda(each[None], mask[None]) for each, mask in zip(maps, truth, strict=True)]
    areas = [scda(each[None], centre_mask(mask[None])) for each, mask in zip(maps, truth, strict=True)]
    found |= {"under the true box": torch.cat(under), "centre mask of the true area": torch.cat(areas)}
    for name, box in (("fc8_predBBox", predicted), ("fc8_gtBBox", torch.stack([_true_grid(mask) for mask in truth]))):
        cuts = Lazy(len(images), lambda at, box=box: cut(images[at], box[at], backbone))  # type: ignore[misc]
        found[name] = extract(backbone, cuts, logits, batch=BATCH)["fc8"]
    return found


def _true_grid(cells: torch.Tensor) -> torch.Tensor:
    """The box about the true cells, and the grid: as ``grid_box`` gives it."""
    grid = (cells.shape[0], cells.shape[1])
    return torch.cat([bounding_box(cells[None], grid)[0], torch.tensor(grid)])


def record(args: argparse.Namespace) -> None:
    """Measure at both sizes, and write results/scda_cub40.json."""
    birds = read_birds(args.images)
    backbone = load_backbone("squeezenet1_0", args.weights)
    pictures = digest(part for file in birds.files for part in (file.name.encode(), file.read_bytes()))[:12]
    made_from = (
        f"code {code_digest('experiments.scda_cub40')}, torch {torch.__version__}, {backbone.weights}, "
        f"{len(birds.files)} pictures {pictures}"
    )
    parts = {
        name: kept(KEPT / "scda_cub40", name, made_from, partial(measure, backbone, birds, longest))
        for name, longest in SIZES.items()
    }
    values = {f"{size} {name}": value for size, part in parts.items() for name, value in part["values"].items()}
    values |= {"network": f"{backbone.name} ({backbone.weights})", "train": int(birds.train.sum())}
    save(
        args.out,
        "scda_cub40",
        command=args.command,
        title="SCDA on CUB-200-2011, classes 1 to 40",
        data={"cub40": f"CUB-200-2011, classes 1 to 40, {len(birds.files)} pictures"},
        settings={
            "IMAGES": without_machine(str(args.images)),
            "WEIGHTS": without_machine(str(args.weights)),
            "layers": ", ".join(backbone.default_layers[-2:]),
        },
        protocol="official split: test pictures are queries, training pictures the gallery; intervals: bootstrap over "
        "test pictures; codebooks of two words fitted on ten training pictures of each class; linear SVM, C = 1",
        seconds=sum(part["seconds"] for part in parts.values()),
        values=values | {"test": int((~birds.train).sum())},
        details={"seconds": {name: part["seconds"] for name, part in parts.items()}},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = parser_of("experiments.scda_cub40", __doc__)
    parser.add_argument("--images", type=Path, default=REALDATA / "cub40", help="a folder with labels.csv and images/")
    parser.add_argument("--weights", type=Path, default=REALDATA / "weights" / "squeezenet1_0_imagenet.pt")
    return run(parser, record, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
