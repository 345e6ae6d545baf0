"""Representations against the oracles; extract: batches, sizes, one pass, the cache and what spoils it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from ask_lib.errors import AskError, LayerNotFoundError, RangeError, ShapeError
from ask_lib.methods.descriptors import to_descriptors
from ask_lib.methods.encoding import POOLINGS, VLAD, FisherVector, avg_max_pool, avg_pool, gem, spoc
from ask_lib.methods.scda import mean_mask, scda, scda_flip_plus, selection_mask
from ask_lib.models.backbones import Backbone
from ask_lib.represent import Coded, Maps, Pooled, Representation, SCDAPlus, WithMirror, as_it_is, extract, extraction
from experiments.scda import codes_of, rows_of
from tests import oracles
from tests.conftest import ROOT


def maps(number: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    shapes = {"high": (8, 5, 6), "low": (6, 10, 12), "flip:high": (8, 5, 6), "flip:low": (6, 10, 12)}
    return {name: torch.randn(number, *shape, generator=draw).relu() for name, shape in shapes.items()}


# --- representations ----------------------------------------------------------------------------------------------


def by_hand(high: list, low: list, high_flip: list, low_flip: list) -> dict[str, list[float]]:  # type: ignore[type-arg]
    """Every row of SCDA's tables that needs no fit, of one image, from the oracles."""
    every = [[True] * len(high[0][0]) for _ in high[0]]
    above = oracles.above_mean(oracles.activation(high))
    kept = oracles.kept_descriptors(high, oracles.largest_component(above))
    whole = oracles.kept_descriptors(high, every)
    return {
        "avg": oracles.mean(whole, len(high)),
        "max": oracles.maximum(whole, len(high)),
        "avg&max": oracles.scda(high, every),
        "avg&max, flip": oracles.scda(high, every) + oracles.scda(high_flip, every),
        "SPoC (without cen.)": [len(whole) * value for value in oracles.mean(whole, len(high))],
        "SPoC (with cen.)": oracles.spoc(high),
        "CroW": oracles.crow(high),
        "GeM": oracles.gem(high, 3.0),
        "R-MAC": oracles.rmac(high, 3),
        "avg, selected": oracles.mean(kept, len(high)),
        "max, selected": oracles.maximum(kept, len(high)),
        "SCDA, all above": oracles.scda(high, above),
        "SCDA": oracles.scda(high),
        "SCDA, flip": oracles.scda(high) + oracles.scda(high_flip),
        "SCDA+": oracles.scda_plus(high, low, 0.25),
        "SCDA_flip+": oracles.scda_plus(high, low, 0.25) + oracles.scda_plus(high_flip, low_flip, 0.25),
    }


def test_each_row_is_what_its_name_says():
    given, rows = maps(), rows_of("high", "low", alpha=0.25)
    found = {name: row(given) for name, row in rows.items()}
    for at in range(3):
        expected = by_hand(*(part[at].tolist() for part in given.values()))
        assert set(expected) <= set(rows)
        for name, vector in expected.items():
            torch.testing.assert_close(found[name][at], torch.tensor(vector), rtol=1e-4, atol=1e-5)


def test_each_pooling_has_a_row(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(POOLINGS, "new", to_descriptors)
    pooled = {row.pooling for row in rows_of("high", "low").values() if isinstance(row, Pooled)}
    assert pooled >= set(POOLINGS.values()) - {avg_max_pool}  # which stands there normalised
    assert rows_of("high", "low")["new"] == Pooled(to_descriptors, "high")


def test_with_the_mirror_scda_plus_is_scda_flip_plus():
    given, row = maps(), WithMirror(SCDAPlus("high", "low", 0.7))
    assert torch.equal(row(given), scda_flip_plus(*given.values(), alpha=0.7))
    assert row.layers == ("high", "low", "flip:high", "flip:low")


def test_where_each_one_looks():
    given = maps()
    kept = selection_mask(given["high"]).float()
    plus = SCDAPlus("high", "low")
    for row in (Pooled(scda, "high", selection_mask), plus, WithMirror(plus), codes_of("high")["selectFV"]):
        assert torch.equal(row.weights(given), kept)
    for row in (Pooled(spoc, "high"), codes_of("high")["VLAD"]):
        assert torch.equal(row.weights(given), torch.ones(3, 5, 6))
    assert Pooled(as_it_is, "logits").weights({"logits": torch.zeros(3, 10)}).shape == (3, 1, 1)


def test_codebooks_are_fitted_on_all_or_on_the_kept_descriptors():
    """Fitted by the library, encoded by the oracles: signed square root, then unit length."""
    given = maps(20)
    image = given["high"][0].tolist()
    component = oracles.largest_component(oracles.above_mean(oracles.activation(image)))
    every = [[True] * len(image[0][0]) for _ in image[0]]
    for mask, cells in ((None, every), (selection_mask, component)):
        descriptors = oracles.kept_descriptors(image, cells)
        words, mixture = VLAD(2, seed=3), FisherVector(2, seed=3)
        coded = [Coded(each, "high", mask).fit(given)(given)[0] for each in (words, mixture)]
        gradients = oracles.fisher(
            descriptors, mixture.weights.tolist(), mixture.means.tolist(), mixture.variances.tolist()
        )
        literal = [oracles.vlad(descriptors, words.centroids.tolist()), gradients[1] + gradients[2]]
        for got, vector in zip(coded, literal, strict=True):
            rooted = [math.copysign(math.sqrt(abs(value)), value) for value in vector]
            torch.testing.assert_close(got, torch.tensor(oracles.unit(rooted)), rtol=1e-3, atol=1e-4)


def test_maps_of_several_grids_fit_one_codebook():
    first, second = maps(6), {"high": maps(6, seed=1)["high"][:, :, :3]}
    words = VLAD(2)
    Coded(words, "high").fit(first, second)
    joined = torch.cat([to_descriptors(each["high"]).flatten(0, 1) for each in (first, second)])[None]
    torch.testing.assert_close(words.centroids, VLAD(2).fit(joined).centroids)
    with pytest.raises(RangeError, match="none"):
        Coded(words, "high").fit()
    with pytest.raises(AskError, match="fit"):
        codes_of("high")["VLAD"](first)


# --- extract ------------------------------------------------------------------------------------------------------


class Small(nn.Module):
    """Two layers of maps and a classifier; counts its passes."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace=True))
        self.high = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(inplace=True))
        self.fc = nn.Linear(8, 5)
        self.passes: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.passes.append(len(images))
        logits: torch.Tensor = self.fc(self.high(self.low(images)).mean(dim=(2, 3)))
        return logits


@pytest.fixture
def backbone() -> Backbone:
    return small()


def small() -> Backbone:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Small().eval()
    half = (0.5, 0.5, 0.5)
    return Backbone("small", network, "untrained", half, half, ("low", "high"), None, 5, False)


def pictures(number: int = 7, height: int = 12, width: int = 16, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (number, 3, height, width), generator=generator, dtype=torch.uint8)


ROWS: dict[str, Representation] = {
    "SCDA": Pooled(scda, "high", selection_mask),
    "SCDA_flip+": WithMirror(SCDAPlus("high", "low")),
    "fc": Pooled(as_it_is, "logits"),
}
quiet = partial(extract, progress=False)


def literal(backbone: Backbone, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """One image, with no tap and no batch."""
    network = backbone.network
    ready = (image[None].float() / 255 - 0.5) / 0.5
    with torch.no_grad():
        low, low_flip = network.low(ready), network.low(ready.flip(3))
        high, high_flip = network.high(low.clone()), network.high(low_flip.clone())
        flip_plus = scda_flip_plus(high, low, high_flip, low_flip)
        return {"SCDA": scda(high)[0], "SCDA_flip+": flip_plus[0], "fc": network(ready)[0]}


def test_vectors_are_those_of_each_image_alone_whatever_its_size(backbone: Backbone):
    images = [*pictures(5), *pictures(4, 16, 12, seed=1), *pictures(2, seed=2)]
    images = [images[at] for at in (0, 5, 1, 2, 6, 9, 3, 7, 10, 8, 4)]
    found = quiet(backbone, images, ROWS, batch=3)
    for at, image in enumerate(images):
        for name, vector in literal(backbone, image).items():
            torch.testing.assert_close(found[name][at], vector)


def test_one_pass_for_all_and_one_of_the_mirror_images(backbone: Backbone):
    quiet(backbone, pictures(7), ROWS, batch=4)
    assert backbone.network.passes == [4, 4, 3, 3]
    backbone.network.passes.clear()
    quiet(backbone, pictures(7), {"a": ROWS["SCDA"], "b": Pooled(gem, "low")}, batch=4)
    assert backbone.network.passes == [4, 3]


def test_layers_give_lists_of_maps(backbone: Backbone):
    images = [*pictures(2), *pictures(1, 16, 12)]
    found = quiet(backbone, images, ["high", "flip:low", "logits"])
    assert [tuple(each.shape) for each in found["high"]] == [(8, 6, 8), (8, 6, 8), (8, 8, 6)]
    assert [tuple(each.shape) for each in found["flip:low"]] == [(6, 12, 16), (6, 12, 16), (6, 16, 12)]
    mirrored = quiet(backbone, [each.flip(2) for each in images], ["low"])["low"]
    for got, expected in zip(found["flip:low"], mirrored, strict=True):
        torch.testing.assert_close(got, expected)
    assert quiet(backbone, images, ["logits"])["logits"][0].shape == (5,)


def test_floats_are_normalised_already(backbone: Backbone):
    images = pictures(3)
    ready = (images.float() / 255 - 0.5) / 0.5
    torch.testing.assert_close(quiet(backbone, ready, ROWS)["SCDA"], quiet(backbone, images, ROWS)["SCDA"])


def test_few_images_wait_for_others_of_their_size(backbone: Backbone):
    asked: list[int] = []

    class Many:
        def __len__(self) -> int:
            return 40

        def __getitem__(self, number: int, /) -> torch.Tensor:
            asked.append(number)
            return pictures(1, 8 + number, 8)[0]

    done = [numbers for numbers, _ in extraction._batches(Many(), 2)]
    assert sorted(number for numbers in done for number in numbers) == list(range(40)) == asked
    asked.clear()
    next(extraction._batches(Many(), 2))
    assert len(asked) == 16


def test_the_network_is_left_as_it_was(backbone: Backbone):
    backbone.network.train()
    quiet(backbone, pictures(2), ROWS)
    assert backbone.network.training and all(p.requires_grad for p in backbone.network.parameters())
    assert not backbone.network.high._forward_hooks


def test_the_bar_counts_images(backbone: Backbone, capfd: pytest.CaptureFixture[str]):
    extract(backbone, pictures(5), ROWS, batch=2)
    assert "5/5" in capfd.readouterr().err


def test_errors_say_what_to_do(backbone: Backbone, tmp_path: Path):
    with pytest.raises(RangeError, match="number of images"):
        quiet(backbone, [], ROWS)
    with pytest.raises(RangeError, match="number of representations"):
        quiet(backbone, pictures(1), {})
    with pytest.raises(LayerNotFoundError, match="hihg"):
        quiet(backbone, pictures(1), {"a": Pooled(gem, "hihg")})
    with pytest.raises(ShapeError, match=r"images\[0\].*One picture"):
        quiet(backbone, [pictures(1)], ROWS)
    with pytest.raises(ShapeError, match="gives each image a vector"):
        quiet(backbone, pictures(1), {"a": Pooled(lambda f, m: f, "high")})
    with pytest.raises(ShapeError, match="depends on the images' size"):
        images = [*pictures(1), *pictures(1, 16, 20)]
        quiet(backbone, images, {"a": Pooled(lambda f, m: f.flatten(1), "high")})
    (tmp_path / "file").write_text("")
    with pytest.raises(AskError, match=r"cannot write .*file"):
        quiet(backbone, pictures(1), ROWS, cache=tmp_path / "file" / "folder")


# --- the cache ----------------------------------------------------------------------------------------------------


def test_what_is_kept_is_not_made_again(backbone: Backbone, tmp_path: Path):
    images = [*pictures(5), *pictures(2, 16, 12)]
    first = quiet(backbone, images, ROWS, batch=2, cache=tmp_path)
    backbone.network.passes.clear()
    again = quiet(backbone, images, ROWS, batch=2, cache=tmp_path)
    assert backbone.network.passes == [] and len(list(tmp_path.iterdir())) == 4
    plain = quiet(backbone, images, ROWS, batch=2)
    assert all(torch.equal(first[name], again[name]) and torch.equal(first[name], plain[name]) for name in ROWS)
    maps_twice = [quiet(backbone, images, ["low"], cache=tmp_path)["low"] for _ in range(2)]
    assert all(torch.equal(*pair) for pair in zip(*maps_twice, strict=True))


class StopError(Exception):
    pass


def test_a_run_that_was_stopped_goes_on_with_the_next_batch(backbone: Backbone, tmp_path: Path):
    def until(last: int) -> Iterator[torch.Tensor]:
        yield from pictures(9)[:last]
        raise StopError

    class Interrupted:
        def __init__(self) -> None:
            self.images = until(6)

        def __len__(self) -> int:
            return 9

        def __getitem__(self, number: int, /) -> torch.Tensor:
            return next(self.images)

    with pytest.raises(StopError):
        quiet(backbone, Interrupted(), ROWS, batch=2, cache=tmp_path)
    assert backbone.network.passes == [2] * 6 and not list(tmp_path.glob("*.part"))
    backbone.network.passes.clear()
    found = quiet(backbone, pictures(9), ROWS, batch=2, cache=tmp_path)
    assert backbone.network.passes == [2, 2, 1, 1]
    assert torch.equal(found["fc"], quiet(backbone, pictures(9), ROWS, batch=2)["fc"])


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_a_damaged_part_is_made_again(backbone: Backbone, tmp_path: Path, damage: str):
    first = quiet(backbone, pictures(4), ROWS, batch=2, cache=tmp_path)
    part = sorted(tmp_path.iterdir())[0]
    held = bytearray(part.read_bytes())
    held[-40] ^= 1
    part.write_bytes({"cut": held[:-1], "flipped": held, "empty": b"", "text": b"no part" * 20}[damage])
    backbone.network.passes.clear()
    again = quiet(backbone, pictures(4), ROWS, batch=2, cache=tmp_path)
    assert backbone.network.passes == [2, 2]  # one batch, and its mirror images
    assert all(torch.equal(first[name], again[name]) for name in ROWS)


def own_mask(features: torch.Tensor) -> torch.Tensor:
    return mean_mask(features, 0.5)


class Own:
    """A representation with nothing of ours in it."""

    layers = ("high",)

    def __call__(self, maps: Maps) -> torch.Tensor:
        return maps["high"].mean(dim=(2, 3))

    def weights(self, maps: Maps) -> torch.Tensor:
        return maps["high"].sum(dim=1)

    def pooled(self, features: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        return self({"high": features})


def fitted(seed: int) -> Representation:
    return Coded(VLAD(2), "high").fit(maps(20, seed))


@pytest.mark.parametrize(
    "change",
    [
        lambda b, images, rows: (b, images, {"row": Pooled(partial(gem, p=4.0), "high", own_mask)}),
        lambda b, images, rows: (b, images, {"row": Pooled(partial(gem, p=3.0), "low", own_mask)}),
        lambda b, images, rows: (b, images, {"row": Pooled(partial(gem, p=3.0), "high")}),
        lambda b, images, rows: (b, images, {"row": Pooled(avg_pool, "high", own_mask)}),
        lambda b, images, rows: (b, images, {"other": rows["row"]}),
        lambda b, images, rows: (b, images.clone().index_fill_(0, torch.tensor([1]), 7), rows),
        lambda b, images, rows: (b, images.view(2, 3, 16, 12), rows),
        lambda b, images, rows: (replace(b, mean=(0.4, 0.5, 0.5)), images, rows),
        lambda b, images, rows: (b, images, ["high"]),
    ],
    ids=["option", "layer", "mask", "pooling", "name", "pixel", "shape", "mean", "layers"],
)
def test_whatever_a_part_depends_on_makes_it_anew(backbone, tmp_path, change):  # type: ignore[no-untyped-def]
    rows = {"row": Pooled(partial(gem, p=3.0), "high", own_mask)}
    quiet(backbone, pictures(2), rows, cache=tmp_path)
    backbone.network.passes.clear()
    quiet(backbone, pictures(2), {"row": Pooled(partial(gem, p=3.0), "high", own_mask)}, cache=tmp_path)
    assert backbone.network.passes == []
    other, images, wanted = change(backbone, pictures(2), rows)
    quiet(other, images, wanted, cache=tmp_path)
    assert backbone.network.passes == [2]


def test_weights_fits_and_changed_code_make_parts_anew(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def passes(row: Representation) -> int:
        backbone.network.passes.clear()
        quiet(backbone, pictures(2), {"row": row}, cache=tmp_path / "parts")
        return len(backbone.network.passes)

    assert (passes(Pooled(gem, "high", own_mask)), passes(Pooled(gem, "".join(["hi", "gh"]), own_mask))) == (1, 0)
    assert (passes(Own()), passes(Own())) == (1, 0)
    assert (passes(Pooled(Own().pooled, "high")), passes(Pooled(Own().pooled, "high"))) == (1, 0)
    assert (passes(Pooled(torch.nan_to_num, "logits")), passes(Pooled(torch.nan_to_num, "logits"))) == (1, 0)
    assert (passes(fitted(0)), passes(fitted(0)), passes(fitted(1))) == (1, 0, 1)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine.py").write_text("def pool(features, mask): return features.mean((2, 3))\n")
    import mine  # type: ignore[import-not-found]

    assert (passes(Pooled(mine.pool, "high")), passes(Pooled(mine.pool, "high"))) == (1, 0)
    (tmp_path / "mine.py").write_text("def pool(features, mask): return features.amax((2, 3))\n")
    assert passes(Pooled(mine.pool, "high")) == 1
    monkeypatch.delitem(sys.modules, "mine")
    with torch.no_grad():
        backbone.network.fc.bias += 1e-3
    assert (passes(Own()), passes(Own())) == (1, 0)


class Wider(Small):
    """Another forward, the same children and weights, and the same printed form."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(2 * images)


Wider.__name__ = "Small"  # as str(network) shows it


def test_another_network_of_the_same_weights_makes_parts_anew(backbone: Backbone, tmp_path: Path):
    wider = Wider().eval()
    wider.load_state_dict(backbone.network.state_dict())
    rows = {"row": Pooled(gem, "high")}
    first = quiet(backbone, pictures(2), rows, cache=tmp_path)["row"]
    other = replace(backbone, network=wider)
    assert str(wider) == str(backbone.network)
    second = quiet(other, pictures(2), rows, cache=tmp_path)["row"]
    assert not torch.allclose(first, second) and torch.equal(second, quiet(other, pictures(2), rows)["row"])


def test_precision_is_the_network_s_own(backbone: Backbone, tmp_path: Path):
    plain = quiet(backbone, pictures(2), Pooled(gem, "high"))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quiet(backbone, pictures(2), Pooled(gem, "high"), cache=tmp_path), plain)
    backbone.network.double()
    wide = quiet(backbone, pictures(2), Pooled(gem, "high"), cache=tmp_path)
    assert wide.dtype == torch.float64 and torch.allclose(wide.float(), plain, atol=1e-4)


def test_one_representation_or_one_layer_is_enough(backbone: Backbone):
    assert torch.equal(quiet(backbone, pictures(3), ROWS["SCDA"]), quiet(backbone, pictures(3), ROWS)["SCDA"])
    assert quiet(backbone, pictures(3), "high")["high"][0].shape == (8, 6, 8)


def test_what_cannot_be_told_apart_is_not_kept(backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def inner(features: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        return features.mean(dim=(2, 3))

    def of_a_notebook(features: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        return features.mean(dim=(2, 3))

    of_a_notebook.__module__, of_a_notebook.__qualname__ = "__main__", "of_a_notebook"
    main = ModuleType("__main__")
    vars(main)["of_a_notebook"] = of_a_notebook
    monkeypatch.setitem(sys.modules, "__main__", main)
    for pool in (inner, lambda features, mask: inner(features, mask), of_a_notebook):
        row = {"a": Pooled(pool, "high")}
        assert quiet(backbone, pictures(1), row)["a"].shape == (1, 8)
        with pytest.raises(AskError, match=r"stand in a file(.|\n)*cache nothing"):
            quiet(backbone, pictures(1), row, cache=tmp_path)


def test_another_process_finds_the_same_parts(backbone: Backbone, tmp_path: Path):
    quiet(backbone, pictures(3), ROWS, batch=2, cache=tmp_path)
    code = (
        "import test_represent as t; b = t.small();"  # by the name under which pytest knows this file's classes
        f"t.quiet(b, t.pictures(3), t.ROWS, batch=2, cache={str(tmp_path)!r}); assert not b.network.passes"
    )
    places = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"PYTHONPATH": places}, check=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_the_cpu(backbone: Backbone):
    here = quiet(backbone, pictures(5), ROWS)
    there = quiet(backbone, pictures(5), ROWS, device="cuda")
    assert next(backbone.network.parameters()).is_cuda and not there["fc"].is_cuda
    torch.testing.assert_close(there["fc"], here["fc"], rtol=1e-3, atol=1e-4)
