"""The ASGI application: pages, the HTTP API at /api, /healthz, and what starts and ends with them.

Invariant: the store and the engine are closed when the server ends, and the server does not start
on an address that nothing guards. Run it by `python -m dashboard`.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import streamlit as st
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from dashboard.access import AccessPolicy
from dashboard.api import create_api
from dashboard.guard import AccessGuard
from dashboard.return_path import ReturnPath
from dashboard.secrets_file import secret_names
from dashboard.services import Services, close_services, get_services
from dashboard.settings import ServerSettings
from engine.api import EngineSettings
from store.errors import StoreError
from store.settings import StoreSettings

_UNVERSIONED = "0+unknown"


def _version() -> str:
    try:
        return version("featurebook")
    except PackageNotFoundError:
        return _UNVERSIONED


def _policy() -> AccessPolicy:
    """Reads all settings, so that a wrong one is said at the start, in one line."""
    try:
        settings = ServerSettings()
        EngineSettings()
        StoreSettings()
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]).upper()
        sys.exit(f"featurebook: the setting {name} is wrong: {first['msg']}.")
    token = settings.featurebook_api_token
    policy = AccessPolicy(
        token=token.get_secret_value() if token else None,
        has_sign_in="auth" in secret_names(),
        is_insecure=settings.featurebook_insecure,
    )
    problem = policy.bind_problem(st.get_option("server.address"))
    if problem is not None:
        sys.exit(f"featurebook: {problem}")
    return policy


async def healthz(_request: Request) -> JSONResponse:
    """Says whether the process serves, and what engine and store are doing."""
    answer = {"status": "ok", "engine": "idle", "store": "ok", "version": _version()}
    try:
        services = await run_in_threadpool(get_services)
        answer["engine"] = (await run_in_threadpool(services.engine.status)).state
    except StoreError as error:
        answer |= {"status": "error", "engine": "error", "store": type(error).__name__}
    return JSONResponse(answer, 200 if answer["status"] == "ok" else 503)


@asynccontextmanager
async def lifespan(_app: st.App) -> AsyncGenerator[None]:
    """Opens the store before a page needs it; one that cannot be opened does not end the server."""
    try:
        services = await run_in_threadpool(get_services)
        if ServerSettings().featurebook_prepare:
            await run_in_threadpool(prepare_if_empty, services)
    except StoreError as error:
        sys.stderr.write(f"featurebook: {error.message} {error.hint}\n")
    yield
    await run_in_threadpool(close_services)


def prepare_if_empty(services: Services) -> None:
    """Begins to fill an empty store from a toy source, in the background."""
    source = services.engine.sources()[0]
    if source.is_toy and source.is_ready and not services.runs.summarise().n_runs:
        services.engine.preparation.start(source.name, "first start")


app = st.App(
    Path(__file__).with_name("app.py"),
    routes=[
        Mount("/api", create_api(get_services, _version())),
        Mount("/vendor", StaticFiles(directory=Path(__file__).with_name("vendor"))),
        Route("/healthz", healthz),
    ],
    middleware=[Middleware(AccessGuard, policy=_policy()), Middleware(ReturnPath)],
    lifespan=lifespan,
)
