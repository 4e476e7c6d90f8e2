"""Numbers with intervals: percentile bootstrap over groups, the same draws for what is compared.

Invariant: whole groups are drawn (all questions about a person, all of a prompt), so that an
interval is of new groups; equal input gives equal intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from engine.detection.bootstrap import draw_groups
from engine.detection.bootstrap import estimate as to_estimate
from store.sweep_records import Estimate

Doubles = npt.NDArray[np.float64]
Sums = Mapping[str, Doubles]


def bootstrap(
    columns: Mapping[str, npt.ArrayLike],
    groups: Sequence[object],
    statistic: Callable[[Sums], Doubles],
) -> Estimate:
    """The statistic of sums of columns, with its 95% interval.

    Args:
        columns: [n] numbers each, one a unit.
        groups: of each unit, what is drawn as a whole.
        statistic: from the columns' sums (arrays of one length, one entry a draw) to numbers.

    Returns:
        None everywhere where there is no unit, or the statistic is not defined.
    """
    if not len(groups):
        return Estimate()
    _, index = np.unique([str(group) for group in groups], return_inverse=True)
    draws = draw_groups(index)
    n_groups = draws.counts.shape[1]
    sums = {
        name: draws.counts @ np.bincount(index, np.asarray(values, np.float64), n_groups)
        for name, values in columns.items()
    }
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = statistic(sums)
    if not np.isfinite(drawn[0]):
        return Estimate()
    found = to_estimate(drawn)
    return Estimate(found.value, found.low, found.high)


def mean(values: npt.ArrayLike, groups: Sequence[object]) -> Estimate:
    """Mean of one number a unit, units that are not finite left out."""
    plain = np.asarray(values, np.float64)
    kept = np.isfinite(plain)
    return bootstrap(
        {"sum": plain[kept], "n": np.ones(int(kept.sum()))},
        [group for group, is_kept in zip(groups, kept, strict=True) if is_kept],
        lambda sums: sums["sum"] / sums["n"],
    )
