"""Units of a comparison: one value a group and cohort, however many runs a group has.

Runs of one group (the same question, say) are no independent evidence, so each group counts once
in a cohort. A group that is in both cohorts is a pair.

Invariant: pure; the order of runs does not matter beyond ties of numbering.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Units:
    """What is compared.

    Attributes:
        values: [features, units], the mean over a unit's runs of the largest value in each; only
            features that fire at all.
        feature: [features], their numbers, rising.
        is_a: [units], the cohort.
        group: [units], number of the group; a pair has one number twice.
        n_runs_a, n_runs_b: [features], runs in which each fires.
    """

    values: sparse.csr_array
    feature: Ints
    is_a: Bools
    group: Ints
    n_runs_a: Ints
    n_runs_b: Ints

    @property
    def n_a(self) -> int:
        """Units of cohort A."""
        return int(self.is_a.sum())

    @property
    def n_b(self) -> int:
        """Units of cohort B."""
        return len(self.is_a) - self.n_a


def make_units(
    run_index: npt.NDArray[np.int32],
    feature: npt.NDArray[np.int32],
    value: npt.NDArray[np.float32],
    is_a: Bools,
    groups: Sequence[Hashable],
) -> Units:
    """Units from the largest value of each feature in each run.

    Args:
        run_index, feature, value: of one length; a feature that is silent in a run is absent.
        is_a: [runs], the cohort of each run.
        groups: of each run.
    """
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    group = np.array([numbers[item] for item in groups], np.int64)
    keys, unit_of_run = np.unique(group * 2 + is_a, return_inverse=True)
    sizes = np.bincount(unit_of_run, minlength=len(keys)).astype(np.float64)
    features, row = np.unique(feature, return_inverse=True)
    shape = (len(features), len(keys))
    unit = unit_of_run[run_index]
    summed = sparse.coo_array((value / sizes[unit], (row, unit)), shape=shape)
    in_a = is_a[run_index]
    return Units(
        values=sparse.csr_array(summed.tocsr()),
        feature=features.astype(np.int64),
        is_a=(keys % 2).astype(bool),
        group=keys // 2,
        n_runs_a=np.bincount(row[in_a], minlength=len(features)),
        n_runs_b=np.bincount(row[~in_a], minlength=len(features)),
    )
