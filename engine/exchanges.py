"""Exchanges with tools: round after round, until a response calls nothing more.

Every round is a run of its own, stored and memoized like any other: its messages are those of the
round before, what that one called, and what the tools returned. A thread of its own follows each
exchange, so that a slow tool holds up nobody else's answers.

Invariant: a caller's job ends with the last round's run, on which the whole exchange is noted; the
same first round, asked again, is answered by that run without calling anything.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace

from engine.catalog import ResolvedSource
from engine.errors import EngineError
from engine.flights import Flight, Job
from engine.jobs import to_failure, to_unexpected_failure
from engine.memo import NUMERICS_VERSION, Memo
from engine.toolboxes import Toolboxes
from engine.tools.rounds import MAX_CALLS, PriorRounds, read_round
from engine.tools.running import CallPlace, CallResult, Toolbox
from store.errors import StoreError
from store.exchange_records import ToolCall
from store.keys import run_key, source_id
from store.runs import RunRepository
from store.specs import Message, RunSpec, SteeringSpec
from store.tool_calls import ToolCallRepository

ResolveSteering = Callable[[str, SteeringSpec], SteeringSpec]

_SLICE_S = 0.1


class Exchanges:
    """Begins exchanges and follows them to their end."""

    def __init__(
        self, memo: Memo, runs: RunRepository, toolboxes: Toolboxes, resolve: ResolveSteering
    ) -> None:
        """Makes what begins exchanges.

        Args:
            memo: where each round is asked for.
            runs: of the store.
            toolboxes: the tools of each source.
            resolve: makes interventions ready for a source, by its name.
        """
        self._memo = memo
        self._resolve = resolve
        self._runs = runs
        self._calls = ToolCallRepository(runs.store)
        self._toolboxes = toolboxes

    def begin(
        self, spec: RunSpec, source: ResolvedSource, asked_by: str, is_bulk: bool = False
    ) -> Job:
        """A job on the exchange that a run begins: done already, or under way.

        Args:
            spec: of the first round; it offers tools.
            source: whose tools they are.
            asked_by: who asks.
            is_bulk: it is one of many, which may be stored together.

        Raises:
            StoreError: if the store cannot be read.
        """
        first = run_key(spec, NUMERICS_VERSION)
        last = self._calls.find_last(first)
        stored = last and self._memo.recall(spec, last, asked_by, is_bulk)
        if stored:
            return stored
        whole = Flight("", spec, asked_by)
        whole.join()
        job = Job(whole, asked_by)
        follower = _Follower(self, self._toolboxes.of(source), job, is_bulk)
        name = f"exchange-{first[:8]}"
        threading.Thread(target=follower.run, args=(spec,), name=name, daemon=True).start()
        return job

    def request(self, spec: RunSpec, prior: PriorRounds | None, job: Job, is_bulk: bool) -> Job:
        """A job on one round."""
        key = run_key(spec, NUMERICS_VERSION)
        return self._memo.request(spec, key, job.asked_by, prior, is_bulk)

    def steer(self, spec: RunSpec, result: CallResult) -> tuple[SteeringSpec, CallResult]:
        """The steering of the rounds after a call, and what the model is told of the call."""
        if result.intervention is None:
            return spec.steering, result
        try:
            wanted = self._resolve(spec.source.name, SteeringSpec((result.intervention,)))
            return SteeringSpec((*spec.steering.interventions, *wanted.interventions)), result
        except (EngineError, StoreError) as error:
            told = json.dumps({"error": f"{error.message} {error.hint}".strip()})
            return spec.steering, CallResult(told, told, "raised", result.elapsed_s)

    def end(self, spec: RunSpec, key: str, prior: PriorRounds | None) -> tuple[Message, ...] | None:
        """None if the exchange ends with a stored round, else the message that calls tools."""
        stored = self._runs.get_run(key)
        found = read_round(spec, key, stored.tokens, prior)
        if found.exchange is not None:
            # where another exchange had stored the run, or it was found, this one is not noted yet
            self._calls.insert_exchange(key, found.exchange)
            return None
        return (Message("assistant", found.called.before, found.called.calls),)


class _Follower:
    """One exchange, on its own thread."""

    def __init__(self, exchanges: Exchanges, tools: Toolbox, job: Job, is_bulk: bool) -> None:
        self._exchanges = exchanges
        self._tools = tools
        self._job = job
        self._whole = job.flight
        self._is_bulk = is_bulk

    def run(self, spec: RunSpec) -> None:
        """Follows it to its end; the job always ends."""
        try:
            prior: PriorRounds | None = None
            while True:
                round_job = self._exchanges.request(spec, prior, self._job, self._is_bulk)
                if not self._wait(round_job):
                    return
                key = round_job.flight.run_key
                said = self._exchanges.end(spec, key, prior)
                if said is None:
                    self._land(round_job)
                    return
                spec, prior = self._next(spec, key, prior, said)
        except (EngineError, StoreError) as error:
            self._whole.end("failed", to_failure(error))
        except Exception as error:  # noqa: BLE001 - no fault may leave a caller waiting for ever
            self._whole.end("failed", to_unexpected_failure(error))

    def _wait(self, round_job: Job) -> bool:
        """Waits for a round, showing it as the whole; False if the exchange is over."""
        flight = round_job.flight
        flight.show_in(self._whole)
        while not flight.finished.wait(_SLICE_S):
            if self._whole.is_stopping():
                round_job.leave()
                self._whole.end("cancelled")
                return False
        state, failure = flight.ending()
        if state != "done":
            self._whole.end(state, failure)
        return state == "done"

    def _land(self, last: Job) -> None:
        # for jobs that hold the whole itself
        self._whole.run_key = last.flight.run_key
        self._job.become(last)
        self._whole.end("done")

    def _next(
        self, spec: RunSpec, key: str, prior: PriorRounds | None, said: tuple[Message, ...]
    ) -> tuple[RunSpec, PriorRounds]:
        """Runs what a round calls; the spec of the round after it, and what came before that."""
        before = prior or PriorRounds(key, 0, ())
        place = CallPlace(source_id(spec.source), key)
        told: list[Message] = []
        calls: list[ToolCall] = []
        steering = spec.steering
        for number, request in enumerate(said[-1].tool_calls):
            if number < MAX_CALLS:
                result = self._tools.run(request, place)
            else:
                result = CallResult("(not run)", '"not run"', "too_many")
            steering, result = self._exchanges.steer(replace(spec, steering=steering), result)
            told.append(Message("tool", result.told))
            calls.append(
                ToolCall(
                    step=len(before.calls) + number,
                    tool=request.name,
                    arguments=request.arguments,
                    result=result.result,
                    status="failed" if result.detail else "ok",
                    detail=result.detail,
                    call_run_key=key,
                    elapsed_s=result.elapsed_s,
                )
            )
        following = replace(spec, messages=(*spec.messages, *said, *told), steering=steering)
        done = PriorRounds(before.first_run_key, before.n_rounds + 1, (*before.calls, *calls))
        return following, done
