"""The HTTP API: runs, jobs, features and queries, over the same services as the pages.

Invariant: nothing blocks the event loop; engine and store are called in the thread pool only. Every
error has the one shape of api_errors.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import FastAPI, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from dashboard import api_errors
from dashboard.api_confabulation import add_confabulation_calls
from dashboard.api_docs import docs_page
from dashboard.api_features import add_feature_calls
from dashboard.api_models import JobOut, RunIn, RunOut, job_out, run_out
from dashboard.api_snapshots import add_snapshot_calls
from dashboard.api_steering import add_steering_calls
from dashboard.body_limit import BodyLimit
from dashboard.limited_stream import LimitedStream
from dashboard.links import MAX_SQL_CHARS, ViewState, to_path
from dashboard.services import Services
from engine.api import JobView
from store.errors import RunNotFoundError
from store.formats import FORMATS, iter_bytes
from store.run_interventions import RunInterventionRepository
from store.sandbox import run_query

MAX_BODY_BYTES = 10_000_000
DEFAULT_ROWS = 1_000
MAX_ROWS = 100_000
QUERY_TIMEOUT_S = 10.0
WAIT_LIMIT_S = 300.0
_POLL_S = (0.01, 0.25)
_CREATED_BY = "api"


def create_api(
    get: Callable[[], Services], version: str, wait_limit_s: float = WAIT_LIMIT_S
) -> FastAPI:
    """The application that the server mounts at /api.

    Args:
        get: the process's services; may raise StoreError.
        wait_limit_s: after this long, a waiting request gets its job instead of the run.
    """
    api = FastAPI(
        title="Featurebook", version=version, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    api.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES)
    api_errors.install(api)

    @api.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(api.openapi()))

    @api.post("/runs", response_model=RunOut, responses={202: {"model": JobOut}})
    async def post_run(request: Request, body: RunIn) -> RunOut | JSONResponse:
        """Asks for a run: returns it stored or computes it; 202 and a job if it is not awaited."""
        services = await run_in_threadpool(get)
        asked = body.to_request(_CREATED_BY)
        job = await run_in_threadpool(services.engine.submit, asked)
        if body.wait:
            job = await _settled(services, job, wait_limit_s)
        if job.state == "failed":
            return api_errors.failure_response(job.failure)
        if job.state == "cancelled":
            return api_errors.error_response(409, "Cancelled", "The run was cancelled.")
        if job.is_active:
            return JSONResponse(_job(request, job).model_dump(mode="json"), 202)
        return await _run(request, services, job.run_key, job.memoized)

    @api.get("/runs/{run_key}")
    async def get_run(request: Request, run_key: str) -> RunOut:
        """A stored run, by its key."""
        services = await run_in_threadpool(get)
        return await _run(request, services, run_key, memoized=True)

    @api.get("/jobs/{job_id}")
    async def get_job(request: Request, job_id: str) -> JobOut:
        """State and progress of a job."""
        services = await run_in_threadpool(get)
        return _job(request, await run_in_threadpool(services.engine.job, job_id))

    @api.delete("/jobs/{job_id}")
    async def delete_job(request: Request, job_id: str) -> JobOut:
        """Cancels a job; the computation stops once nobody else waits for it."""
        services = await run_in_threadpool(get)
        return _job(request, await run_in_threadpool(services.engine.cancel, job_id))

    @api.get("/sql")
    async def get_sql(
        request: Request,
        q: Annotated[str, Query(max_length=MAX_SQL_CHARS, description="One SELECT statement.")],
        format: Literal["json", "csv", "parquet", "arrow"] = "json",
        limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = DEFAULT_ROWS,
    ) -> Response:
        """Runs one SELECT over the public views, read-only, within limits of rows and time.

        The rows are streamed. The headers X-Truncated and X-Elapsed-Ms say in every format what
        JSON says in its body.
        """
        services = await run_in_threadpool(get)
        result = await run_in_threadpool(
            run_query,
            services.store,
            q,
            max_rows=limit,
            timeout_s=QUERY_TIMEOUT_S,
            client=request.client.host if request.client else None,
        )
        pieces = await run_in_threadpool(iter_bytes, result, format)
        headers = {
            "x-truncated": str(result.truncated).lower(),
            "x-elapsed-ms": f"{result.elapsed_ms:.1f}",
        }
        return LimitedStream(pieces, media_type=FORMATS[format], headers=headers)

    add_confabulation_calls(api, get)
    add_feature_calls(api, get, wait_limit_s)
    add_snapshot_calls(api, get)
    add_steering_calls(api, get)
    return api


async def _settled(services: Services, job: JobView, limit_s: float) -> JobView:
    """Polls rather than blocking a thread of the pool for each client that waits."""
    end = time.monotonic() + limit_s
    pause_s, longest_s = _POLL_S
    while job.is_active and time.monotonic() < end:
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, longest_s)
        job = await run_in_threadpool(services.engine.job, job.job_id)
    return job


async def _run(request: Request, services: Services, run_key: str, memoized: bool) -> RunOut:
    stored = await run_in_threadpool(services.runs.find_run, run_key)
    if stored is None:
        raise RunNotFoundError(run_key)
    achieved = RunInterventionRepository(services.store)
    interventions = await run_in_threadpool(achieved.list_interventions, run_key)
    url = _url(request, "ask", ViewState(run=run_key))
    return run_out(stored, interventions, memoized, url)


def _job(request: Request, job: JobView) -> JobOut:
    base = str(request.base_url).rstrip("/")
    return job_out(
        job,
        url=f"{base}/jobs/{job.job_id}",
        run_url=_url(request, "ask", ViewState(run=job.run_key or None, job=job.job_id)),
    )


def _url(request: Request, page: str, state: ViewState) -> str:
    """The address of a page; the API is mounted one level below the pages."""
    base = str(request.base_url).rstrip("/").removesuffix("/api")
    return base + to_path(page, state)
