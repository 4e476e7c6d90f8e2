"""Features over everything stored of their source: statistics, and where they fire.

Invariant: a feature that never fired has statistics of zero; one that the SAE does not have is an
error, so that the two are never taken for each other. What is read grows with what is asked for,
not with what is stored.
"""

from __future__ import annotations

import duckdb
import numpy as np
import numpy.typing as npt

from store.bins import read_histograms
from store.codes import CodeColumn, to_values
from store.connection import Store
from store.contexts import Places, fold_contexts, read_contexts
from store.posting_tables import POSTINGS
from store.records import Context, ContextBand, FeatureStats, HistogramBin
from store.segments import N_PEAKS
from store.sources import StoredSource, check_feature, get_source

CountColumn = npt.NDArray[np.int64]

_RUNS_A_CONTEXT = 20
"""Runs looked at for each context wanted, so that duplicates can be folded."""
_SAMPLED_A_CONTEXT = 2
"""Places sampled for each context wanted: two may be of one run, or of equal text."""
_MAX_PLACES = 2**18
_MAX_KNOWN = 1024
"""Places taken at first where the feature has no peaks: they are read all the same."""

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
_PEAKS = """
    SELECT segment_no, token_no, code FROM base.peaks WHERE slot = ?
    UNION ALL
    SELECT segment_no, 0, 0::UINTEGER FROM base.segments
"""
_FROM_CODE = f"SELECT token_no, code FROM {POSTINGS} WHERE slot = ? AND code >= ?"
_STRONGEST = f"""
    SELECT token_no, code FROM {POSTINGS} WHERE slot = ? ORDER BY code DESC, token_no LIMIT ?
"""
_CODE_COUNTS = f"""
    SELECT code, count(*) AS n_tokens_active FROM {POSTINGS} WHERE slot = ?
    GROUP BY code ORDER BY code
"""
_SAMPLE = f"""
    SELECT token_no, code FROM {POSTINGS}
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
        limit = max(limit, 0)
        n_read, n_places = 0, limit + limit // 4
        best: dict[str, Context] = {}
        with self._store.read() as cursor:
            found = self._get_source(cursor, source, feature)
            slot = found.first_slot + feature
            places, is_all = _strongest(cursor, found.code_shift, slot)
            while True:
                if n_places > len(places) and not is_all:
                    wanted = [slot, n_places]
                    places = _places(cursor, found.code_shift, _STRONGEST, wanted)
                    is_all = len(places) < n_places
                # often no two are of one run, or of equal text: the first are enough then
                for context in read_contexts(cursor, places.between(n_read, n_places)):
                    best.setdefault(context.run_key, context)
                contexts = fold_contexts([*best.values()][: limit * _RUNS_A_CONTEXT], limit)
                is_done = (is_all and n_places >= len(places)) or n_places >= _MAX_PLACES
                if len(contexts) >= limit or is_done or len(best) >= limit * _RUNS_A_CONTEXT:
                    return contexts
                n_read, n_places = n_places, n_places * 4

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
                wanted = [
                    found.first_slot + feature,
                    *codes.tolist(),
                    per_band * _SAMPLED_A_CONTEXT,
                ]
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
            slot = found.first_slot + feature
            return read_histograms(cursor, [slot], found.code_shift)[slot]

    def _get_source(
        self, cursor: duckdb.DuckDBPyConnection, source: str, feature: int
    ) -> StoredSource:
        """The source, looked up once where it is given by its id: that never means another."""
        found = self._known.get(source) or get_source(cursor, source)
        if found.source_id == source:
            self._known[source] = found
        check_feature(found, feature)
        return found


def _places(cursor: duckdb.DuckDBPyConnection, shift: int, sql: str, values: list[int]) -> Places:
    rows = cursor.execute(sql, values).fetchall()
    code = np.array([code for _, code in rows], np.uint32)
    return Places([token_no for token_no, _ in rows], to_values(code, shift).tolist())


def _strongest(cursor: duckdb.DuckDBPyConnection, shift: int, slot: int) -> tuple[Places, bool]:
    """Where the slot fires most, strongest first, then in the order of tokens.

    Returns:
        N_PEAKS places or more if there are as many, and whether they are all.
    """
    columns = cursor.execute(_PEAKS, [slot]).fetchnumpy()
    is_peak = columns["code"] > 0
    token_no, code = columns["token_no"][is_peak], columns["code"][is_peak]
    segments = np.setdiff1d(columns["segment_no"], columns["segment_no"][is_peak])
    # what is below this code is not among the first N_PEAKS
    least = int(np.partition(code, -N_PEAKS)[-N_PEAKS]) if len(code) else 0
    if len(segments):
        sql = _FROM_CODE + (_in_segments(segments) if len(code) else "")
        others = cursor.execute(sql, [slot, least]).fetchnumpy()
        token_no = np.concatenate([token_no, others["token_no"]])
        code = np.concatenate([code, others["code"]])
    n_known = N_PEAKS if least else _MAX_KNOWN
    order = np.lexsort((token_no, -code.astype(np.int64)))[:n_known]
    places = Places(token_no[order].tolist(), to_values(code[order], shift).tolist())
    return places, not least and len(code) <= n_known


def _in_segments(numbers: npt.NDArray[np.int32]) -> str:
    """A condition; numbers in the text let DuckDB pass over row groups of other segments."""
    return f" AND segment_no IN ({', '.join(map(str, numbers.tolist()))})"


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
