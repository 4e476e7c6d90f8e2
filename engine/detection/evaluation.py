"""A table of runs becomes a table of detectors: split, train, calibrate, measure, compare, say.

Invariant: everything is chosen on training runs, calibrated on validation runs, and measured once
on held-out ones; every detector and baseline is measured on the same held-out runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from engine.detection.arrays import BoolArray, FloatArray
from engine.detection.audits import audit_leaks
from engine.detection.baselines import fit_baselines
from engine.detection.bootstrap import GroupDraws, draw_groups
from engine.detection.calibration import calibrate, to_probability
from engine.detection.candidates import fit_candidates
from engine.detection.comparisons import compare_detectors
from engine.detection.fitted import Fitted, Unavailable
from engine.detection.metrics import Scored, auroc, measure
from engine.detection.models import SITE_TITLES, Calibration, Site
from engine.detection.reports import (
    UNSEEN,
    WHOLE,
    Audit,
    Comparison,
    DetectorReport,
    FeatureScan,
)
from engine.detection.scan import scan_features
from engine.detection.splits import Split, split_runs
from engine.detection.table import DetectionTable


@dataclass(frozen=True, slots=True)
class Trained:
    """A detector with its calibration and what it reached.

    Attributes:
        probability: [n], calibrated, of all runs of the table.
    """

    fitted: Fitted
    calibration: Calibration
    probability: FloatArray
    report: DetectorReport


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that was measured on a table.

    Attributes:
        trained: candidates first, each kind by AUROC on all held-out runs.
        unavailable: baselines that could not be there.
    """

    split: Split
    audits: tuple[Audit, ...]
    trained: tuple[Trained, ...]
    unavailable: tuple[DetectorReport, ...]
    comparisons: tuple[Comparison, ...]
    features: FeatureScan | None


def evaluate_table(table: DetectionTable, tell: Callable[[str], None]) -> Measured:
    """Trains and measures everything.

    Args:
        table: the runs.
        tell: called with a few words before each part; what it raises ends the work.

    Raises:
        RequestError: if the labels cannot be learned from.
    """
    tell("dividing the runs")
    split = split_runs(table.run_keys, table.groups, table.y, table.strata(), table.templates)
    slices = _slices(table, split)
    draws = {name: draw_groups(table.groups[inside]) for name, inside in slices.items()}
    found: list[Fitted] = []
    absent: list[Unavailable] = []
    for candidate in fit_candidates(table, split.train):
        tell(f"trained: {candidate.name}")
        found.append(candidate)
    chosen = max(found, key=lambda item: item.inner_auroc or 0.0, default=None)
    for item in fit_baselines(table, split.train, split.test, _best_site(found)):
        tell(f"measured: {item.name}")
        if isinstance(item, Fitted):
            found.append(item)
        else:
            absent.append(item)
    trained = []
    for fitted in found:
        tell(f"intervals: {fitted.name}")
        trained.append(_measure(table, split, slices, draws, fitted, fitted is chosen))
    tell("audits")
    audits = audit_leaks(table, split)
    tell("scanning features")
    features = scan_features(table, split, _best_site(found))
    tell("comparisons")
    return Measured(
        split,
        audits,
        tuple(sorted(trained, key=_order)),
        tuple(_absent(item) for item in absent),
        compare_detectors(table, slices, draws, trained),
        features,
    )


def _slices(table: DetectionTable, split: Split) -> dict[str, BoolArray]:
    """Held-out runs of each slice, [n] each; the whole first."""
    slices = {WHOLE: split.test}
    for name in sorted({name for name in table.slices if name}):
        slices[name] = split.test & np.array([item == name for item in table.slices], np.bool_)
    if split.unseen.any():
        slices[UNSEEN] = split.unseen
    return slices


def _best_site(found: list[Fitted]) -> Site:
    """Where the L1 logistic did best inside the training runs."""
    logistic = [item for item in found if item.method == "sae_logistic" and item.linear]
    best = max(logistic, key=lambda item: item.inner_auroc or 0.0, default=None)
    if best is None or best.linear is None or best.linear.site is None:
        return next(iter(SITE_TITLES))
    return best.linear.site


def _measure(
    table: DetectionTable,
    split: Split,
    slices: Mapping[str, BoolArray],
    draws: Mapping[str, GroupDraws],
    fitted: Fitted,
    is_chosen: bool,
) -> Trained:
    y, score = table.y, fitted.score
    inside = split.validation
    calibration = calibrate(y[inside], score[inside], float(y[split.train].mean()))
    probability = to_probability(calibration, score)
    results = tuple(
        measure(
            name,
            Scored(y[part], score[part], probability[part], table.groups[part]),
            draws[name],
        )
        for name, part in slices.items()
    )
    report = DetectorReport(
        detector_id=None,
        name=fitted.name,
        kind=fitted.kind,
        method=fitted.method,
        site=fitted.site,
        note=fitted.note,
        n_features=fitted.n_features,
        slices=results,
        train_auroc=float(auroc(y[split.train], score[split.train])[0]),
        inner_auroc=fitted.inner_auroc,
        is_chosen=is_chosen,
    )
    return Trained(fitted, calibration, probability, report)


def _absent(item: Unavailable) -> DetectorReport:
    return DetectorReport(
        None, item.name, "baseline", item.method, "", item.reason, 0, (), None, is_available=False
    )


def _order(item: Trained) -> tuple[bool, float]:
    whole = item.report.slices[0].auroc
    return item.fitted.kind != "candidate", -whole.value if whole else 0.0
