"""Lesson 05's experiment on real frames: its surfaces have the names it says, its draws no frame twice."""

from __future__ import annotations

import numpy as np
import pytest

from ask_lib.data.nyudv2 import NYUDv2Folder
from ask_lib.data.rgbd import read_levels
from ask_lib.methods.hha import hha
from experiments import hha_nyudv2 as experiment
from tests.realdata import realdata


@pytest.mark.realdata
def test_the_surfaces_are_those_of_the_official_names():
    from scipy.io import loadmat

    names = [str(name[0]) for name in loadmat(realdata("nyuv2_metadata", "classMapping40.mat"))["className"].ravel()]
    kinds = dict(zip(names, experiment.surfaces_of(np.arange(40)), strict=True))
    wanted = {"floor": 0, "floor mat": 0, "wall": 1, "ceiling": 2, "table": 3, "desk": 3, "counter": 3}
    assert kinds == dict.fromkeys(names, 4) | wanted
    assert names[experiment.UNLABELLED] == "otherprop"


@pytest.mark.realdata
def test_no_frame_is_drawn_twice_and_each_is_of_its_split():
    frames = NYUDv2Folder(realdata("nyuv2"))
    for split in ("train", "test"):
        draws = [experiment.chosen(frames, split, draw) for draw in experiment.DRAWS]
        assert [len(draw) for draw in draws] == [experiment.FRAMES] * 6
        rows = [row for draw in draws for row in draw]
        assert len(set(rows)) == len(rows) and set(rows) <= set(frames.rows(split).tolist())


@pytest.mark.realdata
def test_the_pictures_are_those_of_the_frame():
    frames = NYUDv2Folder(realdata("nyuv2"))
    pictures = experiment.pictures_of(frames, 0, (240, 320))
    assert set(pictures) == set(experiment.KNOWN)
    assert all(each.shape == (240, 320, 3) and each.dtype == np.uint8 for each in pictures.values())
    whole = hha(frames.depth(0), frames.camera(0), sigma=frames.sigma)
    assert np.array_equal(pictures["HHA"], whole[::2, ::2])
    assert np.array_equal(pictures["height"][..., 0], whole[::2, ::2, 1])
    levels = read_levels(frames.sources[0])[::2, ::2]
    assert np.array_equal(pictures["depth"][..., 0], np.clip(2 * levels.astype(int) + 1, 0, 255))


def test_a_level_floor_and_an_upright_wall_read_zero():
    levels = np.zeros((20, 20, 3), dtype=np.uint8)
    levels[:10, :, 2], levels[10:, :, 1:] = 128, (7, 41)
    kinds = np.repeat([1, 0], 10)[:, None] * np.ones((1, 20))
    assert experiment.readings(levels, kinds) == {"floor reads": 7, "floor off": 3, "wall off": 0}
    assert experiment.readings(levels[:2], kinds[:2]) == {}
