"""Statistics of cohorts against scipy, against chance, and on differences that were planted."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import sparse, stats

from engine.cohorts.comparison import compare_units, judge_sizes
from engine.cohorts.permutation import draw_labels
from engine.cohorts.ranking import auroc, p_values, rank_scores, rank_statistics
from engine.cohorts.units import Units, make_units
from engine.intervals import difference_interval, wilson_interval

N_FEATURES = 400


def _units(dense: np.ndarray, is_a: np.ndarray, group: np.ndarray | None = None) -> Units:
    """Units from [features, units], each a group of its own unless said otherwise."""
    values = sparse.csr_array(dense)
    fired = dense > 0
    return Units(
        values=values,
        feature=np.arange(len(dense)),
        is_a=is_a,
        group=np.arange(len(is_a)) if group is None else group,
        n_runs_a=fired[:, is_a].sum(axis=1),
        n_runs_b=fired[:, ~is_a].sum(axis=1),
    )


def _fire(generator: np.random.Generator, n_features: int, n_units: int) -> np.ndarray:
    """Features as those of an SAE: most are seldom above zero, a few nearly always."""
    density = np.clip(generator.pareto(0.7, n_features) * 0.03, 0.0, 0.95)
    fires = generator.random((n_features, n_units)) < density[:, None]
    values = np.where(fires, generator.gamma(2.0, 1.0, fires.shape), 0.0)
    return values.astype(np.float32)


def _halves(generator: np.random.Generator, n_a: int, n_b: int) -> np.ndarray:
    labels = np.arange(n_a + n_b) < n_a
    generator.shuffle(labels)
    return labels


def test_rank_sums_are_mann_whitney_s() -> None:
    generator = np.random.default_rng(0)
    dense = np.round(_fire(generator, 60, 57), 1)
    is_a = _halves(generator, 21, 36)
    units = _units(dense, is_a)
    scores = rank_scores(units.values, 21)
    z = rank_statistics(scores, is_a.astype(float))
    area = auroc(scores, is_a)
    for index, row in enumerate(dense):
        if np.ptp(row) == 0:
            assert z[index] == 0
            continue
        test = stats.mannwhitneyu(row[is_a], row[~is_a], method="asymptotic", use_continuity=False)
        assert 2 * stats.norm.sf(abs(z[index])) == pytest.approx(test.pvalue, rel=1e-6)
        assert area[index] == pytest.approx(test.statistic / (21 * 36))


def test_a_seldom_feature_gets_fisher_s_test_and_a_frequent_one_mann_whitney_s() -> None:
    generator = np.random.default_rng(1)
    is_a = _halves(generator, 30, 30)
    dense = np.zeros((2, 60))
    dense[0, np.flatnonzero(is_a)[:9]] = 1.0
    dense[0, np.flatnonzero(~is_a)[:2]] = 1.0
    dense[1] = generator.gamma(2.0, 1.0, 60) + is_a
    units = _units(dense, is_a)
    scores = rank_scores(units.values, 30)
    z = rank_statistics(scores, is_a.astype(float))
    fired_a = (dense[:, is_a] > 0).sum(axis=1)
    fired_b = (dense[:, ~is_a] > 0).sum(axis=1)
    p = p_values(scores, z, fired_a, fired_b, is_a)
    tail = stats.fisher_exact([[9, 21], [2, 28]], alternative="greater").pvalue
    assert p[0] == pytest.approx(2 * tail)
    assert p[1] == pytest.approx(
        stats.mannwhitneyu(dense[1, is_a], dense[1, ~is_a]).pvalue, rel=0.02
    )


def test_intervals_are_those_of_the_books() -> None:
    low, high = wilson_interval([0, 5, 20], [20, 20, 20])
    for index, hits in enumerate((0, 5, 20)):
        expected = stats.binomtest(hits, 20).proportion_ci(method="wilson")
        assert (low[index], high[index]) == pytest.approx((expected.low, expected.high))
    # Newcombe 1998, table II, case (a): 56/70 and 48/80
    ends = difference_interval(56, 70, 48, 80)
    assert np.array(ends) == pytest.approx([0.0524, 0.3339], abs=5e-5)


@pytest.mark.parametrize(("n_a", "n_b"), [(60, 60), (30, 170)])
def test_on_shuffled_labels_the_list_is_empty_in_95_of_100_draws(n_a: int, n_b: int) -> None:
    generator = np.random.default_rng(7)
    dense = _fire(generator, N_FEATURES, n_a + n_b)
    n_empty = n_max = 0
    for _ in range(100):
        effects = compare_units(_units(dense, _halves(generator, n_a, n_b)), n_permutations=39)
        assert effects.null is not None
        n_empty += effects.n_significant == 0
        n_max += effects.null.p <= 0.05
    assert n_empty >= 95
    assert n_max <= 12


@pytest.mark.parametrize("kind", ["firing", "value"])
def test_a_planted_difference_is_found_first(kind: str) -> None:
    generator = np.random.default_rng(3)
    is_a = _halves(generator, 80, 80)
    dense = _fire(generator, N_FEATURES, 160)
    if kind == "firing":
        dense[17] = (generator.random(160) < np.where(is_a, 0.6, 0.1)) * 2.0
    else:
        dense[17] = generator.gamma(2.0, 1.0, 160) * np.where(is_a, 3.0, 1.0)
    effects = compare_units(_units(dense, is_a), n_permutations=200)
    first = effects.rows[0]
    assert (first.feature, effects.n_significant) == (17, 1)
    assert first.q < 0.01
    assert first.p_max == pytest.approx(1 / 201)
    assert first.auroc > 0.7
    if kind == "firing":
        assert first.low < first.rate_a - first.rate_b < first.high
        assert first.low > 0.2
    reverse = compare_units(_units(dense, ~is_a), n_permutations=20).rows[0]
    assert reverse.auroc == pytest.approx(1 - first.auroc)
    assert reverse.difference == pytest.approx(-first.difference)


def test_four_against_twelve_answers_get_no_number_but_the_null_of_their_set_difference() -> None:
    generator = np.random.default_rng(11)
    n_features = 286_720
    density = np.clip(generator.pareto(1.0, n_features) * 0.00025, 0.0, 0.9)
    counts = generator.binomial(16, density)
    row = np.repeat(np.arange(n_features), counts)
    unit = np.concatenate([generator.permutation(16)[:count] for count in counts[counts > 0]])
    is_a = np.arange(16) < 4
    features, index = np.unique(row, return_inverse=True)
    units = Units(
        values=sparse.csr_array((np.ones(len(row)), (index, unit)), shape=(len(features), 16)),
        feature=features,
        is_a=is_a,
        group=np.arange(16),
        n_runs_a=np.zeros(len(features), int),
        n_runs_b=np.zeros(len(features), int),
    )
    effects = compare_units(units, n_permutations=200)
    assert (effects.gate, effects.rows, effects.null) == ("none", (), None)
    found = effects.set_difference
    assert found.n_specific > 100
    assert found.null_low <= found.n_specific <= found.null_high
    assert found.p > 0.05
    assert len(found.features) == 50


def test_groups_count_once_and_pairs_stay_pairs() -> None:
    run_index = np.array([0, 1, 2, 3], np.int32)
    feature = np.array([5, 5, 5, 9], np.int32)
    value = np.array([1.0, 3.0, 4.0, 2.0], np.float32)
    units = make_units(
        run_index, feature, value, np.array([True, True, False, False]), ["q1", "q1", "q1", "q2"]
    )
    assert units.feature.tolist() == [5, 9]
    assert units.is_a.tolist() == [False, True, False]
    assert units.group.tolist() == [0, 0, 1]
    assert units.values.toarray().tolist() == [[4.0, 2.0, 0.0], [0.0, 0.0, 2.0]]
    assert (units.n_runs_a.tolist(), units.n_runs_b.tolist()) == ([2, 0], [1, 1])
    labels = draw_labels(units.is_a, units.group, 500, 0)
    assert (labels[0] + labels[1] == 1).all()
    assert (labels[2] == 0).all()
    assert 150 < labels[0].sum() < 350


def test_an_effect_of_groups_alone_is_no_effect_of_the_pairs() -> None:
    """Each question has its own level; asked twice, it says nothing about the cohorts."""
    generator = np.random.default_rng(4)
    level = np.repeat(generator.gamma(2.0, 2.0, (50, 40)), 2, axis=1)
    dense = level + generator.gamma(2.0, 0.1, level.shape)
    is_a = np.tile([True, False], 40)
    effects = compare_units(_units(dense, is_a, np.repeat(np.arange(40), 2)), n_permutations=100)
    assert effects.n_pairs == 40
    assert effects.n_significant == 0
    assert effects.null is not None
    assert effects.null.p > 0.05


@pytest.mark.parametrize(
    ("n_a", "n_b", "gate"),
    [(9, 500, "none"), (10, 500, "exploratory"), (50, 50, "moderate"), (200, 999, "full")],
)
def test_sizes_decide_what_may_be_said(n_a: int, n_b: int, gate: str) -> None:
    assert judge_sizes(n_a, n_b)[0] == gate


def test_a_thousand_runs_with_50_000_features_take_seconds() -> None:
    generator = np.random.default_rng(5)
    n_entries = 1_500_000
    feature = (50_000 * generator.random(n_entries) ** 1.5).astype(np.int32)
    run_index = generator.integers(0, 1000, n_entries).astype(np.int32)
    value = generator.gamma(2.0, 1.0, n_entries).astype(np.float32)
    is_a = _halves(generator, 400, 600)
    started = time.process_time()
    units = make_units(run_index, feature, value, is_a, [str(index) for index in range(1000)])
    effects = compare_units(units, n_permutations=200)
    assert effects.n_tested > 20_000
    assert effects.n_significant == 0
    assert time.process_time() - started < 20
