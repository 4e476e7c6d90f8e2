"""What a link with a short id stands for: parameters of a page that are too long for an address.

Invariant: an id is a digest of its content, so a link shows the same for ever, and the same state
has one link. What is read back is what was written, or an error.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime

from store.connection import Store
from store.errors import InvalidSpecError, StateNotFoundError
from store.rows import to_utc
from store.specs import is_storable

MAX_CONTENT_CHARS = 50_000
_ID_CHARS = 20


class LinkStateRepository:
    """States of one store; every method may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def insert_state(self, params: Mapping[str, str]) -> str:
        """Keeps parameters, if they are not kept already; returns their id.

        Raises:
            InvalidSpecError: if they are too long, or not valid text.
        """
        content = json.dumps(dict(params), sort_keys=True, ensure_ascii=False)
        if len(content) > MAX_CONTENT_CHARS or not is_storable(content):
            raise InvalidSpecError("state", "This is too long for a link.", "Shorten the query.")
        state_id = hashlib.sha256(content.encode()).hexdigest()[:_ID_CHARS]
        with self._store.read() as cursor:
            rows = cursor.execute(
                "SELECT 1 FROM base.link_states WHERE state_id = ?", [state_id]
            ).fetchall()
        if not rows:
            with self._store.write(is_counted=False) as cursor:
                cursor.execute(
                    "INSERT INTO base.link_states VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    [state_id, content, to_utc(datetime.now(UTC))],
                )
        return state_id

    def get_state(self, state_id: str) -> dict[str, str]:
        """The parameters that an id stands for.

        Raises:
            StateNotFoundError: if none are kept under it.
        """
        rows = []
        if is_storable(state_id):
            with self._store.read() as cursor:
                rows = cursor.execute(
                    "SELECT content FROM base.link_states WHERE state_id = ?", [state_id]
                ).fetchall()
        if not rows:
            raise StateNotFoundError(state_id)
        params: dict[str, str] = json.loads(rows[0][0])
        return params
