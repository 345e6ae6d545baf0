"""From a layer's map to local descriptors and back: the one file that the methods share.

A map is ``(B, C, H, W)``. Its cell (x, y) is the descriptor of one place: a vector of C numbers.
"""

from __future__ import annotations

import torch

from ask_lib.checks import check_shape


def to_descriptors(features: torch.Tensor) -> torch.Tensor:
    """The map's cells as a list of descriptors, row by row.

    Args:
        features: ``(B, C, H, W)``.

    Returns:
        ``(B, H*W, C)``; cell (x, y) is entry ``y * W + x``.

    Raises:
        ShapeError: If ``features`` is not four-dimensional.
    """
    check_shape("features", features, "BCHW", "Add a batch axis with features[None] if it is one image's map.")
    return features.flatten(2).transpose(1, 2)  # (B, H*W, C)


def l2_normalize(x: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """Scale to unit length along ``dim``; a zero vector stays zero (no division by an epsilon that shows).

    The largest absolute value is divided out first, so that no square overflows or vanishes: in float32 that would
    begin at 1e19 and 1e-19. It is a constant to the gradient, as the result does not depend on it. At a zero vector,
    where the function has no gradient, the gradient passes through unchanged.
    """
    if not x.numel():
        return x
    peak = x.detach().abs().amax(dim=dim, keepdim=True)
    x = x / torch.where(peak == 0, 1.0, peak)
    norm = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return x / torch.where(norm == 0, 1.0, norm)


def signed_sqrt(x: torch.Tensor) -> torch.Tensor:
    """``sign(x) * sqrt(|x|)``, element by element.

    At 0 the slope is infinite; there the gradient is set to 0, as zeros are common after a ReLU and one infinity
    would spoil all that lies before it.
    """
    safe = torch.where(x == 0, 1.0, x.abs())  # chosen before the root: 0 * infinity is NaN in the chain rule
    return x.sign() * safe.sqrt()


def above_mean(maps: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
    """Cells strictly above ``factor`` times their map's mean.

    The mean is taken in float64. A map whose largest value equals its smallest selects nothing: in float32
    a mean can round below the constant that it averages, and every cell would pass.

    Source: the mask of SCDA and the focus area of PCL (both with factor 1).

    Args:
        maps: ``(B, H, W)``.
        factor: Multiple of the mean; the papers use 1.

    Returns:
        bool, ``(B, H, W)``.

    Raises:
        ShapeError: If ``maps`` is not three-dimensional.
    """
    check_shape("maps", maps, "BHW", "Sum or average the channels of a (B, C, H, W) map first.")
    wide = maps.double()  # (B, H, W)
    mean = wide.mean(dim=(1, 2), keepdim=True)  # (B, 1, 1)
    varies = wide.amax(dim=(1, 2), keepdim=True) > wide.amin(dim=(1, 2), keepdim=True)  # (B, 1, 1)
    return (wide > factor * mean) & varies
