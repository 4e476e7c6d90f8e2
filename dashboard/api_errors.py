"""Errors of the HTTP API: every one is {"error": {"type", "message", "hint"}} with its status.

Invariant: no trace, no path of the code and no echo of the whole input reaches a client.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from engine.api import JobFailure
from engine.errors import (
    CaptureError,
    DeviceError,
    EngineError,
    JobNotFoundError,
    TaskNotFoundError,
    UnknownSourceError,
)
from store.errors import (
    DetectorNotFoundError,
    FeatureListNotFoundError,
    LabelConflictError,
    LabelNotFoundError,
    NotTheAuthorError,
    QuestionSetNotFoundError,
    RunNotFoundError,
    SnapshotNotFoundError,
    SourceNotFoundError,
    StoreError,
    StoreLockedError,
    StoreUnusableError,
    SweepNotFoundError,
    VectorNotFoundError,
)

_NOT_FOUND = (
    QuestionSetNotFoundError,
    DetectorNotFoundError,
    FeatureListNotFoundError,
    LabelNotFoundError,
    RunNotFoundError,
    SnapshotNotFoundError,
    SourceNotFoundError,
    SweepNotFoundError,
    TaskNotFoundError,
    VectorNotFoundError,
    JobNotFoundError,
    UnknownSourceError,
)
_UNAVAILABLE = (StoreLockedError, StoreUnusableError, DeviceError)
_UNAVAILABLE_TYPES = frozenset(error.__name__ for error in _UNAVAILABLE)
_MAX_PROBLEMS = 3


def error_response(status: int, error_type: str, message: str, hint: str = "") -> JSONResponse:
    """The one shape of an error."""
    error = {"type": error_type, "message": message, "hint": hint}
    return JSONResponse({"error": error}, status)


def status_of(error: StoreError | EngineError) -> int:
    """404 for what is not there, 503 for a broken machine, else what is wrong with the request."""
    if isinstance(error, _NOT_FOUND):
        return 404
    if isinstance(error, _UNAVAILABLE):
        return 503
    if isinstance(error, LabelConflictError):
        return 409
    if isinstance(error, NotTheAuthorError):
        return 403
    return 500 if isinstance(error, CaptureError) else 400


def failure_response(failure: JobFailure | None) -> JSONResponse:
    """A job that failed while a client waited for it."""
    if failure is None:
        return error_response(500, "EngineError", "The run failed without a reason.")
    known = {error.__name__ for error in _subclasses(EngineError) | _subclasses(StoreError)}
    status = 400 if failure.error_type in known - {CaptureError.__name__} else 500
    if failure.error_type in _UNAVAILABLE_TYPES:
        status = 503
    return error_response(status, failure.error_type, failure.message, failure.hint)


def install(app: FastAPI) -> None:
    """Gives every error of the app the one shape."""
    app.add_exception_handler(StoreError, _on_own_error)
    app.add_exception_handler(EngineError, _on_own_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_fault)


async def _on_own_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, (StoreError, EngineError)):
        raise error
    return error_response(status_of(error), type(error).__name__, error.message, error.hint)


async def _on_validation_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    return error_response(
        422, "ValidationError", _problems(error.errors()), "The fields are described at /api/docs."
    )


async def _on_http_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    hint = "The calls are described at /api/docs." if error.status_code in {404, 405} else ""
    return error_response(error.status_code, "HTTPError", f"{error.detail}.", hint)


async def _on_fault(_request: Request, error: Exception) -> JSONResponse:
    hint = "The server's log says more."
    return error_response(500, type(error).__name__, "The server failed at this request.", hint)


def _problems(errors: Sequence[Any]) -> str:
    shown = []
    for item in errors[:_MAX_PROBLEMS]:
        place = ".".join(str(part) for part in item["loc"] if part != "body")[:80]
        shown.append(f"{place}: {item['msg']}" if place else str(item["msg"]))
    more = len(errors) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more > 0 else "") + "."


def _subclasses(root: type[Exception]) -> set[type[Exception]]:
    return {root} | {below for child in root.__subclasses__() for below in _subclasses(child)}
