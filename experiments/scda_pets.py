"""Record how well SCDA's masks lie on pets: 55 pictures of the Oxford-IIIT Pet set with true masks, SqueezeNet 1.0.

IoU of the mask with the pet (trimaps' border pixels left out), and boxes with IoU above 0.5, beside controls that match
what they control for: a centre mask of the mask's own area, one of the true mask's area, all cells above the mean.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ask_lib.data.image_folder import PictureFolder, read_images
from ask_lib.errors import DataNotFoundError
from ask_lib.evaluate.controls import centre_mask
from ask_lib.evaluate.localisation import box_iou
from ask_lib.evaluate.spread import bootstrap
from ask_lib.methods.descriptors import resize_mask
from ask_lib.methods.scda import bounding_box, mean_mask, selection_mask
from ask_lib.models.backbones import Backbone, load_backbone
from ask_lib.represent import extract
from ask_lib.results import without_machine
from experiments.recording import KEPT, REALDATA, code_digest, kept, parser_of, pictures_digest, run, save
from experiments.scda import BATCH, Lazy, sized

PET, BORDER = 1, 3  # of a trimap; 2 is the background
OURS = "SCDA"


def trimap_of(folder: Path, name: str) -> torch.Tensor:
    """The trimap of a picture: uint8 ``(H, W)``.

    Raises:
        DataNotFoundError: If there is none.
    """
    path = folder / f"{Path(name).stem}.png"
    if not path.is_file():
        raise DataNotFoundError(f"pets: expected the trimap {path}. Give the set's `annotations/trimaps` as trimaps/.")
    with Image.open(path, formats=["PNG"]) as image:
        return torch.from_numpy(np.array(image))


def true_share(pet: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """As many cells as the pet has area, placed where it is: only their number is used. bool ``(1, h, w)``."""
    share = torch.nn.functional.adaptive_avg_pool2d(pet.float()[None, None], grid)[0, 0]
    count = max(1, round(float(pet.float().mean()) * share.numel()))
    cells = torch.zeros_like(share, dtype=torch.bool).flatten()
    cells[share.flatten().argsort(descending=True)[:count]] = True
    return cells.view(1, *grid)


def overlaps(high: torch.Tensor, trimap: torch.Tensor) -> dict[str, tuple[float, float]]:
    """Row name to the IoU of its mask and of its box, for one picture.

    Args:
        high: ``(1, C, h, w)``.
        trimap: ``(H, W)``.
    """
    size, grid = (trimap.shape[0], trimap.shape[1]), (high.shape[2], high.shape[3])
    pet, known = trimap == PET, trimap != BORDER
    kept_cells = selection_mask(high)
    masks = {
        OURS: kept_cells,
        "all above the mean": mean_mask(high),
        "centre mask of its area": centre_mask(kept_cells),
        "centre mask of the true area": centre_mask(true_share(pet, grid)),
    }
    truth = bounding_box((trimap != 2)[None], size)  # the box goes around the border pixels too
    found = {}
    for name, mask in masks.items():
        grown = resize_mask(mask, size)[0]
        both, either = ((grown & pet) & known).sum(), ((grown | pet) & known).sum()
        found[name] = (float(both / either.clamp(min=1)), float(box_iou(bounding_box(mask, size), truth)[0]))
    return found


def measure(backbone: Backbone, pictures: PictureFolder, trimaps: Path) -> dict[str, Any]:
    """Every number, on the pictures as they are stored."""
    high = backbone.default_layers[-1]
    images = Lazy(len(pictures), lambda at: sized(pictures[at].image, None))
    maps = extract(backbone, images, [high], batch=BATCH)[high]
    rows = [overlaps(m[None], trimap_of(trimaps, pictures[at].name)) for at, m in enumerate(maps)]
    values: dict[str, float] = {}
    for name in rows[0]:
        iou = torch.tensor([row[name][0] for row in rows], dtype=torch.float64)
        box = torch.tensor([row[name][1] > 0.5 for row in rows]).double()
        values |= {f"{name} iou": 100 * float(iou.mean()), f"{name} box": 100 * float(box.mean())}
        if name != OURS:
            own = torch.tensor([row[OURS][0] for row in rows], dtype=torch.float64)
            gain = bootstrap(100 * (own - iou))
            values |= {f"over {name} {end}": getattr(gain, end) for end in ("mean", "low", "high")}
    return {"values": {name: round(value, 4) for name, value in values.items()}}


def record(args: argparse.Namespace) -> None:
    """Measure, and write results/scda_pets.json."""
    pictures = read_images(args.images / "images")
    print(pictures.report)
    backbone = load_backbone("squeezenet1_0", args.weights)
    made_from = (
        f"code {code_digest('experiments.scda_pets')}, torch {torch.__version__}, {backbone.weights}, "
        f"pictures {pictures_digest(pictures)}"
    )
    part = kept(KEPT, "scda_pets", made_from, partial(measure, backbone, pictures, args.images / "trimaps"))
    save(
        args.out,
        "scda_pets",
        command=args.command,
        title="SCDA's masks on pets",
        data={"pets": f"Oxford-IIIT Pet, {len(pictures)} pictures with trimaps"},
        settings={
            "IMAGES": without_machine(str(args.images)),
            "WEIGHTS": without_machine(str(args.weights)),
            "layer": backbone.default_layers[-1],
        },
        protocol="pictures as stored; intervals: bootstrap over pictures; trimaps' border pixels count for boxes only",
        seconds=part["seconds"],
        values=part["values"] | {"network": f"{backbone.name} ({backbone.weights})", "pictures": len(pictures)},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = parser_of("experiments.scda_pets", __doc__)
    parser.add_argument(
        "--images", type=Path, default=REALDATA / "pets_masks", help="a folder with images/ and trimaps/"
    )
    parser.add_argument("--weights", type=Path, default=REALDATA / "weights" / "squeezenet1_0_imagenet.pt")
    return run(parser, record, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
