"""The training loop that every method shares. Read `fit` first, then `train_epoch`.

A method brings a `Task`: a network, a step that gives named loss terms, and data. A `TrainConfig` says how to train it.
These two and the number of processes decide what a run computes; one that is killed and resumed ends with the very
same weights. `ask_lib.train.plain` is the same loop for one process, without folders, in thirty lines.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ask_lib.checks import check_choice, check_range, check_shape
from ask_lib.errors import CheckpointError, ConfigError, DataNotFoundError, NonFiniteError
from ask_lib.models.features import evaluating
from ask_lib.reproduce import pick_device, seed_everything
from ask_lib.train import checkpoint
from ask_lib.train.augment import Augment, InputSpec, mix, prepare, prepare_augmented
from ask_lib.train.config import TrainConfig
from ask_lib.train.data import Batch, Data, balanced_order, epoch_order
from ask_lib.train.distributed import Process, all_reduce, gather, in_main, send_buffers, shard, wrap
from ask_lib.train.meter import Meter
from ask_lib.train.metrics import accuracy, check_classes, confusion_matrix, mean_class_accuracy

LOOK_EVERY = 10  # steps between looks at the device's numbers: the bar, and the check for NaN
Step = Callable[[Any, Batch, torch.Generator], dict[str, torch.Tensor]]
"""``(network, batch, generator) -> terms``: means over the batch, by name, always the same names; their weighted sum is
minimised. The generator, on the batch's device, is keyed by seed, step and process."""


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
        data_version: For the record.
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
    data_version: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a run ends with."""

    network: nn.Module  # the task's, with the weights that the config calls final, in evaluation mode
    history: list[dict[str, Any]]  # an epoch each: epoch, lr, terms, validation, images_per_second
    best_epoch: int  # from 0; -1 without validation data


def fit(
    task: Task,
    config: TrainConfig,
    *,
    out: Path | None = None,
    resume: bool = False,
    process: Process | None = None,
    progress: bool = True,
) -> Outcome:
    """Train. Seeds Python's, numpy's and torch's global generators.

    Args:
        task: What is trained; its network is changed in place.
        config: How.
        out: The run's folder, visible to all processes; none keeps everything in memory.
        resume: Go on after the last whole epoch of the run in ``out``, or start it where there is none yet.
        process: This process, from `init`; by default the only one, on the GPU where there is one.
        progress: Whether to show a bar with loss terms and images/s.

    Raises:
        CheckpointError: If ``out`` holds another run or a damaged one, or another process trains there.
        NonFiniteError: If a loss term or the weights become NaN or infinite; checkpoints never hold such weights.
    """
    from tqdm.auto import tqdm

    process = process or Process(pick_device())
    with checkpoint.hold_folder(out, process), explained(config.compile):
        if out is not None:
            in_main(process, lambda: checkpoint.open_folder(out, config, resume))
            if not out.is_dir():
                raise DataNotFoundError(f"{out}: expected a folder that all processes see, found none here.")
        run = Run(task, config, process, out)
        run.restore()
        total, hidden = config.epochs * run.steps_per_epoch, not (progress and process.is_main)
        with tqdm(total=total, initial=run.total_steps, unit="step", dynamic_ncols=True, disable=hidden) as run.bar:
            while run.epoch < config.epochs:
                finish_epoch(run, rate=train_epoch(run))
        run.load_final()
    return Outcome(task.network.eval(), run.history, run.best_epoch)


def train_epoch(run: Run) -> float:
    """One epoch; returns images per second, over all processes."""
    order = batch_order(run.task, run.config, run.epoch)[: run.steps_per_epoch]
    mine = [shard(index, run.process) for index in order]
    begun, seen = time.perf_counter(), 0
    for index, batch in zip(order, run.task.train.batches(mine, run.device), strict=True):
        train_step(run, batch, whole=len(index))
        seen += len(index)
        run.step += 1
        if run.step % LOOK_EVERY == 0 or run.step == run.steps_per_epoch:
            run.meter.check(run.process, run.epoch)
            show(run, seen / (time.perf_counter() - begun))
    return seen / (time.perf_counter() - begun)


def show(run: Run, rate: float) -> None:
    """Bring the bar up to date."""
    scores = run.history[-1].get("validation") if run.history else None
    terms = " ".join(f"{name} {value:.4g}" for name, value in run.meter.means(run.process).items())
    last = f" validation {100 * scores['mean_class_accuracy']:.1f} %" if scores else ""
    run.bar.set_description(f"epoch {run.epoch + 1}", refresh=False)
    run.bar.set_postfix_str(f"{terms} {rate:.0f} images/s{last}", refresh=False)
    run.bar.update(run.total_steps - run.bar.n)


def train_step(run: Run, batch: Batch, whole: int) -> None:
    """One step on this process's share of a batch of ``whole`` samples. Nothing here waits for the device."""
    config = run.config
    rate = config.lr * config.schedule(run.total_steps, run.steps_per_epoch, config.epochs)
    for group in run.optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    run.generator.manual_seed(mix(config.seed, run.total_steps, run.process.rank))
    inputs = run.prepare(batch)
    with _autocast(config.precision, run.device):
        terms = run.stepper(Batch(inputs, batch.labels, batch.index), run.generator)
    loss = run.meter.add(terms, len(batch.labels), run.step)
    run.optimizer.zero_grad(set_to_none=True)
    # Processes average their gradients; with shares of unequal size this makes it the whole batch's mean.
    torch.autograd.backward(loss * (len(batch.labels) * run.process.world / whole))
    run.optimizer.step()


def finish_epoch(run: Run, rate: float) -> None:
    """Evaluate, note, keep the best, write. A kill between two writes costs time, never a different result."""
    group = run.optimizer.param_groups[0]
    entry: dict[str, Any] = {"epoch": run.epoch, "lr": float(group["lr"]) / group["factor"]}
    entry["terms"] = run.meter.means(run.process)
    if run.task.validation is not None and len(run.task.validation.labels):
        scores = evaluate(run.task, run.config, run.task.validation, run.process)
        entry["validation"] = scores
        if scores["mean_class_accuracy"] > run.best_value:
            run.best_value, run.best_epoch = scores["mean_class_accuracy"], run.epoch
            run.keep_best(scores)
    entry["images_per_second"] = rate
    run.history.append(entry)
    run.epoch, run.step, run.meter = run.epoch + 1, 0, Meter(run.task.weights)
    run.save()


def evaluate(
    task: Task, config: TrainConfig, data: Data, process: Process | None = None, batch: int = 256
) -> dict[str, float]:
    """Count what the task's network gets right; modes and weights stay as they are.

    Returns:
        ``accuracy``, ``mean_class_accuracy`` and ``loss``, the mean cross-entropy, over all processes.

    Raises:
        RangeError: If a label is no class.
        ShapeError: If the network has not one output a class.
    """
    process = process or Process(pick_device())
    check_classes("labels", data.labels, task.num_classes)  # they lie on the CPU: no step waits for the device
    send_buffers(task.network, process)
    parameter = next(task.network.parameters())
    labels, predicted = [torch.zeros(0, dtype=torch.long, device=process.device) for _ in range(2)]
    loss = torch.zeros((), dtype=torch.float64, device=process.device)
    rows = torch.split(torch.arange(len(data.labels))[process.rank :: process.world], batch)
    with evaluating(task.network), torch.inference_mode(), explained(config.compile):
        for piece in data.batches([row for row in rows if len(row)], process.device):
            inputs = _channels_last(prepare(piece.inputs, task.specs, parameter.dtype))
            with _autocast(config.precision, process.device):
                logits = task.predict(task.network, inputs)
            check_shape("logits", logits, (len(piece.labels), task.num_classes), "One output a class: see num_classes.")
            labels, predicted = torch.cat([labels, piece.labels]), torch.cat([predicted, logits.argmax(dim=1)])
            loss += functional.cross_entropy(logits.double(), piece.labels, reduction="sum")
    confusion = all_reduce(confusion_matrix(predicted, labels, task.num_classes), process).cpu()
    return {
        "accuracy": float(accuracy(confusion)),
        "mean_class_accuracy": float(mean_class_accuracy(confusion)),
        "loss": float(all_reduce(loss, process)) / max(1, len(data.labels)),
    }


@contextlib.contextmanager
def explained(compiled: bool) -> Iterator[None]:
    """Inside, where anything is compiled, a failure of the compiler is one line in place of its two hundred."""
    if not compiled:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:  # its first paragraph has the reason
        reason = " ".join(str(error).split("\n\n")[0].split())
        raise ConfigError(
            f"compile: torch could not compile the network ({reason}). It needs a C++ compiler, on a GPU Triton as "
            "well. Install what is missing, or set compile=false."
        ) from None


class Stepper(nn.Module):
    """A network and its step as one module, so that several processes may use any of the network's parts in a step."""

    def __init__(self, network: nn.Module, step: Step) -> None:
        super().__init__()
        self.network, self.step = network, step

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """The loss terms."""
        return self.step(self.network, batch, generator)


class Run:
    """All that changes while a run runs; `state` and `restore` are what a checkpoint holds."""

    def __init__(self, task: Task, config: TrainConfig, process: Process, out: Path | None = None) -> None:
        self.task, self.config, self.process, self.device, self.out = task, config, process, process.device, out
        check_classes("labels", task.train.labels, task.num_classes)
        check_range("training samples", len(task.train.labels), process.world)
        check_range("config.batch", config.batch, process.world)  # no process without a sample
        self.steps_per_epoch = sum(len(index) >= process.world for index in batch_order(task, config, 0))
        seed_everything(mix(config.seed, process.rank))
        self.network = _place_network(task.network, config, process)
        self.optimizer = make_optimizer(self.network, config)
        self.stepper = wrap(Stepper(self.network, task.step), process)  # after the groups: they freeze parameters
        self.generator = torch.Generator(self.device)
        self.epoch, self.step = 0, 0
        self.meter = Meter(task.weights)
        self.history: list[dict[str, Any]] = []
        self.best_epoch, self.best_value = -1, -float("inf")
        self.best_network: dict[str, torch.Tensor] = {}
        self.bar: Any = None  # while `fit` runs

    @property
    def total_steps(self) -> int:
        """Steps done since the run's start."""
        return self.epoch * self.steps_per_epoch + self.step

    def prepare(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The batch's inputs as the network takes them, augmented."""
        config, specs, dtype = self.config, self.task.specs, next(self.network.parameters()).dtype
        if config.augment == Augment():
            return _channels_last(prepare(batch.inputs, specs, dtype))
        key = (config.seed, self.epoch, batch.index)
        return _channels_last(prepare_augmented(batch.inputs, specs, config.augment, *key, dtype))

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        return {
            "digest": self.config.digest(),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "best": {"epoch": self.best_epoch, "value": self.best_value},
            "history": copy.deepcopy(self.history),
            "processes": gather(checkpoint.random_state(self.device), self.process),
        }

    def restore(self) -> None:
        """Go on from the folder's ``last.pt``, where there is one; it must be whole, and this run's."""
        path = None if self.out is None else self.out / "last.pt"
        if path is None or not path.exists():
            return
        state = checkpoint.load(path, self.config.digest(), checkpoint.LAST)
        if len(state["processes"]) != self.process.world:
            raise CheckpointError(
                f"{path}: written by {len(state['processes'])} processes, now there are {self.process.world}: the run "
                "would not go on to the same numbers. Start as many as before."
            )
        with checkpoint.fitting(path):
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.epoch, self.history = state["epoch"], state["history"]
            self.best_epoch, self.best_value = state["best"]["epoch"], state["best"]["value"]
            checkpoint.restore_random_state(state["processes"][self.process.rank], self.device)

    def save(self) -> None:
        """Write ``last.pt``, unless a weight is not finite."""
        if self.out is None:
            return
        self.check_weights()
        state = self.state()  # every process has a part in it
        if self.process.is_main:
            checkpoint.save(self.out / "last.pt", state)

    def keep_best(self, scores: dict[str, float]) -> None:
        """Write ``best.pt``, or keep the weights in memory."""
        self.check_weights()
        if not self.process.is_main:
            return
        state = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}
        if self.out is None:
            self.best_network = state
            return
        content = {"digest": self.config.digest(), "network": state, "epoch": self.epoch, "validation": scores}
        checkpoint.save(self.out / "best.pt", content)

    def check_weights(self) -> None:
        """Raise where a weight is not finite: a gradient can be so while its loss is not."""
        norms = torch.stack([p.detach().norm() for p in self.network.parameters()])
        if not all_reduce(norms.isfinite().all().long(), self.process, "min"):
            raise NonFiniteError(
                f"weights: not finite (NaN or infinite) after {self.total_steps} steps, though the loss terms were: a "
                "gradient was not. Lower lr, or look for a root or a norm of zero."
            )

    def load_final(self) -> None:
        """Put the final weights into the network; ``best.pt`` must be whole, and of this run's best epoch."""
        if self.config.final == "last" or self.best_epoch < 0:
            return
        if self.out is None:
            self.network.load_state_dict(gather(self.best_network, self.process)[0])
            return
        path = self.out / "best.pt"
        state = checkpoint.load(path, self.config.digest())
        if state["epoch"] != self.best_epoch:
            raise CheckpointError(
                f"{path}: holds epoch {state['epoch']}, the run's best is epoch {self.best_epoch} (both from 0). Put "
                "back the right file, or move the folder away and start again."
            )
        with checkpoint.fitting(path):
            self.network.load_state_dict(state["network"])


def batch_order(task: Task, config: TrainConfig, epoch: int) -> list[torch.Tensor]:
    """An epoch's batches over all processes, decided by config and epoch alone."""
    labels = task.train.labels
    if config.per_class:
        return balanced_order(labels, config.batch, config.per_class, config.seed, epoch)
    return epoch_order(len(labels), config.batch, config.seed, epoch)


def make_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The config's optimiser over the parameters that want a gradient, a group for each factor of the rate.

    Freezes what the config's groups freeze: parameters without gradient, modules in evaluation mode.
    """
    names = [name for name, _ in network.named_parameters()]
    for prefix in config.groups:
        known = {".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)}
        check_choice("group", prefix, sorted(known))
    for name, module in network.named_modules():
        if _factor(name, config.groups) == 0:
            module.training = False
    for name, parameter in network.named_parameters():
        if _factor(name, config.groups) == 0:
            parameter.requires_grad_(False)
    by_factor: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            by_factor.setdefault(_factor(name, config.groups), []).append(parameter)
    groups = [{"params": found, "factor": factor} for factor, found in by_factor.items()]
    if not groups:
        raise ConfigError("groups: every parameter is frozen, so there is nothing to train.")
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, config.lr, config.momentum, weight_decay=config.weight_decay)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, config.lr, weight_decay=config.weight_decay)


def _factor(name: str, groups: Mapping[str, float]) -> float:
    """The factor of a parameter's or a module's rate: that of the longest prefix."""
    fitting = [prefix for prefix in groups if f"{name}.".startswith(f"{prefix}.")]
    return groups[max(fitting, key=len)] if fitting else 1.0


def _place_network(network: nn.Module, config: TrainConfig, process: Process) -> nn.Module:
    if process.world > 1 and process.device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    dtype = torch.float64 if config.precision == "float64" else torch.float32
    network.to(process.device, dtype).to(memory_format=torch.channels_last)
    if not network.training:
        network.train()
    if config.compile:
        network.compile()  # in place: the names in its state stay
    return network


def _channels_last(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Pictures in the memory format of convolutions that is the faster one here, on CPU and GPU."""
    layout = torch.channels_last
    return {name: x.contiguous(memory_format=layout) if x.ndim == 4 else x for name, x in inputs.items()}


def _autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    # bfloat16 has float32's range, so gradients need no scaling. Older GPUs (Colab's T4) only emulate it, slowly.
    fast = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    wanted = precision == "bfloat16" or (precision == "auto" and fast)
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)
