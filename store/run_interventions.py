"""What the interventions of a run achieved, as it was stored with the run.

Invariant: a steered run has one row an intervention, in the order of its steering.
"""

from __future__ import annotations

from dataclasses import fields

from store.connection import Store
from store.specs import is_storable
from store.steering_records import RunIntervention

_COLUMNS = ", ".join(item.name for item in fields(RunIntervention))


class RunInterventionRepository:
    """Interventions of the runs of one store; every method may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list_interventions(self, run_key: str) -> tuple[RunIntervention, ...]:
        """Those of a run, in their order; none for an unsteered run, or one that is not stored."""
        if not is_storable(run_key):
            return ()
        with self._store.read() as cursor:
            rows = cursor.execute(
                f"SELECT {_COLUMNS} FROM base.run_interventions WHERE run_no ="
                " (SELECT run_no FROM base.runs WHERE run_key = ?) ORDER BY number",
                [run_key],
            ).fetchall()
        return tuple(RunIntervention(*row) for row in rows)
