"""Features over everything stored of their source: statistics, and where they fire.

Invariant: a feature that never fired has statistics of zero; one that the SAE does not have is an
error, so that the two are never taken for each other. What is read grows with what is asked for,
not with what is stored.
"""

from __future__ import annotations

import duckdb
import numpy as np
import numpy.typing as npt

from store.codes import CodeColumn, to_values
from store.connection import Store
from store.contexts import Places, fold_contexts, read_contexts
from store.errors import InvalidSpecError
from store.records import Context, ContextBand, FeatureStats, HistogramBin
from store.segments import N_TOP
from store.sources import StoredSource, get_source

CountColumn = npt.NDArray[np.int64]

_RUNS_A_CONTEXT = 20
"""Runs looked at for each context wanted, so that duplicates can be folded."""
_PLACES_A_CONTEXT = 2
"""Places read at first for each context wanted; four times as many while they do not suffice."""
_MAX_PLACES = 2**18
_BIN_BITS = 21
"""Low bits of a float32 that values in one bin of a histogram differ in: 23 would be a doubling."""

_TALLY = """
    SELECT coalesce(sum(n_tokens_active), 0)::BIGINT, coalesce(max(max_value), 0),
           coalesce(sum(total::DOUBLE), 0)
    FROM base.tallies WHERE slot = ?
"""
_OF_SOURCE = """
    SELECT coalesce(sum(n_tokens), 0)::BIGINT - (
               SELECT coalesce(sum(end_position - first_position), 0)::BIGINT
               FROM base.beginnings JOIN base.runs USING (run_no) WHERE source_no = $1
           ),
           (SELECT any_value(text) FROM base.labels
            WHERE source_no = $1 AND feature = $2 AND is_current)
    FROM base.runs WHERE source_no = $1
"""
_TOP_CODES = "SELECT top_code FROM base.tallies WHERE slot = ?"
_FROM_CODE = "SELECT token_no, code FROM base.postings WHERE slot = ? AND code >= ?"
_STRONGEST = """
    SELECT token_no, code FROM base.postings WHERE slot = ? ORDER BY code DESC, token_no LIMIT ?
"""
_CODE_COUNTS = """
    SELECT code, count(*) AS n_tokens_active FROM base.postings WHERE slot = ?
    GROUP BY code ORDER BY code
"""
_SAMPLE = """
    SELECT token_no, code FROM base.postings
    WHERE slot = ? AND code BETWEEN ? AND ? ORDER BY hash(token_no), token_no LIMIT ?
"""


class FeatureRepository:
    """Features of one store; every method may be called from any thread.

    A source is given by its id, or by its name, which means the newest of that name. Every method
    that takes a source and a feature raises SourceNotFoundError if nothing of the source is stored,
    and InvalidSpecError if it has no such feature.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, StoredSource] = {}

    def get_feature_stats(self, source: str, feature: int) -> FeatureStats:
        """Statistics of one feature; all zero if it never fired on what is stored.

        Raises:
            SourceNotFoundError: if nothing of this source is stored.
            InvalidSpecError: if the source has no such feature.
        """
        with self._store.read() as cursor:
            found = self._get_source(cursor, source, feature)
            [(n_active, max_value, total)] = cursor.execute(
                _TALLY, [found.first_slot + feature]
            ).fetchall()
            [(n_tokens, label)] = cursor.execute(_OF_SOURCE, [found.source_no, feature]).fetchall()
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
            found = self._get_source(cursor, source, feature)
            slot = found.first_slot + feature
            while True:
                places = _strongest(cursor, found.code_shift, slot, n_places)
                # often no two are of one run, or of equal text: the first are enough then
                first = places.first(limit + limit // 4)
                best = read_contexts(cursor, first)
                contexts = fold_contexts(best, limit)
                if len(contexts) < limit and len(first) < len(places):
                    best = read_contexts(cursor, places)[: limit * _RUNS_A_CONTEXT]
                    contexts = fold_contexts(best, limit)
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
            found = self._get_source(cursor, source, feature)
            counts = _code_counts(cursor, found.first_slot + feature)
            for codes, n_active in reversed(_bands(*counts, max(n_bands, 1))):
                wanted = [found.first_slot + feature, *codes.tolist(), per_band * _PLACES_A_CONTEXT]
                places = _places(cursor, found.code_shift, _SAMPLE, wanted)
                contexts = fold_contexts(read_contexts(cursor, places), per_band)
                low, high = to_values(codes, found.code_shift).tolist()
                bands.append(ContextBand(low, high, n_active, contexts))
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
            found = self._get_source(cursor, source, feature)
            codes, counts = _code_counts(cursor, found.first_slot + feature)
        if not len(codes):
            return ()
        shift = _BIN_BITS - found.code_shift
        first = int(codes[0]) >> shift
        heights = np.bincount((codes >> shift) - first, weights=counts)
        edges = to_values(
            np.arange(len(heights) + 1, dtype=np.uint32) + np.uint32(first), _BIN_BITS
        )
        return tuple(
            HistogramBin(low, high, int(height))
            for low, high, height in zip(
                edges[:-1].tolist(), edges[1:].tolist(), heights, strict=True
            )
        )

    def _get_source(
        self, cursor: duckdb.DuckDBPyConnection, source: str, feature: int
    ) -> StoredSource:
        """The source, looked up once where it is given by its id: that never means another."""
        found = self._known.get(source) or get_source(cursor, source)
        if found.source_id == source:
            self._known[source] = found
        if not 0 <= feature < found.d_sae:
            raise InvalidSpecError(
                "feature",
                f"The source {source[:80]!r} has no feature {feature}.",
                f"Its features are 0 to {found.d_sae - 1}." if found.d_sae else "It has no SAE.",
            )
        return found


def _places(cursor: duckdb.DuckDBPyConnection, shift: int, sql: str, values: list[int]) -> Places:
    rows = cursor.execute(sql, values).fetchall()
    code = np.array([code for _, code in rows], np.uint32)
    return Places([token_no for token_no, _ in rows], to_values(code, shift).tolist())


def _strongest(cursor: duckdb.DuckDBPyConnection, shift: int, slot: int, n_places: int) -> Places:
    """Where the slot fires most, strongest first, then in the order of tokens."""
    if n_places > N_TOP:
        return _places(cursor, shift, _STRONGEST, [slot, n_places])
    # so few are among those from the largest top code on, which are sorted faster here
    least = max((code for (code,) in cursor.execute(_TOP_CODES, [slot]).fetchall()), default=0)
    columns = cursor.execute(_FROM_CODE, [slot, least]).fetchnumpy()
    token_no, code = columns["token_no"], columns["code"]
    order = np.lexsort((token_no, -code.astype(np.int64)))[:n_places]
    return Places(token_no[order].tolist(), to_values(code[order], shift).tolist())


def _code_counts(cursor: duckdb.DuckDBPyConnection, slot: int) -> tuple[CodeColumn, CountColumn]:
    """Codes of the slot's values, rising, and how often each occurs."""
    table = cursor.sql(_CODE_COUNTS, params=[slot]).to_arrow_table()
    return table.column(0).to_numpy(), table.column(1).to_numpy()


def _bands(codes: CodeColumn, counts: CountColumn, n_bands: int) -> list[tuple[CodeColumn, int]]:
    """Smallest and largest code, and number of tokens, of bands of about equal numbers."""
    if not len(codes):
        return []
    up_to = np.cumsum(counts)
    band = -(-up_to * n_bands // up_to[-1])
    return [
        (codes[inside][[0, -1]], int(counts[inside].sum()))
        for inside in (band == number for number in np.unique(band))
    ]
