"""ASK's equations as the paper prints them, where `ask_lib` departs from them: for `experiments.ask_errata` alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional

from ask_lib.checks import check_choice, check_range, check_shape
from ask_lib.methods.descriptors import l2_normalize
from ask_lib.methods.dlfs import DLFS, Selection, modal_correlation_loss, sample, triplet_correlation_loss
from ask_lib.models.ask import ASKHead
from ask_lib.train.config import Schedule, TrainConfig
from ask_lib.train.loop import Task
from experiments.ask_rows import Row

FORMS = ("axes", "coordinates", "sign of 12", "sign of 13")
EVERY = 80 / 300  # of all epochs, between two steps of the paper's rate


@dataclass(frozen=True, kw_only=True)
class PrintedRow(Row):
    """A row with something as it is printed.

    Attributes:
        forms: Of ``FORMS``.
        factor: Of the learning rate at each of the paper's steps; 0 for a cosine, as in all other rows.
    """

    forms: tuple[str, ...] = ()
    factor: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for form in self.forms:
            check_choice("form", form, FORMS)
        check_range("factor", self.factor, 0, 1)


def swapped(keypoints: torch.Tensor) -> torch.Tensor:
    """[ASK-4] [ASK-5] Where the descriptors are read as printed: at the points' mirror images in the diagonal.

    4 pairs x with the row u and y with the column v, 5 compares x with v and y with u.

    Args:
        keypoints: ``(B, K, 2)``, ours.
    """
    return keypoints.flip(2)


def sample_normalised(features: torch.Tensor, keypoints: torch.Tensor) -> torch.Tensor:
    """[ASK-5] with points and cells "in the range of [-1, 1]", as printed: the kernel is as wide as the map.

    Args:
        features: ``(B, C, H, W)``, H and W at least 2.
        keypoints: ``(B, K, 2)``, in cells.

    Returns:
        Weighted sums, not means, ``(B, K, C)``.
    """
    check_range("short side of the maps, in cells", min(features.shape[2:]), 2)
    height, width = features.shape[2:]
    x, y = keypoints[..., 0] * 2 / (width - 1) - 1, keypoints[..., 1] * 2 / (height - 1) - 1  # (B, K)
    v, u = (torch.linspace(-1, 1, n, dtype=x.dtype, device=x.device) for n in (width, height))
    across, down = (functional.relu(1 - (at[..., None] - cells).abs()) for at, cells in ((x, v), (y, u)))
    return torch.einsum("bchw,bkw,bkh->bkc", features, across, down)  # [ASK-5]


def printed_modal_loss(rgb: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """[ASK-12] as printed: the mean cosine itself, which is minimised. Both ``(B, K, C)``."""
    return 1 - modal_correlation_loss(rgb, depth)


def printed_triplet_loss(
    features: torch.Tensor, labels: torch.Tensor, margin: float, generator: torch.Generator | None = None
) -> torch.Tensor:
    """[ASK-13] as printed: images of one class should be farther, by a margin, than images of two.

    Args:
        features: ``(B, K, C)``.
        labels: ``(B,)``.
        margin: The paper's alpha.
        generator: Of the random image of another class that each pair of one class is given.

    Returns:
        The mean over pairs; 0, with a gradient of zeros, where there is none.
    """
    check_shape("labels", labels, (features.shape[0],), "One class an image.")
    rows = l2_normalize(features).flatten(1)  # (B, K*C)
    rho = rows @ rows.T / features.shape[1]  # (B, B)
    same = labels[:, None] == labels
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    if same.all():
        return 0 * rho.sum()
    negative = torch.multinomial((~same).double(), len(labels), replacement=True, generator=generator)  # (B, B)
    losses = functional.relu(rho - rho.gather(1, negative) + margin)  # [ASK-13] rho(a, p) - rho(a, n) + margin
    return (losses * positive).sum() / positive.sum().clamp(min=1)


def _read_swapped(features: torch.Tensor, keypoints: torch.Tensor) -> torch.Tensor:
    return sample(features, swapped(keypoints))


Read = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
READ: Mapping[str, Read] = {"axes": _read_swapped, "coordinates": sample_normalised}


class PrintedDLFS(nn.Module):
    """A DLFS whose descriptors are read in another way.

    Args:
        select: The DLFS.
        form: Of ``READ``.
    """

    def __init__(self, select: DLFS, form: str) -> None:
        super().__init__()
        self.select, self.form = select, form

    def forward(self, rgb: torch.Tensor, depth: torch.Tensor) -> Selection:
        """Both ``(B, C, H, W)``; the keypoints are those that the descriptors were read at."""
        found: Selection = self.select(rgb, depth)
        local = READ[self.form](torch.cat([rgb, depth], dim=1), found.keypoints)
        keypoints = swapped(found.keypoints) if self.form == "axes" else found.keypoints
        return Selection(found.maps, keypoints, *local.chunk(2, dim=2))


class PrintedHead(ASKHead):
    """A head with some forms as printed, and the weights of one without.

    Args:
        head: That one; its triplets are random.
        num_classes: N.
        forms: Of ``FORMS``.
    """

    def __init__(self, head: ASKHead, num_classes: int, forms: tuple[str, ...]) -> None:
        super().__init__(head.channels, num_classes, head.options)
        check_choice("mining", self.options.mining, ("random",))
        self.load_state_dict(head.state_dict())
        self.forms = forms
        for form in READ.keys() & set(forms):
            for scale in self.scales:
                scale.select = PrintedDLFS(scale.select, form)  # type: ignore[arg-type]

    def _correlation(
        self, selection: Selection, labels: torch.Tensor, generator: torch.Generator | None
    ) -> torch.Tensor:
        modal = printed_modal_loss if "sign of 12" in self.forms else modal_correlation_loss
        triplets = [self._triplet(local, labels, generator) for local in (selection.rgb, selection.depth)]
        return torch.stack([*triplets, modal(selection.rgb, selection.depth)]).sum()

    def _triplet(self, local: torch.Tensor, labels: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        if "sign of 13" in self.forms:
            return printed_triplet_loss(local, labels, self.options.margin, generator)
        return triplet_correlation_loss(local, labels, self.options.margin, flat=self.options.flat, generator=generator)


def printed_task(task: Task, row: PrintedRow) -> Task:
    """What a row trains, of what it would train in our form; the head starts from the same weights."""
    if row.forms:
        task.network.head = PrintedHead(task.network.head, task.num_classes, row.forms)  # type: ignore[arg-type]
    return task


def printed_config(config: TrainConfig, row: PrintedRow) -> TrainConfig:
    """How a row is trained: the paper's 80 of 300 epochs between steps are as many of ours."""
    if not row.factor:
        return config
    every = max(1, round(EVERY * config.epochs))
    return replace(config, schedule=Schedule(kind="step", factor=row.factor, every=every))
