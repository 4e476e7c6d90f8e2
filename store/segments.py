"""Segments: activations in the order of their features, written in parts.

Invariant: every stored activation of a run's own tokens is in exactly one segment, and the tallies
of a segment are the counts, sums and maxima of its postings, and its bins how those spread. The
peaks of a slot in a segment are its strongest postings there, or absent: then the postings are few,
or runs were taken out of them. A segment is written and taken away inside the transaction of the
caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from store.bins import INSERT_BINS, bins_table
from store.codes import CodeColumn, to_values
from store.ordering import IndexColumn, expand
from store.posting_tables import POSTING_TABLES

_BATCH_ROWS = 4 * 122_880
"""Rows of an Arrow batch: DuckDB reads batches in parallel, and writes row groups of 122,880."""

_INSERT_POSTINGS = """
    INSERT INTO base.{}
    SELECT ?::INTEGER, slot, token_no, code FROM incoming_postings
"""
_INSERT_TALLIES = """
    INSERT INTO base.tallies
    SELECT ?::INTEGER, slot, n_tokens_active, total, max_value FROM incoming_tallies
"""
_INSERT_PEAKS = """
    INSERT INTO base.peaks
    SELECT ?::INTEGER, slot, token_no, code FROM incoming_peaks
"""

N_PEAKS = 64
"""How many postings of a slot in a segment are kept as its peaks."""

_PEAKS_FROM = 1024
"""Postings of a slot in a segment from which its peaks are kept: fewer are read at once."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as its row describes it. Its numbers never leave the store."""

    segment_no: int
    source_no: int
    n_activations: int


@dataclass(frozen=True, slots=True)
class Postings:
    """Activations of one source, ordered by slot.

    Attributes:
        starts: int32; those of slot first_slot + i are starts[i]:starts[i + 1].
        token_no: int32, of each activation, as is its code.
        shift: of the codes.
    """

    first_slot: int
    starts: IndexColumn
    token_no: IndexColumn
    code: CodeColumn
    shift: int

    def __len__(self) -> int:
        return len(self.code)


def list_segments(cursor: duckdb.DuckDBPyConnection) -> tuple[Segment, ...]:
    """All segments, the oldest first."""
    rows = cursor.execute(
        "SELECT segment_no, source_no, n_activations FROM base.segments ORDER BY segment_no"
    ).fetchall()
    return tuple(Segment(*row) for row in rows)


def next_segment_no(cursor: duckdb.DuckDBPyConnection) -> int:
    """A number that no other transaction gets."""
    [(number,)] = cursor.execute("SELECT nextval('base.segment_numbers')").fetchall()
    return int(number)


def insert_segment(cursor: duckdb.DuckDBPyConnection, segment: Segment) -> None:
    """Notes that a segment is there; its parts are written by insert_part."""
    cursor.execute(
        "INSERT INTO base.segments VALUES (?, ?, ?)",
        [segment.segment_no, segment.source_no, segment.n_activations],
    )


def insert_part(
    cursor: duckdb.DuckDBPyConnection, segment_no: int, part: Postings, is_merged: bool
) -> None:
    """Writes all that is kept of a stretch of slots; parts come in order of slots."""
    if not len(part):
        return
    into_table = _INSERT_POSTINGS.format(POSTING_TABLES[0 if is_merged else 1])
    slot = expand(part.starts)
    slot += np.int32(part.first_slot)
    postings = pa.table({"slot": slot, "token_no": part.token_no, "code": part.code})
    insert_arrow(cursor, "incoming_postings", postings, into_table, [segment_no])
    insert_arrow(cursor, "incoming_tallies", _tallies_table(part), _INSERT_TALLIES, [segment_no])
    bins = bins_table(part.starts, part.code, part.shift, part.first_slot)
    if bins is not None:
        insert_arrow(cursor, "incoming_bins", bins, INSERT_BINS, [segment_no])
    peaks = _peaks_table(part)
    if len(peaks):
        insert_arrow(cursor, "incoming_peaks", peaks, _INSERT_PEAKS, [segment_no])


def insert_arrow(
    cursor: duckdb.DuckDBPyConnection, name: str, table: pa.Table, sql: str, values: Sequence[int]
) -> None:
    """Runs an INSERT that reads an Arrow table by this name."""
    batches = table.to_batches(max_chunksize=_BATCH_ROWS)
    cursor.register(name, pa.Table.from_batches(batches, table.schema))
    try:
        cursor.execute(sql, list(values))
    finally:
        cursor.unregister(name)


def delete_part(
    cursor: duckdb.DuckDBPyConnection, segment_nos: Sequence[int], first: int, last: int
) -> None:
    """Takes the slots first to last out of segments; count_segments is to follow."""
    for table in (*POSTING_TABLES, "tallies", "bins", "peaks"):
        cursor.execute(
            f"DELETE FROM base.{table} WHERE segment_no IN (SELECT unnest(?::INTEGER[]))"
            " AND slot BETWEEN ? AND ?",
            [list(segment_nos), first, last],
        )


def count_segments(cursor: duckdb.DuckDBPyConnection, segment_nos: Sequence[int]) -> None:
    """Writes down anew how many activations segments have, and takes empty ones away."""
    cursor.execute(
        """
        UPDATE base.segments SET n_activations = (
            SELECT coalesce(sum(n_tokens_active), 0) FROM base.tallies
            WHERE tallies.segment_no = segments.segment_no
        ) WHERE segment_no IN (SELECT unnest(?::INTEGER[]))
        """,
        [list(segment_nos)],
    )
    cursor.execute("DELETE FROM base.segments WHERE n_activations = 0")


def _tallies_table(part: Postings) -> pa.Table:
    """One row for each slot that has postings in the part."""
    count = np.diff(part.starts)
    present = np.flatnonzero(count)
    first = part.starts[present]
    return pa.table(
        {
            "slot": (present + part.first_slot).astype(np.int32),
            "n_tokens_active": count[present],
            "total": np.add.reduceat(
                to_values(part.code, part.shift), first, dtype=np.float64
            ).astype(np.float32),
            "max_value": to_values(np.maximum.reduceat(part.code, first), part.shift),
        }
    )


def _peaks_table(part: Postings) -> pa.Table:
    """Of each slot with many postings the N_PEAKS strongest, of equal ones the first tokens."""
    rows = [
        start + _strongest(part.code[start:stop], part.token_no[start:stop])
        for start, stop in (
            part.starts[slot : slot + 2].tolist()
            for slot in np.flatnonzero(np.diff(part.starts) >= _PEAKS_FROM).tolist()
        )
    ]
    row = np.concatenate([np.zeros(0, np.intp), *rows])
    slot = np.searchsorted(part.starts, row, side="right") - 1 + part.first_slot
    return pa.table(
        {"slot": slot.astype(np.int32), "token_no": part.token_no[row], "code": part.code[row]}
    )


def _strongest(code: CodeColumn, token_no: IndexColumn) -> npt.NDArray[np.intp]:
    """Indices of the N_PEAKS largest codes, falling; of equal ones, those of the first tokens."""
    least = np.partition(code, -N_PEAKS)[-N_PEAKS]
    reaching = np.flatnonzero(code >= least)
    order = np.lexsort((token_no[reaching], -code[reaching].astype(np.int64)))
    strongest: npt.NDArray[np.intp] = reaching[order[:N_PEAKS]]
    return strongest
