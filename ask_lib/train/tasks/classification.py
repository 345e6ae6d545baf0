"""What plain classification with one input needs: the step, the prediction, the networks to choose from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ask_lib.models.small import SmallResNet, SmallVGG
from ask_lib.train.data import Batch
from ask_lib.train.loop import Step

NETWORKS: dict[str, Callable[..., nn.Module]] = {"vgg": SmallVGG, "resnet": SmallResNet}


def classification_step(modality: str) -> Step:
    """The plain step: cross-entropy of a network that takes one input."""

    def step(network: Any, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        return {"main": functional.cross_entropy(network(batch.inputs[modality]), batch.labels)}

    return step


def classification_predict(modality: str) -> Callable[[Any, dict[str, torch.Tensor]], torch.Tensor]:
    """Logits of a network that takes one input."""
    return lambda network, inputs: network(inputs[modality])
