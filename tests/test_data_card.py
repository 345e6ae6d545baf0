"""The data card's promises: the recorded probes are of today's data, and meet what was asked before they were run."""

from __future__ import annotations

from typing import Any

import pytest

from ask_scenes import objects, rooms
from tools.project import ROOT, read_json

CHANCE = 10.0


def interval(percent: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of ``count`` frames, in percent."""
    share, z = percent / 100, 1.96
    middle = share + z * z / (2 * count)
    reach = z * ((share * (1 - share) + z * z / (4 * count)) / count) ** 0.5
    return 100 * (middle - reach) / (1 + z * z / count), 100 * (middle + reach) / (1 + z * z / count)


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
        assert all(value > CHANCE for value in probes["details"][name]["values"])


def test_the_key_objects_make_the_class(probes: dict[str, Any]):
    values = probes["values"]
    assert values["key_masks_mean"] >= 95
    assert values["rgb+depth_key_objects_removed_mean"] < values["rgb+depth_mean"] / 2
    assert values["rgb+depth_distractors_removed_mean"] > values["rgb+depth_mean"] - 3
    low, high = interval(values["rgb+depth_key_objects_removed_mean"], 3 * values["settings_val"])
    assert low < CHANCE < high


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


def test_which_objects_probes_are_distinguishable_from_chance():
    values = read_json(ROOT / "results" / "objects_probes.json")["values"]
    for name in ("colour_histogram_frame", "thumbnail_object_removed"):
        low, high = interval(values[name], values["settings_val"])
        assert low < values["chance"] < high
    for name in ("box", "network_object_removed_mean"):
        assert interval(values[name], values["settings_val"])[0] > values["chance"]


def test_wilsons_interval_by_hand():
    low, high = interval(50, 100)  # 1 / 2 -+ z / 2 / sqrt(100 + z * z)
    assert low == pytest.approx(40.383, abs=1e-3) and high == pytest.approx(59.617, abs=1e-3)
