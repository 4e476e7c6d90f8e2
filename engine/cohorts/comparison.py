"""Two cohorts of runs compared feature by feature, with what chance alone would show beside it.

Invariant: pure. Features are chosen without looking at the cohorts; under ten units in a cohort no
effect is given a number; a list of features of one cohort alone comes with its null.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine.cohorts.permutation import (
    PermutationNull,
    SetDifference,
    draw_labels,
    family_p,
    max_null,
    set_difference,
)
from engine.cohorts.ranking import auroc, p_values, rank_scores, rank_statistics
from engine.cohorts.units import Units
from engine.intervals import difference_interval

Gate = Literal["none", "exploratory", "moderate", "full"]

FEWEST_UNITS = 10
FEWEST_MODERATE = 50
FEWEST_FULL = 200
MAX_ROWS = 200
FALSE_DISCOVERIES = 0.05
_FEWEST_FIRING = 5


@dataclass(frozen=True, slots=True)
class CohortRow:
    """How one feature differs.

    Attributes:
        n_a, n_b: units (groups) in which it fires; n_runs_a, n_runs_b: runs.
        rate_a, rate_b: share of the units; difference: A minus B, in [low, high] with 95%.
        auroc: probability that a unit of A has a larger value than one of B; 0.5 is no difference.
        z: standardised rank sum, above zero where A is larger.
        p: two-sided; q: of the false discovery rate (Benjamini and Hochberg).
        p_max: against the largest effect of each draw of the null.
        mean_a, mean_b: of the values over all units, silent ones as zero.
        label: the current one, where there is one.
    """

    feature: int
    n_a: int
    n_b: int
    n_runs_a: int
    n_runs_b: int
    rate_a: float
    rate_b: float
    difference: float
    low: float
    high: float
    auroc: float
    z: float
    p: float
    q: float
    p_max: float
    mean_a: float
    mean_b: float
    label: str | None = None


@dataclass(frozen=True, slots=True)
class CohortEffects:
    """A comparison, ranked.

    Attributes:
        rows: the strongest effects first, by p and then |z|; empty where `gate` is `none`.
        n_units_a, n_units_b: units (groups) of the cohorts; n_pairs: groups that are in both.
        n_tested: features that fire in enough units; n_left_out: those that fire in fewer.
        fewest_firing: that limit.
        n_significant: features with q of at most 0.05.
        null: None where `gate` is `none`.
    """

    rows: tuple[CohortRow, ...]
    n_units_a: int
    n_units_b: int
    n_pairs: int
    gate: Gate
    gate_note: str
    n_tested: int
    n_left_out: int
    fewest_firing: int
    n_significant: int
    null: PermutationNull | None
    set_difference: SetDifference


def compare_units(
    units: Units,
    n_permutations: int = 1000,
    seed: int = 0,
    tell: Callable[[int], None] = lambda _: None,
) -> CohortEffects:
    """Compares two cohorts.

    Args:
        units: of both.
        n_permutations: draws of the null.
        seed: of the draws.
        tell: called with the number of draws done; it may raise to end the work.
    """
    labels = draw_labels(units.is_a, units.group, n_permutations, seed)
    difference = set_difference(units.values, units.feature, units.is_a, labels)
    gate, note = judge_sizes(units.n_a, units.n_b)
    fired = np.diff(units.values.indptr)
    fewest = max(_FEWEST_FIRING, len(units.is_a) // 50)
    chosen = np.flatnonzero(fired >= fewest)
    n_pairs = len(units.is_a) - len(np.unique(units.group))
    if gate == "none":
        return CohortEffects(
            rows=(),
            n_units_a=units.n_a,
            n_units_b=units.n_b,
            n_pairs=n_pairs,
            gate=gate,
            gate_note=note,
            n_tested=0,
            n_left_out=len(fired),
            fewest_firing=fewest,
            n_significant=0,
            null=None,
            set_difference=difference,
        )
    rows, n_significant, null = _effects(units, chosen, labels, tell)
    return CohortEffects(
        rows=rows,
        n_units_a=units.n_a,
        n_units_b=units.n_b,
        n_pairs=n_pairs,
        gate=gate,
        gate_note=note,
        n_tested=len(chosen),
        n_left_out=len(fired) - len(chosen),
        fewest_firing=fewest,
        n_significant=n_significant,
        null=null,
        set_difference=difference,
    )


def judge_sizes(n_a: int, n_b: int) -> tuple[Gate, str]:
    """What the numbers of units allow to say, and one sentence that says so."""
    fewest = min(n_a, n_b)
    if fewest < FEWEST_UNITS:
        return "none", (
            f"The smaller cohort has {fewest} independent groups; no effect is given a number "
            f"under {FEWEST_UNITS}."
        )
    if fewest < FEWEST_MODERATE:
        return "exploratory", (
            f"Exploratory: the smaller cohort has {fewest} independent groups; what is found here "
            "has to be found again on new runs."
        )
    if fewest < FEWEST_FULL:
        return "moderate", (
            f"The smaller cohort has {fewest} independent groups: enough to rank features, not to "
            f"call one better than another (from {FEWEST_FULL})."
        )
    return "full", f"The smaller cohort has {fewest} independent groups."


def _effects(
    units: Units,
    chosen: np.ndarray[tuple[int], np.dtype[np.int64]],
    labels: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    tell: Callable[[int], None],
) -> tuple[tuple[CohortRow, ...], int, PermutationNull]:
    from scipy import stats

    values = units.values[chosen]
    is_a = units.is_a
    n_a, n_b = units.n_a, units.n_b
    scores = rank_scores(values, n_a)
    z = rank_statistics(scores, is_a.astype(np.float64))
    fires = values.copy()
    fires.data = np.ones_like(fires.data)
    fired_a = np.rint(fires @ is_a.astype(np.float64)).astype(np.int64)
    fired_b = np.diff(values.indptr) - fired_a
    p = p_values(scores, z, fired_a, fired_b, is_a)
    q = stats.false_discovery_control(p) if len(p) else p
    null = max_null(scores, z, labels, tell)
    p_max = family_p(null, z)
    low, high = difference_interval(fired_a, n_a, fired_b, n_b)
    area = auroc(scores, is_a)
    mean_a = values @ is_a.astype(np.float64) / n_a
    mean_b = values @ (~is_a).astype(np.float64) / n_b
    order = np.lexsort((units.feature[chosen], -np.abs(z), p))[:MAX_ROWS]
    rows = tuple(
        CohortRow(
            feature=int(units.feature[chosen[index]]),
            n_a=int(fired_a[index]),
            n_b=int(fired_b[index]),
            n_runs_a=int(units.n_runs_a[chosen[index]]),
            n_runs_b=int(units.n_runs_b[chosen[index]]),
            rate_a=float(fired_a[index] / n_a),
            rate_b=float(fired_b[index] / n_b),
            difference=float(fired_a[index] / n_a - fired_b[index] / n_b),
            low=float(low[index]),
            high=float(high[index]),
            auroc=float(area[index]),
            z=float(z[index]),
            p=float(p[index]),
            q=float(q[index]),
            p_max=float(p_max[index]),
            mean_a=float(mean_a[index]),
            mean_b=float(mean_b[index]),
        )
        for index in order.tolist()
    )
    return rows, int((q <= FALSE_DISCOVERIES).sum()), null
