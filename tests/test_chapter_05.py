"""What chapter 05 says of recorded runs, and its method typed from memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ask_lib.methods.hha import gravity, hha, normals
from ask_lib.results import summarise
from ask_lib.train.loop import fit
from ask_lib.train.run import build
from ask_lib.train.tasks import find_experiment
from ask_scenes.rooms import RoomOptions, render_room
from tests.test_hha import SMALL, corner
from tools.expect import expected_of
from tools.project import ROOT, read_json

CHAPTER = ROOT / "notebooks" / "05_depth_and_hha.ipynb"
RESULTS = ROOT / "results"


def cells(kind: str = "code") -> list[str]:
    return ["".join(cell["source"]) for cell in read_json(CHAPTER)["cells"] if cell["cell_type"] == kind]


def names_after(*starts: str) -> dict[str, object]:
    """What cells define, each told by how it starts."""
    import math

    names: dict[str, object] = {"torch": torch, "math": math}
    for start in starts:
        (source,) = (cell for cell in cells() if cell.startswith(start))
        exec(source, names)
    return names


def test_the_method_from_memory_is_whole_in_fifteen_lines_beside_its_heads():
    method = (cell for cell in cells() if cell.startswith(("def plane_normals", "def plain_hha")))
    lines = [line.strip() for cell in method for line in cell.splitlines() if line.strip()]
    assert 10 < len([line for line in lines if not line.startswith(("def ", '"""'))]) <= 15


@pytest.mark.parametrize("tilt", [0.0, 0.2, 0.5])
def test_the_method_from_memory_is_the_librarys(tilt: float):
    depth = torch.tensor(corner(tilt=tilt))
    camera = torch.tensor(SMALL)
    wide = normals(depth[None], camera[None], (10,), depth[None] > 0)[0]
    from_zero = camera - torch.tensor([[0, 0, 1.0], [0, 0, 1], [0, 0, 0]])
    plain = names_after("def plane_normals", "def plain_hha")["plain_hha"]
    ours = plain(depth, from_zero, gravity(wide)[0])  # type: ignore[operator]
    theirs = torch.from_numpy(hha(depth, camera)).permute(2, 0, 1)
    assert (ours - theirs).abs().max() <= 1 and (ours == theirs).double().mean() > 0.999


def test_gravity_from_memory_is_the_librarys():
    draw = torch.Generator().manual_seed(1)
    n = torch.nn.functional.normalize(torch.randn(400, 3, generator=draw, dtype=torch.float64), dim=1)
    n[:150] = torch.nn.functional.normalize(torch.tensor([0, 0.9, 0.4], dtype=torch.float64) + 0.1 * n[:150], dim=1)
    upright = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    found = names_after("def plain_gravity")["plain_gravity"](n, upright)  # type: ignore[operator]
    assert found.shape == (11, 3) and torch.equal(found[0], upright)
    assert torch.allclose(found[-1], gravity(n.T.view(1, 3, 20, 20))[0], atol=1e-4)


def test_the_numbers_to_follow_by_hand_are_the_methods():
    """A floor 1.2 below an upright camera with f = 100, and what lies two metres away."""
    camera = torch.tensor([[100.0, 0, 50], [0, 100.0, 0], [0, 0, 1]], dtype=torch.float64)
    down = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    plain = names_after("def plane_normals", "def plain_hha")["plain_hha"]
    row = torch.arange(101, dtype=torch.float64)
    floor = torch.where(row > 20, 1.2 / (row.clamp(min=1) / 100), 0)[:, None].expand(101, 101)
    assert floor[60, 50] == 2
    assert plain(floor, camera, down)[:, 60, 50].tolist() == [155, 0, 38]  # type: ignore[operator]
    wall = torch.full((101, 101), 2.0, dtype=torch.float64)
    assert plain(wall, camera, down)[[0, 2], 60, 50].tolist() == [155, 128]  # type: ignore[operator]
    ceiling = floor.flip(0)
    camera[1, 2] = 100
    assert plain(ceiling, camera, down)[2, 40, 50] == 218  # type: ignore[operator]
    white = plain(torch.full((9, 9), 1.21, dtype=torch.float64), camera, down)  # type: ignore[operator]
    assert (white[0] == 255).all()


def rooms(name: str) -> float:
    return float(read_json(RESULTS / "hha_rooms.json")["values"][name])


def real(name: str) -> float:
    return float(read_json(RESULTS / "hha_nyudv2.json")["values"][name])


def quantised(name: str) -> float:
    return float(read_json(RESULTS / "hha_quantised.json")["values"][name])


def runs(name: str, experiment: str = "hha_rooms") -> np.ndarray:
    """A value of each draw."""
    return np.array([run[name] for run in read_json(RESULTS / f"{experiment}.json")["details"]["runs"].values()])


def is_zero(name: str) -> bool:
    """Whether the interval of a difference contains zero."""
    return rooms(f"{name} low") <= 0 <= rooms(f"{name} high")


def interval(differences: np.ndarray) -> tuple[float, float]:
    """Student's, over the draws."""
    over = summarise(differences.tolist())
    assert over["low"] is not None and over["high"] is not None
    return over["low"], over["high"]


def between(first: str, second: str, experiment: str = "hha_rooms") -> tuple[float, float]:
    """The interval of a difference."""
    return interval(runs(first, experiment) - runs(second, experiment))


REAL = "hha_nyudv2"
CHANNELS = ("disparity", "height", "angle")
ROOMS = ("held alike", "tilted")
CLAIMS: dict[str, Callable[[], bool]] = {
    "held alike and on real frames HHA leads depth, with its place and without": lambda: (
        min(rooms("pixel over depth held alike low"), rooms("pixel over place held alike low")) > 0
        and min(real("pixel over depth low"), real("pixel over place low")) > 0
    ),
    "held alike more than half of its lead over depth is the place's": lambda: (
        interval(2 * runs("pixel over place held alike") - runs("pixel over depth held alike"))[1] < 0
    ),
    "tilted, depth with its place falls below depth": lambda: (
        between("pixel depth tilted", "pixel depth, row, column tilted")[0] > 0
    ),
    "tilted, depth with its place falls below one surface throughout": lambda: (
        rooms("pixel depth, row, column tilted high") < 25
    ),
    "tilted, HHA is ahead": lambda: rooms("pixel over place tilted low") > 0 < rooms("pixel over depth tilted low"),
    "fixed gravity costs everywhere, and most when the camera tilts": lambda: (
        rooms("pixel over fixed gravity tilted low")
        > max(rooms("pixel over fixed gravity held alike high"), real("pixel over fixed gravity high"))
        and min(rooms("pixel over fixed gravity held alike low"), real("pixel over fixed gravity low")) > 0
    ),
    "tilted, the interval of HHA with gravity fixed holds the mean of depth": lambda: (
        rooms("pixel HHA, gravity fixed tilted low")
        < rooms("pixel depth tilted")
        < rooms("pixel HHA, gravity fixed tilted high")
    ),
    "with gravity fixed HHA still leads depth with its place": lambda: all(
        between("pixel HHA, gravity fixed" + where, "pixel depth, row, column" + where, experiment)[0] > 0
        for where, experiment in ((" held alike", "hha_rooms"), ("", REAL))
    ),
    "in rooms HHA is ahead of each of its channels": lambda: all(
        between(f"pixel HHA {name}", f"pixel {channel} {name}")[0] > 0 for name in ROOMS for channel in CHANNELS
    ),
    "held alike and on real frames height alone has more than half of HHA's lead over depth": lambda: all(
        interval(
            2 * runs("pixel height" + where, experiment)
            - runs("pixel depth" + where, experiment)
            - runs("pixel HHA" + where, experiment)
        )[0]
        > 0
        for where, experiment in ((" held alike", "hha_rooms"), ("", REAL))
    ),
    "gravity is right at forty degrees, wrong by a right angle at fifty-seven": lambda: (
        rooms("gravity median tilted high") < 3 and rooms("gravity median steep low") > 80
    ),
    "with a sensor the floor does not read zero": lambda: (
        rooms("floor median held alike low") > 10 and real("floor reads low") > 10
    ),
    "on a frozen network HHA's gain over depth cannot be told from zero": lambda: is_zero("scene over depth"),
    "8 bits cost the angle most, the other channels less than a level": lambda: (
        quantised("sigma 0 angle") > 5 and max(quantised("sigma 0 disparity"), quantised("sigma 0 height")) < 1
    ),
    "smoothing by half a pixel hardly helps the angle": lambda: (
        0.95 < quantised("best angle") / quantised("sigma 0 angle") < 1
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


@pytest.mark.parametrize("profile", ["smoke", "book"])
def test_gravity_is_found_from_forty_degrees_and_lost_from_fifty_seven(profile: str):
    live = {name: float(each["value"]) for name, each in expected_of(profile)["05_depth_and_hha"].items()}
    assert live["narrow_tilted"] < live["wide_tilted"] < 5
    assert live["narrow_slight"] < 5 and min(live["wide_steep"], live["narrow_steep"]) > 80
    assert all(live[f"narrow_{name}"] > live[f"wide_{name}"] for name in ("slight", "steep")), "the second camera alone"
    assert live["off_no_floor_in_view"] < 2 and live["camera_above_the_floor"] > 130
    assert live["chance_alike"] == 20 and live["chance_tilted"] == 25


def test_a_camera_tilted_forty_degrees_down_sees_no_ceiling():
    """Its highest rays fall."""
    options = RoomOptions((12, 16), camera_pitch=-0.7)
    for frame in (render_room(at, seed=1, split="test", options=options) for at in range(4)):
        highest = np.linalg.inv(frame.intrinsics) @ np.array([[0, 15], [0, 0], [1, 1]])
        assert (frame.pose[:3, :3] @ highest)[2].max() < -0.1


def test_the_real_frames_are_asked_as_the_rooms_are():
    """Sizes, draws and tree are the same, so that one caption serves the table's columns."""
    recorded, others = (read_json(RESULTS / f"{name}.json") for name in ("hha_nyudv2", "hha_rooms"))
    assert recorded["seeds"] == others["seeds"]
    assert all(recorded["settings"][name] == others["settings"][name] for name in ("frames", "pixels", "leaves"))
    assert recorded["command"] == "python -m experiments.hha_nyudv2"


def test_the_recorded_rooms_are_other_draws_than_the_page_s_and_as_many():
    recorded = read_json(RESULTS / "hha_rooms.json")
    assert 0 not in recorded["seeds"] and len(recorded["seeds"]) >= 5
    assert recorded["settings"]["frames"] == expected_of("book")["05_depth_and_hha"]["frames"]["value"]
    assert recorded["command"].startswith("python -m ")


@pytest.mark.slow
def test_whole_networks_train_at_gpu(capsys: pytest.CaptureFixture[str]):
    (source,) = (cell for cell in cells() if "rooms_pretrain" in cell)
    exec(source, {"whole_epochs": 1, "frames": 7, "fit": fit, "build": build, "find_experiment": find_experiment})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["depth", "hha"]
    exec(source, {"whole_epochs": 0})
    assert not capsys.readouterr().out
