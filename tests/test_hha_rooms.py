"""The experiment of lesson 05: gravity given is gravity found where both are the same, and the truth is the truth."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from ask_lib.data.rooms import Rooms
from ask_lib.methods.hha import hha_batch
from ask_scenes.rooms import RoomOptions
from experiments import hha_rooms as experiment


@pytest.fixture(scope="module")
def rooms() -> Rooms:
    return Rooms("val", 2, 0, RoomOptions(size=(60, 80), exact=True), progress=False)


def test_with_the_direction_that_it_finds_it_is_the_librarys(rooms: Rooms):
    cameras = experiment.cameras_of(rooms)
    ours = experiment.hha_along(rooms.depth.double(), cameras, experiment.found_down(rooms))
    theirs = hha_batch(rooms.depth, cameras)
    assert (ours == theirs).double().mean() > 0.999
    assert (ours.int() - theirs.int()).abs().max() <= 1


def test_the_floor_of_the_rooms_lies_level_along_the_true_direction(rooms: Rooms):
    down, normal = experiment.true_down(rooms), rooms.normal
    assert normal is not None
    cosine = -(down[:, :, None, None] * normal.double() / 127).sum(dim=1)
    assert (cosine[rooms.instance == 4] > 0.98).all()
    kinds = experiment.surfaces_of(rooms)
    assert (kinds[rooms.instance == 4] == 0).all() and (kinds[rooms.instance == 5] == 2).all()
    assert (cosine[kinds == 3] > 0.89).all() and (rooms.instance[kinds == 1] < 4).all()


def test_every_input_has_three_channels(rooms: Rooms):
    pictures = experiment.pictures_of(rooms)
    assert set(pictures) == set(experiment.INPUTS)
    assert all(each.shape == (2, 3, 60, 80) and each.dtype == torch.uint8 for each in pictures.values())
    assert torch.equal(pictures["height"][:, 2], pictures["HHA"][:, 1])
    row = pictures["depth, row, column"][:, 1]
    assert (row[:, 0] == 0).all() and (row[:, -1] == 255).all() and (row[:, :, :1] == row).all()


def test_pixels_are_those_with_depth(rooms: Rooms, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(experiment, "PIXELS", 50)
    frame, row, column = experiment.some_pixels(rooms, 0)
    assert len(frame) == 100 and (rooms.depth[frame, row, column] > 0).all()
    assert len(set(zip(frame.tolist(), row.tolist(), column.tolist(), strict=True))) == 100


def test_a_tree_that_sees_the_answer_names_every_surface(rooms: Rooms):
    kinds = (50 * experiment.surfaces_of(rooms))[:, None].expand(-1, 3, -1, -1).to(torch.uint8)
    found = experiment.pixel_accuracy({"train": rooms, "again": rooms}, {"train": kinds, "again": kinds}, 0)
    assert found == {"again": 100.0}


def test_angles_between_directions():
    ahead, aside = torch.tensor([[0.0, 0, 1]]), torch.tensor([[0.0, math.sin(0.1), math.cos(0.1)]])
    assert abs(float(experiment.degrees_between(ahead, aside)) - math.degrees(0.1)) < 1e-3


def test_folds_and_draws_are_summed_up():
    folds = {name: [50.0, 52.0, 54.0, 56.0, 58.0] for name in experiment.INPUTS} | {"HHA": [60.0] * 5}
    values = experiment.scene_values(folds)
    assert values["scene depth"] == 54 and values["scene over depth"] == 6
    assert values["scene over depth low"] < 6 < values["scene over depth high"]


@pytest.mark.slow  # draws forty rooms
def test_the_whole_record_on_a_few_rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, number in {"FRAMES": 5, "STEEP_FRAMES": 5, "PIXELS": 40}.items():
        monkeypatch.setattr(experiment, name, number)
    found = experiment.measure(1, tmp_path)
    assert {f"pixel {row} tilted" for row in experiment.INPUTS} <= set(found)
    assert found["gravity median steep"] > 45 > found["gravity median held alike"]
