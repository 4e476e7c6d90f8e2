"""Runs that begin alike: whose activations those of the first tokens of a run are.

Invariant: every activation is stored once, under the run that computed it; a run that shares its
beginning names the owners of its first tokens, each of which computed what it is named for. An
owner is not deleted as long as another run names it.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from store.errors import InvalidSpecError, RunNotFoundError
from store.records import SharedBeginning, TokenColumns

_OWN = "SELECT position, feature, code FROM base.activations WHERE run_no = ?"
_WITH_OWNERS = """
    SELECT position, feature, code FROM base.activations WHERE run_no = $1
    UNION ALL
    SELECT a.position, a.feature, a.code FROM base.activations AS a
    JOIN base.beginnings AS b ON a.run_no = b.owner_run_no
        AND a.position >= b.first_position AND a.position < b.end_position
    WHERE b.run_no = $1 AND a.run_no IN (SELECT unnest($2::INTEGER[]))
"""


def check_beginning(tokens: TokenColumns, first_own: int, first_activation: int | None) -> None:
    """Refuses a beginning that leaves no token of the run's own, or that it computed itself.

    Args:
        tokens: of the run. first_own: position of its first token that is not shared.
        first_activation: least position of its activations, if it has any.

    Raises:
        InvalidSpecError: says what does not fit.
    """
    if not 0 < first_own < len(tokens):
        raise InvalidSpecError(
            "shared", "A shared beginning is shorter than the run, and not empty."
        )
    if first_activation is not None and first_activation < first_own:
        raise InvalidSpecError(
            "shared", "A run has no activations of its own in a shared beginning."
        )


def insert_beginning(
    cursor: duckdb.DuckDBPyConnection,
    source_no: int,
    run_no: int,
    tokens: TokenColumns,
    shared: SharedBeginning,
) -> None:
    """Notes whose activations the first tokens of a run have.

    Raises:
        RunNotFoundError: if the run that has them is not stored.
        InvalidSpecError: if it is of another source, or does not begin with the same tokens.
    """
    found = cursor.execute(
        "SELECT run_no, source_no FROM base.runs WHERE run_key = ?", [shared.run_key]
    ).fetchall()
    if not found:
        raise RunNotFoundError(shared.run_key)
    [(owner_no, owner_source_no)] = found
    stored = cursor.execute(
        "SELECT token_id FROM base.tokens WHERE run_no = ? AND position < ? ORDER BY position",
        [owner_no, shared.n_tokens],
    ).fetchall()
    wanted = [int(token_id) for token_id in tokens.token_id[: shared.n_tokens]]
    if owner_source_no != source_no or [token_id for (token_id,) in stored] != wanted:
        raise InvalidSpecError("shared", "The run that is named does not begin with these tokens.")
    pieces = cursor.execute(
        """
        SELECT owner_run_no, first_position, least(end_position, $2) FROM base.beginnings
        WHERE run_no = $1 AND first_position < $2 ORDER BY first_position
        """,
        [owner_no, shared.n_tokens],
    ).fetchall()
    covered = pieces[-1][2] if pieces else 0
    if covered < shared.n_tokens:
        pieces.append((owner_no, covered, shared.n_tokens))
    cursor.executemany(
        "INSERT INTO base.beginnings VALUES (?, ?, ?, ?)", [[run_no, *piece] for piece in pieces]
    )


def read_activations(cursor: duckdb.DuckDBPyConnection, run_no: int) -> pa.Table:
    """Position, feature and code of all activations of a run, those of its beginning included.

    Those of one position come in the order of their features.
    """
    owners = cursor.execute(
        "SELECT owner_run_no FROM base.beginnings WHERE run_no = ?", [run_no]
    ).fetchall()
    if not owners:
        return cursor.sql(_OWN, params=[run_no]).to_arrow_table()
    numbers = [number for (number,) in owners]
    return cursor.sql(_WITH_OWNERS, params=[run_no, numbers]).to_arrow_table()


def list_needed(cursor: duckdb.DuckDBPyConnection, run_nos: Sequence[int]) -> set[int]:
    """Of these runs, those that others begin with which are not among them."""
    rows = cursor.execute(
        """
        SELECT DISTINCT owner_run_no FROM base.beginnings
        WHERE owner_run_no IN (SELECT unnest($1::INTEGER[]))
            AND run_no NOT IN (SELECT unnest($1::INTEGER[]))
        """,
        [list(run_nos)],
    ).fetchall()
    return {number for (number,) in rows}
