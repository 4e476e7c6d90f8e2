"""Queries of people while they run: one thread each, followed and cancelled from a page.

Invariant: no page waits for a query: a job is asked for its state. A cancelled job is over for its
owner at once, whenever the database lets go of it. Results are kept within a budget of bytes, the
oldest let go first: a page then runs its query again.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from store.connection import Store
from store.errors import QueryError, StoreError
from store.records import PastQuery
from store.sandbox import QueryResult, run_query

MAX_ROWS = 10_000
TIMEOUT_S = 10.0
MAX_ACTIVE = 32
MAX_KEPT_BYTES = 256 * 2**20
MAX_KEPT = 256
_CLOSE_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class QueryJobView:
    """A job at one moment.

    Attributes:
        asked_at: when it was submitted, UTC; what it read is as of then, or a little later.
        elapsed_s: since then, until it ended.
        result, error: what came of it; both None while it is active.
    """

    job_id: str
    sql: str
    asked_at: datetime
    elapsed_s: float
    result: QueryResult | None
    error: StoreError | None

    @property
    def is_active(self) -> bool:
        """Whether it waits or runs."""
        return self.result is None and self.error is None


@dataclass(slots=True)
class _Job:
    job_id: str
    sql: str
    stop: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    asked_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: float = field(default_factory=time.monotonic)
    elapsed_s: float = 0.0
    result: QueryResult | None = None
    error: StoreError | None = None


class QueryJobs:
    """The jobs of one process; every method may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, _Job] = OrderedDict()

    def submit(
        self,
        sql: str,
        client: str,
        timeout_s: float = TIMEOUT_S,
        on_end: Callable[[PastQuery], None] | None = None,
    ) -> str:
        """Starts a query; returns the id of its job.

        Args:
            sql: as typed by anyone.
            client: who asks, so that one cannot take all places.
            on_end: called on the job's thread with what happened, unless it was cancelled.

        Raises:
            QueryError: if too many queries wait already.
        """
        with self._lock:
            n_active = sum(not job.ended.is_set() for job in self._jobs.values())
            if n_active >= MAX_ACTIVE:
                raise QueryError(
                    "timeout", f"{n_active} queries are running.", "Try again in a moment."
                )
            job = _Job(uuid.uuid4().hex, sql)
            self._jobs[job.job_id] = job
        threading.Thread(
            target=self._work,
            args=(job, client, timeout_s, on_end),
            name=f"query-job-{job.job_id[:8]}",
            daemon=True,
        ).start()
        return job.job_id

    def find(self, job_id: str | None) -> QueryJobView | None:
        """The job as it is now; None if it was let go."""
        with self._lock:
            job = self._jobs.get(job_id or "")
            if job is None:
                return None
            is_over = job.ended.is_set()
            elapsed_s = job.elapsed_s if is_over else time.monotonic() - job.started
            return QueryJobView(job.job_id, job.sql, job.asked_at, elapsed_s, job.result, job.error)

    def wait(self, job_id: str, timeout_s: float) -> None:
        """Waits a moment, so that a quick query needs no second drawing of its page."""
        with self._lock:
            job = self._jobs.get(job_id)
        if job is not None:
            job.ended.wait(timeout_s)

    def cancel(self, job_id: str) -> None:
        """Ends a job; does nothing to one that has ended."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is not None and not job.ended.is_set():
                job.stop.set()
                self._end(job, None, QueryError("cancelled", "The query was cancelled."))

    def close(self) -> None:
        """Cancels all, and waits a moment for the database to let go of them."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.stop.set()
        for job in jobs:
            job.released.wait(_CLOSE_TIMEOUT_S)

    def _work(
        self,
        job: _Job,
        client: str,
        timeout_s: float,
        on_end: Callable[[PastQuery], None] | None,
    ) -> None:
        result: QueryResult | None = None
        error: StoreError | None = None
        try:
            result = run_query(self._store, job.sql, MAX_ROWS, timeout_s, client, job.stop)
        except StoreError as failure:
            error = failure
        except Exception:
            error = QueryError("runtime", "The query failed by a fault of this server.")
            raise
        finally:
            job.released.set()
            with self._lock:
                if not job.ended.is_set():
                    self._end(job, result, error)
        if on_end is not None and not job.stop.is_set():
            on_end(
                PastQuery(
                    sql=job.sql,
                    elapsed_ms=None if result is None else result.elapsed_ms,
                    n_rows=None if result is None else result.n_rows,
                    truncated=result is not None and result.truncated,
                    failure=None if error is None else error.message,
                    ran_at=datetime.now(UTC),
                )
            )

    def _end(self, job: _Job, result: QueryResult | None, error: StoreError | None) -> None:
        job.elapsed_s = time.monotonic() - job.started
        job.result, job.error = result, error
        job.ended.set()
        self._jobs.move_to_end(job.job_id)
        n_bytes = sum(_n_bytes(kept) for kept in self._jobs.values())
        for job_id, kept in list(self._jobs.items()):
            if n_bytes <= MAX_KEPT_BYTES and len(self._jobs) <= MAX_KEPT:
                break
            if kept.ended.is_set() and kept is not job:
                n_bytes -= _n_bytes(kept)
                del self._jobs[job_id]


def _n_bytes(job: _Job) -> int:
    return 0 if job.result is None else int(job.result.table.nbytes)
