"""The loop of `ask_lib.train.loop.fit`, for one process and no folder: what a step does, with nothing around it."""

from __future__ import annotations

import torch
from torch import nn

from ask_lib.reproduce import seed_everything
from ask_lib.train.augment import mix, prepare_augmented
from ask_lib.train.config import TrainConfig
from ask_lib.train.data import Batch
from ask_lib.train.loop import Task, batch_order, make_optimizer


def train(task: Task, config: TrainConfig) -> nn.Module:
    """Train a task's network on the CPU; ends with the last epoch's weights, equal to those of `fit`."""
    seed_everything(mix(config.seed, 0))
    network = task.network.to(memory_format=torch.channels_last).train()
    optimizer = make_optimizer(network, config)
    generator = torch.Generator()
    for epoch in range(config.epochs):
        order = batch_order(task, config, epoch)  # a permutation, cut into batches
        for number, batch in enumerate(task.train.batches(order, torch.device("cpu"))):
            step = epoch * len(order) + number
            rate = config.lr * config.schedule(step, len(order), config.epochs)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["factor"]
            generator.manual_seed(mix(config.seed, step, 0))  # chance depends on seed and step alone
            inputs = prepare_augmented(batch.inputs, task.specs, config.augment, config.seed, epoch, batch.index)
            inputs = {name: x.contiguous(memory_format=torch.channels_last) for name, x in inputs.items()}
            terms = task.step(network, Batch(inputs, batch.labels, batch.index), generator)
            loss = torch.stack([task.weights.get(name, 1.0) * term for name, term in terms.items()]).sum()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    return network.eval()
