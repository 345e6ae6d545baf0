"""Photographs that come with packages which are installed anyway: a first picture with no download."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ask_lib.data.image_folder import Picture, read_rgb
from ask_lib.errors import DataNotFoundError

# As scikit-learn's sklearn/datasets/images/README.txt states; for the flower its text and its links name two people.
SAMPLES = {
    "pagoda": (
        "china.jpg",
        "Photo: danielbuechele on Flickr, CC BY 2.0, from scikit-learn's sample images (china.jpg)",
        "A pagoda of four storeys with green and orange roofs stands left among trees, above a wide lake in the haze.",
    ),
    "flower": (
        "flower.jpg",
        "Photo: vultilion on Flickr, CC BY 2.0, from scikit-learn's sample images (flower.jpg)",
        "A round orange dahlia seen from the front, before dark leaves out of focus; part of a second one below.",
    ),
}


def sample_pictures() -> list[Picture]:
    """Two photographs: a building and a flower, 427 x 640 pixels (H x W), with credit and alt text.

    They come with scikit-learn; nothing is downloaded.

    Raises:
        DataNotFoundError: If scikit-learn is not installed with its pictures.
    """
    folder = _folder()
    return [
        Picture(read_rgb(folder / file)[0], name, credit=credit, alt=alt)
        for name, (file, credit, alt) in SAMPLES.items()
    ]


def _folder() -> Path:
    """scikit-learn's pictures, found without importing it (that takes seconds)."""
    found = importlib.util.find_spec("sklearn")
    for place in (found.submodule_search_locations or []) if found else []:
        folder = Path(place) / "datasets" / "images"
        if all((folder / file).is_file() for file, _, _ in SAMPLES.values()):
            return folder
    raise DataNotFoundError("sample_pictures: scikit-learn's sample images are not installed. pip install scikit-learn")
