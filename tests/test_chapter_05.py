"""What chapter 05 says of recorded runs, and its method typed from memory."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

from ask_lib.methods.hha import gravity, hha, normals
from ask_lib.results import summarise
from tests.chapter import in_markdown
from tests.test_hha import SMALL, corner
from tools.expect import expected_of
from tools.project import ROOT, read_json
from tools.results import result_text

CHAPTER = ROOT / "notebooks" / "05_depth_and_hha.ipynb"
RESULTS = ROOT / "results"


def cells(kind: str = "code") -> list[str]:
    return ["".join(cell["source"]) for cell in read_json(CHAPTER)["cells"] if cell["cell_type"] == kind]


def names_after(start: str) -> dict[str, object]:
    """What a cell defines."""
    import math

    names: dict[str, object] = {"torch": torch, "math": math}
    (source,) = (cell for cell in cells() if cell.startswith(start))
    exec(source, names)
    return names


def test_the_method_from_memory_is_whole_in_fifteen_lines_beside_its_heads():
    (source,) = (cell for cell in cells() if "def plain_hha" in cell)
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    assert len([line for line in lines if not line.startswith(("def ", '"""'))]) <= 15


@pytest.mark.parametrize("tilt", [0.0, 0.2, 0.5])
def test_the_method_from_memory_is_the_librarys(tilt: float):
    depth = torch.tensor(corner(tilt=tilt))
    camera = torch.tensor(SMALL)
    wide = normals(depth[None], camera[None], (10,), depth[None] > 0)[0]
    from_zero = camera - torch.tensor([[0, 0, 1.0], [0, 0, 1], [0, 0, 0]])
    plain = names_after("def plane_normals")["plain_hha"]
    ours = plain(depth, from_zero, gravity(wide)[0])  # type: ignore[operator]
    theirs = torch.from_numpy(hha(depth, camera)).permute(2, 0, 1)
    assert (ours - theirs).abs().max() <= 1 and (ours == theirs).double().mean() > 0.999


def test_gravity_from_memory_is_the_librarys():
    draw = torch.Generator().manual_seed(1)
    n = torch.nn.functional.normalize(torch.randn(400, 3, generator=draw, dtype=torch.float64), dim=1)
    n[:150] = torch.nn.functional.normalize(torch.tensor([0, 0.9, 0.4], dtype=torch.float64) + 0.1 * n[:150], dim=1)
    found = names_after("def plain_gravity")["plain_gravity"](n)  # type: ignore[operator]
    assert found.shape == (10, 3)
    assert torch.allclose(found[-1], gravity(n.T.view(1, 3, 20, 20))[0], atol=1e-4)


def shown(role: str) -> list[str]:
    text = "\n".join(in_markdown(read_json(CHAPTER)))
    return sorted(set(re.findall(r"\{" + role + r"\}`([^`]+)`", text)))


@pytest.mark.parametrize("profile", ["smoke", "book"])
def test_every_value_that_the_text_shows_is_recorded(profile: str):
    values = expected_of(profile)["05_depth_and_hha"]
    assert [name for name in shown("glue:text") if name.partition(":")[0] not in values] == []


def test_every_recorded_number_of_the_text_exists():
    recorded = shown("recorded")
    assert len(recorded) > 10 and all(result_text(address)[0] for address in recorded)


def rooms(name: str) -> float:
    return float(read_json(RESULTS / "hha_rooms.json")["values"][name])


def quantised(name: str) -> float:
    return float(read_json(RESULTS / "hha_quantised.json")["values"][name])


def runs(name: str) -> np.ndarray:
    """A value of each draw."""
    return np.array([run[name] for run in read_json(RESULTS / "hha_rooms.json")["details"]["runs"].values()])


def is_zero(name: str) -> bool:
    """Whether the interval of a difference contains zero."""
    return rooms(f"{name} low") <= 0 <= rooms(f"{name} high")


def between(first: str, second: str) -> tuple[float, float]:
    """Student's interval of a difference over the draws."""
    over = summarise((runs(first) - runs(second)).tolist())
    assert over["low"] is not None and over["high"] is not None
    return over["low"], over["high"]


CHANNELS = ("disparity", "height", "angle")
CLAIMS: dict[str, Callable[[], bool]] = {
    "held alike, HHA tells most": lambda: (
        rooms("pixel over depth held alike low") > 0 and rooms("pixel over place held alike low") > 0
    ),
    "more than half of its lead over depth is the place's": lambda: (
        rooms("pixel over place held alike high") < 0.5 * rooms("pixel over depth held alike")
    ),
    "tilted, depth with its place falls below depth": lambda: (
        between("pixel depth tilted", "pixel depth, row, column tilted")[0] > 0
    ),
    "tilted, HHA is ahead": lambda: rooms("pixel over place tilted low") > 0 < rooms("pixel over depth tilted low"),
    "fixed gravity costs much when the camera tilts, little before": lambda: (
        rooms("pixel over fixed gravity tilted low") > 2 * rooms("pixel over fixed gravity held alike high")
        and rooms("pixel over fixed gravity held alike low") > 0
    ),
    "true gravity adds nothing that can be told from zero": lambda: all(
        low <= 0 <= high
        for name in ("held alike", "tilted")
        for low, high in [between(f"pixel HHA, true gravity {name}", f"pixel HHA {name}")]
    ),
    "height alone is nearest to HHA, below it": lambda: (
        rooms("pixel HHA held alike")
        > rooms("pixel height held alike")
        > max(rooms(f"pixel {name} held alike") for name in ("disparity", "angle"))
    ),
    "disparity alone is no better than depth": lambda: bool(
        (runs("pixel disparity held alike") - runs("pixel depth held alike")).mean() < 2
    ),
    "gravity is right at forty degrees, wrong by a right angle at fifty-seven": lambda: (
        rooms("gravity median tilted high") < 3 and rooms("gravity median steep low") > 80
    ),
    "with a sensor the floor does not read zero": lambda: rooms("floor median held alike low") > 10,
    "on a frozen network HHA's gain over depth cannot be told from zero": lambda: is_zero("scene over depth"),
    "smoothing by half a pixel helps each channel": lambda: all(
        quantised(f"best {name}") < quantised(f"sigma 0 {name}") for name in CHANNELS
    ),
    "from 16 bits all are the authors'": lambda: quantised("16 bits equal") == 100,
}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS.keys())
def test_what_the_text_says_in_words_is_so_in_the_recorded_runs(claim: Callable[[], bool]):
    assert claim()


LIVE = {f"{row}_{split}": f"pixel {name} {where}" for row, name in (
    ("depth", "depth"), ("place", "depth, row, column"), ("hha", "HHA"), ("fixed", "HHA, gravity fixed"),
) for split, where in (("alike", "held alike"), ("tilted", "tilted"))}  # fmt: skip


@pytest.mark.parametrize(("name", "row"), LIVE.items())
def test_the_page_s_own_run_is_one_of_the_draws_that_the_record_expects(name: str, row: str):
    live = float(expected_of("book")["05_depth_and_hha"][name]["value"])
    assert abs(live - rooms(row)) < 3.5 * rooms(f"{row} std")


def test_the_recorded_rooms_are_other_draws_than_the_page_s_and_as_many():
    recorded = read_json(RESULTS / "hha_rooms.json")
    assert 0 not in recorded["seeds"] and len(recorded["seeds"]) >= 5
    assert recorded["settings"]["frames"] == expected_of("book")["05_depth_and_hha"]["frames"]["value"]
    assert recorded["command"].startswith("python -m ") and not recorded["commit"].endswith("+changes")
