"""A trained detector as plain data: what it reads of a run, and how it weighs that.

Invariant: a model applied to what it was trained on gives the scores that were measured; it goes
through JSON and back unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Space = Literal["feature", "token feature", "residual", "statistic"]
"""What the weights are of: a value of a feature a run; of a feature on each generated token, whose
largest weighted sum is the score; a dimension of the residual; a statistic of the tokens."""

Site = Literal["prompt_last", "before_value", "value", "generated_max", "all_max"]
"""Where a run is read: a token, or the largest value over several tokens."""

POSITION_SITES: tuple[Site, ...] = ("prompt_last", "before_value", "value")
SITE_TITLES: dict[Site, str] = {
    "prompt_last": "last token of the prompt",
    "before_value": "token before the value",
    "value": "last token of the value",
    "generated_max": "maximum over generated tokens",
    "all_max": "maximum over all tokens",
}


@dataclass(frozen=True, slots=True)
class LinearModel:
    """A weighted sum.

    Attributes:
        site: where it reads; None for a space of tokens or statistics.
        names: features or dimensions as numbers in text, or names of statistics.
        weights: of each, in units of what is stored; intercept: added.
    """

    space: Space
    site: Site | None
    names: tuple[str, ...]
    weights: tuple[float, ...]
    intercept: float

    @property
    def features(self) -> tuple[int, ...]:
        """The features that it weighs; none for other spaces."""
        return tuple(map(int, self.names)) if "feature" in self.space else ()


@dataclass(frozen=True, slots=True)
class Calibration:
    """A score as a probability: 1 / (1 + exp(-(slope * score + offset))).

    Attributes:
        slope: never below zero, so that a higher score is never a lower probability.
        is_fitted: False where the validation runs could not carry it; all are the base rate then.
        negatives: scores of the validation runs that were right, rising: for thresholds.
    """

    slope: float
    offset: float
    is_fitted: bool
    negatives: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class DetectorModel:
    """All that scoring a run takes."""

    linear: LinearModel
    calibration: Calibration
