"""Classification by a linear support vector machine: LIBLINEAR, through scikit-learn."""

from __future__ import annotations

from typing import Self

import numpy as np
import torch

from ask_lib.checks import check_range, check_shape
from ask_lib.errors import AskError, RangeError

_ROWS = "One row an image."


class LinearSVM:
    """A linear SVM, one class against the rest, as InterActive uses it; SCDA's Table 5 names no classifier.

    The solver is LIBLINEAR in float64: squared hinge, and a bias, which is a weight like the others (LIBLINEAR's
    ``-B 1``). A fit that has not converged in 10,000 passes warns (scikit-learn's ``ConvergenceWarning``).

    Open in the papers: SCDA names no C; InterActive's is 10. Neither says whether there is a bias.

    Args:
        c: Weight of the errors against the size of the weights, above 0.
        dual: Solve the dual problem (LIBLINEAR's default); False is quicker for more vectors than components.
        tolerance: Of the stopping rule, above 0.

    Attributes:
        classes: int64, ``(K,)``, the labels seen, ascending; after ``fit``.
        weight: ``(K, D)`` float64 on the CPU; after ``fit``.
        offset: ``(K,)`` float64 on the CPU; after ``fit``.
    """

    def __init__(self, c: float = 1.0, *, dual: bool = True, tolerance: float = 1e-4) -> None:
        check_range("c", c, 0, open_low=True)
        check_range("tolerance", tolerance, 0, open_low=True)
        self.c, self.dual, self.tolerance = c, dual, tolerance
        self.classes = self.weight = self.offset = torch.empty(0)

    def fit(self, vectors: torch.Tensor, labels: torch.Tensor) -> Self:
        """Learn from ``(N, D)`` and int64 ``(N,)``.

        Raises:
            ShapeError: If the shapes do not fit.
            RangeError: If there is only one class.
        """
        from sklearn.svm import LinearSVC

        check_shape("vectors", vectors, "ND", _ROWS)
        check_shape("labels", labels, (len(vectors),), "One label a vector.")
        if len(set(labels.tolist())) < 2:
            raise RangeError("labels: expected at least two classes, got one. There is nothing to tell apart.")
        machine = LinearSVC(C=self.c, dual=self.dual, tol=self.tolerance, max_iter=10_000, random_state=0)
        found = machine.fit(vectors.detach().cpu().double().numpy(), labels.cpu().numpy())
        weight, offset = np.atleast_2d(found.coef_), np.broadcast_to(found.intercept_, len(found.coef_))
        if len(weight) == 1:  # of two classes only the second's is learned; the first's is its opposite
            weight, offset = np.concatenate([-weight, weight]), np.concatenate([-offset, offset])
        self.classes = torch.from_numpy(np.array(found.classes_))
        self.weight, self.offset = torch.from_numpy(np.array(weight)), torch.from_numpy(np.array(offset))
        return self

    def predict(self, vectors: torch.Tensor) -> torch.Tensor:
        """The class of each vector ``(N, D)``: int64, ``(N,)``, on the vectors' device.

        Raises:
            AskError: Before ``fit``.
            ShapeError: If the vectors have another length than those of ``fit``.
        """
        if not len(self.classes):
            raise AskError("This LinearSVM has learned nothing yet: call fit(vectors, labels) first.")
        check_shape("vectors", vectors, ("N", self.weight.shape[1]), "The length must be that of the vectors in fit.")
        scores = vectors.double() @ self.weight.T.to(vectors.device) + self.offset.to(vectors.device)  # (N, K)
        return self.classes.to(vectors.device)[scores.argmax(dim=1)]

    def accuracy(self, vectors: torch.Tensor, labels: torch.Tensor) -> float:
        """Share of vectors given their own label; 0 of nothing. Raises as ``predict`` does."""
        check_shape("labels", labels, (len(vectors),), "One label a vector.")
        right = self.predict(vectors) == labels.to(vectors.device)
        return float(right.double().sum()) / max(1, len(labels))
