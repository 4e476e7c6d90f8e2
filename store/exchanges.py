"""Exchanges with tools, written with the run that ends them.

Invariant: an exchange is written once, in the transaction of the run that it hangs on, with all its
calls; what it names is stored.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from store.exchange_records import Exchange


def insert_exchange(cursor: duckdb.DuckDBPyConnection, run_no: int, exchange: Exchange) -> None:
    """Notes how a run was come to. Rounds that are no longer stored are not named.

    Args:
        cursor: of a writing transaction.
        run_no: of the run that ends the exchange; its row is there already.
        exchange: its rounds and calls.
    """
    keys = {exchange.first_run_key, *(call.call_run_key for call in exchange.calls)}
    numbers = dict(
        cursor.execute(
            "SELECT run_key, run_no FROM base.runs WHERE run_key IN (SELECT unnest(?::VARCHAR[]))",
            [list(keys)],
        ).fetchall()
    )
    first_run_no = numbers.get(exchange.first_run_key)
    if first_run_no is None:
        return
    cursor.execute(
        "INSERT INTO base.exchanges VALUES (?, ?, ?)", [run_no, first_run_no, exchange.n_rounds]
    )
    if exchange.calls:
        cursor.executemany(
            "INSERT INTO base.tool_calls"
            " (run_no, step, tool, arguments, result, status, call_run_no, detail, elapsed_s)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                [
                    run_no,
                    call.step,
                    call.tool,
                    call.arguments,
                    call.result,
                    call.status,
                    numbers.get(call.call_run_key),
                    call.detail or None,
                    call.elapsed_s,
                ]
                for call in exchange.calls
            ],
        )


def forget_exchanges(cursor: duckdb.DuckDBPyConnection, run_nos: Sequence[int]) -> None:
    """Takes out what names runs that are being deleted: their numbers may be given again."""
    numbers = [list(run_nos)]
    gone = "IN (SELECT unnest(?::INTEGER[]))"
    cursor.execute(f"DELETE FROM base.exchanges WHERE first_run_no {gone}", numbers)
    cursor.execute(
        f"UPDATE base.tool_calls SET call_run_no = NULL WHERE call_run_no {gone}", numbers
    )
