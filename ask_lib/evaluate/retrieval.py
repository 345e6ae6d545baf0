"""Retrieval: rank a gallery by cosine similarity, and score the ranking against class labels.

The authors of SCDA report the mean average precision (mAP) of the first result and of the first five. See
``average_precision`` for what that can mean. Shapes that do not fit raise a ``ShapeError``.
"""

from __future__ import annotations

import torch

from ask_lib.checks import check_range, check_shape
from ask_lib.errors import RangeError
from ask_lib.methods.descriptors import l2_normalize

_ROWS = "One row an image."
_AT_ONCE = 1024  # queries, to bound the memory


def rank(queries: torch.Tensor, gallery: torch.Tensor | None = None, *, top: int | None = None) -> torch.Tensor:
    """The gallery from the most to the least similar by cosine, for every query; a zero vector has similarity 0.

    Of equal similarities the lower index comes first. Equal means to the last bit: copies of one vector can differ
    there, since a product of matrices treats its last columns in another way than the others.

    Args:
        queries: ``(Q, D)``, finite.
        gallery: ``(G, D)``, finite; None: the queries search among themselves, and none finds itself.
        top: How many to give; None: all (G, or Q - 1 without a gallery).

    Returns:
        int64, ``(Q, top)``: indices into the gallery.

    Raises:
        RangeError: If a vector is not finite, or ``top`` is not positive.
    """
    if top is not None:
        check_range("top", top, 1)
    others = queries if gallery is None else gallery
    check_shape("queries", queries, "QD", _ROWS)
    check_shape("gallery", others, ("G", queries.shape[1]), "The vectors must be as long as the queries'.")
    if not (torch.isfinite(queries).all() and torch.isfinite(others).all()):
        raise RangeError("vectors: expected finite numbers, got NaN or infinity. Look for them with torch.isfinite.")
    wide = torch.promote_types(torch.promote_types(queries.dtype, others.dtype), torch.float32)
    unit, length = l2_normalize(others.to(wide)), max(0, len(others) - (gallery is None))
    ranked = [queries.new_empty((0, length), dtype=torch.long)[:, :top]]
    for start in range(0, len(queries), _AT_ONCE):
        similarity = l2_normalize(queries[start : start + _AT_ONCE].to(wide)) @ unit.T  # (q, G)
        if gallery is None:
            own = torch.arange(len(similarity), device=queries.device)
            similarity[own, own + start] = -torch.inf  # sorts last, and is cut off
        order = similarity.sort(dim=1, descending=True, stable=True).indices
        ranked.append(order[:, :length][:, :top])
    return torch.cat(ranked)


def hits(ranking: torch.Tensor, query_labels: torch.Tensor, gallery_labels: torch.Tensor) -> torch.Tensor:
    """Which results are of the query's class.

    Args:
        ranking: int64, ``(Q, K)``, from ``rank``.
        query_labels: int64, ``(Q,)``; labels may lie on another device.
        gallery_labels: int64, ``(G,)``.

    Returns:
        bool, ``(Q, K)``, on the ranking's device.
    """
    check_shape("ranking", ranking, "QK")
    check_shape("query_labels", query_labels, (len(ranking),), "One label a query.")
    check_shape("gallery_labels", gallery_labels, "G")
    return gallery_labels.to(ranking.device)[ranking] == query_labels.to(ranking.device)[:, None]


def average_precision(hit: torch.Tensor, k: int | None = None, *, relevant: torch.Tensor | None = None) -> torch.Tensor:
    """Mean, over the right ones among the first ``k`` results, of the precision at each one's rank.

    Open in the paper: what the sum is divided by. Here it is the right ones among the first k; with ``relevant`` the
    right ones that k results could hold, min(k, ``relevant``). The paper's tables side with the first: in every row
    mAP at 5 exceeds mAP at 1, while the second, where a class has five items or more, gives at most the share of right
    ones among the five. At k = 1, and for the whole ranking, both are the same.

    Args:
        hit: bool, ``(Q, K)``, from ``hits``.
        k: How many results count; None: all.
        relevant: int64, ``(Q,)``, right ones in the gallery.

    Returns:
        ``(Q,)`` float64; 0 where nothing is found.

    Raises:
        RangeError: If ``k`` is less than 1.
    """
    check_shape("hit", hit, "QK")
    if k is not None:
        check_range("k", k, 1)
    right = hit[:, :k].double()  # (Q, k)
    ranks = torch.arange(1, right.shape[1] + 1, device=hit.device)
    summed = (right * right.cumsum(dim=1) / ranks).sum(dim=1)  # (Q,)
    if relevant is None:
        return summed / right.sum(dim=1).clamp(min=1)
    check_shape("relevant", relevant, (len(hit),), "One number a query.")
    return summed / relevant.to(hit.device).clamp(min=1, max=k)
