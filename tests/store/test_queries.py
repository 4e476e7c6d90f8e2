"""Saved queries and histories: who may change what, and what is kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from store.connection import Store
from store.errors import InvalidSpecError, NotTheAuthorError, QueryError, QueryNotFoundError
from store.queries import HISTORY_LENGTH, MAX_TITLE_CHARS, QueryRepository
from store.records import PastQuery
from store.sandbox import run_query

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
PAST = PastQuery("SELECT 1", 1.5, 1, False, None, NOW)


@pytest.fixture
def queries(store: Store) -> QueryRepository:
    return QueryRepository(store)


def test_a_saved_query_is_everyones_to_read(queries: QueryRepository, store: Store) -> None:
    saved = queries.insert_query("  How   many runs?\n", " SELECT count(*) FROM runs ", "ann")
    assert saved.title == "How many runs?"
    assert queries.get_query(saved.query_id) == saved
    assert queries.list_queries() == (saved,)
    rows = run_query(
        store, "SELECT query_id, title, sql, created_by, updated_at FROM saved_queries"
    )
    assert rows.rows == [
        (saved.query_id, "How many runs?", "SELECT count(*) FROM runs", "ann", None)
    ]


def test_only_its_author_changes_or_deletes_a_query(queries: QueryRepository) -> None:
    saved = queries.insert_query("One", "SELECT 1", "ann")
    with pytest.raises(NotTheAuthorError, match="ann"):
        queries.update_query(saved.query_id, "Two", "SELECT 2", "bob")
    with pytest.raises(NotTheAuthorError):
        queries.delete_query(saved.query_id, "bob")
    assert queries.get_query(saved.query_id) == saved
    changed = queries.update_query(saved.query_id, "Two", "SELECT 2", "ann")
    assert (changed.query_id, changed.title, changed.sql) == (saved.query_id, "Two", "SELECT 2")
    assert changed.updated_at is not None
    queries.delete_query(saved.query_id, "ann")
    with pytest.raises(QueryNotFoundError):
        queries.get_query(saved.query_id)


@pytest.mark.parametrize(
    ("title", "sql"),
    [
        ("", "SELECT 1"),
        ("  ", "SELECT 1"),
        ("x", ""),
        ("x" * (MAX_TITLE_CHARS + 1), "SELECT 1"),
        ("x", "y" * 20_001),
        ("\ud800", "SELECT 1"),
    ],
)
def test_a_query_without_title_or_text_is_not_saved(
    queries: QueryRepository, title: str, sql: str
) -> None:
    with pytest.raises(InvalidSpecError):
        queries.insert_query(title, sql, "ann")
    assert queries.list_queries() == ()


@pytest.mark.parametrize("query_id", ["", "none", "\ud800", "'; DROP TABLE base.runs; --"])
def test_an_id_of_nothing_is_said(queries: QueryRepository, query_id: str) -> None:
    with pytest.raises(QueryNotFoundError):
        queries.get_query(query_id)


def test_a_history_holds_each_statement_once_the_last_first(queries: QueryRepository) -> None:
    for index, sql in enumerate(["SELECT 1", "SELECT 2", "SELECT 1"]):
        queries.insert_past_query("ann", replace(PAST, sql=sql, ran_at=NOW + timedelta(0, index)))
    found = queries.list_past_queries("ann")
    assert [past.sql for past in found] == ["SELECT 1", "SELECT 2"]
    assert found[0].ran_at == NOW + timedelta(0, 2)


def test_a_history_spoils_no_cache(queries: QueryRepository, store: Store) -> None:
    before = store.data_version
    queries.insert_past_query("ann", PAST)
    assert store.data_version == before
    queries.insert_query("One", "SELECT 1", "ann")
    assert store.data_version > before


def test_a_history_ends_after_a_hundred(queries: QueryRepository) -> None:
    for index in range(HISTORY_LENGTH + 5):
        past = replace(PAST, sql=f"SELECT {index}", ran_at=NOW + timedelta(0, index))
        queries.insert_past_query("ann", past)
    found = queries.list_past_queries("ann", 10_000)
    assert len(found) == HISTORY_LENGTH
    assert found[0].sql == f"SELECT {HISTORY_LENGTH + 4}"


def test_a_history_is_one_persons(queries: QueryRepository, store: Store) -> None:
    queries.insert_past_query("ann", replace(PAST, failure="It was refused.", n_rows=None))
    assert queries.list_past_queries("bob") == ()
    queries.delete_past_queries("bob")
    assert queries.list_past_queries("ann")[0].failure == "It was refused."
    with pytest.raises(QueryError, match=r"base\.query_history"):
        run_query(store, "FROM base.query_history")
    queries.delete_past_queries("ann")
    assert queries.list_past_queries("ann") == ()
