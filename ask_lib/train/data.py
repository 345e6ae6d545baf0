"""What the loop trains on: data sets that hand out batches, and how they are split and ordered."""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from ask_lib.checks import check_range, check_shape
from ask_lib.errors import ConfigError, RangeError
from ask_lib.train.augment import mix

_DEAD = re.compile("DataLoader worker .*(exited unexpectedly|killed by signal)")


@dataclass(frozen=True)
class Batch:
    """Some samples: inputs by name, labels, and the samples' numbers in their data set (they key augmentation)."""

    inputs: dict[str, torch.Tensor]  # (B, ...) each
    labels: torch.Tensor  # (B,) long
    index: torch.Tensor  # (B,) long


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
    """Inputs ``(N, ...)`` by name and labels ``(N,)`` in memory; they move to the device once."""

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
    """A data set too large for memory, read by worker processes; without usable shared memory by this one.

    A script that uses workers needs ``if __name__ == "__main__":``, since a worker may read the script again.

    Args:
        dataset: Its items are ``(inputs, label)``: a dict of tensors (uint8 pictures travel four times lighter) and
            an int. An item must not depend on chance, or a resumed run would differ: augmentation is the loop's.
        labels: ``(N,)`` long, known without reading the pictures.
        workers: Processes that read; 0 reads in this one.
    """

    def __init__(
        self, dataset: Dataset[tuple[dict[str, torch.Tensor], int]], labels: torch.Tensor, workers: int = 0
    ) -> None:
        check_range("workers", workers, 0)
        if workers and getattr(multiprocessing.current_process(), "_inheriting", False):
            raise SystemExit(1)  # a worker reading a script without a main guard: the script itself says so, once
        self.dataset, self.labels, self.workers = dataset, labels.cpu().long(), workers

    def batches(self, order: Sequence[torch.Tensor], device: torch.device) -> Iterator[Batch]:
        """See `Data.batches`."""
        loader = DataLoader(
            self.dataset,
            batch_sampler=[index.tolist() for index in order],
            num_workers=self.workers if self.workers and _shared_memory_works() else 0,
            pin_memory=device.type == "cuda",
            generator=torch.Generator().manual_seed(0),  # else it would draw from the global state: see resume
        )
        with _workers_explained():
            for (inputs, labels), index in zip(loader, order, strict=True):
                if not torch.equal(labels.long(), self.labels[index]):
                    raise RangeError("labels: the items have other labels than the data set was made with.")
                moved = {name: x.to(device, non_blocking=True) for name, x in inputs.items()}
                yield Batch(moved, labels.long().to(device, non_blocking=True), index.to(device, non_blocking=True))


def _shared_memory_works() -> bool:
    """Whether processes can hand each other tensors; else a warning."""
    try:
        torch.empty(1).share_memory_()  # type: ignore[no-untyped-call]
        multiprocessing.get_context().Lock()
    except (OSError, RuntimeError) as error:
        text = f"no usable shared memory (/dev/shm: {error}), so the data are read by one process, without workers."
        warnings.warn(text, stacklevel=2)
        return False
    return True


@contextlib.contextmanager
def _workers_explained() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, EOFError, ConnectionError) as error:
        if isinstance(error, RuntimeError) and not _DEAD.search(str(error)):
            raise
        raise ConfigError(
            f"workers: one ended before its work did ({str(error).splitlines()[0]}). In a script, everything that does "
            'something must stand under `if __name__ == "__main__":`. Else memory may be too small: use workers=0.'
        ) from None


class Subset:
    """Some rows ``(M,)`` of a data set, nothing copied; samples keep their numbers in the whole set."""

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
        fraction: Of each class, in [0, 1); to whole samples (half up), at least one of two, never all of a class.
        seed: Chooses which.

    Returns:
        The rows to train on and the rows held out, both ``(M,)`` long and ascending.
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


def epoch_order(count: int, batch: int, seed: int, epoch: int) -> list[torch.Tensor]:
    """One epoch's batches of sample numbers: a permutation that depends on seed and epoch alone, cut into pieces.

    A last batch that is not full is left out, unless it is the only one.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(mix(seed, epoch)))
    pieces = list(torch.split(order, batch))
    return pieces[:-1] if len(pieces) > 1 and len(pieces[-1]) < batch else pieces


def balanced_order(labels: torch.Tensor, batch: int, per_class: int, seed: int, epoch: int) -> list[torch.Tensor]:
    """One epoch's batches of P classes with K samples each; like `epoch_order` it depends on seed and epoch alone.

    Every class is permuted and cut into groups of K = ``per_class``; a batch takes one group from each of the P classes
    that have most groups left (chance decides between equals), until fewer than P = ``batch`` / K classes have one. No
    sample comes twice, a class's K stand beside each other, and every epoch has as many batches.
    """
    generator = torch.Generator().manual_seed(mix(seed, epoch))
    groups: list[list[torch.Tensor]] = []
    for number in sorted(set(labels.tolist())):
        rows = (labels == number).nonzero()[:, 0]
        rows = rows[torch.randperm(len(rows), generator=generator)]
        groups.append([piece for piece in torch.split(rows, per_class) if len(piece) == per_class])
    classes = batch // per_class
    check_range(f"classes with {per_class} samples or more", sum(map(bool, groups)), classes)
    batches = []
    while sum(map(bool, groups)) >= classes:
        chance = torch.rand(len(groups), generator=generator).tolist()
        most = sorted(range(len(groups)), key=lambda n: (-len(groups[n]), chance[n]))[:classes]
        batches.append(torch.cat([groups[n].pop() for n in most]))
    return batches
