"""The training loop that every method shares. Read `fit` first, then `train_epoch`.

A method brings a `Task`: a network, a step that gives named loss terms, and data. A `Recipe` says how to train it.
What a run computes is decided by these two and the number of processes; progress, folders and checkpoints change
nothing, and a run that is killed and resumed ends with the very same weights.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional

from ask_lib.checks import check_choice, check_range, check_shape
from ask_lib.errors import DataNotFoundError
from ask_lib.files import write_json
from ask_lib.reproduce import pick_device, seed_everything
from ask_lib.train import checkpoint
from ask_lib.train.augment import Augment, InputSpec, mix, prepare, prepare_augmented
from ask_lib.train.compiling import explained
from ask_lib.train.data import Batch, Data, epoch_order, share
from ask_lib.train.distributed import Process, add_up, collect, in_first, send_buffers, smallest, wait, wrap
from ask_lib.train.errors import CheckpointError, NonFiniteError
from ask_lib.train.lock import hold_folder
from ask_lib.train.metrics import accuracy, confusion_matrix, mean_class_accuracy
from ask_lib.train.progress import Progress
from ask_lib.train.recipe import Recipe

NEVER = 2**62


class Step(Protocol):
    """What a method computes in a step: scalars by name; their weighted sum is minimised.

    A term is a mean over the batch. The generator belongs to the step (keyed by seed, step and process), on the
    batch's device.
    """

    def __call__(self, network: Any, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Loss terms, always the same names."""
        ...


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is trained.

    Attributes:
        network: In training mode, or it is put there; modules that you set to evaluation inside it stay so.
        step: Gives the loss terms.
        predict: ``(network, inputs) -> logits (B, num_classes)``, for evaluation.
        num_classes: Number of classes.
        train: Training data.
        validation: Chooses the best epoch; none keeps the last.
        test: Read once, at the very end, by `ask_lib.train.run.run`.
        specs: How each input is prepared; inputs without a spec reach the step as they are.
        weights: Of the loss terms, 1 where not named; a term of weight 0 is watched, not minimised.
        measure: More numbers of the trained network, for the result: ``(network, device) -> {name: value}``.
        data_version: For the record.
        unused_parameters: Whether a step may leave parameters without a gradient (several processes need to know).
    """

    network: nn.Module
    step: Step
    predict: Callable[[Any, dict[str, torch.Tensor]], torch.Tensor]
    num_classes: int
    train: Data
    validation: Data | None = None
    test: Data | None = None
    specs: Mapping[str, InputSpec] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    measure: Callable[[Any, torch.device], dict[str, float]] | None = None
    data_version: str = ""
    unused_parameters: bool = False


@dataclass(frozen=True)
class Scores:
    """What an evaluation counted.

    Attributes:
        confusion: ``(C, C)`` long on the CPU; row = class, column = prediction.
        loss: Mean cross-entropy.
    """

    confusion: torch.Tensor
    loss: float

    def to_dict(self) -> dict[str, float]:
        """``accuracy``, ``mean_class_accuracy``, ``loss``."""
        return {
            "accuracy": float(accuracy(self.confusion)),
            "mean_class_accuracy": float(mean_class_accuracy(self.confusion)),
            "loss": self.loss,
        }


@dataclass(frozen=True)
class Outcome:
    """What a run ends with.

    Attributes:
        network: The task's network with the final weights (the recipe's ``final``), in evaluation mode.
        history: One entry an epoch: ``epoch``, ``lr``, ``terms``, ``validation``, ``images_per_second``.
        best_epoch: From 0; -1 without validation data.
    """

    network: nn.Module
    history: list[dict[str, Any]]
    best_epoch: int


def fit(
    task: Task,
    recipe: Recipe,
    *,
    out: Path | None = None,
    resume: bool = False,
    process: Process | None = None,
    progress: bool = True,
    tensorboard: bool = False,
    save_every: int = 0,
    sync_every: int = 10,
) -> Outcome:
    """Train.

    Seeds Python's, numpy's and torch's global generators.

    Args:
        task: What is trained; its network is changed in place.
        recipe: How.
        out: The run's folder, visible to all processes; none keeps everything in memory.
        resume: Go on with the run in ``out``, or start it where there is none yet.
        process: This process, from `join`; by default the only one, on the GPU where there is one.
        progress: Whether to show a bar with loss terms and images/s.
        tensorboard: Whether to log to ``out`` for TensorBoard, which must then be installed.
        save_every: Also write a checkpoint every so many steps, not only after each epoch.
        sync_every: Steps between looks at the device's numbers: the bar, and the check for NaN.

    Raises:
        CheckpointError: If ``out`` holds another run, or another process trains there.
        NonFiniteError: If a loss term or the weights become NaN or infinite; checkpoints never hold such weights.
        RangeError: If there are fewer samples than processes.
        RecipeError: If the recipe asks for ``compile`` and torch cannot compile here.
    """
    process = process or Process(pick_device())
    with hold_folder(out, process), explained(recipe.compile):
        if out is not None:
            _open(out, recipe, resume, process)
        run = Run(task, recipe, process)
        if out is not None and (out / "last.pt").exists():
            run.restore(checkpoint.load(out / "last.pt"))
        run.save_every, run.sync_every, run.out = save_every, sync_every, out
        total = recipe.epochs * run.steps_per_epoch
        with Progress(total, run.total_steps, progress and process.writes) as run.progress:
            if tensorboard and process.writes:
                run.progress.open_tensorboard(out, run.total_steps)
            while run.epoch < recipe.epochs:
                rate = train_epoch(run)
                finish_epoch(run, rate)
        run.load_final()
    return Outcome(task.network.eval(), run.history, run.best_epoch)


def train_epoch(run: Run) -> float:
    """The rest of the current epoch; returns images per second, over all processes."""
    order = epoch_order(len(run.task.train.labels), run.recipe.batch, run.recipe.seed, run.epoch, run.recipe.drop_last)
    order = order[: run.steps_per_epoch]
    mine = [share(index, run.process.rank, run.process.world) for index in order]
    first, begun, seen = run.step, time.perf_counter(), 0
    for index, batch in zip(order[first:], run.task.train.batches(mine[first:], run.device), strict=True):
        train_step(run, batch, whole=len(index))
        seen += len(index)
        run.step += 1
        if run.step % run.sync_every == 0 or run.step == run.steps_per_epoch:
            run.meter.check(run.process, run.epoch)
            run.progress.show(run.total_steps, run.epoch, run.meter.means(), seen / (time.perf_counter() - begun))
        if run.save_every and run.total_steps % run.save_every == 0 and run.step < run.steps_per_epoch:
            run.save()
    return seen / (time.perf_counter() - begun) if seen else 0.0


def train_step(run: Run, batch: Batch, whole: int) -> None:
    """One step. Nothing here waits for the device.

    Args:
        run: The run.
        batch: This process's share.
        whole: Samples in the whole batch, over all processes.
    """
    recipe = run.recipe
    for group in run.optimizer.param_groups:
        group["lr"] = recipe.lr * recipe.schedule(run.total_steps, run.steps_per_epoch, recipe.epochs)
    run.generator.manual_seed(mix(recipe.seed, run.total_steps, run.process.rank))
    inputs = run.prepare(batch)
    with run.autocast():
        terms = run.stepper(Batch(inputs, batch.labels, batch.index), run.generator)
    loss = run.meter.add(terms, len(batch.labels), run.step)
    run.optimizer.zero_grad(set_to_none=True)
    # Processes average their gradients; with shares of unequal size this makes it the whole batch's mean.
    torch.autograd.backward(loss * (len(batch.labels) * run.process.world / whole))
    if recipe.clip_norm:
        nn.utils.clip_grad_norm_(run.network.parameters(), recipe.clip_norm)
    run.optimizer.step()


def finish_epoch(run: Run, rate: float) -> None:
    """Evaluate, note, keep the best, write. A kill between two writes costs time, never a different result."""
    recipe = run.recipe
    entry: dict[str, Any] = {"epoch": run.epoch, "lr": float(run.optimizer.param_groups[0]["lr"])}
    entry["terms"] = run.meter.total(run.process)
    if run.task.validation is not None and len(run.task.validation.labels):
        scores = evaluate(run.task, recipe, run.task.validation, run.process).to_dict()
        entry["validation"] = scores
        value = -scores["loss"] if recipe.select == "loss" else scores[recipe.select]
        if value > run.best_value:
            run.best_value, run.best_epoch = value, run.epoch
            run.keep_best(scores)
    entry["images_per_second"] = rate
    run.history.append(entry)
    run.progress.note(entry, run.total_steps)
    run.epoch, run.step, run.meter = run.epoch + 1, 0, Meter(run.task.weights)
    run.save()


def evaluate(task: Task, recipe: Recipe, data: Data, process: Process | None = None, batch: int = 256) -> Scores:
    """Count what the task's network gets right; modes and weights stay as they are.

    Args:
        task: Gives network, prediction and preparation.
        recipe: Gives precision and memory format.
        data: What to evaluate on; processes share it.
        process: This process; by default the only one.
        batch: Samples at a time.

    Raises:
        RecipeError: If the network is to be compiled and torch cannot.
    """
    process = process or Process(pick_device())
    send_buffers(task.network, process)
    parameter = next(task.network.parameters())
    confusion = torch.zeros(task.num_classes, task.num_classes, dtype=torch.long, device=process.device)
    loss = torch.zeros((), dtype=torch.float64, device=process.device)
    rows = torch.split(torch.arange(len(data.labels))[process.rank :: process.world], batch)
    with evaluating(task.network), torch.inference_mode(), explained(recipe.compile):
        for piece in data.batches([row for row in rows if len(row)], process.device):
            inputs = _place(prepare(piece.inputs, task.specs, parameter.dtype), recipe.channels_last)
            with _autocast(recipe.precision, process.device):
                logits = task.predict(task.network, inputs)
            confusion += confusion_matrix(logits.argmax(dim=1), piece.labels, task.num_classes)
            loss += functional.cross_entropy(logits.double(), piece.labels, reduction="sum")
    confusion, loss = add_up(confusion, process).cpu(), add_up(loss, process)
    return Scores(confusion, float(loss) / max(1, len(data.labels)))


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; every module's own mode is restored, also when the body raises."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


class Stepper(nn.Module):
    """A network and its step as one module, so that several processes may use any of the network's parts in a step."""

    def __init__(self, network: nn.Module, step: Step) -> None:
        super().__init__()
        self.network, self.step = network, step

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """The loss terms."""
        return self.step(self.network, batch, generator)


class Meter:
    """Loss terms of an epoch, added up on the device, and the first step at which one was not finite.

    Args:
        weights: Of the terms, 1 where not named.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = weights
        self.names: list[str] = []
        self.sums = self.first_bad = torch.zeros(0)
        self.count = 0

    def add(self, terms: Mapping[str, torch.Tensor], samples: int, step: int) -> torch.Tensor:
        """Take in one step's terms; returns their weighted sum.

        Raises:
            ShapeError: If a term is no scalar.
            ChoiceError: If a weight names no term, or the names change between steps.
        """
        if not self.names:
            self._start(terms)
        for name in terms:
            check_choice("loss term", name, self.names)
        for name in self.names:
            check_choice("loss term of the first step", name, terms)
        values = torch.stack([terms[name].detach().double() for name in self.names])  # (T,)
        self.sums += values * samples
        self.count += samples
        self.first_bad = torch.minimum(self.first_bad, torch.where(values.isfinite(), NEVER, step))
        weighted = [self.weights.get(name, 1.0) * terms[name] for name in self.names if self.weights.get(name, 1.0)]
        return torch.stack(weighted).sum()

    def _start(self, terms: Mapping[str, torch.Tensor]) -> None:
        for name, value in terms.items():
            check_shape(f"loss term {name!r}", value, (), "A step's terms are means over the batch.")
        for name in self.weights:
            check_choice("loss weight", name, terms)
        self.names = list(terms)
        device = next(iter(terms.values())).device
        self.sums = torch.zeros(len(terms), dtype=torch.float64, device=device)
        self.first_bad = torch.full((len(terms),), NEVER, dtype=torch.long, device=device)

    def check(self, process: Process, epoch: int) -> None:
        """Wait for the device and stop where a term was not finite, in every process.

        Raises:
            NonFiniteError: Naming the terms, the epoch and the step.
        """
        if not self.names:  # at an epoch's end, in every process; there is nothing on the device yet
            return
        steps: list[int] = smallest(self.first_bad, process).tolist()
        first = min(steps, default=NEVER)
        if first < NEVER:
            names = ", ".join(repr(name) for name, step in zip(self.names, steps, strict=True) if step == first)
            raise NonFiniteError(
                f"loss term {names}: not finite (NaN or infinite) in epoch {epoch}, step {first} (both from 0). "
                "Lower lr, set clip_norm, or look for a logarithm or a division of zero in that term."
            )

    def means(self) -> dict[str, float]:
        """This process's means so far."""
        return _by_name(self.names, self.sums, self.count)

    def total(self, process: Process) -> dict[str, float]:
        """The means over all processes."""
        device = self.sums.device
        count = add_up(torch.tensor(self.count, device=device), process)
        return _by_name(self.names, add_up(self.sums, process), int(count))

    def state(self) -> dict[str, Any]:
        """Plain containers and tensors."""
        return {"names": self.names, "sums": self.sums.cpu(), "bad": self.first_bad.cpu(), "count": self.count}

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from `state`."""
        self.names, self.count = list(state["names"]), int(state["count"])
        self.sums, self.first_bad = state["sums"].to(device), state["bad"].to(device)


def _by_name(names: list[str], sums: torch.Tensor, count: int) -> dict[str, float]:
    return {name: value / max(1, count) for name, value in zip(names, sums.tolist(), strict=True)}


class Run:
    """All that changes while a run runs; `state` and `restore` are what a checkpoint holds.

    Args:
        task: What is trained.
        recipe: How.
        process: This process.
    """

    def __init__(self, task: Task, recipe: Recipe, process: Process) -> None:
        self.task, self.recipe, self.process, self.device = task, recipe, process, process.device
        self.steps_per_epoch = _steps_per_epoch(task, recipe, process)
        seed_everything(mix(recipe.seed, process.rank), deterministic=recipe.deterministic)
        self.network = _place_network(task.network, recipe, process)
        self.stepper = wrap(Stepper(self.network, task.step), process, task.unused_parameters)
        self.optimizer = make_optimizer(self.network, recipe)
        self.generator = torch.Generator(self.device)
        self.epoch, self.step = 0, 0
        self.meter = Meter(task.weights)
        self.history: list[dict[str, Any]] = []
        self.best_epoch, self.best_value = -1, -float("inf")
        self.best_network: dict[str, torch.Tensor] = {}
        self.save_every, self.sync_every = 0, 10
        self.out: Path | None = None
        self.progress = Progress(0, 0, False)

    @property
    def total_steps(self) -> int:
        """Steps done since the run's start."""
        return self.epoch * self.steps_per_epoch + self.step

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The recipe's precision on this device."""
        return _autocast(self.recipe.precision, self.device)

    def prepare(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The batch's inputs as the network takes them, augmented."""
        recipe, specs, dtype = self.recipe, self.task.specs, next(self.network.parameters()).dtype
        if recipe.augment == Augment():
            inputs = prepare(batch.inputs, specs, dtype)
        else:
            key = (recipe.seed, self.epoch, batch.index)
            inputs = prepare_augmented(batch.inputs, specs, recipe.augment, *key, dtype)
        return _place(inputs, recipe.channels_last)

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        own = {"random": checkpoint.random_state(self.device), "meter": self.meter.state()}
        return {
            "digest": self.recipe.digest(),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "best": {"epoch": self.best_epoch, "value": self.best_value},
            "history": copy.deepcopy(self.history),
            "processes": collect(own, self.process),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`.

        Raises:
            CheckpointError: If it is another recipe's, or of another number of processes.
        """
        if state.get("digest") != self.recipe.digest():
            raise CheckpointError("last.pt: expected a checkpoint of this recipe, got another's. Use another folder.")
        if len(state["processes"]) != self.process.world:
            raise CheckpointError(
                f"last.pt: written by {len(state['processes'])} processes, now there are {self.process.world}: the run "
                "would not go on to the same numbers. Start as many as before."
            )
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.step = state["epoch"], state["step"]
        self.best_epoch, self.best_value = state["best"]["epoch"], state["best"]["value"]
        self.history = list(state["history"])
        own = state["processes"][self.process.rank]
        self.meter.restore(own["meter"], self.device)
        checkpoint.restore_random_state(own["random"], self.device)

    def save(self) -> None:
        """Write ``last.pt`` and ``history.json``.

        Raises:
            NonFiniteError: If a loss term or a weight is not finite; nothing is written then.
        """
        if self.out is None:
            return
        self.meter.check(self.process, self.epoch)
        self.check_weights()
        state = self.state()  # every process has a part in it
        if self.process.writes:
            write_json(self.out / "history.json", self.history)
            checkpoint.save(self.out / "last.pt", state)

    def keep_best(self, scores: dict[str, float]) -> None:
        """Write ``best.pt``, or keep the weights in memory."""
        self.check_weights()
        if not self.process.writes:
            return
        state = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}
        if self.out is None:
            self.best_network = state
        else:
            content = {"digest": self.recipe.digest(), "network": state, "epoch": self.epoch, "validation": scores}
            checkpoint.save(self.out / "best.pt", content)

    def check_weights(self) -> None:
        """Raise where a weight is not finite: a gradient can be so while its loss is not."""
        norms = torch.stack([p.detach().norm() for p in self.network.parameters()])
        finite = smallest(norms.isfinite().all().long(), self.process)
        if not bool(finite):
            raise NonFiniteError(
                f"weights: not finite (NaN or infinite) by epoch {self.epoch}, step {self.step} (both from 0), though "
                "the loss terms were: a gradient was not. Lower lr, or look for a root or a norm of zero."
            )

    def load_final(self) -> None:
        """Put the final weights into the network."""
        if self.recipe.final == "last" or self.best_epoch < 0:
            return
        if self.out is not None:
            wait(self.process)  # until best.pt is written
            self.network.load_state_dict(checkpoint.load(self.out / "best.pt")["network"])
        else:
            self.network.load_state_dict(collect(self.best_network, self.process)[0])


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over the parameters that want a gradient."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, recipe.lr, weight_decay=recipe.weight_decay)


def _open(out: Path, recipe: Recipe, resume: bool, process: Process) -> None:
    in_first(process, lambda: checkpoint.open_folder(out, recipe, resume))
    if not out.is_dir():
        raise DataNotFoundError(f"{out}: expected a folder that all processes see, found none here.")


def _steps_per_epoch(task: Task, recipe: Recipe, process: Process) -> int:
    count = len(task.train.labels)
    check_range("training samples", count, process.world)
    check_range("recipe.batch", recipe.batch, process.world)
    order = epoch_order(count, recipe.batch, recipe.seed, 0, recipe.drop_last)
    return sum(len(index) >= process.world for index in order)  # no process goes without a sample


def _place_network(network: nn.Module, recipe: Recipe, process: Process) -> nn.Module:
    if recipe.sync_batch_norm and process.world > 1 and process.device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    network.to(process.device, torch.float64 if recipe.precision == "float64" else torch.float32)
    if recipe.channels_last:
        network.to(memory_format=torch.channels_last)
    if not network.training:
        network.train()
    if recipe.compile:
        network.compile()  # in place: the names in its state stay
    return network


def _place(inputs: dict[str, torch.Tensor], channels_last: bool) -> dict[str, torch.Tensor]:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return {name: x.contiguous(memory_format=layout) if x.ndim == 4 else x for name, x in inputs.items()}


def _autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    # bfloat16 has float32's range, so gradients need no scaling. Older GPUs (Colab's T4) only emulate it, slowly.
    fast = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    wanted = precision == "bfloat16" or (precision == "auto" and fast)
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)
