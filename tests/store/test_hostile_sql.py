"""Hostile statements: each is refused or bounded, and none writes, reads a file or a setting."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.connection import Store
from store.errors import QueryError
from store.runs import RunRepository
from store.sandbox import run_query
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens

WRITES = (
    "WITH d AS (DELETE FROM base.runs RETURNING *) SELECT * FROM d",
    "WITH d AS (INSERT INTO base.hits VALUES (1, 'x', now()) RETURNING *) FROM d",
    "WITH d AS (UPDATE base.runs SET prompt = 'x' RETURNING *) SELECT count(*) FROM d",
    "SELECT * FROM (WITH d AS (DELETE FROM base.tokens RETURNING *) SELECT * FROM d)",
    "EXPLAIN WITH d AS (DELETE FROM base.runs RETURNING *) SELECT * FROM d",
    "COMMIT; DROP TABLE base.runs",
    "SELECT 1; COMMIT; DELETE FROM base.runs",
    "ROLLBACK; BEGIN; DELETE FROM base.runs; COMMIT",
    "DELETE FROM base.runs",
    "DROP VIEW runs",
    "TRUNCATE base.tokens",
    "CREATE TABLE t AS SELECT 1",
    "CREATE TEMP TABLE t AS SELECT 1",
    "CREATE OR REPLACE VIEW runs AS SELECT 1",
    "CREATE MACRO runs() AS 1",
    "ALTER TABLE base.runs ADD COLUMN x INTEGER",
    "INSERT INTO base.hits VALUES (1, 'x', now()) RETURNING *",
    "MERGE INTO base.runs USING base.runs AS r ON r.run_no = runs.run_no WHEN MATCHED THEN DELETE",
    "EXPLAIN ANALYZE SELECT 1",
    "EXPLAIN (ANALYZE, FORMAT JSON) SELECT 1",
    "EXPLAIN /* */ ANALYZE DELETE FROM base.runs",
    "EXPLAIN DELETE FROM base.runs",
    "SELECT * FROM query('DELETE FROM base.runs')",
    "SELECT * FROM query('WITH d AS (DELETE FROM base.runs RETURNING *) FROM d')",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "PREPARE p AS DELETE FROM base.runs",
    "EXECUTE p",
    "CALL force_checkpoint()",
    "FROM checkpoint()",
    "FROM force_checkpoint()",
    "CHECKPOINT",
    "VACUUM",
    "ANALYZE",
    "COMMENT ON VIEW runs IS 'x'",
    "SELECT nextval('s'), setval('s', 1)",
    "IMPORT DATABASE '/tmp'",
)
READS_OUTSIDE = (
    "COPY (SELECT 1) TO '/tmp/featurebook-hostile.csv'",
    "COPY base.runs FROM '/etc/passwd'",
    "EXPORT DATABASE '/tmp/featurebook-hostile'",
    "ATTACH '/tmp/featurebook-hostile.duckdb' AS x",
    "DETACH store",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/proc/self/environ')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM '/etc/hosts.csv'",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM read_json('/proc/self/status')",
    "SELECT * FROM parquet_metadata('/x.parquet')",
    "SELECT * FROM read_parquet('https://127.0.0.1/x.parquet')",
    "SELECT * FROM 'https://127.0.0.1/x.csv'",
    "SELECT * FROM read_duckdb('/x.duckdb')",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM pandas_scan(1)",
    "SELECT getenv('HOME')",
)
SETTINGS_AND_PATHS = (
    "SET memory_limit = '1TB'",
    "SET GLOBAL enable_external_access = true",
    "RESET memory_limit",
    "PRAGMA database_list",
    "PRAGMA threads = 64",
    "SET VARIABLE x = 1",
    "USE temp",
    "SELECT current_setting('temp_directory')",
    "SELECT * FROM duckdb_settings()",
    "SELECT path FROM duckdb_databases()",
    "SELECT * FROM duckdb_databases",
    "SELECT * FROM pragma_database_list",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM duckdb_logs",
    "SELECT * FROM pg_catalog.pg_settings",
    "SELECT * FROM query_table('duckdb_databases')",
    "SHOW DATABASES",
    "FROM enable_logging()",
    "FROM enable_profiling()",
)
NESTED = "(string_agg('[', '') || '1' || string_agg(']', ''))::JSON"
EXPLOSIONS = (
    "WITH RECURSIVE t AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM t) SELECT count(*) FROM t",
    "WITH RECURSIVE t AS (SELECT 'x' AS s UNION ALL SELECT s || s FROM t) SELECT length(s) FROM t",
    "SELECT count(*) FROM range(1000000000) a, range(1000000000) b",
    "SELECT max(hash(i)) FROM range(100000000000) t(i)",
    "SELECT repeat('x', 2000000000)",
    "SELECT ('x').repeat(2000000000)",
    "SELECT s.repeat(2000000000) FROM (SELECT 'x' AS s)",
    "SELECT repeat(repeat(repeat('x', 1000), 1000), 1000)",
    "SELECT repeat(s, 1000) FROM (SELECT repeat(s, 1000) AS s FROM (SELECT repeat('x', 1000) s))",
    "SELECT repeat('x', (SELECT 2000000000))",
    "SELECT lpad('x', 2000000000, 'y')",
    "SELECT format('{:2000000000d}', 1), printf('%2000000000d', 1)",
    "SELECT range(2000000000)",
    "SELECT len(generate_series(0, 2000000000))",
    "SELECT unnest(range(0, 2000000000))",
    "SELECT list_resize([1], 2000000000)",
    "SELECT bitstring('1', 2000000000)",
    "SELECT replace(repeat('a', 30000), 'a', repeat('b', 30000))",
    "SELECT length(s) FROM" + " (SELECT s || s AS s FROM" * 40 + " (SELECT 'x' AS s)" + ")" * 40,
    "SELECT s FROM" + " (SELECT [s, s] AS s FROM" * 40 + " (SELECT 1 AS s)" + ")" * 40,
    "WITH c0 AS (SELECT 1 AS x), "
    + ", ".join(f"c{i} AS (SELECT * FROM c{i - 1} a, c{i - 1} b)" for i in range(1, 30))
    + " SELECT count(*) FROM c29",
    "SELECT * FROM runs r0" + "".join(f" LEFT JOIN runs r{i} ON true" for i in range(1, 450)),
    "SELECT " + "(" * 9_000 + "1" + ")" * 9_000,
    "SELECT " + "not " * 4_000 + "true",
    "SELECT 1" + " UNION ALL SELECT 1" * 20_000,
    "SELECT " + "x" * 10_000_000,
    "SELECT * REPLACE (repeat('x', 2000000000) AS prompt) FROM runs",
    "SELECT columns(*)" + ", columns(*)" * 1_500 + " FROM runs",
    "SELECT list_distinct(list(range)) FROM range(50000000)",
    "SELECT list_unique(l) FROM (SELECT list(range) AS l FROM range(50000000))",
    "SELECT replace(string_agg('x', ''), 'x', repeat('y', 1000)) FROM range(100000000)",
    "SELECT reservoir_quantile(range, 0.5, 2000000000) FROM range(1000)",
    f"SELECT json_contains({NESTED}, {NESTED}) FROM range(1000000)",
    f"SELECT {NESTED}::VARIANT FROM range(1000000)",
    f"SELECT TRY_CAST({NESTED} AS STRUCT(a VARIANT[])) FROM range(1000000)",
    f"SELECT variant_keys({NESTED}) FROM range(1000000)",
    f"SELECT json_structure({NESTED}) FROM range(1000000)",
    "SELECT sleep_ms(60000)",
    "SELECT pg_sleep(60)",
    "SELECT error(repeat('x', 90000))",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One run, shared by all statements: it must stay as it is."""
    opened = Store.open(tmp_path_factory.mktemp("hostile") / "store.duckdb")
    RunRepository(opened).insert_run(SOURCE, make_run(), make_tokens(), make_activations())
    yield opened
    opened.close()


def _state(store: Store) -> list[object]:
    """Everything that a statement could change."""
    with store.read() as cursor:
        return [
            cursor.execute(sql).fetchall()
            for sql in (
                "SELECT * FROM runs",
                "SELECT count(*), sum(value) FROM activations",
                "SELECT count(*) FROM base.tokens",
                "SELECT count(*) FROM hits",
                "SELECT name, value FROM duckdb_settings() ORDER BY name",
                "SELECT schema_name, table_name, column_count FROM duckdb_tables() ORDER BY ALL",
                "SELECT view_name, sql, comment FROM duckdb_views() ORDER BY ALL",
            )
        ]


@pytest.mark.parametrize("sql", WRITES + READS_OUTSIDE + SETTINGS_AND_PATHS)
def test_a_statement_that_reaches_beyond_reading_is_refused(store: Store, sql: str) -> None:
    before, files = _state(store), set(store.path.parent.iterdir())
    with pytest.raises(QueryError) as caught:
        run_query(store, sql, timeout_s=2)
    assert caught.value.kind in ("refused", "syntax")
    assert _state(store) == before
    assert set(store.path.parent.iterdir()) == files
    assert not list(Path("/tmp").glob("featurebook-hostile*"))


@pytest.mark.parametrize("sql", EXPLOSIONS, ids=lambda sql: sql[:60])
def test_a_statement_that_explodes_is_bounded(store: Store, sql: str) -> None:
    started = time.perf_counter()
    with pytest.raises(QueryError) as caught:
        run_query(store, sql, timeout_s=0.3)
    assert len(caught.value.message + caught.value.hint) < 1_000
    assert time.perf_counter() - started < 10
    assert run_query(store, "SELECT count(*) FROM runs").rows == [(1,)]
