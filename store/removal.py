"""Runs taken out of the store, with everything that they left.

Invariant: a run is there whole, or not at all; statistics of features are those of the runs that
are left. A run that others begin with stays as long as they do.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import numpy as np

from store.beginnings import list_needed
from store.bins import BIN_BITS, BINNED_FROM, RECOUNT_BINS
from store.connection import Store
from store.exchanges import forget_exchanges
from store.posting_tables import POSTING_TABLES, POSTINGS
from store.rows import PASSAGE_TOKENS
from store.segments import count_segments

_OF_RUNS = (
    "hits",
    "tool_calls",
    "outcomes",
    "run_interventions",
    "tokens",
    "activations",
    "passages",
    "beginnings",
    "exchanges",
    "answers",
    "captures",
    "detector_scores",
    "runs",
)
_GONE = "SELECT run_no FROM base.runs WHERE run_key IN (SELECT unnest(?::VARCHAR[]))"
_AFFECTED = f"""
    SELECT segment_no, slot FROM {POSTINGS}
    WHERE token_no // ? IN (SELECT unnest(?::INTEGER[])) GROUP BY ALL
"""
_RECOUNT = f"""
    INSERT INTO base.tallies
    SELECT segment_no, slot, count(*), sum(value::DOUBLE), max(value)
    FROM (
        SELECT p.segment_no, p.slot, base.decode(p.code::BIGINT << c.code_shift) AS value
        FROM {POSTINGS} AS p
        JOIN affected USING (segment_no, slot)
        JOIN base.segments AS s ON s.segment_no = p.segment_no
        JOIN base.sources AS c USING (source_no)
    )
    GROUP BY segment_no, slot
"""


def delete_runs(store: Store, run_keys: Sequence[str]) -> int:
    """Deletes runs, all in one transaction.

    Keys that are not stored are passed over, and so are runs that others begin with.

    It waits for a merge under way. Their space is used again by what is written next.

    Returns:
        how many were deleted.

    Raises:
        StoreError: if the file cannot be written; nothing was deleted then.
    """
    with store.merge_lock, store.write() as cursor:
        run_nos = [row[0] for row in cursor.execute(_GONE, [list(run_keys)]).fetchall()]
        while needed := list_needed(cursor, run_nos):
            # what stays may itself begin with one of the others
            run_nos = [number for number in run_nos if number not in needed]
        if run_nos:
            _delete_postings(cursor, run_nos)
            forget_exchanges(cursor, run_nos)
            for table in _OF_RUNS:
                cursor.execute(
                    f"DELETE FROM base.{table} WHERE run_no IN (SELECT unnest(?::INTEGER[]))",
                    [run_nos],
                )
    return len(run_nos)


def _delete_postings(cursor: duckdb.DuckDBPyConnection, run_nos: Sequence[int]) -> None:
    """Takes the runs out of their segments, and counts anew the features that were in them."""
    rows = cursor.execute(
        "SELECT passage_no FROM base.passages WHERE run_no IN (SELECT unnest(?::INTEGER[]))",
        [list(run_nos)],
    ).fetchall()
    passages = [passage_no for (passage_no,) in rows]
    affected = cursor.sql(_AFFECTED, params=[PASSAGE_TOKENS, passages]).to_arrow_table()
    cursor.register("affected", affected)
    for table in POSTING_TABLES:
        cursor.execute(
            f"DELETE FROM base.{table} WHERE token_no // ? IN (SELECT unnest(?::INTEGER[]))",
            [PASSAGE_TOKENS, passages],
        )
    for table in ("tallies", "bins", "peaks"):
        # peaks come again when the segment is merged; until then the postings are read
        cursor.execute(f"DELETE FROM base.{table} WHERE (segment_no, slot) IN (FROM affected)")
    cursor.execute(_RECOUNT)
    cursor.execute(RECOUNT_BINS, {"bin_bits": BIN_BITS, "least": BINNED_FROM})
    cursor.unregister("affected")
    count_segments(cursor, np.unique(affected.column("segment_no").to_numpy()).tolist())
