"""Activations of one run, read back as columns.

Invariant: bulk data leaves as columns that DuckDB filled through Arrow, ordered by position and
feature, and equal to what was written: bit for bit, or rounded as codes.py says.
"""

from __future__ import annotations

from store.beginnings import read_activations
from store.connection import Store
from store.errors import RunNotFoundError
from store.records import Activations
from store.rows import to_activations
from store.specs import is_storable


class ActivationRepository:
    """Activations of one store; every method may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get_run_activations(self, run_key: str) -> Activations:
        """All that is stored of the run.

        Raises:
            RunNotFoundError: if no run has this key.
            StoreUnusableError: if the file cannot be read.
        """
        if not is_storable(run_key):
            raise RunNotFoundError(run_key)
        with self._store.read() as cursor:
            # read to the end: a result that is still open keeps the cursor from `sql`
            found = cursor.execute(
                """
                SELECT run_no, n_tokens, code_shift
                FROM base.runs JOIN base.sources USING (source_no) WHERE run_key = ?
                """,
                [run_key],
            ).fetchall()
            if not found:
                raise RunNotFoundError(run_key)
            [(run_no, n_tokens, shift)] = found
            table = read_activations(cursor, run_no)
        return to_activations(table, n_tokens, shift)
