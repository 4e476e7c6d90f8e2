"""Contexts of a feature that pass a filter: of generated tokens, of a role, of some runs.

Invariant: runs are chosen before places, and of those at most MAX_EXAMINED are looked at: the
strongest for contexts from the top, a sample for contexts from all over the values. The answer says
how many were, and whether they were all.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from store.codes import to_values
from store.connection import Store
from store.contexts import Places, fold_contexts, read_contexts
from store.errors import InvalidSpecError
from store.feature_records import ContextFilter, FilteredContexts
from store.feature_table import registered
from store.posting_tables import POSTINGS
from store.records import Context, ContextBand
from store.rows import PASSAGE_TOKENS
from store.run_sets import RunCondition, prepare_run_filter
from store.sources import StoredSource, check_feature, get_source
from store.specs import ROLES, is_storable

MAX_EXAMINED = 2**16
_PLACES_A_CONTEXT = 4
"""Places read at first for each context wanted; all that pass if those do not suffice."""
_MOST_READ = 2_048
"""Places whose texts are read, so that duplicates can be folded."""

_RUNS = """
    SELECT r.run_no FROM base.runs AS r JOIN base.sources AS s USING (source_no)
    WHERE r.source_no = $source_no AND {condition}
      AND ($outcome IS NULL OR r.run_no IN (
          SELECT run_no FROM base.outcomes WHERE lower(outcome) = lower($outcome)))
"""
_PLACES = f"""
    WITH examined AS (
        SELECT a.token_no, a.code, p.run_no,
               p.position + a.token_no % $passage_tokens AS position
        FROM {POSTINGS} AS a
        JOIN base.passages AS p ON p.passage_no = a.token_no // $passage_tokens
        {{among}}
        WHERE a.slot = $slot ORDER BY {{order}} LIMIT $most
    )
    SELECT token_no, code, n_examined
    FROM (SELECT count(*) AS n_examined FROM examined)
    LEFT JOIN (SELECT token_no, code FROM examined {{passing}}) ON true ORDER BY {{order}}
"""
_PASSING = """
    SEMI JOIN (
        SELECT run_no, position FROM base.tokens
        WHERE (is_generated OR NOT $generated_only) AND ($role IS NULL OR role = $role)
    ) USING (run_no, position)
"""
_STRONGEST = "code DESC, token_no"
_SAMPLED = "hash(token_no), token_no"


@dataclass(frozen=True, slots=True)
class _Passing:
    """Places that pass, in the order in which they were asked for."""

    token_no: npt.NDArray[np.int32]
    code: npt.NDArray[np.uint32]
    n_examined: int

    def places(self, rows: npt.NDArray[np.intp], shift: int) -> Places:
        """Some of them."""
        values = to_values(self.code[rows], shift).tolist()
        return Places(self.token_no[rows].tolist(), values)

    @property
    def is_complete(self) -> bool:
        """Whether no place was left out unseen."""
        return self.n_examined < MAX_EXAMINED


class ContextRepository:
    """Contexts of the features of one store by filter; methods may be called from any thread.

    Every method raises SourceNotFoundError if nothing of the source is stored, InvalidSpecError if
    it has no such feature or the filter cannot be read, and QueryError for SQL in it that fails.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def list_filtered_contexts(
        self, source: str, feature: int, where: ContextFilter, limit: int = 20
    ) -> FilteredContexts:
        """Where the feature fires most among what passes: the best place of each run.

        Contexts of equal text are shown once, at their strongest.
        """
        ready = self._prepare(where)
        with self._store.read() as cursor:
            found = get_source(cursor, source)
            check_feature(found, feature)
            passing = _read_places(cursor, found, feature, where, ready, _STRONGEST)
            every = np.arange(len(passing.token_no))
            contexts = _contexts(cursor, passing, every, found.code_shift, limit)
        return FilteredContexts(
            contexts, (), passing.n_examined, len(passing.token_no), passing.is_complete
        )

    def list_filtered_bands(
        self,
        source: str,
        feature: int,
        where: ContextFilter,
        n_bands: int = 5,
        per_band: int = 5,
    ) -> FilteredContexts:
        """Contexts from all over the values of what passes, the strongest band first.

        Each band has about the same number of the places that pass, equal values in one band.
        """
        ready = self._prepare(where)
        bands = []
        with self._store.read() as cursor:
            found = get_source(cursor, source)
            check_feature(found, feature)
            passing = _read_places(cursor, found, feature, where, ready, _SAMPLED)
            for rows in reversed(_bands(passing.code, max(n_bands, 1))):
                inside = passing.code[rows]
                low, high = to_values(
                    np.array([inside.min(), inside.max()], np.uint32), found.code_shift
                ).tolist()
                contexts = _contexts(cursor, passing, rows, found.code_shift, per_band)
                bands.append(ContextBand(low, high, len(rows), contexts))
        return FilteredContexts(
            (), tuple(bands), passing.n_examined, len(passing.token_no), passing.is_complete
        )

    def _prepare(self, where: ContextFilter) -> RunCondition:
        if where.role is not None and where.role not in ROLES:
            raise InvalidSpecError(
                "role", f"There is no role {where.role[:40]!r}.", f"Use one of {', '.join(ROLES)}."
            )
        if where.outcome is not None and not is_storable(where.outcome):
            raise InvalidSpecError("outcome", "The outcome is not valid Unicode text.")
        return prepare_run_filter(self._store, where.runs)


def _read_places(
    cursor: duckdb.DuckDBPyConnection,
    source: StoredSource,
    feature: int,
    where: ContextFilter,
    ready: RunCondition,
    order: str,
) -> _Passing:
    """The places that pass, among the first so many of the runs that do."""
    tables: dict[str, pa.Table] = {}
    if where.outcome is not None or ready.tree.root is not None:
        values = ready.condition.values | {
            "source_no": source.source_no,
            "outcome": where.outcome,
        }
        sql = _RUNS.format(condition=ready.condition.sql)
        tables["allowed"] = cursor.sql(sql, params=values).to_arrow_table()
    of_tokens = where.generated_only or where.role is not None
    sql = _PLACES.format(
        among="SEMI JOIN allowed ON allowed.run_no = p.run_no" if tables else "",
        passing=_PASSING if of_tokens else "",
        order=order,
    )
    values = {
        "slot": source.first_slot + feature,
        "passage_tokens": PASSAGE_TOKENS,
        "most": MAX_EXAMINED,
    }
    if of_tokens:
        values |= {"generated_only": where.generated_only, "role": where.role}
    with registered(cursor, **tables):
        table = cursor.sql(sql, params=values).to_arrow_table()
    n_examined = table.column("n_examined")[0].as_py()
    passing = table.drop_null()
    token_no, code = (passing.column(name).to_numpy() for name in ("token_no", "code"))
    return _Passing(token_no, code, n_examined)


def _contexts(
    cursor: duckdb.DuckDBPyConnection,
    passing: _Passing,
    rows: npt.NDArray[np.intp],
    shift: int,
    limit: int,
) -> tuple[Context, ...]:
    """The first contexts of different texts at these rows, one a run."""
    edges = [0, min(max(limit, 0) * _PLACES_A_CONTEXT, _MOST_READ), _MOST_READ]
    contexts: tuple[Context, ...] = ()
    for _, stop in pairwise(edges):
        best = read_contexts(cursor, passing.places(rows[:stop], shift))
        contexts = fold_contexts(best, limit)
        if len(contexts) >= limit or stop >= len(rows):
            break
    return contexts


def _bands(code: npt.NDArray[np.uint32], n_bands: int) -> list[npt.NDArray[np.intp]]:
    """Rows of bands of about equal numbers, the weakest first; equal codes are in one."""
    if not len(code):
        return []
    _, inverse, counts = np.unique(code, return_inverse=True, return_counts=True)
    up_to = np.cumsum(counts)
    band = (-(-up_to * n_bands // up_to[-1]))[inverse]
    return [np.flatnonzero(band == number) for number in np.unique(band)]
