"""Scores as probabilities, and thresholds for a chosen rate of false alarms; on validation runs.

Invariant: no held-out run is looked at; probabilities rise with the score, or stay level.
"""

from __future__ import annotations

import math

import numpy as np

from engine.detection.arrays import BoolArray, FloatArray
from engine.detection.models import Calibration
from engine.errors import RequestError

_LEAST_A_CLASS = 5
_BOUND = 1e-4
"""Probabilities stay this far from 0 and 1: a few hundred runs prove no more."""


def calibrate(y: BoolArray, score: FloatArray, base_rate: float) -> Calibration:
    """Fits a logistic curve (Platt) to validation runs.

    Source: J. Platt, Probabilistic outputs for support vector machines (1999).

    Args:
        y: [n], of the validation runs. score: [n].
        base_rate: share of positives in training, for where nothing can be fitted.
    """
    negatives = tuple(float(value) for value in np.sort(score[~y]))
    rate = min(max(base_rate, _BOUND), 1 - _BOUND)
    level = Calibration(0.0, math.log(rate / (1 - rate)), False, negatives)
    spread = float(score.std()) if len(score) else 0.0
    if min(int(y.sum()), int((~y).sum())) < _LEAST_A_CLASS or spread <= 0:
        return level
    from sklearn.linear_model import LogisticRegression

    middle = float(score.mean())
    fitted = LogisticRegression(C=10.0).fit(((score - middle) / spread)[:, None], y)
    slope = float(fitted.coef_[0, 0]) / spread
    if slope <= 0:
        return level
    offset = float(fitted.intercept_[0]) - slope * middle
    return Calibration(slope, offset, True, negatives)


def to_probability(calibration: Calibration, score: FloatArray) -> FloatArray:
    """Calibrated probability of each score."""
    from scipy.special import expit

    probability: FloatArray = expit(calibration.slope * score + calibration.offset)
    return np.clip(probability, _BOUND, 1 - _BOUND)


def threshold_for(calibration: Calibration, false_positive_rate: float) -> float:
    """Least score from which on at most this share of right answers is flagged.

    Args:
        calibration: with the scores of right validation answers.
        false_positive_rate: 0 to 1.

    Raises:
        RequestError: if the rate is outside 0 to 1, or there are no such scores.
    """
    if not 0 <= false_positive_rate <= 1:
        raise RequestError(
            f"{false_positive_rate} is not a rate of false alarms.", "Give a number from 0 to 1."
        )
    scores = calibration.negatives
    if not scores:
        raise RequestError(
            "The validation runs of this detector have no right answers to set a threshold by.",
            "Train it on a larger set.",
        )
    n_allowed = int(false_positive_rate * len(scores))
    if n_allowed >= len(scores):
        return scores[0]
    # just above the highest score that must not be flagged
    return math.nextafter(scores[len(scores) - 1 - n_allowed], math.inf)
