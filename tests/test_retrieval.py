"""Retrieval's scores against loops, by hand, and against scikit-learn."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from ask_lib.errors import RangeError, ShapeError
from ask_lib.evaluate import retrieval
from ask_lib.evaluate.retrieval import average_precision, hits, rank
from tests import oracles


def vectors(number: int, length: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(number, length, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def labels(number: int, classes: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randint(classes, (number,), generator=torch.Generator().manual_seed(seed))


def hit_of(*rows: str) -> torch.Tensor:
    return torch.tensor([[c == "1" for c in row] for row in rows])


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_rank_equals_the_loop(queries: int, gallery: int, length: int, seed: int):
    q, g = vectors(queries, length, seed), vectors(gallery, length, seed + 1)
    if length == 1:  # a cosine of plus or minus one: ties everywhere
        q, g = q.sign(), g.sign()
    assert rank(q, g).tolist() == [oracles.ranking(v, g.tolist()) for v in q.tolist()]
    alone = [oracles.ranking(v, q.tolist(), leave_out=i) for i, v in enumerate(q.tolist())]
    assert rank(q).tolist() == alone
    assert rank(q, g, top=3).tolist() == [r[:3] for r in rank(q, g).tolist()]


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
    got = average_precision(hit, k, relevant=relevant).item()
    assert got == pytest.approx(oracles.average_precision(row, k, possible))


def test_average_precision_by_hand():
    hit = hit_of("10100", "00000", "01111", "11111")
    expected = [(1 + 2 / 3) / 2, 0.0, (1 / 2 + 2 / 3 + 3 / 4 + 4 / 5) / 4, 1.0]
    torch.testing.assert_close(average_precision(hit, 5), torch.tensor(expected, dtype=torch.float64))
    assert average_precision(hit, 1).tolist() == [1.0, 0.0, 0.0, 1.0]
    relevant = torch.tensor([10, 10, 10, 10])
    possible = average_precision(hit, 5, relevant=relevant)
    assert possible[0].item() == pytest.approx((1 + 2 / 3) / 5)
    assert bool((possible <= hit.double().mean(dim=1)).all())  # the docstring's argument


def test_the_whole_rankings_average_precision_is_scikit_learns():
    generator = torch.Generator().manual_seed(0)
    truth, scores = torch.rand(40, generator=generator) < 0.3, torch.rand(40, generator=generator)
    hit = truth[scores.argsort(descending=True)][None]
    assert average_precision(hit).item() == pytest.approx(average_precision_score(truth.numpy(), scores.numpy()))


def test_errors_say_what_to_do():
    q, ql = vectors(3), labels(3)
    with pytest.raises(ShapeError, match="as long"):
        rank(q, vectors(3, 4))
    with pytest.raises(RangeError, match="isfinite"):
        rank(torch.full((2, 2), torch.nan), torch.ones(2, 2))
    with pytest.raises(RangeError):
        rank(q, top=0)
    with pytest.raises(ShapeError):
        hits(rank(q), labels(2), ql)


def test_a_ranking_does_not_depend_on_how_many_are_ranked_at_once(monkeypatch: pytest.MonkeyPatch):
    q, g = vectors(23), vectors(40, seed=1)
    whole, alone = rank(q, g), rank(q)
    monkeypatch.setattr(retrieval, "_AT_ONCE", 5)
    assert torch.equal(rank(q, g), whole) and torch.equal(rank(q), alone)
    assert rank(q[:0], g).shape == (0, 40) and rank(q[:1]).shape == (1, 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_the_cpu():
    q, g, ql, gl = vectors(40), vectors(200, seed=1), labels(40), labels(200, seed=1)
    ranking = rank(q.cuda(), g.cuda())
    assert torch.equal(ranking.cpu(), rank(q, g))
    found = hits(ranking, ql, gl)  # labels as a data set gives them
    assert found.is_cuda and torch.equal(found.cpu(), hits(rank(q, g), ql, gl))
    torch.testing.assert_close(average_precision(found, 5).cpu(), average_precision(found.cpu(), 5))
    same = torch.ones(300, 4).cuda()
    assert rank(same[:1], same).tolist() == [list(range(300))]
