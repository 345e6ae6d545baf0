import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ask_lib.errors import RangeError, ShapeError
from ask_lib.train import data, metrics
from ask_lib.train.data import LoaderData, Subset, TensorData, epoch_order, share, split, stratified_split

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
    pieces = epoch_order(50, 8, 0, 3, drop_last=False)
    assert torch.cat(pieces).sort().values.tolist() == list(range(50)) and [len(p) for p in pieces] == [8] * 6 + [2]
    assert len(epoch_order(50, 8, 0, 3)) == 6
    assert len(epoch_order(5, 8, 0, 3)[0]) == 5  # the only batch stays
    assert all(torch.equal(a, b) for a, b in zip(pieces, epoch_order(50, 8, 0, 3, False), strict=True))
    assert not torch.equal(pieces[0], epoch_order(50, 8, 0, 4)[0])
    assert not torch.equal(pieces[0], epoch_order(50, 8, 1, 3)[0])


@given(st.integers(1, 70), st.integers(1, 8))
def test_shares_make_up_the_batch(count, world):
    index = torch.arange(count)
    parts = [share(index, rank, world) for rank in range(world)]
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


def test_metrics_refuse_logits():
    with pytest.raises(ShapeError, match="arg max"):
        metrics.confusion_matrix(torch.zeros(3, 4), torch.zeros(3, dtype=torch.long), 4)


def test_the_protocol_holds():
    sets: list[data.Data] = [TensorData({}, torch.zeros(2)), LoaderData(Listed(), torch.zeros(2))]
    assert all(len(item.labels) == 2 for item in sets)
