"""A detector on one run: its score, its probability, and the tokens and features that carry it.

Invariant: contributions add up to the score, but for the intercept, wherever the detector is a sum;
only what is stored is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from engine.detection.calibration import threshold_for, to_probability
from engine.detection.models import DetectorModel, LinearModel, Site
from engine.detection.positions import RunPlaces, token_statistics
from engine.detection.reports import DetectorKind, Estimate
from engine.detection.stored_features import read_site
from engine.errors import RequestError
from store.run_columns import ActivationsOfRuns, TokensOfRuns


@dataclass(frozen=True, slots=True)
class Threshold:
    """From which score on a run is flagged, so that few right answers are.

    Attributes:
        false_positive_rate: at most this share of right answers is flagged, by validation runs.
        probability: the calibrated one at the score.
        n_negatives: right answers that it rests on.
    """

    false_positive_rate: float
    score: float
    probability: float
    n_negatives: int


@dataclass(frozen=True, slots=True)
class TokenContribution:
    """What a token adds to the score; above zero is more suspicious."""

    position: int
    contribution: float


@dataclass(frozen=True, slots=True)
class FeatureContribution:
    """What a feature adds to the score: its weight times its value at a position."""

    feature: int
    position: int
    value: float
    weight: float
    contribution: float


@dataclass(frozen=True, slots=True)
class LiveScore:
    """What a detector says of one run.

    Attributes:
        probability: calibrated, 0 to 1; the base rate where `is_calibrated` is False.
        tokens: those that carry the score, by position; features: the heaviest first.
        caveats: sentences about what this run lacks that the detector's training runs had.
    """

    detector_id: str
    name: str
    run_key: str
    score: float
    probability: float
    is_calibrated: bool
    threshold: Threshold
    is_flagged: bool
    tokens: tuple[TokenContribution, ...]
    features: tuple[FeatureContribution, ...]
    caveats: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DetectorCard:
    """A stored detector, as lists show it.

    Attributes:
        auroc: on all held-out answers; None below the gate.
        can_score: whether new runs can be scored; needs_model: only with the model loaded.
    """

    detector_id: str
    name: str
    kind: DetectorKind
    method: str
    site: str
    note: str
    source_id: str
    set_name: str
    evaluation_id: str
    is_chosen: bool
    auroc: Estimate | None
    n_positive: int
    n_negative: int
    can_score: bool
    needs_model: bool
    created_by: str
    created_at: datetime
    retired_by: str | None
    retired_at: datetime | None


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """An evaluation, as lists show it. `chosen` and `auroc` are of the detector to use."""

    evaluation_id: str
    set_name: str
    source_id: str
    is_toy: bool
    chosen: str | None
    auroc: Estimate | None
    is_confounded: bool
    settings: tuple[tuple[str, str], ...]
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class RunToScore:
    """A stored run, as far as a detector needs it.

    Attributes:
        activations: of this run alone. tokens: of this run alone.
    """

    run_key: str
    place: RunPlaces
    tokens: TokensOfRuns
    activations: ActivationsOfRuns


def make_threshold(model: DetectorModel, false_positive_rate: float) -> Threshold:
    """The threshold for a rate of false alarms.

    Raises:
        RequestError: if the rate is outside 0 to 1, or nothing is known to set it by.
    """
    score = threshold_for(model.calibration, false_positive_rate)
    probability = float(to_probability(model.calibration, np.array([score]))[0])
    return Threshold(false_positive_rate, score, probability, len(model.calibration.negatives))


def score_stored(
    linear: LinearModel, run: RunToScore
) -> tuple[float, tuple[TokenContribution, ...], tuple[FeatureContribution, ...]]:
    """Score, tokens and features of a run.

    Raises:
        RequestError: for a detector that reads residuals, which are not stored with runs.
    """
    if linear.space == "feature":
        return _by_site(linear, run)
    if linear.space == "token feature":
        return _by_token(linear, run)
    if linear.space == "statistic":
        return _by_statistic(linear, run)
    raise RequestError(
        "This detector reads the residual, which is not stored with runs.",
        "Score the stored runs as a task, or choose a detector made of features.",
    )


def _by_site(
    linear: LinearModel, run: RunToScore
) -> tuple[float, tuple[TokenContribution, ...], tuple[FeatureContribution, ...]]:
    site: Site = linear.site or "prompt_last"
    values = read_site(run.activations, run.place, site)
    features = [
        FeatureContribution(feature, position, value, weight, weight * value)
        for feature, weight in zip(linear.features, linear.weights, strict=True)
        for value, position in [values.get(feature, (0.0, -1))]
        if position >= 0
    ]
    score = linear.intercept + sum(item.contribution for item in features)
    return score, _by_position(features), _heaviest(features)


def _by_token(
    linear: LinearModel, run: RunToScore
) -> tuple[float, tuple[TokenContribution, ...], tuple[FeatureContribution, ...]]:
    """The score is that of the most suspicious token; each token shows its own."""
    weight_of = dict(zip(linear.features, linear.weights, strict=True))
    found = run.activations
    by_token: dict[int, list[FeatureContribution]] = {
        position: [] for position in range(run.place.n_prompt, run.place.n_tokens)
    }
    for feature, position, value in zip(
        found.feature.tolist(), found.position.tolist(), found.value.tolist(), strict=True
    ):
        if feature in weight_of and position in by_token:
            weight = weight_of[feature]
            by_token[position].append(
                FeatureContribution(feature, position, value, weight, weight * value)
            )
    if not by_token:
        return linear.intercept, (), ()
    totals = {
        position: sum(item.contribution for item in items) for position, items in by_token.items()
    }
    highest = max(totals, key=lambda position: totals[position])
    tokens = tuple(TokenContribution(*item) for item in totals.items())
    return linear.intercept + totals[highest], tokens, _heaviest(by_token[highest])


def _by_statistic(
    linear: LinearModel, run: RunToScore
) -> tuple[float, tuple[TokenContribution, ...], tuple[FeatureContribution, ...]]:
    starts = [0, run.place.n_tokens]
    statistics = token_statistics(run.tokens, starts, [run.place])
    score = linear.intercept
    for name, weight in zip(linear.names, linear.weights, strict=True):
        value = float(statistics[name][0])
        if not np.isfinite(value):
            raise RequestError(
                "This answer lacks the token whose probability the detector reads.",
                "Choose a detector that reads another place.",
            )
        score += weight * value
    return score, (), ()


def _by_position(features: Sequence[FeatureContribution]) -> tuple[TokenContribution, ...]:
    totals: dict[int, float] = {}
    for item in features:
        totals[item.position] = totals.get(item.position, 0.0) + item.contribution
    return tuple(TokenContribution(*item) for item in sorted(totals.items()))


def _heaviest(features: Sequence[FeatureContribution]) -> tuple[FeatureContribution, ...]:
    return tuple(sorted(features, key=lambda item: -abs(item.contribution)))
