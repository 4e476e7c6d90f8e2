"""Samples of a source's runs that are small enough to be read while a page waits.

Invariant: a sample depends on what is stored and on the seed alone, and has at most as many
activations as were asked for, or one run. Its tokens are those whose activations are the runs' own:
the beginning that a run shares with another is that one's.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from store.codes import CodeColumn
from store.ordering import IndexColumn
from store.sources import StoredSource

PAGE_ACTIVATIONS = 2**21
"""Activations that are read for one part of a page: a fifth of a second on two cores."""

_BLOCKS = 64
"""Neighbouring runs are read together, in about so many places of the store."""

_SIZES = """
    SELECT (SELECT coalesce(sum(n_activations), 0)::BIGINT FROM base.segments
            WHERE source_no = $source_no),
           coalesce(sum(n_tokens), 0)::BIGINT, count(*), coalesce(arg_max(run_key, run_no), '')
    FROM base.runs WHERE source_no = $source_no
"""
_SHARED = """
    SELECT coalesce(sum(end_position - first_position), 0)::BIGINT
    FROM base.beginnings JOIN base.runs USING (run_no) WHERE source_no = ?
"""
_CHOOSE = """
    WITH ordered AS (
        SELECT run_no, n_tokens, run_no // $block AS block, hash(run_no // $block + $seed) AS place
        FROM base.runs {among} WHERE source_no = $source_no
    ), counted AS (
        SELECT run_no, sum(n_tokens) OVER (
            ORDER BY place, block, run_no ROWS UNBOUNDED PRECEDING
        ) AS up_to, n_tokens FROM ordered
    )
    SELECT c.run_no, coalesce(b.own_from, 0)::INTEGER AS own_from, c.n_tokens
    FROM counted AS c
    LEFT JOIN (
        SELECT run_no, max(end_position) AS own_from FROM base.beginnings GROUP BY run_no
    ) AS b USING (run_no)
    WHERE up_to <= $most OR up_to = c.n_tokens ORDER BY c.run_no
"""
_ACTIVATIONS = """
    SELECT run_no, position, feature, code FROM base.activations WHERE run_no IN $run_nos
"""


@dataclass(frozen=True, slots=True)
class SourceSize:
    """What is stored of a source.

    Attributes:
        n_tokens: whose activations are stored: a beginning that runs share is counted once.
        last_run_key: of the newest run; with the counts it tells whether runs came or went.
    """

    n_activations: int
    n_tokens: int
    n_runs: int
    last_run_key: str

    @property
    def per_token(self) -> float:
        """Activations a token, at least one."""
        return max(self.n_activations / max(self.n_tokens, 1), 1.0)


@dataclass(frozen=True, slots=True)
class RunSample:
    """Some runs of a source, by number.

    Attributes:
        run_no: int32, rising. own_from: int32, first position whose activations are its own.
        n_tokens: int32, own or not.
        is_complete: whether these are all the runs there are to choose from.
    """

    run_no: IndexColumn
    own_from: IndexColumn
    n_tokens: IndexColumn
    is_complete: bool

    @property
    def n_own(self) -> int:
        """Tokens whose activations are these runs' own."""
        return int((self.n_tokens - self.own_from).sum())

    @property
    def numbers(self) -> list[int]:
        """For an IN of SQL, by which DuckDB passes over what lies between them."""
        numbers: list[int] = self.run_no.tolist()
        return numbers

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """Where the tokens of each run begin if those of all are counted through; and the end."""
        return np.concatenate([[0], np.cumsum(self.n_tokens, dtype=np.int64)])

    def to_index(self, run_no: IndexColumn, position: IndexColumn) -> IndexColumn:
        """The numbers of tokens that are counted through."""
        starts = self.offsets[:-1].astype(np.int32)
        found: IndexColumn = starts[np.searchsorted(self.run_no, run_no)] + position
        return found

    def is_own(self) -> npt.NDArray[np.bool_]:
        """Of each token whether its activations are the run's own."""
        offsets = self.offsets
        position = np.arange(offsets[-1]) - np.repeat(offsets[:-1], self.n_tokens)
        own: npt.NDArray[np.bool_] = position >= np.repeat(self.own_from, self.n_tokens)
        return own


@dataclass(frozen=True, slots=True)
class SampledActivations:
    """The activations of a sample, by run and feature: columns of one length.

    Attributes:
        token: int32, counted through the tokens of the sample's runs.
    """

    token: IndexColumn
    feature: IndexColumn
    code: CodeColumn


def get_size(cursor: duckdb.DuckDBPyConnection, source: StoredSource) -> SourceSize:
    """What is stored of a source."""
    [(n_activations, n_tokens, n_runs, last)] = cursor.execute(
        _SIZES, {"source_no": source.source_no}
    ).fetchall()
    [(n_shared,)] = cursor.execute(_SHARED, [source.source_no]).fetchall()
    return SourceSize(n_activations, n_tokens - n_shared, n_runs, last)


def sample_runs(
    cursor: duckdb.DuckDBPyConnection,
    source: StoredSource,
    size: SourceSize,
    max_activations: int = PAGE_ACTIVATIONS,
    seed: int = 0,
    among: pa.Table | None = None,
) -> RunSample:
    """Runs from all over the store with about so many activations, the same at each call.

    Args:
        among: column run_no of the runs to choose from; None for all of the source.
    """
    most = max(int(max_activations / size.per_token), 1)
    n_wanted = most * max(size.n_runs, 1) // max(size.n_tokens, 1)
    values = {
        "source_no": source.source_no,
        "block": max(n_wanted // _BLOCKS, 1),
        "seed": seed,
        "most": most,
    }
    if among is None:
        table = cursor.sql(_CHOOSE.format(among=""), params=values).to_arrow_table()
        n_all = size.n_runs
    else:
        cursor.register("among", among)
        sql = _CHOOSE.format(among="SEMI JOIN among USING (run_no)")
        table = cursor.sql(sql, params=values).to_arrow_table()
        cursor.unregister("among")
        n_all = among.num_rows
    run_no, own_from, n_tokens = (column.to_numpy() for column in table.columns)
    return RunSample(run_no, own_from, n_tokens, is_complete=table.num_rows == n_all)


def read_sample(cursor: duckdb.DuckDBPyConnection, sample: RunSample) -> SampledActivations:
    """All activations of the sample's runs that are their own."""
    table = cursor.sql(_ACTIVATIONS, params={"run_nos": sample.numbers}).to_arrow_table()
    run_no, position, feature, code = (column.to_numpy() for column in table.columns)
    return SampledActivations(sample.to_index(run_no, position), feature, code)
