"""Runs into the store: all that they leave, in one transaction of the caller.

Invariant: each of the runs is written whole: its row, its tokens, its activations in the order of
runs, and again as a segment in the order of features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from store.codes import split_bits, to_bits
from store.ordering import IndexColumn, expand, transpose
from store.records import Activations, Run, TokenColumns
from store.rows import passages_table, runs_table, tokens_table
from store.segments import (
    Postings,
    Segment,
    insert_arrow,
    insert_part,
    insert_segment,
    next_segment_no,
)
from store.specs import SourceSpec

_INSERTS = {
    "incoming_runs": "INSERT INTO base.runs SELECT * FROM incoming_runs",
    "incoming_tokens": "INSERT INTO base.tokens SELECT * FROM incoming_tokens",
    "incoming_passages": "INSERT INTO base.passages SELECT * FROM incoming_passages",
    "incoming_activations": "INSERT INTO base.activations SELECT * FROM incoming_activations",
}
_WORD = 32


@dataclass(frozen=True, slots=True)
class CheckedRun:
    """A run whose parts fit each other."""

    run: Run
    tokens: TokenColumns
    activations: Activations


def insert_all(
    cursor: duckdb.DuckDBPyConnection,
    source: SourceSpec,
    source_no: int,
    first_run_no: int,
    runs: Sequence[CheckedRun],
) -> None:
    """Writes runs of one source, none of which is stored, with numbers from first_run_no on.

    Raises:
        UnicodeEncodeError: if a text is not valid Unicode.
    """
    run_nos = range(first_run_no, first_run_no + len(runs))
    tokens = [item.tokens for item in runs]
    n_tokens = [len(item) for item in tokens]
    tables = {
        "incoming_runs": runs_table(run_nos, source_no, [item.run for item in runs], n_tokens),
        "incoming_tokens": tokens_table(run_nos, tokens),
        "incoming_passages": passages_table(run_nos, tokens),
    }
    for name, table in tables.items():
        insert_arrow(cursor, name, table, _INSERTS[name], ())
    activations = [item.activations for item in runs]
    if any(len(item) for item in activations):
        dtype = source.model.dtype
        insert_activations(
            cursor, source_no, source.d_sae, dtype, first_run_no, n_tokens, activations
        )


def insert_activations(
    cursor: duckdb.DuckDBPyConnection,
    source_no: int,
    d_sae: int,
    dtype: str,
    first_run_no: int,
    n_tokens: Sequence[int],
    activations: Sequence[Activations],
) -> None:
    """Writes the activations of runs with numbers from first_run_no on, in both orders."""
    postings = _postings(d_sae, dtype, first_run_no, n_tokens, activations)
    table = _by_run(postings, first_run_no, len(activations))
    insert_arrow(cursor, "incoming_activations", table, _INSERTS["incoming_activations"], ())
    segment_no = next_segment_no(cursor)
    insert_part(cursor, segment_no, source_no, postings)
    insert_segment(cursor, Segment(segment_no, source_no, len(postings)))


def _postings(
    d_sae: int,
    dtype: str,
    first_run_no: int,
    n_tokens: Sequence[int],
    activations: Sequence[Activations],
) -> Postings:
    """All activations ordered by feature, run and position."""
    run_of_token = np.repeat(np.arange(len(n_tokens), dtype=np.int32), n_tokens)
    position_of_token = np.concatenate([np.arange(count, dtype=np.int32) for count in n_tokens])
    counts = [
        np.bincount(item.position, minlength=count)
        for item, count in zip(activations, n_tokens, strict=True)
    ]
    row_starts = np.zeros(len(run_of_token) + 1, np.int32)
    np.cumsum(np.concatenate(counts), out=row_starts[1:])
    feature = np.concatenate([item.feature for item in activations])
    bits = to_bits(np.concatenate([item.value for item in activations]), dtype)
    starts, token, ordered = transpose(row_starts, feature, bits, d_sae)
    run_no = run_of_token[token] + np.int32(first_run_no)
    return Postings(0, starts, run_no, position_of_token[token], ordered.astype(np.uint32))


def _by_run(postings: Postings, first_run_no: int, n_runs: int) -> pa.Table:
    """The same activations ordered by run, feature and position."""
    if n_runs == 1:
        feature = expand(postings.starts)
        run_no, position, bits = postings.run_no, postings.position, postings.bits
    else:
        packed = (postings.position.astype(np.uint64) << _WORD) | postings.bits
        run = postings.run_no - np.int32(first_run_no)
        starts, feature, cells = transpose(postings.starts, run, packed, n_runs)
        run_no = expand(starts) + np.int32(first_run_no)
        position = (cells >> np.uint64(_WORD)).astype(np.int32)
        bits = cells.astype(np.uint32)
    code, rest = split_bits(bits)
    columns: dict[str, IndexColumn | np.ndarray] = {
        "run_no": run_no,
        "feature": feature,
        "position": position,
        "code": code,
        "rest": rest,
    }
    return pa.table(columns)
