"""Retrieval's scores against loops, by hand, and against scikit-learn."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from ask_lib.errors import ChoiceError, RangeError, ShapeError
from ask_lib.evaluate.retrieval import (
    average_precision,
    cosine_similarity,
    evaluate_retrieval,
    hits,
    precision_at,
    rank,
)
from tests import oracles


def vectors(number: int, length: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(number, length, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def labels(number: int, classes: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randint(classes, (number,), generator=torch.Generator().manual_seed(seed))


def hit_of(*rows: str) -> torch.Tensor:
    return torch.tensor([[c == "1" for c in row] for row in rows])


def test_cosine_similarity_equals_the_loop():
    queries, gallery = vectors(4), vectors(6, seed=1)
    expected = [[oracles.cosine(q, g) for g in gallery.tolist()] for q in queries.tolist()]
    torch.testing.assert_close(cosine_similarity(queries, gallery), torch.tensor(expected, dtype=torch.float64))
    assert cosine_similarity(torch.zeros(1, 3), torch.ones(2, 3)).tolist() == [[0.0, 0.0]]
    assert cosine_similarity(queries.half(), gallery.half()).dtype == torch.float32


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_rank_equals_the_loop(queries: int, gallery: int, length: int, chunk: int, seed: int):
    q, g = vectors(queries, length, seed), vectors(gallery, length, seed + 1)
    if length == 1:  # a cosine of plus or minus one: ties everywhere
        q, g = q.sign(), g.sign()
    assert rank(q, g, chunk=chunk).tolist() == [oracles.ranking(v, g.tolist()) for v in q.tolist()]
    alone = [oracles.ranking(v, q.tolist(), leave_out=i) for i, v in enumerate(q.tolist())]
    assert rank(q, chunk=chunk).tolist() == alone
    assert rank(q, g, top=3, chunk=chunk).tolist() == [r[:3] for r in rank(q, g).tolist()]


def test_the_first_of_equals_comes_first_and_a_query_never_finds_itself():
    same = torch.ones(5, 4)
    assert rank(same[:1], same).tolist() == [[0, 1, 2, 3, 4]]
    assert rank(same).tolist() == [[j for j in range(5) if j != i] for i in range(5)]


def test_scale_and_device_layout_do_not_change_a_ranking():
    q, g = vectors(5), vectors(20, seed=1)
    assert torch.equal(rank(q * 1e5, g * 1e-5), rank(q, g))
    assert torch.equal(rank(q.T.contiguous().T, g), rank(q, g))


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(1, 14), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_average_precision_equals_the_loop(row: list[bool], k: int, missed: int):
    hit, possible = torch.tensor([row]), sum(row) + missed
    assert average_precision(hit, k).item() == pytest.approx(oracles.average_precision(row, k))
    relevant = torch.tensor([possible])
    got = average_precision(hit, k, relevant=relevant, divisor="possible").item()
    assert got == pytest.approx(oracles.average_precision(row, k, possible))
    assert precision_at(hit, k).item() == pytest.approx(sum(row[:k]) / k)


def test_average_precision_by_hand():
    hit = hit_of("10100", "00000", "01111", "11111")
    expected = [(1 + 2 / 3) / 2, 0.0, (1 / 2 + 2 / 3 + 3 / 4 + 4 / 5) / 4, 1.0]
    torch.testing.assert_close(average_precision(hit, 5), torch.tensor(expected, dtype=torch.float64))
    assert average_precision(hit, 1).tolist() == [1.0, 0.0, 0.0, 1.0] == precision_at(hit, 1).tolist()
    relevant = torch.tensor([10, 10, 10, 10])
    possible = average_precision(hit, 5, relevant=relevant, divisor="possible")
    assert possible[0].item() == pytest.approx((1 + 2 / 3) / 5)
    assert bool((possible <= precision_at(hit, 5)).all())  # the docstring's argument


def test_the_whole_rankings_average_precision_is_scikit_learns():
    generator = torch.Generator().manual_seed(0)
    truth, scores = torch.rand(40, generator=generator) < 0.3, torch.rand(40, generator=generator)
    hit = truth[scores.argsort(descending=True)][None]
    assert average_precision(hit).item() == pytest.approx(average_precision_score(truth.numpy(), scores.numpy()))


@pytest.mark.parametrize("chunk", [2, 1000])
def test_the_scores_are_those_of_the_loop(chunk: int):
    q, g, ql, gl = vectors(11), vectors(17, seed=1), labels(11), labels(17, seed=1)
    got = evaluate_retrieval(q, ql, g, gl, chunk=chunk)
    rows = [[int(gl[i]) == int(ql[n]) for i in oracles.ranking(v, g.tolist())] for n, v in enumerate(q.tolist())]
    for k in (1, 5):
        assert got.map_at[k] == pytest.approx(sum(oracles.average_precision(r, k) for r in rows) / 11)
        assert got.precision_at[k] == pytest.approx(sum(sum(r[:k]) for r in rows) / k / 11)
    assert got.map_all == pytest.approx(sum(oracles.average_precision(r, 17) for r in rows) / 11)
    assert (got.queries, got.lonely) == (11, 0)


def test_perfect_and_hopeless_galleries():
    classes = torch.arange(4).repeat_interleave(3)
    perfect = evaluate_retrieval(torch.eye(4)[classes], classes)
    assert perfect.map_at == {1: 1.0, 5: 1.0} and perfect.map_all == 1.0
    assert perfect.precision_at == {1: 1.0, 5: pytest.approx(2 / 5)}  # two others of the class
    alone = evaluate_retrieval(vectors(4), torch.arange(4))
    assert (alone.map_all, alone.lonely) == (0.0, 4)


def test_errors_say_what_to_do():
    q, ql = vectors(3), labels(3)
    with pytest.raises(ShapeError, match="as long"):
        rank(q, vectors(3, 4))
    with pytest.raises(RangeError, match="isfinite"):
        rank(torch.full((2, 2), torch.nan), torch.ones(2, 2))
    with pytest.raises(RangeError, match="both or neither"):
        evaluate_retrieval(q, ql, q)
    with pytest.raises(RangeError, match="number of queries"):
        evaluate_retrieval(q[:0], ql[:0])
    with pytest.raises(ShapeError, match="One label"):
        evaluate_retrieval(q, labels(2))
    with pytest.raises(ChoiceError, match="found"):
        average_precision(hit_of("1"), 1, divisor="fund")
    with pytest.raises(RangeError, match="relevant"):
        average_precision(hit_of("1"), 1, divisor="possible")
    for bad in ({"top": 0}, {"chunk": 0}):
        with pytest.raises(RangeError):
            rank(q, **bad)
    with pytest.raises(ShapeError):
        hits(rank(q), labels(2), ql)


@pytest.mark.parametrize("divisor", ["found", "possible"])
@pytest.mark.parametrize("searched", ["gallery", "themselves"])
def test_the_scores_do_not_depend_on_the_chunk(divisor: str, searched: str):
    q, g, ql, gl = vectors(23), vectors(40, seed=1), labels(23), labels(40, seed=1)
    others = (g, gl) if searched == "gallery" else ()
    small, whole = (evaluate_retrieval(q, ql, *others, divisor=divisor, chunk=chunk) for chunk in (5, 1024))
    assert small.queries == whole.queries == 23 and small.lonely == whole.lonely
    assert small.map_at == pytest.approx(whole.map_at) and small.map_all == pytest.approx(whole.map_all)
    hit = hits(rank(q, *others[:1]), ql, others[1] if others else ql)
    expected = average_precision(hit, 5, relevant=hit.sum(dim=1), divisor=divisor)
    assert small.map_at[5] == pytest.approx(float(expected.mean()))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_the_cpu():
    q, g, ql, gl = vectors(40), vectors(200, seed=1), labels(40), labels(200, seed=1)
    there = evaluate_retrieval(q.cuda(), ql.cuda(), g.cuda(), gl.cuda())
    here = evaluate_retrieval(q, ql, g, gl)
    assert there.map_at == pytest.approx(here.map_at) and there.precision_at == pytest.approx(here.precision_at)
    assert there.map_all == pytest.approx(here.map_all) and there.lonely == here.lonely
    assert evaluate_retrieval(q.cuda(), ql, g.cuda(), gl).map_at == there.map_at  # labels as a data set gives them
    same = torch.ones(300, 4).cuda()
    assert rank(same[:1], same).tolist() == [list(range(300))]
