"""Chapter 06: the method from memory, the toy, and what the text shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from ask_lib.methods.dlfs import DLFS, soft_argmax, strongest_cells
from ask_lib.results import summarise
from ask_lib.show.record import published_text
from experiments import dlfs_rooms
from tests.chapter import in_markdown, runner
from tools.expect import expected_of
from tools.project import ROOT, read_json

CHAPTER = ROOT / "notebooks" / "06_dlfs.ipynb"
run = runner("06_dlfs")


def cells(kind: str = "code") -> list[str]:
    return ["".join(cell["source"]) for cell in read_json(CHAPTER)["cells"] if cell["cell_type"] == kind]


def test_the_method_from_memory_is_whole_in_fifteen_lines():
    (source,) = (cell for cell in cells() if "def plain_dlfs" in cell)
    body = [line for line in source.splitlines() if line.strip() and not line.strip().startswith('"""')]
    assert len(body) <= 15
    names: dict[str, object] = {"torch": torch, "functional": functional}
    exec(source, names)
    draw = torch.Generator().manual_seed(3)
    for size, k in (((7, 10), 3), ((5, 5), 4), ((2, 9), 1)):
        rgb, depth = (torch.rand(6, 8, *size, generator=draw) for _ in range(2))
        select = DLFS(8, k)
        assert select.conv is not None
        plain = names["plain_dlfs"](rgb, depth, select.conv.weight.flatten(1), k)  # type: ignore[operator]
        for ours, theirs in zip(select(rgb, depth)[1:], plain, strict=True):
            assert torch.allclose(ours, theirs, atol=1e-4)


def test_the_chapter_holds_the_equations_of_dlfs_but_the_gradients():
    text, code = "\n".join(in_markdown(read_json(CHAPTER))), "\n".join(cells())
    held = [n for n in range(1, 17) if f"(eq-ask-{n})" in text]
    assert held == [1, 2, 3, 4, 5, 9, 10, 11, 12, 13]
    assert all(f"[ASK-{n}]" in code for n in held)


def test_the_pages_sizes_are_the_experiments():
    (setup,) = (cell for cell in cells() if "amounts = " in cell)
    assert f'"book": ({dlfs_rooms.TRAIN}, {dlfs_rooms.TEST})' in setup


@pytest.mark.slow
def test_labels_alone_bring_a_point_to_the_object():
    found = dlfs_rooms.measure_toy(1, 1.0, 0.0)
    assert found["near"] < 0.2 and found["middle"] > 3 and found["accuracy"] > 95


def test_the_toy_s_strongest_cell_is_the_object():
    maps, _, place = dlfs_rooms.toy(256, torch.Generator().manual_seed(4))
    assert torch.equal(strongest_cells(maps, 1)[:, 0].long(), place)


def test_two_equal_peaks_put_the_point_between_them():
    row = torch.tensor([0.0, 50, 0, 0, 0, 0, 0, 50, 0]).view(1, 1, 1, 9)
    assert torch.allclose(soft_argmax(row), torch.tensor([[[4.0, 0.0]]]))


@pytest.mark.parametrize("temperature", [1e4, 1e-4])
def test_neither_a_hot_nor_a_cold_softmax_leaves_a_gradient(temperature: float):
    flat = torch.randn(1, 1, 9, 9, generator=torch.Generator().manual_seed(2)).requires_grad_()
    soft_argmax(flat, temperature).sum().backward()  # type: ignore[no-untyped-call]
    assert flat.grad is not None and flat.grad.abs().max() < 1e-4


def test_both_networks_began_with_the_same_random_weights():
    folder = ROOT / "ask_lib" / "models" / "packaged"
    cards = [read_json(folder / f"{name}.json") for name in dlfs_rooms.NETWORKS]
    assert cards[0]["seed"] == cards[1]["seed"] and cards[0]["parameters"] == cards[1]["parameters"]


@pytest.mark.parametrize("profile", ["smoke", "book"])
def test_wrong_channels_keep_a_part_of_the_gap(profile: str):
    of = {
        name: expected_of(profile)["06_dlfs"][name]["value"]
        for name in ("agree_on", "agree_off", "wrong_on", "wrong_off")
    }
    assert 0 < of["wrong_on"] - of["wrong_off"] < of["agree_on"] - of["agree_off"]


def test_hits_are_counted_at_the_cells_centres():
    key = torch.zeros(1, 12, 16, dtype=torch.bool)
    key[0, 6:9, 4:8] = True  # of 4 x 4 cells: row 2, column 1
    here, beside = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[2.0, 2.0]]])
    assert dlfs_rooms.on_objects(here, key, (4, 4)) == 100
    assert dlfs_rooms.on_objects(beside, key, (4, 4)) == 0


def test_values_are_means_over_seeds_and_differences():
    def part(learned: float) -> dict[str, dict[str, float]]:
        row = {"accuracy": 50.0, "hits": 20.0, "shuffled": 15.0, "shuffled in class": 18.0, "spread": 1.0}
        rows = {name: dict(row) for name in (*dlfs_rooms.ROWS, *(f"tuned {name}" for name in dlfs_rooms.AGAIN))}
        return rows | {"learned": {**row, "accuracy": learned}, "agreement": {"on": 0.5, "off": 0.25}}

    values = dlfs_rooms.values_of([part(52), part(54)])
    assert values["learned accuracy"] == 53 and values["learned over grid"] == 3
    assert values["learned hits over shuffled"] == 5 and values["learned over grid std"] > 1
    assert values["agreement on over off"] == 0.25


@pytest.mark.slow
def test_a_small_run(tmp_path: Path):
    values, text = run(tmp_path, TRAIN=20, TEST=10, WHOLE=1)
    assert values["train"] == 20 and "agree" in text


RECORD = ROOT / "results" / "dlfs_rooms.json"


def recorded(name: str) -> float:
    return float(read_json(RECORD)["values"][name])


def is_zero(name: str) -> bool:
    """Whether the interval of a difference contains zero, or touches it."""
    return recorded(f"{name} low") <= 0 <= recorded(f"{name} high")


def interval(ones: list[float], others: list[float]) -> tuple[float, float]:
    """Of the difference over draws."""
    over = summarise([one - two for one, two in zip(ones, others, strict=True)])
    assert over["low"] is not None and over["high"] is not None
    return over["low"], over["high"]


def holds_zero(ends: tuple[float, float]) -> bool:
    return ends[0] <= 0 <= ends[1]


def lead(row: str) -> list[float]:
    """Of a row's points over shuffled ones, on key objects."""
    return [one - two for one, two in zip(draws(row, "hits"), draws(row, "shuffled"), strict=True)]


def draws(row: str, name: str) -> list[float]:
    return [one[row][name] for one in read_json(RECORD)["details"]["runs"].values()]


def paper(row: str) -> float:
    return float(published_text(f"ASK/I/{row}/NYUD v2"))


FOUND = 0.5  # cells: nearer to the object than to any other
CLAIMS: dict[str, Callable[[], bool]] = {
    "the modalities agree on key objects": lambda: recorded("agreement on over off low") > 0,
    "beside global features points cost": lambda: (
        recorded("global + learned over global high") < 0
        and recorded("global + learned, both losses over global high") < 0
    ),
    "L_VI costs points alone": lambda: recorded("learned, L_VI over learned high") < 0,
    "beside them a grid's change is not distinguishable from zero": lambda: holds_zero(
        interval(draws("global + grid", "accuracy"), draws("global", "accuracy"))
    ),
    "L_C's change is not distinguishable from zero": lambda: is_zero("learned, L_C over learned"),
    "L_VI draws the points together": lambda: recorded("learned, L_VI spread high") < recorded("learned spread low"),
    "and its lead over shuffled points is not distinguishable from zero": lambda: holds_zero(
        interval(draws("learned, L_VI", "hits"), draws("learned, L_VI", "shuffled"))
    ),
    "L_C brings more points to key objects": lambda: (
        interval(draws("learned, L_C", "hits"), draws("learned", "hits"))[0] > 0
    ),
    "and their lead over shuffled ones grows": lambda: interval(lead("learned, L_C"), lead("learned"))[0] > 0,
    "L_C's points are not told from the strongest cells": lambda: holds_zero(
        interval(draws("learned, L_C", "hits"), draws("strongest", "hits"))
    ),
    "learned points lie on key objects more often than shuffled ones": lambda: (
        recorded("learned hits over shuffled low") > 0 and recorded("learned hits over grid low") > 0
    ),
    "also than those of a room of the same class": lambda: recorded("learned hits over shuffled in class low") > 0,
    "the strongest cells lie on them more often still": lambda: recorded("learned hits over strongest high") < 0,
    "with the last block trained they are not told from the grid": lambda: is_zero("tuned learned over tuned grid"),
    "verdict: they beat random places": lambda: recorded("learned over random low") > 0,
    "verdict: so do a grid and the strongest cells": lambda: (
        min(interval(draws(row, "accuracy"), draws("random", "accuracy"))[0] for row in ("grid", "strongest")) > 0
    ),
    "verdict: not distinguishable from the grid": lambda: is_zero("learned over grid"),
    "verdict: not distinguishable from the strongest cells": lambda: is_zero("learned over strongest"),
    "verdict: not distinguishable from global features": lambda: is_zero("learned over global"),
    "toy: in most draws both kinds are found, but not in all": lambda: (
        max(draws("toy temperature 1", "near")) < FOUND
        and len(draws("toy temperature 1", "far")) / 2 < sum(far < FOUND for far in draws("toy temperature 1", "far"))
        and max(draws("toy temperature 1", "far")) > FOUND
    ),
    "toy, L_VI: in most draws only one kind is found": lambda: (
        max(draws("toy L_VI", "near")) < FOUND
        and len(draws("toy L_VI", "far")) / 2 < sum(far > FOUND for far in draws("toy L_VI", "far"))
    ),
    "toy, temperature 0.3: some draws end with one kind": lambda: (
        max(draws("toy temperature 0.3", "near")) < FOUND < max(draws("toy temperature 0.3", "far"))
    ),
    "toy, temperature 3: a draw can end with neither": lambda: max(draws("toy temperature 3", "near")) > FOUND,
    "in the paper points beside global features gain, and each loss helps points alone": lambda: (
        paper("RGB-D Global & Local (Full DLFS)") > paper("RGB-D Global (Laux)")
        and min(paper("RGB-D Local (LC)"), paper("RGB-D Local (LVI)")) > paper("RGB-D Local")
    ),
}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS.keys())
def test_what_the_text_says_in_words_is_so_in_the_recorded_runs(claim: Callable[[], bool]):
    assert claim()


def test_the_recorded_run_is_of_five_other_draws_than_the_page_s():
    run_of = read_json(RECORD)
    assert min(run_of["seeds"]) > 5 and len(run_of["seeds"]) >= 5  # 0 to 5 were seen while the toy was designed


LIVE = ("global", "learned", "grid", "strongest", "global + learned")


@pytest.mark.parametrize("row", LIVE)
def test_the_page_s_own_run_is_one_of_the_draws_that_the_record_expects(row: str):
    guard = expected_of("book")["06_dlfs"][f"right_{row.replace(' + ', '_')}"]  # its middle is the run's own value
    live = (guard["low"] + guard["high"]) / 2
    assert abs(live - recorded(f"{row} accuracy")) < 3.5 * recorded(f"{row} accuracy std")
