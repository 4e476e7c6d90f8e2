"""Queries of users: what they return, where they are cut, and how they fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import sandbox
from store.connection import Store
from store.errors import QueryError
from store.query_places import QueryPlaces
from store.runs import RunRepository
from store.sandbox import run_query
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens

FOREVER = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One run, shared by the tests: a query cannot change it."""
    opened = Store.open(tmp_path_factory.mktemp("sandbox") / "store.duckdb")
    RunRepository(opened).insert_run(SOURCE, make_run(), make_tokens(), make_activations())
    yield opened
    opened.close()


def _refused(store: Store, sql: str, timeout_s: float = 10.0) -> QueryError:
    with pytest.raises(QueryError) as caught:
        run_query(store, sql, timeout_s=timeout_s)
    return caught.value


def test_a_query_reads_the_views(store: Store) -> None:
    result = run_query(store, "SELECT position, text FROM tokens ORDER BY position DESC LIMIT 2")
    assert [tuple(column) for column in result.columns] == [
        ("position", "INTEGER"),
        ("text", "VARCHAR"),
    ]
    assert result.rows == [(5, " w5"), (4, " w4")]
    assert (result.n_rows, result.truncated) == (2, False)
    assert result.elapsed_ms > 0


@pytest.mark.parametrize(
    "sql",
    [
        "-- how many\n/* runs */ SELECT count(*) FROM runs;",
        "FROM features WHERE feature = 7",
        "WITH t AS (SELECT * FROM tokens) SELECT text FROM t WHERE is_generated",
        "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t WHERE i < 5) FROM t",
        "SELECT text, row_number() OVER (ORDER BY logprob) FROM tokens QUALIFY row_number() OVER"
        " (ORDER BY logprob) < 3",
        "SELECT messages->0->>'role', prompt || ' ' || response FROM runs",
        "SELECT regexp_replace(text, 'w', 'v'), upper(text), lpad(text, 10, ' ') FROM tokens",
        "SELECT list_transform(list(value), lambda x: x * 2) FROM activations",
        "FROM (PIVOT tokens ON is_generated IN (true, false) USING count(*) GROUP BY role)",
        "SELECT role, count(*) FROM tokens GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL",
        "SELECT * FROM activations a JOIN tokens t USING (run_key, position) USING SAMPLE 5 ROWS",
        "SELECT view_name, comment FROM duckdb_views() WHERE NOT internal",
        "DESCRIBE runs",
        "SHOW TABLES",
        "SUMMARIZE tokens",
        "VALUES (1), (2)",
        "EXPLAIN SELECT count(*) FROM runs",
        "/* why */ explain FROM activations",
    ],
)
def test_what_an_analyst_writes_is_answered(store: Store, sql: str) -> None:
    assert run_query(store, sql).n_rows > 0


def test_rows_beyond_the_limit_are_cut_and_that_is_said(store: Store) -> None:
    cut = run_query(store, "FROM range(1000000000000)", max_rows=700)
    assert (cut.n_rows, cut.truncated, cut.rows[-1]) == (700, True, (699,))
    whole = run_query(store, "FROM range(700)", max_rows=700)
    assert (whole.n_rows, whole.truncated) == (700, False)


def test_a_result_too_large_for_memory_is_cut(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "MAX_RESULT_BYTES", 100_000)
    result = run_query(store, "SELECT repeat('x', 1000) FROM range(1000)")
    assert result.truncated
    assert 10 <= result.n_rows <= 100
    assert _refused(store, "SELECT repeat('x', 99000) || repeat('x', 99000)").kind in (
        "memory",
        "refused",
    )


def test_columns_of_one_name_are_told_apart(store: Store) -> None:
    result = run_query(store, "SELECT 1 AS a, 2 AS a, 3 AS a_1")
    assert len({name for name, _ in result.columns}) == 3
    assert result.rows == [(1, 2, 3)]


def test_a_query_that_takes_too_long_is_stopped_soon_after_its_limit(store: Store) -> None:
    started = time.perf_counter()
    error = _refused(store, FOREVER, timeout_s=0.3)
    assert error.kind == "timeout"
    assert error.hint
    assert time.perf_counter() - started < 3
    assert run_query(store, "SELECT 1").rows == [(1,)]


def test_one_query_that_runs_on_keeps_no_other_waiting(store: Store) -> None:
    slow = threading.Thread(target=_refused, args=(store, FOREVER, 2.0))
    slow.start()
    durations = []
    while slow.is_alive():
        started = time.perf_counter()
        assert run_query(store, "SELECT count(*) FROM runs").rows == [(1,)]
        durations.append(time.perf_counter() - started)
    slow.join()
    assert len(durations) > 3
    assert sorted(durations)[len(durations) // 2] < 1


def test_more_queries_than_places_wait_and_then_give_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = QueryPlaces(1)
    monkeypatch.setattr(sandbox, "_places", places)
    with places.take("another", 1.0, threading.Event()) as is_taken:
        assert is_taken
        error = _refused(store, "SELECT 1", timeout_s=0.1)
    assert (error.kind, error.hint) == ("timeout", "Try again in a moment.")
    assert run_query(store, "SELECT 1").n_rows == 1


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("", "syntax"),
        ("   -- nothing", "syntax"),
        ("SELEC 1", "syntax"),
        ("SELECT 'open", "syntax"),
        ("SELECT \ud800", "syntax"),
        ("SELECT nothing FROM runs", "syntax"),
        ("SELECT * FROM nowhere", "syntax"),
        ("SELECT no_such_function(1)", "syntax"),
        ("SELECT error('stop')", "runtime"),
        ("SELECT 'x'::INTEGER", "runtime"),
        ("SELECT 1; SELECT 2", "refused"),
    ],
)
def test_a_failure_is_one_sentence_of_its_kind(store: Store, sql: str, kind: str) -> None:
    error = _refused(store, sql)
    assert error.kind == kind
    assert error.message.endswith(".")
    assert "\n" not in error.message + error.hint


def test_no_error_says_where_the_store_lies(store: Store) -> None:
    for sql in (f"SELECT error('{store.path}')", "SELECT * FROM main.nowhere", "FROM '../x.csv'"):
        error = _refused(store, sql)
        assert str(store.path.parent) not in error.message + error.hint
        assert str(Path.home()) not in error.message + error.hint


def test_a_query_sees_no_variable_of_the_program(store: Store) -> None:
    secret = [1, 2, 3]
    for sql in ("SELECT * FROM secret", "SELECT secret", "SELECT $secret"):
        assert _refused(store, sql).kind in ("syntax", "refused")
    assert secret


def test_an_unknown_table_is_answered_with_the_names_of_the_views(store: Store) -> None:
    hint = _refused(store, "SELECT * FROM rnus").hint
    assert 'Did you mean "runs"?' in hint
    assert "The views are activations, answers" in hint


@pytest.mark.parametrize("sql", ["SELECT $1", "SELECT ?", "SELECT * FROM runs WHERE kind = $kind"])
def test_a_parameter_is_refused(store: Store, sql: str) -> None:
    error = _refused(store, sql)
    assert error.kind == "refused"
    assert "parameters" in error.message


def test_a_query_of_a_megabyte_is_refused_at_once(store: Store) -> None:
    started = time.perf_counter()
    error = _refused(store, "SELECT '" + "x" * 1_000_000 + "'")
    assert error.kind == "refused"
    assert "characters" in error.message
    assert time.perf_counter() - started < 1
