"""A detector after training, before it is measured.

Invariant: its scores are those of every run of the table, and only training runs have made it.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.detection.arrays import FloatArray
from engine.detection.models import LinearModel
from engine.detection.reports import DetectorKind


@dataclass(frozen=True, slots=True)
class Fitted:
    """Scores of a detector on all runs of the table.

    Attributes:
        name: unique in a table of detectors.
        method: how it decides; site: where, for people.
        score: [n]; higher is more suspicious.
        linear: what makes a score of a new run; None where nothing stored can.
        inner_auroc: over folds inside the training runs; None where nothing was fitted.
    """

    name: str
    kind: DetectorKind
    method: str
    site: str
    note: str
    n_features: int
    score: FloatArray
    linear: LinearModel | None = None
    inner_auroc: float | None = None


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A baseline that belongs in the table and cannot be there, with the reason."""

    name: str
    method: str
    reason: str
