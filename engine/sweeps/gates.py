"""Gates: scores of the last prompt token that tell what is known from what is made up.

Invariant: fitted on the half to choose by alone; the scores that thresholds are set on are of
people whom the fold's gate was not fitted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]

_N_FOLDS = 5
_SPARSE_C = (1.0, 3.0)
_DENSE_C = (0.01, 0.1)
_MIN_SHARE = 0.004
"""Of the rows: features that fire on fewer are left out."""


@dataclass(frozen=True, slots=True)
class LinearGate:
    """A score: bias plus the sum of weight times column.

    Attributes:
        columns: of the matrix that it was fitted on; weights: one each, in the columns' own units.
        scores: of the rows that it was fitted on, each by a gate that did not see its person.
        auroc: of those scores.
    """

    columns: npt.NDArray[np.int64]
    weights: Scores
    bias: float
    scores: Scores
    auroc: float

    def score(self, rows: Matrix) -> Scores:
        """Scores of other rows, [n, n_columns]."""
        return np.asarray(rows[:, self.columns] @ self.weights + self.bias, dtype=np.float64)


def fit_gate(
    rows: Matrix, is_made_up: npt.NDArray[np.bool_], groups: Sequence[str], is_sparse: bool
) -> LinearGate:
    """A logistic gate, its penalty chosen by the scores of folds of people.

    Args:
        rows: [n, n_columns] float32: activations of features, or residuals.
        is_made_up: [n]: what the gate is to open for.
        groups: the person of each row.
        is_sparse: L1 on columns scaled by their maximum (for features), else L2 on standardised
            ones (for residuals).
    """
    from sklearn.metrics import roc_auc_score

    share = (rows != 0).mean(axis=0)
    columns = np.flatnonzero(share >= _MIN_SHARE) if is_sparse else np.arange(rows.shape[1])
    if not len(columns):
        columns = np.arange(rows.shape[1])
    chosen = rows[:, columns].astype(np.float64)
    names = sorted(set(groups))
    turn = {name: number % _N_FOLDS for number, name in enumerate(_shuffled(names))}
    folds = np.asarray([turn[group] for group in groups])
    best: tuple[float, float, Scores] | None = None
    for c in _SPARSE_C if is_sparse else _DENSE_C:
        scores = np.zeros(len(rows))
        for fold in range(_N_FOLDS):
            held = folds == fold
            weights, bias = _fit(chosen[~held], is_made_up[~held], c, is_sparse)
            scores[held] = chosen[held] @ weights + bias
        value = float(roc_auc_score(is_made_up, scores))
        if best is None or value > best[0]:
            best = value, c, scores
    if best is None:
        raise ValueError("no penalty to choose from")
    value, c, scores = best
    weights, bias = _fit(chosen, is_made_up, c, is_sparse)
    used = np.flatnonzero(weights)
    return LinearGate(columns[used], weights[used], bias, scores, value)


def _shuffled(names: list[str]) -> list[str]:
    order = np.random.default_rng(0).permutation(len(names))
    return [names[index] for index in order]


def _fit(
    rows: Scores, flags: npt.NDArray[np.bool_], c: float, is_sparse: bool
) -> tuple[Scores, float]:
    from sklearn.linear_model import LogisticRegression

    if is_sparse:
        shift, scale = np.zeros(rows.shape[1]), np.maximum(rows.max(axis=0), 1e-9)
        model = LogisticRegression(
            C=c, l1_ratio=1.0, solver="liblinear", max_iter=300, class_weight="balanced"
        )
    else:
        shift, scale = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-9)
        model = LogisticRegression(C=c, max_iter=1000, class_weight="balanced")
    model.fit((rows - shift) / scale, flags)
    weights = model.coef_[0] / scale
    return weights, float(model.intercept_[0] - weights @ shift)
