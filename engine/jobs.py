"""Requests, jobs and what is said about them: plain data between callers and the worker.

Invariant: no tensor and no torch here; every view is a frozen value that is safe to keep and show.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from engine.errors import EngineError, RequestError
from engine.memory import DeviceMemory
from store.errors import StoreError
from store.specs import Message, RunKind, SamplingSpec, SteeringSpec

JobState = Literal["queued", "loading", "running", "storing", "done", "failed", "cancelled"]
EngineState = Literal["idle", "loading", "busy", "error"]
ACTIVE_STATES: frozenset[str] = frozenset({"queued", "loading", "running", "storing"})


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a person asks for; the engine resolves it to a RunSpec.

    Attributes:
        source: name in the catalog; None is the default source.
        tools: whether the source's tools are offered to the model.
        created_by: who asks, for the record; not part of the run key.
    """

    messages: tuple[Message, ...]
    source: str | None = None
    kind: RunKind = "generation"
    tools: bool = False
    sampling: SamplingSpec = field(default_factory=SamplingSpec)
    steering: SteeringSpec = field(default_factory=SteeringSpec)
    created_by: str = "unknown"


@dataclass(frozen=True, slots=True)
class LiveToken:
    """A generated token, shown before the run is stored. `logprob` is natural."""

    position: int
    token_id: int
    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why a job failed.

    Attributes:
        is_request_fault: True if what was asked cannot be run; False if the machine failed.
    """

    error_type: str
    message: str
    hint: str
    is_request_fault: bool = False


@dataclass(frozen=True, slots=True)
class JobView:
    """A job at one moment; plain data, safe to keep and to show.

    Attributes:
        run_key: key of the run that is (or will be) stored; empty while that is still found out.
        memoized: True if the run was already stored when it was asked for.
        shared: True if another request was already computing the same run.
        queue_position: jobs before this one; 0 once it runs.
        n_prompt_tokens: 0 until the prompt is tokenised.
        n_done: generated tokens so far; n_total: the most there will be.
        tokens: generated so far, in order.
        failure: set in the state `failed`.
        waited_s: seconds since it was submitted.
    """

    job_id: str
    run_key: str
    source: str
    state: JobState
    memoized: bool
    shared: bool
    queue_position: int
    n_prompt_tokens: int
    n_done: int
    n_total: int
    tokens: tuple[LiveToken, ...]
    failure: JobFailure | None
    waited_s: float

    @property
    def is_active(self) -> bool:
        """Whether the job may still change."""
        return self.state in ACTIVE_STATES


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What the engine is doing.

    Attributes:
        source: name of the source that is resident or loading; None before the first load.
        device: such as `cpu` or `cuda:0`; None before the first load.
        n_queued: jobs that wait.
        failure: the last load that failed, in the state `error`.
        memory: of the device, while a source is loaded on it; else None.
        loaded_s: seconds that the last load took, while its source is loaded; else None.
    """

    state: EngineState
    source: str | None
    device: str | None
    n_queued: int
    failure: JobFailure | None
    memory: DeviceMemory | None = None
    loaded_s: float | None = None


def to_failure(error: EngineError | StoreError) -> JobFailure:
    """An error as data."""
    return JobFailure(
        type(error).__name__, error.message, error.hint, isinstance(error, RequestError)
    )


def to_unexpected_failure(error: Exception) -> JobFailure:
    """An error of a library that nobody foresaw, as data."""
    reason = str(error).strip().splitlines() or [""]
    return JobFailure(
        type(error).__name__,
        f"The engine failed unexpectedly: {type(error).__name__}: {reason[0][:200]}",
        "Ask again; if it fails again, report this text with the model's name.",
    )
