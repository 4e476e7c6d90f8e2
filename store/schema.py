"""The public views, as the store itself describes them: for schema panels, completion and tests.

Invariant: the descriptions, and the order, live in the SQL that makes the views, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass

from store.connection import Store
from store.migrations import view_names


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """One column of a view: DuckDB's name of its type, and one line on what it means."""

    name: str
    type: str
    comment: str


@dataclass(frozen=True, slots=True)
class ViewInfo:
    """One public view: one line on what a row of it is, and its columns in order."""

    name: str
    comment: str
    columns: tuple[ColumnInfo, ...]


def list_views(store: Store) -> tuple[ViewInfo, ...]:
    """The public views, in the order in which their SQL makes them.

    Raises:
        StoreUnusableError: if the file cannot be read.
    """
    with store.read() as cursor:
        views = cursor.execute(
            """
            SELECT view_name, coalesce(comment, '') FROM duckdb_views()
            WHERE schema_name = 'main' AND NOT internal
            """
        ).fetchall()
        columns = cursor.execute(
            """
            SELECT table_name, column_name, data_type, coalesce(comment, '') FROM duckdb_columns()
            WHERE schema_name = 'main' AND NOT internal ORDER BY table_oid, column_index
            """
        ).fetchall()
    order = {name: index for index, name in enumerate(view_names())}
    return tuple(
        ViewInfo(
            name, comment, tuple(ColumnInfo(*column[1:]) for column in columns if column[0] == name)
        )
        for name, comment in sorted(views, key=lambda view: order.get(view[0], len(order)))
    )
