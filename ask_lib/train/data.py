"""What the loop trains on: data sets that hand out batches, and how they are split and ordered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from ask_lib.checks import check_range, check_shape
from ask_lib.train.augment import mix


@dataclass(frozen=True)
class Batch:
    """Some samples.

    Attributes:
        inputs: By name, ``(B, ...)`` each.
        labels: ``(B,)`` long.
        index: ``(B,)`` long, the samples' numbers in their data set: the key of their augmentation.
    """

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    index: torch.Tensor


class Data(Protocol):
    """A data set: its labels, and batches of it in a given order."""

    @property
    def labels(self) -> torch.Tensor:
        """``(N,)`` long, on the CPU."""
        ...

    def batches(self, order: Sequence[torch.Tensor], device: torch.device) -> Iterator[Batch]:
        """One batch an entry of ``order``; an entry is a ``(B,)`` long tensor of sample numbers."""
        ...


class TensorData:
    """A data set that lies in memory; it moves to the device once and is indexed there.

    Args:
        inputs: By name, ``(N, ...)`` each.
        labels: ``(N,)`` long.
    """

    def __init__(self, inputs: Mapping[str, torch.Tensor], labels: torch.Tensor) -> None:
        check_shape("labels", labels, "N")
        for name, x in inputs.items():
            check_shape(f"inputs[{name!r}]", x, (len(labels), *x.shape[1:]), "One row a label.")
        self.inputs = dict(inputs)
        self.labels = labels.cpu().long()
        self._there: tuple[torch.device, dict[str, torch.Tensor], torch.Tensor] | None = None

    def batches(self, order: Sequence[torch.Tensor], device: torch.device) -> Iterator[Batch]:
        """See `Data.batches`."""
        if self._there is None or self._there[0] != device:
            moved = {name: x.to(device) for name, x in self.inputs.items()}
            self._there = (device, moved, self.labels.to(device))
        _, inputs, labels = self._there
        for index in order:
            index = index.to(device, non_blocking=True)  # else every batch would wait for the device
            yield Batch({name: x[index] for name, x in inputs.items()}, labels[index], index)


class LoaderData:
    """A data set too large for memory, read by worker processes.

    Args:
        dataset: Its items are ``(inputs, label)``: a dict of tensors (uint8 pictures travel four times lighter) and
            an int. An item must not depend on chance, or a resumed run would differ: augmentation is the loop's.
        labels: ``(N,)`` long, known without reading the pictures.
        workers: Processes that read; 0 reads in this one.
    """

    def __init__(
        self, dataset: Dataset[tuple[dict[str, torch.Tensor], int]], labels: torch.Tensor, workers: int = 0
    ) -> None:
        self.dataset, self.labels, self.workers = dataset, labels.cpu().long(), workers

    def batches(self, order: Sequence[torch.Tensor], device: torch.device) -> Iterator[Batch]:
        """See `Data.batches`."""
        loader = DataLoader(
            self.dataset,
            batch_sampler=[index.tolist() for index in order],
            num_workers=self.workers,
            pin_memory=device.type == "cuda",
            generator=torch.Generator().manual_seed(0),  # else it would draw from the global state: see resume
        )
        for (inputs, labels), index in zip(loader, order, strict=True):
            moved = {name: x.to(device, non_blocking=True) for name, x in inputs.items()}
            yield Batch(moved, labels.long().to(device, non_blocking=True), index.to(device, non_blocking=True))


class Subset:
    """Some rows of a data set, nothing copied; samples keep their numbers in the whole set.

    Args:
        data: The whole set.
        rows: ``(M,)`` long, which samples.
    """

    def __init__(self, data: Data, rows: torch.Tensor) -> None:
        self.data, self.rows = data, rows
        self.labels = data.labels[rows]

    def batches(self, order: Sequence[torch.Tensor], device: torch.device) -> Iterator[Batch]:
        """See `Data.batches`."""
        return self.data.batches([self.rows[index] for index in order], device)


def stratified_split(labels: torch.Tensor, fraction: float = 0.2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Hold out a fraction of every class.

    Args:
        labels: ``(N,)`` long.
        fraction: Of each class; to whole samples (half up), at least one of a class with two, never all of it.
        seed: Chooses which.

    Returns:
        The rows to train on and the rows held out, both ``(M,)`` long and ascending.

    Raises:
        RangeError: If the fraction is not in [0, 1).
    """
    check_range("fraction", fraction, 0, 1 - 1e-9)
    labels = labels.cpu()
    held = torch.zeros(len(labels), dtype=torch.bool)
    for number in sorted(set(labels.tolist())):
        rows = (labels == number).nonzero()[:, 0]
        count = min(max(int(fraction * len(rows) + 0.5), 1 if fraction > 0 else 0), len(rows) - 1)
        chosen = torch.randperm(len(rows), generator=torch.Generator().manual_seed(mix(seed, number)))[:count]
        held[rows[chosen]] = True
    return (~held).nonzero()[:, 0], held.nonzero()[:, 0]


def split(data: Data, fraction: float = 0.2, seed: int = 0) -> tuple[Data, Data]:
    """The same as two data sets: to train on, held out."""
    rows, held = stratified_split(data.labels, fraction, seed)
    return Subset(data, rows), Subset(data, held)


def epoch_order(count: int, batch: int, seed: int, epoch: int, drop_last: bool = True) -> list[torch.Tensor]:
    """One epoch's batches: a permutation that depends on seed and epoch alone, cut into pieces.

    Args:
        count: Number of samples.
        batch: Samples a batch, over all processes.
        seed: The run's seed.
        epoch: The epoch.
        drop_last: Leave out a last batch that is not full, unless it is the only one.

    Returns:
        Sample numbers, one tensor a batch.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(mix(seed, epoch)))
    pieces = list(torch.split(order, batch))
    return pieces[:-1] if drop_last and len(pieces) > 1 and len(pieces[-1]) < batch else pieces


def share(index: torch.Tensor, rank: int, world: int) -> torch.Tensor:
    """The part of a batch that one of ``world`` processes computes; the parts differ by one sample at most."""
    return index.tensor_split(world)[rank]
