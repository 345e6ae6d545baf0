"""Chapter 00 on other input than its own: real photographs, trained weights, and a folder of awkward files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.chapter import runner
from tests.realdata import realdata

pytestmark = pytest.mark.slow
run = runner("00_start_here")


@pytest.mark.realdata
def test_real_photographs_and_trained_weights(tmp_path: Path):
    weights = realdata("weights", "squeezenet1_0_imagenet.pt")
    flowers = realdata("flowers17", "c11")
    values, text = run(tmp_path, IMAGES=str(flowers), BACKBONE="squeezenet1_0", WEIGHTS=str(weights))
    assert "file squeezenet1_0_imagenet.pt (sha256 b0c3d38d)" in values["network"]
    assert values["channels"] == 512 and values["cells"] == 13 * 13
    assert "4 pictures read, 0 files skipped" in text and "image_" in text
    assert 0 < values["kept"] < 100 and "key_kept" not in values  # nobody knows the key objects of a photograph


def awkward(folder: Path) -> Path:
    """Files as people have them."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (64, 80, 3), dtype=np.uint8)
    plain = Image.fromarray(pixels)
    plain.save(folder / "good.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is no JPEG")
    plain.resize((7, 5)).save(folder / "tiny.png")
    plain.convert("L").save(folder / "grey.png")
    plain.convert("RGBA").save(folder / "alpha.png")
    plain.convert("CMYK").save(folder / "print.jpg")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_folder_of_awkward_files_is_handled_and_each_is_named(tmp_path: Path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    values, text = run(tmp_path, IMAGES=str(awkward(folder)), PICTURES=20)
    assert "5 pictures read" in text
    for name, said in {
        "broken.jpg": "broken",
        "tiny.png": "tiny",
        "grey.png": "grey",
        "alpha.png": "RGBA",
        "print.jpg": "CMYK",
        "deep.png": "16-bit",
    }.items():
        line = next(line for line in text.splitlines() if name in line)
        assert said in line, line
    assert "alpha.png, deep.png" in text and 0 < values["kept"] < 100


def test_an_empty_folder_says_what_to_do(tmp_path: Path):
    from tools.project import ToolError

    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ToolError, match="DataNotFoundError"):
        run(tmp_path, IMAGES=str(empty))
