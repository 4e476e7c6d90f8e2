"""Features over everything stored of their source: statistics, and where they fire most.

Invariant: a feature that never fired has statistics of zero; one that the SAE does not have is an
error, so that the two are never taken for each other.
"""

from __future__ import annotations

import duckdb

from store.connection import Store
from store.errors import InvalidSpecError
from store.records import Context, FeatureStats
from store.sources import StoredSource, get_source

_BEFORE = 10
_AFTER = 6
_RUNS_A_CONTEXT = 20
"""Runs looked at for each context wanted, so that duplicates can be folded."""

_STATS = """
    SELECT source_id, feature, n_tokens_active, density, max_value, mean_value, label
    FROM features WHERE source_id = ?
"""

_TOP_CONTEXTS = f"""
    WITH best AS (
        SELECT run_no, arg_max(position, value) AS position, max(value) AS value
        FROM base.activations
        WHERE feature = ? AND run_no IN (SELECT run_no FROM base.runs WHERE source_no = ?)
        GROUP BY run_no ORDER BY value DESC, run_no LIMIT ?
    )
    SELECT r.run_key, best.position, best.value,
           coalesce(string_agg(t.text, '' ORDER BY t.position)
                    FILTER (t.position < best.position), ''),
           coalesce(any_value(t.text) FILTER (t.position = best.position), ''),
           coalesce(string_agg(t.text, '' ORDER BY t.position)
                    FILTER (t.position > best.position), '')
    FROM best
    JOIN base.runs AS r USING (run_no)
    JOIN base.tokens AS t USING (run_no)
    WHERE t.position BETWEEN best.position - {_BEFORE} AND best.position + {_AFTER}
    GROUP BY ALL ORDER BY best.value DESC, r.run_key
"""


class FeatureRepository:
    """Features of one store; every method may be called from any thread.

    A source is given by its id, or by its name, which means the newest of that name.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def get_feature_stats(self, source: str, feature: int) -> FeatureStats:
        """Statistics of one feature; all zero if it never fired on what is stored.

        Raises:
            SourceNotFoundError: if nothing of this source is stored.
            InvalidSpecError: if the source has no such feature.
        """
        with self._store.read() as cursor:
            source_id = _get_source(cursor, source, feature).source_id
            row = cursor.execute(f"{_STATS} AND feature = ?", [source_id, feature]).fetchone()
        return FeatureStats(*row) if row else FeatureStats(source_id, feature, 0, 0.0, 0, 0, None)

    def list_top_contexts(self, source: str, feature: int, limit: int) -> tuple[Context, ...]:
        """Where the feature fires most, strongest first: the best place of each run.

        Contexts of equal text are shown once, at their strongest.

        Args:
            source: id or name.
            feature: index from 0.
            limit: most contexts returned.

        Raises:
            SourceNotFoundError: if nothing of this source is stored.
            InvalidSpecError: if the source has no such feature.
        """
        with self._store.read() as cursor:
            source_no = _get_source(cursor, source, feature).source_no
            rows = cursor.execute(
                _TOP_CONTEXTS, [feature, source_no, limit * _RUNS_A_CONTEXT]
            ).fetchall()
        unique: dict[tuple[str, str, str], Context] = {}
        for row in rows:
            unique.setdefault(row[3:], Context(*row))
        return tuple(unique.values())[:limit]


def _get_source(cursor: duckdb.DuckDBPyConnection, source: str, feature: int) -> StoredSource:
    found = get_source(cursor, source)
    if not 0 <= feature < found.d_sae:
        raise InvalidSpecError(
            "feature",
            f"The source {source[:80]!r} has no feature {feature}.",
            f"Its features are 0 to {found.d_sae - 1}." if found.d_sae else "It has no SAE.",
        )
    return found
