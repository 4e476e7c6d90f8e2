"""Detectors made of SAE features: the best single one, L1 logistic, few features, a token probe.

Invariant: features and penalties are chosen on training runs alone, by group.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from engine.cohorts.ranking import auroc as cohort_auroc
from engine.cohorts.ranking import rank_scores
from engine.detection.arrays import BoolArray, FloatArray, IntArray
from engine.detection.fitted import Fitted
from engine.detection.fitting import (
    L1_STRENGTHS,
    Probe,
    cross_auroc,
    fit_logistic,
    refit_logistic,
)
from engine.detection.models import SITE_TITLES, LinearModel, Site
from engine.detection.table import DetectionTable, TokenRows

N_FEW = 16
LEAST_GROUPS = 5
"""A feature is looked at if it fires in so many training groups, whatever their labels."""
_SHOWN = 6
_FEW_STRENGTH = 0.1


def fit_candidates(table: DetectionTable, train: BoolArray) -> Iterator[Fitted]:
    """All candidates, site by site, as they are done.

    Args:
        table: the runs.
        train: [n], those that may be learned from.
    """
    for site, values in table.features.items():
        eligible = eligible_features(values, table.groups, train)
        if not len(eligible):
            continue
        yield _single(table, site, values, eligible, train)
        rows = sp.csr_array(values[train][:, eligible])
        full = fit_logistic(rows, table.y[train], table.groups[train], L1_STRENGTHS, is_l1=True)
        yield _logistic(site, values, eligible, full, train)
        yield _few(table, site, values, eligible, full, train)
    if table.tokens.values.shape[0]:
        probe = _token_probe(table, train)
        if probe is not None:
            yield probe


def eligible_features(values: sp.csr_array, groups: IntArray, train: BoolArray) -> IntArray:
    """Features that fire in LEAST_GROUPS training groups or more; labels play no part."""
    _, group = np.unique(groups[train], return_inverse=True)
    rows = sp.csr_array(values[train])
    n_groups = int(group.max()) + 1 if len(group) else 0
    member = sp.csr_array(
        (np.ones(len(group)), (group, np.arange(len(group)))), shape=(n_groups, len(group))
    )
    fires = sp.csr_array((np.ones(rows.nnz), rows.indices, rows.indptr), shape=rows.shape)
    in_group = sp.csr_array(member @ fires)
    n_firing = np.bincount(in_group.indices, minlength=rows.shape[1])
    return np.flatnonzero(n_firing >= LEAST_GROUPS).astype(np.int64)


def feature_aurocs(values: sp.csr_array, y: BoolArray) -> FloatArray:
    """AUROC of each feature by itself, [d]; .5 for one that never fires.

    Args:
        values: [n, d], none below zero. y: [n], with both classes.
    """
    by_feature = sp.csr_array(values.T)
    by_feature.eliminate_zeros()
    aurocs: FloatArray = cohort_auroc(rank_scores(by_feature, int(y.sum())), y)
    return aurocs


def _single(
    table: DetectionTable, site: Site, values: sp.csr_array, eligible: IntArray, train: BoolArray
) -> Fitted:
    rows = sp.csr_array(values[train][:, eligible])
    y, groups = table.y[train], table.groups[train]
    best, sign = _strongest_single(rows, y)

    def score_inside(outer: BoolArray) -> FloatArray:
        chosen, direction = _strongest_single(sp.csr_array(rows[outer]), y[outer])
        score: FloatArray = direction * rows[:, [chosen]].toarray().ravel()
        return score

    feature = int(eligible[best])
    side = "fires on what is made up" if sign > 0 else "is silent on what is made up"
    return Fitted(
        f"best single feature, {SITE_TITLES[site]}",
        "candidate",
        "single_feature",
        SITE_TITLES[site],
        f"Feature {feature}, which {side}; chosen among {len(eligible):,}.",
        1,
        sign * values[:, [feature]].toarray().ravel(),
        LinearModel("feature", site, (str(feature),), (sign,), 0.0),
        cross_auroc(y, groups, score_inside),
    )


def _strongest_single(rows: sp.csr_array, y: BoolArray) -> tuple[int, float]:
    """Column whose AUROC is farthest from .5, and 1 if it is above, else -1."""
    aurocs = feature_aurocs(rows, y)
    best = int(np.argmax(np.abs(aurocs - 0.5)))
    return best, 1.0 if aurocs[best] >= 0.5 else -1.0


def _logistic(
    site: Site, values: sp.csr_array, eligible: IntArray, probe: Probe, train: BoolArray
) -> Fitted:
    used = np.flatnonzero(probe.weights)
    linear = _linear("feature", site, eligible[used], probe.weights[used], probe.intercept)
    return Fitted(
        f"SAE logistic, {SITE_TITLES[site]}",
        "candidate",
        "sae_logistic",
        SITE_TITLES[site],
        f"{len(used)} of {len(eligible):,} features: {_strongest(linear, values[train])}.",
        len(used),
        apply_features(linear, values),
        linear,
        probe.inner_auroc,
    )


def _few(
    table: DetectionTable,
    site: Site,
    values: sp.csr_array,
    eligible: IntArray,
    full: Probe,
    train: BoolArray,
) -> Fitted:
    rows = sp.csr_array(values[train][:, eligible])
    y, groups = table.y[train], table.groups[train]

    def fit(outer: BoolArray) -> tuple[IntArray, Probe]:
        """The features that a full fit weighs most, and a fit on them alone."""
        all_of_them = refit_logistic(rows[outer], y[outer], full.strength, is_l1=True)
        chosen = _heaviest(all_of_them.weights, sp.csr_array(rows[outer]))
        return chosen, refit_logistic(rows[outer][:, chosen], y[outer], _FEW_STRENGTH)

    def score_inside(outer: BoolArray) -> FloatArray:
        chosen, probe = fit(outer)
        return probe.score(rows[:, chosen])

    chosen, probe = fit(np.ones(len(y), np.bool_))
    linear = _linear("feature", site, eligible[chosen], probe.weights, probe.intercept)
    return Fitted(
        f"{len(chosen)} features, {SITE_TITLES[site]}",
        "candidate",
        "few_features",
        SITE_TITLES[site],
        f"{_strongest(linear, values[train])}.",
        len(chosen),
        apply_features(linear, values),
        linear,
        cross_auroc(y, groups, score_inside),
    )


def _heaviest(weights: FloatArray, rows: sp.csr_array) -> IntArray:
    """The N_FEW columns that move the score most."""
    spread = np.sqrt(np.asarray(rows.multiply(rows).mean(axis=0)).ravel())
    order = np.argsort(-np.abs(weights) * spread, kind="stable")[:N_FEW]
    return np.sort(order).astype(np.int64)


def _token_probe(table: DetectionTable, train: BoolArray) -> Fitted | None:
    """Each generated token is scored; the largest score is the run's."""
    tokens = table.tokens
    of_train = train[tokens.run]
    groups = table.groups[tokens.run]
    eligible = eligible_features(tokens.values, groups, of_train)
    if not len(eligible):
        return None
    # every run counts once, however long it is
    n_tokens = np.bincount(tokens.run, minlength=len(table))
    weight = 1.0 / n_tokens[tokens.run][of_train]
    probe = fit_logistic(
        sp.csr_array(tokens.values[of_train][:, eligible]),
        table.y[tokens.run][of_train],
        groups[of_train],
        L1_STRENGTHS,
        is_l1=True,
        sample_weight=weight / weight.mean(),
    )
    used = np.flatnonzero(probe.weights)
    linear = _linear("token feature", None, eligible[used], probe.weights[used], probe.intercept)
    return Fitted(
        "token probe, largest over the answer",
        "candidate",
        "token_probe",
        "each generated token",
        f"{len(used)} of {len(eligible):,} features: "
        f"{_strongest(linear, tokens.values[of_train])}.",
        len(used),
        span_maximum(apply_features(linear, tokens.values), tokens, len(table)),
        linear,
        float(probe.inner_auroc),
    )


def apply_features(linear: LinearModel, values: sp.csr_array) -> FloatArray:
    """Weighted sums of rows of features, [n] for [n, d_sae]."""
    weights = np.zeros(values.shape[1])
    weights[list(linear.features)] = linear.weights
    return np.asarray(values @ weights).ravel() + linear.intercept


def span_maximum(token_score: FloatArray, tokens: TokenRows, n_runs: int) -> FloatArray:
    """Largest score over the tokens of each run, [n_runs]; the least of all for runs of none."""
    score = np.full(n_runs, token_score.min() if len(token_score) else 0.0)
    np.maximum.at(score, tokens.run, token_score)
    return score


def _linear(
    space: str, site: Site | None, features: IntArray, weights: FloatArray, intercept: float
) -> LinearModel:
    names = tuple(str(feature) for feature in features.tolist())
    is_token = space == "token feature"
    return LinearModel(
        "token feature" if is_token else "feature", site, names, tuple(weights.tolist()), intercept
    )


def _strongest(linear: LinearModel, values: sp.csr_array) -> str:
    """The features that move the score most on these rows, strongest first."""
    if not linear.names:
        return "none weighs anything"
    chosen = list(linear.features)
    dense = sp.csc_array(values)[:, chosen]
    spread = np.sqrt(np.asarray(dense.multiply(dense).mean(axis=0)).ravel())
    order = np.argsort(-np.abs(np.array(linear.weights)) * spread, kind="stable")[:_SHOWN]
    return ", ".join(f"{linear.weights[i]:+.2g} × {chosen[i]}" for i in order.tolist())
