"""The features of a source as one table: statistics, labels, and what a sample says of them.

Invariant: statistics are those of everything stored; only roles and first tokens are a sample's. A
feature is here if it ever fired or has a label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from store.bins import read_histograms
from store.feature_profiles import DENSE, FIRST_SHARE, MIN_FIRST, Profiles
from store.feature_records import FeatureRow
from store.sources import StoredSource

_STATS = """
    SELECT slot - $first_slot AS feature, sum(n_tokens_active)::BIGINT AS n_tokens_active,
           max(max_value) AS max_value, sum(total::DOUBLE) AS total
    FROM base.tallies {among} WHERE slot BETWEEN $first_slot AND $last_slot GROUP BY slot
"""
_CURRENT_LABELS = """
    SELECT feature, text, origin, score FROM base.labels
    WHERE source_no = ? AND is_current AND feature IN ?
"""
TABLE = f"""
    WITH stats AS ({_STATS.format(among="")}),
    spoken AS (
        SELECT feature, string_agg(lower(text), chr(10)) AS words FROM base.labels
        WHERE source_no = $source_no AND status = 'active' GROUP BY feature
    ),
    chosen AS (
        SELECT feature, text AS label, origin AS label_origin, score AS label_score
        FROM base.labels WHERE source_no = $source_no AND is_current
    ),
    f AS (
        SELECT $source_no::INTEGER AS source_no, feature,
               coalesce(stats.n_tokens_active, 0) AS n_tokens_active,
               coalesce(stats.n_tokens_active / nullif($n_tokens::DOUBLE, 0), 0) AS density,
               coalesce(max_value, 0) AS max_value,
               coalesce(total / nullif(stats.n_tokens_active, 0), 0) AS mean_value,
               label, label_origin, label_score, coalesce(words, '') AS words,
               coalesce(n_sampled, 0) AS n_sampled, coalesce(n_first, 0) AS n_first,
               coalesce(n_generated, 0) AS n_generated, coalesce(n_system, 0) AS n_system,
               coalesce(n_user, 0) AS n_user, coalesce(n_assistant, 0) AS n_assistant,
               coalesce(n_tool, 0) AS n_tool,
               coalesce(stats.n_tokens_active > $dense * $n_tokens, false) AS is_dense,
               coalesce(
                   n_first >= $min_first AND n_first >= $first_share * n_sampled, false
               ) AS is_first
        FROM stats FULL JOIN spoken USING (feature) LEFT JOIN chosen USING (feature)
        LEFT JOIN profile USING (feature)
    )
"""
"""Common table expressions, of which `f` is the table; the caller's SELECT follows."""

ROW_COLUMNS = (
    "feature, n_tokens_active, density, max_value, mean_value, label, label_origin, label_score"
)


@dataclass(frozen=True, slots=True)
class StatsColumns:
    """Statistics of features of one source, as columns of one length, by feature.

    Attributes:
        feature: int32, rising; those that ever fired. n_tokens: stored tokens of the source.
        is_dense: fires on more than a tenth of them. is_first: almost only on first tokens.
    """

    feature: npt.NDArray[np.int32]
    n_tokens_active: npt.NDArray[np.int64]
    density: npt.NDArray[np.float64]
    max_value: npt.NDArray[np.float64]
    mean_value: npt.NDArray[np.float64]
    is_dense: npt.NDArray[np.bool_]
    is_first: npt.NDArray[np.bool_]
    n_tokens: int

    def __len__(self) -> int:
        return len(self.feature)


def table_values(source: StoredSource, profiles: Profiles) -> dict[str, object]:
    """The parameters of TABLE."""
    return {
        "source_no": source.source_no,
        "first_slot": source.first_slot,
        "last_slot": source.first_slot + source.d_sae - 1,
        "n_tokens": profiles.size.n_tokens,
        "dense": DENSE,
        "min_first": MIN_FIRST,
        "first_share": FIRST_SHARE,
    }


@contextmanager
def registered(cursor: duckdb.DuckDBPyConnection, **tables: pa.Table) -> Iterator[None]:
    """Arrow tables that SQL can read by name meanwhile."""
    for name, table in tables.items():
        cursor.register(name, table)
    try:
        yield
    finally:
        for name in tables:
            cursor.unregister(name)


def read_stats(
    cursor: duckdb.DuckDBPyConnection,
    source: StoredSource,
    profiles: Profiles,
    features: npt.NDArray[np.integer[Any]] | None = None,
) -> StatsColumns:
    """Statistics of those of the features that ever fired; of all that did if None are given."""
    values = {
        "first_slot": source.first_slot,
        "last_slot": source.first_slot + source.d_sae - 1,
    }
    if features is None:
        sql = _STATS.format(among="")
        table = cursor.sql(sql + " ORDER BY slot", params=values).to_arrow_table()
    else:
        slots = np.unique(features).astype(np.int32) + np.int32(source.first_slot)
        sql = _STATS.format(among="SEMI JOIN wanted USING (slot)")
        with registered(cursor, wanted=pa.table({"slot": slots})):
            table = cursor.sql(sql + " ORDER BY slot", params=values).to_arrow_table()
    feature, n_active, max_value, total = (column.to_numpy() for column in table.columns)
    n_tokens = profiles.size.n_tokens
    sampled, first = (
        np.bincount(
            profiles.table.column("feature").to_numpy(),
            weights=profiles.table.column(name).to_numpy(),
            minlength=source.d_sae,
        )[feature]
        for name in ("n_sampled", "n_first")
    )
    return StatsColumns(
        feature=feature.astype(np.int32),
        n_tokens_active=n_active.astype(np.int64),
        density=n_active / max(n_tokens, 1),
        max_value=max_value.astype(np.float64),
        mean_value=total / np.maximum(n_active, 1),
        is_dense=n_active > DENSE * n_tokens,
        is_first=(first >= MIN_FIRST) & (first >= FIRST_SHARE * sampled),
        n_tokens=n_tokens,
    )


def read_rows(
    cursor: duckdb.DuckDBPyConnection,
    source: StoredSource,
    stats: StatsColumns,
    indices: Sequence[int],
) -> tuple[FeatureRow, ...]:
    """Rows of some of the features that statistics were read of, in this order."""
    features = stats.feature[list(indices)].tolist()
    labels = {
        feature: rest
        for feature, *rest in cursor.execute(
            _CURRENT_LABELS, [source.source_no, features]
        ).fetchall()
    }
    columns = (stats.n_tokens_active, stats.density, stats.max_value, stats.mean_value)
    numbers = zip(*(column[list(indices)].tolist() for column in columns), strict=True)
    rows = [
        (feature, *values, *labels.get(feature, (None, None, None)))
        for feature, values in zip(features, numbers, strict=True)
    ]
    return to_rows(cursor, source, rows)


def to_rows(
    cursor: duckdb.DuckDBPyConnection, source: StoredSource, rows: Sequence[tuple[Any, ...]]
) -> tuple[FeatureRow, ...]:
    """Rows of ROW_COLUMNS as records, each with its histogram."""
    plain = [FeatureRow(source.source_id, *row) for row in rows]
    slots = {row.feature: source.first_slot + row.feature for row in plain}
    histograms = read_histograms(cursor, list(slots.values()), source.code_shift)
    return tuple(replace(row, histogram=histograms[slots[row.feature]]) for row in plain)
