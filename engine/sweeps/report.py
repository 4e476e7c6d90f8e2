"""A sweep as it is shown and printed: its cells, its controls, what was chosen and how it did.

Invariant: numbers are those of the store; nothing is computed here but their order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.jobs import RunRequest
from engine.sweeps.cells import plain_estimate
from store.specs import Message, SamplingSpec, parse_interventions
from store.sweep_records import Sweep, SweepCell

_FALLBACK_TOKENS = 32


@dataclass(frozen=True, slots=True)
class SweepReport:
    """A sweep so far.

    Attributes:
        is_toy: the word "toy" stands beside every number.
        summary: what was chosen and how it did; empty until the sweep is finished.
    """

    sweep: Sweep
    cells: tuple[SweepCell, ...]
    summary: Mapping[str, Any]
    is_toy: bool

    @property
    def best(self) -> Mapping[str, Any] | None:
        """What was chosen, with its numbers on the half that is reported."""
        best = self.summary.get("best")
        return best if isinstance(best, dict) else None

    @property
    def controls(self) -> Mapping[str, Any]:
        """What stands beside it."""
        controls = self.summary.get("controls", {})
        return controls if isinstance(controls, dict) else {}

    @property
    def arms(self) -> Mapping[str, Any]:
        """Each arm's own choice, with its numbers on the half that is reported."""
        arms = self.summary.get("arms", {})
        return arms if isinstance(arms, dict) else {}

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        rest = {
            name: value
            for name, value in self.summary.items()
            if name not in ("best", "controls", "arms")
        }
        return {
            "sweep_id": self.sweep.sweep_id,
            "name": self.sweep.name,
            "task": self.sweep.task,
            "source": self.sweep.source_name,
            "source_id": self.sweep.source_id,
            "is_toy": self.is_toy,
            "is_finished": self.sweep.summary is not None,
            "spec": json.loads(self.sweep.spec),
            "best": self.best,
            "controls": dict(self.controls),
            "arms": dict(self.arms),
            **rest,
            "cells": [cell_json(cell) for cell in self.cells],
        }


def cell_json(cell: SweepCell) -> dict[str, Any]:
    """A cell as plain JSON values."""
    place, measured = cell.place, cell.measured
    return {
        "number": place.number,
        "arm": place.arm,
        "role": place.role,
        "split": measured.split,
        "intervention": place.kind,
        "feature": place.feature,
        "vector_id": place.vector_id,
        "strength": place.strength,
        "unit": place.unit,
        "layer": place.layer,
        "is_gated": place.is_gated,
        "n": measured.n,
        "success": plain_estimate(measured.success),
        "coherence": plain_estimate(measured.coherence),
        "side_effects": plain_estimate(measured.side_effect),
        "instruction": measured.prefix,
        "steering": json.loads(measured.steering),
        "results": json.loads(measured.results),
        "cell_key": measured.cell_key,
    }


def example_requests(sweep: Sweep, cell: SweepCell, asked_by: str) -> tuple[RunRequest, ...]:
    """The examples of a cell as requests: each opens, or becomes, an ordinary run."""
    steering = parse_interventions(json.loads(cell.measured.steering))
    n_tokens = json.loads(sweep.spec).get("max_new_tokens", _FALLBACK_TOKENS)
    instruction = cell.measured.prefix
    system = (Message("system", instruction),) if instruction else ()
    return tuple(
        RunRequest(
            messages=(*system, Message("user", example["prompt"])),
            source=sweep.source_name,
            sampling=SamplingSpec(max_new_tokens=n_tokens),
            steering=steering,
            created_by=asked_by,
        )
        for example in json.loads(cell.measured.results).get("examples", [])
    )
