"""DLFS: differentiable local feature selection, the part of ASK that chooses.

A 1x1 convolution draws K maps from those of RGB and depth; the centre of mass of each is a keypoint; the descriptors of
both modalities are read there, by bilinear interpolation. All of it has gradients: class labels alone move the points.

Source: ASK: Adaptively Selecting Key Local Features for RGB-D Scene Recognition, IEEE Transactions on Image Processing.
Its equations 6 to 8 are gradients, which autograd takes. (As printed, 6 sums over u and v, which it must not, and 7
and 8 compare v with y_j, not u.) Keypoints are (x, y): column and row, in cells of the
map, centres at integers. (The paper's equation 4 pairs x with the row, its equation 5 with the column.)
Shapes that do not fit raise a ``ShapeError``, throughout.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from ask_lib.checks import check_choice, check_range, check_shape
from ask_lib.methods.descriptors import check_map, l2_normalize

POINTS = ("both", "rgb", "depth", "grid", "random", "strongest")
GROUPINGS = ("sum", "single", "relu")
MINING = ("random", "batch-hard", "all")
_ONE_LAYER = "Both modalities come from one layer, and are of one size."


def keypoint_maps(features: torch.Tensor, weight: torch.Tensor, num_keypoints: int) -> torch.Tensor:
    """[ASK-1] [ASK-2] A 1x1 convolution of ``(B, C, H, W)``, and sums over K groups of its channels: ``(B, K, H, W)``.

    No non-linearity stands between them, so the weights are summed first: the same values and gradients, and as many
    times cheaper as a group has channels. A bias would move no keypoint, and L_VI has one of its own.

    >>> keypoint_maps(torch.ones(1, 2, 1, 1), torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]), 2)
    tensor([[[[10.]],
    <BLANKLINE>
             [[26.]]]])

    Args:
        features: ``(B, C, H, W)``, of one modality or of both, one after the other.
        weight: ``(width, C)``, the width a multiple of K; a group is contiguous.
        num_keypoints: K.
    """
    check_map(features)
    check_range("num_keypoints", num_keypoints, 1)
    check_shape("weight", weight, ("width", features.shape[1]), "One row an output channel.")
    width = max(1, len(weight) // num_keypoints) * num_keypoints
    check_shape("weight", weight, (width, features.shape[1]), f"A multiple of num_keypoints, {num_keypoints}.")
    summed = weight.reshape(num_keypoints, -1, weight.shape[1]).sum(dim=1)  # [ASK-2] (K, C)
    return functional.conv2d(features, summed[..., None, None])  # [ASK-1]


def spatial_softmax(maps: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """[ASK-3] Each map of ``(B, K, H, W)`` as a probability over its cells, in single precision at least.

    >>> spatial_softmax(torch.zeros(1, 1, 1, 4))
    tensor([[[[0.2500, 0.2500, 0.2500, 0.2500]]]])

    Args:
        maps: ``(B, K, H, W)``, any finite values.
        temperature: Above 0; the paper's is 1. Less makes the peak sharper.
    """
    check_map(maps)
    check_range("temperature", temperature, 0, open_low=True)
    flat = maps.flatten(2).to(torch.promote_types(maps.dtype, torch.float32))  # (B, K, HW)
    flat = flat - flat.detach().amax(dim=2, keepdim=True)  # before the division, which could overflow
    return torch.softmax(flat / temperature, dim=2).view(maps.shape)  # [ASK-3]


def expected_coordinates(probabilities: torch.Tensor) -> torch.Tensor:
    """[ASK-4] The centre of mass of each map: ``(B, K, H, W)`` to ``(B, K, 2)``.

    >>> expected_coordinates(torch.tensor([[[[0.0, 0.5, 0.0, 0.5]]]]))
    tensor([[[2., 0.]]])
    """
    check_map(probabilities)
    sums = probabilities.sum(dim=2), probabilities.sum(dim=3)  # over rows (B, K, W), over columns (B, K, H)
    cells = [torch.arange(s.shape[2], dtype=s.dtype, device=s.device) for s in sums]
    return torch.stack([(s * at).sum(dim=2) for s, at in zip(sums, cells, strict=True)], dim=2)  # [ASK-4]


def soft_argmax(maps: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """[ASK-3] [ASK-4] Keypoints ``(B, K, 2)`` of maps ``(B, K, H, W)``; a constant map gives the centre.

    >>> soft_argmax(torch.zeros(1, 1, 3, 5))
    tensor([[[2., 1.]]])
    """
    return expected_coordinates(spatial_softmax(maps, temperature))


def sample(features: torch.Tensor, keypoints: torch.Tensor) -> torch.Tensor:
    """[ASK-5] Descriptors at the keypoints, by bilinear interpolation; outside the map there are zeros.

    It equals ``grid_sample(align_corners=True)``, with its gradients. Departs from paper: coordinates are in cells, not
    "in the range of [-1, 1]", where a kernel of width 1 would cover much of the map. At an integer the slope is that to
    the next cell, where the paper's equation 8 takes the cell's own value for it.

    >>> sample(torch.tensor([[[[0.0, 1.0, 4.0]]]]), torch.tensor([[[1.5, 0.0]]]))
    tensor([[[2.5000]]])

    Args:
        features: ``(B, C, H, W)``.
        keypoints: ``(B, K, 2)``.

    Returns:
        ``(B, K, C)``.
    """
    check_map(features)
    check_shape("keypoints", keypoints, (features.shape[0], "K", 2), "One (x, y) a keypoint, for each image.")
    height, width = features.shape[2:]
    across, down = _tent(keypoints[..., 0], width), _tent(keypoints[..., 1], height)  # (B, K, W), (B, K, H)
    weights = (down[..., :, None] * across[..., None, :]).flatten(2)  # (B, K, HW)
    return (features.flatten(2) @ weights.to(features.dtype).mT).mT  # [ASK-5]


def grid_points(count: int, size: tuple[int, int]) -> torch.Tensor:
    """Centres of ``count`` equal rectangles that tile a map of that size (H, W), row by row: ``(count, 2)``.

    They stand in as many rows as the largest divisor of ``count`` up to its root, so a prime number in one row.

    >>> grid_points(4, (7, 7))[:2]
    tensor([[1.2500, 1.2500],
            [4.7500, 1.2500]])
    """
    check_range("count", count, 1)
    rows = max(r for r in range(1, count + 1) if count % r == 0 and r * r <= count)
    y, x = ((torch.arange(n) + 0.5) * side / n - 0.5 for n, side in zip((rows, count // rows), size, strict=True))
    return torch.cartesian_prod(y, x).flip(1)


def strongest_cells(features: torch.Tensor, count: int) -> torch.Tensor:
    """The cells with the longest descriptors, the longest first, as keypoints ``(B, count, 2)``.

    >>> strongest_cells(torch.tensor([[[[0.0, 1.0, 4.0]]]]), 2)
    tensor([[[2., 0.],
             [1., 0.]]])
    """
    check_map(features)
    length = torch.linalg.vector_norm(features.detach(), dim=1).flatten(1)  # (B, HW)
    check_range("count", count, 1, length.shape[1])
    cells, width = length.topk(count, dim=1).indices, features.shape[3]
    return torch.stack([cells % width, cells // width], dim=2).to(length.dtype)


def keypoint_spread(keypoints: torch.Tensor) -> torch.Tensor:
    """How far an image's keypoints ``(B, K, 2)`` lie apart: their root mean square distance from their mean, ``(B,)``.

    Log it in training: near 0 all keypoints are at one place, most often in the middle, and nothing is selected.

    >>> keypoint_spread(torch.tensor([[[0.0, 0.0], [2.0, 0.0]]]))
    tensor([1.])
    """
    check_shape("keypoints", keypoints, ("B", "K", 2))
    apart = keypoints.detach() - keypoints.detach().mean(dim=1, keepdim=True)
    return apart.square().sum(dim=2).mean(dim=1).sqrt()


class Selection(NamedTuple):
    """What `DLFS` selects."""

    maps: torch.Tensor | None  # (B, K, H, W), before the softmax; none where nothing is learned
    keypoints: torch.Tensor  # (B, K, 2)
    rgb: torch.Tensor  # (B, K, C)
    depth: torch.Tensor  # (B, K, C)


class DLFS(nn.Module):
    """[ASK-1] to [ASK-5]: K keypoints of two maps, and the descriptors of both there.

    Departs from paper: its K = 3, 9, 25 and 36 do not divide its 512 channels; the convolution's width is the largest
    multiple of K not above C.

    >>> selection = DLFS(8, 3)(torch.rand(2, 8, 7, 7), torch.rand(2, 8, 7, 7))
    >>> selection.keypoints.shape, selection.depth.shape
    (torch.Size([2, 3, 2]), torch.Size([2, 3, 8]))

    Args:
        channels: C of each map.
        num_keypoints: K, from 1 to C.
        points: Where the points come from: learned from the maps of ``both``, or of ``rgb`` or ``depth`` alone; or, to
            hold them against, a fixed ``grid``; ``random`` places, drawn once for all images; the ``strongest`` cells
            of both maps together. All are read in both maps.
        grouping: ``sum``, the paper's; ``single``, a convolution with K channels and no groups; ``relu``, a ReLU
            between convolution and sum.
        temperature: Of the softmax.
    """

    fixed: torch.Tensor

    def __init__(
        self,
        channels: int,
        num_keypoints: int,
        *,
        points: str = "both",
        grouping: str = "sum",
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        check_range("num_keypoints", num_keypoints, 1, channels)
        check_choice("points", points, POINTS)
        check_choice("grouping", grouping, GROUPINGS)
        self.num_keypoints, self.points, self.grouping, self.temperature = num_keypoints, points, grouping, temperature
        width = num_keypoints if grouping == "single" else channels // num_keypoints * num_keypoints
        taken = {"both": 2 * channels, "rgb": channels, "depth": channels}.get(points)
        self.conv = nn.Conv2d(taken, width, 1, bias=grouping == "relu") if taken else None
        if points == "random":
            self.register_buffer("fixed", torch.rand(num_keypoints, 2))

    def forward(self, rgb: torch.Tensor, depth: torch.Tensor) -> Selection:
        """Both ``(B, C, H, W)``, of one layer."""
        check_map(rgb)
        check_shape("depth", depth, tuple(rgb.shape), _ONE_LAYER)
        maps = self._maps({"rgb": [rgb], "depth": [depth]}.get(self.points, [rgb, depth]))
        keypoints = self._placed(rgb, depth) if maps is None else soft_argmax(maps, self.temperature)
        return Selection(maps, keypoints, sample(rgb, keypoints), sample(depth, keypoints))

    def _maps(self, features: list[torch.Tensor]) -> torch.Tensor | None:
        if self.conv is None:
            return None
        if self.grouping == "relu":
            groups = functional.relu(self.conv(torch.cat(features, dim=1))).tensor_split(self.num_keypoints, dim=1)
            return torch.stack([group.sum(dim=1) for group in groups], dim=1)
        weights = self.conv.weight.flatten(1).chunk(len(features), dim=1)  # each modality's: no copy of both is made
        each = [keypoint_maps(f, weight, self.num_keypoints) for f, weight in zip(features, weights, strict=True)]
        return torch.stack(each).sum(dim=0)  # [ASK-1] over the channels of both

    def _placed(self, rgb: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
        if self.points == "strongest":
            return strongest_cells(torch.cat([rgb, depth], dim=1), self.num_keypoints)
        height, width = rgb.shape[2:]
        if self.points == "grid":
            fixed = grid_points(self.num_keypoints, (height, width)).to(rgb.device)
        else:
            fixed = self.fixed * self.fixed.new_tensor([width - 1, height - 1])
        return fixed.expand(len(rgb), -1, -1)


class VariationalInformation(nn.Module):
    """[ASK-9] [ASK-10] How well the keypoint maps tell the class: L_VI, a bound on their mutual information.

    The maps are max-pooled to S x S cells, a convolution of that size makes one number a class of them, and a Gaussian
    around it should hold the one-hot label. Open in the paper, and settled here: S; the convolution is its "FC layer";
    sigma is one number a class; the constant c is 0; the sum is over classes and the mean over images.

    >>> VariationalInformation(4, 10)(torch.zeros(2, 4, 7, 7), torch.tensor([3, 9])).shape
    torch.Size([])

    Args:
        num_keypoints: K of the maps.
        num_classes: N.
        size: S.
        floor: Least sigma, as a second one whose square is added. The paper has none, and the loss then has no least
            value: the better the fit, the more it counts beside the other losses. Above 1e19 sigma an error's square is
            infinite in single precision, whatever the floor.
    """

    def __init__(self, num_keypoints: int, num_classes: int, size: int = 3, *, floor: float = 0.0) -> None:
        super().__init__()
        check_range("floor", floor, 0, 1e9)
        self.size, self.floor = size, floor
        self.conv = nn.Conv2d(num_keypoints, num_classes, size)
        self.log_sigma = nn.Parameter(torch.zeros(num_classes))

    def forward(self, maps: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar, of maps ``(B, K, H, W)`` and labels ``(B,)``, 0 to N - 1."""
        check_shape("maps", maps, ("B", self.conv.in_channels, "H", "W"))
        check_shape("labels", labels, (maps.shape[0],), "One class an image.")
        pooled = functional.adaptive_max_pool2d(maps, self.size)  # (B, K, S, S)
        means = self.conv(pooled).flatten(1)  # (B, N)
        error = functional.one_hot(labels.long(), means.shape[1]) - means.to(self.log_sigma.dtype)
        least = self.log_sigma.new_tensor(self.floor).log()  # minus infinity without a floor
        log_sigma = torch.logaddexp(2 * self.log_sigma, 2 * least) / 2  # (N,); its square alone would underflow
        terms = log_sigma + (error * (-log_sigma).exp()).square() / 2  # [ASK-10]
        loss: torch.Tensor = terms.sum(dim=1).mean()  # [ASK-9] minus the expected log q(L|U)
        return loss


def correlation_map(rgb: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """[ASK-11] The cosine of the two descriptors of each cell: two ``(B, C, H, W)`` to ``(B, H, W)``.

    >>> correlation_map(torch.ones(1, 2, 1, 1), torch.tensor([[[[3.0]], [[0.0]]]]))
    tensor([[[0.7071]]])
    """
    check_map(rgb)
    check_shape("depth", depth, tuple(rgb.shape), _ONE_LAYER)
    return (l2_normalize(rgb, dim=1) * l2_normalize(depth, dim=1)).sum(dim=1)  # [ASK-11]


def modal_correlation_loss(rgb: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """[ASK-12] The mean of 1 - cosine between the descriptors ``(B, K, C)`` of both modalities at each keypoint.

    Departs from paper: it prints the cosine itself, which would be minimised, and says that it is maximised.

    >>> modal_correlation_loss(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 2.0]]]))
    tensor(1.)
    """
    check_shape("rgb", rgb, "BKC")
    check_shape("depth", depth, tuple(rgb.shape), "The same keypoints are read in both modalities.")
    cosine = (l2_normalize(rgb) * l2_normalize(depth)).sum(dim=2)  # (B, K)
    return (1 - cosine).mean()  # [ASK-12]


def triplet_correlation_loss(
    features: torch.Tensor,
    labels: torch.Tensor,
    margin: float = 1.0,
    mining: str = "random",
    *,
    flat: bool = False,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """[ASK-13] Images of one class should be closer, by a margin, than images of two.

    Departs from paper: as printed, images of one class are pushed apart. How triplets are found is open.

    >>> one_class = torch.tensor([3, 3])
    >>> triplet_correlation_loss(torch.rand(2, 4, 8), one_class)
    tensor(0.)

    Args:
        features: ``(B, K, C)``, the descriptors at the keypoints, in one order for all images.
        labels: ``(B,)``.
        margin: The paper's alpha.
        mining: ``random``: each pair of one class with a random image of another; ``batch-hard``: each image with the
            farthest of its class and the nearest of another; ``all`` triplets.
        flat: The cosine of the K x C numbers as one vector, in place of the mean of the K cosines.
        generator: Of the random images, on the features' device.

    Returns:
        The mean over triplets, a scalar; 0, with a gradient of zeros, where there is none.
    """
    check_shape("features", features, "BKC")
    check_shape("labels", labels, (features.shape[0],), "One class an image.")
    check_choice("mining", mining, MINING)
    features = features.to(torch.promote_types(features.dtype, torch.float32))  # sums over triplets overflow half
    rows = l2_normalize(features.flatten(1) if flat else features).flatten(1)  # (B, K*C)
    rho = rows @ rows.T / (1 if flat else features.shape[1])  # (B, B): the mean of K cosines is one product
    same = labels[:, None] == labels
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    if mining == "batch-hard":
        near = rho.masked_fill(same, -torch.inf).amax(dim=1)  # of other classes, (B,)
        far = rho.masked_fill(~positive, torch.inf).amin(dim=1)  # of the same class
        valid = positive.any(dim=1) & ~same.all(dim=1)
    elif mining == "random":
        order = same.int().argsort(dim=1, stable=True)  # row by row, images of other classes first
        others = (~same).sum(dim=1, keepdim=True)  # (B, 1)
        drawn = torch.rand(rho.shape, generator=generator, device=rho.device) * others
        near, far = rho.gather(1, order.gather(1, drawn.long())), rho  # (B, B)
        valid = positive & (others > 0)
    else:
        near, far = rho[:, None, :], rho[:, :, None]  # (B, positive, negative)
        valid = positive[:, :, None] & ~same[:, None, :]
    difference = (near - far).masked_fill(~valid, -margin)
    losses = functional.relu(difference + margin)  # [ASK-13] rho(a, n) - rho(a, p) + margin
    return losses.sum() / valid.sum().clamp(min=1)


def _tent(position: torch.Tensor, length: int) -> torch.Tensor:
    """max(0, 1 - |x - v|) for each cell v, ``(B, K)`` to ``(B, K, length)``, with the right-hand slope at integers."""
    distance = position[..., None] - torch.arange(length, device=position.device)
    inside = (distance >= -1) & (distance < 1)
    return torch.where(distance < 0, 1 + distance, 1 - distance) * inside
