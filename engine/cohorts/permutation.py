"""What chance alone would show: labels drawn again by lot, and the largest effect of each draw.

Invariant: pure; one seed gives one null. Labels are exchanged as the comparison is built: within a
pair where a group is in both cohorts, among the other units elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from engine.cohorts.ranking import RankScores, rank_statistics
from engine.cohorts.units import Bools, Ints
from engine.intervals import Doubles

_BLOCK_ELEMENTS = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PermutationNull:
    """The null of the largest statistic over all features.

    Attributes:
        observed_max: largest |z| of the comparison; quantile_95: that 1 in 20 draws exceeds.
        p: share of draws at least as large, the comparison itself counted among them.
        max_statistics: of each draw.
    """

    n_permutations: int
    observed_max: float
    quantile_95: float
    p: float
    max_statistics: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SetDifference:
    """Features that fire in any of one cohort and in none of the other, beside chance.

    Attributes:
        n_specific: fire in any unit of A and none of B; n_reverse: the other way round.
        null_mean, null_low, null_high: how many chance alone shows: mean, and 95% of the draws.
        p: share of draws with at least as many; reverse_null_mean, reverse_p: the other way round.
        features: the first of the specific ones, those in most units first.
    """

    n_specific: int
    null_mean: float
    null_low: float
    null_high: float
    p: float
    n_reverse: int
    reverse_null_mean: float
    reverse_p: float
    features: tuple[int, ...]


def draw_labels(is_a: Bools, group: Ints, n_draws: int, seed: int) -> npt.NDArray[np.float64]:
    """Labels of each draw, [units, draws], 1 for cohort A.

    Args:
        is_a: [units], as they are. group: [units], twice the same number for a pair.
        n_draws: how many.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    _, number, size = np.unique(group, return_inverse=True, return_counts=True)
    is_paired = size[number] == 2
    labels = np.empty((len(is_a), n_draws))
    single = np.flatnonzero(~is_paired)
    base = np.repeat(is_a[single, None].astype(np.float64), n_draws, axis=1)
    labels[single] = generator.permuted(base, axis=0)
    # a pair has one unit of either cohort: its labels stay, or change places
    flips = generator.integers(0, 2, (int((size == 2).sum()), n_draws)).astype(np.float64)
    row_of_pair = np.cumsum(size == 2) - 1
    paired = np.flatnonzero(is_paired)
    flip = flips[row_of_pair[number[paired]]]
    labels[paired] = np.abs(is_a[paired, None] - flip)
    return labels


def max_null(
    scores: RankScores,
    observed: Doubles,
    labels: npt.NDArray[np.float64],
    tell: Callable[[int], None] = lambda _: None,
) -> PermutationNull:
    """The null of the largest |z|.

    Args:
        scores: of the values, [features, units].
        observed: [features], z of the comparison.
        labels: [units, draws].
        tell: called with the number of draws done; it may raise to end the work.
    """
    largest = np.zeros(labels.shape[1])
    for draws in _blocks(scores.excess.shape[0], labels.shape[1]):
        z = rank_statistics(scores, labels[:, draws])
        largest[draws] = np.abs(z).max(axis=0, initial=0.0)
        tell(draws.stop)
    observed_max = float(np.abs(observed).max(initial=0.0))
    return PermutationNull(
        n_permutations=len(largest),
        observed_max=observed_max,
        quantile_95=float(np.quantile(largest, 0.95)) if len(largest) else float("nan"),
        p=_share(largest, observed_max),
        max_statistics=tuple(largest.tolist()),
    )


def family_p(null: PermutationNull, observed: Doubles) -> Doubles:
    """The p of each feature against the largest of all features in each draw."""
    largest = np.sort(np.array(null.max_statistics))
    n_above = len(largest) - np.searchsorted(largest, np.abs(observed) - 1e-9)
    out: Doubles = (1 + n_above) / (1 + len(largest))
    return out


def set_difference(
    values: sparse.csr_array,
    feature: Ints,
    is_a: Bools,
    labels: npt.NDArray[np.float64],
    n_shown: int = 50,
) -> SetDifference:
    """Features of one cohort alone, and how many of them chance shows.

    Args:
        values: [features, units], above zero where stored.
        feature: [features], their numbers.
        is_a: [units].
        labels: [units, draws].
        n_shown: most features named.
    """
    fires = sparse.csr_array(
        (np.ones(values.nnz, np.float64), values.indices, values.indptr), shape=values.shape
    )
    total = np.diff(values.indptr)
    in_a = fires @ is_a.astype(np.float64)
    specific = np.flatnonzero((in_a == total) & (total > 0))
    forward, reverse = np.zeros(labels.shape[1]), np.zeros(labels.shape[1])
    for draws in _blocks(len(total), labels.shape[1]):
        drawn = fires @ labels[:, draws]
        forward[draws] = ((drawn == total[:, None]) & (total > 0)[:, None]).sum(axis=0)
        reverse[draws] = ((drawn == 0) & (total > 0)[:, None]).sum(axis=0)
    n_reverse = int(((in_a == 0) & (total > 0)).sum())
    order = specific[np.lexsort((specific, -total[specific]))][:n_shown]
    low, high = np.quantile(forward, [0.025, 0.975]) if len(forward) else (np.nan, np.nan)
    return SetDifference(
        n_specific=len(specific),
        null_mean=float(forward.mean()) if len(forward) else float("nan"),
        null_low=float(low),
        null_high=float(high),
        p=_share(forward, len(specific)),
        n_reverse=n_reverse,
        reverse_null_mean=float(reverse.mean()) if len(reverse) else float("nan"),
        reverse_p=_share(reverse, n_reverse),
        features=tuple(feature[order].tolist()),
    )


def _share(null: Doubles, observed: float) -> float:
    return float((1 + (null >= observed - 1e-9).sum()) / (1 + len(null)))


def _blocks(n_rows: int, n_draws: int) -> Iterator[slice]:
    step = max(1, _BLOCK_ELEMENTS // max(1, n_rows))
    for start in range(0, n_draws, step):
        yield slice(start, min(start + step, n_draws))
