"""Snapshots written by a thread of their own: started, followed and cancelled by pages and the API.

Invariant: one snapshot is written at a time; what is finished lies in one folder beside the store,
where the newest few are kept. A job is plain data, safe to keep and to show.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from store.connection import Store
from store.errors import (
    SnapshotCancelledError,
    SnapshotError,
    SnapshotNotFoundError,
    StoreError,
)
from store.snapshots import Snapshot, SnapshotFormat, SnapshotProgress, write_snapshot

KEPT = 3
"""Finished snapshots that are kept in the folder; older ones make room."""

_SUFFIXES: dict[SnapshotFormat, str] = {"duckdb": ".duckdb", "parquet": ".parquet.zip"}
_JOBS_KEPT = 50


@dataclass(frozen=True, slots=True)
class SnapshotJob:
    """A snapshot at one moment.

    Attributes:
        path: where it lies once its state is `done`; it may have made room for newer ones since.
        failure: one sentence and what helps, in the state `failed`.
    """

    job_id: str
    format: SnapshotFormat
    asked_by: str
    started_at: datetime
    state: Literal["running", "done", "failed", "cancelled"] = "running"
    progress: SnapshotProgress | None = None
    path: Path | None = None
    size_bytes: int = 0
    failure: str = ""

    @property
    def is_active(self) -> bool:
        """Whether it may still change."""
        return self.state == "running"


class SnapshotJobs:
    """The snapshots of one store; every method may be called from any thread and returns at once.

    `close` excepted, which waits for the thread.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.folder = store.path.with_name(store.path.name + ".snapshots")
        self._jobs: dict[str, SnapshotJob] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def start(self, format: SnapshotFormat, asked_by: str) -> SnapshotJob:
        """Begins a snapshot.

        Raises:
            SnapshotError: if one is being written already.
        """
        with self._lock:
            if self._is_closed:
                raise SnapshotError("The server is stopping.", "Ask again once it is back.")
            if any(job.is_active for job in self._jobs.values()):
                raise SnapshotError(
                    "A snapshot is being written already.", "Wait for it, or cancel it."
                )
            job = SnapshotJob(uuid.uuid4().hex[:12], format, asked_by, datetime.now(UTC))
            self._jobs[job.job_id] = job
            for old in list(self._jobs)[:-_JOBS_KEPT]:
                del self._jobs[old]
            self._stop.clear()
            self._thread = threading.Thread(
                target=self._write, args=(job,), name="snapshot", daemon=True
            )
            self._thread.start()
        return job

    def get_job(self, job_id: str) -> SnapshotJob:
        """The job now.

        Raises:
            SnapshotNotFoundError: if this server has no such job.
        """
        with self._lock:
            if job_id not in self._jobs:
                raise SnapshotNotFoundError(job_id)
            return self._jobs[job_id]

    def find_latest(self) -> SnapshotJob | None:
        """The job that was begun last, if there was any."""
        with self._lock:
            return next(reversed(self._jobs.values()), None)

    def cancel(self, job_id: str) -> SnapshotJob:
        """Stops a snapshot at its next batch of rows; nothing of it is left.

        Raises:
            SnapshotNotFoundError: if this server has no such job.
        """
        if self.get_job(job_id).is_active:
            self._stop.set()
        return self.get_job(job_id)

    def close(self) -> None:
        """Stops what is being written and waits for its thread. Idempotent."""
        with self._lock:
            self._is_closed = True
            thread = self._thread
        self._stop.set()
        if thread is not None:
            thread.join()

    def _write(self, job: SnapshotJob) -> None:
        name = f"featurebook-{job.started_at:%Y%m%d-%H%M%S}-{job.job_id}{_SUFFIXES[job.format]}"
        try:
            made = write_snapshot(
                self._store,
                self.folder / name,
                job.format,
                lambda progress: self._put(replace(job, progress=progress)),
                self._stop.is_set,
            )
        except SnapshotCancelledError:
            ended = replace(self.get_job(job.job_id), state="cancelled")
        except StoreError as error:
            failure = f"{error.message} {error.hint}".strip()
            ended = replace(self.get_job(job.job_id), state="failed", failure=failure)
        else:
            self._make_room(made)
            ended = replace(
                self.get_job(job.job_id), state="done", path=made.path, size_bytes=made.size_bytes
            )
        self._put(ended)

    def _put(self, job: SnapshotJob) -> None:
        with self._lock:
            self._jobs[job.job_id] = job

    def _make_room(self, newest: Snapshot) -> None:
        with contextlib.suppress(OSError):
            kept = sorted(self.folder.glob("featurebook-*"), key=lambda path: path.stat().st_mtime)
            for path in [path for path in kept if path != newest.path][: -(KEPT - 1)]:
                path.unlink()
