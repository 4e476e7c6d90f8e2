"""One round of an exchange with tools: what its run calls, and whether the exchange ends with it.

Invariant: a function of the round's own run and what came before it: whoever computes the round,
or finds it stored, comes to the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.tools.calls import ParsedCalls, parse_calls
from store.exchange_records import CallDetail, Exchange, ToolCall
from store.records import Token
from store.specs import RunSpec, ToolRequest

MAX_ROUNDS = 6
"""Runs of one exchange: five rounds of calls, and an answer."""
MAX_CALLS = 8
"""Calls that one round may make; more are not run."""


@dataclass(frozen=True, slots=True)
class PriorRounds:
    """What came before a round: its first run, how many rounds, and their calls."""

    first_run_key: str
    n_rounds: int
    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """A round that was generated.

    Attributes:
        called: what its response calls, and what it says before.
        exchange: the whole exchange, if it ends with this round; None if calls are to be run, or
            tools were neither offered nor called.
    """

    called: ParsedCalls
    exchange: Exchange | None


def read_round(
    spec: RunSpec, run_key: str, tokens: Sequence[Token], prior: PriorRounds | None
) -> Round:
    """What a run calls.

    Args:
        spec: of the run. run_key: its key.
        tokens: all of them.
        prior: what came before; None for a first round.
    """
    if spec.kind == "text":
        return Round(ParsedCalls(), None)
    text = "".join(token.text for token in tokens if token.is_generated)
    called = parse_calls(text, spec.tools)
    before = prior or PriorRounds(run_key, 0, ())
    n_rounds = before.n_rounds + 1
    if not spec.tools and called.is_empty:
        return Round(called, None)
    if not spec.tools:
        calls = _unrun(called, run_key, 0, "not_offered")
    elif called.malformed is not None:
        calls = _unrun(called, run_key, len(before.calls), "malformed")
    elif called.calls and n_rounds >= MAX_ROUNDS:
        calls = _unrun(called, run_key, len(before.calls), "round_limit")
    elif called.calls:
        return Round(called, None)
    else:
        calls = ()
    return Round(called, Exchange(before.first_run_key, n_rounds, (*before.calls, *calls)))


def _unrun(
    called: ParsedCalls, run_key: str, first_step: int, why: CallDetail | str
) -> tuple[ToolCall, ...]:
    """Calls that are noted and not run."""
    requests: Iterable[ToolRequest | None] = called.calls or (None,)
    is_offered = why != "not_offered"
    return tuple(
        ToolCall(
            step=first_step + number,
            tool=request.name if request else "",
            arguments=request.arguments if request else json.dumps(called.malformed),
            result=None,
            status="failed" if is_offered else "not_offered",
            detail=why if is_offered else ("" if request else "malformed"),  # type: ignore[arg-type]
            call_run_key=run_key,
        )
        for number, request in enumerate(requests)
    )
