"""From a question set with answers and judgements to stored detectors, once for equal inputs.

Invariant: an evaluation is named by a digest of its runs, labels and settings: the same again is
read, not computed; what is written, is written in one transaction at the end.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime

from engine.detection.building import TableBuilder, Tell
from engine.detection.comparisons import say
from engine.detection.encoding import (
    decode_evaluation,
    encode,
    features_json,
)
from engine.detection.evaluation import Measured, Trained, evaluate_table
from engine.detection.labelled import (
    Chosen,
    Judged,
    choose_examples,
    count_outcomes,
    count_wrong,
    judge_answers,
)
from engine.detection.models import DetectorModel
from engine.detection.reports import (
    DetectorReport,
    Estimate,
    Evaluation,
    SliceResult,
    SplitReport,
)
from engine.detection.settings import DetectionSettings
from engine.detection.splits import Split
from engine.detection.table import DetectionTable
from engine.errors import RequestError
from engine.lab_context import LabContext
from store.detector_records import (
    Detector,
    DetectorResult,
    RunScore,
    SourceFacts,
    StoredEvaluation,
)
from store.detectors import DetectorRepository
from store.keys import canonical_json
from store.outcomes import OutcomeRepository
from store.question_sets import QuestionSetRepository

METHOD_VERSION = "1"
"""Of everything that makes an evaluation: changed when equal inputs would give other figures."""
_ID_CHARS = 20
_SCORED_KINDS = frozenset({"candidate"})


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be trained, for whom.

    Attributes:
        is_toy: whether the source's model lives in a made-up world.
        is_redo: whether to compute again what is stored.
    """

    set_name: str
    source: SourceFacts
    is_toy: bool
    settings: DetectionSettings
    asked_by: str
    is_redo: bool = False


def train_detectors(
    context: LabContext, job: Job, tell: Tell, is_cancelled: Callable[[], bool]
) -> Evaluation:
    """The evaluation of a set: the stored one, or a new one that is stored.

    Args:
        context: handles of the engine.
        job: what is asked.
        tell: called with how much is done, of how much, and a few words; it may raise to end.
        is_cancelled: asked while the model is.

    Raises:
        RequestError: if the set has no judged answers of this source, or too few.
        StoreError: if the store cannot be read or written.
    """
    started = time.monotonic()
    repository = DetectorRepository(context.store)
    judged = _judged(context, job)
    evaluation_id = _digest(job, judged)
    stored = None if job.is_redo else repository.find_evaluation(evaluation_id)
    if stored is not None:
        found = decode_evaluation(stored.report)
        if not (job.settings.with_residuals and _lacks_dense(found)):
            return found
    builder = TableBuilder(context.store, context.asker, job.source, job.asked_by)
    chosen = choose_examples(judged, job.settings)
    table = builder.build(chosen.answers, job.settings, tell, is_cancelled)
    measured = _evaluate(table, tell)
    ids = {item.fitted.name: _detector_id(evaluation_id, item) for item in measured.trained}
    evaluation = _compose(job, judged, chosen, table, measured, evaluation_id, ids)
    evaluation = replace(evaluation, elapsed_s=time.monotonic() - started)
    moment = datetime.now(UTC)
    repository.insert_evaluation(
        StoredEvaluation(
            evaluation_id,
            job.source.source_id,
            job.set_name,
            encode(evaluation),
            job.asked_by,
            moment,
        ),
        [
            _record(job, evaluation, item, ids[item.fitted.name], moment)
            for item in measured.trained
        ],
        {ids[item.fitted.name]: _results(item.report) for item in measured.trained},
        {
            ids[item.fitted.name]: _scores(table, measured.split, item)
            for item in measured.trained
            if item.fitted.kind in _SCORED_KINDS
        },
    )
    return evaluation


def _evaluate(table: DetectionTable, tell: Tell) -> Measured:
    from threadpoolctl import threadpool_limits

    # more threads would wait for each other beside the model
    with threadpool_limits(1):
        return evaluate_table(table, lambda note: tell(len(table), len(table), note))


def _judged(context: LabContext, job: Job) -> tuple[Judged, ...]:
    sets, outcomes = QuestionSetRepository(context.store), OutcomeRepository(context.store)
    found = sets.get_set(job.set_name)
    answers = sets.list_answers(found.set_id, job.source.source_id)
    if not answers:
        raise RequestError(
            f"The source {job.source.name!r} has not answered the set {found.name!r}.",
            "Run the set first.",
        )
    keys = [answer.run_key for answer in answers]
    return judge_answers(
        answers,
        sets.list_questions(found.set_id),
        outcomes.list_outcomes_of(keys),
        outcomes.get_verdicts(keys),
        job.settings,
        job.is_toy,
    )


def _digest(job: Job, judged: Sequence[Judged]) -> str:
    rows = [
        [item.answer.run_key, item.answer.tools, item.meaning, item.value, item.answer.question_no]
        for item in judged
    ]
    content = canonical_json(
        [METHOD_VERSION, job.set_name, job.source.source_id, asdict(job.settings), rows]
    )
    return hashlib.sha256(content.encode()).hexdigest()[:_ID_CHARS]


def _lacks_dense(evaluation: Evaluation) -> bool:
    """Whether the dense baselines were wanted and could not be had: worth another try."""
    return any(
        item.method == "dense_logistic" and not item.is_available for item in evaluation.detectors
    )


def _detector_id(evaluation_id: str, item: Trained) -> str:
    content = f"{evaluation_id}/{item.fitted.name}"
    return hashlib.sha256(content.encode()).hexdigest()[:_ID_CHARS]


def _compose(
    job: Job,
    judged: Sequence[Judged],
    chosen: Chosen,
    table: DetectionTable,
    measured: Measured,
    evaluation_id: str,
    ids: dict[str, str],
) -> Evaluation:
    split = measured.split
    reports = [replace(item.report, detector_id=ids[item.fitted.name]) for item in measured.trained]
    detectors = (*reports, *measured.unavailable)
    sentences = say(detectors, measured.comparisons, measured.audits, job.is_toy)
    if chosen.topics_left_out:
        sentences = (
            *sentences,
            f"Left out, because nearly all answers are right or nearly all made up: "
            f"{', '.join(chosen.topics_left_out)}.",
        )
    if table.n_capped:
        sentences = (
            *sentences,
            f"{table.n_capped:,} tokens fired more features than are stored: what is missing there "
            "is censored, not zero.",
        )
    return Evaluation(
        evaluation_id=evaluation_id,
        source=job.source.name,
        source_id=job.source.source_id,
        set_name=job.set_name,
        is_toy=job.is_toy,
        settings=job.settings.described(),
        split=SplitReport(
            split.split_hash,
            int(split.train.sum()),
            int(split.validation.sum()),
            int(split.test.sum()),
            len(set(table.groups.tolist())),
            split.templates,
        ),
        outcomes=count_outcomes(judged),
        wrong=count_wrong(judged),
        audits=measured.audits,
        detectors=detectors,
        comparisons=measured.comparisons,
        features=measured.features,
        sentences=sentences,
        elapsed_s=0.0,
    )


def _record(
    job: Job, evaluation: Evaluation, item: Trained, detector_id: str, moment: datetime
) -> Detector:
    linear = item.fitted.linear
    model = None if linear is None else encode(DetectorModel(linear, item.calibration))
    slices = [replace(result, curves=None) for result in item.report.slices]
    return Detector(
        detector_id=detector_id,
        name=item.fitted.name,
        source_id=job.source.source_id,
        kind=item.fitted.kind,
        features=features_json(linear),
        metrics=canonical_json([_plain(result) for result in slices]),
        split_hash=evaluation.split.split_hash,
        evaluation_id=evaluation.evaluation_id,
        method=item.fitted.method,
        site=item.fitted.site,
        note=item.fitted.note,
        is_chosen=item.report.is_chosen,
        model=model,
        created_by=job.asked_by,
        created_at=moment,
    )


def _plain(result: SliceResult) -> dict[str, object]:
    return {name: value for name, value in asdict(result).items() if value is not None}


def _results(report: DetectorReport) -> list[DetectorResult]:
    """One row a figure and slice."""
    return [
        DetectorResult(
            part.name,
            part.n_positive,
            part.n_negative,
            part.verdict,
            item.name,
            figure.value,
            figure.low,
            figure.high,
        )
        for part in report.slices
        for item in fields(part)
        if isinstance(figure := getattr(part, item.name), Estimate)
    ]


def _scores(table: DetectionTable, split: Split, item: Trained) -> list[RunScore]:
    """Scores of the runs that it was made and measured with."""
    return [
        RunScore(key, float(score), float(probability), _part(split, index))
        for index, (key, score, probability) in enumerate(
            zip(table.run_keys, item.fitted.score, item.probability, strict=True)
        )
    ]


def _part(split: Split, index: int) -> str:
    if split.test[index]:
        return "test"
    if split.validation[index]:
        return "validation"
    return "train" if split.train[index] else "new"
