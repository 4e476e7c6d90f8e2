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
from tests.store.hostile_statements import (
    EXPLOSIONS,
    PRIVATE,
    READS_OUTSIDE,
    SETTINGS_AND_PATHS,
    WRITES,
)
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One run, shared by all statements: it must stay as it is."""
    opened = Store.open(tmp_path_factory.mktemp("hostile") / "store.duckdb")
    RunRepository(opened).insert_run(SOURCE, make_run(), make_tokens(), make_activations())
    yield opened
    opened.close()


def state_of(store: Store) -> list[object]:
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


def test_there_are_many_and_each_is_another() -> None:
    statements = WRITES + READS_OUTSIDE + SETTINGS_AND_PATHS + PRIVATE + EXPLOSIONS
    assert len(set(statements)) == len(statements) >= 150


@pytest.mark.parametrize("sql", WRITES + READS_OUTSIDE + SETTINGS_AND_PATHS + PRIVATE)
def test_a_statement_that_reaches_beyond_reading_is_refused(store: Store, sql: str) -> None:
    before, files = state_of(store), set(store.path.parent.iterdir())
    with pytest.raises(QueryError) as caught:
        run_query(store, sql, timeout_s=2)
    assert caught.value.kind in ("refused", "syntax")
    assert state_of(store) == before
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
