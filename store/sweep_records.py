"""Sweeps and their cells: what was steered how strongly, and what was measured of it.

Invariant: field names equal the columns of the public views.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Estimate:
    """One measured number with its 95% interval; None where there was nothing to measure."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class SweepDraft:
    """What is said of a sweep when it is first asked for; `spec` is JSON text."""

    sweep_id: str
    name: str
    task: str
    source_id: str
    source_name: str
    spec: str
    created_by: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """A stored sweep.

    Attributes:
        n_cells: measured so far.
        summary: JSON text of what came of it; None until it is finished.
    """

    sweep_id: str
    name: str
    task: str
    source_id: str
    source_name: str
    n_cells: int
    spec: str
    summary: str | None
    created_by: str
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class MeasuredCell:
    """What was measured of one cell, whatever sweeps it is in.

    Attributes:
        steering: JSON text of the resolved interventions; `[]` for an unsteered one.
        prefix: instruction before the prompts; empty if none.
        split: the half of the prompts that it was measured on.
        n: prompts that success was measured on.
        results: JSON text of all that was measured, with examples.
    """

    cell_key: str
    source_id: str
    steering: str
    prefix: str
    split: str
    n: int
    success: Estimate
    coherence: Estimate
    side_effect: Estimate
    results: str
    compute_s: float


@dataclass(frozen=True, slots=True)
class CellPlace:
    """Where a cell stands in a sweep.

    Attributes:
        number: from 0.
        kind: of its first intervention; `prompt` or `none` where nothing is steered.
        layer: decoder layer that is changed; None if nothing is.
    """

    number: int
    arm: str
    role: str
    kind: str
    feature: int | None
    vector_id: str | None
    strength: float
    unit: str
    layer: int | None
    is_gated: bool


@dataclass(frozen=True, slots=True)
class SweepCell:
    """A cell in a sweep: its place and what was measured."""

    place: CellPlace
    measured: MeasuredCell
