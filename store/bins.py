"""How the values of features spread: counts in bins that all features share, four to a doubling.

Invariant: the bins of a slot in a segment, where it has rows, count all its postings there. A slot
with few postings in a segment has none, nor has one that an earlier version wrote: what is missing
is counted from the postings, so that a histogram is exact either way.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import numpy as np
import pyarrow as pa

from store.codes import CodeColumn, to_values
from store.ordering import IndexColumn
from store.posting_tables import POSTINGS
from store.records import HistogramBin

BIN_BITS = 21
"""Low bits of a float32 that values in one bin differ in: 23 would be a doubling."""

BINNED_FROM = 2048
"""Postings of a slot in a segment from which its bins are kept: fewer are counted at once."""

INSERT_BINS = """
    INSERT INTO base.bins SELECT ?::INTEGER, slot, bin, n_tokens_active FROM incoming_bins
"""

RECOUNT_BINS = f"""
    INSERT INTO base.bins
    SELECT p.segment_no, p.slot, p.code >> ($bin_bits - c.code_shift), count(*)
    FROM {POSTINGS} AS p
    JOIN affected USING (segment_no, slot)
    JOIN base.tallies AS t USING (segment_no, slot)
    JOIN base.segments AS s ON s.segment_no = p.segment_no
    JOIN base.sources AS c USING (source_no)
    WHERE t.n_tokens_active >= $least
    GROUP BY ALL
"""
"""Counts anew the slots of the registered table `affected`."""

_KEPT = """
    SELECT slot, bin, sum(n_tokens_active)::BIGINT AS n FROM base.bins
    WHERE slot IN ? GROUP BY slot, bin
"""
_WITHOUT_BINS = """
    SELECT DISTINCT segment_no, slot FROM base.tallies AS t
    WHERE slot IN $slots AND NOT EXISTS (
        FROM base.bins AS b
        WHERE b.slot IN $slots AND b.segment_no = t.segment_no AND b.slot = t.slot
    )
"""
_COUNTED = f"""
    SELECT slot, (code >> ?)::INTEGER AS bin, count(*) AS n FROM {POSTINGS}
    SEMI JOIN unbinned USING (segment_no, slot)
    WHERE slot IN ? GROUP BY slot, bin
"""


def bins_table(
    starts: IndexColumn, code: CodeColumn, shift: int, first_slot: int
) -> pa.Table | None:
    """Bins of the slots that have many postings; None if there is no such slot.

    Args:
        starts: codes of slot first_slot + i are starts[i]:starts[i + 1].
        code: ordered by slot. shift: of the codes.
    """
    slots, bins, counts = [], [], []
    for index in np.flatnonzero(np.diff(starts) >= BINNED_FROM).tolist():
        binned = code[starts[index] : starts[index + 1]] >> np.uint32(BIN_BITS - shift)
        first = int(binned.min())
        heights = np.bincount(binned - np.uint32(first))
        present = np.flatnonzero(heights)
        slots.append(np.full(len(present), index + first_slot, np.int32))
        bins.append((present + first).astype(np.int16))
        counts.append(heights[present].astype(np.int32))
    if not slots:
        return None
    columns = (np.concatenate(column) for column in (slots, bins, counts))
    return pa.table(dict(zip(("slot", "bin", "n_tokens_active"), columns, strict=True)))


def read_histograms(
    cursor: duckdb.DuckDBPyConnection, slots: Sequence[int], shift: int
) -> dict[int, tuple[HistogramBin, ...]]:
    """The histogram of each slot of one source, from its smallest to its largest value.

    Empty bins between others are included; a slot that never fired has no bins.
    """
    wanted = [int(slot) for slot in slots]
    if not wanted:
        return {}
    rows = cursor.execute(_KEPT, [wanted]).fetchall()
    unbinned = cursor.sql(_WITHOUT_BINS, params={"slots": wanted}).to_arrow_table()
    if unbinned.num_rows:
        cursor.register("unbinned", unbinned)
        left = sorted(set(unbinned.column("slot").to_pylist()))
        rows += cursor.execute(_COUNTED, [BIN_BITS - shift, left]).fetchall()
        cursor.unregister("unbinned")
    counts: dict[int, dict[int, int]] = {slot: {} for slot in wanted}
    for slot, number, count in rows:
        counts[slot][number] = counts[slot].get(number, 0) + count
    return {slot: _histogram(of_slot) for slot, of_slot in counts.items()}


def _histogram(counts: dict[int, int]) -> tuple[HistogramBin, ...]:
    if not counts:
        return ()
    first, last = min(counts), max(counts)
    numbers = np.arange(first, last + 2, dtype=np.uint32)
    edges = to_values(numbers, BIN_BITS).tolist()
    return tuple(
        HistogramBin(edges[index], edges[index + 1], counts.get(first + index, 0))
        for index in range(last - first + 1)
    )
