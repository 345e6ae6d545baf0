"""Record SCDA on the synthetic objects with three networks, over draws of the frames.

``objects_vgg`` stands where the paper's network stands: it learned other classes of objects. ``rooms_vgg`` learned
rooms only, and ``random`` nothing. A seed is a draw: queries of the split ``test`` are searched for in ``gallery``, as
many as the lesson's page takes. Nothing is chosen on these frames: the mask is the paper's, alpha its authors', SVM C =
1.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from ask_lib.data.objects import Objects
from ask_lib.data.rooms import Rooms
from ask_lib.evaluate.controls import centre_mask
from ask_lib.evaluate.linear import LinearSVM
from ask_lib.evaluate.localisation import box_iou, mask_iou
from ask_lib.methods.descriptors import l2_normalize, resize_mask
from ask_lib.methods.scda import bounding_box, mean_mask, scda, selection_mask
from ask_lib.models.backbones import Backbone, load_backbone
from ask_lib.represent import Pooled, Representation, SCDAPlus, as_it_is, extract
from ask_lib.results import summarise
from ask_scenes.objects import VERSION, ObjectOptions
from ask_scenes.rooms import VERSION as ROOMS_VERSION
from ask_scenes.rooms import RoomOptions
from experiments.recording import KEPT, code_digest, kept, parser_of, run, save
from experiments.scda import (
    OPEN,
    STEPS,
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

QUERIES, GALLERY = 160, 320  # five and ten of each class: what the lesson's page takes
HARD = 64  # frames of each case that breaks SCDA
SIZE = (120, 160)
NETWORKS = ("objects_vgg", "rooms_vgg", "random")
CLASSIFIED = ("fc8_im", "avg&max", "SCDA", "SCDA+", "SCDA_flip+", "SCDA_flip+, alpha 1")
AGAINST = {  # further differences of two rows, query by query
    "SCDA gain": ("SCDA", "avg&max"),
    "SCDA_flip+ over the mirror alone": ("SCDA_flip+", "avg&max, flip"),
    "true mask gain": ("under the true mask", "avg&max"),
    "over its centre mask": ("SCDA", "as many cells in the middle"),
    "over the true area's centre mask": ("SCDA", "centre mask of the true area"),
    "fc7 over fc8": ("fc7", "fc8_im"),
    "relu5_1 as the second layer": ("SCDA+ with relu5_1", "SCDA"),
}


@dataclass(frozen=True)
class Draw:
    """A draw of frames: queries first, then the gallery."""

    rgb: torch.Tensor  # (N, 3, H, W) uint8
    label: torch.Tensor  # (N,)
    mask: torch.Tensor  # (N, H, W) bool
    box: torch.Tensor  # (N, 4)

    @property
    def queries(self) -> torch.Tensor:
        """Their rows."""
        return torch.arange(QUERIES)

    @property
    def gallery(self) -> torch.Tensor:
        """Its rows."""
        return torch.arange(QUERIES, len(self.label))


def drawn(seed: int, root: Path | None) -> Draw:
    """The frames of a seed."""
    options = ObjectOptions(size=SIZE)
    parts = [Objects(split, n, seed, options, root=root) for split, n in (("test", QUERIES), ("gallery", GALLERY))]
    return Draw(*(torch.cat([getattr(part, name) for part in parts]) for name in ("rgb", "label", "mask", "box")))


def network_of(name: str, seed: int) -> Backbone:
    """One of ``NETWORKS``; the random one is another in each draw."""
    if name == "random":
        return load_backbone("objects_vgg", "none", seed=seed)
    return load_backbone(name, name.removesuffix("_vgg"))


def cells_of(masks: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """True masks on a layer's grid: cells of which the object covers a half, at least its best one; bool."""
    share = functional.adaptive_avg_pool2d(masks.float()[:, None], grid)[:, 0]
    best = share == share.amax(dim=(1, 2), keepdim=True)
    return (share > 0.5) | (best & (share > 0))


def masks_of(high: torch.Tensor, true: torch.Tensor) -> dict[str, torch.Tensor]:
    """SCDA's mask and those that it is held against: bool ``(N, h, w)``.

    Args:
        high: ``(N, C, h, w)``.
        true: ``(N, h, w)``, true masks on that grid.
    """
    kept_cells = selection_mask(high)
    return {
        "SCDA": kept_cells,
        "all above the mean": mean_mask(high),
        "centre mask of its area": centre_mask(kept_cells),
        "centre mask of the true area": centre_mask(true),
    }


def located(high: torch.Tensor, draw: Draw) -> dict[str, float]:
    """Percent of the queries' boxes with IoU above one half, and mean IoU of their masks: Table 1 and its controls."""
    grid, size = (high.shape[2], high.shape[3]), (draw.rgb.shape[2], draw.rgb.shape[3])
    some = draw.queries
    masks = masks_of(high[some], cells_of(draw.mask[some], grid))
    boxes = {name: bounding_box(mask, size).double() for name, mask in masks.items()}
    boxes["average true box"] = draw.box[draw.gallery].double().mean(0).expand(len(some), 4)
    boxes["whole picture"] = torch.tensor([0, 0, size[1], size[0]]).expand(len(some), 4)
    right = {name: (box_iou(box, draw.box[some]) > 0.5).double() for name, box in boxes.items()}
    found = {f"box {name}": 100 * float(each.mean()) for name, each in right.items()}
    for name, mask in masks.items():
        found[f"mask {name}"] = 100 * float(mask_iou(resize_mask(mask, size), draw.mask[some]).mean())
    return found


def vectors_of(backbone: Backbone, draw: Draw) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The high layer's maps, and row name to vectors of all frames."""
    low, high = backbone.default_layers[-2:]
    maps = torch.stack(extract(backbone, draw.rgb, [high], progress=False)[high])
    chosen = to_fit_on(draw.label, draw.gallery)
    codes = {name: code.fit({high: maps[chosen]}) for name, code in codes_of(high).items()}
    asked: dict[str, Representation] = {
        "fc8_im": Pooled(as_it_is, "logits"),
        "fc7": Pooled(as_it_is, "relu7"),
        **rows_of(high, low),
        "SCDA+ with relu5_1": SCDAPlus(high, "relu5_1"),
        **controls_of(high),
        **open_rows(high, low),
        **codes,
        "selectVLAD, a plain sum": PlainSum(codes["selectVLAD"]),
        "box": Pooled(grid_box, high),
    }
    found: dict[str, torch.Tensor] = extract(backbone, draw.rgb, asked, progress=False)
    true = cells_of(draw.mask, (maps.shape[2], maps.shape[3]))
    grid = torch.tensor(maps.shape[2:]).expand(len(maps), 2)
    on_true = torch.cat([bounding_box(true, (maps.shape[2], maps.shape[3])), grid], dim=1)
    found |= {"under the true mask": scda(maps, true), "centre mask of the true area": scda(maps, centre_mask(true))}
    for name, boxes in (("fc8_predBBox", found.pop("box")), ("fc8_gtBBox", on_true)):
        cuts = Lazy(len(maps), lambda at, boxes=boxes: cut(draw.rgb[at], boxes[at], backbone))  # type: ignore[misc]
        found[name] = extract(backbone, cuts, Pooled(as_it_is, "logits"), progress=False)
    return maps, found


def hard_cases(seed: int, root: Path | None) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """What breaks SCDA: case to pictures and true masks. In a room the key objects count as the object."""
    several = Objects("val", HARD, seed, ObjectOptions(size=SIZE, count=3), root=root)
    tiny = Objects("val", HARD, seed, ObjectOptions(size=SIZE, coverage=(0.004, 0.02)), root=root)
    rooms = Rooms("val", HARD // 10 * 10, seed, RoomOptions(size=SIZE), root=root)
    return {
        "three objects": (several.rgb, several.mask),
        "tiny objects": (tiny.rgb, tiny.mask),
        "rooms": (rooms.rgb, rooms.key_mask),
    }


def on_object(mask: torch.Tensor, true: torch.Tensor) -> float:
    """Percent of the mask's area that lies on the object."""
    grown = resize_mask(mask, (true.shape[1], true.shape[2]))
    return 100 * float(((grown & true).sum((1, 2)) / grown.sum((1, 2)).clamp(min=1)).mean())


def measure_hard(backbone: Backbone, cases: Mapping[str, tuple[torch.Tensor, torch.Tensor]]) -> dict[str, float]:
    """Of each case: percent of the mask on the object, of a centre mask of its area, and of the picture."""
    high, found = backbone.default_layers[-1], {}
    for name, (rgb, true) in cases.items():
        mask = selection_mask(torch.stack(extract(backbone, rgb, [high], progress=False)[high]))
        found[f"on {name}"] = on_object(mask, true)
        found[f"centre on {name}"] = on_object(centre_mask(mask), true)
        found[f"share {name}"] = 100 * float(true.double().mean())
    return found


def measure(backbone: Backbone, draw: Draw) -> dict[str, float]:
    """Every number of one network on one draw but those of the hard cases."""
    maps, rows = vectors_of(backbone, draw)
    scores = {name: precisions(each, draw.label, draw.queries, draw.gallery) for name, each in rows.items()}
    found = located(maps, draw)
    for name, columns in scores.items():
        found |= {f"{name} {column}": float(values.mean()) for column, values in columns.items()}
    differences = STEPS | AGAINST | {f"open {name}": (name, row) for name, row in OPEN.items()}
    for name, (after, before) in differences.items():
        found[name] = float((scores[after]["top1"] - scores[before]["top1"]).mean())
    found["SCDA top5 of possible"] = float(of_possible(rows["SCDA"], draw.label, draw.queries, draw.gallery).mean())
    kept_cells = selection_mask(maps)
    found["kept"] = 100 * float(kept_cells.double().mean())
    found["corners apart changed"] = 100 * float((four_connected(maps) != kept_cells).any(2).any(1).double().mean())
    for name in CLASSIFIED:
        unit = l2_normalize(rows[name])
        svm = LinearSVM(dual=unit.shape[1] > GALLERY).fit(unit[draw.gallery], draw.label[draw.gallery])
        found[f"svm {name}"] = 100 * svm.accuracy(unit[draw.queries], draw.label[draw.queries])
    found["svm alpha 1 over alpha"] = found["svm SCDA_flip+, alpha 1"] - found["svm SCDA_flip+"]
    return found


def measure_seed(seed: int, root: Path | None) -> dict[str, Any]:
    """Every network on one draw."""
    draw, cases = drawn(seed, root), hard_cases(seed, root)
    found: dict[str, Any] = {}
    for name in NETWORKS:
        backbone = network_of(name, seed)
        found[name] = {
            key: round(value, 4) for key, value in (measure(backbone, draw) | measure_hard(backbone, cases)).items()
        }
        print(f"  draw {seed}, {name}: SCDA {found[name]['SCDA top1']:.1f}, all {found[name]['avg&max top1']:.1f}")
    return found


def values_of(parts: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """Mean, standard deviation and Student's interval over draws: ``NETWORK NAME``, ``... std``, ``... low``, ..."""
    values: dict[str, Any] = {}
    for network in NETWORKS:
        for name in parts[0][network]:
            over = summarise([part[network][name] for part in parts])
            values[f"{network} {name}"] = over["mean"]
            values |= {f"{network} {name} {end}": over[end] for end in ("std", "low", "high") if over[end] is not None}
    return {name: round(value, 4) for name, value in values.items()}


def record(args: argparse.Namespace) -> None:
    """Measure on every draw, and write results/scda_objects.json."""
    weights = [network_of(name, 0).weights for name in NETWORKS]
    made_from = f"code {code_digest('experiments.scda_objects')}, torch {torch.__version__}, {weights}"

    parts = {
        seed: kept(KEPT / "scda_objects", f"{seed}", made_from, partial(measure_seed, seed, args.root))
        for seed in args.seeds
    }
    seconds = {str(seed): part.pop("seconds") for seed, part in parts.items()}
    save(
        args.out,
        "scda_objects",
        command=args.command,
        title="SCDA on the synthetic objects",
        data={"objects": str(VERSION), "rooms": str(ROOMS_VERSION)},
        settings={"queries": QUERIES, "gallery": GALLERY, "hard": HARD, "height": SIZE[0]},
        seeds=args.seeds,
        protocol="a seed is a draw of frames: queries of `test` are searched for in `gallery`; codebooks of two words "
        "fitted on the gallery; linear SVM, C = 1, learns on the gallery; intervals: Student's, over draws",
        seconds=sum(seconds.values()),
        values=values_of(list(parts.values()))
        | {"draws": len(parts), "queries": QUERIES, "gallery": GALLERY, "networks": "; ".join(weights)},
        details={"runs": {str(seed): part for seed, part in parts.items()}, "seconds": seconds},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = parser_of("experiments.scda_objects", __doc__, seeds=range(1, 11))
    parser.add_argument("--root", type=Path, default=None, help="cache folder of the frames; usually ~/.cache/ask_lib")
    return run(parser, record, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
