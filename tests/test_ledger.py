"""The ledger lists what the papers hold, and a status never says more than there is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest

from ask_lib.results import read_result
from ask_lib.show.record import published_text
from experiments.ask_errata import ERRATA
from tools.project import ROOT, ToolError
from tools.records import PAPERS, check_entry, ledger_lines, outcome, read_ledger, table_lines, with_roles
from tools.results import RESULTS

# Counted in the papers: SCDA Tables 1-5, masks, two layers; CLP Table 1, quantisation; IA Tables 1, 2, Figs. 2, 3,
# warping, re-scoring; PCL Tables 1-7, Figs. 1, 3, 4; ASK Tables I-IV, Figs. 5/10, 7, 8, 9.
COUNT = {"SCDA": 7, "CLP": 2, "IA": 6, "PCL": 10, "ASK": 8}


def test_the_ledger_lists_every_table_and_figure():
    entries = read_ledger()
    assert Counter(entry["paper"] for entry in entries) == COUNT and sum(COUNT.values()) == 33
    assert len({(entry["paper"], entry["item"]) for entry in entries}) == 33


WHOLE = {"paper": "SCDA", "item": "Table 1", "what": "boxes"}


@pytest.mark.parametrize(
    "more",
    [
        {"status": "done"},
        {"status": "same order", "ours": "x", "page": "y.md"},
        {"status": "same order", "result": "no_such_run", "ours": "x", "page": "y.md"},
        {"status": "different", "result": "scda_flowers17", "ours": "x", "page": "y.md"},
        {"status": "same order", "result": "scda_flowers17", "page": "y.md"},
        {"status": "needs the data"},
        {"status": "to come", "note": "x"},
    ],
)
def test_a_status_without_what_it_stands_on_is_refused(more: dict[str, str]):
    with pytest.raises(ToolError, match="ledger, SCDA Table 1"):
        check_entry(WHOLE | more)


def test_an_entry_with_its_result_passes():
    check_entry(WHOLE | {"status": "reduced", "why": "x", "result": "scda_flowers17", "ours": "x", "page": "y.md"})
    check_entry(WHOLE | {"status": "needs the data", "command": "python -m x"})


def test_a_cell_s_numbers_become_roles():
    assert (
        with_roles("a/b top1:.1f ± a/b top1 std:.1f")
        == "{recorded}`a/b top1:.1f`\u00a0±\u00a0{recorded}`a/b top1 std:.1f`"
    )
    assert with_roles("published SCDA/3/SCDA+/CUB top1") == "{published}`SCDA/3/SCDA+/CUB top1`"
    assert with_roles("(a/b:+.1f to a/c:+.1f)") == "({recorded}`a/b:+.1f`\u00a0to\u00a0{recorded}`a/c:+.1f`)"
    assert with_roles("no number") == "no number"
    assert with_roles("published SCDA/3/SPoC (with cen.)/CUB top1") == "{published}`SCDA/3/SPoC (with cen.)/CUB top1`"
    assert with_roles("a/SPoC (with cen.) top1:.1f (old)") == "{recorded}`a/SPoC (with cen.) top1:.1f` (old)"


def test_a_recorded_table_fills_its_templates():
    lines = list(
        table_lines(["| row | ours |", "| {0} | run/{1} top1:.1f |", "", "all cells | avg&max", "SCDA | SCDA"])
    )
    assert lines == [
        "| row | ours |",
        "| --- | ---: |",
        "| all cells | {recorded}`run/avg&max top1:.1f` |",
        "| SCDA | {recorded}`run/SCDA top1:.1f` |",
    ]


def test_a_column_has_one_number_of_decimals():
    content = ["| row | a | b |", "| {0} | run/x:.{1}f | run/y:+.1f |"]
    assert len(list(table_lines([*content, "one | 1", "two | 1"]))) == 4
    with pytest.raises(ToolError, match="the column 'a' mixes numbers with 1 and 2 decimals"):
        list(table_lines([*content, "one | 1", "two | 2"]))


@pytest.mark.parametrize(
    "content", [[], ["| a |", "| {0} |"], ["| a | b |", "| {0} |", "x"], ["| a |", "| {1} |", "x"]]
)
def test_a_broken_recorded_table_says_so(content: list[str]):
    with pytest.raises(ToolError, match="recorded-table"):
        list(table_lines(content))


def test_the_ledger_counts_what_is_shown():
    lines = list(
        ledger_lines("SCDA", [WHOLE | {"status": "to come"}, WHOLE | {"status": "needs the data", "command": "x"}])
    )
    assert "0 of 2 shown." in lines and "| Table\u00a01 | boxes | needs\u00a0the\u00a0data: `x` |" in lines


def test_an_outcome_shows_numbers_only_where_there_are_some():
    assert outcome({"status": "to come"}) == "to\u00a0come"
    shown = {"status": "reduced", "page": "p.md", "why": "few birds", "ours": "a/b:.1f", "theirs": "published x/y"}
    assert outcome(shown) == ("[reduced](p.md): few birds. Ours: {recorded}`a/b:.1f`; the paper's: {published}`x/y`")


def test_the_page_has_each_papers_part():
    page = (ROOT / "book" / "ledger.md").read_text()
    assert re.findall(r"^```\{ledger\} (\w+)$", page, re.MULTILINE) == list(PAPERS)


def pets(name: str) -> float:
    return float(read_result(RESULTS / "scda_pets.json")["values"][name])


SIZES = ("stored", "long384")


def birds(name: str, size: str = "stored") -> float:
    return float(read_result(RESULTS / "scda_cub40.json")["values"][f"{size} {name}"])


def objects(name: str, network: str = "objects_vgg") -> float:
    return float(read_result(RESULTS / "scda_objects.json")["values"][f"{network} {name}"])


def controls(name: str) -> float:
    return float(read_result(RESULTS / "scda_controls.json")["values"][name])


def flowers(name: str) -> float:
    return float(read_result(RESULTS / "scda_flowers17.json")["values"][name])


def held(run: str, name: str, sign: int) -> bool:
    """Whether an interval of a run lies above zero, below it, or around it: sign 1, -1 or 0."""
    values = read_result(RESULTS / f"{run}.json")["values"]
    low, high = float(values[f"{name} low"]), float(values[f"{name} high"])
    return (low > 0) - (high < 0) == sign


def ask(run: str, name: str) -> float:
    return float(read_result(RESULTS / f"ask_{run}.json")["values"][name])


def printed_ask(row: str) -> float:
    return float(published_text(f"ASK/I/{row}/NYUD v2"))


def zero(name: str) -> bool:
    """Whether a difference of the controls is not distinguishable from zero."""
    return controls(f"{name} low") <= 0 <= controls(f"{name} high")


def falling(*rows: str) -> bool:
    """Whether these rows' mAP on birds falls from left to right."""
    found = [birds(f"{row} top1") for row in rows]
    return found == sorted(found, reverse=True)


CAM = "global + local, CAM"
CLAIMS = {
    "Table 1: SCDA's box beats one of its size": lambda: all(
        controls(f"birds {size} box over centre box of its size low") > 0 for size in SIZES
    ),
    "Table 1: the component is worth some twenty points": lambda: all(
        abs(controls(f"birds {size} box over all above the mean mean") - 20) < 1 for size in SIZES
    ),
    "Table 3: the maximum is as good, and the mask helps the average": lambda: (
        all(
            zero(f"birds {size} {name}")
            for size in SIZES
            for name in ("the maximum of all cells over SCDA", "the mask, for the maximum")
        )
        and all(controls(f"birds {size} the mask, for the mean low") > 0 for size in SIZES)
    ),
    "pets: the box is no better than one of its size": lambda: zero("pets box over centre box of its size"),
    "pets: all cells above the mean are right more often than both": lambda: (
        controls("pets box over all above the mean high") < 0
        and controls("pets box all above the mean") > controls("pets box centre box of its size") + 10
    ),
    "flowers: SCDA gains at 384 only": lambda: (
        flowers("crop224 SCDA gain low") < 0 < flowers("crop224 SCDA gain high")
        and flowers("area384 SCDA gain low") > 0
    ),
    "flowers: SCDA is not ahead of all above the mean, nor of GeM": lambda: all(
        flowers(f"{size} SCDA top1") < 0.1 + flowers(f"{size} SCDA, all above top1")
        and flowers(f"{size} SCDA top1") < flowers(f"{size} GeM top1")
        for size in ("crop224", "area224", "own", "area384")
    ),
    "with rooms_vgg a centre mask retrieves better": lambda: objects("over its centre mask high", "rooms_vgg") < 0,
    "flowers: the component costs on the squares": lambda: flowers("crop224 the largest piece high") < 0,
    "Table 1: a centre mask and the average true box have more boxes right": lambda: (
        all(
            birds(f"box over {name} high", size) < 0
            for name in ("centre mask of its area", "average true box")
            for size in SIZES
        )
        and all(birds("box centre mask of the true area", size) > birds("box SCDA", size) for size in SIZES)
    ),
    "Table 1: the component lifts it over all cells above the mean": lambda: all(
        birds("box over all above the mean low", size) > 0 for size in SIZES
    ),
    "Table 3: SCDA gains over all cells and over a centre mask": lambda: all(
        birds(f"{name} low", size) > 0 for name in ("SCDA gain", "over its centre mask") for size in SIZES
    ),
    "Table 3: the maximum alone and GeM find at least as much": lambda: all(
        birds(f"{row} top1", size) >= birds("SCDA top1", size) for row in ("max", "GeM") for size in SIZES
    ),
    "Table 3: component and second layer": lambda: all(
        birds(f"{name} low", size) <= 0 <= birds(f"{name} high", size)
        for name in ("the largest piece", "the second layer")
        for size in SIZES
    ),
    "Table 2: maximum, both, average, VLAD, Fisher vector": lambda: falling(
        "max, selected", "SCDA", "avg, selected", "selectVLAD", "selectFV"
    ),
    "Table 3: SCDA's three rows lead": lambda: falling("SCDA_flip+", "SCDA+", "SCDA", "CroW", "avg&max", "selectVLAD"),
    "Table 3: a box makes fc8 worse": lambda: falling("fc8_im", "fc8_predBBox", "fc8_gtBBox"),
    "Table 4: PCA and SVD cost less than three points": lambda: all(
        birds(f"{kind}, {part} top1", size) > birds("SCDA_flip+ top1", size) - 3
        for kind in ("PCA", "SVD")
        for part in ("an eighth", "a sixteenth")
        for size in SIZES
    ),
    "Table 4: whitening costs": lambda: (
        max(birds("SVD + whitening, an eighth top1"), birds("SVD + whitening, a sixteenth top1"))
        < birds("SCDA_flip+ top1")
    ),
    "Table 5: SCDA and all cells alike": lambda: abs(birds("svm SCDA") - birds("svm avg&max")) < 1,
    "Fig. 6: not distinguishable": lambda: birds("the second layer low") < 0 < birds("the second layer high"),
    "objects_vgg's boxes beat every control's": lambda: all(
        controls(f"objects_vgg box over {name} low") > 0
        for name in ("all above the mean", "centre mask of its area", "centre box of its size", "average true box")
    ),
    "and retrieval gains nothing": lambda: objects("SCDA gain low") < 0 < objects("SCDA gain high"),
    "with rooms_vgg a centre box is as good": lambda: zero("rooms_vgg box over centre box of its size"),
    "and the true mask would gain more": lambda: (
        objects("true mask gain low", "rooms_vgg") > objects("true mask gain high")
    ),
    "SCDA's mask lies worse than a centre mask of its area": lambda: pets("over centre mask of its area high") < 0,
    "and than one of the true area": lambda: pets("over centre mask of the true area high") < 0,
    "ASK, Table I: HHA and few numbers help, a second scale costs, all else is zero": lambda: all(
        held("ask_nyudv2", f"gain, {name}", {"HHA": 1, "few numbers a keypoint": 1, "second scale": -1}.get(name, 0))
        for name in (
            "HHA",
            "L_aux",
            "attention",
            "local features",
            "both losses",
            "both losses, local",
            "L_C",
            "L_VI",
            "few numbers a keypoint",
            "second scale",
        )
    ),
    "ASK: more than half of what lacks is missing with both streams joined": lambda: (
        2 * (printed_ask("RGB-D (HHA Encoding)") - ask("nyudv2", "global"))
        > printed_ask("RGB-D Global & Local (Full DLFS)") - ask("nyudv2", "global + local, full")
    ),
    "ASK, Table IV: every number's interval holds every other's mean": lambda: all(
        ask("nyudv2", f"K = {one} low") < ask("nyudv2", f"K = {two}") < ask("nyudv2", f"K = {one} high")
        for one in (0, 1, 3, 9, 16, 25, 36)
        for two in (0, 1, 3, 9, 16, 25, 36)
    ),
    "ASK: of points that nobody learned only the strongest cells are worse": lambda: all(
        held("ask_nyudv2", f"gain, over {name}", int(name == "strongest"))
        for name in (
            "grid",
            "random",
            "strongest",
            "rgb keypoints",
            "depth keypoints",
            "grid, local",
            "random, local",
            "strongest, local",
        )
    ),
    "ASK: on objects more than area, grid, other frames' points; less than strongest and attention": lambda: all(
        held("ask_points", f"global + local, full, on objects over {name}", sign)
        for sign, names in {
            1: ("area", "grid", "those of another class", "those of the same class"),
            -1: ("strongest", "attention, RGB", "attention, HHA"),
        }.items()
        for name in names
    ),
    "ASK: the losses pull keypoints off objects": lambda: (
        ask("points", "global + local, on objects over those of the same class low")
        > ask("points", "global + local, full, on objects over those of the same class high")
    ),
    "ASK: which objects": lambda: all(
        held("ask_points", f"{name}, global + local, full over area", sign)
        for sign, names in {1: ("bed", "chair", "sofa", "table"), -1: ("door", "picture")}.items()
        for name in names
    ),
    "ASK, Fig. 5: no better than chance, and worse than others' mean; L_C adds less than a point": lambda: (
        all(
            ask("points", f"{name}, AUC low") <= 50 <= ask("points", f"{name}, AUC high")
            for name in ("streams after stage 1", "global + local", "global + local, L_C", "global + local, full")
        )
        and held("ask_points", "streams after stage 1, AUC over others", -1)
        and 0 < ask("points", "AUC, global + local, L_C over global + local") < 1
    ),
    "ASK, Fig. 7: activation favours objects, and losses move it by less than a point": lambda: all(
        held("ask_points", f"global + local{losses}, CAM over object cells", 1)
        and abs(
            ask("points", f"global + local{losses}, CAM on objects") - ask("points", "global + local, CAM on objects")
        )
        < 1
        for losses in ("", ", L_C", ", L_VI", ", full")
    ),
    "ASK, errata: accuracy moves with K channels without groups alone": lambda: all(
        held("ask_rooms_errata", f"{name}, over ours", int(name == "K channels, no groups"))
        for name in (*ERRATA, "global + local, two scales")
    ),
    "ASK, errata: no loss helps accuracy; mended L_C moves keypoints onto objects, printed not, L_VI off": lambda: (
        all(
            not held("ask_rooms_errata", name, 1)
            for loss in ("L_C", "L_VI", "both losses")
            for name in (loss, f"{loss}, {'floor 0.1' if loss == 'L_VI' else 'both signs as printed'}")
        )
        and held("ask_rooms_errata", "L_C, hits", 1)
        and held("ask_rooms_errata", "L_C, both signs as printed, hits", 0)
        and held("ask_rooms_errata", "L_VI, hits", -1)
        and held("ask_rooms_errata", "L_VI, floor 0.1, hits", -1)
    ),
    "ASK, search: a smaller L_VI is best on validation; on test no difference of the three is told from zero": lambda: (
        read_result(RESULTS / "ask_search.json")["details"]["chosen"]["learned"] == "learned, L_VI x 0.01"
        and all(
            held("ask_search", name, 0)
            for name in ("learned over grid", "learned over attention", "grid over attention")
        )
    ),
    "ASK on rooms: L_VI undoes what the class teaches keypoints, and costs": lambda: (
        held("ask_rooms", "global + local hits over shuffled in class", 1)
        and held("ask_rooms", "global + local, L_VI hits over shuffled in class", 0)
        and held("ask_rooms", "gain, L_VI", -1)
        and ask("rooms", "global + local, L_VI spread high") < ask("rooms", "global + local spread low")
    ),
}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS.keys())
def test_what_the_record_says_in_words_is_so(claim: Callable[[], bool]):
    assert claim()
