"""Runs into the store: all that they leave, in one transaction of the caller.

Invariant: each of the runs is written whole: its row, its tokens, its activations in the order of
runs, and again as a segment in the order of features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from functools import partial

import duckdb
import numpy as np
import pyarrow as pa

from store.beginnings import insert_beginning
from store.codes import to_codes
from store.exchange_records import Exchange
from store.exchanges import insert_exchange
from store.ordering import IndexColumn, Transposed, expand, pack, transpose, unpack
from store.records import Activations, Run, SharedBeginning, TokenColumns
from store.rows import PASSAGE_TOKENS, passages_table, runs_table, tokens_table
from store.segments import (
    Postings,
    Segment,
    insert_arrow,
    insert_part,
    insert_segment,
    next_segment_no,
)
from store.sources import StoredSource
from store.steering_records import RunIntervention
from store.upkeep import beside

_INSERTS = {
    "incoming_runs": "INSERT INTO base.runs SELECT * FROM incoming_runs",
    "incoming_tokens": "INSERT INTO base.tokens SELECT * FROM incoming_tokens",
    "incoming_passages": "INSERT INTO base.passages SELECT * FROM incoming_passages",
    "incoming_activations": "INSERT INTO base.activations SELECT * FROM incoming_activations",
}


@dataclass(frozen=True, slots=True)
class CheckedRun:
    """A run whose parts fit each other."""

    run: Run
    tokens: TokenColumns
    activations: Activations
    shared: SharedBeginning | None
    interventions: Sequence[RunIntervention]
    exchange: Exchange | None


@dataclass(frozen=True, slots=True)
class TokenPlaces:
    """Of each token of some runs, one after the other: its run, counted from 0, and its places."""

    run: IndexColumn
    position: IndexColumn
    token_no: IndexColumn


@dataclass(frozen=True, slots=True)
class Numbers:
    """What numbers runs have: their own, and their passages', from the first on."""

    run_nos: Sequence[int]
    first_passage_no: int
    n_tokens: Sequence[int]

    def tokens(self) -> TokenPlaces:
        """Where each of their tokens is."""
        counts = np.array(self.n_tokens, np.int32)
        run = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        position = np.arange(len(run), dtype=np.int32) - (np.cumsum(counts) - counts)[run]
        n_passages = -(-counts // PASSAGE_TOKENS)
        first_passage = self.first_passage_no + np.cumsum(n_passages) - n_passages
        token_no = first_passage[run] * PASSAGE_TOKENS + position
        return TokenPlaces(run, position.astype(np.int32), token_no.astype(np.int32))


def insert_all(
    cursor: duckdb.DuckDBPyConnection,
    source: StoredSource,
    first_run_no: int,
    runs: Sequence[CheckedRun],
) -> None:
    """Writes runs of one source, none of which is stored, with numbers from first_run_no on.

    Raises:
        UnicodeEncodeError: if a text is not valid Unicode.
        RunNotFoundError: if a run that another begins with is not stored.
        InvalidSpecError: if it does not begin with the same tokens.
    """
    run_nos = range(first_run_no, first_run_no + len(runs))
    tokens = [item.tokens for item in runs]
    n_tokens = [len(item) for item in tokens]
    passage_no = next_passage_no(cursor)
    tables = {
        "incoming_runs": runs_table(run_nos, source.source_no, [r.run for r in runs], n_tokens),
        "incoming_tokens": tokens_table(run_nos, tokens),
    }
    for name, table in tables.items():
        insert_arrow(cursor, name, table, _INSERTS[name], ())
    run_keys = [item.run.run_key for item in runs]
    insert_passages(cursor, passage_no, run_nos, run_keys, [item.text for item in tokens])
    for run_no, item in zip(run_nos, runs, strict=True):
        if item.shared is not None:
            insert_beginning(cursor, source.source_no, run_no, item.tokens, item.shared)
        _insert_interventions(cursor, run_no, item.interventions)
        if item.exchange is not None:
            insert_exchange(cursor, run_no, item.exchange)
    activations = [item.activations for item in runs]
    if any(len(item) for item in activations):
        numbers = Numbers(run_nos, passage_no, n_tokens)
        insert_activations(cursor, source, numbers, activations)


def _insert_interventions(
    cursor: duckdb.DuckDBPyConnection, run_no: int, items: Sequence[RunIntervention]
) -> None:
    names = ["run_no", *(item.name for item in fields(RunIntervention))]
    if items:
        cursor.executemany(
            f"INSERT INTO base.run_interventions ({', '.join(names)})"
            f" VALUES ({', '.join('?' * len(names))})",
            [[run_no, *astuple(item)] for item in items],
        )


def next_passage_no(cursor: duckdb.DuckDBPyConnection) -> int:
    """One above the highest; one write at a time, so nobody else takes it."""
    [(number,)] = cursor.execute(
        "SELECT coalesce(max(passage_no), 0) + 1 FROM base.passages"
    ).fetchall()
    return int(number)


def insert_passages(
    cursor: duckdb.DuckDBPyConnection,
    passage_no: int,
    run_nos: Sequence[int],
    run_keys: Sequence[str],
    texts: Sequence[Sequence[str]],
) -> None:
    """Writes the texts of tokens of runs, numbered from passage_no on."""
    table = passages_table(passage_no, run_nos, run_keys, texts)
    insert_arrow(cursor, "incoming_passages", table, _INSERTS["incoming_passages"], ())


def insert_activations(
    cursor: duckdb.DuckDBPyConnection,
    source: StoredSource,
    numbers: Numbers,
    activations: Sequence[Activations],
) -> None:
    """Writes the activations of runs, of which there are some, in both orders."""
    place_of_token = numbers.tokens()
    by_feature = _by_feature(source, numbers, activations)
    postings = Postings(
        first_slot=source.first_slot,
        starts=by_feature.starts,
        token_no=place_of_token.token_no[by_feature.row],
        code=by_feature.payload,
        shift=source.code_shift,
    )
    segment_no = next_segment_no(cursor)
    with beside(partial(insert_part, cursor, segment_no, postings, False)):
        # while DuckDB writes the one order, the other is made
        table = _by_run(by_feature, place_of_token, np.array(numbers.run_nos, np.int32))
    insert_segment(cursor, Segment(segment_no, source.source_no, len(postings)))
    del by_feature, postings  # memory counts: merging may work beside
    insert_arrow(cursor, "incoming_activations", table, _INSERTS["incoming_activations"], ())


def _by_feature(
    source: StoredSource, numbers: Numbers, activations: Sequence[Activations]
) -> Transposed[np.uint32]:
    """Codes ordered by feature, and by token within one: rows are tokens of all runs."""
    counts = [
        np.bincount(item.position, minlength=count)
        for item, count in zip(activations, numbers.n_tokens, strict=True)
    ]
    starts = np.zeros(sum(numbers.n_tokens) + 1, np.int32)
    np.cumsum(np.concatenate(counts), out=starts[1:])
    feature = np.concatenate([item.feature for item in activations])
    value = np.concatenate([item.value for item in activations])
    return transpose(starts, feature, to_codes(value, source.code_shift), source.d_sae)


def _by_run(
    by_feature: Transposed[np.uint32], places: TokenPlaces, run_nos: IndexColumn
) -> pa.Table:
    """Cells ordered by feature and token, ordered by run, feature and position."""
    position, code = places.position[by_feature.row], by_feature.payload
    if len(run_nos) == 1:
        run = np.zeros(len(code), np.int32)
        feature = expand(by_feature.starts)
    else:
        packed = pack(position, code)
        del position, code  # what follows is the most that a write holds in memory
        runs = transpose(by_feature.starts, places.run[by_feature.row], packed, len(run_nos))
        del packed
        run, feature = expand(runs.starts), runs.row
        position, code = unpack(runs.payload)
    return pa.table(
        {
            "run_no": run_nos[run],
            "feature": feature,
            "position": position,
            "code": code,
        }
    )
