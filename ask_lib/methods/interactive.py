"""InterActive: what a higher layer thinks of a neuron, as a weight on its response (Xie et al., 2016).

A density is assumed for the responses of a layer T; its score, the gradient of its logarithm, goes down to layer t + 1.
The last step, to layer t, has no weights: a neuron's activeness is its response times the sum of the scores of all
active neurons that read it. `ask_lib.represent.interactive` does this on a network.

Source: Xie, Zheng, Wang, Yuille, Tian: InterActive: Inter-Layer Activeness Propagation, CVPR 2016.
Departs from paper: its equation 5 has a minus, which would put the least active neurons first, and X for x; here the
sign is positive. Its "max-pooling (2)" cites the average of equation 2, which is the default. The gate, a response
above 0, is made for ReLU: of a leaky network a neuron below 0 passes nothing to the last step, yet to those before.
Shapes that do not fit raise a ``ShapeError``, throughout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ask_lib.checks import check_range, check_shape
from ask_lib.errors import AskError
from ask_lib.methods.descriptors import check_map, l2_normalize


def layer_score(mean_response: torch.Tensor, p: float) -> torch.Tensor:
    """[IA-5] The score of the averaged responses: ``p |x|^(p-1) sign(x)``, without the constant 1 / (W H).

    For p = infinity it is the gradient of the maximum: 1 at the largest mean (the paper says neuron), the first of
    equals, else 0. A response of 0 has the score 0 for each p; after ReLU nothing would pass there.

    >>> layer_score(torch.tensor([[3.0, 0.5, 0.0]]), 2.0)
    tensor([[6., 1., 0.]])
    >>> layer_score(torch.tensor([[3.0, 0.5, 0.0]]), float("inf"))
    tensor([[1., 0., 0.]])

    Args:
        mean_response: ``(B, C)``; so is the result.
        p: 1 or more, infinity too; the paper's are 1 and 2.
    """
    check_shape("mean_response", mean_response, "BC", "One row an image: the mean over the map's cells.")
    check_range("p", p, 1)
    size, sign = mean_response.abs(), mean_response.sign()
    if math.isinf(p):
        return torch.zeros_like(size).scatter_(1, size.argmax(dim=1, keepdim=True), 1.0) * sign
    return p * size ** (p - 1) * sign  # [IA-5]


def top_scores(responses: Sequence[torch.Tensor], p: float) -> list[torch.Tensor]:
    """[IA-2] [IA-5] The score of each neuron of the layer T, the same at all places: of the responses' shapes.

    >>> top_scores([torch.tensor([[[[1.0, 3.0]]]])], 2.0)
    [tensor([[[[2., 2.]]]])]

    The layer is one map ``(B, C, H, W)``, or several: then p = infinity finds one maximum among all their channels.
    """
    for response in responses:
        check_map(response)
    means = [response.mean(dim=(2, 3)) for response in responses]  # [IA-2] (B, C)
    scores = torch.split(layer_score(torch.cat(means, dim=1), p), [mean.shape[1] for mean in means], dim=1)
    pairs = zip(scores, responses, strict=True)
    return [(s / (r.shape[2] * r.shape[3]))[..., None, None].expand_as(r) for s, r in pairs]


def gate(score: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
    """[IA-6] [IA-7] The importance of connections to a neuron: its score, where it is active, else 0.

    >>> gate(torch.tensor([2.0, 2.0]), torch.tensor([0.1, 0.0]))
    tensor([2., 0.])
    """
    return score * (response > 0)  # [IA-3] [IA-6] [IA-7]


def windows(module: nn.Module, axis: int, neurons: int, cells: int) -> torch.Tensor:
    """Which cells along an axis each neuron of a convolution, a pooling or a fully connected layer reads.

    >>> windows(nn.MaxPool2d(3, 2, padding=1), 0, 2, 4).int()
    tensor([[1, 1, 0, 0],
            [0, 1, 1, 1]], dtype=torch.int32)

    Args:
        module: Another raises an ``AskError``. Windows are rectangles, so that rows can be asked for without columns.
        axis: 0 for rows, 1 for columns.
        neurons: How many the next layer has along it.
        cells: How many this layer has along it.

    Returns:
        bool, ``(neurons, cells)``.
    """
    at, number = torch.arange(cells), torch.arange(neurons)[:, None]  # (cells,), (neurons, 1)
    if isinstance(module, nn.Linear):
        return torch.ones(neurons, cells, dtype=torch.bool)
    if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
        return (at >= number * cells // neurons) & (at < -(-(number + 1) * cells // neurons))
    if not isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        raise AskError(f"module: expected a convolution, pooling or linear layer, got {type(module).__name__}.")
    kernel, stride, dilation = (
        _of(axis, getattr(module, name, 1)) for name in ("kernel_size", "stride", "dilation")
    )  # an average has no dilation
    padding = dilation * (kernel - 1) // 2 if module.padding == "same" else _of(axis, module.padding)
    offset = at - (number * stride - padding)
    return (offset >= 0) & (offset % dilation == 0) & (offset < kernel * dilation)


def spread(gated_score: torch.Tensor, module: nn.Module, size: tuple[int, int]) -> torch.Tensor:
    """[IA-9] Each cell's weight: the sum of the gated scores of all neurons that read it.

    No weight of the network enters: all channels that a group of neurons reads have one weight. Of a pooling, each
    channel has its own, for whole windows.

    >>> spread(torch.tensor([[[[1.0, 2.0]], [[0.0, 5.0]]]]), nn.Conv2d(4, 2, (1, 2)), (1, 3))
    tensor([[[[1., 8., 7.]]]])

    Args:
        gated_score: ``(B, C', H', W')`` of layer t + 1.
        module: The convolution or pooling by which it reads layer t; ``nn.Identity`` for a skip.
        size: (H, W) of layer t.

    Returns:
        ``(B, groups, H, W)``, in single precision at least; a pooling has as many groups as channels.
    """
    check_map(gated_score)
    batch, channels, *grid = gated_score.shape
    groups = module.groups if isinstance(module, nn.Conv2d) else 1 if isinstance(module, nn.Linear) else channels
    wide = torch.promote_types(gated_score.dtype, torch.float32)
    total = gated_score.view(batch, groups, -1, *grid).sum(dim=2, dtype=wide)  # (B, groups, H', W')
    if isinstance(module, nn.Identity):
        return total
    rows, columns = (windows(module, axis, grid[axis], size[axis]).to(total) for axis in (0, 1))
    return rows.mT @ (total @ columns)  # [IA-9]


def spread_to_maximum(gated_score: torch.Tensor, indices: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Another reading of [IA-9]: a max-pooling's neuron is connected to the one cell that it took.

    >>> spread_to_maximum(torch.tensor([[[[4.0]]]]), torch.tensor([[[[1]]]]), (1, 2))
    tensor([[[[0., 4.]]]])

    The indices are those of ``max_pool2d(..., return_indices=True)``; the rest is as of ``spread``.
    """
    empty = gated_score.new_zeros(*gated_score.shape[:2], size[0] * size[1])
    return empty.scatter_add(2, indices.flatten(2), gated_score.flatten(2)).view(*empty.shape[:2], *size)


def weigh(response: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """[IA-8] The activeness: each response of ``(B, C, H, W)`` times its weight, ``(B, groups, H, W)`` of ``spread``.

    >>> weigh(torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]]), torch.tensor([[[[10.0, 1.0]]]]))[0, :, 0]
    tensor([[10.,  2.],
            [30.,  4.]])
    """
    groups = weights.shape[1]
    check_shape("response", response, (len(weights), response.shape[1] // groups * groups, *weights.shape[2:]))
    grouped = response.view(len(response), groups, -1, *response.shape[2:])  # (B, groups, C / groups, H, W)
    return (grouped * weights[:, :, None]).view(response.shape)  # [IA-8]


def join(features: Mapping[str, torch.Tensor], *, again: bool = True) -> torch.Tensor:
    """The features of several layers as one vector, each of unit length, and again the whole: open in the paper.

    >>> join({"low": torch.tensor([[3.0, 4.0]]), "high": torch.tensor([[2.0]])}, again=False)
    tensor([[0.6000, 0.8000, 1.0000]])
    """
    joined = torch.cat([l2_normalize(each) for each in features.values()], dim=1)
    return l2_normalize(joined) if again else joined


def _of(axis: int, pair: Any) -> int:
    return pair[axis] if isinstance(pair, tuple) else int(pair)
