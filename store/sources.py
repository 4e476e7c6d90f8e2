"""Sources by name or id, as links and the command line give them; and their rows.

Invariant: a name means the newest source that has it; an id means exactly one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import duckdb

from store.codes import code_shift
from store.errors import InvalidSpecError, SourceNotFoundError
from store.keys import source_id
from store.rows import to_utc
from store.specs import SourceSpec, is_storable

_MAX_SLOTS = 2**31


@dataclass(frozen=True, slots=True)
class StoredSource:
    """What other repositories need of a source. `source_no` never leaves the store."""

    source_no: int
    source_id: str
    d_sae: int
    code_shift: int
    first_slot: int


def get_source(cursor: duckdb.DuckDBPyConnection, source: str) -> StoredSource:
    """The source with this id, else the newest one of this name.

    Raises:
        SourceNotFoundError: if there is neither.
    """
    if is_storable(source):
        rows = cursor.execute(
            """
            SELECT source_no, source_id, d_sae, code_shift, first_slot FROM base.sources
            WHERE source_id = $1 OR name = $1
            ORDER BY source_id = $1 DESC, created_at DESC, source_no DESC LIMIT 1
            """,
            [source],
        ).fetchall()
        if rows:
            return StoredSource(*rows[0])
    raise SourceNotFoundError(source)


def check_feature(source: StoredSource, feature: int) -> None:
    """Refuses a feature that the source's SAE does not have.

    Raises:
        InvalidSpecError: says which ones it has.
    """
    if not 0 <= feature < source.d_sae:
        raise InvalidSpecError(
            "feature",
            f"The source {source.source_id[:80]!r} has no feature {feature}.",
            f"Its features are 0 to {source.d_sae - 1}." if source.d_sae else "It has no SAE.",
        )


def ensure_source(
    cursor: duckdb.DuckDBPyConnection, source: SourceSpec, made_at: datetime
) -> StoredSource:
    """The source's row, which is made if it is missing.

    Args:
        cursor: of a writing transaction.
        source: what it is.
        made_at: when its first run was computed.

    Raises:
        InvalidSpecError: if there is no room for its features.
    """
    identity, shift = source_id(source), code_shift(source.model.dtype)
    rows = cursor.execute(
        "SELECT source_no, first_slot FROM base.sources WHERE source_id = ?", [identity]
    ).fetchall()
    if rows:
        return StoredSource(rows[0][0], identity, source.d_sae, shift, rows[0][1])
    [(source_no, first_slot)] = cursor.execute(
        """
        SELECT coalesce(max(source_no), 0) + 1, coalesce(max(first_slot::BIGINT + d_sae), 0)
        FROM base.sources
        """
    ).fetchall()
    if first_slot + source.d_sae > _MAX_SLOTS:
        raise InvalidSpecError(
            "source",
            "The store has too many sources: no numbers are left for their features.",
            "Set FEATUREBOOK_STORE to another file.",
        )
    values = [
        source_no,
        identity,
        source.name,
        source.model.repo_id,
        source.model.revision,
        source.sae_id,
        source.sae_revision,
        source.hook_name,
        source.layer,
        source.d_in,
        source.d_sae,
        source.architecture,
        source.model.dtype,
        source.max_active,
        to_utc(made_at),
        shift,
        first_slot,
    ]
    cursor.execute(f"INSERT INTO base.sources VALUES ({', '.join('?' * len(values))})", values)
    return StoredSource(source_no, identity, source.d_sae, shift, first_slot)


def list_sources(cursor: duckdb.DuckDBPyConnection) -> tuple[StoredSource, ...]:
    """All sources, in the order in which they came."""
    rows = cursor.execute(
        """
        SELECT source_no, source_id, d_sae, code_shift, first_slot FROM base.sources
        ORDER BY source_no
        """
    ).fetchall()
    return tuple(StoredSource(*row) for row in rows)
