"""Detectors for callers: trained as a task, listed, retired, applied to stored and new runs.

Invariant: no tensor in any signature; what is marked quick reads the store alone and loads nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.demo_source import find_toy_seed
from engine.detection.building import Tell
from engine.detection.comparisons import DENSE_METHODS
from engine.detection.encoding import decode_evaluation, decode_model
from engine.detection.live import (
    DetectorCard,
    EvaluationRow,
    LiveScore,
    Threshold,
    make_threshold,
)
from engine.detection.reports import WHOLE, Estimate, Evaluation
from engine.detection.scoring import Scorer
from engine.detection.settings import DetectionSettings
from engine.detection.training import Job, train_detectors
from engine.errors import EngineError, RequestError
from engine.lab_context import LabContext
from engine.tasks import TaskProgress, TaskResult, TaskView
from store.detector_records import Detector, DetectorResult, RunScore
from store.detectors import DetectorRepository

DEFAULT_RATE = 0.1
"""Share of right answers that may be flagged, where nobody has chosen one."""


class DetectorLab:
    """Detectors of one engine. All methods may be called from any thread."""

    def __init__(self, context: LabContext) -> None:
        self._context = context
        self._detectors = DetectorRepository(context.store)
        self._scorer = Scorer(context)

    def evaluate(
        self,
        set_name: str,
        source: str,
        settings: DetectionSettings,
        asked_by: str,
        tell: Tell = lambda _done, _total, _note: None,
        is_cancelled: Callable[[], bool] = lambda: False,
        is_redo: bool = False,
    ) -> Evaluation:
        """Trains and measures on a set that was run and judged; takes a while, so not on a page.

        Equal runs, labels and settings are read from the store.

        Args:
            set_name: name or id of the question set.
            source: name or id of a stored source.
            settings: what to read, and whose judgements to take.
            asked_by: who asks.
            tell: called with how much is done, of how much, and a few words.
            is_cancelled: asked while the model is.
            is_redo: whether to compute again what is stored.

        Raises:
            RequestError: if the answers cannot be learned from.
            StoreError: if set or source are not stored.
        """
        return train_detectors(
            self._context,
            self._job(set_name, source, settings, asked_by, is_redo),
            tell,
            is_cancelled,
        )

    def start_evaluation(
        self,
        set_name: str,
        source: str,
        settings: DetectionSettings | None = None,
        asked_by: str = "unknown",
        is_redo: bool = False,
    ) -> TaskView:
        """The same as a task of kind `detectors`; its result names the evaluation.

        Raises:
            StoreError: if the source is not stored.
        """
        chosen = settings or DetectionSettings()
        job = self._job(set_name, source, chosen, asked_by, is_redo)

        def work(progress: TaskProgress) -> TaskResult:
            done = train_detectors(self._context, job, progress.tell, progress.is_cancelled)
            best = next((item for item in done.detectors if item.is_chosen), None)
            found = best.slices[0].auroc if best and best.slices else None
            return {
                "evaluation_id": done.evaluation_id,
                "name": best.name if best else None,
                "auroc": found.value if found else None,
            }

        key = f"{job.source.source_id}/{set_name}/{chosen}/{is_redo}"
        title = f"Detectors on {set_name}, {job.source.name}"
        return self._context.tasks.start("detectors", key, title, asked_by, work)

    def find_evaluation(self, evaluation_id: str) -> Evaluation | None:
        """A stored evaluation, or None. Quick."""
        stored = self._detectors.find_evaluation(evaluation_id)
        return None if stored is None else decode_evaluation(stored.report)

    def list_evaluations(
        self, source: str | None = None, limit: int = 20
    ) -> tuple[EvaluationRow, ...]:
        """Stored evaluations, the newest first. Quick."""
        rows = []
        for stored in self._detectors.list_evaluations(source, limit):
            found = decode_evaluation(stored.report)
            best = next((item for item in found.detectors if item.is_chosen), None)
            rows.append(
                EvaluationRow(
                    evaluation_id=stored.evaluation_id,
                    set_name=stored.set_name,
                    source_id=stored.source_id,
                    is_toy=found.is_toy,
                    chosen=best.name if best else None,
                    auroc=best.slices[0].auroc if best and best.slices else None,
                    is_confounded=found.is_confounded,
                    settings=found.settings,
                    created_by=stored.created_by,
                    created_at=stored.created_at,
                )
            )
        return tuple(rows)

    def list_detectors(
        self, source: str | None = None, with_retired: bool = False
    ) -> tuple[DetectorCard, ...]:
        """Stored detectors, the newest evaluation first, in it the one to use first. Quick."""
        found = self._detectors.list_detectors(source, with_retired)
        sets = {
            item.evaluation_id: item.set_name
            for item in self._detectors.list_evaluations(source, len(found))
        }
        results = self._detectors.list_results([item.detector_id for item in found], WHOLE, "auroc")
        return tuple(_card(item, sets.get(item.evaluation_id, ""), results) for item in found)

    def retire(self, detector_id: str, person: str) -> DetectorCard:
        """Takes a detector out of use; figures and scores stay.

        Raises:
            DetectorNotFoundError: if there is none of this id.
        """
        self._detectors.retire_detector(detector_id, person)
        return next(
            card
            for card in self.list_detectors(with_retired=True)
            if card.detector_id == detector_id
        )

    def threshold(self, detector_id: str, false_positive_rate: float = DEFAULT_RATE) -> Threshold:
        """The score from which on to flag, for a rate of false alarms. Quick.

        Raises:
            DetectorNotFoundError: if there is none of this id.
            RequestError: if it cannot score new runs, or the rate is outside 0 to 1.
        """
        detector = self._detectors.get_detector(detector_id)
        if detector.model is None:
            raise RequestError(
                f"{detector.name} cannot score new runs.", "Choose a detector made of features."
            )
        return make_threshold(decode_model(detector.model), false_positive_rate)

    def score_run(
        self, detector_id: str, run_key: str, false_positive_rate: float = DEFAULT_RATE
    ) -> LiveScore:
        """What a detector says of a stored run, and which tokens and features carry it. Quick.

        Raises:
            DetectorNotFoundError, RunNotFoundError: if one of them is not stored.
            RequestError: if the detector cannot read this run.
        """
        return self._scorer.score_run(
            self._detectors.get_detector(detector_id), run_key, false_positive_rate
        )

    def start_scoring(
        self, detector_id: str, where: str = "", asked_by: str = "unknown"
    ) -> TaskView:
        """Scores stored runs as a task of kind `detector-scores`, for the view of that name.

        Args:
            detector_id: of a detector that can score runs.
            where: filter expression of runs; empty for all generations of its source.
            asked_by: who asks.

        Raises:
            DetectorNotFoundError: if there is none of this id.
            InvalidSpecError: for a filter that cannot be read.
        """
        detector = self._detectors.get_detector(detector_id)
        run_keys = self._scorer.list_runs(detector, where)

        def work(progress: TaskProgress) -> TaskResult:
            n_scored, n_passed = self._scorer.score_runs(
                detector, run_keys, progress.tell, progress.is_cancelled
            )
            return {"n_scored": n_scored, "n_passed_over": n_passed}

        title = f"Scores of {detector.name}"
        key = f"{detector_id}/{where}"
        return self._context.tasks.start("detector-scores", key, title, asked_by, work)

    def list_scores(
        self, detector_id: str, run_keys: tuple[str, ...] | None = None
    ) -> tuple[RunScore, ...]:
        """Stored scores: of these runs, or of all that have one. Quick."""
        return self._detectors.list_scores(detector_id, run_keys)

    def _job(
        self, set_name: str, source: str, settings: DetectionSettings, asked_by: str, is_redo: bool
    ) -> Job:
        facts = self._detectors.get_source(source)
        return Job(set_name, facts, self._is_toy(facts.name), settings, asked_by, is_redo)

    def _is_toy(self, name: str) -> bool:
        try:
            return find_toy_seed(self._context.catalog.definition(name)) is not None
        except EngineError:
            return False


def _card(detector: Detector, set_name: str, results: dict[str, DetectorResult]) -> DetectorCard:
    result = results.get(detector.detector_id)
    return DetectorCard(
        detector_id=detector.detector_id,
        name=detector.name,
        kind="candidate" if detector.kind == "candidate" else "baseline",
        method=detector.method,
        site=detector.site,
        note=detector.note,
        source_id=detector.source_id,
        set_name=set_name,
        evaluation_id=detector.evaluation_id,
        is_chosen=detector.is_chosen,
        auroc=Estimate(result.value, result.low, result.high) if result else None,
        n_positive=result.n_positive if result else 0,
        n_negative=result.n_negative if result else 0,
        can_score=detector.model is not None,
        needs_model=detector.method in DENSE_METHODS,
        created_by=detector.created_by,
        created_at=detector.created_at,
        retired_by=detector.retired_by,
        retired_at=detector.retired_at,
    )
