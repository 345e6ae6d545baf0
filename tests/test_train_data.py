import os
import signal
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ask_lib.errors import ConfigError, RangeError, ShapeError
from ask_lib.train import data, metrics
from ask_lib.train.data import LoaderData, Subset, TensorData, balanced_order, epoch_order, split, stratified_split
from ask_lib.train.distributed import Process, shard
from tests.conftest import ROOT

CPU = torch.device("cpu")


def test_the_split_takes_a_fifth_of_each_class():
    labels = torch.tensor([0] * 50 + [1] * 23 + [2] * 2 + [3])[torch.randperm(76)]
    rows, held = stratified_split(labels, 0.2)
    assert sorted([*rows.tolist(), *held.tolist()]) == list(range(76))
    assert torch.bincount(labels[held], minlength=4).tolist() == [10, 5, 1, 0]
    assert torch.equal(rows, rows.sort().values) and torch.equal(held, held.sort().values)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.floats(0, 0.9), st.integers(0, 5))
def test_the_split_is_disjoint_whole_and_deterministic(labels, fraction, seed):
    labels = torch.tensor(labels)
    rows, held = stratified_split(labels, fraction, seed)
    assert sorted([*rows.tolist(), *held.tolist()]) == list(range(len(labels)))
    assert set(labels[rows].tolist()) == set(labels.tolist())  # no class is held out whole
    assert torch.equal(stratified_split(labels, fraction, seed)[1], held)


def test_the_split_depends_on_its_seed_and_refuses_all():
    labels = torch.arange(200) % 4
    assert not torch.equal(stratified_split(labels, 0.2, 0)[1], stratified_split(labels, 0.2, 1)[1])
    with pytest.raises(RangeError, match="fraction"):
        stratified_split(labels, 1.0)


def test_samples_keep_their_numbers_in_a_subset():
    whole = TensorData({"x": torch.arange(40)[:, None]}, torch.arange(40) % 4)
    train, held = split(whole, 0.25)
    (batch,) = held.batches([torch.arange(12)], CPU)
    assert torch.equal(batch.inputs["x"][:, 0], batch.index) and torch.equal(batch.labels, batch.index % 4)
    assert torch.equal(batch.labels, held.labels)
    assert len(train.labels) == 28  # 2.5 of ten rounds up


def test_an_epochs_order_is_a_permutation_by_seed_and_epoch():
    pieces = epoch_order(48, 8, 0, 3)
    assert torch.cat(pieces).sort().values.tolist() == list(range(48)) and [len(p) for p in pieces] == [8] * 6
    assert len(epoch_order(50, 8, 0, 3)) == 6  # what fills no batch is left out
    assert len(epoch_order(5, 8, 0, 3)[0]) == 5  # the only batch stays
    assert all(torch.equal(a, b) for a, b in zip(pieces, epoch_order(48, 8, 0, 3), strict=True))
    assert not torch.equal(pieces[0], epoch_order(48, 8, 0, 4)[0])
    assert not torch.equal(pieces[0], epoch_order(48, 8, 1, 3)[0])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=3, max_size=6), st.integers(1, 3), st.integers(1, 3), st.integers(0, 9))
def test_balanced_batches_have_p_classes_of_k(counts, classes, per_class, epoch):
    labels = torch.cat([torch.full((count,), number) for number, count in enumerate(counts)])
    if sum(count >= per_class for count in counts) < classes:
        with pytest.raises(RangeError, match="classes with"):
            balanced_order(labels, classes * per_class, per_class, 0, epoch)
        return
    batches = balanced_order(labels, classes * per_class, per_class, 0, epoch)
    taken = torch.cat(batches)
    assert len(taken.unique()) == len(taken)  # no sample twice
    for batch in batches:
        rows = labels[batch].view(classes, per_class)
        assert (rows == rows[:, :1]).all() and len(rows[:, 0].unique()) == classes
    again = balanced_order(labels, classes * per_class, per_class, 0, epoch)
    assert all(torch.equal(a, b) for a, b in zip(batches, again, strict=True))
    assert len(balanced_order(labels, classes * per_class, per_class, 3, epoch + 1)) == len(batches)


def test_balanced_batches_use_nearly_everything_and_change_with_the_epoch():
    labels = torch.arange(120) % 6
    first, second = (balanced_order(labels, 12, 4, 0, epoch) for epoch in (0, 1))
    assert len(first) == 10 and len(torch.cat(first)) <= 120
    assert not torch.equal(first[0], second[0])


@given(st.integers(1, 70), st.integers(1, 8))
def test_shares_make_up_the_batch(count, world):
    index = torch.arange(count)
    parts = [shard(index, Process(CPU, rank, world)) for rank in range(world)]
    assert torch.equal(torch.cat(parts), index)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


class Listed(torch.utils.data.Dataset):
    def __len__(self):
        return 20

    def __getitem__(self, index):
        return {"x": torch.full((2,), float(index))}, index % 3


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_gives_the_same_batches_and_leaves_the_random_state(workers):
    labels = torch.arange(20) % 3
    order = epoch_order(20, 6, 0, 0)
    loaded = LoaderData(Listed(), labels, workers)
    held = TensorData({"x": torch.arange(20.0)[:, None].expand(-1, 2)}, labels)
    state = torch.get_rng_state()
    for one, two in zip(loaded.batches(order, CPU), held.batches(order, CPU), strict=True):
        assert torch.equal(one.inputs["x"], two.inputs["x"])
        assert torch.equal(one.labels, two.labels) and torch.equal(one.index, two.index)
    assert torch.equal(torch.get_rng_state(), state)
    (last,) = Subset(loaded, torch.tensor([4, 9])).batches([torch.tensor([1])], CPU)
    assert last.index.tolist() == [9]


def test_a_loader_refuses_items_with_other_labels():
    with pytest.raises(RangeError, match="other labels"):
        list(LoaderData(Listed(), torch.zeros(20)).batches([torch.arange(4)], CPU))


def test_without_shared_memory_one_process_reads(monkeypatch):
    def fails(self):
        raise RuntimeError("unable to open shared memory object </torch_1> in read-write mode")

    monkeypatch.setattr(torch.Tensor, "share_memory_", fails)
    loaded = LoaderData(Listed(), torch.arange(20) % 3, workers=2)
    with pytest.warns(UserWarning, match=r"/dev/shm.*one process"):
        (batch,) = loaded.batches([torch.arange(4)], CPU)
    assert batch.index.tolist() == [0, 1, 2, 3]


class Dying(Listed):
    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_is_one_clear_error():
    with pytest.raises(ConfigError, match=r"workers: one ended.*workers=0"):
        list(LoaderData(Dying(), torch.arange(20) % 3, workers=1).batches([torch.arange(4)], CPU))


SCRIPT = """
import multiprocessing, torch
from ask_lib.train import LoaderData
from tests.test_train_data import Listed
multiprocessing.set_start_method("spawn", force=True)
data = LoaderData(Listed(), torch.arange(20) % 3, workers=1)
print([len(batch.labels) for batch in data.batches([torch.arange(4)], torch.device("cpu"))])
"""


def test_a_script_without_a_main_guard_gets_one_clear_error(tmp_path):
    # Two starts of torch, hence slow: the child reads the script again, as it would on macOS.
    (tmp_path / "script.py").write_text(SCRIPT)
    home = {**os.environ, "PYTHONPATH": str(ROOT)}  # the script imports this file
    words = [sys.executable, str(tmp_path / "script.py")]
    done = subprocess.run(words, capture_output=True, text=True, env=home)
    assert done.returncode == 1 and done.stderr.count("Traceback") == 1, done.stderr
    assert 'under `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]


def test_rows_and_labels_must_agree():
    with pytest.raises(ShapeError, match=r"inputs\['x'\]"):
        TensorData({"x": torch.zeros(3, 2)}, torch.zeros(4))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6).flatmap(lambda c: st.tuples(st.just(c), st.lists(st.tuples(*[st.integers(0, c - 1)] * 2)))))
def test_metrics_against_loops(drawn):
    classes, pairs = drawn
    labels = torch.tensor([a for a, _ in pairs], dtype=torch.long)
    predicted = torch.tensor([b for _, b in pairs], dtype=torch.long)
    confusion = metrics.confusion_matrix(predicted, labels, classes)
    for row in range(classes):
        for column in range(classes):
            assert confusion[row, column] == sum(pair == (row, column) for pair in pairs)
    right = sum(a == b for a, b in pairs)
    assert float(metrics.accuracy(confusion)) == pytest.approx(right / len(pairs) if pairs else 0)
    recalls = []
    for c in range(classes):
        own = [b for a, b in pairs if a == c]
        if own:
            recalls.append(sum(b == c for b in own) / len(own))
    expected = sum(recalls) / len(recalls) if recalls else 0
    assert float(metrics.mean_class_accuracy(confusion)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("predicted", "labels", "says"),
    [
        ([4, 4], [0, 0], r"predicted: expected classes 0 to 2 \(3 classes\), got 4, so there are 5 outputs"),
        ([0, 1], [0, -1], r"labels: .* got -1"),
        ([0, 1], [0, -100], r"labels: .* got -100"),
        ([0, 1], [3, 0], r"labels: .* got 3, so there are 4 outputs"),
        ([-1, 1], [0, 1], r"predicted: .* got -1"),
    ],
)
def test_what_is_no_class_is_refused(predicted, labels, says):
    with pytest.raises(RangeError, match=says):
        metrics.confusion_matrix(torch.tensor(predicted), torch.tensor(labels), 3)


@pytest.mark.parametrize("kind", [torch.float32, torch.bool, torch.complex64])
def test_classes_are_whole_numbers(kind):
    with pytest.raises(ShapeError, match=r"whole numbers"):
        metrics.confusion_matrix(torch.zeros(2, dtype=kind), torch.zeros(2, dtype=torch.long), 3)
    counted = metrics.confusion_matrix(torch.tensor([2, 0], dtype=torch.uint8), torch.tensor([2, 1]), 3)
    assert counted[2, 2] == 1 and counted[1, 0] == 1  # no overflow of small types
    with pytest.raises(ShapeError, match="confusion"):
        metrics.accuracy(torch.zeros(2, 3))


def test_metrics_refuse_logits():
    with pytest.raises(ShapeError, match="arg max"):
        metrics.confusion_matrix(torch.zeros(3, 4), torch.zeros(3, dtype=torch.long), 4)


def test_the_protocol_holds():
    sets: list[data.Data] = [TensorData({}, torch.zeros(2)), LoaderData(Listed(), torch.zeros(2))]
    assert all(len(item.labels) == 2 for item in sets)
