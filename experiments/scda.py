"""Record SCDA on 17 Category Flowers, into results/scda_flowers17.json; and the rows that SCDA's experiments share.

Every part is kept in ``_build/recorded`` as soon as it is done, so a run that is stopped goes on with the next part.
Other code, pictures, weights or seeds make all parts anew.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from scipy import ndimage
from torch.nn import functional

from ask_lib.data import transforms
from ask_lib.data.image_folder import PictureFolder, read_images
from ask_lib.evaluate.controls import centre_mask
from ask_lib.evaluate.retrieval import average_precision, hits, rank
from ask_lib.evaluate.spread import Interval, bootstrap
from ask_lib.methods.descriptors import PCA, l2_normalize, to_descriptors
from ask_lib.methods.encoding import POOLINGS, VLAD, FisherVector, avg_max_pool, avg_pool, max_pool, spoc
from ask_lib.methods.scda import (
    bounding_box,
    largest_component,
    lower_mask,
    mean_mask,
    scda,
    selection_mask,
)
from ask_lib.models.backbones import Backbone, load_backbone
from ask_lib.represent import Coded, Pooled, Representation, SCDAPlus, WithMirror, as_it_is, extract
from ask_lib.results import without_machine
from ask_lib.train.data import stratified_split
from experiments.recording import KEPT, REALDATA, code_digest, kept, parser_of, pictures_digest, run, save

VARIANTS: dict[str, tuple[int, transforms.Mode] | None] = {
    "crop224": (224, "short"),  # the middle square
    "area224": (224, "area"),  # as many pixels, the aspect kept
    "own": None,  # as they come: what the authors' code takes
    "area384": (384, "area"),
}
DIMENSIONS = (64, 256)  # the paper's 256, and fewer, as the gallery is small
WHOLE = 0.9  # a component that holds more of what is above the mean counts as the only piece
FITTED_EACH = 10  # pictures a class that the codebooks are fitted on
BATCH = 20
IN_TABLES = {"spoc": "SPoC (with cen.)", "crow": "CroW", "gem": "GeM", "rmac": "R-MAC", "avg_max": "avg&max"}
STEPS = {  # differences of two rows, query by query
    "the largest piece": ("SCDA", "SCDA, all above"),
    "the second layer": ("SCDA+", "SCDA"),
    "the mirror": ("SCDA_flip+", "SCDA+"),
    "the mirror, without a mask": ("avg&max, flip", "avg&max"),
    "SCDA_flip+ against GeM": ("SCDA_flip+", "GeM"),
}
OPEN = {  # an open point settled otherwise, and the row that it is held against
    "corners apart": "SCDA",
    "halves as they are": "SCDA",
    "a second component step": "SCDA+",
    "the lower layer's own component": "SCDA+",
    "enlarged bilinearly": "SCDA+",
    "SCDA_flip+, alpha 1": "SCDA_flip+",
    "selectVLAD, a plain sum": "selectVLAD",
}
Rows = Mapping[str, Representation]


def rows_of(high: str, low: str, alpha: float = 0.5) -> dict[str, Representation]:
    """The rows of a retrieval table that need no fit: every pooling, under the names of SCDA's Tables 2 and 3.

    ``avg&max`` is SCDA's "Pool5": mean and maximum of all descriptors. ``SCDA, all above`` leaves out the component
    step. With ``avg&max, flip`` and ``SCDA, flip`` one sees what the mirror alone gives to SCDA_flip+.
    """
    every = Pooled(partial(avg_max_pool, normalize=True), high)
    selected, plus = Pooled(scda, high, selection_mask), SCDAPlus(high, low, alpha)
    return {
        **{IN_TABLES.get(name, name): Pooled(pool, high) for name, pool in POOLINGS.items()},
        "avg&max": every,  # in place of the plain one
        "avg&max, flip": WithMirror(every),
        "SPoC (without cen.)": Pooled(partial(spoc, center_prior=False), high),
        "avg, selected": Pooled(avg_pool, high, selection_mask),
        "max, selected": Pooled(max_pool, high, selection_mask),
        "SCDA, all above": Pooled(scda, high, mean_mask),
        "SCDA": selected,
        "SCDA, flip": WithMirror(selected),
        "SCDA+": plus,
        "SCDA_flip+": WithMirror(plus),
    }


def controls_of(high: str) -> dict[str, Representation]:
    """SCDA's descriptor under other masks."""
    return {
        "the cells that SCDA drops": Pooled(scda, high, lambda maps: ~selection_mask(maps)),
        "as many cells in the middle": Pooled(scda, high, lambda maps: centre_mask(selection_mask(maps))),
    }


@dataclass(frozen=True)
class TwoLayers:
    """SCDA+ with another rule for the lower layer's mask.

    Attributes:
        high: The last map's layer.
        low: The lower one.
        rule: ``(lower maps (B, C, H, W), component (B, h, w))`` to bool ``(B, H, W)``.
        alpha: Weight of the lower layer.
    """

    high: str
    low: str
    rule: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    alpha: float = 0.5

    @property
    def layers(self) -> tuple[str, ...]:
        """The higher layer, the lower one."""
        return (self.high, self.low)

    def __call__(self, maps: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Both layers' SCDA, joined."""
        high, low = maps[self.high], maps[self.low]
        component = selection_mask(high)
        return torch.cat([scda(high, component), self.alpha * scda(low, self.rule(low, component))], dim=1)

    def weights(self, maps: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The higher layer's component."""
        return selection_mask(maps[self.high]).float()


def four_connected(features: torch.Tensor) -> torch.Tensor:
    """The largest component where corners do not connect: bool ``(B, H, W)``."""
    above = mean_mask(features)
    kept = torch.zeros_like(above)
    for at, one in enumerate(above.numpy()):
        labels, count = ndimage.label(one.T)  # ties as ever: column by column
        if count:
            kept[at] = torch.from_numpy((labels == 1 + np.bincount(labels.ravel())[1:].argmax()).T)
    return kept


def _second_step(low: torch.Tensor, component: torch.Tensor) -> torch.Tensor:
    return largest_component(lower_mask(low, component))


def _own_component(low: torch.Tensor, component: torch.Tensor) -> torch.Tensor:
    return selection_mask(low)


def _bilinear(low: torch.Tensor, component: torch.Tensor) -> torch.Tensor:
    size = (low.shape[2], low.shape[3])
    smooth = functional.interpolate(component.float()[:, None], size, mode="bilinear")[:, 0]
    return mean_mask(low) & (smooth > 0.5)


def open_rows(high: str, low: str) -> dict[str, Representation]:
    """What the talk leaves open, settled in the other way; ``OPEN`` says what each is held against."""
    return {
        "corners apart": Pooled(scda, high, four_connected),
        "halves as they are": Pooled(avg_max_pool, high, selection_mask),
        "a second component step": TwoLayers(high, low, _second_step),
        "the lower layer's own component": TwoLayers(high, low, _own_component),
        "enlarged bilinearly": TwoLayers(high, low, _bilinear),
        "SCDA_flip+, alpha 1": WithMirror(SCDAPlus(high, low, 1.0)),
    }


def codes_of(high: str) -> dict[str, Coded]:
    """The rows that need a codebook, of two words as in SCDA's tables."""
    return {
        "VLAD": Coded(VLAD(2), high),
        "Fisher vector": Coded(FisherVector(2), high),
        "selectVLAD": Coded(VLAD(2), high, selection_mask),
        "selectFV": Coded(FisherVector(2), high, selection_mask),
    }


@dataclass(frozen=True)
class PlainSum:
    """A codebook's vector as the talk has VLAD: no root, no unit length.

    Attributes:
        coded: The same with both, fitted.
    """

    coded: Coded

    @property
    def layers(self) -> tuple[str, ...]:
        """The one layer."""
        return self.coded.layers

    def __call__(self, maps: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The sums of residuals, joined."""
        features = maps[self.coded.layer]
        mask = None if self.coded.mask is None else self.coded.mask(features)
        return self.coded.codebook.encode(to_descriptors(features), mask)

    def weights(self, maps: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Those of the other."""
        return self.coded.weights(maps)


@dataclass(frozen=True)
class Lazy:
    """Images that are made when they are asked for."""

    count: int
    make: Callable[[int], torch.Tensor]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> torch.Tensor:
        """One image."""
        return self.make(number)


def sized(picture: Image, variant: tuple[int, transforms.Mode] | None) -> torch.Tensor:
    """A picture as the network reads it: uint8 ``(3, H, W)``."""
    if variant is not None:
        size, mode = variant
        picture = transforms.resize(picture, size, mode)
        picture = transforms.centre_crop(picture, size) if mode == "short" else picture
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def cut(image: torch.Tensor, box: torch.Tensor, backbone: Backbone) -> torch.Tensor:
    """What a box holds of a picture, normalised and enlarged to the picture's size.

    Args:
        image: uint8 ``(3, H, W)``.
        box: From ``grid_box``.
        backbone: The network.
    """
    x0, y0, x1, y1, *grid = box.tolist()
    cells = torch.zeros(1, *grid, dtype=torch.bool)
    cells[:, y0:y1, x0:x1] = True
    size = (image.shape[1], image.shape[2])
    ((x0, y0, x1, y1),) = bounding_box(cells, size).tolist()
    part = transforms.normalize(image.float() / 255, backbone.mean, backbone.std)[None, :, y0:y1, x0:x1]
    return functional.interpolate(part, size, mode="bilinear", antialias=True)[0]


def grid_box(high: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """SCDA's box in cells, and the grid's (H, W): int64, ``(B, 6)``."""
    grid = (high.shape[2], high.shape[3])
    box = bounding_box(selection_mask(high), grid)
    return torch.cat([box, torch.tensor([grid], device=box.device).expand(len(box), 2)], dim=1)


def mask_facts(high: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Of each map: shares of cells above the mean and in the component, and of its border that the component holds."""
    above, kept = mean_mask(high), selection_mask(high)
    border = torch.ones_like(kept)
    border[:, 1:-1, 1:-1] = False
    on_border = (kept & border).flatten(1).sum(1) / border.flatten(1).sum(1)
    return torch.stack([above.float().mean((1, 2)), kept.float().mean((1, 2)), on_border], dim=1)  # (B, 3)


def describe(
    backbone: Backbone, pictures: PictureFolder, variant: tuple[int, transforms.Mode] | None, more: Rows | None = None
) -> dict[str, torch.Tensor]:
    """Row name to vectors of all the pictures; ``facts`` is of the masks.

    Args:
        backbone: The network; of its default layers the last is high, the one before it low.
        pictures: To be described.
        variant: How they are sized.
        more: Further rows.
    """
    low, high = backbone.default_layers[-2:]
    images = Lazy(len(pictures), lambda at: sized(pictures[at].image, variant))
    logits = Pooled(as_it_is, "logits")
    facts: Rows = {"facts": Pooled(mask_facts, high), "box": Pooled(grid_box, high)}
    asked: Rows = {"fc8_im": logits, **rows_of(high, low), **controls_of(high), **(more or {}), **facts}
    found: dict[str, torch.Tensor] = extract(backbone, images, asked, batch=BATCH)
    box = found.pop("box")
    cuts = Lazy(len(pictures), lambda at: cut(images[at], box[at], backbone))
    boxed: dict[str, torch.Tensor] = extract(backbone, cuts, {"fc8_predBBox": logits}, batch=BATCH)
    return found | boxed


def codebooks(
    backbone: Backbone,
    pictures: PictureFolder,
    variant: tuple[int, transforms.Mode] | None,
    chosen: Mapping[int, Sequence[int]],
) -> dict[str, Coded]:
    """The rows with a codebook, fitted on the pictures that are chosen for each seed: named ``ROW of SEED``."""
    high = backbone.default_layers[-1]
    needed = sorted({at for some in chosen.values() for at in some})
    images = Lazy(len(needed), lambda at: sized(pictures[needed[at]].image, variant))
    maps = dict(zip(needed, extract(backbone, images, [high], batch=BATCH)[high], strict=True))
    return {
        f"{name} of {seed}": code.fit(*({high: maps[at][None]} for at in some))
        for seed, some in chosen.items()
        for name, code in codes_of(high).items()
    }


def to_fit_on(labels: torch.Tensor, gallery: torch.Tensor) -> list[int]:
    """Some pictures of the gallery, as many of each class."""
    classes = range(int(labels.max()) + 1)
    return [at for c in classes for at in gallery[labels[gallery] == c][:FITTED_EACH].tolist()]


def precisions(
    vectors: torch.Tensor, labels: torch.Tensor, queries: torch.Tensor, gallery: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Average precision of each query, at one and at five results."""
    found = hits(rank(vectors[queries], vectors[gallery], top=5), labels[queries], labels[gallery])
    return {f"top{k}": 100 * average_precision(found, k) for k in (1, 5)}


def of_possible(
    vectors: torch.Tensor, labels: torch.Tensor, queries: torch.Tensor, gallery: torch.Tensor
) -> torch.Tensor:
    """Average precision of each query at five, divided by what five results could hold in place of what they hold."""
    found = hits(rank(vectors[queries], vectors[gallery], top=5), labels[queries], labels[gallery])
    relevant = (labels[gallery][None] == labels[queries][:, None]).sum(dim=1)
    return 100 * average_precision(found, 5, relevant=relevant)


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
    labels = torch.tensor(pictures.targets)
    splits = {seed: stratified_split(labels, 0.5, seed) for seed in seeds}
    chosen = {seed: to_fit_on(labels, gallery) for seed, (gallery, _) in splits.items()}
    codes = codebooks(backbone, pictures, VARIANTS[name], chosen)
    rows = describe(backbone, pictures, VARIANTS[name], codes)
    facts, coded = rows.pop("facts"), {row: rows.pop(row) for row in codes}
    whole = facts[:, 1] / facts[:, 0].clamp(min=1e-9)  # how much of what is above the mean the component holds
    runs: dict[str, dict[str, list[float]]] = {}
    gains: dict[str, torch.Tensor] = {}  # by picture, summed over the splits in which it is a query
    steps: dict[str, torch.Tensor] = {}
    asked = torch.zeros(len(labels), dtype=torch.double)
    for seed, (gallery, queries) in splits.items():
        found: dict[str, torch.Tensor] = {}
        own = {row: coded[f"{row} of {seed}"] for row in codes_of("")}
        for row, vectors in (rows | own).items():
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


def record_flowers17(args: argparse.Namespace) -> None:
    """Every row on 17 Category Flowers with SqueezeNet 1.0."""
    pictures = read_images(args.images)
    print(pictures.report)
    backbone = load_backbone("squeezenet1_0", args.weights)
    made_from = (
        f"code {code_digest('experiments.scda')}, torch {torch.__version__}, {backbone.weights}, "
        f"seeds {list(args.seeds)}, {len(pictures)} pictures {pictures_digest(pictures)}"
    )
    parts = {
        variant: kept(
            KEPT / "scda_flowers17",
            variant,
            f"{size}, {made_from}",
            partial(score_variant, backbone, pictures, variant, args.seeds),
        )
        for variant, size in VARIANTS.items()
    }
    save(
        args.out,
        "scda_flowers17",
        command=args.command,
        title="SCDA on 17 Category Flowers",
        data=data_of(pictures),
        settings=settings_of(args, layers=", ".join(backbone.default_layers[-2:])),
        seeds=args.seeds,
        protocol="half of each class is the gallery, half are the queries, a split a seed; the paper's mask, "
        "its authors' alpha, codebooks of two words fitted on ten gallery pictures of each class",
        seconds=sum(part["seconds"] for part in parts.values()),
        values=values_of(parts) | {"network": f"{backbone.name} ({backbone.weights})", "pictures": len(pictures)},
        details={
            "runs": {variant: rounded(part["runs"]) for variant, part in parts.items()},
            "seconds": {variant: part["seconds"] for variant, part in parts.items()},
        },
    )


def data_of(pictures: PictureFolder) -> dict[str, str]:
    """The data set, for the record."""
    return {"flowers17": f"17 Category Flowers, {len(pictures)} pictures in {len(pictures.classes)} folders"}


def settings_of(args: argparse.Namespace, **more: str) -> dict[str, str]:
    """The settings, for the record: no path of this machine."""
    return {"IMAGES": without_machine(str(args.images)), "WEIGHTS": without_machine(str(args.weights)), **more}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = parser_of("experiments.scda", __doc__, seeds=[0, 1, 2, 3, 4])
    parser.add_argument("run", choices=["flowers17"], help="the data set")
    parser.add_argument("--images", type=Path, default=REALDATA / "flowers17", help="17 folders, one a class")
    parser.add_argument("--weights", type=Path, default=REALDATA / "weights" / "squeezenet1_0_imagenet.pt")
    return run(parser, record_flowers17, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
