"""How differently features fire in two cohorts: rank sums, AUROC and p, for many at once.

Invariant: pure and exact about ties: all units in which a feature is silent share one rank. Which
test a feature gets is decided by how often it fires and by the sizes of the cohorts, never by which
cohort it fires in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse, special

from engine.cohorts.units import Bools, Ints
from engine.intervals import Doubles

_MOST_SKEWED = 0.05
_FEWEST_EXPECTED = 20.0


@dataclass(frozen=True, slots=True)
class RankScores:
    """Ranks of the units by value, for each feature, as far as they exceed the silent ones' rank.

    Attributes:
        excess: [features, units], rank minus the common rank of the silent units; 0 where silent.
        silent_rank: [features], that common rank.
        spread: [features], standard deviation of the sum of excess ranks over cohort A, if A were
            drawn by lot; 0 where all units are alike.
        mean: [features], of excess ranks over all units.
    """

    excess: sparse.csr_array
    silent_rank: Doubles
    spread: Doubles
    mean: Doubles


def rank_scores(values: sparse.csr_array, n_a: int) -> RankScores:
    """Ranks of a sparse matrix, row by row; equal values share the mean of their ranks.

    Args:
        values: [features, units], above zero where stored.
        n_a: units of cohort A.
    """
    n_rows, n_units = values.shape
    row = np.repeat(np.arange(n_rows), np.diff(values.indptr))
    order = np.lexsort((values.data, row))
    sorted_row, sorted_value = row[order], values.data[order]
    n_silent = n_units - np.diff(values.indptr)
    place = np.arange(len(order)) - values.indptr[sorted_row] + 1.0
    is_new = np.ones(len(order), bool)
    is_new[1:] = (sorted_row[1:] != sorted_row[:-1]) | (sorted_value[1:] != sorted_value[:-1])
    tie = np.cumsum(is_new) - 1
    tie_mean = np.bincount(tie, place) / np.maximum(np.bincount(tie), 1) if len(tie) else place
    rank = tie_mean[tie] + n_silent[sorted_row] if len(tie) else place
    silent_rank = (n_silent + 1) / 2.0
    excess = np.empty(len(order))
    excess[order] = rank - silent_rank[sorted_row]
    matrix = sparse.csr_array((excess, values.indices, values.indptr), shape=values.shape)
    mean = np.asarray(matrix.sum(axis=1)) / n_units
    squares = np.asarray(matrix.multiply(matrix).sum(axis=1))
    variance = np.maximum(squares - n_units * mean**2, 0.0)
    n_b = n_units - n_a
    spread = np.sqrt(variance * n_a * n_b / (n_units * max(n_units - 1, 1)))
    return RankScores(matrix, silent_rank, spread, mean)


def rank_statistics(scores: RankScores, labels: npt.NDArray[np.float64]) -> Doubles:
    """Standardised rank sums of cohort A: the z of Mann and Whitney, corrected for ties.

    Args:
        scores: [features, units].
        labels: [units] or [units, draws], 1 in cohort A and else 0.

    Returns:
        [features] or [features, draws]; 0 for a feature that cannot differ.
    """
    sums = scores.excess @ labels
    n_a = labels.sum(axis=0)
    extra = (slice(None), None) if labels.ndim == 2 else (slice(None),)
    centred = sums - scores.mean[extra] * n_a
    spread = scores.spread[extra]
    out: Doubles = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    return out


def auroc(scores: RankScores, is_a: Bools) -> Doubles:
    """Probability that a unit of A has a larger value than one of B, ties counting half."""
    n_a = int(is_a.sum())
    n_b = len(is_a) - n_a
    rank_sum = scores.excess @ is_a.astype(np.float64) + n_a * scores.silent_rank
    area: Doubles = (rank_sum - n_a * (n_a + 1) / 2) / (n_a * n_b)
    return area


def p_values(scores: RankScores, z: Doubles, fired_a: Ints, fired_b: Ints, is_a: Bools) -> Doubles:
    """Two-sided p of each feature.

    Fisher's exact test of how often it fires, where it fires in less than half of the units and so
    seldom, or in cohorts so unequal, that the normal approximation of the rank sum would claim too
    much in its tail; Mann and Whitney's test of its values elsewhere.

    Args:
        scores: of the values.
        z: [features], as `rank_statistics` gives it.
        fired_a, fired_b: [features], units in which it fires.
        is_a: [units].
    """
    n_units, n_a = len(is_a), int(is_a.sum())
    fired = fired_a + fired_b
    share = n_a / n_units
    smaller = min(share, 1 - share)
    with np.errstate(divide="ignore"):
        skew = abs(1 - 2 * share) / np.sqrt(fired * share * (1 - share))
    is_rough = (skew > _MOST_SKEWED) | (fired * smaller < _FEWEST_EXPECTED)
    is_exact = (fired < n_units / 2) & is_rough
    # corrected for continuity: rank sums move in halves
    shift = np.divide(0.5, scores.spread, out=np.zeros_like(z), where=scores.spread > 0)
    p = 2 * special.ndtr(-np.maximum(np.abs(z) - shift, 0.0))
    p[is_exact] = _fisher(fired_a[is_exact], fired[is_exact], n_a, n_units)
    clipped: Doubles = np.clip(p, 0.0, 1.0)
    return clipped


def _fisher(fired_a: Ints, fired: Ints, n_a: int, n_units: int) -> Doubles:
    """Twice the smaller tail of the hypergeometric distribution, for each distinct case once."""
    # half a second to import, and only comparisons need it
    from scipy import stats

    cases, back = np.unique(np.stack([fired_a, fired]), axis=1, return_inverse=True)
    lower = stats.hypergeom.cdf(cases[0], n_units, cases[1], n_a)
    upper = stats.hypergeom.sf(cases[0] - 1, n_units, cases[1], n_a)
    p: Doubles = np.minimum(2 * np.minimum(lower, upper), 1.0)[back.ravel()]
    return p
