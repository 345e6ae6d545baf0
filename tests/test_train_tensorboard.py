import math
import sys
import types
from dataclasses import replace

import pytest
import torch

from ask_lib.train.errors import NonFiniteError, RecipeError
from ask_lib.train.loop import fit
from ask_lib.train.recipes import find_experiment
from ask_lib.train.run import build

RECIPE = find_experiment("toy").recipe.override(["epochs=3", "count=150", "batch=40", "test_count=0"])
STEPS = 3  # an epoch: 120 to train on
TRAIN = {"train/main", "train/images_per_second"}
EPOCH = {"epoch/accuracy", "epoch/mean_class_accuracy", "epoch/loss", "epoch/lr"}


class Writer:
    """Stands for TensorBoard's; what it was told, in `writers`."""

    def __init__(self, folder, purge_step):
        self.folder, self.purge_step, self.closed = folder, purge_step, False
        self.scalars = []

    def add_scalar(self, name, value, step):
        assert not self.closed and math.isfinite(value)
        self.scalars.append((name, step))

    def close(self):
        self.closed = True

    def steps(self, name):
        return [step for tag, step in self.scalars if tag == name]


@pytest.fixture
def writers(monkeypatch):
    made = []
    make = types.SimpleNamespace(SummaryWriter=lambda *given, **named: made.append(Writer(*given, **named)) or made[-1])
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", make)
    return made


def train(out, task=None, recipe=RECIPE, **given):
    task = task or build(recipe)
    return fit(task, recipe, out=out, progress=False, tensorboard=True, save_every=1, sync_every=1, **given)


def stopped(task, after):
    """The task, interrupted after so many steps."""
    count = []

    def step(network, batch, generator):
        count.append(1)
        if len(count) > after:
            raise KeyboardInterrupt
        return task.step(network, batch, generator)

    return replace(task, step=step)


def test_tags_and_steps(tmp_path, writers):
    train(tmp_path)
    (writer,) = writers
    assert writer.folder == str(tmp_path / "tensorboard") and writer.closed
    assert writer.purge_step == 1  # a new run throws nothing of its own away
    assert {name for name, _ in writer.scalars} == TRAIN | EPOCH
    assert all(writer.steps(name) == list(range(1, 10)) for name in TRAIN)
    assert all(writer.steps(name) == [3, 6, 9] for name in EPOCH)  # one axis for all: steps done


@pytest.mark.parametrize("after", [1, 4, 6, 7])
def test_after_a_resume_the_steps_go_on(tmp_path, writers, after):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, stopped(build(RECIPE), after))
    assert writers[0].closed and writers[0].steps("train/main") == list(range(1, after + 1))
    train(tmp_path, resume=True)
    first, second = writers
    assert second.closed and second.purge_step == after + 1
    for name in TRAIN | EPOCH:  # what TensorBoard shows: the first log up to the purge, then the second
        shown = [step for step in first.steps(name) if step < second.purge_step] + second.steps(name)
        assert shown == (list(range(1, 10)) if name in TRAIN else [3, 6, 9])


def test_what_was_logged_beyond_the_checkpoint_is_dropped(tmp_path, writers):
    task = build(RECIPE)
    with pytest.raises(KeyboardInterrupt):
        fit(stopped(task, 5), RECIPE, out=tmp_path, progress=False, tensorboard=True, sync_every=1)  # saved after 3
    assert writers[0].steps("train/main") == [1, 2, 3, 4, 5]
    train(tmp_path, resume=True)
    assert writers[1].purge_step == 4 and writers[1].steps("train/main") == [4, 5, 6, 7, 8, 9]


def test_it_is_closed_on_an_error(tmp_path, writers):
    task = build(RECIPE)

    def step(network, batch, generator):
        return {name: value * float("nan") for name, value in task.step(network, batch, generator).items()}

    with pytest.raises(NonFiniteError):
        train(tmp_path, replace(task, step=step))
    assert writers[0].closed and writers[0].scalars == []


def test_without_tensorboard_the_run_goes_on_and_says_so_once(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.warns(UserWarning, match="pip install tensorboard") as said:
        logged = train(tmp_path / "a")
    assert len(said) == 1 and not (tmp_path / "a" / "tensorboard").exists()
    plain = fit(build(RECIPE), RECIPE, progress=False)
    for name, value in logged.network.state_dict().items():
        assert torch.equal(value, plain.network.state_dict()[name])


def test_it_needs_a_folder(writers):
    with pytest.raises(RecipeError, match="folder"):
        train(None)
    assert writers == []
