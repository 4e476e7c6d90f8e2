"""Whether queries leave memory to the rest: DuckDB has one limit for the whole instance.

Invariant: memory that cannot be written aside (values that aggregates collect) is at most half of
the limit for longer than a moment; a query that is running then is stopped, one at a time.
"""

from __future__ import annotations

import threading
import time

from store.connection import Store
from store.errors import StoreError

_PAUSE_S = 0.2
_IS_SHORT = """
    SELECT coalesce(sum(memory_usage_bytes), 0)
           > 0.5 * parse_formatted_bytes(current_setting('memory_limit'))
    FROM duckdb_memory() WHERE tag = 'ALLOCATOR'
"""

_lock = threading.Lock()
_stopped_at = -_PAUSE_S


def must_stop(store: Store) -> bool:
    """Whether the query that asks has to end, so that others can go on.

    Once one was told to, the others have a moment to go on in what it leaves.
    """
    global _stopped_at
    if not _is_short(store):
        return False
    with _lock:
        now = time.monotonic()
        if now - _stopped_at < _PAUSE_S:
            return False
        _stopped_at = now
        return True


def _is_short(store: Store) -> bool:
    try:
        with store.read() as cursor:
            row = cursor.execute(_IS_SHORT).fetchone()
    except StoreError:
        return True  # not even this fits
    return row is not None and bool(row[0])
