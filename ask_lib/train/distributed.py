"""One process or many: the same code in both.

Started by ``torchrun``, each process computes its share of every batch and DistributedDataParallel averages the
gradients. Two processes then equal one process with the same (global) batch, up to rounding, where a sample's loss
does not depend on its neighbours. It does in two cases:

- **Batch norm in training** takes its statistics from a process's share. ``sync_batch_norm`` (on GPUs) takes them
  from the whole batch. Running statistics are those of process 0, sent to the others before each evaluation.
- **Mining in the batch** (a triplet's negative, the hardest positive) sees a process's share only: fewer candidates.
  Random draws of a step (dropout, a random negative) come from a generator of its own in each process.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from ask_lib.checks import check_range
from ask_lib.reproduce import pick_device
from ask_lib.train.errors import CheckpointError


@dataclass(frozen=True)
class Process:
    """This process among those that train together.

    Attributes:
        device: Where it computes.
        rank: Its number.
        world: How many there are.
    """

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def writes(self) -> bool:
        """Whether it is the one that writes files and shows progress."""
        return self.rank == 0


@contextlib.contextmanager
def join(device: str = "auto") -> Iterator[Process]:
    """Join the processes that ``torchrun`` started; alone, be the only one.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``; the backend is NCCL on CUDA, else gloo.

    Yields:
        This process.

    Raises:
        RangeError: If there are more processes than GPUs on this machine.
    """
    chosen = pick_device(device)
    if "WORLD_SIZE" not in os.environ or "RANK" not in os.environ:
        yield Process(chosen)
        return
    if chosen.type == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        check_range("LOCAL_RANK (a GPU for each process)", local, 0, torch.cuda.device_count() - 1)
        chosen = torch.device("cuda", local)
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Process(chosen, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def add_up(tensor: torch.Tensor, process: Process) -> torch.Tensor:
    """The sum over processes, in every process."""
    return _reduce(tensor, process, dist.ReduceOp.SUM)


def smallest(tensor: torch.Tensor, process: Process) -> torch.Tensor:
    """The minimum over processes, in every process."""
    return _reduce(tensor, process, dist.ReduceOp.MIN)


def _reduce(tensor: torch.Tensor, process: Process, how: Any) -> torch.Tensor:
    if process.world == 1:
        return tensor
    result = tensor.clone()
    dist.all_reduce(result, how)
    return result


def collect(thing: Any, process: Process) -> list[Any]:
    """Every process's ``thing``, in order of rank, in every process."""
    if process.world == 1:
        return [thing]
    things: list[Any] = [None] * process.world
    dist.all_gather_object(things, thing)
    return things


def in_first(process: Process, do: Callable[[], object]) -> None:
    """Do something in process 0 alone, while the others wait.

    Args:
        process: This process.
        do: What to do.

    Raises:
        CheckpointError: In every process, with the same words, if ``do`` raises it.
    """
    problem = ""
    if process.writes:
        try:
            do()
        except CheckpointError as error:
            problem = str(error)
    problem = collect(problem, process)[0]
    if problem:
        raise CheckpointError(problem)


def wait(process: Process) -> None:
    """Until all processes are here."""
    if process.world > 1:
        dist.barrier()


def send_buffers(network: nn.Module, process: Process) -> None:
    """Give every process the buffers (batch norm's running statistics) of process 0."""
    if process.world > 1:
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)


def wrap(module: nn.Module, process: Process, unused: bool = False) -> nn.Module:
    """``module`` under DistributedDataParallel where there are several processes; else itself.

    Args:
        module: The module.
        process: This process.
        unused: Whether a step may leave some parameters without a gradient (the search for them costs time).
    """
    if process.world == 1:
        return module
    # Buffers are sent before evaluation instead: sending them before each forward pass costs time. Newer versions of
    # torch have another name for that setting.
    parallel: Any = nn.parallel.DistributedDataParallel
    names = inspect.signature(parallel.__init__).parameters
    setting = "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"
    return parallel(module, find_unused_parameters=unused, **{setting: False})  # type: ignore[no-any-return]
