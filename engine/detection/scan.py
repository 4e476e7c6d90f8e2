"""Which features differ between made-up and right answers, found on training runs, tried on others.

Invariant: features are found, tested and ranked on training runs, one value a group; held-out runs
only say what became of them. The statistics are those of cohorts, with their permutation null.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import scipy.sparse as sp

from engine.cohorts.comparison import CohortRow, compare_units
from engine.cohorts.units import Units, make_units
from engine.detection.arrays import BoolArray
from engine.detection.bootstrap import draw_groups, estimate
from engine.detection.candidates import feature_aurocs
from engine.detection.fitting import N_INNER_FOLDS
from engine.detection.metrics import LEAST_FOR_A_NUMBER, auroc_draws
from engine.detection.models import SITE_TITLES, Site
from engine.detection.reports import Estimate, FeatureScan, ScannedFeature
from engine.detection.splits import Split, grouped_folds
from engine.detection.table import DetectionTable

N_SHOWN = 20
"""Features in the list, and how many each fold chooses."""
_N_PERMUTATIONS = 500


def scan_features(table: DetectionTable, split: Split, site: Site) -> FeatureScan | None:
    """Scans the features of a site; None where the table has none of it."""
    values = table.features.get(site)
    if values is None or not values.nnz:
        return None
    effects = compare_units(_units(table, values, split.train), _N_PERMUTATIONS)
    chosen, n_folds = _chosen_again(table, values, split.train)
    null, alone = effects.null, effects.set_difference
    return FeatureScan(
        site=SITE_TITLES[site],
        n_tested=effects.n_tested,
        n_significant=effects.n_significant,
        gate_note=effects.gate_note,
        largest=null.observed_max if null else None,
        largest_by_chance=null.quantile_95 if null else None,
        p=null.p if null else None,
        n_specific=alone.n_specific,
        n_specific_low=alone.null_low,
        n_specific_high=alone.null_high,
        rows=tuple(
            ScannedFeature(
                feature=row.feature,
                auroc_train=row.auroc,
                p=row.p,
                q=row.q,
                p_max=row.p_max,
                test_auroc=_on_test(table, values, split.test, row),
                chosen_share=chosen[row.feature] / n_folds,
                rate_positive=row.rate_a,
                rate_negative=row.rate_b,
            )
            for row in effects.rows[:N_SHOWN]
        ),
    )


def _units(table: DetectionTable, values: sp.csr_array, inside: BoolArray) -> Units:
    entries = sp.coo_array(values[inside])
    return make_units(
        entries.row.astype(np.int32),
        entries.col.astype(np.int32),
        entries.data.astype(np.float32),
        table.y[inside],
        table.groups[inside].tolist(),
    )


def _chosen_again(
    table: DetectionTable, values: sp.csr_array, train: BoolArray
) -> tuple[Counter[int], int]:
    """In how many inner folds each feature is among the most different, and of how many."""
    y, groups = table.y[train], table.groups[train]
    rows = sp.csr_array(values[train])
    n_folds = max(2, min(N_INNER_FOLDS, len(np.unique(groups)) // 2))
    fold = grouped_folds(y, groups, np.zeros(len(y), np.int64), n_folds)
    counts: Counter[int] = Counter()
    for number in range(n_folds):
        outside = fold != number
        if y[outside].all() or not y[outside].any():
            continue
        distance = np.abs(feature_aurocs(sp.csr_array(rows[outside]), y[outside]) - 0.5)
        counts.update(np.argsort(-distance, kind="stable")[:N_SHOWN].tolist())
    return counts, n_folds


def _on_test(
    table: DetectionTable, values: sp.csr_array, test: BoolArray, row: CohortRow
) -> Estimate | None:
    y = table.y[test]
    if min(int(y.sum()), int((~y).sum())) < LEAST_FOR_A_NUMBER:
        return None
    score = values[:, [row.feature]].toarray().ravel()[test]
    return estimate(auroc_draws(y, score, draw_groups(table.groups[test])))
