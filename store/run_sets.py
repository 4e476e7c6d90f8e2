"""Sets of runs, chosen by a filter: how many they are, and their keys.

Invariant: what a filter means is the same wherever it is given: in a list, in a comparison, as a
condition on contexts. SQL in it is read through the sandbox, as on the page for queries.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import pyarrow as pa

from store.connection import Store
from store.errors import InvalidSpecError
from store.filter_sql import Condition, to_sql
from store.filters import FilterTree, parse_filter
from store.sandbox import run_query
from store.sources import get_source

MAX_SQL_KEYS = 1_000_000
"""Most runs that SQL in a filter may name."""
_SQL_TIMEOUT_S = 10.0

_FROM = "FROM base.runs AS r JOIN base.sources AS s USING (source_no)"


@dataclass(frozen=True, slots=True)
class RunCondition:
    """A filter of runs that is ready to be read with: its SQL was run already."""

    tree: FilterTree
    condition: Condition


class RunSetRepository:
    """Sets of runs of one store; every method may be called from any thread.

    Every method raises InvalidSpecError for a filter that cannot be read, QueryError for SQL in it
    that is refused or fails, and SourceNotFoundError if nothing of the source is stored.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def count_runs(self, where: str = "", source: str | None = None) -> int:
        """How many runs pass a filter.

        Args:
            where: a filter of runs; an empty one lets all pass.
            source: id or name; None for runs of all sources.
        """
        ready = prepare_run_filter(self._store, where)
        with self._store.read() as cursor:
            condition, values = _where(cursor, ready, source)
            [(count,)] = cursor.execute(
                f"SELECT count(*) {_FROM} WHERE {condition}", values
            ).fetchall()
        return int(count)

    def list_run_keys(
        self, where: str = "", source: str | None = None, limit: int | None = None
    ) -> tuple[str, ...]:
        """The keys of the runs that pass a filter, the newest first."""
        ready = prepare_run_filter(self._store, where)
        with self._store.read() as cursor:
            condition, values = _where(cursor, ready, source)
            rows = cursor.execute(
                f"SELECT r.run_key {_FROM} WHERE {condition}"
                " ORDER BY r.created_at DESC, r.run_no DESC LIMIT $most",
                values | {"most": 2**62 if limit is None else max(limit, 0)},
            ).fetchall()
        return tuple(key for (key,) in rows)


def prepare_run_filter(store: Store, where: str) -> RunCondition:
    """Reads a filter of runs, and runs the SQL that is in it.

    Raises:
        InvalidSpecError: if it cannot be read, or SQL in it names no runs.
        QueryError: if SQL in it is refused, fails, or takes too long.
    """
    tree = parse_filter(where, "runs")
    statements = dict.fromkeys(str(term.value) for term in tree.terms("sql"))
    return RunCondition(tree, to_sql(tree, {sql: _run_keys(store, sql) for sql in statements}))


def select_run_nos(
    cursor: duckdb.DuckDBPyConnection, ready: RunCondition, source_no: int
) -> pa.Table:
    """The numbers of a source's runs that pass, rising: one column, run_no."""
    return cursor.sql(
        f"SELECT r.run_no {_FROM} WHERE r.source_no = $source_no AND {ready.condition.sql}"
        " ORDER BY r.run_no",
        params=ready.condition.values | {"source_no": source_no},
    ).to_arrow_table()


def _where(
    cursor: duckdb.DuckDBPyConnection, ready: RunCondition, source: str | None
) -> tuple[str, dict[str, object]]:
    sql, values = ready.condition.sql, ready.condition.values
    if source is None:
        return sql, values
    found = get_source(cursor, source)
    return f"r.source_no = $source_no AND {sql}", values | {"source_no": found.source_no}


def _run_keys(store: Store, sql: str) -> tuple[str, ...]:
    """The column run_key of what a statement returns."""
    result = run_query(store, sql, max_rows=MAX_SQL_KEYS, timeout_s=_SQL_TIMEOUT_S)
    names = [column.name for column in result.columns]
    if "run_key" not in names:
        raise InvalidSpecError(
            "filter",
            "The SQL in the filter returns no column run_key.",
            "Begin it with SELECT run_key FROM ...",
        )
    if result.truncated:
        raise InvalidSpecError(
            "filter",
            f"The SQL in the filter returns more than {MAX_SQL_KEYS:,} runs.",
            "Add a condition to it.",
        )
    column = result.table.column(names.index("run_key")).cast(pa.string())
    return tuple(key for key in column.to_pylist() if key is not None)
