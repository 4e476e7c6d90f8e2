"""Whether queries leave memory to the rest: DuckDB has one limit for the whole instance.

Invariant: memory that cannot be written aside (values that aggregates collect) is at most half of
the limit for longer than a moment; a query that is running then is stopped, one at a time, or each
that asks once little is left.
"""

from __future__ import annotations

import threading
import time

from store.connection import Store
from store.errors import StoreError

_PAUSE_S = 0.2
_ENOUGH, _TOO_MUCH = 0.5, 0.7
"""Shares of the limit from which one query at a time is stopped, and from which all are."""
_SHARE = """
    SELECT coalesce(sum(memory_usage_bytes), 0)
           / parse_formatted_bytes(current_setting('memory_limit'))
    FROM duckdb_memory() WHERE tag = 'ALLOCATOR'
"""

_lock = threading.Lock()
_stopped_at = -_PAUSE_S


def must_stop(store: Store) -> bool:
    """Whether the query that asks has to end, so that others can go on.

    Once one was told to, the others have a moment to go on in what it leaves.
    """
    global _stopped_at
    share = _used_share(store)
    if share <= _ENOUGH:
        return False
    with _lock:
        now = time.monotonic()
        if share <= _TOO_MUCH and now - _stopped_at < _PAUSE_S:
            return False
        _stopped_at = now
        return True


def _used_share(store: Store) -> float:
    try:
        with store.read() as cursor:
            [(share,)] = cursor.execute(_SHARE).fetchall()
    except StoreError:
        return 1.0  # not even this fits
    return float(share)
