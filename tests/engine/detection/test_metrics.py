"""Figures equal their definitions; intervals know of groups; small samples have no number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from engine.detection.bootstrap import draw_groups, estimate
from engine.detection.metrics import Scored, auroc, auroc_draws, equal_mass_bins, measure


def _scored(n: int = 300, seed: int = 0, ties: int = 20, per_group: int = 1) -> Scored:
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n // per_group), per_group)
    y = random.random(n // per_group)[groups] < 0.4
    score = np.round((random.normal(size=n // per_group)[groups] + y) * ties) / ties
    return Scored(y, score, 1 / (1 + np.exp(-score)), groups)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=40).filter(
        lambda rows: 0 < sum(label for label, _ in rows) < len(rows)
    )
)
def test_auroc_and_average_precision_are_those_of_scikit_learn(
    rows: list[tuple[bool, int]],
) -> None:
    y = np.array([label for label, _ in rows])
    score = np.array([float(value) for _, value in rows])
    assert auroc(y, score)[0] == pytest.approx(roc_auc_score(y, score))
    wide = Scored(
        np.tile(y, 12), np.tile(score, 12), np.full(12 * len(y), 0.5), np.arange(12 * len(y))
    )
    result = measure("all", wide, draw_groups(wide.groups, 5))
    assert result.auprc is not None
    assert result.auprc.value == pytest.approx(average_precision_score(wide.y, wide.score))


def test_brier_and_rates_are_what_their_names_say() -> None:
    scored = _scored()
    result = measure("all", scored)
    assert result.brier
    assert result.fpr_at_95_tpr
    assert result.recall_at_10_fpr
    assert result.brier.value == pytest.approx(brier_score_loss(scored.y, scored.probability))
    thresholds = np.unique(scored.score)
    tpr = np.array([(scored.score[scored.y] >= at).mean() for at in thresholds])
    fpr = np.array([(scored.score[~scored.y] >= at).mean() for at in thresholds])
    assert result.fpr_at_95_tpr.value == pytest.approx(fpr[tpr >= 0.95].min())
    assert result.recall_at_10_fpr.value == pytest.approx(tpr[fpr <= 0.10].max())


def test_calibration_error_is_zero_for_true_probabilities_and_large_for_boasts() -> None:
    random = np.random.default_rng(3)
    probability = random.random(20_000)
    y = random.random(20_000) < probability
    draws = draw_groups(np.arange(20_000), 3)
    honest = measure("all", Scored(y, probability, probability, np.arange(20_000)), draws)
    boasting = np.where(probability > 0.5, 0.99, 0.01)
    boasted = measure("all", Scored(y, probability, boasting, np.arange(20_000)), draws)
    assert honest.ece
    assert boasted.ece
    assert honest.ece.value < 0.02
    assert boasted.ece.value > 0.2


def test_bins_hold_equal_numbers_and_equal_probabilities_stay_together() -> None:
    bins = equal_mass_bins(np.linspace(0, 1, 100))
    assert np.bincount(bins).tolist() == [10] * 10
    assert len(np.unique(equal_mass_bins(np.full(50, 0.3)))) == 1


def test_curves_begin_and_end_where_they_must_and_risk_falls_with_coverage() -> None:
    result = measure("all", _scored(1_000))
    assert result.curves
    roc = result.curves.roc
    assert (roc[0].x, roc[0].y, roc[-1].x, roc[-1].y) == (0, 0, 1, 1)
    assert len(roc) <= 200
    risk = result.curves.risk_coverage
    assert risk[-1].x == 1
    assert risk[-1].y == pytest.approx(result.prevalence)
    assert risk[len(risk) // 4].y < result.prevalence


def test_runs_of_one_group_do_not_make_an_interval_narrower() -> None:
    alone = _scored(60, seed=5)
    eightfold = Scored(*(np.repeat(part, 8) for part in _parts(alone)))
    one, many = measure("all", alone).auroc, measure("all", eightfold).auroc
    assert one
    assert many
    assert many.value == pytest.approx(one.value)
    assert many.high - many.low == pytest.approx(one.high - one.low, abs=0.01)


def _parts(scored: Scored) -> tuple[np.ndarray, ...]:
    return scored.y, scored.score, scored.probability, scored.groups


def test_the_interval_covers_the_truth_about_nineteen_times_in_twenty() -> None:
    # two normals, one standard deviation apart: AUROC is Phi(1 / sqrt 2)
    truth, covered = 0.7602, 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        y = np.arange(160) % 2 == 0
        score = random.normal(size=160) + y
        found = estimate(auroc_draws(y, score, draw_groups(np.arange(160), 400)))
        covered += found.low <= truth <= found.high
    assert covered >= 52


@pytest.mark.parametrize(
    ("n_positive", "verdict"),
    [(9, "no number"), (10, "exploratory"), (50, "measured"), (200, "comparable")],
)
def test_the_smaller_class_decides_how_much_a_figure_may_carry(
    n_positive: int, verdict: str
) -> None:
    y = np.arange(n_positive + 300) < n_positive
    score = np.random.default_rng(0).normal(size=len(y))
    result = measure("hard", Scored(y, score, np.full(len(y), 0.5), np.arange(len(y))))
    assert result.verdict == verdict
    assert (result.auroc is None) == (verdict == "no number")
    assert (result.n_positive, result.n_negative) == (n_positive, 300)
