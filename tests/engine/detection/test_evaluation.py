"""Runs become a table of detectors: what tells is found, chance is not, leaks are red."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from engine.detection.audits import audit_leaks
from engine.detection.baselines import PROBABILITY_METHODS
from engine.detection.calibration import calibrate, threshold_for, to_probability
from engine.detection.candidates import apply_features, feature_aurocs
from engine.detection.comparisons import say
from engine.detection.evaluation import Measured, Trained, evaluate_table
from engine.detection.metrics import auroc
from engine.detection.reports import WHOLE
from engine.detection.splits import split_runs
from engine.detection.table import DetectionTable, shuffle_labels
from engine.errors import GenerationCancelled, RequestError
from tests.engine.detection.synthetic import TELLING, make_table


def _quiet(_note: str) -> None:
    return


@pytest.fixture(scope="module")
def table() -> DetectionTable:
    return make_table()


@pytest.fixture(scope="module")
def measured(table: DetectionTable) -> Measured:
    return evaluate_table(table, _quiet)


def _by_method(measured: Measured, method: str) -> Trained:
    return next(item for item in measured.trained if item.fitted.method == method)


def test_the_telling_feature_is_found_and_measured_on_held_out_runs(
    table: DetectionTable, measured: Measured
) -> None:
    single = _by_method(measured, "single_feature")
    assert single.fitted.linear
    assert single.fitted.linear.features == (TELLING,)
    whole = single.report.slices[0]
    held_out = measured.split.test
    assert whole.name == WHOLE
    assert whole.auroc
    assert whole.auroc.value == pytest.approx(
        auroc(table.y[held_out], single.fitted.score[held_out])[0]
    )
    assert whole.n_positive + whole.n_negative == held_out.sum()
    assert whole.auroc.low > 0.8


def test_every_baseline_is_in_the_table_or_says_why_it_is_not(measured: Measured) -> None:
    methods = {item.fitted.method for item in measured.trained}
    methods |= {item.method for item in measured.unavailable}
    wanted = {
        "base_rate",
        "answer_length",
        "question_words",
        "p_true",
        "dense_logistic",
        "mean_difference",
        "regime_distance",
        "set_difference",
        "random_features",
        "shuffled_labels",
        *PROBABILITY_METHODS,
    }
    assert wanted <= methods
    assert all(item.note for item in measured.unavailable)


def test_a_model_gives_the_scores_that_were_measured(
    table: DetectionTable, measured: Measured
) -> None:
    for method in ("sae_logistic", "few_features", "single_feature"):
        item = _by_method(measured, method)
        assert item.fitted.linear
        again = apply_features(item.fitted.linear, table.features["prompt_last"])
        np.testing.assert_allclose(again, item.fitted.score)
    dense = _by_method(measured, "dense_logistic")
    assert dense.fitted.linear
    rows = table.residuals.by_site["prompt_last"]
    again = rows @ np.array(dense.fitted.linear.weights) + dense.fitted.linear.intercept
    np.testing.assert_allclose(again, dense.fitted.score)


def test_nothing_of_a_held_out_run_moves_what_was_trained(
    table: DetectionTable, measured: Measured
) -> None:
    test = measured.split.test
    noise = sp.random(len(table), table.features["prompt_last"].shape[1], 0.3, "csr", rng=5)
    keep, drop = sp.diags_array((~test).astype(float)), sp.diags_array(test.astype(float))
    changed = replace(
        table,
        features={"prompt_last": sp.csr_array(keep @ table.features["prompt_last"] + drop @ noise)},
        statistics={name: np.where(test, 1e3, values) for name, values in table.statistics.items()},
    )
    found = evaluate_table(changed, _quiet)
    assert found.split.split_hash == measured.split.split_hash
    for method in ("single_feature", "sae_logistic", "few_features"):
        before, after = _by_method(measured, method), _by_method(found, method)
        assert before.fitted.linear == after.fitted.linear
        assert before.calibration == after.calibration
        assert before.report.slices != after.report.slices


def test_on_shuffled_outcomes_intervals_cover_a_half() -> None:
    # a 95% interval misses one time in twenty, also where there is nothing to find
    missed: Counter[str] = Counter()
    n_intervals = 0
    for seed in range(3):
        table = make_table(n_groups=160, per_group=2, seed=seed)
        shuffled = table.with_labels(shuffle_labels(table.y, table.groups, seed))
        for item in evaluate_table(shuffled, _quiet).trained:
            interval = item.report.slices[0].auroc
            assert interval
            n_intervals += 1
            missed[item.fitted.name] += not interval.low <= 0.5 <= interval.high
    assert n_intervals > 30
    assert missed.total() <= 0.15 * n_intervals
    assert max(missed.values()) <= 1


@pytest.mark.parametrize("leak", ["answer length", "tools flag", "template", "question words"])
def test_a_planted_leak_turns_its_audit_red_and_no_other_of_its_kind(
    table: DetectionTable, measured: Measured, leak: str
) -> None:
    assert not any(audit.is_red for audit in measured.audits)
    y = table.y
    plants: dict[str, Callable[[], DetectionTable]] = {
        "answer length": lambda: make_table(length_leak=2),
        "tools flag": lambda: replace(table, tools=~y),
        "template": lambda: replace(table, templates=tuple("a" if label else "b" for label in y)),
        "question words": lambda: replace(
            table, questions=tuple("who was she" if label else "who was he" for label in y)
        ),
    }
    planted = plants[leak]()
    split = split_runs(
        planted.run_keys, planted.groups, planted.y, planted.strata(), planted.templates
    )
    audits = audit_leaks(planted, split)
    assert {audit.name for audit in audits if audit.is_red} == {leak, "all of these together"}
    said = say([], [], audits, False)
    assert any(sentence.startswith("Confounded") and leak in sentence for sentence in said)


def test_the_dense_probe_winning_is_said_and_better_needs_two_hundred_in_a_class(
    measured: Measured,
) -> None:
    said = say(
        [item.report for item in measured.trained], measured.comparisons, measured.audits, True
    )
    assert any("dense probe" in sentence and "wins by" in sentence for sentence in said)
    assert all("(toy)" in sentence for sentence in said)
    assert not any(item.may_be_called_better for item in measured.comparisons)
    large = evaluate_table(make_table(n_groups=560, per_group=2), _quiet)
    assert any(item.may_be_called_better for item in large.comparisons if item.slice == WHOLE)


def test_one_candidate_is_chosen_by_training_runs_alone(measured: Measured) -> None:
    chosen = [item for item in measured.trained if item.report.is_chosen]
    candidates = [item for item in measured.trained if item.fitted.kind == "candidate"]
    assert len(chosen) == 1
    assert chosen[0].fitted.inner_auroc == max(item.fitted.inner_auroc or 0 for item in candidates)


def test_the_scan_names_the_feature_and_shows_its_null(measured: Measured) -> None:
    scan = measured.features
    assert scan
    assert scan.rows[0].feature == TELLING
    assert scan.rows[0].q < 0.01
    assert scan.rows[0].chosen_share == 1
    assert scan.rows[0].test_auroc
    assert scan.largest
    assert scan.largest_by_chance
    assert scan.largest > scan.largest_by_chance


def test_cancelling_ends_the_work_between_two_detectors(table: DetectionTable) -> None:
    def stop(note: str) -> None:
        if note.startswith("trained"):
            raise GenerationCancelled

    with pytest.raises(GenerationCancelled):
        evaluate_table(table, stop)


def test_feature_aurocs_are_those_of_dense_columns(table: DetectionTable) -> None:
    values = table.features["prompt_last"]
    dense = values.toarray()
    expected = [auroc(table.y, dense[:, feature])[0] for feature in range(dense.shape[1])]
    np.testing.assert_allclose(feature_aurocs(values, table.y), expected)


def test_probabilities_rise_with_the_score_and_thresholds_keep_their_rate() -> None:
    random = np.random.default_rng(1)
    y = np.arange(400) % 2 == 0
    score = 100 + 30 * (random.normal(size=400) + y)
    calibration = calibrate(y, score, 0.5)
    assert calibration.is_fitted
    probability = to_probability(calibration, np.sort(score))
    assert (np.diff(probability) >= 0).all()
    assert probability.mean() == pytest.approx(0.5, abs=0.05)
    for rate in (0.0, 0.05, 0.5, 1.0):
        assert (score[~y] >= threshold_for(calibration, rate)).mean() <= rate
    assert (score[~y] >= threshold_for(calibration, 0.5)).mean() == pytest.approx(0.5, abs=0.01)
    with pytest.raises(RequestError):
        threshold_for(calibration, 1.5)


def test_a_score_that_points_the_wrong_way_says_the_base_rate() -> None:
    random = np.random.default_rng(1)
    y = np.arange(200) % 2 == 0
    calibration = calibrate(y, random.normal(size=200) - 2 * y, 0.3)
    assert not calibration.is_fitted
    assert to_probability(calibration, np.array([-5.0, 5.0])) == pytest.approx([0.3, 0.3])
