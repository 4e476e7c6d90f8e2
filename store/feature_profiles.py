"""What tokens the features of a source fire on, told from a sample of its runs.

Invariant: a profile is that of what is stored: it is made anew when runs came or went. A feature
that did not fire in the sample has counts of zero, and is never taken for one of a role.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from store.sampled_runs import RunSample, SourceSize, get_size, read_sample, sample_runs
from store.sources import StoredSource

DENSE = 0.1
"""Share of all tokens from which a feature says little, and is left out unless asked for."""
FIRST_SHARE = 0.9
"""Share of its tokens that are the first of a run from which a feature is about that alone."""
MIN_FIRST = 3

ROLES = ("system", "user", "assistant", "tool")

_TOKENS = """
    SELECT run_no, position, is_generated, coalesce(list_position($roles, role), 0)::INTEGER
    FROM base.tokens WHERE run_no IN $run_nos
"""
_N_KINDS = 16
"""Kinds of tokens: role (none of the four is 0), twice that if generated, and first ones apart."""
_FIRST = 15


@dataclass(frozen=True, slots=True)
class Profiles:
    """Counts of a sample, a row a feature that fired in it.

    Attributes:
        table: feature, n_sampled and the counts of its tokens that are generated, first, of a role.
        n_tokens: of the sample. size: of the source when it was made.
    """

    table: pa.Table
    n_tokens: int
    size: SourceSize


class ProfileCache:
    """The profile of each source, as long as its runs are the same."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[int, Profiles] = {}

    def get_profiles(self, cursor: duckdb.DuckDBPyConnection, source: StoredSource) -> Profiles:
        """The profile of what the cursor's transaction sees."""
        size = get_size(cursor, source)
        with self._lock:
            known = self._known.get(source.source_no)
        if known is not None and known.size == size:
            return known
        sample = sample_runs(cursor, source, size)
        made = Profiles(_count(cursor, source, sample), sample.n_own, size)
        with self._lock:
            self._known[source.source_no] = made
        return made


def _count(cursor: duckdb.DuckDBPyConnection, source: StoredSource, sample: RunSample) -> pa.Table:
    """The columns of a profile, a row a feature that fired in the sample."""
    values = {"roles": list(ROLES), "run_nos": sample.numbers}
    tokens = cursor.sql(_TOKENS, params=values).to_arrow_table()
    run_no, position, is_generated, role = (column.to_numpy() for column in tokens.columns)
    kind = np.zeros(int(sample.offsets[-1]), np.int64)
    kind[sample.to_index(run_no, position)] = role + is_generated * (len(ROLES) + 1)
    # what is first is told apart from its role: it is never generated
    kind[sample.offsets[:-1]] = _FIRST
    found = read_sample(cursor, sample)
    counts = np.bincount(
        found.feature.astype(np.int64) * _N_KINDS + kind[found.token],
        minlength=source.d_sae * _N_KINDS,
    ).reshape(-1, _N_KINDS)
    feature = np.flatnonzero(counts.any(axis=1))
    counts = counts[feature].astype(np.int32)
    n_roles = len(ROLES) + 1
    columns = {
        "feature": feature.astype(np.int32),
        "n_sampled": counts.sum(axis=1),
        "n_first": counts[:, _FIRST],
        "n_generated": counts[:, n_roles : 2 * n_roles].sum(axis=1),
    }
    for index, name in enumerate(ROLES, 1):
        columns[f"n_{name}"] = counts[:, index] + counts[:, index + n_roles]
    return pa.table(columns)
