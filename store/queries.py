"""Queries: those that people saved for everyone, and the history that each person has alone.

Invariant: a saved query is changed and deleted by its author only; a history is read by the person
whose it is, and holds each statement once, the last HISTORY_LENGTH of them.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from store.connection import Store
from store.errors import InvalidSpecError, NotTheAuthorError, QueryNotFoundError
from store.records import PastQuery, SavedQuery
from store.rows import from_utc, to_utc
from store.specs import is_storable
from store.sql_guard import MAX_SQL_CHARS

MAX_TITLE_CHARS = 120
HISTORY_LENGTH = 100
_ID_BYTES = 5
_COLUMNS = "query_id, title, sql, created_by, created_at, updated_at"


class QueryRepository:
    """Saved queries and histories of one store; every method may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def insert_query(self, title: str, sql: str, author: str) -> SavedQuery:
        """Saves a query for everyone.

        Raises:
            InvalidSpecError: if title or statement is empty, too long, or no valid text.
        """
        title, sql = _checked(title, sql)
        query = SavedQuery(secrets.token_hex(_ID_BYTES), title, sql, author, datetime.now(UTC))
        with self._store.write() as cursor:
            cursor.execute(
                f"INSERT INTO base.saved_queries ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, NULL)",
                [query.query_id, title, sql, author, to_utc(query.created_at)],
            )
        return query

    def get_query(self, query_id: str) -> SavedQuery:
        """One saved query.

        Raises:
            QueryNotFoundError: if there is none of this id.
        """
        rows = []
        if is_storable(query_id):
            with self._store.read() as cursor:
                rows = cursor.execute(
                    f"SELECT {_COLUMNS} FROM base.saved_queries WHERE query_id = ?", [query_id]
                ).fetchall()
        if not rows:
            raise QueryNotFoundError(query_id)
        return _saved(rows[0])

    def list_queries(self, limit: int = 200) -> tuple[SavedQuery, ...]:
        """Saved queries of everyone, the last saved or changed first."""
        with self._store.read() as cursor:
            rows = cursor.execute(
                f"SELECT {_COLUMNS} FROM base.saved_queries"
                " ORDER BY coalesce(updated_at, created_at) DESC, query_id LIMIT ?",
                [limit],
            ).fetchall()
        return tuple(_saved(row) for row in rows)

    def update_query(self, query_id: str, title: str, sql: str, person: str) -> SavedQuery:
        """Gives a saved query another title or statement; its id, and so its link, stays.

        Raises:
            QueryNotFoundError: if there is none of this id.
            NotTheAuthorError: if the person did not save it.
            InvalidSpecError: if title or statement is empty, too long, or no valid text.
        """
        title, sql = _checked(title, sql)
        self._check_author(query_id, person)
        with self._store.write() as cursor:
            cursor.execute(
                "UPDATE base.saved_queries SET title = ?, sql = ?, updated_at = ?"
                " WHERE query_id = ? AND created_by = ?",
                [title, sql, to_utc(datetime.now(UTC)), query_id, person],
            )
        return self.get_query(query_id)

    def delete_query(self, query_id: str, person: str) -> None:
        """Deletes a saved query; its link says so from now on.

        Raises:
            QueryNotFoundError: if there is none of this id.
            NotTheAuthorError: if the person did not save it.
        """
        self._check_author(query_id, person)
        with self._store.write() as cursor:
            cursor.execute(
                "DELETE FROM base.saved_queries WHERE query_id = ? AND created_by = ?",
                [query_id, person],
            )

    def insert_past_query(self, person: str, past: PastQuery) -> None:
        """Notes that a person ran a query; an older note of the same statement goes."""
        with self._store.write(is_counted=False) as cursor:
            cursor.execute(
                "DELETE FROM base.query_history WHERE person = $1 AND (sql = $2 OR ran_at < ("
                "SELECT ran_at FROM base.query_history WHERE person = $1"
                " ORDER BY ran_at DESC LIMIT 1 OFFSET $3))",
                [person, past.sql, HISTORY_LENGTH - 2],
            )
            cursor.execute(
                "INSERT INTO base.query_history"
                " (person, sql, elapsed_ms, n_rows, truncated, failure, ran_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    person,
                    past.sql,
                    past.elapsed_ms,
                    past.n_rows,
                    past.truncated,
                    past.failure,
                    to_utc(past.ran_at),
                ],
            )

    def list_past_queries(self, person: str, limit: int = HISTORY_LENGTH) -> tuple[PastQuery, ...]:
        """What a person ran, the last first."""
        with self._store.read() as cursor:
            rows = cursor.execute(
                "SELECT sql, elapsed_ms, n_rows, truncated, failure, ran_at"
                " FROM base.query_history WHERE person = ? ORDER BY ran_at DESC LIMIT ?",
                [person, limit],
            ).fetchall()
        return tuple(
            PastQuery(sql, elapsed_ms, n_rows, truncated, failure, from_utc(ran_at))
            for sql, elapsed_ms, n_rows, truncated, failure, ran_at in rows
        )

    def delete_past_queries(self, person: str) -> None:
        """Forgets all that a person ran."""
        with self._store.write(is_counted=False) as cursor:
            cursor.execute("DELETE FROM base.query_history WHERE person = ?", [person])

    def _check_author(self, query_id: str, person: str) -> None:
        author = self.get_query(query_id).created_by
        if author != person:
            raise NotTheAuthorError(author)


def _saved(row: tuple[str, str, str, str, datetime, datetime | None]) -> SavedQuery:
    query_id, title, sql, author, created_at, updated_at = row
    return SavedQuery(
        query_id,
        title,
        sql,
        author,
        from_utc(created_at),
        None if updated_at is None else from_utc(updated_at),
    )


def _checked(title: str, sql: str) -> tuple[str, str]:
    title, sql = " ".join(title.split()), sql.strip()
    for field, text, most in (("title", title, MAX_TITLE_CHARS), ("sql", sql, MAX_SQL_CHARS)):
        if not text:
            raise InvalidSpecError(field, f"A saved query needs a {field}.", "Write one.")
        if len(text) > most:
            raise InvalidSpecError(
                field, f"The {field} has more than {most:,} characters.", "Shorten it."
            )
        if not is_storable(text):
            raise InvalidSpecError(field, f"The {field} is not valid Unicode text.")
    return title, sql
