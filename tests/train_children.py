"""What the loop's tests run in processes of their own, to be killed or joined."""

import contextlib
import multiprocessing
import os
import random
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset

from ask_lib.errors import AskError, CheckpointError
from ask_lib.train import checkpoint
from ask_lib.train.__main__ import main
from ask_lib.train.augment import Augment
from ask_lib.train.config import Schedule, TrainConfig
from ask_lib.train.data import LoaderData, Subset, TensorData, split
from ask_lib.train.distributed import Process, init
from ask_lib.train.loop import Task, fit
from ask_lib.train.run import build
from ask_lib.train.tasks import find_experiment
from ask_lib.train.tasks.toy import SPECS, shapes

# The server imports torch once (its optimisers import the compiler, the slowest part); a child is then a quick fork.
spawner = multiprocessing.get_context("forkserver")
spawner.set_forkserver_preload(
    ["ask_lib.train.run", "ask_lib.train.tasks.toy", "ask_lib.train.tasks.ask", "torch._dynamo", "tests.train_children"]
)

RESTLESS = TrainConfig(
    epochs=4,
    batch=15,
    per_class=5,
    groups={"0": 0.5},
    lr=0.02,
    schedule=Schedule(warmup=1),
    augment=Augment(flip=0.5, shift=0.1, erase=0.5),
)


TWO_VIEWS = {"rgb": SPECS["rgb"], "other": replace(SPECS["rgb"], source="rgb", view=1)}


def with_two_views(task: Task) -> Task:
    """The toy's task, where two views of a picture should get the same answer."""

    def step(network, batch, generator):
        first, second = network(batch.inputs["rgb"]), network(batch.inputs["other"])
        return {"main": functional.cross_entropy(first, batch.labels) + (first - second).square().mean()}

    return replace(task, specs=TWO_VIEWS, step=step)


def restless_task() -> Task:
    """A task that draws from every generator there is, with two views, batch norm and dropout."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3), nn.AdaptiveAvgPool2d(3), nn.Flatten()
    )
    network.append(nn.Linear(72, 3))
    train, validation = split(shapes(250, classes=3), 0.2)

    def step(network, batch, generator):
        x = batch.inputs["rgb"]
        own = torch.rand(len(x), generator=generator, device=x.device)
        scale = 1 + 0.1 * (own + torch.rand(len(x)).to(own) + random.random() + np.random.rand())  # noqa: NPY002
        logits = network(x * scale[:, None, None, None].to(x))
        apart = (logits - network(batch.inputs["other"])).square().mean()
        return {"main": functional.cross_entropy(logits, batch.labels), "size": logits.square().mean(), "apart": apart}

    return Task(
        network=network,
        step=step,
        predict=lambda network, inputs: network(inputs["rgb"]),
        num_classes=3,
        train=train,
        validation=validation,
        specs=TWO_VIEWS,
        weights={"size": 0.01, "apart": 0.1},
    )


class Pictures(Dataset[tuple[dict[str, torch.Tensor], int]]):
    """A data set in memory, one sample at a time."""

    def __init__(self, data: TensorData) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data.labels)

    def __getitem__(self, index: int) -> tuple[dict[str, torch.Tensor], int]:
        return {name: x[index] for name, x in self.data.inputs.items()}, int(self.data.labels[index])


def through_workers(task: Task, workers: int) -> Task:
    """The same task, its data read by worker processes. For a child: it changes how processes start."""
    multiprocessing.set_start_method("fork", force=True)  # else each child would start a server of its own
    parts = {}
    for name in ("train", "validation"):
        part = getattr(task, name)
        parts[name] = Subset(LoaderData(Pictures(part.data), part.data.labels, workers), part.rows)
    return replace(task, **parts)


def train_restless(out: Path, optimizer: str, workers: int = 0) -> None:
    torch.set_num_threads(1)
    config = replace(RESTLESS, optimizer=optimizer, epochs=8)
    task = through_workers(restless_task(), workers) if workers else restless_task()
    fit(task, config, out=out, resume=True, progress=False)


def start_together(gate: Any, out: Path, name: str) -> None:
    """Train, and say how it ended; ``gate`` lets all start at once."""
    torch.set_num_threads(1)
    checkpoint.PATIENCE = 0.0
    task = restless_task()
    gate.wait(60)
    try:
        fit(task, RESTLESS, out=out, resume=True, progress=False)
        said = "trained"
    except CheckpointError as error:
        said = str(error)
    (out.parent / name).write_text(said)


def hold_until_killed(path: Path, what: Path, held: Any) -> None:
    with checkpoint.hold(path, what, Process(torch.device("cpu"))):
        held.set()
        time.sleep(600)


@contextlib.contextmanager
def holder(path: Path, what: Path) -> Iterator[Any]:
    """Inside, another process holds a lock."""
    held = spawner.Event()
    child = spawner.Process(target=hold_until_killed, args=(path, what, held))
    child.start()
    assert held.wait(60)
    try:
        yield child
    finally:
        child.kill()
        child.join(60)


def run_without_a_compiler(folder: Path) -> None:
    """The command line with ``compile=true`` on a machine that has no C++ compiler; its words go to a file."""
    from torch._inductor import config

    torch.set_num_threads(1)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "cache")
    config.cpp.cxx = ("no-such-compiler",)
    words = ["run", "toy", "--device", "cpu", "--quiet", "--out", str(folder / "run")]
    with (folder / "stderr").open("w") as said, contextlib.redirect_stderr(said):
        status = main([*words, "compile=true", "epochs=1", "count=60", "test_count=0"])
    raise SystemExit(status)


def command_line(words: list[str]) -> None:
    torch.set_num_threads(1)
    main(words)


def one_of_two(rank: int, port: int, changes: list[str], out: Path, how: str, experiment: str) -> None:
    """One of two gloo processes that train; an error's text goes to a file."""
    torch.set_num_threads(1)
    os.environ["ASK_CACHE"] = str(out.parent / "cache")
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    if how == "taken":
        checkpoint.PATIENCE = 0.0
    config = find_experiment(experiment).config.override(changes)
    with init("cpu") as process:
        task = build(config)
        if how == "workers":
            task = through_workers(task, 1)
        if how == "views":
            task = with_two_views(task)
        if how == "nan on process 1" and rank == 1:
            task = replace(task, step=spoilt(task.step))
        try:
            fit(task, config, out=out, resume=True, process=process, progress=False)
        except AskError as error:
            (out.parent / f"error{rank}").write_text(f"{type(error).__name__}: {error}")


def spoilt(step):
    return lambda *given: {"main": step(*given)["main"] * float("nan")}


def train_in_two(
    changes: list[str], out: Path, how: str = "", kill: bool = False, experiment: str = "toy"
) -> list[int | None]:
    """Train in two processes, killed after their first checkpoint if so wished; returns their exit codes."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    arguments = [(rank, port, changes, out, how, experiment) for rank in (0, 1)]
    children = [spawner.Process(target=one_of_two, args=given) for given in arguments]
    for child in children:
        child.start()
    if kill:
        while not (out / "last.pt").exists() and children[0].is_alive():
            time.sleep(0.002)
        for child in children:
            child.kill()
    for child in children:
        child.join(60)
    return [child.exitcode for child in children]
