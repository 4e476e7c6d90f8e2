"""What steering does to a toy's answers: reduction of what it makes up, loss of what it knows.

`reduction` is strict: an answer that broke counts as not reduced, so that steering which ruins the
text gains nothing. Refusing everything has a reduction of 1 and loses all known facts: the two
numbers are only read together.

Invariant: functions of outcomes alone, question by question, before and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.sweeps.estimates import bootstrap, mean
from store.sweep_records import Estimate

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ToyOutcomes:
    """Outcomes of one half, one letter a question: t(rue), f(alse), r(efusal), b(roken)."""

    unknown: str
    known: str


@dataclass(frozen=True, slots=True)
class ToyEffect:
    """What changed.

    Attributes:
        reduction: 1 less the share of questions about unknown people that are still not refused, of
            those that were not refused before.
        loss: accuracy on known people before, less that after.
        whole: share of all answers that are not broken.
    """

    reduction: Estimate
    loss: Estimate
    whole: Estimate


def measure_effect(
    before: ToyOutcomes,
    after: ToyOutcomes,
    unknown_people: Sequence[str],
    known_people: Sequence[str],
) -> ToyEffect:
    """Estimates over people."""
    loss = _are(before.known, "t").astype(float) - _are(after.known, "t")
    whole = ~_are(after.unknown + after.known, "b")
    return ToyEffect(
        reduction=bootstrap(
            {"before": ~_are(before.unknown, "r"), "after": ~_are(after.unknown, "r")},
            unknown_people,
            lambda sums: 1 - sums["after"] / sums["before"],
        ),
        loss=mean(loss, known_people),
        whole=mean(whole, [*unknown_people, *known_people]),
    )


def point_effect(before: ToyOutcomes, after: ToyOutcomes) -> tuple[float, float]:
    """Reduction and loss without intervals, for choosing among many."""
    made_up = int((~_are(before.unknown, "r")).sum())
    left = int((~_are(after.unknown, "r")).sum())
    lost = float(_are(before.known, "t").mean() - _are(after.known, "t").mean())
    return (1 - left / made_up if made_up else 0.0), lost


def where_open(
    before: ToyOutcomes, after: ToyOutcomes, unknown: Bools, known: Bools
) -> ToyOutcomes:
    """Outcomes with a gate: as after where it is open, as before where it is not.

    Exact for a gate that is decided on the last token of the prompt and steering from there on.
    """
    return ToyOutcomes(
        _mixed(before.unknown, after.unknown, unknown), _mixed(before.known, after.known, known)
    )


def describe_outcomes(outcomes: ToyOutcomes) -> dict[str, Any]:
    """Shares of each outcome, and the outcomes themselves."""
    return {
        "n_unknown": len(outcomes.unknown),
        "n_known": len(outcomes.known),
        "confabulated": float((_are(outcomes.unknown, "t") | _are(outcomes.unknown, "f")).mean()),
        "refused_unknown": float(_are(outcomes.unknown, "r").mean()),
        "broken_unknown": float(_are(outcomes.unknown, "b").mean()),
        "known_accuracy": float(_are(outcomes.known, "t").mean()),
        "refused_known": float(_are(outcomes.known, "r").mean()),
        "broken_known": float(_are(outcomes.known, "b").mean()),
        "outcomes_unknown": outcomes.unknown,
        "outcomes_known": outcomes.known,
    }


def _are(outcomes: str, letter: str) -> Bools:
    return np.asarray([item == letter for item in outcomes], dtype=bool)


def _mixed(before: str, after: str, is_open: Bools) -> str:
    return "".join(
        new if opened else old for old, new, opened in zip(before, after, is_open, strict=True)
    )
