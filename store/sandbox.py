"""One untrusted SELECT, with row, time and memory limits: the way in for queries of users.

Invariant: what runs is the statement that the guard saw parsed, in a read-only transaction that is
always rolled back, on the locked-down instance; nothing is written, no file read, no setting
changed. Whatever goes wrong leaves as a QueryError without a path of the server in it.
"""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from store.connection import Store
from store.errors import QueryError
from store.memory_watch import must_stop
from store.query_places import QueryPlaces
from store.sql_guard import check_statement

MAX_RESULT_BYTES = 64 * 2**20
"""Most that a result may take in memory, as Arrow; what is beyond is cut off like rows are."""

MAX_AT_ONCE = 4
"""Queries that run at one moment in a process: they share DuckDB's memory and threads."""

_BATCH_ROWS = 256
_LOOK_EVERY_S = 0.05

_MAX_MESSAGE_CHARS = 400
_NAME = re.compile(r'"(?:[^"]|"")*"')
_AS_TEXT = re.compile(
    r"\b(?:BIT|TIME WITH TIME ZONE|VARIANT|BIGNUM|UHUGEINT|INTERVAL|UNION)\b"
    r"|\bSTRUCT(?!\()|\bTUPLE(?!\(.)|\bTUPLE\(\)|\bMAP\(,"
)
_MESSAGE = re.compile(r"(?P<category>[\w ]+?) Error: (?P<text>.*)", re.DOTALL)
_KINDS = {
    "Parser": "syntax",
    "Syntax": "syntax",
    "Binder": "syntax",
    "Catalog": "syntax",
    "Permission": "refused",
}

_UNKNOWN_TABLE = "Catalog Error: Table with name "

_ENDS_OF_TIME = {
    2**63 - 1: "infinity",
    1 - 2**63: "-infinity",
    2**31 - 1: "infinity",
    1 - 2**31: "-infinity",
}
"""DuckDB's codes of them in timestamps and dates."""

_places = QueryPlaces(MAX_AT_ONCE)


class Column(NamedTuple):
    """Name of a column, and DuckDB's name of its type, such as `DECIMAL(18,3)`."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class QueryResult:
    """What a query returned.

    Attributes:
        table: the rows as Arrow; column names are unique (`a`, `a_1`).
        columns: name and type of each column, in order.
        truncated: whether there were more rows than were asked for, or more than fit.
        elapsed_ms: from the parse to the last row, waiting for its turn included.
    """

    table: pa.Table
    columns: tuple[Column, ...]
    truncated: bool
    elapsed_ms: float

    @property
    def n_rows(self) -> int:
        """Rows returned."""
        return int(self.table.num_rows)

    def slice(self, first: int, n_rows: int) -> QueryResult:
        """Some of the rows; they are not copied."""
        return replace(self, table=self.table.slice(first, n_rows))

    @property
    def rows(self) -> list[tuple[object, ...]]:
        """The rows as Python values, made anew at each call.

        A time that Python has no form for is text: `infinity`, or `out of range`.
        """
        return list(zip(*(to_values(column) for column in self.table.columns), strict=True))


def run_query(
    store: Store,
    sql: str,
    max_rows: int = 10_000,
    timeout_s: float = 10.0,
    client: str | None = None,
    stop: threading.Event | None = None,
) -> QueryResult:
    """Runs one SELECT, or EXPLAIN of one, on a thread of its own, and waits for it.

    Args:
        store: what it reads.
        sql: as typed by anyone.
        max_rows: most rows returned, 1 or more.
        timeout_s: seconds until the query is interrupted, waiting for its turn included. A single
            call of a function on a value is not interrupted; the guard bounds what it can make.
        client: who asks: at most half of all places are for one.
        stop: setting it ends the query.

    Raises:
        QueryError: of kind `syntax` (not valid SQL, or no such table or column), `refused` (not
            allowed here), `timeout`, `cancelled`, `memory`, or `runtime` (failed on the data).
        StoreUnusableError: if the store's file cannot be read.
    """
    started = time.perf_counter()
    stop = stop or threading.Event()
    with _places.take(client, timeout_s, stop) as is_taken:
        if stop.is_set():
            raise _cancelled()
        if not is_taken:
            raise QueryError(
                "timeout",
                f"Other queries were still running after {timeout_s:g} s.",
                "Try again in a moment.",
            )
        end = started + timeout_s
        return _places.run(lambda: _run(store, sql, max_rows, started, end, stop), stop)


def _run(
    store: Store, sql: str, max_rows: int, started: float, end: float, stop: threading.Event
) -> QueryResult:
    statement = _parse(store, sql)
    with (
        store.read() as cursor,
        _translated(store),
        _limits(store, cursor.interrupt, end - time.perf_counter(), stop),
    ):
        # Not execute(): Arrow out of its result is a second copy of every row.
        relation = _with_plain_types(cursor.sql(statement))
        names = _unique(relation.columns)
        types = [str(kind) for kind in relation.types]
        reader = relation.to_arrow_reader(_BATCH_ROWS)
        table, truncated = _fetch(reader, max(max_rows, 1))
        # Both hold on to the transaction that ends now.
        reader.close()
        del reader, relation
    return QueryResult(
        table=table.rename_columns(names),
        columns=tuple(map(Column, names, types)),
        truncated=truncated,
        elapsed_ms=(time.perf_counter() - started) * 1000,
    )


def _cancelled() -> QueryError:
    return QueryError("cancelled", "The query was cancelled.")


def _parse(store: Store, sql: str) -> duckdb.Statement:
    """The statement that the guard lets through, parsed on a cursor that runs nothing of it."""
    with store.read() as parser, _translated(store):
        statement = check_statement(parser, sql)
    if statement.named_parameters:
        raise QueryError(
            "refused", "The query has parameters ($1 or ?).", "Write their values into it."
        )
    return statement


def _with_plain_types(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Columns of types that Arrow or Parquet would lose something of, as DuckDB's text of them."""
    kinds = [_NAME.sub("", str(kind)) for kind in relation.types]
    if not any(_AS_TEXT.search(kind) for kind in kinds):
        return relation
    return relation.project(
        ", ".join(
            f"#{index}::VARCHAR AS {_quoted(name)}" if _AS_TEXT.search(kind) else f"#{index}"
            for index, (name, kind) in enumerate(zip(relation.columns, kinds, strict=True), 1)
        )
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _unique(names: Sequence[str]) -> list[str]:
    """Each name once: `a`, `a_1`, `a_2`; pandas, Parquet and people need that."""
    taken: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 0
        while candidate in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.add(candidate)
        unique.append(candidate)
    return unique


def _fetch(reader: pa.RecordBatchReader, max_rows: int) -> tuple[pa.Table, bool]:
    """Rows up to the limits, and whether there are more."""
    batches: list[pa.RecordBatch] = []
    n_rows = n_bytes = 0
    truncated = False
    for batch in reader:
        n_fit = min(batch.num_rows, max_rows - n_rows)
        while n_fit and n_bytes + batch.slice(0, n_fit).nbytes > MAX_RESULT_BYTES:
            n_fit //= 2
        if n_fit < batch.num_rows:
            truncated = True
            # Copied: a slice would keep the whole batch in memory.
            batch = batch.take(pa.array(range(n_fit), pa.int64()))
        batches.append(batch)
        n_rows, n_bytes = n_rows + batch.num_rows, n_bytes + batch.nbytes
        if truncated:
            break
    if truncated and not n_rows:
        raise QueryError(
            "memory",
            f"One row of the result is larger than {MAX_RESULT_BYTES >> 20} MiB.",
            "Select less of it, for example with left(text, 1000).",
        )
    return pa.Table.from_batches(batches, reader.schema), truncated


@contextmanager
def _limits(
    store: Store, interrupt: Callable[[], None], limit_s: float, stop: threading.Event
) -> Iterator[None]:
    """Interrupts what runs inside after limit_s, when stop is set, or where memory is short.

    It does so again until it ends: an interrupt just before a statement starts is forgotten.

    Raises:
        QueryError: `timeout`, `cancelled` or `memory`, instead of what the interrupt caused.
    """
    ended = threading.Event()
    reasons: list[QueryError] = []
    end = time.monotonic() + limit_s

    def reason() -> QueryError | None:
        if stop.is_set():
            return _cancelled()
        if time.monotonic() >= end:
            return QueryError(
                "timeout",
                f"The query was stopped after {limit_s:.3g} s.",
                "Ask for less: filter by run_key or source_id, or sample with USING SAMPLE.",
            )
        return _out_of_memory() if must_stop(store) else None

    def watch() -> None:
        while not ended.wait(min(max(end - time.monotonic(), 0.0), _LOOK_EVERY_S)):
            found = None if reasons else reason()
            if found is not None:
                reasons.append(found)
            if reasons:
                interrupt()
                ended.wait(_LOOK_EVERY_S)

    watcher = threading.Thread(target=watch, name="query-limits", daemon=True)
    watcher.start()
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError, MemoryError) as error:
        if not reasons:
            raise
        raise reasons[0] from error
    finally:
        ended.set()
        watcher.join()


def _out_of_memory() -> QueryError:
    return QueryError(
        "memory",
        "The query needs more memory than a query may use.",
        "Ask for less at once: filter, aggregate, or add LIMIT.",
    )


def to_values(column: pa.ChunkedArray) -> list[object]:
    """The values of a column as Python has them; a time that it has no form for is text."""
    try:
        values: list[object] = column.to_pylist()
    except (OverflowError, ValueError):
        values = [_python_value(value) for value in column]
    return values


def _python_value(scalar: pa.Scalar) -> object:
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        code = scalar.value if pa.types.is_temporal(scalar.type) else 0
        return _ENDS_OF_TIME.get(code, "out of range")


@contextmanager
def _translated(store: Store) -> Iterator[None]:
    """What DuckDB says of a query, as a QueryError; what it says of its file passes.

    Arrow hands on errors that arise while rows are fetched as its own, with DuckDB's text.
    """
    try:
        yield
    except duckdb.FatalException:
        raise
    except (duckdb.Error, pa.ArrowException, OSError, MemoryError) as error:
        failure = _query_error(error, store.path)
        if _UNKNOWN_TABLE in str(error):
            failure.hint = f"{failure.hint} The views are {_view_names(store)}.".strip()
        raise failure from error


def _view_names(store: Store) -> str:
    with store.read() as cursor:
        rows = cursor.execute(
            "SELECT view_name FROM duckdb_views() WHERE schema_name = 'main' AND NOT internal"
            " ORDER BY view_name"
        ).fetchall()
    return ", ".join(name for (name,) in rows)


def _query_error(error: Exception, path: Path) -> QueryError:
    if isinstance(error, duckdb.InternalException):
        # Its text is a trace of the server. The store looks whether its instance survived.
        return QueryError(
            "runtime",
            "DuckDB failed on this query by a fault of its own.",
            "Write the query another way.",
        )
    found = _MESSAGE.match(str(error))
    category, text = (found["category"], found["text"]) if found else ("", str(error))
    if isinstance(error, MemoryError) or category == "Out of Memory" or "offload" in text:
        return _out_of_memory()
    if "read-only mode" in text:
        return QueryError("refused", "The query would write: this only reads.")
    if text.startswith("Values were not provided"):
        return QueryError(
            "syntax", "The query has parameters without values.", "Write the values out."
        )
    first, *rest = (line.strip() for line in text.splitlines() if line.strip())
    hints = itertools.takewhile(lambda line: not line.startswith("LINE "), rest)
    return QueryError(
        _KINDS.get(category, "runtime"),
        _cleaned(first, path) + ".",
        _cleaned(" ".join(hints), path),
    )


def _cleaned(text: str, path: Path) -> str:
    """Without where the store lies on this machine."""
    for place in (str(path), str(path.parent), str(Path.home())):
        if len(place) > 1:
            text = text.replace(place, "…")
    return text[:_MAX_MESSAGE_CHARS].rstrip(".!")
