"""Retrieval: rank a gallery by cosine similarity, and score the ranking against class labels.

The authors of SCDA report the mean average precision (mAP) of the first result and of the first five. See
``average_precision`` for what that can mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from ask_lib.checks import check_choice, check_range, check_shape
from ask_lib.errors import RangeError
from ask_lib.methods.descriptors import l2_normalize

_ROWS = "One row an image."


@dataclass(frozen=True, kw_only=True)
class RetrievalScores:
    """How well a gallery was ranked; means over queries, between 0 and 1.

    Attributes:
        map_at: k to mAP of the first k results.
        precision_at: k to the share of right ones among the first k results.
        map_all: mAP of the whole ranking.
        queries: How many queries.
        lonely: How many of them have no item of their class in the gallery. They count, with 0.
    """

    map_at: dict[int, float]
    precision_at: dict[int, float]
    map_all: float
    queries: int
    lonely: int


def cosine_similarity(queries: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
    """Cosine of the angle between every query and every gallery vector; 0 for a zero vector.

    Args:
        queries: ``(Q, D)``.
        gallery: ``(G, D)``.

    Returns:
        ``(Q, G)``, in float32 at least.

    Raises:
        ShapeError: If the shapes do not fit.
    """
    check_shape("queries", queries, "QD", _ROWS)
    check_shape("gallery", gallery, ("G", queries.shape[1]), "The vectors must be as long as the queries'.")
    wide = torch.promote_types(torch.promote_types(queries.dtype, gallery.dtype), torch.float32)
    return l2_normalize(queries.to(wide)) @ l2_normalize(gallery.to(wide)).T


def rank(
    queries: torch.Tensor, gallery: torch.Tensor | None = None, *, top: int | None = None, chunk: int = 1024
) -> torch.Tensor:
    """The gallery from the most to the least similar, for every query.

    Of equal similarities the lower index comes first. Equal means to the last bit: copies of one vector can differ
    there, since a product of matrices treats its last columns in another way than the others.

    Args:
        queries: ``(Q, D)``, finite.
        gallery: ``(G, D)``, finite; None: the queries search among themselves, and none finds itself.
        top: How many to give; None: all (G, or Q - 1 without a gallery).
        chunk: Queries at a time, to bound the memory.

    Returns:
        int64, ``(Q, top)``: indices into the gallery.

    Raises:
        ShapeError: If the shapes do not fit.
        RangeError: If a vector is not finite, or ``top`` is not positive.
    """
    check_range("chunk", chunk, 1)
    if top is not None:
        check_range("top", top, 1)
    check_shape("queries", queries, "QD", _ROWS)
    others = queries if gallery is None else gallery
    _check_finite("queries", queries)
    _check_finite("gallery", others)
    length = len(others) - (gallery is None)
    ranked = [queries.new_empty((0, max(0, length)), dtype=torch.long)[:, :top]]
    return torch.cat([*ranked, *_ranked(queries, gallery, top, chunk)])


def _ranked(queries: torch.Tensor, gallery: torch.Tensor | None, top: int | None, chunk: int) -> Iterator[torch.Tensor]:
    """The rankings of ``chunk`` queries after ``chunk`` queries; the gallery is brought to length once."""
    others = queries if gallery is None else gallery
    check_shape("gallery", others, ("G", queries.shape[1]), "The vectors must be as long as the queries'.")
    wide = torch.promote_types(torch.promote_types(queries.dtype, others.dtype), torch.float32)
    unit = l2_normalize(others.to(wide))
    for start in range(0, len(queries), chunk):
        similarity = l2_normalize(queries[start : start + chunk].to(wide)) @ unit.T  # (q, G)
        if gallery is None:
            own = torch.arange(len(similarity), device=queries.device)
            similarity[own, own + start] = -torch.inf  # sorts last, and is cut off
        order = similarity.sort(dim=1, descending=True, stable=True).indices
        yield order[:, : len(others) - (gallery is None)][:, :top]


def hits(ranking: torch.Tensor, query_labels: torch.Tensor, gallery_labels: torch.Tensor) -> torch.Tensor:
    """Which results are of the query's class.

    Args:
        ranking: int64, ``(Q, K)``, from ``rank``.
        query_labels: int64, ``(Q,)``; labels may lie on another device.
        gallery_labels: int64, ``(G,)``.

    Returns:
        bool, ``(Q, K)``, on the ranking's device.

    Raises:
        ShapeError: If the shapes do not fit.
    """
    check_shape("ranking", ranking, "QK")
    check_shape("query_labels", query_labels, (len(ranking),), "One label a query.")
    check_shape("gallery_labels", gallery_labels, "G")
    return gallery_labels.to(ranking.device)[ranking] == query_labels.to(ranking.device)[:, None]


def precision_at(hit: torch.Tensor, k: int) -> torch.Tensor:
    """Share of right ones among the first ``k`` results.

    Args:
        hit: bool, ``(Q, K)``, from ``hits``.
        k: At least 1. Results that do not exist (K < k) count as wrong.

    Returns:
        ``(Q,)`` float64.
    """
    check_shape("hit", hit, "QK")
    check_range("k", k, 1)
    return hit[:, :k].double().sum(dim=1) / k


def average_precision(
    hit: torch.Tensor, k: int | None = None, *, relevant: torch.Tensor | None = None, divisor: str = "found"
) -> torch.Tensor:
    """Mean, over the right ones among the first ``k`` results, of the precision at each one's rank.

    Open in the paper: what the sum is divided by. ``"found"``, the default: by the right ones among the first k.
    ``"possible"``: by the right ones that k results could hold, min(k, ``relevant``). The paper's tables side with the
    first: in every row mAP at 5 exceeds mAP at 1, while the second, where a class has five items or more, gives at
    most the share of right ones among the five. At k = 1, and for the whole ranking, both are the same.

    Args:
        hit: bool, ``(Q, K)``, from ``hits``.
        k: How many results count; None: all.
        relevant: int64, ``(Q,)``, right ones in the gallery; needed for ``"possible"``.
        divisor: ``"found"`` or ``"possible"``.

    Returns:
        ``(Q,)`` float64; 0 where nothing is found.

    Raises:
        ShapeError: If the shapes do not fit.
        RangeError: If ``k`` is less than 1, or ``relevant`` is missing.
        ChoiceError: If there is no such divisor.
    """
    check_shape("hit", hit, "QK")
    check_choice("divisor", divisor, ["found", "possible"])
    if k is not None:
        check_range("k", k, 1)
    right = hit[:, :k].double()  # (Q, k)
    ranks = torch.arange(1, right.shape[1] + 1, device=hit.device)
    summed = (right * right.cumsum(dim=1) / ranks).sum(dim=1)  # (Q,)
    if divisor == "found":
        return summed / right.sum(dim=1).clamp(min=1)
    if relevant is None:
        raise RangeError("relevant: expected the number of right ones in the gallery, got None. Or choose 'found'.")
    check_shape("relevant", relevant, (len(hit),), "One number a query.")
    return summed / relevant.to(hit.device).clamp(min=1, max=k)


def evaluate_retrieval(
    queries: torch.Tensor,
    query_labels: torch.Tensor,
    gallery: torch.Tensor | None = None,
    gallery_labels: torch.Tensor | None = None,
    *,
    tops: Sequence[int] = (1, 5),
    divisor: str = "found",
    chunk: int = 1024,
) -> RetrievalScores:
    """Rank and score, a chunk of queries at a time.

    SCDA's queries are the test images, its gallery the training images.

    Args:
        queries: ``(Q, D)``, finite; at least one.
        query_labels: int64, ``(Q,)``.
        gallery: ``(G, D)``, finite; None: the queries search among themselves, and none finds itself.
        gallery_labels: int64, ``(G,)``; with ``gallery``.
        tops: The k to report.
        divisor: See ``average_precision``.
        chunk: Queries at a time, to bound the memory.

    Returns:
        The scores.

    Raises:
        ShapeError: If the shapes do not fit.
        RangeError: If a vector is not finite, there is no query, or only one of gallery and labels is given.
    """
    if (gallery is None) != (gallery_labels is None):
        raise RangeError("gallery and gallery_labels: expected both or neither, got one of them.")
    check_shape("queries", queries, "QD", _ROWS)
    check_range("number of queries", len(queries), 1)
    labels = query_labels if gallery_labels is None else gallery_labels
    check_shape("query_labels", query_labels, (len(queries),), "One label a query.")
    check_shape("gallery_labels", labels, (len(queries if gallery is None else gallery),), "One label a vector.")
    check_range("chunk", chunk, 1)
    _check_finite("queries", queries)
    if gallery is not None:
        _check_finite("gallery", gallery)
    scores: dict[str, list[torch.Tensor]] = {}
    for part, asked in zip(_ranked(queries, gallery, None, chunk), torch.split(query_labels, chunk), strict=True):
        hit = hits(part, asked, labels)  # (q, G)
        relevant = hit.sum(dim=1)  # (q,): the ranking is whole
        for k in tops:
            at_k = average_precision(hit, k, relevant=relevant, divisor=divisor)
            scores.setdefault(f"map {k}", []).append(at_k)
            scores.setdefault(f"precision {k}", []).append(precision_at(hit, k))
        scores.setdefault("map", []).append(average_precision(hit))
        scores.setdefault("lonely", []).append((relevant == 0).double())
    whole = {name: torch.cat(parts) for name, parts in scores.items()}  # each (Q,)
    return RetrievalScores(
        map_at={k: float(whole[f"map {k}"].mean()) for k in tops},
        precision_at={k: float(whole[f"precision {k}"].mean()) for k in tops},
        map_all=float(whole["map"].mean()),
        queries=len(queries),
        lonely=int(whole["lonely"].sum()),
    )


def _check_finite(name: str, vectors: torch.Tensor) -> None:
    if not torch.isfinite(vectors).all():
        raise RangeError(f"{name}: expected finite numbers, got NaN or infinity. Look for them with torch.isfinite.")
