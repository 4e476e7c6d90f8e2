"""What callers may use of the engine: submit a request, follow its job, cancel it.

Invariant: no tensor and no torch in any signature, and importing this module does not import torch;
a request whose run is stored is answered without ever loading it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

from engine.catalog import Catalog, SourceInfo
from engine.errors import JobNotFoundError, RequestError, UnsupportedError
from engine.flights import Flight, Job
from engine.jobs import (
    ACTIVE_STATES,
    EngineState,
    EngineStatus,
    JobFailure,
    JobState,
    JobView,
    LiveToken,
    RunRequest,
)
from engine.memo import NUMERICS_VERSION, Memo
from engine.settings import EngineSettings
from engine.worker import Worker
from store.keys import run_key
from store.runs import RunRepository
from store.specs import RunSpec

__all__ = [
    "ACTIVE_STATES",
    "Engine",
    "EngineSettings",
    "EngineState",
    "EngineStatus",
    "JobFailure",
    "JobState",
    "JobView",
    "LiveToken",
    "RunRequest",
    "SourceInfo",
]


_JOBS_KEPT = 1000
_WAIT_SLICE_S = 0.05


class Engine:
    """One model and SAE at a time, one worker thread, one queue, in front of the store.

    All methods may be called from any thread and return at once, `wait` and `close` excepted.
    """

    def __init__(self, runs: RunRepository, settings: EngineSettings) -> None:
        self._catalog = Catalog(settings)
        self._worker = Worker(runs, self._catalog, settings.device, self._land)
        self._memo = Memo(runs, self._worker.launch)
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()

    def submit(self, request: RunRequest) -> JobView:
        """Returns the stored run's job (state `done`, `memoized`), or queues its computation.

        Equal requests at one moment share one computation; each has a job of its own.

        Raises:
            RequestError: for a request that cannot be run as it is.
            EngineError: if the source cannot be resolved (weights missing, unknown hook, ...).
            StoreError: if the store cannot be read.
        """
        spec = self._resolve(request)
        job = self._memo.request(spec, run_key(spec, NUMERICS_VERSION), request.created_by)
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
            with self._lock:
                is_first = not job.has_left
                job.has_left = True
            if is_first:
                job.flight.leave()
        return self._view(job)

    def status(self) -> EngineStatus:
        """What the engine is doing now."""
        return self._worker.status()

    def sources(self) -> tuple[SourceInfo, ...]:
        """The catalog, the default source first."""
        return self._catalog.sources()

    def close(self) -> None:
        """Cancels what runs, waits for the worker to end. Idempotent."""
        self._worker.close()

    def _land(self, flight: Flight) -> None:
        self._memo.land(flight)

    def _job(self, job_id: str) -> Job:
        with self._lock:
            if job_id not in self._jobs:
                raise JobNotFoundError(job_id)
            return self._jobs[job_id]

    def _view(self, job: Job) -> JobView:
        return job.flight.view(job, self._worker.queue_position(job.flight))

    def _resolve(self, request: RunRequest) -> RunSpec:
        source = self._catalog.resolve(request.source)
        if request.tools and request.kind == "text":
            raise RequestError("A text is read without tools.", "Switch tools off.")
        if request.tools and not source.tools:
            raise RequestError(
                f"The source {source.spec.name!r} has no tools to offer.", "Switch tools off."
            )
        if request.steering.interventions:
            raise UnsupportedError(
                "This version of the engine does not steer.", "Ask without steering."
            )
        return RunSpec(
            source=source.spec,
            messages=request.messages,
            kind=request.kind,
            tools=source.tools if request.tools else (),
            sampling=request.sampling,
            steering=request.steering,
        )
