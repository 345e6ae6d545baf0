"""The linear SVM: its solver's answer, its settings, and what a reader may get wrong."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from ask_lib.errors import AskError, RangeError, ShapeError
from ask_lib.evaluate.linear import LinearSVM


def clouds(classes: int = 3, each: int = 30, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(classes).repeat_interleave(each)
    return torch.eye(classes, 4)[labels] * 4 + torch.randn(len(labels), 4, generator=generator), labels


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("settings", [{}, {"c": 10.0}, {"dual": False}], ids=str)
def test_it_predicts_as_scikit_learn_does(classes: int, settings: dict[str, object]):
    vectors, labels = clouds(classes)
    ours = LinearSVM(**settings).fit(vectors, labels)  # type: ignore[arg-type]
    settled = {"dual": True} | {{"c": "C"}.get(key, key): value for key, value in settings.items()}
    theirs = LinearSVC(random_state=0, max_iter=10_000, **settled).fit(vectors.double().numpy(), labels.numpy())
    assert ours.predict(vectors).tolist() == theirs.predict(vectors.double().numpy()).tolist()
    learned = torch.cat([ours.weight, ours.offset[:, None]], dim=1)[-len(theirs.coef_) :]
    given = np.hstack([theirs.coef_, theirs.intercept_[:, None]])
    torch.testing.assert_close(learned, torch.from_numpy(given))
    assert ours.accuracy(vectors, labels) == pytest.approx(theirs.score(vectors.double().numpy(), labels.numpy()))


@pytest.mark.parametrize("c", [0.1, 10.0])
def test_the_answer_is_where_the_objective_is_flat(c: float):
    """Half the squared weights, the bias among them, plus C times the squared hinges: its gradient is 0."""
    vectors, labels = clouds(2)
    svm = LinearSVM(c, tolerance=1e-8).fit(vectors, labels)
    weights = torch.cat([svm.weight[1], svm.offset[1:]]).requires_grad_()
    x = torch.cat([vectors.double(), torch.ones(len(vectors), 1)], dim=1)
    hinges = (1 - (2 * labels - 1) * (x @ weights)).relu()
    (gradient,) = torch.autograd.grad(weights.square().sum() / 2 + c * hinges.square().sum(), weights)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-5)


def test_labels_need_not_begin_at_zero_and_a_fit_repeats():
    vectors, labels = clouds()
    svm, again = LinearSVM().fit(vectors, labels * 7 + 5), LinearSVM().fit(vectors, labels * 7 + 5)
    assert set(svm.predict(vectors).tolist()) == {5, 12, 19}
    assert torch.equal(svm.weight, again.weight)


def test_what_has_not_converged_warns():
    vectors, labels = clouds()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        LinearSVM().fit(vectors, labels)
        with pytest.raises(ConvergenceWarning):
            LinearSVM(1e9, tolerance=1e-15).fit(vectors[:, :1], labels)


def test_errors_say_what_to_do():
    vectors, labels = clouds()
    with pytest.raises(AskError, match="fit"):
        LinearSVM().predict(vectors)
    with pytest.raises(RangeError, match="two classes"):
        LinearSVM().fit(vectors, labels * 0)
    with pytest.raises(ShapeError, match="One label"):
        LinearSVM().fit(vectors, labels[:-1])
    with pytest.raises(ShapeError, match="in fit"):
        LinearSVM().fit(vectors, labels).predict(vectors[:, :2])
    for bad in ({"c": 0.0}, {"tolerance": 0.0}):
        with pytest.raises(RangeError):
            LinearSVM(**bad)  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_the_cpu():
    vectors, labels = clouds()
    here, there = LinearSVM().fit(vectors, labels), LinearSVM().fit(vectors.cuda(), labels.cuda())
    torch.testing.assert_close(there.weight, here.weight)
    assert there.predict(vectors.cuda()).is_cuda
