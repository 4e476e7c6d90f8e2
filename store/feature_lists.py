"""Lists of features: what people put together, with a note on each, shared under an id.

Invariant: a name is that of one list, whatever the case of its letters, so that a filter may use
it. Everybody adds and removes features; only its author renames or deletes a list.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa

from store.connection import Store
from store.errors import FeatureListNotFoundError, InvalidSpecError, NotTheAuthorError
from store.feature_records import FeatureList, FeatureListItem
from store.plain_text import author_name, checked_line
from store.rows import from_utc, to_utc
from store.sources import check_feature, get_source
from store.specs import is_storable

MAX_NAME_CHARS = 120
MAX_NOTE_CHARS = 2_000
MAX_ITEMS = 10_000
_ID_BYTES = 5

_SELECT = """
    SELECT list_id, name, note, created_by, created_at, updated_at, (
        SELECT count(*) FROM base.feature_list_items AS i WHERE i.list_id = l.list_id
    ) FROM base.feature_lists AS l
"""
_ITEMS = """
    SELECT source_id, feature, note, added_by, added_at
    FROM base.feature_list_items JOIN base.sources USING (source_no)
    WHERE list_id = $list_id AND ($source_no::INTEGER IS NULL OR source_no = $source_no::INTEGER)
    ORDER BY source_id, feature
"""
_ADD = """
    INSERT INTO base.feature_list_items (list_id, source_no, feature, note, added_by, added_at)
    SELECT $list_id, $source_no, feature, $note, $person, $added_at FROM incoming_items
"""
_REMOVE = """
    DELETE FROM base.feature_list_items
    WHERE list_id = ? AND source_no = ? AND feature IN (SELECT unnest(?::INTEGER[]))
"""


class FeatureListRepository:
    """Lists of one store; every method may be called from any thread.

    Every method that takes an id raises FeatureListNotFoundError if there is no such list.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def insert_list(self, name: str, author: str, note: str = "") -> FeatureList:
        """Makes an empty list.

        Raises:
            InvalidSpecError: if the name is empty, too long, or that of another list.
        """
        name, note = _checked(name, note)
        list_id = secrets.token_hex(_ID_BYTES)
        made_at = to_utc(datetime.now(UTC))
        with self._store.write() as cursor:
            _check_free(cursor, name, list_id)
            cursor.execute(
                "INSERT INTO base.feature_lists VALUES (?, ?, ?, ?, ?, NULL)",
                [list_id, name, note, author_name(author), made_at],
            )
            return _get(cursor, list_id)

    def get_list(self, wanted: str) -> FeatureList:
        """The list of this id, else of this name."""
        with self._store.read() as cursor:
            return _get(cursor, wanted)

    def list_lists(self, limit: int = 200) -> tuple[FeatureList, ...]:
        """All lists, the last made or renamed first."""
        with self._store.read() as cursor:
            rows = cursor.execute(
                _SELECT + "ORDER BY coalesce(updated_at, created_at) DESC, list_id LIMIT ?",
                [max(limit, 0)],
            ).fetchall()
        return tuple(map(_list, rows))

    def update_list(self, list_id: str, name: str, note: str, person: str) -> FeatureList:
        """Gives a list another name or note; its id, and so its link, stays.

        Raises:
            NotTheAuthorError: if the person did not make it.
            InvalidSpecError: if the name is empty, too long, or that of another list.
        """
        name, note = _checked(name, note)
        with self._store.write() as cursor:
            _check_author(_get(cursor, list_id), person)
            _check_free(cursor, name, list_id)
            cursor.execute(
                "UPDATE base.feature_lists SET name = ?, note = ?, updated_at = ?"
                " WHERE list_id = ?",
                [name, note, to_utc(datetime.now(UTC)), list_id],
            )
            return _get(cursor, list_id)

    def delete_list(self, list_id: str, person: str) -> None:
        """Deletes a list with all that is on it; its link says so from now on.

        Raises:
            NotTheAuthorError: if the person did not make it.
        """
        with self._store.write() as cursor:
            found = _get(cursor, list_id)
            _check_author(found, person)
            for table in ("feature_list_items", "feature_lists"):
                cursor.execute(f"DELETE FROM base.{table} WHERE list_id = ?", [found.list_id])

    def add_features(
        self, list_id: str, source: str, features: Sequence[int], person: str, note: str = ""
    ) -> int:
        """Puts features on a list; one that is on it gets the new note. Returns how many are new.

        Raises:
            SourceNotFoundError: if nothing of the source is stored.
            InvalidSpecError: if the source has no such feature, or the list would be too long.
        """
        note = checked_line("note", note, MAX_NOTE_CHARS, "The note", is_needed=False)
        wanted = sorted({int(feature) for feature in features})
        with self._store.write() as cursor:
            found = _get(cursor, list_id)
            at = get_source(cursor, source)
            for feature in wanted[:1] + wanted[-1:]:
                check_feature(at, feature)
            removed = cursor.execute(_REMOVE, [found.list_id, at.source_no, wanted]).fetchall()
            n_known = int(removed[0][0])
            if found.n_features - n_known + len(wanted) > MAX_ITEMS:
                raise InvalidSpecError(
                    "features",
                    f"A list holds at most {MAX_ITEMS:,} features.",
                    "Use a filter instead of a list, or make a second list.",
                )
            values = {
                "list_id": found.list_id,
                "source_no": at.source_no,
                "note": note,
                "person": author_name(person),
                "added_at": to_utc(datetime.now(UTC)),
            }
            cursor.register("incoming_items", pa.table({"feature": pa.array(wanted, pa.int32())}))
            cursor.execute(_ADD, values)
            cursor.unregister("incoming_items")
        return len(wanted) - n_known

    def remove_features(self, list_id: str, source: str, features: Sequence[int]) -> int:
        """Takes features off a list; returns how many were on it.

        Raises:
            SourceNotFoundError: if nothing of the source is stored.
        """
        with self._store.write() as cursor:
            found = _get(cursor, list_id)
            at = get_source(cursor, source)
            wanted = [int(feature) for feature in features]
            [(count,)] = cursor.execute(_REMOVE, [found.list_id, at.source_no, wanted]).fetchall()
        return int(count)

    def list_items(self, list_id: str, source: str | None = None) -> tuple[FeatureListItem, ...]:
        """What is on a list, by source and feature; of one source if one is given."""
        with self._store.read() as cursor:
            found = _get(cursor, list_id)
            source_no = None if source is None else get_source(cursor, source).source_no
            rows = cursor.execute(
                _ITEMS, {"list_id": found.list_id, "source_no": source_no}
            ).fetchall()
        return tuple(
            FeatureListItem(source_id, feature, note, added_by, from_utc(added_at))
            for source_id, feature, note, added_by, added_at in rows
        )


def _get(cursor: duckdb.DuckDBPyConnection, wanted: str) -> FeatureList:
    rows = []
    if is_storable(wanted):
        rows = cursor.execute(
            _SELECT + "WHERE list_id = $1 OR lower(name) = lower($1) ORDER BY list_id = $1 DESC",
            [wanted],
        ).fetchall()
    if not rows:
        raise FeatureListNotFoundError(wanted)
    return _list(rows[0])


def _list(row: tuple[Any, ...]) -> FeatureList:
    list_id, name, note, created_by, created_at, updated_at, n_features = row
    return FeatureList(
        list_id,
        name,
        note,
        created_by,
        from_utc(created_at),
        None if updated_at is None else from_utc(updated_at),
        n_features,
    )


def _checked(name: str, note: str) -> tuple[str, str]:
    return (
        checked_line("name", name, MAX_NAME_CHARS, "The name of the list"),
        checked_line("note", note, MAX_NOTE_CHARS, "The note", is_needed=False),
    )


def _check_free(cursor: duckdb.DuckDBPyConnection, name: str, list_id: str) -> None:
    taken = cursor.execute(
        "SELECT created_by FROM base.feature_lists"
        " WHERE list_id <> $2 AND (lower(name) = lower($1) OR list_id = $1)",
        [name, list_id],
    ).fetchall()
    if taken:
        raise InvalidSpecError(
            "name",
            f"There is a list {name!r} already, by {taken[0][0]}.",
            "Add to that one, or choose another name.",
        )


def _check_author(found: FeatureList, person: str) -> None:
    if found.created_by != author_name(person):
        raise NotTheAuthorError(found.created_by, "list")
