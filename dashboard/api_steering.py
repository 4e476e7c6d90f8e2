"""Vectors and sweeps over HTTP: list, bring and fetch vectors; start, read and list sweeps.

Invariant: what runs a model is a task, answered with status 202 and followed at /api/tasks/{id};
an uploaded file is checked whole before anything of it is stored.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator
from starlette.concurrency import run_in_threadpool

from dashboard.api_feature_models import TaskOut, task_out
from dashboard.links import ViewState, to_path
from dashboard.services import Services
from engine.api import SteeringLab, TaskView
from engine.errors import RequestError
from store.steering_records import Vector
from store.sweep_records import Sweep

MAX_VECTORS = 2_000
MAX_SWEEPS = 500
_CREATED_BY = "api"
_MIME = "application/octet-stream"


class VectorOut(BaseModel):
    """A stored vector, without its values."""

    vector_id: str
    name: str
    model_id: str
    model_revision: str
    layer: int
    site: str
    d_model: int
    method: str
    source_id: str | None
    concept: str
    n_pairs: int | None
    norm: float
    reliability: float | None
    residual_norm: float | None
    content: JsonValue
    created_by: str
    created_at: datetime


class SweepIn(BaseModel):
    """A sweep: a whole `spec`, or the ready-made one of a toy source."""

    model_config = ConfigDict(extra="forbid")

    source: str | None = Field(default=None, description="In place of the spec's own.")
    spec: dict[str, JsonValue] | None = Field(
        default=None, description="As scripts/steer.py reads it: name, arms, prompts and the rest."
    )
    n_questions: int | None = Field(
        default=None, description="Of the ready-made sweep: questions of each kind."
    )

    @model_validator(mode="after")
    def _is_one(self) -> SweepIn:
        if self.spec is not None and self.n_questions is not None:
            raise ValueError("n_questions is of the ready-made sweep: leave it out, or the spec")
        return self


class SweepHead(BaseModel):
    """A sweep without its cells."""

    sweep_id: str
    name: str
    task: str
    source_id: str
    source_name: str
    n_cells: int
    is_finished: bool
    created_by: str
    created_at: datetime
    finished_at: datetime | None
    url: str


def add_steering_calls(api: FastAPI, get: Callable[[], Services]) -> None:
    """Adds the calls to the API.

    Args:
        api: the application.
        get: the process's services; may raise StoreError.
    """
    _add_vector_calls(api, get)

    @api.post("/sweeps", status_code=202)
    async def post_sweep(request: Request, body: SweepIn) -> TaskOut:
        """Starts a sweep or resumes it; the task's result names it once it is done."""
        services = await run_in_threadpool(get)
        task = await run_in_threadpool(_start, services.engine.steering, body)
        base = str(request.base_url).rstrip("/")
        return task_out(task, f"{base}/tasks/{task.task_id}")

    @api.get("/sweeps")
    async def get_sweeps(
        request: Request,
        source: str | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_SWEEPS)] = 50,
    ) -> list[SweepHead]:
        """Sweeps, newest first."""
        services = await run_in_threadpool(get)
        found = await run_in_threadpool(services.engine.steering.sweeps, source, limit)
        return [_head(request, sweep) for sweep in found]

    @api.get("/sweeps/{sweep_id}")
    async def get_sweep(request: Request, sweep_id: str) -> dict[str, JsonValue]:
        """A sweep so far: its cells, its controls, what was chosen and how it did."""
        services = await run_in_threadpool(get)
        report = await run_in_threadpool(services.engine.steering.sweep, sweep_id)
        return {**report.to_json(), "url": _sweep_url(request, report.sweep)}


def _add_vector_calls(api: FastAPI, get: Callable[[], Services]) -> None:
    @api.get("/vectors")
    async def get_vectors(
        source: str | None = None,
        concept: str | None = None,
        layer: Annotated[int | None, Query(ge=-1)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_VECTORS)] = 200,
    ) -> list[VectorOut]:
        """Stored vectors, newest first; of the model of a source if it is given."""
        services = await run_in_threadpool(get)
        steering = services.engine.steering
        found = await run_in_threadpool(steering.vectors, source, concept, layer, limit)
        return [_vector(vector) for vector in found]

    @api.get("/vectors/{vector_ids}/file")
    async def get_vector_file(
        vector_ids: str,
        format: Literal["safetensors", "json", "gguf"] = "safetensors",
    ) -> Response:
        """A file of vectors of one model, their ids divided by commas, one vector a layer.

        `safetensors` has its JSON inside; `json` is that alone; `gguf` is a control vector.
        """
        services = await run_in_threadpool(get)
        wanted = [item for item in vector_ids.split(",") if item]
        form: Literal["safetensors", "gguf"] = "gguf" if format == "gguf" else "safetensors"
        files = await run_in_threadpool(services.engine.steering.export_vectors, wanted, form)
        file = files[1] if format == "json" else files[0]
        headers = {"content-disposition": f'attachment; filename="{_ascii(file.name)}"'}
        return Response(file.data, media_type=_MIME, headers=headers)

    @api.get("/vectors/{vector_id}")
    async def get_vector(vector_id: str) -> VectorOut:
        """A stored vector."""
        services = await run_in_threadpool(get)
        return _vector(await run_in_threadpool(services.engine.steering.vector, vector_id))

    @api.post("/vectors", status_code=201)
    async def post_vectors(
        request: Request,
        source: Annotated[str, Query(description="Whose model they are for.")],
        file_name: Annotated[str, Query(max_length=200)] = "imported",
        name: Annotated[str, Query(max_length=80)] = "",
    ) -> list[VectorOut]:
        """Stores the vectors of a safetensors or GGUF file, which is the body of the request."""
        services = await run_in_threadpool(get)
        data = await request.body()
        steering = services.engine.steering
        made = await run_in_threadpool(
            steering.import_vectors, source, data, file_name, _CREATED_BY, None, name
        )
        return [_vector(vector) for vector in made]


def _start(steering: SteeringLab, body: SweepIn) -> TaskView:
    if body.spec is not None:
        spec = steering.read_sweep_spec(json.dumps(body.spec), body.source)
    elif body.source is not None:
        spec = steering.demo_sweep(body.source, body.n_questions)
    else:
        raise RequestError(
            "The request names no sweep.", "Give a spec, or a toy source for the ready-made one."
        )
    return steering.start_sweep(spec, _CREATED_BY)


def _vector(vector: Vector) -> VectorOut:
    values: dict[str, Any] = asdict(vector)
    return VectorOut(**{**values, "content": json.loads(vector.content)})


def _head(request: Request, sweep: Sweep) -> SweepHead:
    return SweepHead(
        sweep_id=sweep.sweep_id,
        name=sweep.name,
        task=sweep.task,
        source_id=sweep.source_id,
        source_name=sweep.source_name,
        n_cells=sweep.n_cells,
        is_finished=sweep.summary is not None,
        created_by=sweep.created_by,
        created_at=sweep.created_at,
        finished_at=sweep.finished_at,
        url=_sweep_url(request, sweep),
    )


def _sweep_url(request: Request, sweep: Sweep) -> str:
    """The address of the sweep's page; the API is mounted one level below the pages."""
    base = str(request.base_url).rstrip("/").removesuffix("/api")
    state = ViewState(source=sweep.source_name, tab="sweeps", sweep=sweep.sweep_id)
    return base + to_path("steer", state)


def _ascii(name: str) -> str:
    return name.encode("ascii", "replace").decode().replace('"', "")
