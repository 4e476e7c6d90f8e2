"""Detectors applied to stored runs: one at a time for a page, many at once for SQL.

Invariant: a run is scored from what is stored of it; only detectors that read residuals ask the
model, and only in a task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from engine.demo_source import find_toy_seed
from engine.detection.building import Tell
from engine.detection.calibration import to_probability
from engine.detection.encoding import decode_model
from engine.detection.labelled import claimed_value
from engine.detection.live import LiveScore, RunToScore, make_threshold, score_stored
from engine.detection.models import DetectorModel
from engine.detection.positions import find_places
from engine.detection.residuals import read_residuals
from engine.errors import EngineError, RequestError
from engine.lab_context import LabContext
from store.captures import CaptureRepository
from store.detector_records import Detector, RunScore
from store.detectors import DetectorRepository
from store.outcomes import OutcomeRepository
from store.run_columns import ActivationsOfRuns, RunColumnRepository, RunFacts, TokensOfRuns
from store.run_sets import RunSetRepository

RUNS_AT_ONCE = 100


class Scorer:
    """Scores runs with stored detectors."""

    def __init__(self, context: LabContext) -> None:
        self._context = context
        self._columns = RunColumnRepository(context.store)
        self._captures = CaptureRepository(context.store)
        self._outcomes = OutcomeRepository(context.store)
        self._detectors = DetectorRepository(context.store)

    def list_runs(self, detector: Detector, where: str) -> tuple[str, ...]:
        """Keys of the runs of the detector's source that a filter means.

        Raises:
            InvalidSpecError: for a filter that cannot be read.
        """
        runs = RunSetRepository(self._context.store)
        return runs.list_run_keys(where, source=detector.source_id)

    def score_run(self, detector: Detector, run_key: str, false_positive_rate: float) -> LiveScore:
        """What a detector says of one run.

        Raises:
            RunNotFoundError: if it is not stored.
            RequestError: if the detector cannot read it.
        """
        model = _model(detector)
        [fact] = self._columns.list_facts([run_key])
        if fact.source_id != detector.source_id:
            raise RequestError(
                "This run was computed by another source than the detector was trained on.",
                "Choose a detector of the run's source.",
            )
        if not fact.n_generated_tokens:
            raise RequestError(
                "This run is a text that was read: nothing was answered.", "Choose an answer."
            )
        [run] = self._read([fact])
        score, tokens, features = score_stored(model.linear, run)
        threshold = make_threshold(model, false_positive_rate)
        return LiveScore(
            detector_id=detector.detector_id,
            name=detector.name,
            run_key=run_key,
            score=score,
            probability=_probability(model, score),
            is_calibrated=model.calibration.is_fitted,
            threshold=threshold,
            is_flagged=score >= threshold.score,
            tokens=tokens,
            features=features,
            caveats=self._caveats(detector, model, fact, run),
        )

    def score_runs(
        self,
        detector: Detector,
        run_keys: Sequence[str],
        tell: Tell,
        is_cancelled: Callable[[], bool],
    ) -> tuple[int, int]:
        """Scores runs and keeps the scores, a hundred at a time.

        Returns:
            how many were scored, and how many the detector could not read.

        Raises:
            RequestError: if the detector cannot score runs at all.
        """
        model = _model(detector)
        part_of = {
            item.run_key: item.part for item in self._detectors.list_scores(detector.detector_id)
        }
        n_scored = 0
        for start in range(0, len(run_keys), RUNS_AT_ONCE):
            tell(start, len(run_keys), "scoring runs")
            some = self._columns.list_facts(run_keys[start : start + RUNS_AT_ONCE])
            facts = [fact for fact in some if fact.n_generated_tokens]
            scores = self._score_many(detector, model, facts)
            kept = [
                RunScore(key, score, _probability(model, score), part_of.get(key, "new"))
                for key, score in scores.items()
                if np.isfinite(score)
            ]
            self._detectors.insert_scores(detector.detector_id, kept)
            n_scored += len(kept)
        return n_scored, len(run_keys) - n_scored

    def _score_many(
        self, detector: Detector, model: DetectorModel, facts: Sequence[RunFacts]
    ) -> dict[str, float]:
        runs = self._read(facts) if facts else []
        if model.linear.space == "residual":
            return self._by_residual(facts, runs, model)
        scores = {}
        for run in runs:
            try:
                scores[run.run_key] = score_stored(model.linear, run)[0]
            except RequestError:
                continue  # an answer without the token that it reads has no score
        return scores

    def _by_residual(
        self, facts: Sequence[RunFacts], runs: Sequence[RunToScore], model: DetectorModel
    ) -> dict[str, float]:
        unsteered = {fact.run_key for fact in facts if not fact.is_steered}
        chosen = [run for run in runs if run.run_key in unsteered]
        if not chosen:
            return {}
        name = self._detectors.get_source(facts[0].source_id).name
        found = read_residuals(
            self._context.asker,
            self._captures,
            name,
            [run.run_key for run in chosen],
            [tuple(run.tokens.token_id.tolist()) for run in chosen],
            [run.place for run in chosen],
            lambda _done: None,
        )
        site = model.linear.site
        if found.problem:
            raise EngineError(found.problem, "Score with a detector made of features.")
        if site is None or site not in found.by_site:
            return {}
        weights = np.array(model.linear.weights)
        scores = found.by_site[site] @ weights + model.linear.intercept
        return {
            run.run_key: float(score)
            for run, score in zip(chosen, scores, strict=True)
            if run.place.at(site) >= 0
        }

    def _read(self, facts: Sequence[RunFacts]) -> list[RunToScore]:
        keys = [fact.run_key for fact in facts]
        tokens, activations = self._columns.get_tokens(keys), self._columns.get_activations(keys)
        judgements = self._outcomes.list_outcomes_of(keys)
        runs = []
        for index, fact in enumerate(facts):
            its_tokens = _tokens_of(tokens, index)
            value = claimed_value(
                judgements.get(fact.run_key, ()),
                fact.response,
                fact.prompt,
                self._is_toy(fact.source_id),
            )
            place = find_places(fact.n_prompt_tokens, its_tokens.text, value)
            runs.append(
                RunToScore(fact.run_key, place, its_tokens, _activations_of(activations, index))
            )
        return runs

    def _is_toy(self, source_id: str) -> bool:
        name = self._detectors.get_source(source_id).name
        try:
            return find_toy_seed(self._context.catalog.definition(name)) is not None
        except EngineError:
            return False

    def _caveats(
        self, detector: Detector, model: DetectorModel, fact: RunFacts, run: RunToScore
    ) -> tuple[str, ...]:
        found = []
        if fact.is_steered:
            found.append("This run was steered; the detector was trained on runs that were not.")
        if not model.calibration.is_fitted:
            found.append("Too few validation answers to calibrate: the probability is a base rate.")
        site = model.linear.site
        if site in ("before_value", "value") and run.place.at(site) < 0:
            found.append("No asserted value was found in this answer: features there count as 0.")
        if detector.retired_at is not None:
            found.append(f"This detector was retired by {detector.retired_by}.")
        return tuple(found)


def _model(detector: Detector) -> DetectorModel:
    if detector.model is None:
        raise RequestError(
            f"{detector.name} cannot score new runs.", "Choose a detector made of features."
        )
    return decode_model(detector.model)


def _probability(model: DetectorModel, score: float) -> float:
    return float(to_probability(model.calibration, np.array([score]))[0])


def _tokens_of(tokens: TokensOfRuns, index: int) -> TokensOfRuns:
    start, end = np.searchsorted(tokens.run, [index, index + 1]).tolist()
    part = slice(start, end)
    return TokensOfRuns(
        tokens.run[part],
        tokens.position[part],
        tokens.token_id[part],
        tokens.text[part],
        tokens.is_generated[part],
        tokens.is_special[part],
        tokens.logprob[part],
        tokens.entropy[part],
        tokens.n_active[part],
    )


def _activations_of(found: ActivationsOfRuns, index: int) -> ActivationsOfRuns:
    inside = found.run == index
    return ActivationsOfRuns(
        found.run[inside], found.position[inside], found.feature[inside], found.value[inside]
    )
