"""Exchanges with tools as records: which rounds led to a run, and what each call came to.

Invariant: an exchange names its first round and hangs on its last one; its calls are numbered in
the order in which they were made. Nothing here reads or writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CallStatus = Literal["not_offered", "failed", "ok"]
CallDetail = Literal[
    "",
    "malformed",
    "unknown",
    "invalid",
    "raised",
    "timed_out",
    "too_large",
    "too_many",
    "round_limit",
]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool by the model, executed or failed.

    Attributes:
        step: number of the call in its exchange, from 0.
        tool: name of the tool as the model wrote it; empty for a call that could not be read.
        arguments: JSON; of a call that could not be read, its text.
        result: JSON of what the model was told; None where it was told nothing.
        status: `not_offered` where the model wrote a call though no tool was offered.
        detail: why it failed: `malformed` (could not be read), `unknown` (no such tool), `invalid`
            (its arguments do not fit), `raised`, `timed_out`, `too_large` (its result),
            `too_many` (calls in one round), `round_limit`; empty if it did not.
        call_run_key: round whose response held the call.
        elapsed_s: seconds that the tool took; None where it was not run.
    """

    step: int
    tool: str
    arguments: str
    result: str | None
    status: CallStatus
    detail: CallDetail
    call_run_key: str
    elapsed_s: float | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """The rounds that led to a run which ends an exchange with tools.

    Attributes:
        first_run_key: of the first round, which may be the run itself.
        n_rounds: runs from the first to this one.
        calls: all calls, in order.
    """

    first_run_key: str
    n_rounds: int
    calls: tuple[ToolCall, ...]
