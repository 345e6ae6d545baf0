"""Chapter 07: the whole model from memory, its loss by hand, and what the text says of the recorded runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ask_lib.methods.dlfs import DLFS
from ask_lib.models.ask import ASK, ASKHead, ASKOptions
from ask_lib.models.two_stream import TwoStream
from ask_lib.results import summarise
from ask_lib.show.record import published_text
from experiments import ask_gpu, ask_rooms, ask_rows
from tests.chapter import in_markdown, runner
from tools.expect import expected_of
from tools.project import ROOT, read_json

NAME = "07_ask"
CHAPTER = ROOT / "notebooks" / f"{NAME}.ipynb"
run = runner(NAME)


def cells(kind: str = "code") -> list[str]:
    return ["".join(cell["source"]) for cell in read_json(CHAPTER)["cells"] if cell["cell_type"] == kind]


def code_with(text: str) -> str:
    (source,) = (cell for cell in cells() if text in cell)
    return source


@pytest.mark.parametrize(("channels", "classes", "k"), [(8, 3, 4), (6, 2, 1)])
def test_the_model_from_memory_is_asks(channels: int, classes: int, k: int):
    source = code_with("class PlainASK")
    body = [line for line in source.splitlines() if line.strip()]
    assert len(body) <= 17
    names: dict[str, Any] = {"torch": torch, "nn": nn, "DLFS": DLFS}
    exec(code_with("def each"), names)
    exec(source, names)
    torch.manual_seed(1)
    streams = [nn.Sequential(nn.Conv2d(3, channels, 3), nn.ReLU()) for _ in "12"]
    ask = ASK(TwoStream(streams[0], streams[1]), ASKHead(channels, classes, ASKOptions(keypoints=(k, 0)))).eval()
    plain = names["PlainASK"](streams, channels, classes, k)
    head: Any = ask.head
    theirs = [head.scales[0].select, *(layers[3] for layers in head.describe), *head.auxiliary, head.classify]
    ours = [plain.select, *plain.describe, *plain.auxiliary, plain.classify]
    for mine, one in zip(ours, theirs, strict=True):
        mine.load_state_dict(one.state_dict())
    pictures = torch.rand(5, 3, 9, 12), torch.rand(5, 3, 9, 12)
    logits, auxiliary = plain(*pictures)
    wanted = ask(*pictures)
    for found, other in zip((logits, *auxiliary), (wanted.logits, *wanted.auxiliary), strict=True):
        assert torch.allclose(found, other, atol=1e-5)


def test_the_loss_by_hand():
    names: dict[str, Any] = {"torch": torch, "nn": nn, "ASKHead": ASKHead, "ASKOptions": ASKOptions}
    exec(code_with("small = ASKHead"), names)
    loss, two = names["loss"], torch.tensor(2.0).log()
    wanted = {"main": two, "auxiliary": 2 * two, "information": 0.5, "correlation": 1 + 0 + 1 / 3}
    for term, value in wanted.items():
        assert abs(getattr(loss, term).item() - float(value)) < 1e-5
    assert abs(loss.total.item() - (3 * float(two) + 0.05 + 0.4 / 3)) < 1e-5


@pytest.mark.parametrize(
    ("term", "wanted"),
    [
        ("main", {"networks", "points", "G", "classifier"}),
        ("auxiliary", {"networks", "G"}),
        ("information", {"networks", "points"}),
        ("correlation", {"networks", "points"}),
    ],
)
def test_each_term_reaches_what_the_text_says(term: str, wanted: set[str]):
    names: dict[str, Any] = {"torch": torch}
    exec(code_with("def reached"), names)
    torch.manual_seed(2)
    streams = [nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()) for _ in "12"]
    ask = ASK(TwoStream(streams[0], streams[1]), ASKHead(8, 2, ASKOptions(keypoints=(2, 0)))).eval()
    head: Any = ask.head
    loss = head.loss(ask(torch.rand(4, 3, 9, 9), torch.rand(4, 3, 9, 9)), torch.tensor([0, 0, 1, 1]))
    parts = {"networks": ask.streams, "points": head.scales[0].select, "G": head.describe, "classifier": head.classify}
    assert {name for name, part in parts.items() if names["reached"](getattr(loss, term), part)} == wanted


def test_global_features_have_no_order_and_local_ones_do():
    torch.manual_seed(3)
    maps = [torch.rand(2, 8, 5, 6) for _ in "12"]
    order = torch.randperm(30)
    mixed = [one.flatten(2)[:, :, order].view(one.shape) for one in maps]
    for keypoints, same in (((0, 0), True), ((4, 0), False)):
        head = ASKHead(8, 3, ASKOptions(keypoints=keypoints)).eval()
        assert torch.allclose(head(*maps).logits, head(*mixed).logits, atol=1e-5) == same


def test_the_chapter_holds_the_equations_of_the_whole():
    text, code = "\n".join(in_markdown(read_json(CHAPTER))), "\n".join(cells())
    held = [n for n in range(1, 17) if f"(eq-ask-{n})" in text]
    assert held == [14, 15, 16] and all(f"[ASK-{n}]" in code for n in held)


def test_the_pages_sizes_and_rates_are_the_experiments():
    setup, how = code_with("amounts = "), code_with("def optimizer")
    counts = ask_rooms.COUNTS
    assert f'"book": ({counts["train"]}, {counts["test"]}, 10)' in setup
    assert f'"gpu": {ask_gpu.SIZES}' in setup
    settings = read_json(RECORD)["settings"]
    chosen = settings["chosen"]
    assert f"groups, {settings['rate']:g}" in how.replace("1e-3", "0.001") and chosen["dropout"] == 0.5
    assert f"weight_decay={chosen['weight_decay']:g}" in how.replace("1e-4", "0.0001")
    assert f"local_width={chosen['local_width']}" in code_with("def train")
    assert settings["epochs"] == ask_rows.EPOCHS == 25


@pytest.mark.slow  # an ASK is trained three times
def test_a_small_run(tmp_path: Path):
    values, text = run(tmp_path, TRAIN=20, TEST=10, EPOCHS=1)
    assert values["train"] == 20 and "agree" in text
    assert values["shuffled_global"] == values["right_global"]


@pytest.mark.slow  # as above
def test_the_gpu_s_run_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ask_gpu, "KEPT", tmp_path)
    monkeypatch.setattr(ask_gpu, "ROWS", {"global + local, full": ({}, {})})
    assert ask_gpu.main(["--tiny", "--device", "cpu", "--out", str(tmp_path)]) == 0
    assert read_json(tmp_path / "ask_gpu.json")["values"]["global + local, full accuracy"] >= 0


RECORD = ROOT / "results" / "ask_rooms.json"
NYU = ROOT / "results" / "ask_nyudv2.json"


def rooms(name: str) -> float:
    return float(read_json(RECORD)["values"][name])


def nyu(name: str) -> float:
    return float(read_json(NYU)["values"][name])


def holds_zero(value: Callable[[str], float], name: str) -> bool:
    """Whether the interval of a difference contains zero, or touches it."""
    return value(f"{name} low") <= 0 <= value(f"{name} high")


def minus(name: str) -> float:
    """``ROW - OTHER low``: an end of the interval over draws of a difference that the record does not list."""
    rows, _, end = name.rpartition(" ")
    one, other = rows.split(" - ")
    runs = read_json(RECORD)["details"]["runs"].values()
    found = summarise([draw[one]["test"] - draw[other]["test"] for draw in runs])[end]
    assert found is not None
    return float(found)


def paper(row: str) -> float:
    return float(published_text(f"ASK/I/{row}/NYUD v2"))


def live(name: str) -> float:
    """The page's own value."""
    guard = expected_of("book")[NAME][name]
    return float(guard["value"]) if "value" in guard else (guard["low"] + guard["high"]) / 2


def lead(row: str, end: str = "") -> float:
    """Of a row's points over shuffled ones, on key objects: the mean, or an end of its interval."""
    return rooms(f"{row} hits over shuffled {end}".strip())


POINTS = "global + local"
LEARNED = [POINTS, *(f"{POINTS}, {losses}" for losses in ("L_C", "L_VI", "full"))]
UNLEARNED = [f"{POINTS}, {points}" for points in ("grid", "random", "strongest")]
ADDED = ("L_aux", "local features", "L_C", "L_VI", "both losses", "second scale")
CLAIMS: dict[str, Callable[[], bool]] = {
    "in the paper points beside global features gain": lambda: (
        paper("RGB-D Global & Local (Full DLFS)") > paper("RGB-D Global (Laux)")
    ),
    "rooms: ASK costs accuracy beside global features": lambda: rooms("gain, local features high") < 0,
    "NYU: no part is a gain distinguishable from zero": lambda: max(nyu(f"gain, {part} low") for part in ADDED) <= 0,
    "NYU: points are not distinguishable from none": lambda: holds_zero(nyu, "gain, local features"),
    "rooms: with L_VI the points' lead is not distinguishable from zero": lambda: (
        lead(LEARNED[2], "low") <= 0 <= lead(LEARNED[2], "high")
        and lead(LEARNED[3], "low") <= 0 <= lead(LEARNED[3], "high")
    ),
    "rooms: by labels alone or with L_C they lead": lambda: min(lead(row, "low") for row in LEARNED[:2]) > 0,
    "rooms: under L_VI they gather": lambda: (
        max(rooms(f"{row} spread high") for row in LEARNED[2:]) < rooms(f"{LEARNED[0]} spread low")
    ),
    "rooms: L_C is not distinguishable from zero": lambda: holds_zero(rooms, "gain, L_C"),
    "NYU: nor is either loss, nor both": lambda: all(
        holds_zero(nyu, f"gain, {loss}") for loss in ("L_C", "L_VI", "both losses")
    ),
    "rooms: the strongest cells lie on key objects most often": lambda: (
        rooms(f"{UNLEARNED[2]} hits low") > max(rooms(f"{row} hits high") for row in (*LEARNED, *UNLEARNED[:2]))
    ),
    "rooms: the strongest cells are better than ASK, the others are not told from it": lambda: (
        holds_zero(rooms, "gain, over grid")
        and holds_zero(rooms, "gain, over random")
        and rooms("gain, over strongest high") < 0
    ),
    "rooms: with L_C alone learned points are not told from the grid or the strongest cells": lambda: (
        holds_zero(minus, f"{LEARNED[1]} - {UNLEARNED[0]}") and holds_zero(minus, f"{LEARNED[1]} - {UNLEARNED[2]}")
    ),
    "rooms: points without L_VI cost too": lambda: max(minus(f"{row} - global, L_aux high") for row in LEARNED[:2]) < 0,
    "NYU: of the three controls only the strongest cells are told from ASK": lambda: (
        [holds_zero(nyu, f"gain, over {points}") for points in ("grid", "random", "strongest")] == [True, True, False]
    ),
    "depth beside colour gains on both": lambda: min(rooms("gain, HHA low"), nyu("gain, HHA low")) > 0,
}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS.keys())
def test_what_the_text_says_in_words_is_so_in_the_recorded_runs(claim: Callable[[], bool]):
    assert claim()


def test_the_recorded_run_is_of_five_other_draws_than_the_page_s():
    run_of = read_json(RECORD)
    assert min(run_of["seeds"]) > 0 and len(run_of["seeds"]) >= 5


LIVE = {"global": "global, L_aux", "labels_alone": "global + local", "ask": "global + local, full"}


@pytest.mark.parametrize("row", LIVE)
def test_the_page_s_own_run_is_one_of_the_draws_that_the_record_expects(row: str):
    wanted = rooms(f"{LIVE[row]} test")
    assert abs(live(f"right_{row}") - wanted) < max(5, 3.5 * rooms(f"{LIVE[row]} test std"))
