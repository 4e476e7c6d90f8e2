"""Features over everything stored of their source: statistics, and where they fire.

Invariant: a feature that never fired has statistics of zero; one that the SAE does not have is an
error, so that the two are never taken for each other. What is read grows with what is asked for,
not with what is stored.
"""

from __future__ import annotations

import duckdb
import numpy as np

from store.codes import join_bits, to_values
from store.connection import Store
from store.contexts import Places, fold_contexts, read_contexts
from store.errors import InvalidSpecError
from store.records import Context, ContextBand, FeatureStats, HistogramBin
from store.sources import StoredSource, get_source

_RUNS_A_CONTEXT = 20
"""Runs looked at for each context wanted, so that duplicates can be folded."""
_PLACES_A_CONTEXT = 3
"""Places read at first for each context wanted; four times as many while they do not suffice."""
_MAX_PLACES = 2**18
_CODES_A_BIN = 32
"""Upper halves of floats in a bin of a histogram; 128 are a doubling of the value."""

_TALLY = """
    SELECT coalesce(sum(n_tokens_active), 0)::BIGINT, coalesce(max(max_value), 0),
           coalesce(sum(total), 0),
           (SELECT coalesce(sum(n_tokens), 0) FROM base.runs WHERE source_no = $1),
           (SELECT any_value(text) FROM base.labels
            WHERE source_no = $1 AND feature = $2 AND is_current)
    FROM base.tallies WHERE source_no = $1 AND feature = $2
"""
_STRONGEST = """
    SELECT run_no, position, code, rest FROM base.postings
    WHERE source_no = ? AND feature = ?
    ORDER BY code DESC, rest DESC, run_no, position LIMIT ?
"""
_CODE_COUNTS = """
    SELECT code, count(*) AS n_tokens_active FROM base.postings
    WHERE source_no = ? AND feature = ? GROUP BY code ORDER BY code
"""
_SAMPLE = """
    SELECT run_no, position, code, rest FROM base.postings
    WHERE source_no = ? AND feature = ? AND code BETWEEN ? AND ?
    ORDER BY hash(run_no, position), run_no, position LIMIT ?
"""


class FeatureRepository:
    """Features of one store; every method may be called from any thread.

    A source is given by its id, or by its name, which means the newest of that name. Every method
    that takes a source and a feature raises SourceNotFoundError if nothing of the source is stored,
    and InvalidSpecError if it has no such feature.
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
            found = _get_source(cursor, source, feature)
            [row] = cursor.execute(_TALLY, [found.source_no, feature]).fetchall()
        n_active, max_value, total, n_tokens, label = row
        return FeatureStats(
            found.source_id,
            feature,
            n_active,
            n_active / n_tokens if n_tokens else 0.0,
            max_value,
            total / n_active if n_active else 0.0,
            label,
        )

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
        n_places = max(limit, 0) * _PLACES_A_CONTEXT
        with self._store.read() as cursor:
            source_no = _get_source(cursor, source, feature).source_no
            while True:
                places = _places(cursor, _STRONGEST, [source_no, feature, n_places])
                best = places.first_of_runs()
                contexts = fold_contexts(
                    read_contexts(cursor, best.take(limit * _RUNS_A_CONTEXT)), limit
                )
                is_all = len(places) < n_places or n_places >= _MAX_PLACES
                if len(contexts) >= limit or is_all or len(best) >= limit * _RUNS_A_CONTEXT:
                    return contexts
                n_places *= 4

    def list_contexts_by_quantile(
        self, source: str, feature: int, n_bands: int = 5, per_band: int = 5
    ) -> tuple[ContextBand, ...]:
        """Contexts from all over the feature's values, the strongest band first.

        Each band holds about the same number of tokens, equal values in one band; there are fewer
        bands where there are fewer distinct values. The sample of a band is the same at each call
        as long as nothing is added.

        Args:
            source: id or name.
            feature: index from 0.
            n_bands: most bands, such as 5 for fifths.
            per_band: most contexts in each, at most one a run.

        Raises:
            SourceNotFoundError: if nothing of this source is stored.
            InvalidSpecError: if the source has no such feature.
        """
        bands = []
        with self._store.read() as cursor:
            source_no = _get_source(cursor, source, feature).source_no
            counts = _code_counts(cursor, source_no, feature)
            for low, high, n_active in reversed(_bands(*counts, max(n_bands, 1))):
                wanted = [source_no, feature, low, high, per_band * _PLACES_A_CONTEXT]
                places = _places(cursor, _SAMPLE, wanted).first_of_runs()
                contexts = fold_contexts(read_contexts(cursor, places), per_band)
                edges = to_values(np.array([low << 16, (high << 16) | 0xFFFF], np.uint32))
                bands.append(ContextBand(float(edges[0]), float(edges[1]), n_active, contexts))
        return tuple(bands)

    def get_feature_histogram(self, source: str, feature: int) -> tuple[HistogramBin, ...]:
        """How often the feature fired how strongly, from its smallest to its largest value.

        Bins are the same for all features, four to a doubling of the value, and empty ones between
        others are included.

        Raises:
            SourceNotFoundError: if nothing of this source is stored.
            InvalidSpecError: if the source has no such feature.
        """
        with self._store.read() as cursor:
            source_no = _get_source(cursor, source, feature).source_no
            codes, counts = _code_counts(cursor, source_no, feature)
        if not len(codes):
            return ()
        first = int(codes[0]) // _CODES_A_BIN
        heights = np.bincount(codes.astype(np.int64) // _CODES_A_BIN - first, weights=counts)
        edges = np.arange(first, first + len(heights) + 1, dtype=np.uint32) * _CODES_A_BIN
        values = to_values(edges << 16).tolist()
        return tuple(
            HistogramBin(values[index], values[index + 1], int(height))
            for index, height in enumerate(heights)
        )


def _get_source(cursor: duckdb.DuckDBPyConnection, source: str, feature: int) -> StoredSource:
    found = get_source(cursor, source)
    if not 0 <= feature < found.d_sae:
        raise InvalidSpecError(
            "feature",
            f"The source {source[:80]!r} has no feature {feature}.",
            f"Its features are 0 to {found.d_sae - 1}.",
        )
    return found


def _places(cursor: duckdb.DuckDBPyConnection, sql: str, values: list[int]) -> Places:
    table = cursor.sql(sql, params=values).to_arrow_table()
    run_no, position, code, rest = (column.to_numpy() for column in table.columns)
    return Places(run_no, position, to_values(join_bits(code, rest)))


def _code_counts(
    cursor: duckdb.DuckDBPyConnection, source_no: int, feature: int
) -> tuple[np.ndarray, np.ndarray]:
    """Upper halves of the feature's values, rising, and how often each occurs."""
    table = cursor.sql(_CODE_COUNTS, params=[source_no, feature]).to_arrow_table()
    return table.column(0).to_numpy(), table.column(1).to_numpy()


def _bands(codes: np.ndarray, counts: np.ndarray, n_bands: int) -> list[tuple[int, int, int]]:
    """Smallest and largest code, and number of tokens, of bands of about equal numbers."""
    if not len(codes):
        return []
    up_to = np.cumsum(counts)
    band = np.ceil(up_to / up_to[-1] * n_bands).astype(np.int64)
    return [
        (int(codes[inside][0]), int(codes[inside][-1]), int(counts[inside].sum()))
        for inside in (band == number for number in np.unique(band))
    ]
