"""Sources by name or id, as links and the command line give them.

Invariant: a name means the newest source that has it; an id means exactly one.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from store.connection import Store
from store.errors import SourceNotFoundError
from store.specs import is_storable


@dataclass(frozen=True, slots=True)
class StoredSource:
    """What other repositories need of a source. `source_no` never leaves the store."""

    source_no: int
    source_id: str
    d_sae: int


def list_source_ids(store: Store) -> tuple[str, ...]:
    """The ids of all sources that have left runs, the newest first."""
    with store.read() as cursor:
        rows = cursor.execute(
            "SELECT source_id FROM base.sources ORDER BY created_at DESC, source_no DESC"
        ).fetchall()
    return tuple(source_id for (source_id,) in rows)


def get_source(cursor: duckdb.DuckDBPyConnection, source: str) -> StoredSource:
    """The source with this id, else the newest one of this name.

    Raises:
        SourceNotFoundError: if there is neither.
    """
    if is_storable(source):
        row = cursor.execute(
            """
            SELECT source_no, source_id, d_sae FROM base.sources WHERE source_id = $1 OR name = $1
            ORDER BY source_id = $1 DESC, created_at DESC, source_no DESC LIMIT 1
            """,
            [source],
        ).fetchone()
        if row is not None:
            return StoredSource(*row)
    raise SourceNotFoundError(source)
