"""Sweeps: kept cell by cell, so that one that stopped goes on where it was.

Invariant: a cell is stored once under a digest of all that decides its numbers, and never changed;
a sweep names cells, and has each place once.
"""

from __future__ import annotations

from dataclasses import astuple, fields
from datetime import UTC, datetime
from typing import Any

from store.connection import Store
from store.errors import SweepNotFoundError
from store.rows import from_utc, to_utc
from store.specs import is_storable
from store.sweep_records import CellPlace, Estimate, MeasuredCell, Sweep, SweepCell, SweepDraft

_SWEEP = ", ".join(
    f"{item.name}::VARCHAR AS {item.name}" if item.name in ("spec", "summary") else item.name
    for item in fields(Sweep)
)
_MEASURED = (
    "cell_key, source_id, steering::VARCHAR, prefix, split, n, success, success_low, success_high,"
    " coherence, coherence_low, coherence_high, side_effect, side_effect_low, side_effect_high,"
    " results::VARCHAR, compute_s"
)
_PLACE = ", ".join(item.name for item in fields(CellPlace))
_N_MEASURED = 17


class SweepRepository:
    """Sweeps of one store; every method may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def insert_sweep(self, draft: SweepDraft) -> Sweep:
        """Stores a sweep; one of the same id that is stored already is returned as it is."""
        values = [getattr(draft, item.name) for item in fields(draft)]
        with self._store.write() as cursor:
            cursor.execute(
                "INSERT INTO base.sweeps (sweep_id, name, task, source_id, source_name, spec,"
                " created_by, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [*values, to_utc(datetime.now(UTC))],
            )
        return self.get_sweep(draft.sweep_id)

    def finish_sweep(self, sweep_id: str, summary: str) -> None:
        """Notes what came of a sweep, as JSON text."""
        with self._store.write() as cursor:
            cursor.execute(
                "UPDATE base.sweeps SET summary = ?, finished_at = ? WHERE sweep_id = ?",
                [summary, to_utc(datetime.now(UTC)), sweep_id],
            )

    def get_sweep(self, sweep_id: str) -> Sweep:
        """The sweep.

        Raises:
            SweepNotFoundError: if none has this id.
        """
        with self._store.read() as cursor:
            rows = cursor.execute(
                f"SELECT {_SWEEP} FROM main.sweeps WHERE sweep_id = ?",
                [sweep_id if is_storable(sweep_id) else ""],
            ).fetchall()
        if not rows:
            raise SweepNotFoundError(sweep_id)
        return _to_sweep(rows[0])

    def list_sweeps(self, source: str | None = None, limit: int = 50) -> tuple[Sweep, ...]:
        """Sweeps, newest first, of one source (its name or id) if it is given."""
        with self._store.read() as cursor:
            rows = cursor.execute(
                f"SELECT {_SWEEP} FROM main.sweeps WHERE $1 IS NULL OR source_id = $1 OR"
                " source_name = $1 ORDER BY created_at DESC, sweep_id LIMIT $2",
                [source, max(limit, 0)],
            ).fetchall()
        return tuple(_to_sweep(row) for row in rows)

    def find_cell(self, cell_key: str) -> MeasuredCell | None:
        """What was measured under a key, or None."""
        with self._store.read() as cursor:
            rows = cursor.execute(
                f"SELECT {_MEASURED} FROM base.sweep_cells WHERE cell_key = ?", [cell_key]
            ).fetchall()
        return _to_measured(rows[0]) if rows else None

    def insert_cell(self, sweep_id: str, place: CellPlace, cell: MeasuredCell) -> None:
        """Stores a cell, if it is new, at its place in a sweep; both or neither."""
        plain: list[Any] = [
            cell.cell_key,
            cell.source_id,
            cell.steering,
            cell.prefix,
            cell.split,
            cell.n,
            *astuple(cell.success),
            *astuple(cell.coherence),
            *astuple(cell.side_effect),
            cell.results,
            cell.compute_s,
            to_utc(datetime.now(UTC)),
        ]
        with self._store.write() as cursor:
            marks = ", ".join("?" * len(plain))
            cursor.execute(
                f"INSERT INTO base.sweep_cells VALUES ({marks}) ON CONFLICT DO NOTHING", plain
            )
            cursor.execute(
                f"INSERT OR REPLACE INTO base.sweep_entries (sweep_id, cell_key, {_PLACE})"
                f" VALUES (?, ?, {', '.join('?' * len(fields(CellPlace)))})",
                [sweep_id, cell.cell_key, *astuple(place)],
            )

    def list_cells(self, sweep_id: str) -> tuple[SweepCell, ...]:
        """The cells of a sweep so far, in their order."""
        with self._store.read() as cursor:
            rows = cursor.execute(
                f"SELECT {_MEASURED}, {_PLACE} FROM base.sweep_entries"
                " JOIN base.sweep_cells USING (cell_key) WHERE sweep_id = ? ORDER BY number",
                [sweep_id if is_storable(sweep_id) else ""],
            ).fetchall()
        return tuple(
            SweepCell(CellPlace(*row[_N_MEASURED:]), _to_measured(row[:_N_MEASURED]))
            for row in rows
        )


def _to_sweep(row: tuple[Any, ...]) -> Sweep:
    created_at, finished_at = row[-2:]
    ended = from_utc(finished_at) if finished_at else None
    values: list[Any] = [*row[:-2], from_utc(created_at), ended]
    return Sweep(*values)


def _to_measured(row: tuple[Any, ...]) -> MeasuredCell:
    estimates = (Estimate(*row[start : start + 3]) for start in (6, 9, 12))
    return MeasuredCell(*row[:6], *estimates, *row[15:])
