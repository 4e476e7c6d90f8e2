"""Draws of groups with replacement, as weights of runs; intervals and differences from them.

Invariant: a group is drawn whole, so that runs of one person or prompt family never make an
interval narrower than their number of groups allows. Equal inputs give equal draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engine.detection.arrays import FloatArray, IntArray
from engine.detection.reports import Estimate

N_DRAWS = 2_000
"""Draws behind every 95% interval."""
_SEED = 20_300_101
_LOW, _HIGH = 2.5, 97.5
_WEIGHTS_AT_ONCE = 2**20


@dataclass(frozen=True, slots=True)
class GroupDraws:
    """How often each group counts, in the sample itself and in draws of it.

    Attributes:
        counts: [1 + draws, groups]; the first row is the sample as it is: ones.
        group: [n], the group of each run.
    """

    counts: FloatArray
    group: IntArray

    def weights(self) -> Iterator[FloatArray]:
        """Weights of the runs, [draws, n], as many draws at once as memory should hold."""
        n_at_once = max(1, _WEIGHTS_AT_ONCE // max(len(self.group), 1))
        for start in range(0, len(self.counts), n_at_once):
            yield self.counts[start : start + n_at_once][:, self.group]


def draw_groups(groups: IntArray, n_draws: int = N_DRAWS) -> GroupDraws:
    """Draws groups with replacement, as many as there are.

    Args:
        groups: [n], any integers; equal ones are drawn together.
        n_draws: how many draws.
    """
    codes, group = np.unique(groups, return_inverse=True)
    n_groups = len(codes)
    random = np.random.default_rng(_SEED)
    drawn = random.multinomial(n_groups, np.full(n_groups, 1 / max(n_groups, 1)), n_draws)
    counts = np.concatenate([np.ones((1, n_groups)), drawn.astype(np.float64)])
    return GroupDraws(counts, group.astype(np.int64))


def estimate(draws: FloatArray) -> Estimate:
    """The figure of the sample with its interval.

    Args:
        draws: [1 + n_draws], the sample's own first; NaN where a draw lacks a class.
    """
    inside = draws[1:][np.isfinite(draws[1:])]
    if not len(inside):
        return Estimate(float(draws[0]), float(draws[0]), float(draws[0]))
    low, high = np.percentile(inside, [_LOW, _HIGH])
    return Estimate(float(draws[0]), float(low), float(high))
