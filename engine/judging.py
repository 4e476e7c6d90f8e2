"""Having the answers to a question set judged by the hosted model, one after the other, as a task.

Invariant: the same case is shown to a judge once: its grade is kept under a digest of all that it
was shown. What it did not grade is noted as such, and asked again the next time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from engine.catalog import Catalog
from engine.errors import RequestError
from engine.hosted import HostedKeyError, HostedModel
from engine.judge import SCHEMA_VERSION, Case, Grade, judge, reply_key
from engine.judge_offer import JudgeOffer, make_offer
from engine.lab_context import LabContext
from engine.tasks import TaskProgress, TaskResult, TaskView
from store.keys import source_id
from store.outcome_records import Outcome
from store.outcomes import OutcomeRepository
from store.question_records import Answer, Question
from store.question_sets import QuestionSetRepository
from store.tool_calls import ToolCallRepository


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """Which answers are to be judged.

    Attributes:
        set_name: name or id of a set that is kept.
        source: name in the catalog; None is every source that has answered.
        tools: only answers with tools offered, or only those without; None is both.
        limit: only the first so many.
    """

    set_name: str
    source: str | None = None
    tools: bool | None = None
    limit: int | None = None
    asked_by: str = "unknown"


@dataclass(frozen=True, slots=True)
class _Shown:
    """An answer with what the judge is shown of it."""

    answer: Answer
    case: Case
    key: str


class Judging:
    """Judges answers of one engine; for any thread."""

    def __init__(self, context: LabContext, hosted: HostedModel) -> None:
        self._tasks = context.tasks
        self._catalog: Catalog = context.catalog
        self._hosted = hosted
        self._sets = QuestionSetRepository(context.store)
        self._outcomes = OutcomeRepository(context.store)
        self._calls = ToolCallRepository(context.store)

    def needs(self) -> str | None:
        """What is missing to ask the judge; None if nothing is."""
        return self._hosted.needs()

    def offer(self, request: JudgeRequest) -> JudgeOffer:
        """What judging would take; sends nothing.

        Raises:
            QuestionSetNotFoundError: if there is no such set.
            EngineError: if the source cannot be resolved.
        """
        kept = self._sets.get_set(request.set_name)
        wanted = request.source and source_id(self._catalog.resolve(request.source).spec)
        answers = self._sets.list_answers(kept.set_id, wanted, request.tools)[: request.limit]
        shown = {item.key: item.case for item in self._shown(kept.set_id, answers)}
        known = self._outcomes.find_replies(list(shown))
        return make_offer(
            self._hosted.needs(),
            self._hosted.model,
            [case for key, case in shown.items() if key not in known],
            len(known),
        )

    def start(self, request: JudgeRequest) -> TaskView:
        """Begins to judge; the same judging under way is joined.

        Raises:
            QuestionSetNotFoundError: if there is no such set.
            HostedKeyError: if there is no key.
            EngineError: if the source cannot be resolved, or the server is stopping.
        """
        if (missing := self._hosted.needs()) is not None:
            raise HostedKeyError(missing)
        kept = self._sets.get_set(request.set_name)
        wanted = request.source and source_id(self._catalog.resolve(request.source).spec)
        key = json.dumps([kept.set_id, wanted, request.tools, request.limit])
        return self._tasks.start(
            "judge",
            key,
            f"{self._hosted.model} judges {kept.name}",
            request.asked_by,
            lambda progress: self._judge(kept.set_id, wanted, request, progress),
        )

    def _judge(
        self, set_id: str, wanted: str | None, request: JudgeRequest, progress: TaskProgress
    ) -> TaskResult:
        answers = self._sets.list_answers(set_id, wanted, request.tools)[: request.limit]
        if not answers:
            raise RequestError("This set has no such answers yet.", "Fill it first.")
        shown = list(self._shown(set_id, answers))
        known = self._outcomes.find_replies([item.key for item in shown])
        counts: dict[str, int] = {}
        n_asked = 0
        for number, item in enumerate(shown):
            progress.tell(number, len(shown))
            if item.key in known:
                reply = known[item.key]
                grade = Grade(str(reply["grade"]), reply, _confidence(reply), 0)
            else:
                grade = judge(item.case, self._hosted, progress.is_cancelled)
                n_asked += 1
                if grade.is_grade:
                    self._outcomes.insert_reply(item.key, dict(grade.reply))
                    known[item.key] = dict(grade.reply)
            self._outcomes.insert_outcomes([self._outcome(set_id, item, grade, request.asked_by)])
            counts[grade.outcome] = counts.get(grade.outcome, 0) + 1
        progress.tell(len(shown), len(shown))
        return {"set_id": set_id, "n_asked": n_asked, **counts}

    def _shown(self, set_id: str, answers: tuple[Answer, ...]) -> Iterator[_Shown]:
        questions = self._sets.list_questions(set_id)
        calls = self._calls.list_calls_of([answer.run_key for answer in answers])
        for answer in answers:
            question: Question = questions[answer.question_no]
            results = tuple(
                call.result or "null"
                for call in calls.get(answer.run_key, ())
                if call.status == "ok"
            )
            case = Case(
                question.question, answer.response, question.gold, question.aliases, results
            )
            yield _Shown(answer, case, reply_key(case, self._hosted.model))

    def _outcome(self, set_id: str, item: _Shown, grade: Grade, asked_by: str) -> Outcome:
        evidence = {
            **grade.reply,
            "set_id": set_id,
            "question_no": item.answer.question_no,
            "schema": SCHEMA_VERSION,
            "had_gold": item.case.gold is not None,
        }
        return Outcome(
            item.answer.run_key,
            grade.outcome,
            "judge",
            json.dumps(evidence, ensure_ascii=False, sort_keys=True),
            self._hosted.model,
            grade.confidence,
            asked_by,
        )


def _confidence(reply: dict[str, object]) -> float | None:
    value = reply.get("confidence")
    return float(value) if isinstance(value, (int, float)) else None
