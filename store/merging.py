"""Merging segments in the background, so that a feature lies in few places however much is stored.

Invariant: a merge moves stretches of features out of some segments into a new one, each stretch in
a transaction of its own: before, during and after it every read gives the same, and no more disk is
needed than one stretch takes. A merge that is stopped, or killed, leaves segments that together
hold what they held; they are merged another time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import duckdb
import numpy as np

from store.connection import Store
from store.errors import StoreError
from store.ordering import pack, transpose, unpack
from store.posting_tables import POSTING_TABLES
from store.segments import (
    Postings,
    Segment,
    count_segments,
    delete_part,
    insert_part,
    insert_segment,
    list_segments,
    next_segment_no,
)
from store.upkeep import beside

FAN_IN = 8
"""Segments of one class that are merged into one of the next."""

MAX_SMALL = 32
"""Segments of the smallest class, below a million activations, that may wait for more."""

_CLASS_SIZES = (2**20, 2**23, 2**26)
"""Activations from which a segment is of the second, third and last class."""

MAX_SEGMENT = 2**27
"""Most activations of a merged segment; row numbers within one fit 32 bits by far."""

MAX_PENDING = 3 * FAN_IN
"""Segments of one source and class above which writing waits for merging."""

_log = logging.getLogger(__name__)
_PART_ROWS = 28 * 122_880
"""Activations that a merge moves at once; it holds twice as many in memory, some 30 bytes each."""
_POSTINGS_OF = " UNION ALL ".join(
    f"""
    SELECT slot, token_no, code FROM base.{table}
    WHERE segment_no IN (SELECT unnest($1::INTEGER[])) AND slot BETWEEN $2 AND $3
    """
    for table in POSTING_TABLES
)

Stretch = tuple[int, int]
"""Its first and its last slot."""


def choose(segments: Sequence[Segment], n_waiting: int = FAN_IN) -> tuple[Segment, ...]:
    """What to merge next: segments of one source and class, or nothing.

    Args:
        segments: the oldest first.
        n_waiting: how many of a class above the smallest there must be.
    """
    groups: dict[tuple[int, int], list[Segment]] = {}
    for segment in segments:
        size = segment.n_activations
        group = sum(size >= least for least in _CLASS_SIZES)
        groups.setdefault((group, segment.source_no), []).append(segment)
    for (group, _), members in sorted(groups.items()):
        if group == 0:
            total = sum(segment.n_activations for segment in members)
            enough = MAX_SMALL * n_waiting // FAN_IN
            if len(members) > enough or (
                len(members) > 1 and total >= _CLASS_SIZES[0] * n_waiting // FAN_IN
            ):
                return tuple(members)
        elif len(members) >= n_waiting and group < len(_CLASS_SIZES):
            oldest = members[:FAN_IN]
            if sum(segment.n_activations for segment in oldest) <= MAX_SEGMENT:
                return tuple(oldest)
    return ()


def request_merging(store: Store) -> None:
    """Has the store's segments merged in the background; waits while too many are pending.

    What was written before stands, whether or not this works: a failure is told in the log.
    """
    store.upkeep.request(lambda is_stopped: merge_all(store, is_stopped))
    try:
        with store.read() as cursor:
            is_behind = len(choose(list_segments(cursor), MAX_PENDING)) > 0
        if is_behind:
            merge_all(store)
    except StoreError as error:
        _log.warning("Merging what the store holds failed: %s", error.message)


def merge_all(store: Store, is_stopped: Callable[[], bool] = lambda: False) -> int:
    """Merges until there is nothing to merge, or it is stopped; returns how many merges were done.

    Only one thread merges a store at a time; a second one waits.

    Raises:
        StoreError: if the file cannot be read or written; what was merged stays.
    """
    n_merged = 0
    while not is_stopped():
        with store.merge_lock:
            with store.read() as cursor:
                chosen = choose(list_segments(cursor))
            if not chosen or not merge(store, chosen, is_stopped):
                break
        n_merged += 1
    return n_merged


def merge(
    store: Store, segments: Sequence[Segment], is_stopped: Callable[[], bool] = lambda: False
) -> bool:
    """Replaces segments of one source by one; False if it was stopped before it was done."""
    segment_nos = [segment.segment_no for segment in segments]
    with store.rewrite() as cursor:
        [(shift,)] = cursor.execute(
            "SELECT code_shift FROM base.sources WHERE source_no = ?", [segments[0].source_no]
        ).fetchall()
        stretches = list(_stretches(cursor, segment_nos))
        merged = Segment(next_segment_no(cursor), segments[0].source_no, 0)
    part = _read_part(store, segment_nos, stretches[0], shift)
    for number, stretch in enumerate(stretches):
        if is_stopped():
            return False
        following = stretches[number + 1 : number + 2]
        with store.rewrite() as cursor:
            if number == 0:
                insert_segment(cursor, merged)
            move = partial(_move, cursor, segment_nos, merged.segment_no, stretch, part)
            # the next stretch is read meanwhile: no other transaction is open when this one is
            # committed, so that its checkpoint can give back the space of what was deleted
            with beside(move):
                parts = [_read_part(store, segment_nos, later, shift) for later in following]
        if parts:
            [part] = parts
    return True


def _move(
    cursor: duckdb.DuckDBPyConnection,
    segment_nos: Sequence[int],
    merged_no: int,
    stretch: Stretch,
    part: Postings,
) -> None:
    """Writes a part to the merged segment, and takes it out of the others."""
    insert_part(cursor, merged_no, part, is_merged=True)
    delete_part(cursor, segment_nos, *stretch)
    count_segments(cursor, [*segment_nos, merged_no])


def _stretches(cursor: duckdb.DuckDBPyConnection, segment_nos: Sequence[int]) -> Iterator[Stretch]:
    """First and last slots of stretches that hold at most _PART_ROWS, or one slot, each."""
    table = cursor.sql(
        """
        SELECT slot, sum(n_tokens_active)::BIGINT AS n_activations FROM base.tallies
        WHERE segment_no IN (SELECT unnest(?::INTEGER[])) GROUP BY slot ORDER BY slot
        """,
        params=[list(segment_nos)],
    ).to_arrow_table()
    slot = table.column("slot").to_numpy()
    up_to = np.cumsum(table.column("n_activations").to_numpy())
    start = 0
    while start < len(slot):
        before = up_to[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(up_to, before + _PART_ROWS, side="right")))
        yield int(slot[start]), int(slot[stop - 1])
        start = stop


def _read_part(store: Store, segment_nos: Sequence[int], stretch: Stretch, shift: int) -> Postings:
    """The postings of a stretch of slots, ordered by slot, and as they lie within one."""
    first, last = stretch
    with store.read() as cursor:
        values = [list(segment_nos), first, last]
        table = cursor.sql(_POSTINGS_OF, params=values).to_arrow_table()
    slot, token_no, code = (column.to_numpy() for column in table.columns)
    row_starts = np.arange(len(slot) + 1, dtype=np.int32)
    column, packed = slot - np.int32(first), pack(token_no, code)
    del table, slot, token_no, code  # a merge works beside writes: memory counts
    ordered = transpose(row_starts, column, packed, last - first + 1)
    token_no, code = unpack(ordered.payload)
    return Postings(first, ordered.starts, token_no, code, shift)
