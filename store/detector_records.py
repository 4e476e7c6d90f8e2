"""Detectors, their results and their scores as records.

Invariant: a detector names the held-out runs that its figures are of by their digest; JSON in these
records is text that the engine wrote and reads. Nothing here reads or writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class DetectorResult:
    """One figure of a detector on one slice of the held-out runs, with its 95% interval."""

    slice: str
    n_positive: int
    n_negative: int
    verdict: str
    metric: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Detector:
    """One trained detector.

    Attributes:
        kind: candidate or baseline. method: how it decides, such as `sae_logistic`.
        features: JSON of its features and weights. metrics: JSON of what it reached.
        split_hash: digest of the held-out run keys.
        model: JSON of all that scoring takes; None where a new run cannot be scored.
        is_chosen: the candidate that did best inside the training runs.
        retired_by, retired_at: set once nobody should use it any more.
    """

    detector_id: str
    name: str
    source_id: str
    kind: str
    features: str
    metrics: str
    split_hash: str
    evaluation_id: str
    method: str
    site: str
    note: str
    is_chosen: bool
    model: str | None
    created_by: str
    created_at: datetime
    retired_by: str | None = None
    retired_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What detectors need to know of a stored source.

    Attributes:
        max_active: most activations stored a token; None where every one is kept.
    """

    source_id: str
    name: str
    d_sae: int
    max_active: int | None


@dataclass(frozen=True, slots=True)
class RunScore:
    """What a detector says of a stored run.

    Attributes:
        part: train, validation, test, or new (a run that it was not made with).
    """

    run_key: str
    score: float
    probability: float
    part: str


@dataclass(frozen=True, slots=True)
class StoredEvaluation:
    """Everything that was measured at once. `report` is JSON."""

    evaluation_id: str
    source_id: str
    set_name: str
    report: str
    created_by: str
    created_at: datetime
