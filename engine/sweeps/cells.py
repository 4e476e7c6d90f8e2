"""One cell of a sweep: what is done, and what was measured of it, whatever the task.

Invariant: a cell's key holds all that decides its numbers: source, steering, instruction, prompts,
lengths of answers and the version of the measures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from engine.concepts.halves import Half
from store.keys import canonical_json, source_id
from store.specs import SourceSpec, SteeringSpec
from store.sweep_records import CellPlace, Estimate

METRIC_VERSION = "1"
"""Raised when the same answers would be measured otherwise."""
Role = Literal["candidate", "control"]
UNSTEERED = SteeringSpec()


@dataclass(frozen=True, slots=True)
class CellPlan:
    """A cell that is to be measured.

    Attributes:
        steering: resolved.
        instruction: put before the prompts; empty for none.
        strength, unit, layer: what is shown of it.
    """

    arm: str
    role: Role
    half: Half
    steering: SteeringSpec = UNSTEERED
    instruction: str = ""
    strength: float = 0.0
    unit: str = "raw"
    layer: int | None = None

    def place(self, number: int) -> CellPlace:
        """Where it stands in its sweep."""
        first = next(iter(self.steering.interventions), None)
        kind = first.kind if first else ("prompt" if self.instruction else "none")
        return CellPlace(
            number=number,
            arm=self.arm,
            role=self.role,
            kind=kind,
            feature=first.feature if first else None,
            vector_id=first.vector_id if first else None,
            strength=self.strength,
            unit=self.unit,
            layer=self.layer,
            is_gated=first is not None and first.condition is not None,
        )


@dataclass(frozen=True, slots=True)
class CellMeasures:
    """What was measured: three headline numbers, and everything as plain JSON values."""

    n: int
    success: Estimate
    coherence: Estimate
    side_effect: Estimate
    results: Mapping[str, Any] = field(default_factory=dict)


class SweepMeasure(Protocol):
    """A task: what cells are measured on, and how."""

    def digest(self, half: Half) -> str:
        """Of everything besides steering and instruction that decides the numbers."""
        ...

    def measure(self, plan: CellPlan) -> CellMeasures:
        """Measures a cell; raises GenerationCancelled where the sweep was cancelled."""
        ...


def cell_key(source: SourceSpec, plan: CellPlan, digest: str) -> str:
    """SHA-256 of all that decides a cell's numbers."""
    content = {
        "version": METRIC_VERSION,
        "source": source_id(source),
        "steering": [asdict(item) for item in plan.steering.interventions],
        "instruction": plan.instruction,
        "half": plan.half,
        "digest": digest,
    }
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def plain_estimate(estimate: Estimate) -> dict[str, float | None]:
    """An estimate as JSON."""
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}
