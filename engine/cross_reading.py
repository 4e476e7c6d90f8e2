"""How likely each of two answers is under the steering of the other.

Both token sequences are read again as they stand, each with the interventions of the other run:
nothing is generated, and nothing is stored, for it follows from the two runs.

Invariant: no tensor in any signature; only runs of one source are read across.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import RequestError, SourceMismatchError
from engine.lab_context import LabContext
from engine.tasks import TaskProgress, TaskResult, TaskView
from store.keys import source_id
from store.records import StoredRun
from store.runs import RunRepository
from store.specs import parse_interventions
from store.vectors import read_vectors

if TYPE_CHECKING:
    from engine.resident import ResidentSource

_KEPT = 256
_Keys = tuple[str, str]


@dataclass(frozen=True, slots=True)
class CrossReading:
    """Natural log probabilities by position; the first position of a run has none.

    Attributes:
        first_under_second: tokens of the first run under the steering of the second.
        second_under_first: the other way round.
    """

    first_under_second: tuple[float | None, ...]
    second_under_first: tuple[float | None, ...]


class CrossReader:
    """Reads pairs of stored runs across; all methods may be called from any thread."""

    def __init__(self, context: LabContext) -> None:
        self._context = context
        self._runs = RunRepository(context.store)
        self._found: OrderedDict[_Keys, CrossReading] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, first: str, second: str) -> CrossReading | None:
        """What was read of two runs since the server started; None if they were not."""
        with self._lock:
            return self._found.get((first, second))

    def start(self, first: str, second: str, asked_by: str) -> TaskView:
        """Reads two stored runs across; a task of the kind `across`.

        Raises:
            RunNotFoundError: if one is not stored.
            SourceMismatchError: if they are of two sources.
        """
        runs = self._runs.get_run(first), self._runs.get_run(second)
        if runs[0].run.source_id != runs[1].run.source_id:
            raise SourceMismatchError(
                "The two runs are of different sources.", "Compare runs of one source."
            )

        def read(progress: TaskProgress) -> TaskResult:
            progress.tell(0, 1, "reading both answers")
            name = runs[0].run.source_name
            reading = self._context.asker.lend(
                name, lambda resident: self._read(resident, runs), progress.is_cancelled
            )
            with self._lock:
                self._found[first, second] = reading
                while len(self._found) > _KEPT:
                    self._found.popitem(last=False)
            return {"first": first, "second": second}

        key = json.dumps([first, second])
        title = "Each answer under the other's steering"
        return self._context.tasks.start("across", key, title, asked_by, read)

    def _read(self, resident: ResidentSource, runs: tuple[StoredRun, StoredRun]) -> CrossReading:
        if source_id(resident.source.spec) != runs[0].run.source_id:
            raise RequestError(
                "The source has changed since these runs were computed.", "Run both again."
            )
        first, second = runs
        return CrossReading(
            self._under(resident, first, second), self._under(resident, second, first)
        )

    def _under(
        self, resident: ResidentSource, read: StoredRun, other: StoredRun
    ) -> tuple[float | None, ...]:
        from engine.batches import read_batch
        from engine.steering_plan import make_ready

        steering = parse_interventions(json.loads(other.run.steering))
        ready = None
        if steering.interventions:
            vectors = read_vectors(self._context.store, steering)
            ready = make_ready(resident.sae, resident.source.hook, steering, vectors)
        ids = [token.token_id for token in read.tokens]
        [reading] = read_batch(resident, [ids], [read.run.n_prompt_tokens], ready)
        return (None, *(float(value) for value in reading.logprobs.tolist()))
