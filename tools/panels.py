"""Figures on the pages: panels that wrap on a phone, and a dark variant of all but the pictures.

A figure of `ask_lib.show.plots` says in its PNG where its columns begin (and its rows, if each panel has a title) and
where its pictures lie. Each part becomes an image of its own, light and dark. A page lays them side by side, and fewer
in a row where their labels would become too small.
"""

from __future__ import annotations

import hashlib
import html
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from docutils import nodes
from numpy.typing import NDArray
from PIL import Image
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.writers.html5 import HTML5Translator

from tools.project import BUILD, ROOT

PANELS = BUILD / "panels"
MODES = ("light", "dark")
NATURAL, SMALLEST = 104, 64  # CSS pixels an inch: text of 11 points has 16 and 10 pixels
WHITE = 0.1  # the alpha of paper, and less
QUALITY = 92  # of WebP, for figures with pictures: a sixth of a PNG's bytes; charts stay exact


class panels(nodes.General, nodes.Element):  # type: ignore[misc]
    """A figure's parts, twice: ``alt`` says what all of them show."""


class panel(nodes.image):  # type: ignore[misc]
    """One part of a figure in one mode: ``share`` of the figure's width, ``inches`` of its own."""


def darkened(pixels: NDArray[np.uint8], pictures: list[list[float]]) -> NDArray[np.uint8]:
    """A figure on white paper as one on none: black becomes white, hues stay, pictures stay whole.

    Args:
        pixels: ``(H, W, 3)``.
        pictures: Boxes (left, top, right, bottom), shares of width and height.

    Returns:
        ``(H, W, 4)``, RGB and alpha.
    """
    height, width = pixels.shape[:2]
    colour = pixels / 255.0  # (H, W, 3)
    alpha = 1 - colour.min(axis=2, keepdims=True)  # white is bare ground
    ink = 1 - (1 - colour) / np.where(alpha > 0, alpha, 1)  # (H, W, 3), what on white gives the colour
    turned = ink.max(axis=2, keepdims=True) + ink.min(axis=2, keepdims=True)
    drawn = np.concatenate([1 - turned + ink, alpha], axis=2)  # (H, W, 4), lightness mirrored in HLS
    for left, top, right, bottom in pictures:
        y0, y1, x0, x1 = round(top * height), round(bottom * height), round(left * width), round(right * width)
        inside = np.zeros((height, width), bool)
        inside[max(y0 - 1, 0) : y1 + 1, max(x0 - 1, 0) : x1 + 1] = True
        inside &= alpha[..., 0] > WHITE  # a box ends within a pixel: paper at its edge is none of the picture
        inside[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] = True
        drawn[inside] = np.concatenate([colour, np.ones_like(alpha)], axis=2)[inside]
    return np.asarray(np.round(drawn * 255), dtype=np.uint8)


def layout_of(path: Path) -> dict[str, Any]:
    """What a PNG says of its columns and pictures; empty where it says nothing."""
    with Image.open(path) as image:
        layout: dict[str, Any] = json.loads(getattr(image, "text", {}).get("layout", "{}"))
    return layout


def parts_of(source: Path, alt: str, folder: Path = PANELS) -> panels:
    """Write a figure's parts, light and dark.

    Args:
        source: A PNG with a layout.
        alt: What it shows.
        folder: Where they go, named by content.

    Returns:
        Their node.
    """
    layout = layout_of(source)
    with Image.open(source) as image:
        pixels = np.asarray(image.convert("RGB"))  # (H, W, 3)
    folder.mkdir(parents=True, exist_ok=True)
    name, (height, width) = hashlib.sha256(source.read_bytes()).hexdigest()[:16], pixels.shape[:2]
    rows = [(round(top * height), round(bottom * height)) for top, bottom in layout["rows"]]
    columns = itertools.pairwise([*(round(share * width) for share in layout["columns"]), width])
    cells = list(itertools.product(rows, columns))
    row = panels(alt=alt)
    for mode, whole in zip(MODES, (pixels, darkened(pixels, layout["pictures"])), strict=True):
        for count, ((top, bottom), (left, right)) in enumerate(cells):
            path, share = folder / f"{name}-{count}-{mode}.webp", (right - left) / width
            Image.fromarray(whole[top:bottom, left:right]).save(path, lossless=not layout["pictures"], quality=QUALITY)
            row += panel(uri=str(path), mode=mode, share=share, inches=share * layout["inches"])
    return row


class Panels(SphinxTransform):
    """Puts a figure's parts in the place of its image."""

    default_priority = 870  # at 880 Sphinx collects the images

    def apply(self, **kwargs: Any) -> None:
        """Look at each PNG of the page."""
        for image in list(self.document.findall(nodes.image)):
            path = Path(self.env.relfn2path(image["uri"], self.env.docname)[1])
            if path.suffix == ".png" and path.is_file() and layout_of(path):
                row = parts_of(path, image.get("alt", ""))
                for one in row:
                    one["uri"] = "/" + Path(one["uri"]).relative_to(ROOT).as_posix()
                image.replace_self(row)


def open_row(translator: HTML5Translator, node: panels) -> None:
    """One picture for a screen reader, whose parts have no names."""
    translator.body.append(f'<div class="ask-panels" role="img" aria-label="{html.escape(node["alt"])}">')


def close_row(translator: HTML5Translator, node: panels) -> None:
    """The end of `open_row`."""
    translator.body.append("</div>")


def one_part(translator: HTML5Translator, node: panel) -> None:
    """A part, as wide as its share, but never so narrow that its labels cannot be read."""
    folder, names = translator.builder.imgpath, translator.builder.images
    width = node["inches"]
    size = f"min({width * NATURAL:.0f}px, max({math.floor(1e4 * node['share']) / 100:.2f}%, {width * SMALLEST:.0f}px))"
    translator.body.append(
        f'<img class="only-{node["mode"]}" src="{folder}/{names[node["uri"]]}" alt="" role="presentation" '
        f'loading="lazy" style="width: {size}"/>'
    )
    raise nodes.SkipNode


def register(app: Sphinx) -> None:
    """Add all of it to the book's extension."""
    app.add_node(panels, html=(open_row, close_row))
    app.add_node(panel, html=(one_part, None))
    app.add_transform(Panels)
