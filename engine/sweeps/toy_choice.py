"""Choosing a direction, a strength and a gate for a toy, by the half to choose by alone.

A gate that is decided on the last prompt token, and steering that begins there, need no run of
their own to be judged: an answer is the steered one where the gate is open, else the plain one.

Invariant: a choice loses no more of what is known than the limit, less a margin for the half that
it has not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine.sweeps.gates import LinearGate
from engine.sweeps.toy_outcomes import ToyOutcomes, point_effect, where_open
from store.specs import Intervention

Family = Literal["sae", "dense"]

MARGIN = 0.8
"""Share of the limit that a choice may use up on the half that it is made on."""
OPEN_FOR_KNOWN = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 0.7)
"""Shares of known questions for which a gate is let open: where thresholds are tried."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A direction at a place: interventions whose strengths are those at strength 1, no gate."""

    name: str
    family: Family
    interventions: tuple[Intervention, ...]
    layer: int


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen.

    Attributes:
        gate: layer of the dense gate, -1 for that over features; None for no gate.
        reduction, loss: on the half to choose by, the gate's by folds.
    """

    trial: Trial
    strength: float
    gate: int | None
    threshold: float
    reduction: float
    loss: float


def choose(
    trials: Sequence[tuple[Trial, float, ToyOutcomes]],
    before: ToyOutcomes,
    gates: Mapping[int, LinearGate],
    limit: float,
    gated: bool,
) -> Choice | None:
    """The choice with the largest reduction within the limit; None if nothing stays within it.

    Args:
        trials: direction, strength, and the outcomes of steering always.
        before: outcomes without steering.
        gates: by layer, -1 for that over features: scores of these questions come first.
        limit: most loss of known accuracy.
        gated: with a gate, or without.
    """
    best: Choice | None = None
    for trial, strength, after in trials:
        options: list[tuple[int | None, float, ToyOutcomes]] = []
        if gated:
            for layer, gate in gates.items():
                if (layer == -1) == (trial.family == "sae") and layer <= trial.layer:
                    options += _with_gate(layer, gate, before, after)
        else:
            options.append((None, 0.0, after))
        for read_at, threshold, outcomes in options:
            reduction, loss = point_effect(before, outcomes)
            if loss <= MARGIN * limit and (best is None or reduction > best.reduction):
                best = Choice(trial, strength, read_at, threshold, reduction, loss)
    return best


def _with_gate(
    layer: int, gate: LinearGate, before: ToyOutcomes, after: ToyOutcomes
) -> list[tuple[int | None, float, ToyOutcomes]]:
    n, m = len(before.unknown), len(before.known)
    unknown, known = gate.scores[:n], gate.scores[n : n + m]
    options: list[tuple[int | None, float, ToyOutcomes]] = []
    for share in OPEN_FOR_KNOWN:
        threshold = float(np.quantile(known, 1 - share))
        outcomes = where_open(before, after, unknown > threshold, known > threshold)
        options.append((layer, threshold, outcomes))
    return options
