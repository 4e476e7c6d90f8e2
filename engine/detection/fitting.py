"""Linear probes on rows: logistic, L1 logistic, difference of means; strength of penalty by group.

Invariant: only the rows that are handed in are looked at; weights come back in units of the values
that were handed in.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp

from engine.detection.arrays import BoolArray, FloatArray, IntArray
from engine.detection.metrics import auroc
from engine.detection.splits import grouped_folds

N_INNER_FOLDS = 4
L1_STRENGTHS = (0.03, 0.1, 0.3, 1.0)
L2_STRENGTHS = (0.001, 0.01, 0.1, 1.0)
_MAX_ITERATIONS = 1_000
_LEAST_SPREAD = 1e-9

Rows: TypeAlias = FloatArray | sp.csr_array


@dataclass(frozen=True, slots=True)
class Probe:
    """A fitted weighted sum.

    Attributes:
        weights: [d]; intercept: added.
        inner_auroc: over folds inside the training runs; how candidates are chosen.
        strength: inverse penalty that was used.
    """

    weights: FloatArray
    intercept: float
    inner_auroc: float = 0.5
    strength: float = 1.0

    def score(self, rows: Rows) -> FloatArray:
        """[n] for rows [n, d]."""
        return np.asarray(rows @ self.weights).ravel() + self.intercept


def fit_logistic(
    rows: Rows,
    y: BoolArray,
    groups: IntArray,
    strengths: Sequence[float],
    is_l1: bool = False,
    sample_weight: FloatArray | None = None,
) -> Probe:
    """Logistic regression with the inverse penalty that does best across groups.

    Args:
        rows: [n, d], dense or sparse; scaled inside, sparse ones without moving zero.
        y: [n]. groups: [n]; a group is never on both sides of an inner fold.
        strengths: inverse penalties to choose from, rising; the first of equals is taken.
        is_l1: whether most weights become zero.
        sample_weight: [n], how much each row counts; ones if None.
    """
    weight = np.ones(len(y)) if sample_weight is None else sample_weight

    def reach(strength: float) -> float:
        return cross_auroc(
            y,
            groups,
            lambda outer: refit_logistic(
                rows[outer], y[outer], strength, is_l1, weight[outer]
            ).score(rows),
        )

    reached = [reach(strength) for strength in strengths]
    best = int(np.argmax(np.round(reached, 3)))
    probe = refit_logistic(rows, y, strengths[best], is_l1, weight)
    return replace(probe, inner_auroc=reached[best])


def refit_logistic(
    rows: Rows,
    y: BoolArray,
    strength: float,
    is_l1: bool = False,
    sample_weight: FloatArray | None = None,
) -> Probe:
    """Logistic regression with a given inverse penalty; arguments as for `fit_logistic`."""
    centre, scale = _scaling(rows)
    weight = np.ones(len(y)) if sample_weight is None else sample_weight
    coefficients, intercept = _fit(_scaled(rows, centre, scale), y, weight, strength, is_l1)
    weights = coefficients / scale
    return Probe(weights, intercept - float(weights @ centre), strength=strength)


def cross_auroc(
    y: BoolArray, groups: IntArray, score_inside: Callable[[BoolArray], FloatArray]
) -> float:
    """Mean AUROC over inner folds, of a method that sees only what is outside of each.

    Args:
        y: [n]. groups: [n]; a group is never on both sides.
        score_inside: from a mask of the rows that may be learned from, scores of all, [n].
    """
    fold = grouped_folds(y, groups, np.zeros(len(y), np.int64), _n_inner(groups))
    reached = []
    for number in np.unique(fold):
        inside = fold == number
        if any(part.all() or not part.any() for part in (y[inside], y[~inside])):
            continue
        reached.append(float(auroc(y[inside], score_inside(~inside)[inside])[0]))
    return float(np.mean(reached)) if reached else 0.5


def fit_difference_of_means(rows: FloatArray, y: BoolArray) -> Probe:
    """The direction from the mean of the negatives to that of the positives."""
    direction = rows[y].mean(axis=0) - rows[~y].mean(axis=0)
    middle = (rows[y].mean(axis=0) + rows[~y].mean(axis=0)) / 2
    return Probe(direction, -float(direction @ middle))


def _scaling(rows: Rows) -> tuple[FloatArray, FloatArray]:
    """What is taken off and divided by; zero stays zero where rows are sparse."""
    n_columns = rows.shape[1]
    if isinstance(rows, np.ndarray):
        centre = rows.mean(axis=0)
        spread = rows.std(axis=0)
    else:
        centre = np.zeros(n_columns)
        mean = np.asarray(rows.mean(axis=0)).ravel()
        squared = np.asarray(rows.multiply(rows).mean(axis=0)).ravel()
        spread = np.sqrt(np.maximum(squared - mean**2, 0.0))
    return centre, np.where(spread > _LEAST_SPREAD, spread, 1.0)


def _scaled(rows: Rows, centre: FloatArray, scale: FloatArray) -> Rows:
    if isinstance(rows, np.ndarray):
        return (rows - centre) / scale
    scaled = sp.csr_array(rows @ sp.diags_array(1 / scale))
    # liblinear takes no 64-bit indices
    scaled.indices, scaled.indptr = scaled.indices.astype(np.int32), scaled.indptr.astype(np.int32)
    return scaled


def _n_inner(groups: IntArray) -> int:
    return max(2, min(N_INNER_FOLDS, len(np.unique(groups)) // 2))


def _fit(
    rows: Rows, y: BoolArray, weight: FloatArray, strength: float, is_l1: bool
) -> tuple[FloatArray, float]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if is_l1:
        model = LogisticRegression(
            C=strength,
            l1_ratio=1.0,
            solver="liblinear",
            intercept_scaling=10.0,  # liblinear penalises the intercept: let it cost little
            max_iter=_MAX_ITERATIONS,
            random_state=0,
        )
    else:
        model = LogisticRegression(C=strength, max_iter=_MAX_ITERATIONS)
    with warnings.catch_warnings():
        # a fit that stops early is measured on other runs like any other
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        model.fit(rows, y, sample_weight=weight)
    return np.asarray(model.coef_[0], np.float64), float(model.intercept_[0])
