"""What the HTTP API takes and gives: pydantic models, and how they are made from records.

Invariant: field names equal the columns of the public views; unknown fields of a request are
refused, so that a misspelt setting is never silently ignored.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from engine.api import JobView, RunRequest
from store.records import Run, StoredRun
from store.specs import Message, SamplingSpec, ToolRequest, parse_interventions
from store.steering_records import RunIntervention


class ToolRequestModel(BaseModel):
    """A call of a tool that a message of the assistant makes."""

    model_config = ConfigDict(extra="forbid")

    name: str
    arguments: str = Field(description="A JSON object, as text.")


class MessageIn(BaseModel):
    """One message of a chat."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: list[ToolRequestModel] = Field(
        default_factory=list,
        description="Of the assistant; tools' messages follow in order.",
        exclude_if=lambda calls: not calls,
    )

    def to_message(self) -> Message:
        """As the engine takes it.

        Raises:
            InvalidSpecError: if it cannot be such a message.
        """
        calls = tuple(ToolRequest(call.name, call.arguments) for call in self.tool_calls)
        return Message(self.role, self.content, calls)

    @classmethod
    def of(cls, message: Message) -> Self:
        """As it is shown."""
        calls = [
            ToolRequestModel(name=call.name, arguments=call.arguments)
            for call in message.tool_calls
        ]
        return cls(role=message.role, content=message.content, tool_calls=calls)


class ConditionIn(BaseModel):
    """When an intervention applies; give either `features` or `vector_id`."""

    model_config = ConfigDict(extra="forbid")

    threshold: float
    features: list[int] = Field(default_factory=list)
    weights: list[float] = Field(default_factory=list, description="One a feature; default: ones.")
    vector_id: str | None = None
    bias: float = 0.0
    measure: str = Field(default="dot", description="Of a vector: dot or cosine.")
    side: str = Field(default="above", description="above or below the threshold.")
    at: str = Field(
        default="here",
        description="here, on every token, or last_prompt, once on the last token of the prompt.",
    )
    layer: int | None = Field(default=None, description="Where a vector is compared.")


class InterventionIn(BaseModel):
    """One change to the residual stream while a run is generated."""

    model_config = ConfigDict(extra="forbid")

    kind: str = Field(description="add, clamp, ablate, scale or erase.")
    strength: float = Field(default=0.0, description="Not used by ablate and erase.")
    feature: int | None = None
    vector_id: str | None = None
    unit: str = Field(
        default="raw",
        description="raw; norm, times the mean residual norm; max, times the feature's maximum.",
    )
    positions: str = Field(
        default="all",
        description="all, generated, last_prompt, answering, or a span such as 3:8 or 3:.",
    )
    layer: int | None = Field(default=None, description="Default: the SAE's, or the vector's own.")
    condition: ConditionIn | None = None
    source_id: str | None = Field(default=None, description="Of the feature, to be checked.")
    raw_strength: float | None = Field(
        default=None, description="Strength as another run resolved it; default: resolved anew."
    )


class RunIn(BaseModel):
    """What is asked for; give either `prompt` or `messages`."""

    model_config = ConfigDict(extra="forbid")

    prompt: str | None = Field(default=None, description="One message of the user.")
    messages: list[MessageIn] | None = Field(default=None, description="A chat so far.")
    source: str | None = Field(default=None, description="Name of a source; default: the server's.")
    kind: Literal["generation", "text"] = Field(
        default="generation", description="`text` reads the prompt as it is, generating nothing."
    )
    tools: bool = Field(default=False, description="Offer the source's tools to the model.")
    max_new_tokens: int = SamplingSpec().max_new_tokens
    temperature: float = Field(default=0.0, description="0 is greedy.")
    top_p: float = 1.0
    top_k: int = Field(default=0, description="0 keeps every token.")
    seed: int = 0
    steering: list[InterventionIn] = Field(default_factory=list)
    wait: bool = Field(default=True, description="False returns the job at once, with status 202.")

    @model_validator(mode="after")
    def _has_one_prompt(self) -> RunIn:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either `prompt` or `messages`")
        return self

    def to_request(self, created_by: str) -> RunRequest:
        """The engine's request; raises InvalidSpecError for values out of range."""
        if self.messages is None:
            messages: tuple[Message, ...] = (Message("user", self.prompt or ""),)
        else:
            messages = tuple(item.to_message() for item in self.messages)
        return RunRequest(
            messages=messages,
            source=self.source,
            kind=self.kind,
            tools=self.tools,
            sampling=SamplingSpec(
                max_new_tokens=self.max_new_tokens,
                temperature=self.temperature,
                top_p=self.top_p,
                top_k=self.top_k,
                seed=self.seed,
            ),
            steering=parse_interventions([item.model_dump() for item in self.steering]),
            created_by=created_by,
        )


class TokenOut(BaseModel):
    """One position of a run; `logprob` is natural, `entropy` in nats."""

    position: int
    token_id: int
    text: str
    role: str
    is_generated: bool
    is_special: bool
    logprob: float | None
    rank: int | None
    entropy: float | None
    n_active: int


class RunOut(BaseModel):
    """A stored run."""

    run_key: str
    memoized: bool = Field(description="Whether it was stored already when it was asked for.")
    source: str
    source_id: str
    kind: str
    prompt: str
    messages: list[MessageIn]
    response: str
    finish_reason: str
    n_prompt_tokens: int
    n_generated_tokens: int
    max_new_tokens: int
    temperature: float
    top_p: float
    top_k: int
    seed: int
    tools: bool
    steering: str
    interventions: list[dict[str, JsonValue]] = Field(
        description="What was asked of each intervention, and what it achieved."
    )
    compute_s: float
    hits: int
    created_by: str
    created_at: datetime
    url: str
    tokens: list[TokenOut]


class JobOut(BaseModel):
    """A job at one moment."""

    job_id: str
    run_key: str
    source: str
    state: str
    memoized: bool
    shared: bool
    queue_position: int
    n_prompt_tokens: int
    n_done: int
    n_total: int
    text: str = Field(description="Generated so far.")
    waited_s: float
    failure: dict[str, str] | None
    url: str
    run_url: str


def run_out(
    stored: StoredRun, interventions: tuple[RunIntervention, ...], memoized: bool, url: str
) -> RunOut:
    """A stored run as the API gives it."""
    run: Run = stored.run
    return RunOut(
        run_key=run.run_key,
        memoized=memoized,
        source=run.source_name,
        source_id=run.source_id,
        kind=run.kind,
        prompt=run.prompt,
        messages=[MessageIn.of(item) for item in run.messages],
        response=run.response,
        finish_reason=run.finish_reason,
        n_prompt_tokens=run.n_prompt_tokens,
        n_generated_tokens=run.n_generated_tokens,
        max_new_tokens=run.max_new_tokens,
        temperature=run.temperature,
        top_p=run.top_p,
        top_k=run.top_k,
        seed=run.seed,
        tools=run.tools,
        steering=run.steering,
        interventions=[asdict(item) for item in interventions],
        compute_s=run.compute_s,
        hits=run.hits,
        created_by=run.created_by,
        created_at=run.created_at,
        url=url,
        tokens=[
            TokenOut(
                position=token.position,
                token_id=token.token_id,
                text=token.text,
                role=token.role,
                is_generated=token.is_generated,
                is_special=token.is_special,
                logprob=token.logprob,
                rank=token.rank,
                entropy=token.entropy,
                n_active=token.n_active,
            )
            for token in stored.tokens
        ],
    )


def job_out(job: JobView, url: str, run_url: str) -> JobOut:
    """A job as the API gives it."""
    failure = job.failure
    return JobOut(
        job_id=job.job_id,
        run_key=job.run_key,
        source=job.source,
        state=job.state,
        memoized=job.memoized,
        shared=job.shared,
        queue_position=job.queue_position,
        n_prompt_tokens=job.n_prompt_tokens,
        n_done=job.n_done,
        n_total=job.n_total,
        text="".join(token.text for token in job.tokens),
        waited_s=job.waited_s,
        failure=None
        if failure is None
        else {"type": failure.error_type, "message": failure.message, "hint": failure.hint},
        url=url,
        run_url=run_url,
    )
