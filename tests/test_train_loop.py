from dataclasses import replace

import pytest
import torch
from torch import nn

from ask_lib.errors import ChoiceError, RangeError, ShapeError
from ask_lib.train.augment import Augment
from ask_lib.train.distributed import Process
from ask_lib.train.errors import NonFiniteError
from ask_lib.train.loop import Meter, evaluate, evaluating, fit, make_optimizer
from ask_lib.train.recipe import Recipe
from ask_lib.train.recipes import classification_step, find_experiment
from ask_lib.train.run import build, run
from ask_lib.train.schedule import Schedule
from tests.train_children import RESTLESS, restless_task

ALONE = Process(torch.device("cpu"))


@pytest.fixture
def plain():
    recipe = find_experiment("toy").recipe.override(["epochs=2", "count=120", "test_count=0"])
    return build(recipe), recipe


@pytest.mark.parametrize("modality", ["rgb", "depth"])
def test_the_toy_is_learnt_by_heart(modality):
    changes = ["epochs=40", "count=240", "test_count=60", "validation=0", "augment.flip=0", "augment.shift=0"]
    recipe = find_experiment("toy").recipe.override([*changes, f"modality={modality}"])
    task = build(recipe)
    outcome = fit(task, recipe, progress=False)
    assert evaluate(task, recipe, task.train).to_dict()["accuracy"] == 1.0
    assert outcome.history[-1]["terms"]["main"] < 0.1 and outcome.best_epoch == -1


@pytest.mark.parametrize("extra", [["precision=bfloat16"], ["channels_last=false"], ["network=resnet", "norm=batch"]])
def test_options_train(extra):
    recipe = find_experiment("toy").recipe.override(["epochs=15", "count=300", "test_count=60", *extra])
    result = run(recipe, progress=False)
    assert result["numbers"]["test_loss"] < 1.75  # below log 6
    assert result["data_version"] == "toy-1" and result["environment"]["torch"] == torch.__version__.split("+")[0]


@pytest.mark.parametrize("kind", ["nan", "inf"])
def test_a_bad_term_stops_the_run_and_is_named(plain, tmp_path, kind):
    task, recipe = plain
    calls = []

    def step(network, batch, generator):
        calls.append(1)
        good = classification_step("rgb")(network, batch, generator)
        bad = torch.tensor(float(kind) if len(calls) == 4 else 0.5)  # the second epoch's second step
        return good | {"correlation": bad, "watched": bad.nan_to_num()}

    task = replace(task, step=step, weights={"correlation": 0.1})
    with pytest.raises(NonFiniteError, match=r"loss term 'correlation'.*epoch 1, step 1"):
        fit(task, recipe, out=tmp_path, progress=False)
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert state["epoch"] == 1 and all(value.isfinite().all() for value in state["network"].values())


def test_a_bad_gradient_is_not_saved(plain, tmp_path):
    task, recipe = plain

    def step(network, batch, generator):
        first = next(network.parameters())
        return {"main": ((first - first.detach()) ** 2).sum().sqrt()}  # 0, with a gradient of 0 / 0

    with pytest.raises(NonFiniteError, match=r"weights|'main'"):
        fit(replace(task, step=step), replace(recipe, batch=96), out=tmp_path, progress=False)
    assert not (tmp_path / "last.pt").exists() and not (tmp_path / "best.pt").exists()


def test_terms_are_weighted_and_averaged_by_sample():
    meter = Meter({"a": 2.0, "w": 0.0})
    first = meter.add({"a": torch.tensor(1.0), "b": torch.tensor(3.0), "w": torch.tensor(9.0)}, 4, 0)
    second = meter.add({"a": torch.tensor(5.0), "b": torch.tensor(7.0), "w": torch.tensor(1.0)}, 2, 1)
    assert float(first) == 5.0 and float(second) == 17.0
    assert meter.total(ALONE) == pytest.approx({"a": 14 / 6, "b": 26 / 6, "w": 38 / 6})


def test_an_epochs_new_meter_asks_nobody():
    # There are no terms yet and so nothing on the GPU; NCCL cannot reduce what lies on the CPU.
    Meter({}).check(Process(torch.device("cuda"), 0, 2), 0)


def test_wrong_terms_are_refused():
    with pytest.raises(ShapeError, match="means over the batch"):
        Meter({}).add({"main": torch.zeros(3)}, 3, 0)
    with pytest.raises(ChoiceError, match="loss weight"):
        Meter({"man": 1.0}).add({"main": torch.zeros(())}, 3, 0)
    meter = Meter({})
    meter.add({"main": torch.zeros(()), "aux": torch.zeros(())}, 3, 0)
    with pytest.raises(ChoiceError, match="first step"):
        meter.add({"main": torch.zeros(())}, 3, 1)


def test_the_learning_rate_follows_the_schedule(plain):
    task, recipe = plain
    recipe = replace(recipe, epochs=4, schedule=Schedule(kind="step", every=2, factor=0.5, warmup=1))
    rates = [entry["lr"] for entry in fit(task, recipe, progress=False).history]
    assert rates == pytest.approx([0.01, 0.01, 0.005, 0.005])


def test_one_step_against_the_formula(plain):
    task, _ = plain
    recipe = Recipe(experiment="x", epochs=1, batch=96, lr=0.1, momentum=0, weight_decay=0.01, precision="float64")
    task = replace(task, validation=None)
    before = {name: value.double().clone() for name, value in task.network.state_dict().items()}
    fit(task, recipe, progress=False)
    after = task.network.state_dict()
    network = build(find_experiment("toy").recipe).network.double()
    network.load_state_dict(before)
    (batch,) = task.train.batches([torch.arange(96)], torch.device("cpu"))
    x = (batch.inputs["rgb"].double() / 255 - 0.5) / 0.25
    nn.functional.cross_entropy(network(x), batch.labels).backward()
    for name, parameter in network.named_parameters():
        expected = before[name] - 0.1 * (parameter.grad + 0.01 * before[name])
        torch.testing.assert_close(after[name], expected, rtol=1e-9, atol=1e-9)


def test_best_or_last_weights_and_the_first_of_equals(plain):
    task, recipe = plain
    scores = iter([0.3, 0.9, 0.9, 0.1])
    kept = []

    def predict(network, inputs):
        kept.append(network[0].weight.detach().clone())
        count = len(inputs["rgb"])
        logits = torch.zeros(count, task.num_classes)
        right = round(next(scores) * count)
        logits[torch.arange(right), labels[:right]] = 1.0
        logits[torch.arange(right, count), (labels[right:] + 1) % task.num_classes] = 1.0
        return logits

    labels = task.validation.labels
    task, recipe = replace(task, predict=predict), replace(recipe, epochs=4, select="accuracy")
    outcome = fit(task, recipe, progress=False)
    assert outcome.best_epoch == 1 and torch.equal(task.network[0].weight, kept[1])
    assert not outcome.network.training


def test_evaluation_counts_and_restores_modes(plain):
    task, recipe = plain
    task.network.train()
    task.network[2].eval()
    scores = evaluate(task, recipe, task.validation, batch=7)
    modes = [module.training for module in task.network]
    assert modes.count(False) == 1 and not modes[2] and task.network.training
    with torch.no_grad():
        (batch,) = task.validation.batches([torch.arange(24)], torch.device("cpu"))
        logits = task.network((batch.inputs["rgb"].float() / 255 - 0.5) / 0.25)
    expected = nn.functional.cross_entropy(logits, batch.labels)
    assert scores.loss == pytest.approx(float(expected), rel=1e-5)
    assert scores.to_dict()["accuracy"] == pytest.approx(float((logits.argmax(1) == batch.labels).float().mean()))
    with pytest.raises(ZeroDivisionError), evaluating(task.network):
        assert not task.network.training
        _ = 1 / 0
    assert task.network.training and not task.network[2].training


def test_frozen_parameters_stay_and_optimisers_are_the_papers(plain):
    task, recipe = plain
    task.network[0].weight.requires_grad_(False)
    before = task.network[0].weight.clone()
    fit(task, recipe, progress=False)
    assert torch.equal(task.network[0].weight, before)
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    for name, kind in kinds.items():
        assert type(make_optimizer(nn.Linear(2, 2), Recipe(optimizer=name))) is kind


def test_runs_repeat_and_seeds_differ():
    recipe = replace(RESTLESS, epochs=1)
    one, two, other = (fit(restless_task(), replace(recipe, seed=seed), progress=False) for seed in (0, 0, 1))
    weights = [outcome.network[0].weight for outcome in (one, two, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_too_few_samples_for_the_processes(plain):
    task, recipe = plain
    with pytest.raises(RangeError, match=r"recipe.batch"):
        fit(task, replace(recipe, batch=1), process=Process(torch.device("cpu"), 0, 2), progress=False)


def test_the_bar_shows_terms_and_speed(plain, capsys):
    task, recipe = plain
    fit(task, recipe, sync_every=1)
    shown = capsys.readouterr().err
    assert "main " in shown and "images/s" in shown and "epoch 2" in shown and "validation" in shown


def test_augmentation_is_for_training_only(plain):
    task, recipe = plain
    wild = replace(recipe, augment=Augment(erase=1.0, cutout=1.0))
    assert evaluate(task, wild, task.validation).loss == evaluate(task, recipe, task.validation).loss
