"""Accuracies from a confusion matrix, counted on the device."""

from __future__ import annotations

import torch

from ask_lib.checks import check_shape
from ask_lib.errors import RangeError, ShapeError


def confusion_matrix(predicted: torch.Tensor, labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """How often class ``row`` was called ``column``.

    Args:
        predicted: ``(N,)`` whole numbers in [0, num_classes).
        labels: ``(N,)`` likewise.
        num_classes: Number of classes.

    Returns:
        ``(num_classes, num_classes)`` long. The check of the range waits for the device: call this once for a set.
    """
    check_shape("predicted", predicted, "N", "Take the arg max of the logits first.")
    check_shape("labels", labels, (len(predicted),))
    check_classes("predicted", predicted, num_classes)
    check_classes("labels", labels, num_classes)
    pairs = labels.long() * num_classes + predicted.long()
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


def check_classes(name: str, classes: torch.Tensor, num_classes: int) -> None:
    """Raise unless all are whole numbers in [0, num_classes): cross-entropy would ignore -100 without a word."""
    if classes.dtype.is_floating_point or classes.dtype.is_complex or classes.dtype == torch.bool:
        raise ShapeError(f"{name}: expected whole numbers, got {classes.dtype}. Convert them with .long().")
    if not classes.numel():
        return
    low, high = (int(value) for value in torch.stack(classes.aminmax()))
    expected = f"{name}: expected classes 0 to {num_classes - 1} ({num_classes} classes)"
    if low < 0:
        raise RangeError(f"{expected}, got {low}. Leave pictures without a class out of the data.")
    if high >= num_classes:
        raise RangeError(f"{expected}, got {high}, so there are {high + 1} outputs at least. Make both numbers agree.")


def accuracy(confusion: torch.Tensor) -> torch.Tensor:
    """Share of pictures called by their class: a scalar, float64; 0 of nothing."""
    check_shape("confusion", confusion, "CC")
    return confusion.diagonal().sum().double() / confusion.sum().clamp(min=1)


def mean_class_accuracy(confusion: torch.Tensor) -> torch.Tensor:
    """Mean over classes of each class's accuracy: a scalar, float64. Classes without pictures do not count."""
    check_shape("confusion", confusion, "CC")
    count = confusion.sum(dim=1)
    recall = confusion.diagonal().double() / count.clamp(min=1)
    return recall.sum() / (count > 0).sum().clamp(min=1)  # an absent class has recall 0
