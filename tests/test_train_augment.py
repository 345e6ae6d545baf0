import math

import pytest
import torch

from ask_lib.errors import ChoiceError, RangeError, ShapeError
from ask_lib.train.augment import Augment, Draw, InputSpec, mix, prepare, prepare_augmented, uniform

SPECS = {"rgb": InputSpec(mean=(0.5,), std=(0.25,)), "depth": InputSpec(kind="map")}
PLAIN = {"rgb": InputSpec(), "depth": InputSpec(kind="map")}
EVERYTHING = Augment(flip=0.5, shift=0.2, crop=(0.3, 1.0), aspect=4 / 3, cutout=0.3, erase=0.5, brightness=0.3)


def pictures(count=24, size=(18, 25)):
    generator = torch.Generator().manual_seed(0)
    rgb = torch.randint(0, 256, (count, 3, *size), generator=generator, dtype=torch.uint8)
    return {"rgb": rgb, "depth": rgb[:, :1].float() / 255}, torch.arange(count)


def augmented(augment, inputs, index, specs=PLAIN, epoch=3):
    specs = {name: spec for name, spec in specs.items() if name in inputs}
    return prepare_augmented(inputs, specs, augment, 7, epoch, index)


@pytest.mark.parametrize("augment", [EVERYTHING, Augment(flip=0.5, shift=0.1), Augment(erase=1.0, cutout=0.5)])
def test_a_sample_is_treated_alike_in_any_batch_and_order(augment):
    inputs, index = pictures()
    whole = augmented(augment, inputs, index, SPECS)
    order = torch.randperm(len(index), generator=torch.Generator().manual_seed(1))
    shuffled = augmented(augment, {name: x[order] for name, x in inputs.items()}, index[order], SPECS)
    for name in inputs:
        assert torch.equal(shuffled[name], whole[name][order])
        for piece in (slice(0, 1), slice(5, 12), slice(23, 24)):
            part = augmented(augment, {key: x[piece] for key, x in inputs.items()}, index[piece], SPECS)
            assert torch.equal(part[name], whole[name][piece])


def test_contrast_is_alike_up_to_rounding():
    inputs, index = pictures()
    augment = Augment(contrast=0.4)
    whole = augmented(augment, inputs, index)["rgb"]
    one = augmented(augment, {"rgb": inputs["rgb"][4:5]}, index[4:5])["rgb"]
    torch.testing.assert_close(one, whole[4:5], rtol=0, atol=1e-6)


def test_epochs_seeds_and_draws_differ():
    index = torch.arange(1000)
    base = uniform(0, 0, index, "flip")
    for other in (uniform(1, 0, index, "flip"), uniform(0, 1, index, "flip"), uniform(0, 0, index, "shift x")):
        assert abs(torch.corrcoef(torch.stack([base, other]))[0, 1]) < 0.1
        assert (base == other).sum() < 3


def test_draws_are_uniform_and_neighbours_independent():
    draws = uniform(3, 5, torch.arange(100_000), "x").double()
    assert draws.min() >= 0 and draws.max() < 1
    counts = torch.histc(draws, 50, 0, 1)
    assert ((counts - 2000) ** 2 / 2000).sum() < 90  # chi-squared, 49 degrees: 0.9996 quantile
    for lag in (1, 2, 64):
        assert abs(torch.corrcoef(torch.stack([draws[:-lag], draws[lag:]]))[0, 1]) < 0.015


def test_draws_are_the_same_on_every_machine():
    assert [mix(0), mix(1, 2, 3), mix(0, 0)] == [33350994, 1328893328, 2685500393]
    assert (uniform(1, 2, torch.tensor([0, 1, 999_999]), "flip") * 2**24).long().tolist() == [
        9585393,
        8168846,
        14488461,
    ]


def test_nothing_asked_is_preparation_alone():
    inputs, index = pictures()
    for name, x in augmented(Augment(), inputs, index, SPECS).items():
        assert torch.equal(x, prepare(inputs, SPECS)[name])
    expected = (inputs["rgb"].float() / 255 - 0.5) / 0.25
    torch.testing.assert_close(prepare(inputs, SPECS)["rgb"], expected)


@pytest.mark.parametrize(
    "augment",
    [Augment(flip=0.5), Augment(shift=0.3), Augment(flip=0.5, shift=0.3), Augment(cutout=0.4), Augment(erase=1)],
)
def test_colour_and_depth_get_one_geometry(augment):
    inputs, index = pictures()
    out = augmented(augment, inputs, index)
    assert torch.equal(out["rgb"][:, :1], out["depth"])  # depth was made as the first channel
    assert not torch.equal(out["depth"], inputs["depth"])


def test_flip_and_shift_against_loops():
    inputs, index = pictures()
    x = inputs["depth"]
    out = augmented(Augment(flip=0.5, shift=0.3), {"depth": x}, index)["depth"]
    flip, dy, dx = (uniform(7, 3, index, name) for name in ("flip", "shift y", "shift x"))
    height, width = x.shape[2:]
    up, across = int(0.3 * height), int(0.3 * width)
    for b in range(len(index)):
        move_y = math.floor(-up + (2 * up + 1) * float(dy[b]))
        move_x = math.floor(-across + (2 * across + 1) * float(dx[b]))
        for row in range(height):
            for column in range(width):
                source = min(max(column + move_x, 0), width - 1)
                source = width - 1 - source if flip[b] < 0.5 else source
                assert out[b, 0, row, column] == x[b, 0, min(max(row + move_y, 0), height - 1), source]
    assert 4 < (flip < 0.5).sum() < 20


def test_crop_of_the_whole_is_the_whole_and_maps_take_the_nearest():
    inputs, index = pictures()
    out = augmented(Augment(crop=(0.999999, 1.0)), inputs, index)
    torch.testing.assert_close(out["rgb"], inputs["rgb"] / 255, atol=1e-4, rtol=0)
    holes = (inputs["depth"] > 0.5).float() * 3  # 0 = missing
    out = augmented(Augment(crop=(0.2, 0.6), aspect=1.5), {"depth": holes}, index)["depth"]
    assert set(out.unique().tolist()) == {0.0, 3.0}  # nothing in between


def test_crop_follows_the_coordinates():
    grid = torch.linspace(0, 1, 64).repeat(200, 1, 64, 1)  # value = x
    out = augmented(Augment(crop=(0.25, 0.25)), {"rgb": grid}, torch.arange(200))["rgb"]
    width = out[:, 0, 0, -1] - out[:, 0, 0, 0]
    torch.testing.assert_close(width, torch.full_like(width, 0.5), atol=0.02, rtol=0)  # a quarter of the area
    assert out.amin() < 0.05 and out.amax() > 0.95  # crops reach both borders
    torch.testing.assert_close(out[:, :, 0], out[:, :, -1])  # every row alike


def test_cutout_is_a_square_around_any_pixel():
    ones = torch.ones(400, 1, 20, 30)
    out = augmented(Augment(cutout=0.5), {"depth": ones}, torch.arange(400))["depth"][:, 0]
    area = (out == 0).sum(dim=(1, 2))
    assert area.max() == 100 and area.min() < 60  # ten wide; cut at the border
    assert ((out == 0).float().mean(0) > 0).all()


def test_erasing_keeps_to_its_area_ratio_and_probability():
    count, size = 4000, (60, 80)
    ones = torch.ones(count, 1, *size)
    out = augmented(Augment(erase=0.5), {"depth": ones}, torch.arange(count))["depth"][:, 0] == 0
    erased = out.any(dim=(1, 2))
    assert abs(erased.float().mean() - 0.5) < 0.03
    share = out[erased].float().mean(dim=(1, 2))
    assert share.min() > 0.017 and share.max() < 0.34 and abs(share.mean() - 0.175) < 0.01
    tall, wide = out[erased].any(2).sum(1), out[erased].any(1).sum(1)
    assert torch.equal(tall * wide, out[erased].sum(dim=(1, 2)))  # rectangles
    uncut = tall < size[0]
    assert (tall[uncut] / wide[uncut]).max() < 1 / 0.3 + 0.5


def test_two_views_of_a_picture_are_drawn_independently():
    inputs, index = pictures(400)
    specs = {
        "rgb": InputSpec(),
        "depth": InputSpec(kind="map"),
        "again": InputSpec(source="rgb"),
        "other": InputSpec(source="rgb", view=1),
        "other depth": InputSpec(kind="map", source="depth", view=1),
    }
    out = prepare_augmented(inputs, specs, Augment(flip=0.5, shift=0.2, erase=0.5), 7, 3, index)
    assert torch.equal(out["rgb"], augmented(Augment(flip=0.5, shift=0.2, erase=0.5), inputs, index)["rgb"])
    assert torch.equal(out["rgb"], out["again"])  # one view, one draw
    assert torch.equal(out["other"][:, :1], out["other depth"])  # aligned in the other view too
    same = (out["rgb"] == out["other"]).flatten(1).all(1).float().mean()
    assert same < 0.03
    plain = prepare(inputs, specs)
    assert torch.equal(plain["rgb"], plain["other"])  # in evaluation a view is the picture
    flips = [Draw(7, 3, index, view)("flip") < 0.5 for view in (0, 1)]
    assert 0.4 < (flips[0] == flips[1]).float().mean() < 0.6


def test_a_source_that_is_not_stored_is_refused():
    inputs, index = pictures()
    with pytest.raises(ChoiceError, match="Did you mean 'depth'"):
        prepare_augmented(inputs, {"a": InputSpec(source="dept")}, Augment(flip=0.5), 7, 3, index)


def test_brightness_and_contrast_change_pictures_only():
    inputs, index = pictures()
    out = augmented(Augment(brightness=0.5, contrast=0.5), inputs, index)
    assert torch.equal(out["depth"], inputs["depth"])
    assert out["rgb"].min() >= 0 and out["rgb"].max() <= 1
    dim = {"rgb": torch.full((50, 3, 4, 4), 0.4)}
    value = augmented(Augment(brightness=0.5), dim, torch.arange(50))["rgb"][:, 0, 0, 0]
    factor = 1 + (-0.5 + uniform(7, 3, torch.arange(50), "brightness"))
    torch.testing.assert_close(value, (0.4 * factor).clamp(0, 1))


def test_other_inputs_pass():
    inputs, index = pictures()
    inputs["pose"] = torch.rand(24, 4)
    assert augmented(EVERYTHING, inputs, index)["pose"] is inputs["pose"]


def test_double_precision_stays():
    inputs, index = pictures()
    out = prepare_augmented(inputs, SPECS, EVERYTHING, 0, 0, index, torch.float64)
    assert {x.dtype for x in out.values()} == {torch.float64}


def test_bad_settings_are_refused():
    with pytest.raises(RangeError, match=r"augment.flip"):
        Augment(flip=1.5)
    with pytest.raises(RangeError, match=r"augment.crop\[1\]"):
        Augment(crop=(0.5, 0.2))
    with pytest.raises(ChoiceError, match="map"):
        InputSpec(kind="mapp")
    with pytest.raises(ShapeError, match=r"depth\[:, None\]"):
        augmented(Augment(flip=1), {"depth": torch.zeros(2, 5, 5)}, torch.arange(2))
    with pytest.raises(ShapeError, match="share one size"):
        augmented(Augment(flip=1), {"rgb": torch.zeros(2, 3, 5, 5), "depth": torch.zeros(2, 1, 6, 5)}, torch.arange(2))
