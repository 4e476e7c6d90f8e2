"""What features reached in each of some runs: the data that two cohorts are compared on.

Invariant: one value a feature and run, its maximum over the chosen positions, a shared beginning
included. A feature that has no row was not stored there: silent, or left out by the source's cap,
which the answer names. What is read at once is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from store.codes import to_values
from store.connection import Store
from store.errors import InvalidSpecError, RunNotFoundError
from store.feature_table import registered
from store.records import FloatColumn, IntColumn
from store.sampled_runs import get_size
from store.sources import StoredSource, get_source

Positions = Literal["all", "prompt", "generated", "last_prompt"]
POSITIONS: tuple[str, ...] = get_args(Positions)

PAGE_MAXIMA = 2**23
"""Activations that are read while a page waits: half a second on two cores."""
_BATCH = 2**21
"""Activations that are read at once, some 40 bytes each."""

_RUNS = """
    SELECT w.number, r.run_no, r.source_no, r.n_tokens, r.n_prompt_tokens,
           coalesce(b.n_shared, 0) > 0 AS is_shared
    FROM wanted_runs AS w LEFT JOIN base.runs AS r USING (run_key)
    LEFT JOIN (
        SELECT run_no, count(*) AS n_shared FROM base.beginnings GROUP BY run_no
    ) AS b ON b.run_no = r.run_no
    ORDER BY w.number
"""
_FIRST = "SELECT run_no FROM base.tokens WHERE position = 0 AND is_special AND run_no IN ?"
_OWN = "SELECT run_no, feature, position, code FROM base.activations WHERE run_no IN $run_nos"
_SHARED = """
    SELECT b.run_no, a.feature, a.position, a.code
    FROM base.beginnings AS b JOIN base.activations AS a ON a.run_no = b.owner_run_no
        AND a.position >= b.first_position AND a.position < b.end_position
    WHERE b.run_no IN $run_nos AND a.run_no IN (
        SELECT owner_run_no FROM base.beginnings WHERE run_no IN $run_nos)
"""
_CAPPED = """
    SELECT t.run_no, count(*) FROM base.tokens AS t JOIN spans AS s USING (run_no)
    WHERE t.run_no IN $run_nos AND t.position >= s.low AND t.position < s.high
      AND t.n_active > $most
    GROUP BY t.run_no
"""
_GROUPS = """
    SELECT r.run_key, min(q.group_name) FROM base.answers AS a
    JOIN base.questions AS q USING (set_no, question_no)
    JOIN base.runs AS r ON r.run_no = a.run_no
    SEMI JOIN wanted_runs AS w ON w.run_key = r.run_key
    WHERE q.group_name <> '' GROUP BY r.run_key
"""


@dataclass(frozen=True, slots=True)
class RunMaxima:
    """The largest value of each feature in each run, over some positions: a sparse table.

    Attributes:
        run_keys: the runs that were read, in the order in which they were named.
        n_asked: runs that were named; if more, those read are a sample of them.
        run_index: int32, into run_keys; with feature and value one row a feature that is stored
            there, ordered by run and feature.
        n_tokens: int32 [runs], of the chosen positions.
        n_capped: int32 [runs], of those tokens the ones on which more features fired than are
            stored: there, a feature without a row may have fired.
        max_active: the source's cap, activations a token; None if it has none.
        groups: [runs], what belongs together, such as the person that a question set asks about;
            None where nobody has said.
    """

    source_id: str
    d_sae: int
    run_keys: tuple[str, ...]
    n_asked: int
    run_index: IntColumn
    feature: IntColumn
    value: FloatColumn
    n_tokens: IntColumn
    n_capped: IntColumn
    max_active: int | None
    groups: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class _Runs:
    """The runs that are read: number in the answer, and which positions of each."""

    run_no: IntColumn
    is_shared: npt.NDArray[np.bool_]
    n_tokens: IntColumn
    low: IntColumn
    high: IntColumn

    def __len__(self) -> int:
        return len(self.run_no)


class CohortRepository:
    """Runs of one store as rows of features; every method may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get_run_maxima(
        self,
        source: str,
        run_keys: Sequence[str],
        positions: Positions = "generated",
        max_activations: int = PAGE_MAXIMA,
    ) -> RunMaxima:
        """The largest value of each feature in each of the runs.

        Args:
            source: id or name, of all of the runs.
            run_keys: one that comes twice is read once.
            positions: all; prompt; generated; or last_prompt, the token after which the answer
                begins. The first token is left out of `all` and `prompt` if it is a special one:
                what fires there says nothing of the text.
            max_activations: most that are read; of more runs a sample is taken.

        Raises:
            SourceNotFoundError: if nothing of the source is stored.
            RunNotFoundError: if one of the runs is not stored.
            InvalidSpecError: if one of them is of another source, or there are no such positions.
        """
        if positions not in POSITIONS:
            raise InvalidSpecError(
                "positions",
                f"There are no positions {positions[:40]!r}.",
                f"Use one of {', '.join(POSITIONS)}.",
            )
        keys = list(dict.fromkeys(run_keys))
        with self._store.read() as cursor:
            found = get_source(cursor, source)
            per_token = get_size(cursor, found).per_token
            chosen, runs = _find_runs(cursor, found, keys, positions, max_activations / per_token)
            kept = [keys[number] for number in chosen]
            batches = [_read_batch(cursor, found, runs, rows) for rows in _batches(runs, per_token)]
            groups = _read_groups(cursor, kept)
            [(max_active,)] = cursor.execute(
                "SELECT max_active FROM base.sources WHERE source_no = ?", [found.source_no]
            ).fetchall()
            n_capped = _count_capped(cursor, runs, max_active)
        columns = [np.concatenate(column) for column in zip(*batches, strict=True)] or [
            np.zeros(0, kind) for kind in (np.int32, np.int32, np.float32)
        ]
        return RunMaxima(
            source_id=found.source_id,
            d_sae=found.d_sae,
            run_keys=tuple(kept),
            n_asked=len(keys),
            run_index=columns[0],
            feature=columns[1],
            value=columns[2],
            n_tokens=runs.high - runs.low,
            n_capped=n_capped,
            max_active=max_active,
            groups=tuple(groups.get(key) for key in kept),
        )

    def get_groups(self, run_keys: Sequence[str]) -> dict[str, str]:
        """What each of the runs belongs to, by run key; runs of which nobody has said are left out.

        A run that answers questions of several groups is of the first by name.
        """
        with self._store.read() as cursor:
            return _read_groups(cursor, run_keys)


def _find_runs(
    cursor: duckdb.DuckDBPyConnection,
    source: StoredSource,
    keys: Sequence[str],
    positions: Positions,
    max_tokens: float,
) -> tuple[list[int], _Runs]:
    """The numbers of the keys that are read, and their runs."""
    with registered(cursor, wanted_runs=_wanted(keys)):
        rows = cursor.execute(_RUNS).fetchall()
    for number, run_no, source_no, *_ in rows:
        if run_no is None:
            raise RunNotFoundError(keys[number])
        if source_no != source.source_no:
            raise InvalidSpecError(
                "run_keys",
                f"The run {keys[number][:16]} is of another source than {source.source_id}.",
                "Compare runs of one source: the features of two have nothing in common.",
            )
    # a sample is the same at each call, and takes from the whole of the list
    order = np.random.default_rng(0).permutation(len(rows))
    up_to = np.cumsum([rows[number][3] for number in order])
    fitting = max(int(np.searchsorted(up_to, max_tokens, side="right")), 1)
    chosen = sorted(order[:fitting].tolist())
    run_no, n_tokens, n_prompt = (
        np.array([rows[number][column] for number in chosen], np.int32) for column in (1, 3, 4)
    )
    first = {number for (number,) in cursor.execute(_FIRST, [run_no.tolist()]).fetchall()}
    is_special = np.array([number in first for number in run_no.tolist()], np.int32)
    spans = {
        "all": (is_special, n_tokens),
        "prompt": (np.minimum(is_special, n_prompt), n_prompt),
        "generated": (n_prompt, n_tokens),
        "last_prompt": (np.maximum(n_prompt - 1, 0), n_prompt),
    }
    is_shared = np.array([rows[number][5] for number in chosen], np.bool_)
    return chosen, _Runs(run_no, is_shared, n_tokens, *spans[positions])


def _batches(runs: _Runs, per_token: float) -> Iterator[npt.NDArray[np.intp]]:
    """Rows of runs that are read together."""
    order = np.arange(len(runs))
    if len(order):
        number = (np.cumsum(runs.n_tokens) * per_token).astype(np.int64) // _BATCH
        yield from np.split(order, np.flatnonzero(np.diff(number)) + 1)


def _read_batch(
    cursor: duckdb.DuckDBPyConnection,
    source: StoredSource,
    runs: _Runs,
    rows: npt.NDArray[np.intp],
) -> tuple[IntColumn, IntColumn, FloatColumn]:
    """Run index, feature and maximum of some of the runs, ordered by run and feature."""
    tables = [cursor.sql(_OWN, params={"run_nos": runs.run_no[rows].tolist()}).to_arrow_table()]
    shared = runs.run_no[rows[runs.is_shared[rows]]].tolist()
    if shared:
        tables.append(cursor.sql(_SHARED, params={"run_nos": shared}).to_arrow_table())
    table = pa.concat_tables(tables)
    run_no, feature, position, code = (column.to_numpy() for column in table.columns)
    by_number = rows[np.argsort(runs.run_no[rows])]
    place = np.searchsorted(runs.run_no[by_number], run_no)
    index = by_number[place]
    inside = (position >= runs.low[index]) & (position < runs.high[index])
    width = max(source.d_sae, 1)
    key, code = place[inside] * width + feature[inside], code[inside]
    if (np.diff(key) < 0).any():
        # rows of an owner come after the run's own
        order = np.argsort(key, kind="stable")
        key, code = key[order], code[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    best = np.maximum.reduceat(code, starts) if len(starts) else code
    run_index, reached = by_number[key[starts] // width], key[starts] % width
    # from the order of the store to that of the answer
    order = np.argsort(run_index, kind="stable")
    return (
        run_index[order].astype(np.int32),
        reached[order].astype(np.int32),
        to_values(best[order], source.code_shift),
    )


def _count_capped(
    cursor: duckdb.DuckDBPyConnection, runs: _Runs, max_active: int | None
) -> IntColumn:
    """Of each run the tokens on which more features fired than are stored."""
    counts = np.zeros(len(runs), np.int32)
    if max_active is None or not len(runs):
        return counts
    spans = pa.table({"run_no": runs.run_no, "low": runs.low, "high": runs.high})
    with registered(cursor, spans=spans):
        rows = cursor.execute(
            _CAPPED, {"run_nos": runs.run_no.tolist(), "most": max_active}
        ).fetchall()
    found = dict(rows)
    counts[:] = [found.get(number, 0) for number in runs.run_no.tolist()]
    return counts


def _wanted(keys: Sequence[str]) -> pa.Table:
    safe = [key.encode("utf-8", "replace").decode() for key in keys]
    return pa.table(
        {
            "number": pa.array(range(len(keys)), pa.int32()),
            "run_key": pa.array(safe, pa.string()),
        }
    )


def _read_groups(cursor: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> dict[str, str]:
    with registered(cursor, wanted_runs=_wanted(keys)):
        return dict(cursor.execute(_GROUPS).fetchall())
