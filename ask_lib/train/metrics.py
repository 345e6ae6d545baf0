"""Accuracies from a confusion matrix, counted on the device."""

from __future__ import annotations

import torch

from ask_lib.checks import check_shape


def confusion_matrix(predicted: torch.Tensor, labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """How often class ``row`` was called ``column``.

    Args:
        predicted: ``(N,)`` long.
        labels: ``(N,)`` long.
        num_classes: Number of classes.

    Returns:
        ``(num_classes, num_classes)`` long, on the inputs' device.
    """
    check_shape("predicted", predicted, "N", "Take the arg max of the logits first.")
    check_shape("labels", labels, (len(predicted),))
    pairs = labels * num_classes + predicted
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


def accuracy(confusion: torch.Tensor) -> torch.Tensor:
    """Share of pictures called by their class: a scalar, float64; 0 of nothing."""
    return confusion.diagonal().sum().double() / confusion.sum().clamp(min=1)


def mean_class_accuracy(confusion: torch.Tensor) -> torch.Tensor:
    """Mean over classes of each class's accuracy: a scalar, float64. Classes without pictures do not count."""
    count = confusion.sum(dim=1)
    recall = confusion.diagonal().double() / count.clamp(min=1)
    return recall.sum() / (count > 0).sum().clamp(min=1)  # an absent class has recall 0
