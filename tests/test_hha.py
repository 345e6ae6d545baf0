"""HHA: the authors' own pixels, a literal loop, limits, invariances, and errors for a person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ask_lib.errors import RangeError, ShapeError
from ask_lib.methods.hha import SIGMA_8BIT, gravity, hha, hha_batch, normals, smooth
from ask_lib.results import read_result
from benchmarks import hha as benchmark
from experiments import hha_quantised
from tests import oracles
from tests.conftest import ROOT
from tests.realdata import realdata

NYU = np.array([[518.85790, 0, 325.58245], [0, 519.46961, 253.73617], [0, 0, 1]])
WIDE = np.array([[80.0, 0, 64.0], [0, 80.0, 48.0], [0, 0, 1]])  # for 96 x 128
SMALL = np.array([[20.0, 0, 17.5], [0, 21.0, 11.0], [0, 0, 1]])


def corner(height: int = 24, width: int = 32, tilt: float = 0.2, camera: np.ndarray = SMALL) -> np.ndarray:
    """A floor 1.2 m below a tilted camera and a wall 3 m before it: depth in metres, with some noise."""
    u, v = np.meshgrid(np.arange(1, width + 1), np.arange(1, height + 1))
    x, y = (u - camera[0, 2]) / camera[0, 0], (v - camera[1, 2]) / camera[1, 1]
    down = y * np.cos(tilt) + np.sin(tilt)
    ahead = np.cos(tilt) - y * np.sin(tilt) + 0.1 * x
    floor = np.where(down > 0, 1.2 / np.where(down > 0, down, 1), np.inf)
    return np.minimum(floor, 3 / ahead) * (1 + 0.002 * np.random.default_rng(0).standard_normal(u.shape))


def grey(*parts: str) -> np.ndarray:
    with Image.open(realdata("hha_reference", "depth2hha_python", *parts)) as image:
        return np.array(image)


@pytest.mark.realdata
def test_it_gives_the_authors_pixels():
    difference = np.abs(hha(grey("0.png") / 10000, NYU).astype(int) - grey("matlab_hha.png"))
    assert difference.max() <= 1
    assert (difference == 0).mean() >= 0.999


@pytest.mark.realdata
def test_it_gives_the_authors_pixels_where_depth_was_filled_in():
    """Where the known pixels of a window lie on one line, theirs is what rounding makes of it; ours has no normal."""
    depth, missing = grey("0.png") / 10000, grey("0_raw.png") == 0
    ours, theirs = hha(depth, NYU, missing), grey("hha.png")
    (fine,) = normals(torch.tensor(depth)[None], torch.tensor(NYU)[None], (3,), torch.tensor(~missing)[None])
    spanned = fine[0, 0].isfinite().numpy()
    difference = np.abs(ours.astype(int) - theirs)
    assert difference[..., :2].max() <= 1 and (difference[..., :2] == 0).mean() >= 0.998
    assert difference[spanned].max() <= 1
    assert (ours[~spanned, 2] == 218).all() and 0.7 < spanned.mean() < 0.9


@pytest.mark.parametrize("holes", [0.0, 0.3, 0.9])
def test_it_equals_the_literal_loop(holes: float):
    depth = corner()
    known = np.random.default_rng(1).random(depth.shape) >= holes
    wanted = oracles.hha(depth.tolist(), known.tolist(), 20, 21, 17.5, 11)
    assert np.array_equal(hha(depth, SMALL, ~known), wanted)


def test_a_batch_is_two_of_one_each_with_its_camera():
    cameras = torch.tensor(np.stack([SMALL, SMALL + np.diag([5.0, 5.0, 0])]))
    depth = torch.tensor(np.stack([corner(), corner(tilt=0.4)]))
    both = hha_batch(depth, cameras)
    assert both.shape == (2, 3, 24, 32) and both.dtype == torch.uint8
    for one in range(2):
        assert np.array_equal(both[one].permute(1, 2, 0).numpy(), hha(depth[one], cameras[one]))
    assert torch.equal(hha_batch(depth, cameras[0])[0], both[0])


def test_numpy_and_torch_of_any_type_agree():
    wall = np.full((24, 32), 2)
    still = wall.astype(np.uint16)
    still.flags.writeable = False
    for depth in (wall, wall.tolist(), still, wall.astype(np.float32), torch.tensor(wall, dtype=torch.float16)):
        assert np.array_equal(hha(depth, torch.tensor(SMALL)), hha(wall.astype(float), SMALL))


def test_a_wall_and_a_floor_have_the_angles_and_heights_of_their_names():
    wall = hha(np.full((24, 32), 1.25), SMALL)
    assert (wall[..., 0] == 248).all() and (wall[..., 2] == 128).all()  # 31000 / 125, 90 + 38
    assert wall[10, 17, 1] == 130  # at the camera's height, with no floor seen
    room = hha(corner(96, 128, tilt=0.0, camera=WIDE), WIDE).astype(int)
    assert abs(room[-5, :, 2] - 38).mean() < 3 and abs(room[5, :, 2] - 128).mean() < 3
    assert room[-5, :, 1].max() < 5 and abs(room[47, 64, 1] - 120) < 5


@pytest.mark.parametrize("tilt", [0.1, 0.2, 0.3])
def test_a_tilt_of_the_camera_does_not_lift_the_floor(tilt: float):
    floor = hha(corner(96, 128, tilt, WIDE), WIDE)[-10:].astype(int)
    assert floor[..., 1].max() < 8 and abs(floor[..., 2] - 38).mean() < 3


def test_missing_depth_is_black_and_the_rest_hardly_changes():
    depth, holes = corner(), np.random.default_rng(2).random((24, 32)) < 0.2
    whole, part = hha(depth, SMALL).astype(int), hha(np.where(holes, 0, depth), SMALL).astype(int)
    assert (part[holes] == 0).all() and (part[~holes][:, 2] >= 38).all()
    assert np.array_equal(part[~holes][:, 0], whole[~holes][:, 0])
    assert np.abs(part - whole)[~holes].mean(axis=0).max() < 1
    assert np.array_equal(part[~holes], hha(np.where(holes, depth, depth), SMALL, holes)[~holes])


def test_one_pixel_is_enough_to_go_on():
    depth = np.zeros((24, 32))
    depth[5, 6] = 2.0
    pixel = hha(depth, SMALL)
    assert pixel[5, 6, 0] == 155 and pixel[5, 6, 2] == 218 and (pixel.sum(axis=(0, 1)) == pixel[5, 6]).all()


def test_normals_of_a_plane_are_its_own_and_none_comes_from_a_line():
    known = torch.zeros(1, 24, 32, dtype=torch.bool)
    known[0, ::2, 5] = True  # a column
    u, v = torch.meshgrid(torch.arange(1, 33.0), torch.arange(1, 25.0), indexing="xy")
    x, y = (u.double() - 17.5) / 20, (v.double() - 11) / 21
    plane = torch.tensor([0.2, 0.5, 1.0], dtype=torch.float64)
    depth = 2 / (x * plane[0] + y * plane[1] + plane[2])[None]
    fine, coarse = normals(depth, torch.tensor(SMALL)[None], (1, 10), torch.ones_like(known))
    for found in (fine, coarse):
        torch.testing.assert_close(found[0].flatten(1).T, (plane / plane.norm()).expand(768, 3), rtol=0, atol=1e-9)
    for found in normals(depth, torch.tensor(SMALL)[None], (3, 10), known):
        assert found.isnan().all()


def test_gravity_stays_where_nothing_determines_it():
    wall = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    down = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    for undetermined in (wall, torch.full_like(wall, torch.nan)):
        torch.testing.assert_close(gravity(undetermined), down)


def test_smoothing_keeps_planes_and_holes_and_evens_out_the_rest():
    depth = torch.tensor(corner())[None]
    depth[0, 3, 4] = 0
    even = smooth(depth, 1.0)
    assert even[0, 3, 4] == 0 and (even > 0).sum() == depth.numel() - 1
    assert (even[0, :6].diff(dim=1)[:, 8:].abs().mean() < depth[0, :6].diff(dim=1)[:, 8:].abs().mean()).item()
    flat = torch.full((2, 24, 32), 2.0, dtype=torch.float64)
    torch.testing.assert_close(smooth(flat, 2.0), flat)
    offsets = torch.arange(-3.0, 4.0, dtype=torch.float64)
    kernel = torch.exp(-(offsets**2) / 2)
    wanted = kernel.sum() / (kernel / depth[0, 12, 9:16]).sum()
    rows = depth[:, 12:13].expand(1, 24, 32)  # constant down the columns
    torch.testing.assert_close(smooth(rows, 1.0)[0, 12, 12], wanted)
    assert not np.array_equal(hha(corner(), SMALL, sigma=1.0), hha(corner(), SMALL))


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "got NaN"), (np.inf, "infinite"), (-1.0, "negative"), (0.0, "zero everywhere"), (2500.0, "often 1000")],
)
def test_depth_that_is_none_is_named(value: float, message: str):
    with pytest.raises(RangeError, match=message):
        hha(np.full((24, 32), value), SMALL)
    both = torch.tensor(np.stack([corner(), np.full((24, 32), value)]))
    with pytest.raises(RangeError, match=message):
        hha_batch(both, torch.tensor(SMALL))


def test_a_few_far_values_are_no_other_unit():
    depth = corner()
    depth[:5] = 300.0
    assert hha(depth, SMALL).shape == (24, 32, 3)


@pytest.mark.parametrize(
    ("place", "value"),
    [((0, 0), 0.0), ((1, 1), -21.0), ((0, 0), np.nan), ((0, 0), np.inf), ((0, 2), 325.6), ((1, 2), -3.0),
     ((0, 2), np.nan), ((2, 2), 0.5), ((0, 1), 3.0), ((2, 0), 1.0)],
)  # fmt: skip
def test_a_camera_that_is_none_is_named(place: tuple[int, int], value: float):
    camera = SMALL.copy()
    camera[place] = value
    with pytest.raises(RangeError, match="within the picture of 32 x 24"):
        hha(corner(), camera)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ShapeError, match="hha_batch"):
        hha(corner()[None], SMALL)
    with pytest.raises(ShapeError, match="batch axis"):
        hha_batch(torch.tensor(corner()), torch.tensor(SMALL))
    with pytest.raises(ShapeError, match="intrinsics"):
        hha(corner(), SMALL[:2])
    with pytest.raises(ShapeError, match="missing"):
        hha(corner(), SMALL, np.zeros((2, 2), dtype=bool))
    for sigma in (-1.0, np.inf, 33.0):
        with pytest.raises(RangeError, match="sigma"):
            hha(corner(), SMALL, sigma=sigma)


def test_8_bit_depth_gets_the_recorded_smoothing():
    values = read_result(ROOT / "results" / "hha_quantised.json")["values"]
    rows = {sigma: values[f"sigma {sigma:g} mean"] for sigma in hha_quantised.SIGMAS}
    assert min(rows, key=lambda sigma: rows[sigma]) == values["best sigma"] == SIGMA_8BIT


@pytest.mark.realdata
@pytest.mark.slow  # nine frames of 480 x 640
def test_the_record_of_8_bits_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    realdata("nyuv2")
    monkeypatch.setattr(hha_quantised, "KEPT", tmp_path)
    assert hha_quantised.main(["--out", str(tmp_path)]) == 0
    made, kept = (read_result(folder / "hha_quantised.json")["values"] for folder in (tmp_path, ROOT / "results"))
    assert made == pytest.approx(kept, abs=0.01)
    assert hha_quantised.main(["--out", str(tmp_path), "--frame", str(tmp_path / "none.png")]) == 2


def test_the_benchmarks_plain_form_agrees_and_the_goal_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    benchmark.main(["--size", "24", "32", "--rounds", "2"])
    assert "processor time; the goal" in capsys.readouterr().out
    monkeypatch.setattr(benchmark, "hha", lambda depth, camera: 255 - hha(depth, camera))
    with pytest.raises(AssertionError, match="grey levels"):
        benchmark.main(["--size", "24", "32", "--rounds", "2"])


@pytest.mark.gpu
def test_a_gpu_gives_the_same_pixels():
    depth, camera = torch.tensor(np.stack([corner(), corner(tilt=0.3)])), torch.tensor(SMALL)
    there = hha_batch(depth.cuda(), camera.cuda()).cpu()
    difference = (there.int() - hha_batch(depth, camera).int()).abs()
    assert difference.max() <= 1 and (difference == 0).double().mean() > 0.999
