"""experiments.ask_errata: the paper's forms against loops written as it prints them, and the table end to end."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from ask_lib.errors import ChoiceError
from ask_lib.methods.dlfs import DLFS, sample, spatial_softmax
from ask_lib.models.ask import ASKHead, ASKOptions
from ask_lib.results import read_result
from ask_lib.train.config import TrainConfig
from experiments import ask_errata, ask_nyudv2, ask_rows, ask_streams
from experiments.ask_errata import DIFFERENCES, ERRATA, OURS, ROWS, SHARED
from experiments.ask_printed import (
    FORMS,
    PrintedDLFS,
    PrintedHead,
    PrintedRow,
    printed_config,
    printed_modal_loss,
    printed_triplet_loss,
    sample_normalised,
)
from experiments.ask_rows import Regular
from tests import oracles
from tests.test_ask_search import command, make_chosen


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(found: torch.Tensor, expected: Any) -> None:
    wanted = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(found.detach(), wanted, rtol=1e-11, atol=1e-11)


# --- the forms ----------------------------------------------------------------------------------------------------


def printed_sample(channel: oracles.Map, x: float, y: float, u_at: list[float], v_at: list[float]) -> float:
    """[ASK-5] as printed: u is the row."""
    return math.fsum(
        value * max(0.0, 1 - abs(x - v_at[v])) * max(0.0, 1 - abs(y - u_at[u]))
        for u, row in enumerate(channel)
        for v, value in enumerate(row)
    )


def test_ask_4_and_5_with_the_axes_as_printed_equal_the_loops():
    """Tags: [ASK-4] and [ASK-5]."""
    torch.manual_seed(0)
    select, size = DLFS(3, 2).double(), range(5)
    rgb, depth = draw(2, 3, 5, 5), draw(2, 3, 5, 5, seed=1)
    found, ours = PrintedDLFS(select, "axes")(rgb, depth), select(rgb, depth)
    for b, image in enumerate(spatial_softmax(found.maps).tolist()):
        for k, h in enumerate(image):
            x = math.fsum(u * h[u][v] for u in size for v in size)  # [ASK-4]
            y = math.fsum(v * h[u][v] for u in size for v in size)
            close(found.keypoints[b, k], [x, y])
            for maps, local in ((rgb, found.rgb), (depth, found.depth)):
                cells = list(map(float, size))
                close(local[b, k], [printed_sample(f, x, y, cells, cells) for f in maps[b].tolist()])
    assert not torch.allclose(found.rgb, ours.rgb) and torch.equal(found.keypoints, ours.keypoints.flip(2))


@pytest.mark.parametrize("size", [(4, 7), (7, 7), (2, 3)])
def test_ask_5_with_coordinates_as_printed_equals_the_loops(size: tuple[int, int]):
    """Tag: [ASK-5]."""
    height, width = size
    features = draw(2, 3, height, width)
    keypoints = draw(2, 4, 2, seed=1).abs() * torch.tensor([width, height]) / 2
    found = sample_normalised(features, keypoints)
    u_at, v_at = ([2 * i / (n - 1) - 1 for i in range(n)] for n in size)
    for b, points in enumerate(keypoints.tolist()):
        for k, (x, y) in enumerate(points):
            at = 2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1
            close(found[b, k], [printed_sample(f, *at, u_at, v_at) for f in features[b].tolist()])


def test_ask_5_as_printed_sums_much_of_the_map():
    """Tag: [ASK-5]. In the middle the kernel holds nine cells' worth of 7 x 7; on a map of 3 x 3 it is ours."""
    close(sample_normalised(torch.ones(1, 1, 7, 7).double(), torch.full((1, 1, 2), 3.0).double()), [[[9.0]]])
    features, keypoints = draw(1, 2, 3, 3), draw(1, 5, 2, seed=1).abs()
    close(sample_normalised(features, keypoints), sample(features, keypoints))


def test_ask_12_as_printed_equals_the_loop():
    """Tag: [ASK-12]."""
    rgb, depth = draw(2, 3, 4), draw(2, 3, 4, seed=1)
    pairs = zip(rgb.flatten(0, 1).tolist(), depth.flatten(0, 1).tolist(), strict=True)
    close(printed_modal_loss(rgb, depth), math.fsum(oracles.cosine(a, b) for a, b in pairs) / 6)


@pytest.mark.parametrize("margin", [0.0, 0.3, 1.0])
def test_ask_13_as_printed_equals_the_loop(margin: float):
    """Tag: [ASK-13]. With one image of another class there is nothing to draw."""
    features, labels = draw(5, 3, 4), [0, 0, 1, 0, 0]
    rho = [[oracles.point_correlation(a, b, False) for b in features.tolist()] for a in features.tolist()]
    pairs = [(a, p) for a in range(5) for p in range(5) if a != p and labels[a] == labels[p]]
    expected = math.fsum(max(rho[a][p] - rho[a][2] + margin, 0.0) for a, p in pairs) / len(pairs)
    close(printed_triplet_loss(features, torch.tensor(labels), margin), expected)


def test_ask_13_as_printed_draws_from_all_other_classes():
    """Tag: [ASK-13]. The mean over many draws is that over all triplets of a pair."""
    features, labels = draw(5, 1, 2), torch.tensor([0, 0, 1, 2, 2])
    generator = torch.Generator().manual_seed(0)
    found = torch.stack([printed_triplet_loss(features, labels, 2.0, generator) for _ in range(2000)]).mean()
    rho = [[oracles.point_correlation(a, b, False) for b in features.tolist()] for a in features.tolist()]
    wanted = [
        math.fsum(rho[a][p] - rho[a][n] + 2 for n in others) / 3
        for a, p, others in ((0, 1, (2, 3, 4)), (1, 0, (2, 3, 4)), (3, 4, (0, 1, 2)), (4, 3, (0, 1, 2)))
    ]
    assert float(found) == pytest.approx(sum(wanted) / 4, abs=0.03)


@pytest.mark.parametrize("labels", [[3, 3, 3], [0, 1, 2]], ids=["one class", "no pair"])
def test_ask_13_as_printed_is_zero_without_triplets(labels: list[int]):
    """Tag: [ASK-13]."""
    features = draw(3, 2, 4).requires_grad_()
    loss = printed_triplet_loss(features, torch.tensor(labels), 1.0)
    loss.backward()
    assert loss == 0 and features.grad is not None and not features.grad.any()


def test_the_signs_as_printed_push_apart_what_ours_pull_together():
    """Tags: [ASK-12] and [ASK-13]."""
    torch.manual_seed(0)
    head, labels = ASKHead(8, 3, ASKOptions(keypoints=(4, 0))).double().eval(), torch.tensor([0, 0, 1, 2])
    outputs = head(draw(4, 8, 5, 5).abs(), draw(4, 8, 5, 5, seed=1).abs())
    (selection,) = outputs.selections
    losses = {}
    for forms in ((), ("sign of 12",), ("sign of 13",), ("sign of 12", "sign of 13")):
        generator = torch.Generator().manual_seed(0)
        printed = PrintedHead(head, 3, forms).double().eval()
        losses[forms] = float(printed.loss(outputs, labels, generator=generator).correlation.detach())
    generator = torch.Generator().manual_seed(0)
    assert losses[()] == pytest.approx(float(head.loss(outputs, labels, generator=generator).correlation.detach()))
    modal = float(printed_modal_loss(selection.rgb, selection.depth).detach())
    assert losses["sign of 12",] - losses[()] == pytest.approx(2 * modal - 1)
    assert losses["sign of 13",] != pytest.approx(losses[()], abs=1e-3)
    assert losses["sign of 12", "sign of 13"] - losses["sign of 13",] == pytest.approx(2 * modal - 1)


@pytest.mark.parametrize("form", FORMS)
def test_a_printed_head_starts_from_the_weights_of_ours(form: str):
    torch.manual_seed(0)
    head = ASKHead(8, 3, ASKOptions(keypoints=(4, 0))).eval()
    rgb, depth = (draw(2, 8, 5, 5, seed=seed).float() for seed in (0, 1))
    ours, printed = head(rgb, depth), PrintedHead(head, 3, (form,)).eval()(rgb, depth)
    assert torch.equal(ours.selections[0].maps, printed.selections[0].maps)
    assert torch.equal(ours.auxiliary[0], printed.auxiliary[0])
    assert torch.equal(ours.logits, printed.logits) == form.startswith("sign")


def test_the_rate_steps_as_often_as_the_papers():
    config = TrainConfig(lr=1e-3, epochs=25)
    assert printed_config(config, PrintedRow()) == config
    for factor in (0.1, 0.9):
        schedule = printed_config(config, PrintedRow(factor=factor)).schedule
        found = [schedule(epoch, 1, 25) for epoch in range(25)]
        assert [found[epoch] for epoch in (0, 6, 7, 14, 24)] == pytest.approx([1, 1, factor, factor**2, factor**3])


def test_a_form_that_is_none_is_refused():
    with pytest.raises(ChoiceError, match="sign of 14"):
        PrintedRow(forms=("sign of 14",))


# --- the table ----------------------------------------------------------------------------------------------------


def test_the_table_has_every_erratum_once():
    assert set(ROWS) & set(ask_nyudv2.ROWS) == set(SHARED)  # no part replaces another's
    assert all(ROWS[name] == ask_nyudv2.ROWS[name] for name in SHARED)
    assert len({str(row) for row in ROWS.values()}) == len(ROWS) == 20
    assert {row for pair in DIFFERENCES.values() for row in pair} == set(ROWS)
    assert not set(DIFFERENCES) & set(ROWS)
    assert {form for row in ROWS.values() if isinstance(row, PrintedRow) for form in row.forms} == set(FORMS)


@pytest.mark.parametrize("name", ERRATA)
def test_each_erratum_has_a_gradient_for_what_it_trains(name: str, monkeypatch: pytest.MonkeyPatch):
    """On maps of 7 x 7; both streams are one here."""
    scenes = ask_streams.Scenes(
        {}, torch.tensor([0, 1, 0, 1]), torch.arange(4), torch.arange(2), torch.arange(2), ("a", "b"), "frames"
    )
    network = ask_streams.load_backbone("squeezenet1_1", "none").network
    streams = {m: ask_streams.Stream(network, 2) for m in ask_streams.MODALITIES}
    maps = torch.rand(4, 512, 7, 7, generator=torch.Generator().manual_seed(0)).half()
    inputs = {f"{m}{which}": maps for m in ask_streams.MODALITIES for which in ("", " mirrored")}
    study = object.__new__(ask_errata.ErrataStudy)
    study.scenes, study.rows = scenes, ROWS
    monkeypatch.setattr(study, "_maps_of", lambda _: inputs, raising=False)
    monkeypatch.setattr(study, "_trained", lambda _: streams, raising=False)
    task = study.task(name, Regular(dropout=0.5, weight_decay=0.0, local_width=16), 0)
    batch = next(iter(task.train.batches([torch.arange(4)], torch.device("cpu"))))
    terms = task.step(task.network.train(), batch, torch.Generator().manual_seed(0))
    torch.stack([task.weights[each] * term for each, term in terms.items()]).sum().backward()
    graded = [p for p, each in task.network.named_parameters() if each.grad is not None and each.grad.abs().sum() > 0]
    for part in ("streams.rgb", "head.classify", "conv", "information"):
        assert any(part in p for p in graded)
    assert isinstance(task.network.head, PrintedHead) == bool(getattr(ROWS[name], "forms", ()))
    logits = task.predict(task.network.eval(), dict.fromkeys(ask_streams.MODALITIES, maps))
    assert logits.shape == (4, 2) and logits.isfinite().all()


FEW = (OURS, "axes as printed", "both signs as printed", "rate x 0.1")


def recorded(place: Path) -> dict[str, Any]:
    return read_result(place / "out" / "ask_errata.json")


def errata(stage: str, place: Path) -> int:
    return command(ask_errata.main, [stage, "--seeds", "0", "--rows", *FEW], place)


@pytest.mark.slow
def test_the_record_holds_every_run_and_those_of_the_other_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    make_chosen(tmp_path)
    assert command(ask_nyudv2.main, ["rows", "--seeds", "0", "--rows", OURS], tmp_path) == 0
    capsys.readouterr()

    def stop(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # all epochs of the first erratum are done, its end is not
        patch.setattr(ask_rows, "_placed", stop)
        assert errata("rows", tmp_path) == 130
    told = capsys.readouterr().out
    assert f"{OURS} 0: kept" in told and "axes as printed 0: begun" in told
    assert errata("save", tmp_path) == 0 and set(recorded(tmp_path)["rows"]) == {OURS}
    assert errata("rows", tmp_path) == 0
    content = recorded(tmp_path)
    assert set(content["rows"]) == set(FEW) and not content["complete"]
    assert {f"{name}, over ours low" for name in FEW[1:]} <= set(content["values"])
    assert content["details"]["what"]["axes as printed"]["forms"] == ["axes"]
    capsys.readouterr()
    assert errata("rows", tmp_path) == 0 and recorded(tmp_path)["values"] == content["values"]
    assert "begun" not in capsys.readouterr().out  # all is kept


def test_a_printed_row_is_made_again_when_its_forms_change(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ask_nyudv2.Study, "_row_key", lambda *_: "as ours")
    study = object.__new__(ask_errata.ErrataStudy)
    study.scenes, study.rows = ask_streams.Scenes({}, *torch.zeros(4, 1), ("a",), "frames"), ROWS
    how = Regular(dropout=0.5, weight_decay=0.0, local_width=16)
    keys = {name: study._row_key(name, how, 0) for name in ROWS}
    assert {name for name, key in keys.items() if key == "as ours"} == {
        name for name, row in ROWS.items() if not isinstance(row, PrintedRow)
    }
    assert keys["rate x 0.1"] != keys["rate x 0.9"] != keys["axes as printed"]
    monkeypatch.setattr(ask_errata, "logic_digest", lambda _: "other code")
    assert study._row_key("axes as printed", how, 0) != keys["axes as printed"]
