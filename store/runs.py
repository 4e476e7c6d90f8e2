"""Runs: insert one whole, find it, list them, count hits, keep failures.

Invariant: a run is whole or absent. It goes in with its source, tokens and activations in one
transaction, and a key is never written twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import duckdb

from store.beginnings import check_beginning
from store.connection import Store
from store.errors import InvalidSpecError, RunNotFoundError
from store.ingest import CheckedRun, insert_all
from store.keys import source_id
from store.merging import request_merging
from store.records import (
    Activations,
    Failure,
    Run,
    SharedBeginning,
    StoredRun,
    StoreSummary,
    Token,
    TokenColumns,
    WholeRun,
)
from store.rows import TOKEN_COLUMNS, check_run, to_run, to_token_columns, to_utc
from store.sources import ensure_source
from store.specs import SourceSpec, is_storable
from store.steering_records import RunIntervention

MAX_AT_ONCE = 2**23
"""Most activations that are written in one transaction, unless one run has more."""

_MAX_NOTE_CHARS = 4_000

_SELECT_RUNS = """
    SELECT r.run_no, r.run_key, s.source_id, s.name, r.kind, r.prompt, r.response,
           r.messages::VARCHAR, r.n_prompt_tokens, r.n_generated_tokens, r.max_new_tokens,
           r.temperature, r.top_p, r.top_k, r.seed, r.tools, r.steering::VARCHAR, r.finish_reason,
           r.compute_s, r.created_by, r.created_at
    FROM base.runs AS r JOIN base.sources AS s USING (source_no)
"""
_STEERED = """
    SELECT run_no FROM base.runs JOIN base.sources USING (source_no)
    WHERE $1 IN (source_id, name) AND kind = 'generation' AND steering::VARCHAR <> '[]'
    ORDER BY base.runs.created_at DESC, run_no DESC LIMIT $2
"""
_PLAIN_OF = """
    SELECT plain.run_key
    FROM base.runs AS steered JOIN base.runs AS plain USING
        (source_no, kind, prompt, messages, tools, max_new_tokens, temperature, top_p, top_k, seed)
    WHERE steered.run_key = ? AND plain.steering::VARCHAR = '[]'
    ORDER BY plain.run_no DESC LIMIT 1
"""
_SELECT_TOKENS = (
    f"SELECT {', '.join(TOKEN_COLUMNS)} FROM base.tokens WHERE run_no = ? ORDER BY position"
)


class RunRepository:
    """Runs of one store; every method may be called from any thread.

    Every method raises StoreUnusableError if the file cannot be read or written.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def store(self) -> Store:
        """The store whose runs these are, for repositories beside this one."""
        return self._store

    def insert_run(
        self,
        source: SourceSpec,
        run: Run,
        tokens: tuple[Token, ...],
        activations: Activations,
        shared: SharedBeginning | None = None,
        interventions: tuple[RunIntervention, ...] = (),
    ) -> bool:
        """Writes a run whole, in one transaction; False if a run with its key was there already.

        Args:
            source: its row is made with the first run of it.
            run: `source_id` must be the source's; `hits` and `source_name` are not stored with it.
            tokens: all positions, from 0.
            activations: ordered by position and feature; of the tokens after the shared ones.
            shared: beginning whose activations another stored run has.
            interventions: what those of a steered run achieved.

        Raises:
            InvalidSpecError: if the parts do not fit each other, or a text is not valid Unicode.
            RunNotFoundError: if the run that it begins with is not stored.
        """
        whole = WholeRun(run, tokens, activations, shared, interventions)
        return self.insert_runs(source, [whole]) == 1

    def insert_runs(self, source: SourceSpec, runs: Sequence[WholeRun]) -> int:
        """Writes runs of one source, each whole; returns how many were not there already.

        All are written in one transaction, or in several if they have more than MAX_AT_ONCE
        activations: many runs at once take far less time than one by one.

        Raises:
            InvalidSpecError: if parts of a run do not fit each other, or a text is not valid
                Unicode; of its transaction nothing is stored then.
            RunNotFoundError: if a run that another begins with is not stored; likewise.
        """
        return sum(self._insert(source, batch) for batch in _batches(runs))

    def _insert(self, source: SourceSpec, runs: Sequence[WholeRun]) -> int:
        checked = {item.run.run_key: _checked(source, item) for item in reversed(runs)}
        try:
            with self._store.write() as cursor:
                for key in _stored_keys(cursor, list(checked)):
                    del checked[key]
                if not checked:
                    return 0
                new = list(reversed(checked.values()))
                [(run_no,)] = cursor.execute(
                    "SELECT coalesce(max(run_no), 0) + 1 FROM base.runs"
                ).fetchall()
                stored = ensure_source(cursor, source, new[0].run.created_at)
                insert_all(cursor, stored, run_no, new)
        except UnicodeEncodeError as error:
            raise InvalidSpecError("text", "A text of the run is not valid Unicode.") from error
        request_merging(self._store)
        return len(new)

    def find_run(self, run_key: str) -> StoredRun | None:
        """The run and its tokens, or None."""
        if not is_storable(run_key):
            return None
        with self._store.read() as cursor:
            found = _select_runs(cursor, "WHERE r.run_key = ?", run_key)
            if not found:
                return None
            [(run_no, run)] = found.items()
            tokens = cursor.execute(_SELECT_TOKENS, [run_no]).fetchall()
        return StoredRun(run, tuple(Token(*values) for values in tokens))

    def get_run(self, run_key: str) -> StoredRun:
        """The run and its tokens.

        Raises:
            RunNotFoundError: if no run has this key.
        """
        found = self.find_run(run_key)
        if found is None:
            raise RunNotFoundError(run_key)
        return found

    def has_run(self, run_key: str) -> bool:
        """Whether the run is stored, at the least cost."""
        if not is_storable(run_key):
            return False
        with self._store.read() as cursor:
            return _run_no(cursor, run_key) is not None

    def find_responses(self, run_keys: Sequence[str]) -> dict[str, str]:
        """What was generated, of those of the runs that are stored."""
        with self._store.read() as cursor:
            rows = cursor.execute(
                "SELECT run_key, response FROM base.runs"
                " WHERE run_key IN (SELECT unnest(?::VARCHAR[]))",
                [list(run_keys)],
            ).fetchall()
        return dict(rows)

    def insert_hit(self, run_key: str, hit_by: str) -> None:
        """Notes that the stored run was returned instead of being computed.

        Raises:
            RunNotFoundError: if no run has this key.
        """
        with self._store.write() as cursor:
            run_no = _run_no(cursor, run_key) if is_storable(run_key) else None
            if run_no is None:
                raise RunNotFoundError(run_key)
            cursor.execute(
                "INSERT INTO base.hits VALUES (?, ?, ?)",
                [run_no, _note(hit_by), to_utc(datetime.now(UTC))],
            )

    def list_recent_runs(self, limit: int = 20) -> tuple[Run, ...]:
        """The latest runs, newest first."""
        newest_first = "ORDER BY r.created_at DESC, r.run_no DESC LIMIT ?"
        with self._store.read() as cursor:
            return tuple(_select_runs(cursor, newest_first, max(limit, 0)).values())

    def list_steered_runs(self, source: str, limit: int = 20) -> tuple[Run, ...]:
        """The latest steered generations of a source, by its id or name, newest first."""
        with self._store.read() as cursor:
            rows = cursor.execute(_STEERED, [source, max(limit, 0)]).fetchall()
            found = _select_runs(cursor, "WHERE r.run_no IN ?", [row[0] for row in rows])
        return tuple(found[run_no] for (run_no,) in rows)

    def find_plain_run_key(self, run_key: str) -> str | None:
        """The key of the stored run that differs from a steered one by not being steered."""
        if not is_storable(run_key):
            return None
        with self._store.read() as cursor:
            rows = cursor.execute(_PLAIN_OF, [run_key]).fetchall()
        return str(rows[0][0]) if rows else None

    def list_source_ids(self) -> tuple[str, ...]:
        """The ids of all sources that have left runs, the newest first."""
        with self._store.read() as cursor:
            rows = cursor.execute(
                "SELECT source_id FROM base.sources ORDER BY created_at DESC, source_no DESC"
            ).fetchall()
        return tuple(source_id for (source_id,) in rows)

    def insert_failure(self, failure: Failure) -> None:
        """Keeps the reason of a computation that failed; over-long texts are cut."""
        texts = (
            failure.run_key,
            failure.source_name,
            failure.prompt,
            failure.error_type,
            failure.message,
            failure.hint,
            failure.created_by,
        )
        with self._store.write() as cursor:
            cursor.execute(
                "INSERT INTO base.failures VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [*(_note(text) for text in texts), to_utc(failure.created_at)],
            )

    def summarise(self) -> StoreSummary:
        """What the store holds and what the memo saved."""
        with self._store.read() as cursor:
            [row] = cursor.execute(
                """
                SELECT (SELECT count(*) FROM base.runs),
                       (SELECT coalesce(sum(n_tokens), 0) FROM base.runs),
                       (SELECT coalesce(sum(n_activations), 0) FROM base.segments), count(*),
                       coalesce(sum(compute_s), 0)
                FROM base.hits JOIN base.runs USING (run_no)
                """
            ).fetchall()
        return StoreSummary(
            n_runs=int(row[0]),
            n_tokens=int(row[1]),
            n_activations=int(row[2]),
            hits=int(row[3]),
            saved_s=float(row[4]),
            size_bytes=self._store.size_bytes,
        )


def _note(text: str) -> str:
    """A text that only informs: never a reason not to store it."""
    return text[:_MAX_NOTE_CHARS].encode("utf-8", "replace").decode("utf-8")


def _select_runs(
    cursor: duckdb.DuckDBPyConnection, condition: str, value: object
) -> dict[int, Run]:
    """Runs by number. Hits are counted apart: in one statement it takes four times as long."""
    rows = cursor.execute(_SELECT_RUNS + condition, [value]).fetchall()
    hits = cursor.execute(
        "SELECT run_no, count(*) FROM base.hits WHERE run_no IN ? GROUP BY run_no",
        [[row[0] for row in rows]],
    ).fetchall()
    counts = dict(hits)
    return {row[0]: to_run(row[1:], int(counts.get(row[0], 0))) for row in rows}


def _checked(source: SourceSpec, item: WholeRun) -> CheckedRun:
    run, tokens = item.run, item.tokens
    if run.source_id != source_id(source):
        raise InvalidSpecError("source_id", "The run names another source than it comes with.")
    columns = tokens if isinstance(tokens, TokenColumns) else to_token_columns(tokens)
    check_run(source, run, columns, item.activations)
    if item.shared is not None:
        own = item.activations.position
        first = int(own[0]) if len(own) else None
        check_beginning(columns, item.shared.n_tokens, first)
    return CheckedRun(
        run, columns, item.activations, item.shared, item.interventions, item.exchange
    )


def _batches(runs: Sequence[WholeRun]) -> Iterator[Sequence[WholeRun]]:
    """Runs together as long as they have at most MAX_AT_ONCE activations."""
    batch: list[WholeRun] = []
    n_activations = 0
    for item in runs:
        if batch and n_activations + len(item.activations) > MAX_AT_ONCE:
            yield batch
            batch, n_activations = [], 0
        batch.append(item)
        n_activations += len(item.activations)
    if batch:
        yield batch


def _stored_keys(cursor: duckdb.DuckDBPyConnection, run_keys: Sequence[str]) -> list[str]:
    """Those of the keys that are stored already."""
    rows = cursor.execute(
        "SELECT run_key FROM base.runs WHERE run_key IN (SELECT unnest(?::VARCHAR[]))",
        [list(run_keys)],
    ).fetchall()
    return [key for (key,) in rows]


def _run_no(cursor: duckdb.DuckDBPyConnection, run_key: str) -> int | None:
    # to the end: a result that is still open keeps the cursor from registering tables
    rows = cursor.execute("SELECT run_no FROM base.runs WHERE run_key = ?", [run_key]).fetchall()
    return int(rows[0][0]) if rows else None
