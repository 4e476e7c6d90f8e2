"""The analysis that came before: sets of top features, and the distance to two regimes.

Both look at the 20 strongest features of the last prompt token. A list of "specific" features is
shown beside its permutation null: with few groups, hundreds arise by chance.

Invariant: regimes and sets are those of training runs; the null shuffles labels among groups.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from engine.cohorts.permutation import draw_labels
from engine.cohorts.permutation import set_difference as cohort_set_difference
from engine.cohorts.units import make_units
from engine.detection.arrays import BoolArray, FloatArray
from engine.detection.fitted import Fitted
from engine.detection.table import DetectionTable

N_TOP = 20
N_SHUFFLES = 200
_SEED = 13
_SITE = "last token of the prompt"


def top_features(values: sp.csr_array, n_top: int = N_TOP) -> sp.csr_array:
    """Rows with all but their n_top largest values taken out."""
    row = np.repeat(np.arange(values.shape[0]), np.diff(values.indptr))
    order = np.lexsort((-values.data, row))
    place = np.arange(len(order)) - values.indptr[row[order]]
    kept = order[place < n_top]
    return sp.csr_array((values.data[kept], (row[kept], values.indices[kept])), shape=values.shape)


def regime_distance(table: DetectionTable, values: sp.csr_array, train: BoolArray) -> Fitted:
    """How much nearer, by cosine, a run is to the mean of made-up answers than to the other."""
    top = top_features(values)
    positive = np.asarray(top[train & table.y].mean(axis=0)).ravel()
    negative = np.asarray(top[train & ~table.y].mean(axis=0)).ravel()
    nearer = _cosine(top, positive) - _cosine(top, negative)
    flagged = float((nearer > 0).mean())
    return Fitted(
        "regime distance",
        "baseline",
        "regime_distance",
        _SITE,
        f"Cosine to two class means, {N_TOP} strongest features; its own threshold, zero, calls "
        f"{flagged:.0%} of all runs made up.",
        int(np.count_nonzero(positive + negative)),
        nearer,
    )


def set_difference(table: DetectionTable, values: sp.csr_array, train: BoolArray) -> Fitted:
    """How many features a run has that training saw in made-up answers and in no right one."""
    top = top_features(values)
    fires = sp.csr_array((np.ones(top.nnz), top.indices, top.indptr), shape=top.shape)
    of_train = sp.coo_array(fires[train])
    units = make_units(
        of_train.row.astype(np.int32),
        of_train.col.astype(np.int32),
        of_train.data.astype(np.float32),
        table.y[train],
        table.groups[train].tolist(),
    )
    labels = draw_labels(units.is_a, units.group, N_SHUFFLES, _SEED)
    found = cohort_set_difference(units.values, units.feature, units.is_a, labels, values.shape[1])
    specific = np.zeros(values.shape[1])
    specific[list(found.features)] = 1.0
    return Fitted(
        "set difference",
        "baseline",
        "set_difference",
        _SITE,
        f"{found.n_specific:,} features are in a made-up answer and in no right one; shuffled "
        f"labels give {found.null_low:.0f} to {found.null_high:.0f} (p {found.p:.2g}).",
        found.n_specific,
        np.asarray(fires @ specific).ravel(),
    )


def _cosine(rows: sp.csr_array, centre: FloatArray) -> FloatArray:
    norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel()) * np.linalg.norm(centre)
    product = np.asarray(rows @ centre).ravel()
    cosine: FloatArray = np.divide(product, norms, out=np.zeros_like(product), where=norms > 0)
    return cosine
