"""What interventions achieved, token by token: plain numbers, kept with a run and its prefix.

Invariant: positions rise, and each has a value before and one after. Free of torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from store.interventions import Intervention
from store.steering_records import RunIntervention


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What one intervention saw and left on the tokens that it applied to.

    Attributes:
        position: int64, of each of these tokens.
        before, after: float64, activation or projection there.
        requested: float64, what was asked for there.
    """

    position: npt.NDArray[np.int64]
    before: npt.NDArray[np.float64]
    after: npt.NDArray[np.float64]
    requested: npt.NDArray[np.float64]

    def before_position(self, end: int) -> Reading:
        """The part of it on positions below end."""
        keep = self.position < end
        return Reading(
            self.position[keep], self.before[keep], self.after[keep], self.requested[keep]
        )

    def followed_by(self, later: Reading) -> Reading:
        """Both, one after the other."""
        return Reading(
            np.concatenate([self.position, later.position]),
            np.concatenate([self.before, later.before]),
            np.concatenate([self.after, later.after]),
            np.concatenate([self.requested, later.requested]),
        )


def to_record(
    number: int, item: Intervention, layer: int, measure: str, reading: Reading
) -> RunIntervention:
    """What is stored of a reading: means over the tokens that the intervention applied to."""
    return RunIntervention(
        number=number,
        kind=item.kind,
        feature=item.feature,
        vector_id=item.vector_id,
        layer=layer,
        positions=item.positions,
        unit=item.unit,
        strength=item.strength,
        raw_strength=item.raw_strength or 0.0,
        measure=measure,
        requested=_mean(reading.requested),
        achieved_before=_mean(reading.before),
        achieved_after=_mean(reading.after),
        n_positions=len(reading.position),
    )


def _mean(values: Sequence[float] | npt.NDArray[np.float64]) -> float | None:
    return float(np.mean(values)) if len(values) else None
