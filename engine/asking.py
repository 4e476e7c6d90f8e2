"""Asking: requests become jobs, jobs are followed, and work is lent the source that is loaded.

Invariant: every computation goes through the one worker, whoever asks; an answer that is stored is
returned without loading anything.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from engine.catalog import Catalog
from engine.errors import EngineError, GenerationCancelled, JobNotFoundError, RequestError
from engine.exchanges import Exchanges
from engine.flights import Flight, Job
from engine.jobs import JobView, RunRequest
from engine.loaded_source import LoadedSource
from engine.memo import Memo
from engine.steering_request import NormsNeeded, SteeringResolver
from engine.submission import Submitter
from engine.toolboxes import Toolboxes
from engine.worker import Chore, Worker
from store.runs import RunRepository
from store.specs import SteeringSpec

if TYPE_CHECKING:
    from engine.resident import ResidentSource

T = TypeVar("T")

_JOBS_KEPT = 1000
_WAIT_SLICE_S = 0.05


class Asker:
    """Jobs of one engine. All methods may be called from any thread."""

    def __init__(
        self, catalog: Catalog, runs: RunRepository, worker: Worker, loaded: LoadedSource
    ) -> None:
        self._worker = worker
        self._loaded = loaded
        self._memo = Memo(runs, worker.launch)
        boxes = Toolboxes(runs.store)
        exchanges = Exchanges(self._memo, runs, boxes, self.resolve_steering)
        self._catalog = catalog
        self._resolver = SteeringResolver(runs.store)
        self._submitter = Submitter(catalog, self._memo, worker, exchanges, loaded, self._resolver)
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()

    def submit(self, request: RunRequest, is_bulk: bool = False) -> JobView:
        """The job of a request: done already, joined, new, or still to be found out.

        Args:
            request: what is asked.
            is_bulk: it is one of many asked together: its run may be stored with those beside it,
                and does not count as a hit if it is stored already.

        Raises:
            RequestError: for a request that cannot be run as it is.
            EngineError: if the source cannot be resolved.
            StoreError: if the store cannot be read.
        """
        job = self._submitter.submit(request, is_bulk)
        with self._lock:
            self._jobs[job.job_id] = job
            while len(self._jobs) > _JOBS_KEPT:
                self._jobs.popitem(last=False)
        return self._view(job)

    def job(self, job_id: str) -> JobView:
        """The job now.

        Raises:
            JobNotFoundError: if this server has no such job.
        """
        return self._view(self._job(job_id))

    def wait(self, job_id: str, timeout_s: float | None = None) -> JobView:
        """Blocks until the job is no longer active, or timeout_s have passed; never on a page.

        Raises:
            JobNotFoundError: if this server has no such job.
        """
        job = self._job(job_id)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        # a job that is cancelled lets its waiter go, though its flight may go on for others
        while not job.has_left and not job.flight.finished.wait(_WAIT_SLICE_S):
            if deadline is not None and time.monotonic() >= deadline:
                break
        return self._view(job)

    def cancel(self, job_id: str) -> JobView:
        """Lets go of the job; a computation stops at its next token once nobody waits for it.

        Raises:
            JobNotFoundError: if this server has no such job.
        """
        job = self._job(job_id)
        if self._view(job).is_active:
            job.leave()
        return self._view(job)

    def ask(self, request: RunRequest, is_cancelled: Callable[[], bool] = lambda: False) -> JobView:
        """Submits a request and waits for its run; for tasks, never on a page.

        Returns:
            The job in the state `done`: its run is stored.

        Raises:
            GenerationCancelled: if `is_cancelled` said so, or the engine was closed.
            RequestError: for a request that cannot be run.
            EngineError: if it failed.
        """
        view = self._ended(self.submit(request), is_cancelled)
        if view.failure is not None:
            kind = RequestError if view.failure.is_request_fault else EngineError
            raise kind(view.failure.message, view.failure.hint)
        return view

    def ask_all(
        self,
        requests: Sequence[RunRequest],
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> tuple[JobView, ...]:
        """Submits requests together and waits for all; for tasks, some dozens at a time.

        Others' requests wait behind them, so no more than seconds' worth are asked at once. Runs
        are stored together, which takes half the time, and none of them is counted as a hit.

        Returns:
            The jobs, in the order of the requests, in the state `done` or `failed`.

        Raises:
            GenerationCancelled: if `is_cancelled` said so, or the engine was closed.
            RequestError: for a request that cannot be run as it is.
            EngineError: if the source cannot be resolved.
        """
        views = [self.submit(request, is_bulk=True) for request in requests]
        try:
            return tuple(self._ended(view, is_cancelled) for view in views)
        except GenerationCancelled:
            for view in views:
                self.cancel(view.job_id)
            raise

    def _ended(self, view: JobView, is_cancelled: Callable[[], bool]) -> JobView:
        while view.is_active:
            if is_cancelled():
                self.cancel(view.job_id)
                raise GenerationCancelled
            view = self.wait(view.job_id, 4 * _WAIT_SLICE_S)
        if view.state == "cancelled":
            raise GenerationCancelled
        return view

    def lend(
        self,
        source: str,
        do: Callable[[ResidentSource], T],
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> T:
        """Runs `do` on the worker's thread with a source in memory, and waits for what it returns.

        The queue stands still meanwhile: `do` takes seconds at most; longer work comes in parts.

        Args:
            source: name in the catalog.
            do: gets the loaded source; what it raises is raised here.
            is_cancelled: asked while waiting, before `do` has begun.

        Raises:
            GenerationCancelled: if `is_cancelled` said so, or the engine was closed.
            EngineError: if the source cannot be loaded.
        """
        finished = threading.Event()
        answer: list[T] = []
        fault: list[BaseException] = []

        def work() -> None:
            try:
                if is_cancelled():
                    raise GenerationCancelled
                self._loaded.load_by_name(source, self._worker.is_closing)
                answer.append(do(self._loaded.resident()))
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
                fault.append(error)
            finally:
                finished.set()

        def drop() -> None:
            fault.append(GenerationCancelled())
            finished.set()

        self._worker.launch(Chore(source, work, is_load=False, drop=drop))
        finished.wait()
        if fault:
            raise fault[0]
        return answer[0]

    def resolve_steering(
        self,
        source: str,
        steering: SteeringSpec,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> SteeringSpec:
        """Interventions with every strength raw and every layer said; for tasks, never on a page.

        The first time for a source, it is loaded, and the length of its residuals measured.

        Raises:
            GenerationCancelled: if `is_cancelled` said so, or the engine was closed.
            EngineError: if the source cannot be loaded, or cannot be steered so.
            StoreError: if a vector is not stored, or the store cannot be used.
        """
        resolved = self._catalog.prepare(source, is_cancelled)
        try:
            return self._resolver.resolve(resolved, steering)
        except NormsNeeded:
            is_toy = resolved.world_seed is not None
            self.lend(
                source,
                lambda resident: self._resolver.measure(resident, is_toy, is_cancelled),
                is_cancelled,
            )
            return self._resolver.resolve(resolved, steering)

    def land(self, flight: Flight) -> None:
        """Notes that a flight is over; called by the worker."""
        self._memo.land(flight)

    def _job(self, job_id: str) -> Job:
        with self._lock:
            if job_id not in self._jobs:
                raise JobNotFoundError(job_id)
            return self._jobs[job_id]

    def _view(self, job: Job) -> JobView:
        work = job.chore if isinstance(job.chore, Chore) else job.flight
        return job.flight.view(job, self._worker.queue_position(work))
