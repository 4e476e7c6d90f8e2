"""Outcomes, detectors and question sets over HTTP: read them, judge an answer, bring questions.

Invariant: a score is of a stored run and loads no model; a judgement names the person who gave it;
a file of questions is taken whole or refused with its row.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from starlette.concurrency import run_in_threadpool

from dashboard.services import Services
from engine.api import DetectorCard, ImportedSet, LiveScore
from engine.errors import RequestError
from store.errors import RunNotFoundError
from store.outcome_records import Outcome, Verdict
from store.question_records import Question, QuestionSet

MAX_QUESTIONS = 10_000
_CREATED_BY = "api"


class JudgementIn(BaseModel):
    """What a person says of an answer."""

    model_config = ConfigDict(extra="forbid")

    outcome: str = Field(
        description="correct, incorrect, not_attempted, CONFABULATION, TOOL_MISREPORT"
    )
    person: str = Field(min_length=1, max_length=200, description="Who judges.")
    note: str = ""


class OutcomeOut(BaseModel):
    """One judgement of a run."""

    outcome: str
    method: str
    evidence: JsonValue
    judge: str
    confidence: float | None
    created_by: str
    created_at: datetime


class VerdictOut(BaseModel):
    """What holds of a run: the newest judgement of its strongest method."""

    outcome: str
    method: str
    meaning: str
    n_judgements: int
    is_contested: bool


class OutcomesOut(BaseModel):
    """All judgements of a run, the oldest first; `verdict` is null where there are none."""

    run_key: str
    verdict: VerdictOut | None
    outcomes: list[OutcomeOut]


class QuestionSetOut(BaseModel):
    """A set of questions."""

    set_id: str
    name: str
    title: str
    origin: str
    n_questions: int
    created_by: str
    created_at: datetime


class QuestionsOut(QuestionSetOut):
    """A set with some of its questions; the number of one is its place in the set, from 0."""

    offset: int
    questions: list[dict[str, JsonValue]]


class ImportedOut(QuestionSetOut):
    """A set that was just kept, with what a person should know of it."""

    n_repeated: int
    notes: list[str]


class QuestionsIn(BaseModel):
    """Questions as JSON; each needs `question`, and may have the columns that a file may have."""

    model_config = ConfigDict(extra="forbid")

    name: str
    title: str = ""
    questions: list[dict[str, JsonValue]]


_FILE = {"schema": {"type": "string", "format": "binary"}}
_POST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "JSON, or a file as it is: CSV, JSON lines, Parquet.",
        "content": {
            "application/json": {"schema": QuestionsIn.model_json_schema()},
            "text/csv": _FILE,
            "application/x-ndjson": _FILE,
            "application/vnd.apache.parquet": _FILE,
        },
    }
}
_ENDINGS = {
    "text/csv": "csv",
    "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl",
    "application/vnd.apache.parquet": "parquet",
}


def add_confabulation_calls(api: FastAPI, get: Callable[[], Services]) -> None:
    """Adds the calls to the API.

    Args:
        api: the application.
        get: the process's services; may raise StoreError.
    """

    @api.get("/outcomes/{run_key}")
    async def get_outcomes(run_key: str) -> OutcomesOut:
        """Judgements of a stored run, and which of them holds."""
        services = await run_in_threadpool(get)
        return await run_in_threadpool(_outcomes, services, run_key)

    @api.post("/outcomes/{run_key}")
    async def post_outcome(run_key: str, body: JudgementIn) -> OutcomesOut:
        """Keeps a person's judgement of a run."""
        services = await run_in_threadpool(get)
        lab = services.engine.confabulation
        await run_in_threadpool(lab.judge_by_person, run_key, body.outcome, body.person, body.note)
        return await run_in_threadpool(_outcomes, services, run_key)

    @api.get("/detectors")
    async def get_detectors(
        source: str | None = None, with_retired: bool = False
    ) -> list[dict[str, JsonValue]]:
        """Stored detectors, the newest evaluation first."""
        services = await run_in_threadpool(get)
        detectors = services.engine.confabulation.detectors
        cards = await run_in_threadpool(detectors.list_detectors, source, with_retired)
        return [_plain(card) for card in cards]

    @api.get("/detectors/{detector_id}/score/{run_key}")
    async def get_score(
        detector_id: str,
        run_key: str,
        rate: Annotated[
            float, Query(ge=0, le=1, description="Share of right answers that may be flagged.")
        ] = 0.1,
    ) -> dict[str, JsonValue]:
        """What a detector says of a stored run, with the tokens and features that carry it."""
        services = await run_in_threadpool(get)
        detectors = services.engine.confabulation.detectors
        return _plain(await run_in_threadpool(detectors.score_run, detector_id, run_key, rate))

    @api.get("/question-sets")
    async def get_sets() -> list[QuestionSetOut]:
        """All question sets that are kept, the newest first."""
        services = await run_in_threadpool(get)
        found = await run_in_threadpool(services.engine.confabulation.sets.list_sets)
        return [QuestionSetOut(**_set(item)) for item in found]

    @api.get("/question-sets/{name}")
    async def get_set(
        name: str,
        limit: Annotated[int, Query(ge=1, le=MAX_QUESTIONS)] = 1_000,
        offset: Annotated[int, Query(ge=0)] = 0,
    ) -> QuestionsOut:
        """A question set, by its name or id, with its questions."""
        services = await run_in_threadpool(get)
        lab = services.engine.confabulation
        kept = await run_in_threadpool(lab.sets.get_set, name)
        found = await run_in_threadpool(lab.questions, kept.set_id)
        part = [_plain(item) for item in found[offset : offset + limit]]
        return QuestionsOut(**_set(kept), offset=offset, questions=part)

    @api.post("/question-sets", status_code=201, openapi_extra=_POST_BODY)
    async def post_set(
        request: Request,
        name: Annotated[str, Query(description="Of the set; a file needs it here.")] = "",
        title: Annotated[str, Query(description="What it is about.")] = "",
        file_name: Annotated[
            str, Query(description="With its ending, where the content type does not say it.")
        ] = "",
    ) -> ImportedOut:
        """Keeps the questions of a file or of JSON; the same ones under one name are one set."""
        services = await run_in_threadpool(get)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        content = await request.body()
        if kind == "application/json" and not file_name:
            sent = _sent(content)
            name, title, file_name = sent.name, sent.title or sent.name, "questions.jsonl"
            content = "\n".join(json.dumps(item) for item in sent.questions).encode()
        elif not file_name:
            file_name = f"{name}.{_ENDINGS.get(kind, '')}"
        imported = await run_in_threadpool(
            services.engine.confabulation.import_set, name, content, file_name, _CREATED_BY, title
        )
        return _imported(imported)


def _outcomes(services: Services, run_key: str) -> OutcomesOut:
    if not services.runs.has_run(run_key):
        raise RunNotFoundError(run_key)
    lab = services.engine.confabulation
    verdict = lab.outcomes.get_verdicts([run_key]).get(run_key)
    return OutcomesOut(
        run_key=run_key,
        verdict=None if verdict is None else _verdict(verdict),
        outcomes=[_outcome(item) for item in lab.outcomes.list_outcomes(run_key)],
    )


def _verdict(found: Verdict) -> VerdictOut:
    return VerdictOut(
        outcome=found.outcome,
        method=found.method,
        meaning=found.meaning,
        n_judgements=found.n_judgements,
        is_contested=found.is_contested,
    )


def _outcome(found: Outcome) -> OutcomeOut:
    return OutcomeOut(
        outcome=found.outcome,
        method=found.method,
        evidence=json.loads(found.evidence),
        judge=found.judge,
        confidence=found.confidence,
        created_by=found.created_by,
        created_at=found.created_at,
    )


def _set(kept: QuestionSet) -> dict[str, Any]:
    return {name: getattr(kept, name) for name in QuestionSetOut.model_fields}


def _imported(read: ImportedSet) -> ImportedOut:
    return ImportedOut(
        **_set(read.question_set), n_repeated=read.n_repeated, notes=list(read.notes)
    )


def _sent(content: bytes) -> QuestionsIn:
    try:
        return QuestionsIn.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])[:80]
        raise RequestError(
            f"The questions cannot be read: {place + ': ' if place else ''}{first['msg']}.",
            'Send {"name": …, "questions": [{"question": …}]}, or a file with its content type.',
        ) from error


def _plain(record: DetectorCard | LiveScore | Question) -> dict[str, JsonValue]:
    """A record as plain JSON values."""
    values: dict[str, JsonValue] = json.loads(json.dumps(asdict(record), default=str))
    return values
