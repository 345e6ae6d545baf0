"""SCDA: selective convolutional descriptor aggregation (Wei et al., 2017): its first two steps.

Source: Wei, Luo, Wu, Zhou: Selective Convolutional Descriptor Aggregation for Fine-Grained Image Retrieval, IEEE TIP
26(6), 2017, and the authors' talk on it. The talk does not number its equations: the tags are the book's.
"""

from __future__ import annotations

import torch

from ask_lib.checks import check_shape
from ask_lib.methods.descriptors import above_mean


def activation_map(features: torch.Tensor) -> torch.Tensor:
    """[SCDA-1] The activation map: the sum over channels.

    Args:
        features: ``(B, C, H, W)``, after ReLU.

    Returns:
        ``(B, H, W)``.

    Raises:
        ShapeError: If ``features`` is not four-dimensional.
    """
    check_shape("features", features, "BCHW", "Add a batch axis with features[None] if it is one image's map.")
    return features.sum(dim=1)  # [SCDA-1] (B, H, W)


def mean_mask(features: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
    """[SCDA-2] Cells whose activation lies above the map's mean.

    Args:
        features: ``(B, C, H, W)``, after ReLU.
        factor: Multiple of the mean; SCDA's is 1.

    Returns:
        bool, ``(B, H, W)``.
    """
    return above_mean(activation_map(features), factor)  # [SCDA-2]
