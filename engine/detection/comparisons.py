"""Detectors against each other on the same held-out runs, draw by draw, and what that lets one say.

Invariant: "better" is said from 200 runs in each class on, where the paired interval of the
difference lies above zero; never of figures on runs that a choice was made by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from engine.detection.arrays import BoolArray, FloatArray
from engine.detection.baselines import PROBABILITY_METHODS
from engine.detection.bootstrap import GroupDraws, estimate
from engine.detection.fitted import Fitted
from engine.detection.metrics import auroc_draws
from engine.detection.reports import (
    Audit,
    Comparison,
    DetectorReport,
    SliceResult,
)
from engine.detection.table import DetectionTable

DENSE_METHODS = frozenset({"dense_logistic", "mean_difference"})
_WITHIN = 0.02
"""A detector this much below the dense probe is called level with it."""


class Reported(Protocol):
    """A detector with its scores and its figures."""

    @property
    def fitted(self) -> Fitted:
        """Its scores."""

    @property
    def report(self) -> DetectorReport:
        """Its figures."""


def compare_detectors(
    table: DetectionTable,
    slices: Mapping[str, BoolArray],
    draws: Mapping[str, GroupDraws],
    trained: Sequence[Reported],
) -> tuple[Comparison, ...]:
    """The chosen detector and the best single feature, against the best baselines of each slice.

    The baseline is the one that does best on the held-out runs themselves, which favours it.
    """
    ours = [item for item in trained if item.report.is_chosen]
    single = _best_inside(trained, "single_feature")
    ours += [item for item in single if item not in ours]
    found = []
    for name, inside in slices.items():
        for methods in (PROBABILITY_METHODS, DENSE_METHODS):
            other = best_on(name, methods, trained)
            if other is None:
                continue
            for item in ours:
                here = slice_of(item.report, name)
                if here is None or here.auroc is None:
                    continue
                y = table.y[inside]
                difference = _draws(item, y, inside, draws[name]) - _draws(
                    other, y, inside, draws[name]
                )
                gap = estimate(difference)
                found.append(
                    Comparison(
                        item.fitted.name,
                        other.fitted.name,
                        name,
                        gap,
                        here.verdict == "comparable" and gap.low > 0,
                    )
                )
    return tuple(found)


def best_on(name: str, methods: frozenset[str], trained: Sequence[Reported]) -> Reported | None:
    """The detector of these methods with the highest AUROC on a slice."""
    best, reached = None, -np.inf
    for item in trained:
        here = slice_of(item.report, name) if item.fitted.method in methods else None
        if here is not None and here.auroc is not None and here.auroc.value > reached:
            best, reached = item, here.auroc.value
    return best


def slice_of(report: DetectorReport, name: str) -> SliceResult | None:
    """What the detector reached on a slice; None if it was not measured there."""
    return next((item for item in report.slices if item.name == name), None)


def say(
    detectors: Sequence[DetectorReport],
    comparisons: Sequence[Comparison],
    audits: Sequence[Audit],
    is_toy: bool,
) -> tuple[str, ...]:
    """What may be said in words, and what may not yet."""
    mark = " (toy)" if is_toy else ""
    chosen = next((item for item in detectors if item.is_chosen), None)
    sentences = []
    if chosen is None:
        sentences.append("No feature fires in enough groups to be a detector.")
    else:
        for result in chosen.slices:
            sentences.append(_of_slice(chosen, result, comparisons, detectors, mark))
    sentences += _confounds(audits)
    return tuple(sentences)


def _confounds(audits: Sequence[Audit]) -> list[str]:
    """What red audits mean: certain ones, and those that chance may have made."""
    red = [audit for audit in audits if audit.is_red and audit.auroc]
    sure = [audit.name for audit in red if audit.auroc and audit.auroc.low > 0.5]
    if sure:
        return [
            f"Confounded: {', '.join(sure)} alone tell the classes apart; no detector here may be "
            "said to find made-up answers."
        ]
    if red:
        return [
            f"Perhaps confounded: {', '.join(audit.name for audit in red)} may tell the classes "
            "apart, or chance made it look so; more runs would say."
        ]
    return []


def _of_slice(
    chosen: DetectorReport,
    result: SliceResult,
    comparisons: Sequence[Comparison],
    detectors: Sequence[DetectorReport],
    mark: str,
) -> str:
    where = "On all held-out answers" if result.name == "all" else f"On the slice {result.name!r}"
    size = f"{result.n_positive:,} made up, {result.n_negative:,} right"
    if result.auroc is None:
        return f"{where} ({size}) there are too few for a number."
    found = result.auroc
    parts = [
        f"{where} ({size}), {chosen.name} reaches AUROC {found.value:.3f} "
        f"[{found.low:.3f}, {found.high:.3f}]{mark}"
    ]
    for item in comparisons:
        if (item.name, item.slice) == (chosen.name, result.name):
            parts.append(_against(item, _method(item.other, detectors)))
    if result.verdict == "exploratory":
        parts.append("with so few, this is exploratory")
    elif result.verdict == "measured":
        parts.append("under 200 in a class, neither may be called better")
    return "; ".join(parts) + "."


def _against(item: Comparison, method: str) -> str:
    gap = item.difference
    shown = f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"
    if method in DENSE_METHODS:
        if gap.value < -_WITHIN:
            return f"{item.other} on the residual wins by {-gap.value:.3f} ({shown})"
        return f"it is within {_WITHIN} of {item.other} or above it ({shown})"
    if item.may_be_called_better:
        return f"better than the best probability baseline, {item.other}, by {shown}"
    if gap.high < 0:
        return f"the probability baseline {item.other} is ahead ({shown})"
    return f"against the best probability baseline, {item.other}: {shown}"


def _method(name: str, detectors: Sequence[DetectorReport]) -> str:
    return next((item.method for item in detectors if item.name == name), "")


def _best_inside(trained: Sequence[Reported], method: str) -> list[Reported]:
    """The detector of a method that did best inside the training runs, if there is one."""
    of_method = [item for item in trained if item.fitted.method == method]
    return sorted(of_method, key=lambda item: -(item.fitted.inner_auroc or 0.0))[:1]


def _draws(item: Reported, y: BoolArray, inside: BoolArray, draws: GroupDraws) -> FloatArray:
    return auroc_draws(y, item.fitted.score[inside], draws)
