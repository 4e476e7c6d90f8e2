"""Calls of tools, read back; and the run that ends an exchange, found by its first round.

Invariant: an exchange is found only while the run that ends it is stored.
"""

from __future__ import annotations

from collections.abc import Sequence

from store.connection import Store
from store.errors import RunNotFoundError
from store.exchange_records import Exchange, ToolCall
from store.exchanges import insert_exchange

_SELECT_CALLS = """
    SELECT r.run_key, c.step, c.tool, c.arguments::VARCHAR, c.result::VARCHAR, c.status,
           coalesce(c.detail, ''), coalesce(o.run_key, ''), c.elapsed_s
    FROM base.tool_calls AS c
    JOIN base.runs AS r USING (run_no)
    LEFT JOIN base.runs AS o ON o.run_no = c.call_run_no
    WHERE r.run_key IN (SELECT unnest(?::VARCHAR[]))
    ORDER BY c.run_no, c.step
"""
_SELECT_LAST = """
    SELECT f.run_key, r.run_key FROM base.exchanges AS e
    JOIN base.runs AS f ON f.run_no = e.first_run_no
    JOIN base.runs AS r ON r.run_no = e.run_no
    WHERE f.run_key IN (SELECT unnest(?::VARCHAR[]))
    ORDER BY e.run_no
"""


class ToolCallRepository:
    """Tool calls of one store; every method may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list_calls(self, run_key: str) -> tuple[ToolCall, ...]:
        """Calls of the exchange that a run ends, in order; none if it has none."""
        return self.list_calls_of([run_key]).get(run_key, ())

    def list_calls_of(self, run_keys: Sequence[str]) -> dict[str, tuple[ToolCall, ...]]:
        """The same of many runs; those without calls are left out."""
        with self._store.read() as cursor:
            rows = cursor.execute(_SELECT_CALLS, [list(run_keys)]).fetchall()
        calls: dict[str, tuple[ToolCall, ...]] = {}
        for run_key, *values in rows:
            calls[run_key] = (*calls.get(run_key, ()), ToolCall(*values))
        return calls

    def find_last(self, first_run_key: str) -> str | None:
        """Key of the run that ends the exchange which began with a run; None if there is none."""
        return self.find_last_of([first_run_key]).get(first_run_key)

    def find_last_of(self, first_run_keys: Sequence[str]) -> dict[str, str]:
        """The same for many first rounds; those without an exchange are left out."""
        with self._store.read() as cursor:
            return dict(cursor.execute(_SELECT_LAST, [list(first_run_keys)]).fetchall())

    def insert_exchange(self, run_key: str, exchange: Exchange) -> bool:
        """Notes how a stored run was come to; False if that was noted already.

        Raises:
            RunNotFoundError: if the run is not stored.
        """
        with self._store.write() as cursor:
            rows = cursor.execute(
                "SELECT run_no FROM base.runs WHERE run_key = ?", [run_key]
            ).fetchall()
            if not rows:
                raise RunNotFoundError(run_key)
            [(run_no,)] = rows
            noted = cursor.execute(
                "SELECT 1 FROM base.exchanges AS e JOIN base.runs AS f"
                " ON f.run_no = e.first_run_no WHERE e.run_no = ? AND f.run_key = ?",
                [run_no, exchange.first_run_key],
            ).fetchall()
            if noted:
                return False
            # calls of another exchange that ends in the same run are the same ones
            known = cursor.execute(
                "SELECT 1 FROM base.tool_calls WHERE run_no = ?", [run_no]
            ).fetchall()
            calls = () if known else exchange.calls
            insert_exchange(
                cursor, run_no, Exchange(exchange.first_run_key, exchange.n_rounds, calls)
            )
        return True
