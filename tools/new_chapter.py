"""Write a lesson's skeleton, whose cells run as they stand: ``python -m tools.new_chapter 02_name "Title"``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tools.notebooks import configured_address, dump, tidy
from tools.project import ROOT, ToolError, exit_status, toc_pages, write_atomic

NAME = re.compile(r"\d\d_[a-z][a-z0-9_]*")
ENTRY = re.compile(r"^( *- file: notebooks/)(\d\d_\w+)\n", re.MULTILINE)

# Cells in the order that a lesson has. A figure's line is its name, caption and alt text.
SKELETON = '''\
# %% markdown
# TITLE

**What a reader takes home, in two sentences. Then the picture below, which the reader cannot explain yet.**

After this chapter you can

- say in one sentence what the method chooses, and write it down from memory;
- tell what it gains, on what, and by how much;
- name a case in which it fails, and why.
# %% parameters
# The settings of this run.
PROFILE = "book"  # how much to compute: smoke, book, gpu or paper
BACKBONE = "rooms_vgg"  # a network by its name
WEIGHTS = "rooms"  # those that come with the library
SEED = 0  # of the rooms, and of all that is random
DEVICE = "auto"  # auto, cpu or cuda
REPOSITORY = ""  # where Colab finds the library
# %% hidden
import numpy as np
import torch

from ask_lib.data import transforms
from ask_lib.data.rooms import Rooms
from ask_lib.methods.descriptors import l2_normalize
from ask_lib.methods.encoding import avg_pool
from ask_lib.models.backbones import load_backbone
from ask_lib.models.features import FeatureTap
from ask_lib.reproduce import pick_device, seed_everything
from ask_lib.show import plots
from ask_lib.show.explorer import Explorer
from ask_lib.show.record import record
from ask_scenes.rooms import RoomOptions

seed_everything(SEED)
plots.use_style()
device = pick_device(DEVICE)
backbone = load_backbone(BACKBONE, WEIGHTS, device=device, seed=SEED)
count = {"smoke": 10, "book": 64}.get(PROFILE, 256)
# %% markdown
## The puzzle

What do you see in these pictures, and what does the network see? Say what you expect before you read on.
# %% figure fig-KEY-puzzle | The pictures of this page. | Rooms, side by side.
size = backbone.input_size
options = RoomOptions(size=(size, size * 4 // 3))
sample = Rooms("val", count, SEED, options)
shown = sample.rgb[:3].permute(0, 2, 3, 1).numpy()  # (3, H, W, 3), uint8
names = [f"room {number + 1}" for number in range(len(shown))]
figure, grid = plots.figure(1, len(shown))
for axes, image, name in zip(grid[0], shown, names, strict=True):
    plots.picture(axes, image, name)
# %% markdown
## The idea, in one figure

The weights that the method gives to the cells of the last map.
# %% figure fig-KEY-idea | What each cell weighs. | The pictures in grey under grids of coloured cells.
images = transforms.normalize(
    sample.rgb.to(device).float() / 255, backbone.mean, backbone.std
)
layer = backbone.last_layer
with FeatureTap(backbone.network, layer) as tap:
    features = tap(images)[layer]  # (B, C, H, W)

weights = features.sum(dim=1).cpu().numpy()  # (B, H, W)
figure, grid = plots.figure(1, len(shown))
for axes, heat, image, name in zip(grid[0], weights, shown, names, strict=False):
    plots.heat_map(axes, heat, name, label="weight", over=image)
# %% markdown
## The whole method

All of it, in plain PyTorch, to type from memory.
# %%
def method(features: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) to one vector (B, C) a picture."""
    return features.mean(dim=(2, 3))


vectors = method(features)
# %% markdown
The library has it as one function. Both agree.
# %%
assert torch.allclose(vectors, avg_pool(features), atol=1e-5)
# %% markdown
## Move it

The slider opens on a case in which the method works.
# %%
explorer = Explorer.threshold(
    dict(zip(names, shown, strict=True)),
    {name: {layer: weights[i]} for i, name in enumerate(names)},
    label="Threshold",
    high=3.0,
    alt="{picture}: {kept} of {cells} cells are outlined.",
    readout="{kept} of {cells} cells kept, threshold {threshold}",
)
explorer
# %% markdown
## Equation by equation

Each numbered equation has its address here, in the method's file and in its test. Small numbers, to follow by hand.
# %%
tiny = torch.tensor([[[[0.0, 1.0], [2.0, 5.0]]]])  # (1, 1, 2, 2)
print(method(tiny))  # (0 + 1 + 2 + 5) / 4
# %% markdown
## Extract

Train or extract, step by step, with a progress bar. One pass gives all that the page needs.
# %%
vectors = l2_normalize(vectors).cpu()  # (B, C)
alike = (vectors @ vectors.T).fill_diagonal_(-1)  # (B, B), cosines
# %% markdown
## Results

The paper's main table beside ours, in one column of recorded means with their spread. This page's own run is one line.

This run: the nearest picture shows the same class for {glue:text}`nearest:.0f` % of {glue:text}`pictures` rooms.
# %%
labels = sample.label
nearest = labels[alike.argmax(dim=1)] == labels
record("pictures", count)
record("nearest", 100 * nearest.double().mean());
# %% markdown
## A control that the paper lacks

It matches what it controls for, such as the area or the number of points. Say what it still knows.
# %%
shuffled = labels[torch.randperm(count)] == labels
record("chance", 100 * shuffled.double().mean());
# %% markdown
With labels dealt out at random it is {glue:text}`chance:.0f` %.

## What breaks it

Pictures of it. Then the three open points that matter most; the rest is on the record.
# %% figure fig-KEY-breaks | The map of a picture that shows nothing. | A grid of cells of nearly one colour.
with FeatureTap(backbone.network, layer) as tap:
    empty = tap(torch.zeros_like(images[:1]))[layer]
figure, grid = plots.figure(1, 1, size=(3.4, 2.6))
nothing = np.asarray(empty[0].sum(dim=0).cpu())  # (H, W)
plots.heat_map(grid[0, 0], nothing, "a grey picture", label="weight")
# %% markdown
## Exercises

1. What changes when you take the maximum in place of the mean?
2. An open one, which this page does not answer.
# %% solution 1
peaks = l2_normalize(features.amax(dim=(2, 3)))  # (B, C)
assert peaks.shape == vectors.shape
# %% markdown
## When should you use it?

Three sentences.
'''


def cells_of(text: str, key: str) -> Iterator[dict[str, Any]]:
    """The cells of a skeleton, each below a line ``# %% kind``."""
    blocks = re.split(r"^# %% ?(.*)\n", text, flags=re.MULTILINE)[1:]
    for count, (kind, source) in enumerate(zip(blocks[::2], blocks[1::2], strict=True)):
        word, _, rest = kind.partition(" ")
        cell = {
            "cell_type": "markdown" if word == "markdown" else "code",
            "id": f"{key}-{count:02d}",
            "metadata": _metadata(word, rest),
            "source": source.strip().splitlines(keepends=True),
        }
        yield cell


def _metadata(word: str, rest: str) -> dict[str, Any]:
    if word == "figure":
        name, caption, alt = (part.strip() for part in rest.split("|"))
        return {"mystnb": {"figure": {"caption": caption, "name": name}, "image": {"alt": alt}}}
    prompts = {
        "parameters": ("Settings of this run (PROFILE, ...)", ["parameters", "hide-input"]),
        "hidden": ("Imports, and the sizes of this run", ["hide-input"]),
        "solution": (f"Solution {rest}", ["hide-cell"]),
    }
    if word not in prompts:
        return {}
    prompt, tags = prompts[word]
    return {"mystnb": {"code_prompt_hide": "Hide", "code_prompt_show": prompt}, "tags": tags}


def new_chapter(name: str, title: str, root: Path = ROOT) -> Path:
    """Write ``notebooks/NAME.ipynb`` and its line in ``_toc.yml``.

    Args:
        name: Two digits and a name, such as ``02_cross_layer_pooling``.
        title: One line.
        root: Of the book.

    Returns:
        The notebook's path.

    Raises:
        ToolError: If the name or the title is none, or there is such a chapter.
    """
    if not NAME.fullmatch(name):
        raise ToolError(f"a chapter's name is two digits and a name, such as 02_cross_layer_pooling; got {name!r}")
    if not title.strip() or "\n" in title:
        raise ToolError(f"a title is one line of text; got {title!r}")
    path = root / "notebooks" / f"{name}.ipynb"
    if path.exists() or f"notebooks/{name}" in toc_pages(root):
        raise ToolError(f"there is a chapter {name}; a skeleton never replaces one")
    key = name[3:].replace("_", "-")
    text = SKELETON.replace("TITLE", title.strip()).replace("KEY", key)
    notebook = tidy({"cells": list(cells_of(text, key))}, configured_address(root), path.name)
    write_atomic(path, dump(notebook))
    toc = root / "_toc.yml"
    write_atomic(toc, with_entry(toc.read_text(encoding="utf-8"), name))
    return path


def with_entry(toc: str, name: str) -> str:
    """The table of contents with one more chapter, after the last one of a lower number.

    Raises:
        ToolError: If it names no chapter after which the new one could stand.
    """
    before = [entry for entry in ENTRY.finditer(toc) if entry[2] < name]
    if not before:
        raise ToolError(f"_toc.yml names no chapter before {name}: add `- file: notebooks/{name}` by hand")
    last = before[-1]
    return f"{toc[: last.end()]}{last[1]}{name}\n{toc[last.end() :]}"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.new_chapter", description=__doc__)
    parser.add_argument("name", help="two digits and a name, such as 02_cross_layer_pooling")
    parser.add_argument("title", help="the page's title, in quotes")
    args = parser.parse_args(argv)

    def body() -> None:
        path = new_chapter(args.name, args.title)
        print(f"Wrote {path} and its line in _toc.yml. Run: make notebook NB={args.name} PROFILE=smoke")

    return exit_status(body)


if __name__ == "__main__":
    raise SystemExit(main())
