"""How large the residuals of a source's model are, layer by layer: measured once, then read.

Invariant: all layers of a source are measured together, on the same texts, or none is stored; what
is stored is never changed, so that a strength in this unit always resolves to the same number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from datetime import UTC, datetime

from store.connection import Store
from store.rows import to_utc
from store.steering_records import ResidualNorm


class ResidualNormRepository:
    """Residual norms of one store; every method may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find_norms(self, source_id: str) -> Mapping[int, ResidualNorm] | None:
        """Norms by layer (-1 is the embedding), or None if they were not measured yet."""
        with self._store.read() as cursor:
            rows = cursor.execute(
                "SELECT layer, mean_norm, mean_std, n_tokens FROM base.residual_norms"
                " WHERE source_id = ? ORDER BY layer",
                [source_id],
            ).fetchall()
        return {row[0]: ResidualNorm(*row) for row in rows} or None

    def insert_norms(self, source_id: str, norms: Sequence[ResidualNorm], texts: str) -> None:
        """Keeps the norms of all layers, unless some were kept before.

        Args:
            source_id: whose they are.
            norms: one a layer.
            texts: name of the texts that they were measured on.
        """
        now = to_utc(datetime.now(UTC))
        with self._store.write() as cursor:
            known = cursor.execute(
                "SELECT 1 FROM base.residual_norms WHERE source_id = ? LIMIT 1", [source_id]
            ).fetchall()
            if known:
                return
            cursor.executemany(
                "INSERT INTO base.residual_norms VALUES (?, ?, ?, ?, ?, ?, ?)",
                [[source_id, *astuple(item), texts, now] for item in norms],
            )
