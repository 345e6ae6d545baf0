"""The data card's promises: the recorded probes are of today's data, and meet what was asked before they were run."""

from __future__ import annotations

from typing import Any

import pytest

from ask_scenes import objects, rooms
from tools.project import ROOT, read_json

CHANCE = 10.0


@pytest.fixture(scope="module")
def probes() -> dict[str, Any]:
    record: dict[str, Any] = read_json(ROOT / "results" / "rooms_probes.json")
    return record


def test_the_record_is_whole_and_of_these_rooms(probes: dict[str, Any]):
    assert probes["complete"] and probes["data"] == {"rooms": rooms.VERSION} and probes["settings"]["split"] == "val"
    assert len(probes["seeds"]) == 3 and "dirty" not in probes["commit"]
    assert all(len(entry["values"]) == 3 for entry in probes["details"].values())


def test_colour_and_size_alone_say_little(probes: dict[str, Any]):
    for name in ("colour_histogram", "mean_depth"):
        assert probes["values"][f"{name}_mean"] < 2 * CHANCE


def test_the_key_objects_make_the_class(probes: dict[str, Any]):
    values = probes["values"]
    assert values["key_masks_mean"] >= 95
    assert values["rgb+depth_key_objects_removed_mean"] < values["rgb+depth_mean"] / 2
    assert values["rgb+depth_distractors_removed_mean"] > values["rgb+depth_mean"] - 3


def test_colour_and_depth_each_carry_something_and_both_carry_more(probes: dict[str, Any]):
    numbers = probes["details"]
    for name in ("rgb", "depth"):
        assert all(3 * CHANCE < value < 90 for value in numbers[name]["values"])
        better = [both > one for both, one in zip(numbers["rgb+depth"]["values"], numbers[name]["values"], strict=True)]
        assert all(better)


def test_the_objects_record_is_of_these_objects():
    record = read_json(ROOT / "results" / "objects_probes.json")
    assert record["complete"] and record["data"] == {"objects": objects.VERSION}
    values = record["values"]
    assert values["colour_histogram_frame"] < 2 * values["chance"] and values["network_mean"] > 10 * values["chance"]
    assert values["network_object_removed_mean"] < 2 * values["chance"]
