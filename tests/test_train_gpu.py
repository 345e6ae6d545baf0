"""The loop on a GPU: left out where there is none."""

from dataclasses import replace

import pytest
import torch

from ask_lib.train import checkpoint
from ask_lib.train.augment import Augment
from ask_lib.train.data import LoaderData, Subset
from ask_lib.train.distributed import Process, init
from ask_lib.train.loop import Run, fit, train_step
from ask_lib.train.run import build, run
from ask_lib.train.tasks import find_experiment
from tests.train_children import RESTLESS, Pictures, restless_task

CPU, CUDA = Process(torch.device("cpu")), Process(torch.device("cuda"))
FEW = ["epochs=2", "count=120", "test_count=0", "optimizer=sgd", "lr=0.05", "augment.erase=0.5"]
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def toy(*changes):
    return find_experiment("toy").config.override([*FEW, *changes])


def close(one, two, tolerance):
    for name, value in one.items():
        torch.testing.assert_close(two[name].cpu(), value.cpu(), rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize("extra", [["precision=float32"], ["precision=auto"], ["precision=auto", "compile=true"]])
def test_the_gpu_trains(extra):
    config = find_experiment("toy").config.override(["epochs=10", *extra])
    assert run(config, process=CUDA, progress=False)["values"]["test_accuracy"] > 0.6


@pytest.mark.parametrize("extra", [["norm=none"], ["norm=batch"], ["augment.cutout=0.3"]])
def test_it_equals_the_cpu(extra):
    config = toy("precision=float64", "augment.crop=0.5,1", "augment.contrast=0.2", *extra)
    one, two = (fit(build(config), config, process=process, progress=False) for process in (CPU, CUDA))
    assert next(two.network.parameters()).device.type == "cuda"
    close(one.network.state_dict(), two.network.state_dict(), 1e-5)  # the draws are made in float32
    for first, second in zip(one.history, two.history, strict=True):
        assert second["terms"]["main"] == pytest.approx(first["terms"]["main"], rel=1e-4)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_it_resumes(tmp_path, optimizer):
    config = replace(RESTLESS, optimizer=optimizer, precision="float64", epochs=2)
    whole = fit(restless_task(), config, out=tmp_path / "whole", process=CUDA, progress=False)
    task, count = restless_task(), []

    def stops(network, batch, generator):
        count.append(1)
        if len(count) == 18:  # in the second epoch
            raise KeyboardInterrupt
        return task.step(network, batch, generator)

    with pytest.raises(KeyboardInterrupt):
        fit(replace(task, step=stops), config, out=tmp_path / "cut", process=CUDA, progress=False)
    assert checkpoint.load(tmp_path / "cut" / "last.pt")["epoch"] == 1
    torch.manual_seed(99)  # dropout on the GPU draws from a global generator: it must come back from the checkpoint
    torch.rand(1000, device="cuda")
    again = fit(restless_task(), config, out=tmp_path / "cut", resume=True, process=CUDA, progress=False)
    close(whole.network.state_dict(), again.network.state_dict(), 1e-9)  # sums in another order, no other numbers


def test_a_run_of_the_gpu_goes_on_to_a_machine_without(tmp_path):
    config = toy("precision=float32")
    fit(build(config), config, out=tmp_path, process=CUDA, progress=False)
    state = checkpoint.load(tmp_path / "best.pt")["network"]
    assert {value.device.type for value in state.values()} == {"cpu"}
    build(config).network.load_state_dict(state)


@pytest.mark.parametrize("extra", [["network=tiny"], ["network=resnet", "norm=batch"]])
def test_bfloat16_computes_and_float32_keeps(extra):
    seen = []
    outcomes = []
    for precision in ("float32", "bfloat16"):
        config = toy(f"precision={precision}", "epochs=1", "lr=0.005", *extra)
        task = build(config)
        handle = task.network.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
        outcomes.append(fit(task, config, process=CUDA, progress=False))
        handle.remove()
    assert set(seen) == {torch.float32, torch.bfloat16}
    assert {p.dtype for p in outcomes[1].network.parameters()} == {torch.float32}
    first, second = (outcome.history[0]["terms"]["main"] for outcome in outcomes)
    assert second == pytest.approx(first, rel=0.05)


def test_auto_is_bfloat16_where_the_gpu_computes_in_it():
    seen = []
    task = build(toy("precision=auto"))
    task.network.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    fit(task, toy("precision=auto"), process=CUDA, progress=False)
    modern = torch.cuda.get_device_capability() >= (8, 0)
    assert set(seen) == {torch.bfloat16 if modern else torch.float32}


@pytest.mark.parametrize("workers", [0, 2])
def test_pinned_data_arrive_whole(workers):
    config = toy("precision=float64")
    task = build(config)
    whole = task.train.data
    read = Subset(LoaderData(Pictures(whole), whole.labels, workers), task.train.rows)
    one = fit(task, config, process=CUDA, progress=False)
    two = fit(replace(build(config), train=read), config, process=CUDA, progress=False)
    close(one.network.state_dict(), two.network.state_dict(), 1e-9)


def test_a_step_does_not_wait_for_the_gpu():
    everything = Augment(flip=0.5, shift=0.1, crop=(0.5, 1.0), cutout=0.2, erase=0.5, brightness=0.2, contrast=0.2)
    config = replace(toy("precision=auto"), augment=everything)
    running = Run(build(config), config, CUDA)
    order = [torch.arange(16) + 16 * number for number in range(5)]
    batches = running.task.train.batches(order, CUDA.device)
    for _ in range(2):
        train_step(running, next(batches), 16)  # the first ones may: libraries choose, the optimiser makes its state
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches:
            train_step(running, batch, 16)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_nccl_with_one_process(monkeypatch, tmp_path):
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29517")
    config = toy("norm=batch", "precision=float64")
    with init("cuda") as process:
        assert process.device == torch.device("cuda", 0) and torch.cuda.current_device() == 0
        one = fit(build(config), config, process=process, progress=False)
    close(fit(build(config), config, process=CUDA, progress=False).network.state_dict(), one.network.state_dict(), 1e-9)
