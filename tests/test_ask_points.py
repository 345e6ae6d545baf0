"""experiments.ask_points: its pure parts against loops and limits, and all of it on a small folder with labels."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ask_lib.methods.descriptors import to_descriptors
from ask_lib.models import backbones
from ask_lib.models.ask import NonLocal
from ask_lib.results import read_result
from experiments import ask_looks, ask_nyudv2, ask_points, ask_rows, ask_streams
from experiments.ask_looks import PLACES, RANDOM, STREAMS, attention_mass, grad_cam, look_of
from experiments.ask_points import (  # fmt: skip
    BACKGROUND,
    LABELS,
    LEFT_OUT,
    OBJECTS,
    cell_kinds,
    frame_auc,
    interval,
    label_mass,
    mass_on_objects,
    of_other_frames,
    read_labels,
)
from experiments.ask_rows import Regular, Row
from experiments.ask_streams import Scenes
from tests.realdata import realdata
from tests.test_ask_experiment import SCENES, WEIGHTS_FILE, draw_folder, make_small

ROW = "global + local, full"
LOOKED = (ROW, "global + local, strongest", "global, spatial attention")


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- pure parts ---------------------------------------------------------------------------------------------------


def test_a_cell_is_what_most_of_its_pixels_are():
    counts = torch.zeros(1, len(LABELS), 1, 6, dtype=torch.int64)
    for cell, held in enumerate(
        ({4: 3, 0: 2}, {4: 2, 5: 2, 0: 3}, {0: 2, 1: 2, 4: 3}, {39: 5, 4: 3, 0: 3}, {0: 2, 4: 2}, {39: 1, 21: 1})
    ):
        for label, count in held.items():
            counts[0, label, 0, cell] = count
    assert cell_kinds(counts).tolist() == [[[1, 1, 0, -1, 0, -1]]]


def test_auc_is_that_of_a_loop_over_pairs():
    scores, kinds = (drawn(4, 3, 5) * 6).round(), (drawn(4, 3, 5, seed=1) * 3).long() - 1
    for own, kind, found in zip(scores, kinds, frame_auc(scores, kinds), strict=True):
        objects, others = own[kind == 1].tolist(), own[kind == 0].tolist()
        won = sum((a > b) + (a == b) / 2 for a in objects for b in others)
        assert float(found) == pytest.approx(won / (len(objects) * len(others)))


def test_auc_at_its_limits():
    kinds = torch.tensor([[[1, 1, 0, -1]]])
    for scores, wanted in (([3.0, 2, 1, 9], 1), ([1.0, 1, 2, 0], 0), ([5.0, 5, 5, 5], 0.5)):
        assert frame_auc(torch.tensor([[scores]]), kinds).tolist() == [wanted]
    alone = frame_auc(torch.rand(2, 1, 2), torch.tensor([[[1, 1]], [[0, -1]]]))
    assert alone.isnan().all()
    scores, more = drawn(5, 4, 4), (drawn(5, 4, 4, seed=1) * 2).long()
    assert torch.allclose(frame_auc(scores, more), frame_auc(scores.exp() * 7, more))  # ranks alone count
    assert torch.allclose(frame_auc(scores, more), 1 - frame_auc(-scores, more))


def test_mass_on_objects_is_that_of_a_loop():
    mass, kinds = drawn(3, 2, 4), (drawn(3, 2, 4, seed=1) * 3).long() - 1
    for own, kind, found in zip(mass, kinds, mass_on_objects(mass, kinds), strict=True):
        held = {
            each: sum(m for m, k in zip(own.flatten(), kind.flatten(), strict=True) if k == each) for each in (0, 1)
        }
        assert float(found) == pytest.approx(float(held[1] / (held[0] + held[1])))
    assert mass_on_objects(torch.zeros(1, 1, 2), torch.tensor([[[0, 1]]])).isnan().all()
    assert mass_on_objects(torch.ones(1, 1, 4), torch.tensor([[[0, 1, 1, -1]]])) == pytest.approx(2 / 3)


def test_a_cells_mass_is_spread_over_its_pixels():
    counts = (drawn(2, 3, 2, 2) * 9).long() + 1
    mass = drawn(2, 2, 2, seed=1)
    shares = label_mass(mass, counts)
    for n in range(2):
        for label in range(3):
            parts = [mass[n, y, x] * counts[n, label, y, x] / counts[n, :, y, x].sum() for y in (0, 1) for x in (0, 1)]
            assert float(shares[n, label]) == pytest.approx(float(sum(parts) / mass[n].sum()))
    area = label_mass(counts.sum(dim=1), counts)
    assert torch.allclose(area, counts.sum(dim=(2, 3)) / counts.sum(dim=(1, 2, 3))[:, None].double())


def test_other_frames_leave_out_the_own():
    maps = drawn(4, 2, 3)
    assert torch.allclose(of_other_frames(maps)[1], maps[[0, 2, 3]].mean(dim=0))


def test_grad_cam_is_that_of_a_loop():
    maps, gradient = drawn(2, 5, 3, 4) - 0.5, drawn(2, 5, 3, 4, seed=1) - 0.5
    for own, slope, found in zip(maps, gradient, grad_cam(maps, gradient), strict=True):
        cam = torch.stack([sum(slope[c].mean() * own[c] for c in range(5))]).clamp(min=0)[0]
        assert torch.allclose(found, cam / cam.sum())
    one = grad_cam(maps[:, :1].abs(), gradient[:, :1].abs())
    assert torch.allclose(one, maps[:, 0].abs() / maps[:, 0].abs().sum(dim=(1, 2), keepdim=True))
    assert (grad_cam(maps[:, :1].abs(), -gradient[:, :1].abs()) == 0).all()


def test_attention_mass_is_what_the_block_takes():
    torch.manual_seed(0)
    block, maps = NonLocal(6).double(), drawn(2, 6, 3, 4)
    torch.nn.init.normal_(block.out.weight)
    mass = attention_mass(block, maps)
    assert mass.shape == (2, 3, 4) and torch.allclose(mass.sum(dim=(1, 2)), torch.ones(2, dtype=torch.float64))
    value = to_descriptors(block.embed(maps)).chunk(3, dim=2)[2]  # (B, hw, C/2)
    mean = block.out((mass.flatten(1)[:, :, None] * value).sum(dim=1))  # mean over cells of what each is given
    assert torch.allclose((block(maps) - maps).mean(dim=(2, 3)), mean)


def test_a_frame_without_a_value_does_not_count():
    found = interval(torch.tensor([1.0, float("nan"), 1.0]))
    assert (found.low, found.mean, found.high) == (1, 1, 1)


def test_the_labels_are_forty_and_each_is_of_one_kind():
    assert len(LABELS) == len(set(LABELS)) == 40
    assert sorted(BACKGROUND + LEFT_OUT + OBJECTS) == list(range(40)) and (*BACKGROUND, *LEFT_OUT) == (0, 1, 21, 39)
    assert set(ask_points.LOOKED) <= set(ask_nyudv2.ROWS)


# --- a look -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOOKED)
def test_a_look_does_not_depend_on_who_else_is_there(name: str):
    scenes = Scenes({}, torch.tensor([0, 1, 1]), torch.arange(3), torch.arange(3), torch.arange(3), ("a", "b"), "f")
    network = backbones.load_backbone("squeezenet1_1", "none").network
    streams = {m: ask_streams.Stream(network, 2) for m in ask_streams.MODALITIES}
    inputs = {
        f"{m}{w}": drawn(3, 512, 7, 7, seed=len(m)).half() for m in ask_streams.MODALITIES for w in ("", " mirrored")
    }
    how, row = Regular(dropout=0.5, weight_decay=0.0, local_width=16), ask_nyudv2.ROWS[name]
    task = ask_rows.row_task(scenes, inputs, streams, row, how, 0)
    whole = look_of(task, row)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ask_looks, "AT_ONCE", 1)
        single = look_of(task, row)
    wanted = {"correlation", "cam"} | ({"attention rgb", "attention hha"} if "attention" in name else {"keypoints"})
    assert set(whole) == wanted
    for each in wanted:
        assert np.allclose(whole[each], single[each], atol=1e-5)
    assert np.shape(whole["correlation"]) == np.shape(whole["cam"]) == (3, 7, 7)


def test_a_cam_is_of_the_true_class():
    torch.manual_seed(0)
    scenes = Scenes({}, torch.tensor([0, 1]), torch.arange(2), torch.arange(2), torch.arange(2), ("a", "b"), "f")
    network = backbones.load_backbone("squeezenet1_1", "none").network
    streams = {m: ask_streams.Stream(network, 2) for m in ask_streams.MODALITIES}
    inputs = {f"{m}{w}": drawn(2, 512, 7, 7).half() for m in ask_streams.MODALITIES for w in ("", " mirrored")}
    row = Row(keypoints=(0, 0))
    task = ask_rows.row_task(scenes, inputs, streams, row, Regular(dropout=0.0, weight_decay=0, local_width=0), 0)
    with torch.no_grad():
        rgb, hha = task.network.streams(*(drawn(2, 512, 7, 7).half().float(),) * 2)
    cams = []
    for frame, label in enumerate((0, 1)):
        one = rgb[frame : frame + 1].clone().requires_grad_()
        task.network.eval().head(one, hha[frame : frame + 1]).logits[0, label].backward()
        cams.append(grad_cam(one.detach(), one.grad)[0])
    assert np.allclose(look_of(task, row)["cam"], torch.stack(cams), atol=1e-5)


# --- all of it ----------------------------------------------------------------------------------------------------


def draw_labels(root: Path) -> None:
    """The left is wall, the right a chair or a sofa, wider with each frame; below there is what is left out."""
    (root / "label40").mkdir()
    for path in sorted((root / "rgb").iterdir()):
        levels = np.zeros((48, 64), dtype=np.uint8)
        levels[:, 40 - int(path.stem) :] = 4 + int(path.stem) % 2
        levels[44:] = 39
        Image.fromarray(levels).save(root / "label40" / f"{path.stem}.png")


def commands(place: Path, *rows: str) -> tuple[int, int]:
    """Train some rows, if any, then look at all; returns both statuses."""
    where = ["--root", place / "nyuv2", "--cache", place / "cache", "--out", place / "out", "--weights", WEIGHTS_FILE]
    words = [*map(str, where), "--threads", str(torch.get_num_threads()), "--seeds", "0"]
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        for module in (ask_nyudv2, ask_looks):
            patch.setattr(module, "KEPT", place / "kept")
        for module in (ask_streams, ask_rows):
            patch.setattr(module, "EPOCHS", 1)
        kept = {"ROWS": {name: ask_nyudv2_rows[name] for name in LOOKED}, "GRID": ask_nyudv2.GRID[:1]}
        for name, value in (kept | {"RATES": ask_nyudv2.RATES[:1]}).items():
            patch.setattr(ask_nyudv2, name, value)
        patch.setattr(ask_nyudv2, "logic_digest", logic_digest)
        patch.setattr(ask_nyudv2, "probe", lambda *_: {})  # nothing here needs it
        for name in ("POINTS", "CORRELATION", "CAM"):
            patch.setattr(ask_points, name, (ROW,))
        patch.setattr(ask_points, "LOOKED", LOOKED)
        patch.setattr(ask_points, "GAINS", ((STREAMS, PLACES), (PLACES, RANDOM)))
        trained = ask_nyudv2.main(["rows", *words, "--rows", *rows]) if rows else 0
        return trained, ask_points.main(words)


logic_digest = cache(ask_streams.logic_digest)
ask_nyudv2_rows = dict(ask_nyudv2.ROWS)  # as they are before a test makes them fewer


@pytest.mark.slow
def test_from_runs_to_the_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    draw_folder(tmp_path / "nyuv2")
    assert commands(tmp_path) == (0, 2) and "label40" in capsys.readouterr().err
    draw_labels(tmp_path / "nyuv2")
    assert commands(tmp_path) == (0, 2) and "ask_nyudv2 choose" in capsys.readouterr().err
    assert commands(tmp_path, *LOOKED) == (0, 0)
    content, looks = read_result(tmp_path / "out" / "ask_points.json"), tmp_path / "kept" / "ask_points"
    (looks / f"{ROW} 0.json").unlink()
    capsys.readouterr()
    assert commands(tmp_path) == (0, 0)
    assert [line for line in capsys.readouterr().out.splitlines() if "begun" in line] == [f"{ROW} 0: begun"]
    assert without_time(read_result(tmp_path / "out" / "ask_points.json")) == without_time(content)
    (weights,) = (tmp_path / "kept" / "ask_nyudv2").glob(f"{LOOKED[2]} 0-*/best.pt")
    weights.unlink()
    assert commands(tmp_path) == (0, 2)
    assert "rows --rows 'global, spatial attention' --seeds 0" in capsys.readouterr().err

    values = content["values"]
    labels = read_labels(tmp_path / "nyuv2")
    known = labels != 39
    area = ((labels == 4) | (labels == 5)).sum(dim=(1, 2)) / known.sum(dim=(1, 2))
    assert values["area, on objects"] == pytest.approx(100 * float(area.mean()), abs=1e-3)
    part = json.loads((looks / f"{ROW} 0.json").read_text())["part"]
    assert values[f"{ROW}, on objects"] == pytest.approx(100 * on_objects(part["keypoints"], labels), abs=1e-3)
    over = values[f"{ROW}, on objects"] - values["area, on objects"]
    assert values[f"{ROW}, on objects over area"] == pytest.approx(over, abs=1e-3)
    assert set(content["details"]["labels"]) == set(LABELS) - {"otherprop"}
    by_label = content["details"]["labels"]
    assert by_label["chair"][ROW] + by_label["sofa"][ROW] == pytest.approx(values[f"{ROW}, on objects"], abs=1e-3)
    assert values[f"chair, {ROW}"] == by_label["chair"][ROW]
    assert [values[f"chair, {ROW} over area{end}"] for end in ("", " low", " high")] == by_label["chair"][
        f"{ROW} over area"
    ]
    each = [values[f"{ROW}, on objects, {name}"] for name in SCENES]  # of as many frames each
    assert sum(each) / len(each) == pytest.approx(values[f"{ROW}, on objects"], abs=1e-3)
    for name in (RANDOM, PLACES, STREAMS, ROW):
        assert values[f"{name}, AUC low"] <= values[f"{name}, AUC"] <= values[f"{name}, AUC high"]
    for name in ("grid", "strongest", "attention, RGB", "attention, HHA", f"{ROW} of another class"):
        assert 0 < values[f"{name}, on objects"] <= 100
    assert not content["complete"] and f"{ROW}, CAM over object cells high" in values


def on_objects(keypoints: list[Any], labels: torch.Tensor) -> float:
    """Of keypoints on maps of 4 x 4 cells, the mean over frames of the share on a chair or a sofa."""
    shares = []
    for points, own in zip(keypoints, labels, strict=True):
        under = [int(own[int((y + 0.5) * 12), int((x + 0.5) * 16)]) for x, y in points]
        under = [each for each in under if each != 39]
        shares.append(sum(each in (4, 5) for each in under) / len(under))
    return sum(shares) / len(shares)


def without_time(content: dict[str, Any]) -> dict[str, Any]:
    return {key: content[key] for key in ("values", "details", "settings", "data")}


# --- the real labels ----------------------------------------------------------------------------------------------


@pytest.mark.realdata
def test_the_labels_have_the_official_names_and_stand_where_they_should():
    from scipy.io import loadmat

    names = [str(each[0]) for each in loadmat(realdata("nyuv2_metadata", "classMapping40.mat"))["className"][0]]
    assert [name.replace("refridg", "refrig") for name in names] == list(LABELS)
    heights: dict[int, list[float]] = {}
    for path in sorted(realdata("nyuv2", "label40").iterdir())[::60]:
        levels = np.asarray(Image.open(path))
        for number in BACKGROUND:
            heights.setdefault(number, []).extend(np.nonzero(levels == number)[0].tolist())
    wall, floor, ceiling = (np.mean(heights[number]) for number in BACKGROUND)
    assert ceiling < wall < floor  # rows, from above
