import functools
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from ask_lib.train import checkpoint
from ask_lib.train.loop import evaluate, fit
from ask_lib.train.run import build
from ask_lib.train.tasks import find_experiment
from tests.test_train_resume import same
from tests.train_children import run_without_a_compiler, spawner

CONFIG = find_experiment("toy").config.override(["epochs=2", "count=60", "test_count=0", "batch=16"])
COMPILED = replace(CONFIG, compile=True)


@pytest.fixture
def calls(monkeypatch):
    """The compiler's first half (graph capture and autograd) without its code generation, which takes half a minute."""
    torch.compiler.reset()
    real, made = nn.Module.compile, []

    def backend(graph, inputs):
        made.append(graph)
        from torch._dynamo.backends.debugging import aot_eager

        return aot_eager(graph, inputs)

    monkeypatch.setattr(nn.Module, "compile", functools.partialmethod(real, backend=backend))
    yield made
    torch.compiler.reset()


def close(one, two):
    assert list(one) == list(two)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_a_compiled_run_equals_one_that_is_not(tmp_path, calls):
    plain = fit(build(CONFIG), CONFIG, out=tmp_path / "plain", progress=False)
    assert not calls
    compiled = fit(build(COMPILED), COMPILED, out=tmp_path / "compiled", progress=False)
    assert calls
    for name in ("last.pt", "best.pt"):
        one, two = (checkpoint.load(tmp_path / kind / name)["network"] for kind in ("plain", "compiled"))
        close(one, two)  # the names too: no "_orig_mod."
    for first, second in zip(plain.history, compiled.history, strict=True):
        assert second["terms"] == pytest.approx(first["terms"], rel=1e-4)
        assert second["validation"]["loss"] == pytest.approx(first["validation"]["loss"], rel=1e-4)


def test_weights_go_from_compiled_to_not_and_back(tmp_path, calls):
    for kind, config in (("plain", CONFIG), ("compiled", COMPILED)):
        fit(build(config), replace(config, epochs=1), out=tmp_path / kind, progress=False)
    for kind, other in (("plain", COMPILED), ("compiled", CONFIG)):
        task, state = build(other), checkpoint.load(tmp_path / kind / "best.pt")["network"]
        if other.compile:
            task.network.compile()
        task.network.load_state_dict(state)
        before = len(calls)
        scores = evaluate(task, other, task.validation)
        assert bool(len(calls) - before) == other.compile
        again = build(CONFIG)
        again.network.load_state_dict(state)
        assert scores["loss"] == pytest.approx(evaluate(again, CONFIG, again.validation)["loss"], rel=1e-5)


def test_a_compiled_run_resumes(tmp_path, calls):
    whole = fit(build(COMPILED), COMPILED, out=tmp_path / "whole", progress=False)
    task, count = build(COMPILED), []

    def stops(network, batch, generator):
        count.append(1)
        if len(count) == 5:  # the second epoch's second step
            raise KeyboardInterrupt
        return task.step(network, batch, generator)

    with pytest.raises(KeyboardInterrupt):
        fit(replace(task, step=stops), COMPILED, out=tmp_path / "cut", progress=False)
    assert checkpoint.load(tmp_path / "cut" / "last.pt")["epoch"] == 1
    again = fit(build(COMPILED), COMPILED, out=tmp_path / "cut", resume=True, progress=False)
    same(whole.network.state_dict(), again.network.state_dict())


@pytest.mark.slow
def test_without_a_compiler_there_is_one_line(tmp_path):
    child = spawner.Process(target=run_without_a_compiler, args=(tmp_path,))
    child.start()
    child.join(120)
    assert child.exitcode == 2
    said = (tmp_path / "stderr").read_text().splitlines()
    (line,) = [line for line in said if not line.startswith("W")]  # torch's own log of what it found
    assert line.startswith("error: compile: torch could not compile the network (InvalidCxxCompiler")
    assert line.endswith("or set compile=false.") and "no-such-compiler" in line
    assert not (tmp_path / "run" / "last.pt").exists()


@pytest.mark.slow
def test_the_whole_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    torch.compiler.reset()
    config = replace(CONFIG, epochs=1, count=32, validation=0.0, augment=type(CONFIG.augment)())
    begun = time.perf_counter()
    compiled = fit(build(config), replace(config, compile=True), progress=False)
    assert time.perf_counter() - begun > 0.5  # it did compile
    torch.compiler.reset()
    close(fit(build(config), config, progress=False).network.state_dict(), compiled.network.state_dict())
