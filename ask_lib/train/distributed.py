"""One process or many: the same code in both.

Started by ``torchrun``, each process computes its share of every batch. Two processes equal one with the same (global)
batch, up to rounding, where a sample's loss does not depend on its neighbours. It does in two cases:

- **Batch norm in training** takes its statistics from a process's share; on GPUs, from the whole batch. Running
  statistics are those of process 0, sent to the others before each evaluation.
- **Mining in the batch** (a triplet's negative) sees a process's share only, and a step's random draws (dropout) come
  from a generator of its own in each process.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from ask_lib.checks import check_range
from ask_lib.command import describe
from ask_lib.errors import AskError, CheckpointError, ConfigError
from ask_lib.reproduce import pick_device

T = TypeVar("T")
VARIABLES = {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": None, "MASTER_PORT": 1}  # torchrun's; numbers: the smallest


@dataclass(frozen=True)
class Process:
    """This process among those that train together: where it computes, its number, how many there are."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def is_main(self) -> bool:
        """Whether it is the one that writes files and shows progress."""
        return self.rank == 0


@contextlib.contextmanager
def init(device: str = "auto") -> Iterator[Process]:
    """Join the processes that ``torchrun`` started; alone, be the only one. The backend is NCCL on CUDA, else gloo."""
    chosen = pick_device(device)
    if "WORLD_SIZE" not in os.environ and "RANK" not in os.environ:
        yield Process(chosen)
        return
    _check_variables()
    if chosen.type == "cuda":
        local = _number("LOCAL_RANK", os.environ.get("LOCAL_RANK", "0"), 0)
        check_range("LOCAL_RANK (a GPU for each process)", local, 0, torch.cuda.device_count() - 1)
        chosen = torch.device("cuda", local)
        torch.cuda.set_device(chosen)
    try:
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    except (RuntimeError, ValueError, OSError) as error:
        raise ConfigError(f"torchrun: the processes did not find each other ({str(error).splitlines()[0]}).") from error
    try:
        yield Process(chosen, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def _check_variables() -> None:
    hint = "Start with torchrun, or unset RANK and WORLD_SIZE to train in one process."
    if missing := [name for name in VARIABLES if not os.environ.get(name)]:
        raise ConfigError(f"environment: expected {', '.join(VARIABLES)} together, {missing[0]} is missing. {hint}")
    numbers = {name: _number(name, os.environ[name], low) for name, low in VARIABLES.items() if low is not None}
    check_range("RANK", numbers["RANK"], 0, numbers["WORLD_SIZE"] - 1)
    check_range("MASTER_PORT", numbers["MASTER_PORT"], 1, 65535)


def _number(name: str, text: str, low: int) -> int:
    if not text.isdecimal() or int(text) < low:
        raise ConfigError(f"{name}: expected a whole number from {low}, got {text!r}. Start with torchrun.")
    return int(text)


def all_reduce(tensor: torch.Tensor, process: Process, how: str = "sum") -> torch.Tensor:
    """The ``sum`` or the ``min`` over processes, in every process."""
    if process.world == 1:
        return tensor
    result = tensor.clone()
    dist.all_reduce(result, {"sum": dist.ReduceOp.SUM, "min": dist.ReduceOp.MIN}[how])
    return result


def gather(thing: T, process: Process) -> list[T]:
    """Every process's ``thing``, in order of rank, in every process."""
    if process.world == 1:
        return [thing]
    things: list[Any] = [None] * process.world
    dist.all_gather_object(things, thing)
    return things


def in_main(process: Process, do: Callable[[], T]) -> T:
    """What process 0 alone does, while the others wait; every process gets its value.

    If ``do`` raises an error of the library's or the system's, the others raise CheckpointError with its words.
    """
    value, problem, raised = None, "", None
    if process.is_main:
        try:
            value = do()
        except (AskError, OSError) as error:
            raised, problem = error, str(error) if isinstance(error, AskError) else describe(error)
    value, problem = gather((value, problem), process)[0]
    if raised is not None:
        raise raised
    if problem:
        raise CheckpointError(problem)
    return value  # type: ignore[return-value]


def shard(index: torch.Tensor, process: Process) -> torch.Tensor:
    """The part of a batch that this process computes; the parts differ by one sample at most."""
    return index.tensor_split(process.world)[process.rank]


def send_buffers(network: nn.Module, process: Process) -> None:
    """Give every process the buffers (batch norm's running statistics) of process 0."""
    if process.world > 1:
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)


def wrap(module: nn.Module, process: Process) -> nn.Module:
    """``module`` under DistributedDataParallel where there are several processes; else itself."""
    if process.world == 1:
        return module
    # Buffers are sent before evaluation instead, which is faster; the setting's name depends on torch's version.
    parallel: Any = nn.parallel.DistributedDataParallel
    names = inspect.signature(parallel.__init__).parameters
    setting = "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"
    return parallel(module, **{setting: False})  # type: ignore[no-any-return]
