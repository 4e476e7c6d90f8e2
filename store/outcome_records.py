"""Judgements of answers as records.

Invariant: a judgement says who or what judged, by which method and on what evidence; it is never
changed. Nothing here reads or writes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

OutcomeMethod = Literal["tool_log", "world", "gold", "nli", "judge", "person"]
Meaning = Literal["made_up", "wrong", "honest", "abstained", "unknown"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One judgement of one run.

    Attributes:
        outcome: such as CONFABULATION, correct, refused; the table of meanings compares them.
        method: how it was judged, the strongest first: tool_log, world, gold, nli, judge, person.
        evidence: JSON of what it rests on.
        judge: who or what judged: a rule, a hosted model, a person.
        confidence: of the judge, 0 to 1, where it gave one.
    """

    run_key: str
    outcome: str
    method: OutcomeMethod
    evidence: str
    judge: str
    confidence: float | None = None
    created_by: str = "unknown"
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What holds of a run: the judgement of its strongest method.

    Attributes:
        meaning: made_up, wrong, honest, abstained, or unknown (it could not be told).
        n_judgements: current ones, one a method and judge.
        is_contested: whether some of them say another thing.
    """

    run_key: str
    outcome: str
    method: OutcomeMethod
    meaning: Meaning
    n_judgements: int
    is_contested: bool
