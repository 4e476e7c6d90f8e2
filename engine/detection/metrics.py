"""Figures of a score against truth, for many weightings of the runs at once.

Invariant: with weights of one, each figure equals its textbook definition; equal scores are one
step of a curve, never an order among themselves. Higher scores mean "made up".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.detection.arrays import BoolArray, FloatArray, IntArray
from engine.detection.bootstrap import GroupDraws, draw_groups, estimate
from engine.detection.reports import Curves, Point, ReliabilityBin, SliceResult, Verdict

LEAST_FOR_A_NUMBER = 10
LEAST_FOR_MEASURED = 50
LEAST_TO_COMPARE = 200
"""Runs of the smaller class: for any figure, for one that is not exploratory, to call it better."""

N_BINS = 10
_CURVE_POINTS = 200
_HIGH_TPR = 0.95
_LOW_FPR = 0.10
_SLACK = 1e-12
"""Sums of weights differ from what they mean by less."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of some runs with what is true of them.

    Attributes:
        y: [n], whether the run is positive.
        score: [n]; higher means more suspicious.
        probability: [n], calibrated, 0 to 1.
        groups: [n], what is drawn together.
    """

    y: BoolArray
    score: FloatArray
    probability: FloatArray
    groups: IntArray


@dataclass(frozen=True, slots=True)
class _Steps:
    """Weights of positives and negatives at each distinct score, the highest score first.

    Attributes:
        tp, fp: [draws, steps], weights at or above the step's score.
        score: [steps].
    """

    tp: FloatArray
    fp: FloatArray
    score: FloatArray

    @property
    def tpr(self) -> FloatArray:
        return _ratio(self.tp, self.tp[:, -1:])

    @property
    def fpr(self) -> FloatArray:
        return _ratio(self.fp, self.fp[:, -1:])


def to_verdict(n_positive: int, n_negative: int) -> Verdict:
    """How much figures on so many runs may carry."""
    least = min(n_positive, n_negative)
    if least < LEAST_FOR_A_NUMBER:
        return "no number"
    if least < LEAST_FOR_MEASURED:
        return "exploratory"
    return "measured" if least < LEAST_TO_COMPARE else "comparable"


def auroc(y: BoolArray, score: FloatArray, weights: FloatArray | None = None) -> FloatArray:
    """Area under the ROC curve; half of a tie counts.

    Args:
        y: [n]. score: [n].
        weights: [draws, n]; ones if None.

    Returns:
        [draws]; NaN where a draw lacks a class.
    """
    return _auroc(_steps(y, score, _or_ones(weights, len(y))))


def measure(name: str, scored: Scored, draws: GroupDraws | None = None) -> SliceResult:
    """All figures of a detector on one slice, each with its interval; none below the gate.

    Args:
        name: of the slice. scored: its runs.
        draws: of their groups, made here if None.
    """
    y = scored.y
    n_positive, n_negative = int(y.sum()), int((~y).sum())
    verdict = to_verdict(n_positive, n_negative)
    prevalence = n_positive / len(y) if len(y) else 0.0
    n_groups = len(np.unique(scored.groups))
    if verdict == "no number":
        return SliceResult(name, n_positive, n_negative, n_groups, prevalence, verdict)
    bins = equal_mass_bins(scored.probability)
    figures = _all_draws(scored, bins, draws or draw_groups(scored.groups))
    return SliceResult(
        name,
        n_positive,
        n_negative,
        n_groups,
        prevalence,
        verdict,
        auroc=estimate(figures["auroc"]),
        auprc=estimate(figures["auprc"]),
        fpr_at_95_tpr=estimate(figures["fpr_at_95_tpr"]),
        recall_at_10_fpr=estimate(figures["recall_at_10_fpr"]),
        brier=estimate(figures["brier"]),
        ece=estimate(figures["ece"]),
        aurc=estimate(figures["aurc"]),
        curves=_curves(scored, bins),
    )


def auroc_draws(y: BoolArray, score: FloatArray, draws: GroupDraws) -> FloatArray:
    """AUROC of the sample and of each draw, [1 + draws]."""
    return np.concatenate([auroc(y, score, weights) for weights in draws.weights()])


def _all_draws(scored: Scored, bins: IntArray, draws: GroupDraws) -> dict[str, FloatArray]:
    """Each figure for the sample and for each draw."""
    parts = [_figures(scored, bins, weights) for weights in draws.weights()]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _figures(scored: Scored, bins: IntArray, weights: FloatArray) -> dict[str, FloatArray]:
    y, probability = scored.y, scored.probability
    steps = _steps(y, scored.score, weights)
    tpr, fpr = steps.tpr, steps.fpr
    return {
        "auroc": _auroc(steps),
        "auprc": _average_precision(steps),
        "fpr_at_95_tpr": _fpr_at(tpr, fpr, _HIGH_TPR),
        "recall_at_10_fpr": np.where(fpr <= _LOW_FPR + _SLACK, tpr, 0.0).max(axis=1),
        "brier": weights @ ((probability - y) ** 2) / weights.sum(axis=1),
        "ece": _ece(y, probability, bins, weights),
        "aurc": _aurc(y, scored.score, weights),
    }


def _curves(scored: Scored, bins: IntArray) -> Curves:
    y = scored.y
    steps = _steps(y, scored.score, np.ones((1, len(y))))
    tpr, fpr = steps.tpr[0], steps.fpr[0]
    precision = _ratio(steps.tp, steps.tp + steps.fp)[0]
    return Curves(
        roc=_thinned([Point(0.0, 0.0), *_points(fpr, tpr, steps.score)]),
        pr=_thinned(_points(tpr, precision, steps.score)),
        reliability=_reliability(y, scored.probability, bins),
        risk_coverage=_risk_coverage(y, scored.score),
    )


def equal_mass_bins(probability: FloatArray, n_bins: int = N_BINS) -> IntArray:
    """Bin of each run: bins hold about equal numbers, equal probabilities are in one bin."""
    n = len(probability)
    order = np.argsort(probability, kind="stable")
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    _, same = np.unique(probability, return_inverse=True)
    first = np.full(same.max() + 1 if n else 0, n, np.int64)
    np.minimum.at(first, same, place)
    return first[same] * n_bins // max(n, 1)


def _or_ones(weights: FloatArray | None, n: int) -> FloatArray:
    return np.ones((1, n)) if weights is None else weights


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Their quotient; NaN where the whole is nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient: FloatArray = np.where(whole > 0, part / whole, np.nan)
    return quotient


def _steps(y: BoolArray, score: FloatArray, weights: FloatArray) -> _Steps:
    order = np.argsort(-score, kind="stable")
    falling = score[order]
    starts = np.flatnonzero(np.r_[True, falling[1:] != falling[:-1]])
    ordered = weights[:, order]
    positive = np.add.reduceat(ordered * y[order], starts, axis=1)
    negative = np.add.reduceat(ordered * ~y[order], starts, axis=1)
    return _Steps(positive.cumsum(axis=1), negative.cumsum(axis=1), falling[starts])


def _auroc(steps: _Steps) -> FloatArray:
    """By trapezoids, which give half of each tie."""
    tp = np.pad(steps.tp, ((0, 0), (1, 0)))
    fp = np.pad(steps.fp, ((0, 0), (1, 0)))
    area = (np.diff(fp, axis=1) * (tp[:, 1:] + tp[:, :-1]) / 2).sum(axis=1)
    return _ratio(area, tp[:, -1] * fp[:, -1])


def _average_precision(steps: _Steps) -> FloatArray:
    """Precision at each step, weighted by the recall that it adds."""
    precision = np.nan_to_num(_ratio(steps.tp, steps.tp + steps.fp))
    gained = np.diff(steps.tp, axis=1, prepend=0.0)
    return _ratio((precision * gained).sum(axis=1), steps.tp[:, -1])


def _fpr_at(tpr: FloatArray, fpr: FloatArray, wanted: float) -> FloatArray:
    """False positive rate of the first step whose true positive rate suffices."""
    reached = tpr >= wanted - _SLACK
    found = np.take_along_axis(fpr, reached.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.where(reached.any(axis=1), found, np.nan)


def _ece(y: BoolArray, probability: FloatArray, bins: IntArray, weights: FloatArray) -> FloatArray:
    """Mean distance of predicted and observed over bins, each by its weight."""
    total = np.zeros(len(weights))
    for number in np.unique(bins):
        inside = bins == number
        total += np.abs(weights[:, inside] @ (probability[inside] - y[inside]))
    mean: FloatArray = total / weights.sum(axis=1)
    return mean


def _aurc(y: BoolArray, score: FloatArray, weights: FloatArray) -> FloatArray:
    """Mean, over the runs, of the share of positives among those at most as suspicious."""
    steps = _steps(y, -score, weights)
    kept = steps.tp + steps.fp
    gained = np.diff(kept, axis=1, prepend=0.0)
    risk = (np.nan_to_num(_ratio(steps.tp, kept)) * gained).sum(axis=1)
    mean: FloatArray = risk / weights.sum(axis=1)
    return mean


def _risk_coverage(y: BoolArray, score: FloatArray) -> tuple[Point, ...]:
    steps = _steps(y, -score, np.ones((1, len(y))))
    kept = (steps.tp + steps.fp)[0]
    return _thinned(_points(kept / len(y), steps.tp[0] / kept, -steps.score))


def _reliability(
    y: BoolArray, probability: FloatArray, bins: IntArray
) -> tuple[ReliabilityBin, ...]:
    return tuple(
        ReliabilityBin(
            float(probability[inside].mean()), float(y[inside].mean()), int(inside.sum())
        )
        for inside in (bins == number for number in np.unique(bins))
    )


def _points(x: FloatArray, y: FloatArray, threshold: FloatArray) -> list[Point]:
    return [Point(float(a), float(b), float(c)) for a, b, c in zip(x, y, threshold, strict=True)]


def _thinned(points: list[Point]) -> tuple[Point, ...]:
    """At most _CURVE_POINTS of them, evenly, the first and the last among them."""
    if len(points) <= _CURVE_POINTS:
        return tuple(points)
    kept = np.unique(np.linspace(0, len(points) - 1, _CURVE_POINTS).astype(int))
    return tuple(points[index] for index in kept)
