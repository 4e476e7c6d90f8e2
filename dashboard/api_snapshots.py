"""Snapshots over HTTP: begin one, follow it, cancel it, fetch its file.

Invariant: a client never names a path; the server writes where it always does, and hands out only
what it has written there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Literal

from fastapi import FastAPI
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool

from dashboard.services import Services
from store.errors import SnapshotNotFoundError
from store.snapshot_jobs import SnapshotJob

_CREATED_BY = "api"


class SnapshotIn(BaseModel):
    """What is wanted: a DuckDB file, or a ZIP archive of Parquet files."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["duckdb", "parquet"] = "duckdb"


class SnapshotOut(BaseModel):
    """A snapshot at one moment; `content` is where its file is fetched once it is `done`."""

    job_id: str
    format: Literal["duckdb", "parquet"]
    state: Literal["running", "done", "failed", "cancelled"]
    part: str
    rows_done: int
    rows_total: int
    size_bytes: int
    failure: str
    started_at: datetime
    content: str


def add_snapshot_calls(api: FastAPI, get: Callable[[], Services]) -> None:
    """Adds the calls to the API.

    Args:
        api: the application.
        get: the process's services; may raise StoreError.
    """

    @api.post("/snapshots", status_code=202)
    async def post_snapshot(body: SnapshotIn) -> SnapshotOut:
        """Begins a consistent copy of the whole store, as it is now."""
        services = await run_in_threadpool(get)
        return _out(await run_in_threadpool(services.snapshots.start, body.format, _CREATED_BY))

    @api.get("/snapshots/{job_id}")
    async def get_snapshot(job_id: str) -> SnapshotOut:
        """State and progress of a snapshot."""
        services = await run_in_threadpool(get)
        return _out(services.snapshots.get_job(job_id))

    @api.delete("/snapshots/{job_id}")
    async def delete_snapshot(job_id: str) -> SnapshotOut:
        """Cancels a snapshot; nothing of it is left."""
        services = await run_in_threadpool(get)
        return _out(services.snapshots.cancel(job_id))

    @api.get("/snapshots/{job_id}/content")
    async def get_content(job_id: str) -> FileResponse:
        """The file of a finished snapshot."""
        services = await run_in_threadpool(get)
        path = services.snapshots.get_job(job_id).path
        if path is None or not await run_in_threadpool(path.is_file):
            raise SnapshotNotFoundError(job_id)
        return FileResponse(path, filename=path.name, media_type="application/octet-stream")


def _out(job: SnapshotJob) -> SnapshotOut:
    progress = job.progress
    return SnapshotOut(
        job_id=job.job_id,
        format=job.format,
        state=job.state,
        part=progress.part if progress else "",
        rows_done=progress.rows_done if progress else 0,
        rows_total=progress.rows_total if progress else 0,
        size_bytes=job.size_bytes,
        failure=job.failure,
        started_at=job.started_at,
        content=f"/api/snapshots/{job.job_id}/content",
    )
