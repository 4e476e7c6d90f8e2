"""Many runs at once, as columns: what they are, their tokens, their activations.

Invariant: runs come in the order that was asked for; tokens by run and position; activations of a
run are all of them, those of a beginning that it shares included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np

from store.codes import to_values
from store.connection import Store
from store.errors import RunNotFoundError
from store.records import BoolColumn, DoubleColumn, FloatColumn, IntColumn

_RUNS = """
    SELECT r.run_no, s.source_id, r.prompt, r.response, r.n_prompt_tokens, r.n_generated_tokens,
           r.tools, r.steering::VARCHAR NOT IN ('[]', 'null') AS is_steered, r.finish_reason,
           s.code_shift, r.n_tokens
    FROM (SELECT unnest($1::VARCHAR[]) AS run_key, unnest($2::INTEGER[]) AS place) AS w
    JOIN base.runs AS r USING (run_key) JOIN base.sources AS s USING (source_no)
    ORDER BY w.place
"""
_TOKENS = """
    SELECT w.place AS run, t.position, t.token_id, t.text, t.is_generated, t.is_special, t.logprob,
           t.entropy, t.n_active
    FROM (SELECT unnest($1::INTEGER[]) AS run_no, unnest($2::INTEGER[]) AS place) AS w
    JOIN base.tokens AS t USING (run_no) ORDER BY w.place, t.position
"""
_ACTIVATIONS = """
    WITH wanted AS (SELECT unnest($1::INTEGER[]) AS run_no, unnest($2::INTEGER[]) AS place)
    SELECT w.place AS run, a.position, a.feature, a.code
    FROM base.activations AS a JOIN wanted AS w USING (run_no)
    UNION ALL
    SELECT w.place AS run, a.position, a.feature, a.code
    FROM base.beginnings AS b JOIN wanted AS w USING (run_no)
    JOIN base.activations AS a ON a.run_no = b.owner_run_no
        AND a.position >= b.first_position AND a.position < b.end_position
    WHERE a.run_no IN (SELECT unnest($3::INTEGER[]))
"""
_OWNERS = """
    SELECT DISTINCT owner_run_no FROM base.beginnings
    WHERE run_no IN (SELECT unnest(?::INTEGER[]))
"""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run is, without its tokens. `is_steered`: whether anything was changed inside."""

    run_key: str
    source_id: str
    prompt: str
    response: str
    n_prompt_tokens: int
    n_generated_tokens: int
    tools: bool
    is_steered: bool
    finish_reason: str


@dataclass(frozen=True, slots=True)
class TokensOfRuns:
    """Tokens of several runs, columns of one length; NaN where a figure is not known.

    Attributes:
        run: index of the run among those asked for.
        n_active: features that fired, also where fewer are stored.
    """

    run: IntColumn
    position: IntColumn
    token_id: IntColumn
    text: Sequence[str]
    is_generated: BoolColumn
    is_special: BoolColumn
    logprob: DoubleColumn
    entropy: DoubleColumn
    n_active: IntColumn


@dataclass(frozen=True, slots=True)
class ActivationsOfRuns:
    """Activations above zero of several runs, columns of one length, in no order.

    Attributes:
        run: index of the run among those asked for.
    """

    run: IntColumn
    position: IntColumn
    feature: IntColumn
    value: FloatColumn


class RunColumnRepository:
    """Columns of many runs; every method may be called from any thread.

    Every method raises RunNotFoundError if a run is not stored.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def list_facts(self, run_keys: Sequence[str]) -> tuple[RunFacts, ...]:
        """What each run is, in the order asked for."""
        with self._store.read() as cursor:
            rows = _find(cursor, run_keys)
        return tuple(RunFacts(key, *row[1:9]) for key, row in zip(run_keys, rows, strict=True))

    def get_tokens(self, run_keys: Sequence[str]) -> TokensOfRuns:
        """All tokens of the runs."""
        with self._store.read() as cursor:
            numbers = [row[0] for row in _find(cursor, run_keys)]
            table = cursor.sql(
                _TOKENS, params=[numbers, list(range(len(numbers)))]
            ).to_arrow_table()
        column = {
            name: table.column(name).to_numpy() for name in table.column_names if name != "text"
        }
        return TokensOfRuns(
            run=column["run"],
            position=column["position"],
            token_id=column["token_id"],
            text=table.column("text").to_pylist(),
            is_generated=column["is_generated"].astype(np.bool_),
            is_special=column["is_special"].astype(np.bool_),
            logprob=column["logprob"].astype(np.float64),
            entropy=column["entropy"].astype(np.float64),
            n_active=column["n_active"],
        )

    def get_activations(self, run_keys: Sequence[str]) -> ActivationsOfRuns:
        """All activations of the runs; ask for a few hundred runs at a time."""
        with self._store.read() as cursor:
            rows = _find(cursor, run_keys)
            numbers = [row[0] for row in rows]
            owners = [number for (number,) in cursor.execute(_OWNERS, [numbers]).fetchall()]
            table = cursor.sql(
                _ACTIVATIONS, params=[numbers, list(range(len(numbers))), owners]
            ).to_arrow_table()
        code = table.column("code").to_numpy()
        run = table.column("run").to_numpy()
        shifts = np.array([row[9] for row in rows], np.uint32)
        value = np.empty(len(code), np.float32)
        for shift in np.unique(shifts):
            inside = shifts[run] == shift
            value[inside] = to_values(code[inside], int(shift))
        return ActivationsOfRuns(
            run, table.column("position").to_numpy(), table.column("feature").to_numpy(), value
        )


def _find(cursor: duckdb.DuckDBPyConnection, run_keys: Sequence[str]) -> list[tuple[Any, ...]]:
    """The rows of the runs, in the order asked for.

    Raises:
        RunNotFoundError: names the first that is not stored.
    """
    keys = list(run_keys)
    rows: list[tuple[Any, ...]] = cursor.execute(_RUNS, [keys, list(range(len(keys)))]).fetchall()
    if len(rows) < len(keys):
        stored = cursor.execute(
            "SELECT run_key FROM base.runs WHERE run_key IN (SELECT unnest(?::VARCHAR[]))", [keys]
        ).fetchall()
        missing = set(keys) - {key for (key,) in stored}
        raise RunNotFoundError(next((key for key in keys if key in missing), keys[0]))
    return rows
