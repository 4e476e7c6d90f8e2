"""Brings a store's schema up to date: numbered SQL files, each applied once, then the views.

Invariant: after `migrate` the file has this version's tables and views, or is untouched: each file
of SQL is applied in one transaction with the note that it was. A store of a newer version, and a
DuckDB file that is no store, are refused and left as they are.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import duckdb

from store.errors import StoreUnusableError

_FOLDER = Path(__file__).with_name("migrations")
_VIEWS = "views.sql"
_VIEW = re.compile(r"^CREATE OR REPLACE VIEW (\w+)", re.MULTILINE)
_NUMBERED = re.compile(r"(?P<version>\d{3})_\w+\.sql")


REBUILT_FROM = 2
"""Files of older versions are not changed but written anew, beside a copy of them (rebuild.py)."""


def versions() -> tuple[tuple[int, Path], ...]:
    """The numbered files, in the order in which they apply."""
    found = ((_NUMBERED.fullmatch(file.name), file) for file in sorted(_FOLDER.glob("*.sql")))
    return tuple((int(match["version"]), file) for match, file in found if match is not None)


def view_names() -> tuple[str, ...]:
    """The public views, in the order in which they are made."""
    text = (_FOLDER / _VIEWS).read_text(encoding="utf-8")
    return tuple(_VIEW.findall(text))


def migrate(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Applies what the file lacks.

    Args:
        connection: the only one on the file.
        path: of the file, for messages.

    Raises:
        StoreUnusableError: if the file is of a newer version, or is no store.
        duckdb.Error: if the SQL cannot be applied; nothing of that file of SQL was then.
    """
    known = versions()
    stored = stored_version(connection, path)
    if 0 < stored < REBUILT_FROM:
        raise ValueError(f"A file of version {stored} is to be written anew first.")
    if stored > known[-1][0]:
        raise StoreUnusableError(
            str(path),
            f"The store {path} has schema version {stored}; this Featurebook knows {known[-1][0]}.",
            "Update Featurebook, or set FEATUREBOOK_STORE to another file.",
        )
    for version, file in known:
        if version > stored:
            _apply(connection, version, file)
    _apply_views(connection)


def stored_version(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """Of the schema; 0 for an empty file.

    Raises:
        StoreUnusableError: if it is no store.
    """
    rows = connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal"
    ).fetchall()
    if not rows:
        return 0
    if ("base", "migrations") not in rows:
        raise StoreUnusableError(
            str(path),
            f"The file {path} is a DuckDB database, but not a store of Featurebook.",
            "Set FEATUREBOOK_STORE to another file.",
        )
    [(version,)] = connection.execute("SELECT max(version) FROM base.migrations").fetchall()
    return int(version or 0)


def _apply(connection: duckdb.DuckDBPyConnection, version: int, file: Path) -> None:
    _transact(
        connection,
        file.read_text(encoding="utf-8"),
        "INSERT INTO base.migrations (version, name) VALUES (?, ?)",
        [version, file.stem],
    )


def _apply_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes the views anew when their text changed, in either direction of versions."""
    text = (_FOLDER / _VIEWS).read_text(encoding="utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()
    if connection.execute("SELECT digest FROM base.views_made").fetchall() == [(digest,)]:
        return
    _transact(connection, text, "UPDATE base.views_made SET digest = ?", [digest])


def _transact(
    connection: duckdb.DuckDBPyConnection, script: str, note: str, values: list[object]
) -> None:
    connection.execute("BEGIN TRANSACTION")
    try:
        connection.execute(script)
        connection.execute(note, values)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
