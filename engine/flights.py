"""Computations under way and the jobs that wait for them: one flight a run key.

Invariant: a flight's state only moves forward; its lock guards every field, and views are copies.
A flight is told to stop only when no job waits for it any more.
"""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass, field

from engine.jobs import ACTIVE_STATES, JobFailure, JobState, JobView, LiveToken
from engine.tools.rounds import PriorRounds
from store.specs import RunSpec


class Flight:
    """One computation of one run, shared by all who ask for it at the same time."""

    def __init__(
        self,
        run_key: str,
        spec: RunSpec,
        created_by: str,
        prior: PriorRounds | None = None,
        is_bulk: bool = False,
    ) -> None:
        """Makes a flight that waits.

        Args:
            run_key: of the run; empty for a flight that only stands for another one.
            spec: of the run.
            created_by: who caused it.
            prior: rounds of an exchange with tools that come before the run.
            is_bulk: it is one of many, which may be stored together with those beside it.
        """
        self.run_key = run_key
        self.spec = spec
        self.created_by = created_by
        self.prior = prior
        self.is_bulk = is_bulk
        self.finished = threading.Event()
        self._lock = threading.Lock()
        self._state: JobState = "queued"
        self._n_waiting = 0
        self._shared_by: list[str] = []
        self._stopping = False
        self._n_prompt_tokens = 0
        self._n_total = 0
        self._tokens: list[LiveToken] = []
        self._failure: JobFailure | None = None
        self._shown_in: list[Flight] = []

    def join(self) -> bool:
        """Adds one who waits; False if the flight is over or being stopped."""
        with self._lock:
            if self._stopping or self._state not in ACTIVE_STATES:
                return False
            self._n_waiting += 1
            return True

    def share(self, asked_by: str) -> bool:
        """Joins a flight that someone else caused; False if it is over or being stopped."""
        if not self.join():
            return False
        with self._lock:
            self._shared_by.append(asked_by)
        return True

    def shared_by(self) -> tuple[str, ...]:
        """Who joined without having caused the computation."""
        with self._lock:
            return tuple(self._shared_by)

    def leave(self) -> None:
        """Takes one who waits away; the last one stops the computation at its next token."""
        with self._lock:
            self._n_waiting -= 1
            if self._n_waiting <= 0:
                self._stopping = True

    def is_stopping(self) -> bool:
        """Whether the computation should stop; asked at every token."""
        return self._stopping

    def show_in(self, whole: Flight) -> None:
        """Shows what this flight does in another one too, whose part it is."""
        with self._lock:
            self._shown_in.append(whole)
            state, tokens = self._state, tuple(self._tokens)
            n_prompt_tokens, n_total = self._n_prompt_tokens, self._n_total
        if state in ACTIVE_STATES:
            whole.begin(state)
        whole.on_prompt(n_prompt_tokens, n_total)
        for token in tokens:
            whole.on_token(token)

    def ending(self) -> tuple[JobState, JobFailure | None]:
        """State and failure of a flight that is over."""
        with self._lock:
            return self._state, self._failure

    def begin(self, state: JobState) -> None:
        """Moves on to `loading`, `running` or `storing`."""
        with self._lock:
            self._state = state
            wholes = tuple(self._shown_in)
        for whole in wholes:
            whole.begin(state)

    def on_prompt(self, n_prompt_tokens: int, n_total: int) -> None:
        """Notes the size of the work, which begins, or begins again."""
        with self._lock:
            self._tokens.clear()
            self._n_prompt_tokens = n_prompt_tokens
            self._n_total = n_total
            wholes = tuple(self._shown_in)
        for whole in wholes:
            whole.on_prompt(n_prompt_tokens, n_total)

    def on_token(self, token: LiveToken) -> None:
        """Notes one generated token."""
        with self._lock:
            self._tokens.append(token)
            wholes = tuple(self._shown_in)
        for whole in wholes:
            whole.on_token(token)

    def end(self, state: JobState, failure: JobFailure | None = None) -> None:
        """Ends in `done`, `failed` or `cancelled`, and wakes all who wait."""
        with self._lock:
            self._state = state
            self._failure = failure
        self.finished.set()

    def view(self, job: Job, queue_position: int) -> JobView:
        """The job at this moment."""
        with self._lock:
            state: JobState = "cancelled" if job.has_left else self._state
            return JobView(
                job_id=job.job_id,
                run_key=self.run_key,
                source=self.spec.source.name,
                state=state,
                memoized=job.memoized,
                shared=job.shared,
                queue_position=queue_position if state == "queued" else 0,
                n_prompt_tokens=self._n_prompt_tokens,
                n_done=len(self._tokens),
                n_total=self._n_total,
                tokens=tuple(self._tokens),
                failure=self._failure,
                waited_s=time.monotonic() - job.submitted_at,
            )


@dataclass(slots=True)
class Job:
    """One request's hold on a flight.

    Attributes:
        has_left: set once it was cancelled.
        chore: work of the worker's that must come before the flight is known; else None.
    """

    flight: Flight
    asked_by: str
    memoized: bool = False
    shared: bool = False
    has_left: bool = False
    chore: object = None
    job_id: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    submitted_at: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def become(self, other: Job) -> None:
        """Takes over another job's hold: what it waited for is known now."""
        with self._lock:
            self.memoized, self.shared = other.memoized, other.shared
            self.flight, self.chore = other.flight, None
            has_left = self.has_left
        if has_left:
            other.flight.leave()

    def leave(self) -> None:
        """Lets go of the flight, once."""
        with self._lock:
            is_first, self.has_left = not self.has_left, True
            flight = self.flight
        if is_first:
            flight.leave()
