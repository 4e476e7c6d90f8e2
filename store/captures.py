"""Residuals at single positions of runs, kept so that the model need not be asked again.

Invariant: a position of a run is kept once; values come back bit for bit, as float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from store.connection import Store
from store.records import FloatColumn


@dataclass(frozen=True, slots=True)
class Capture:
    """What the model computed at one position.

    Attributes:
        residual: [d_in], at the source's hook point.
        margin: how far, in nats, the likeliest token was ahead of the second one in the
            distribution that this token was drawn from; None for position 0.
    """

    run_key: str
    position: int
    residual: FloatColumn
    margin: float | None


class CaptureRepository:
    """Captures of one store; every method may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def insert_captures(self, captures: Sequence[Capture]) -> None:
        """Keeps captures of stored runs; what is kept already, or of other runs, is passed over."""
        rows = [
            [
                item.position,
                np.ascontiguousarray(item.residual, "<f4").tobytes(),
                item.margin,
                item.run_key,
                item.position,
            ]
            for item in captures
        ]
        if not rows:
            return
        with self._store.write(is_counted=False) as cursor:
            cursor.executemany(
                "INSERT INTO base.captures"
                " SELECT r.run_no, ?, ?, ? FROM base.runs AS r WHERE r.run_key = ? AND NOT EXISTS ("
                "SELECT 1 FROM base.captures AS c WHERE c.run_no = r.run_no AND c.position = ?)",
                rows,
            )

    def list_captures(self, run_keys: Sequence[str]) -> tuple[Capture, ...]:
        """All captures of these runs."""
        with self._store.read() as cursor:
            rows = cursor.execute(
                "SELECT r.run_key, c.position, c.residual, c.margin FROM base.captures AS c"
                " JOIN base.runs AS r USING (run_no)"
                " WHERE r.run_key IN (SELECT unnest(?::VARCHAR[])) ORDER BY c.run_no, c.position",
                [list(run_keys)],
            ).fetchall()
        return tuple(
            Capture(key, position, np.frombuffer(residual, "<f4"), margin)
            for key, position, residual, margin in rows
        )
