"""One thread, one queue, one device: the only place where models are loaded and run.

Invariant: a flight that was launched always ends, in `done` only after its run is stored whole;
torch is first imported here, in the worker's thread, when the first run must be computed.
"""

from __future__ import annotations

import gc
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from engine.catalog import Catalog
from engine.errors import EngineError, GenerationCancelled, RequestError
from engine.flights import Flight
from engine.jobs import EngineState, EngineStatus, JobFailure, JobState
from store.errors import StoreError
from store.records import Failure
from store.runs import RunRepository
from store.specs import SourceSpec

if TYPE_CHECKING:
    from engine.resident import ResidentSource


class Worker:
    """Computes flights in the order in which they came."""

    def __init__(
        self,
        runs: RunRepository,
        catalog: Catalog,
        device_setting: str,
        on_ended: Callable[[Flight], None],
    ) -> None:
        """Makes an idle worker.

        Args:
            runs: where computed runs and failures are stored.
            catalog: where a flight's source is found.
            device_setting: `cpu`, `cuda`, `cuda:1`, `mps` or `auto`.
            on_ended: called with each flight once it is over, before its waiters wake.
        """
        self._runs = runs
        self._catalog = catalog
        self._device_setting = device_setting
        self._on_ended = on_ended
        self._queue: deque[Flight] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._state: EngineState = "idle"
        self._failure: JobFailure | None = None
        self._current: Flight | None = None
        self._resident: ResidentSource | None = None
        self._device: str | None = None
        self._thread: threading.Thread | None = None

    def launch(self, flight: Flight) -> None:
        """Queues a flight; starts the thread if it is the first."""
        with self._changed:
            if self._closing:
                raise EngineError("The server is stopping.", "Ask again once it is back.")
            self._queue.append(flight)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
                self._thread.start()
            self._changed.notify()

    def queue_position(self, flight: Flight) -> int:
        """How many flights come before this one; 0 if it runs, or is not queued."""
        with self._changed:
            if flight not in self._queue:
                return 0
            return self._queue.index(flight) + (1 if self._current else 0)

    def status(self) -> EngineStatus:
        """What the worker is doing."""
        with self._changed:
            source = self._resident.source.spec.name if self._resident else None
            if self._state == "loading" and self._current:
                source = self._current.spec.source.name
            return EngineStatus(self._state, source, self._device, len(self._queue), self._failure)

    def close(self) -> None:
        """Stops what runs at its next token, cancels what waits, and ends the thread."""
        with self._changed:
            self._closing = True
            waiting = list(self._queue)
            self._queue.clear()
            self._changed.notify()
        for flight in waiting:
            self._finish(flight, "cancelled")
        if self._thread is not None:
            self._thread.join(timeout=30)
            # a process that goes on, or tidies up before it ends, needs to collect it after all
            gc.unfreeze()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
                self._current = self._queue.popleft()
            self._compute(self._current)
            with self._changed:
                self._current = None
                if self._state != "error":
                    self._state = "idle"

    def _compute(self, flight: Flight) -> None:
        try:
            if flight.is_stopping():
                raise GenerationCancelled
            resident = self._resident_for(flight)
            self._set_state("busy")
            self._run(resident, flight)
            self._finish(flight, "done")
        except GenerationCancelled:
            self._finish(flight, "cancelled")
        except (EngineError, StoreError) as error:
            self._fail(flight, _to_failure(error))
        except Exception as error:  # noqa: BLE001 - the thread's last boundary: a fault in one
            # job, whatever library it comes from, must not end the worker of the whole team
            reason = str(error).strip().splitlines() or [""]
            self._fail(
                flight,
                JobFailure(
                    type(error).__name__,
                    f"The engine failed unexpectedly: {type(error).__name__}: {reason[0][:200]}",
                    "Ask again; if it fails again, report this text with the model's name.",
                ),
            )

    def _run(self, resident: ResidentSource, flight: Flight) -> None:
        from engine.compute import Progress, compute_run

        flight.begin("running")
        progress = Progress(
            flight.on_prompt, flight.on_token, lambda: self._closing or flight.is_stopping()
        )
        computed = compute_run(resident, flight.spec, flight.run_key, flight.created_by, progress)
        flight.begin("storing")
        self._runs.insert_run(
            flight.spec.source, computed.run, computed.tokens, computed.activations
        )

    def _resident_for(self, flight: Flight) -> ResidentSource:
        wanted: SourceSpec = flight.spec.source
        if self._resident is not None and self._resident.source.spec == wanted:
            return self._resident
        flight.begin("loading")
        self._set_state("loading")
        # the old source goes first: two models at once may not fit
        self._resident = None
        from engine.resident import load_source

        try:
            source = self._catalog.resolve(wanted.name)
            if source.spec != wanted:
                raise EngineError(
                    f"The files of the source {wanted.name!r} changed while it was queued.",
                    "Ask again.",
                )
            self._resident = load_source(source, self._device_setting)
            # what a loaded model brings would be walked by every later collection, on every page
            gc.collect()
            gc.freeze()
        except EngineError as error:
            self._set_state("error", _to_failure(error))
            raise
        self._device = str(self._resident.language.device)
        return self._resident

    def _fail(self, flight: Flight, failure: JobFailure) -> None:
        record = Failure(
            run_key=flight.run_key,
            source_name=flight.spec.source.name,
            prompt=flight.spec.messages[-1].content,
            error_type=failure.error_type,
            message=failure.message,
            hint=failure.hint,
            created_by=flight.created_by,
            created_at=datetime.now(UTC),
        )
        try:
            self._runs.insert_failure(record)
        except StoreError as error:
            failure = JobFailure(
                failure.error_type, f"{failure.message} ({error.message})", failure.hint
            )
        self._finish(flight, "failed", failure)

    def _finish(self, flight: Flight, state: JobState, failure: JobFailure | None = None) -> None:
        self._on_ended(flight)
        flight.end(state, failure)

    def _set_state(self, state: EngineState, failure: JobFailure | None = None) -> None:
        with self._changed:
            self._state = state
            self._failure = failure


def _to_failure(error: EngineError | StoreError) -> JobFailure:
    return JobFailure(
        type(error).__name__, error.message, error.hint, isinstance(error, RequestError)
    )
