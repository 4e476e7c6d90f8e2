"""Cells measured once and kept: what makes a sweep resumable.

Invariant: a cell whose key is stored is never measured again; every cell of a sweep is in the store
before the next one begins.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict

from engine.sweeps.cells import CellPlan, SweepMeasure, cell_key
from engine.tasks import TaskProgress
from store.keys import canonical_json, source_id
from store.specs import SourceSpec
from store.sweep_records import MeasuredCell
from store.sweeps import SweepRepository


class CellRecorder:
    """Measures and stores the cells of one sweep, in order."""

    def __init__(
        self,
        repository: SweepRepository,
        sweep_id: str,
        source: SourceSpec,
        measure: SweepMeasure,
        progress: TaskProgress,
    ) -> None:
        self._repository = repository
        self._sweep_id = sweep_id
        self._source = source
        self._measure = measure
        self._progress = progress
        self._n_total = 0
        self._number = 0

    def expect(self, n_more: int) -> None:
        """Says that so many cells are still to come after those recorded so far."""
        self._n_total = self._number + n_more

    def tell(self, note: str) -> None:
        """Says what is being done."""
        self._progress.tell(self._number, max(self._n_total, self._number), note)

    def record(self, plan: CellPlan) -> MeasuredCell:
        """The cell as it is stored, measured now if it is not.

        Raises:
            GenerationCancelled: if the task was cancelled.
        """
        self.tell(f"{plan.arm}, strength {plan.strength:g}")
        key = cell_key(self._source, plan, self._measure.digest(plan.half))
        cell = self._repository.find_cell(key)
        if cell is None:
            began = time.perf_counter()
            measured = self._measure.measure(plan)
            cell = MeasuredCell(
                cell_key=key,
                source_id=source_id(self._source),
                steering=canonical_json([asdict(item) for item in plan.steering.interventions]),
                prefix=plan.instruction,
                split=plan.half,
                n=measured.n,
                success=measured.success,
                coherence=measured.coherence,
                side_effect=measured.side_effect,
                results=json.dumps(dict(measured.results), ensure_ascii=False),
                compute_s=time.perf_counter() - began,
            )
        self._repository.insert_cell(self._sweep_id, plan.place(self._number), cell)
        self._number += 1
        return cell
