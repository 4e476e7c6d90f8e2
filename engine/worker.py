"""One thread, one queue, one device: the only place where models are loaded and run.

Invariant: a flight that was launched always ends, in `done` only after its run is stored whole;
torch is first imported in the worker's thread, when the first source must be loaded.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from engine.errors import DeviceError, EngineError, GenerationCancelled
from engine.flights import Flight
from engine.jobs import (
    EngineState,
    EngineStatus,
    JobFailure,
    JobState,
    to_failure,
    to_unexpected_failure,
)
from engine.loaded_source import LoadedSource
from engine.tools.rounds import read_round
from store.errors import RunNotFoundError, StoreError
from store.records import Failure, WholeRun
from store.runs import RunRepository
from store.vectors import read_vectors

if TYPE_CHECKING:
    from engine.compute import ComputedRun

_MAX_COLLECTED = 32
"""Runs that are stored in one transaction, which takes little longer than one of them alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Chore:
    """Work of the worker's thread that leaves no run: a source is prepared, loaded or freed.

    Attributes:
        source: name of the source that is meant; None frees whatever is loaded.
        do: does it. A GenerationCancelled ends it quietly; an EngineError is shown as the
            engine's state, where `is_load`.
        drop: called instead of `do` if the worker is closed first.
    """

    source: str | None
    do: Callable[[], None]
    is_load: bool = True
    drop: Callable[[], None] = lambda: None


class Worker:
    """Computes flights, and does chores, in the order in which they came."""

    def __init__(
        self, runs: RunRepository, loaded: LoadedSource, on_ended: Callable[[Flight], None]
    ) -> None:
        """Makes an idle worker.

        Args:
            runs: where computed runs and failures are stored.
            loaded: where a flight's source is loaded; used by this thread alone.
            on_ended: called with each flight once it is over, before its waiters wake.
        """
        self._runs = runs
        self._loaded = loaded
        self._on_ended = on_ended
        self._queue: deque[Flight | Chore] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._state: EngineState = "idle"
        self._failure: JobFailure | None = None
        self._current: Flight | Chore | None = None
        self._thread: threading.Thread | None = None
        self._collected: list[tuple[Flight, ComputedRun]] = []

    def launch(self, work: Flight | Chore) -> None:
        """Queues a flight or a chore; starts the thread if it is the first."""
        with self._changed:
            if self._closing:
                raise EngineError("The server is stopping.", "Ask again once it is back.")
            self._queue.append(work)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
                self._thread.start()
            self._changed.notify()

    def queue_position(self, work: Flight | Chore) -> int:
        """How many flights and chores come before this one; 0 if it runs, or is not queued."""
        with self._changed:
            if work not in self._queue:
                return 0
            return self._queue.index(work) + (1 if self._current else 0)

    def is_closing(self) -> bool:
        """Whether the worker is being closed."""
        return self._closing

    def status(self) -> EngineStatus:
        """What the worker is doing."""
        loaded = self._loaded.view()
        with self._changed:
            source = loaded.source
            if self._state == "loading" and self._current:
                source = _source_of(self._current)
            return EngineStatus(
                state=self._state,
                source=source,
                device=loaded.device,
                n_queued=len(self._queue),
                failure=self._failure,
                memory=loaded.memory,
                loaded_s=loaded.loaded_s,
            )

    def close(self) -> None:
        """Stops what runs at its next token, cancels what waits, and ends the thread."""
        with self._changed:
            self._closing = True
            waiting = list(self._queue)
            self._queue.clear()
            self._changed.notify()
        for work in waiting:
            if isinstance(work, Chore):
                work.drop()
            else:
                self._finish(work, "cancelled")
        if self._thread is not None:
            self._thread.join(timeout=30)
            self._loaded.thaw()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
                self._current = self._queue.popleft()
                if isinstance(self._current, Chore):
                    # in one step: who asks now must not see an idle engine
                    self._state, self._failure = "loading", None
            if isinstance(self._current, Chore):
                self._do(self._current)
            else:
                self._compute(self._current)
            if self._collected and not self._is_more_coming():
                self._store_collected()
            with self._changed:
                self._current = None
                if self._state != "error":
                    self._state = "idle"

    def _do(self, chore: Chore) -> None:
        self._set_state("loading" if chore.source else "busy")
        try:
            chore.do()
        except GenerationCancelled:
            pass
        except EngineError as error:
            if chore.is_load:
                self._set_state("error", to_failure(error))
        except Exception as error:  # noqa: BLE001 - as for a flight: no fault ends the thread
            self._set_state("error", to_unexpected_failure(error))

    def _compute(self, flight: Flight) -> None:
        self._attempt(flight, self._collect if flight.is_bulk else self._run)

    def _attempt(self, flight: Flight, run: Callable[[Flight], None]) -> None:
        try:
            if flight.is_stopping():
                raise GenerationCancelled
            self._board(flight)
            self._set_state("busy")
            run(flight)
        except GenerationCancelled:
            self._finish(flight, "cancelled")
        except (EngineError, StoreError) as error:
            self._fail(flight, to_failure(error))
        except Exception as error:  # noqa: BLE001 - the thread's last boundary: a fault in one
            # job, whatever library it comes from, must not end the worker of the whole team
            self._fail(flight, to_unexpected_failure(error))

    def _board(self, flight: Flight) -> None:
        """Has the flight's source in memory."""
        if self._loaded.holds(flight.spec.source):
            return
        flight.begin("loading")
        self._set_state("loading")
        try:
            self._loaded.load(flight.spec.source)
        except EngineError as error:
            self._set_state("error", to_failure(error))
            raise

    def _collect(self, flight: Flight) -> None:
        """Computes one of many runs, and stores it together with those that come with it."""
        try:
            self._collected.append((flight, self._computed(flight)))
        except DeviceError:
            self._run(flight)

    def _is_more_coming(self) -> bool:
        """Whether the next in the queue can be stored together with what is collected."""
        first = self._collected[0][0]
        with self._changed:
            following = self._queue[0] if self._queue else None
        return (
            len(self._collected) < _MAX_COLLECTED
            and isinstance(following, Flight)
            and following.is_bulk
            and following.spec.source == first.spec.source
        )

    def _store_collected(self) -> None:
        collected, self._collected = self._collected, []
        source = collected[0][0].spec.source
        try:
            self._runs.insert_runs(source, [_whole(*item) for item in collected])
        except StoreError:
            # perhaps one begins with a run that is gone: each by itself, and what is wrong is told
            for flight, _ in collected:
                self._attempt(flight, self._run)
            return
        for flight, computed in collected:
            if computed.prefix is not None:
                self._loaded.resident().prefixes.keep(computed.prefix)
            self._finish(flight, "done")

    def _computed(self, flight: Flight) -> ComputedRun:
        from engine.compute import Progress, compute_run

        progress = Progress(
            flight.on_prompt, flight.on_token, lambda: self._closing or flight.is_stopping()
        )
        flight.begin("running")
        computed = compute_run(
            self._loaded.resident(),
            flight.spec,
            flight.run_key,
            flight.created_by,
            progress,
            read_vectors(self._runs.store, flight.spec.steering),
        )
        flight.begin("storing")
        return computed

    def _run(self, flight: Flight) -> None:
        resident = self._loaded.resident()
        while True:
            try:
                computed = self._computed(flight)
                self._runs.insert_runs(flight.spec.source, [_whole(flight, computed)])
            except RunNotFoundError as error:
                # what it begins with was removed meanwhile: once more, without that
                resident.prefixes.forget(error.run_key)
            except DeviceError:
                # what earlier runs have left in memory gives way: once more, without any of it
                if not len(resident.prefixes):
                    raise
                resident.prefixes.clear()
            else:
                if computed.prefix is not None:
                    resident.prefixes.keep(computed.prefix)
                self._finish(flight, "done")
                return

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


def _whole(flight: Flight, computed: ComputedRun) -> WholeRun:
    """All that a run leaves, with the exchange that it ends, if it does."""
    found = read_round(flight.spec, flight.run_key, computed.tokens, flight.prior)
    return WholeRun(
        computed.run,
        computed.tokens,
        computed.activations,
        computed.shared,
        computed.interventions,
        found.exchange,
    )


def _source_of(work: Flight | Chore) -> str | None:
    return work.source if isinstance(work, Chore) else work.spec.source.name
