"""Filling a question set: every question asked, every answer linked and judged, in small waves.

What is stored is not asked again, so that a fill that was stopped resumes where it was, and one
that is complete takes seconds.

Invariant: an answer is linked only after what can be judged of it at once has been judged; after
each wave the store is whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from engine.answer_judging import judge_answer
from engine.catalog import ResolvedSource
from engine.errors import RequestError
from engine.jobs import RunRequest
from engine.lab_context import LabContext
from engine.memo import NUMERICS_VERSION
from engine.submission import to_spec
from engine.tasks import TaskProgress
from store.keys import run_key, source_id
from store.outcomes import OutcomeRepository
from store.question_records import AnswerLink, Question, QuestionSet
from store.question_sets import QuestionSetRepository
from store.runs import RunRepository
from store.specs import Message, SamplingSpec, SteeringSpec
from store.tool_calls import ToolCallRepository

WAVE = 32
"""Questions that are asked together: others' requests wait no longer than these take."""


@dataclass(frozen=True, slots=True)
class FillRequest:
    """What is to be filled.

    Attributes:
        set_name: name or id of a set that is kept.
        source: name in the catalog; None is the default one.
        tools: with tools offered, without, or both in turn.
        limit: only the first so many questions.
    """

    set_name: str
    source: str | None = None
    tools: tuple[bool, ...] = (False, True)
    limit: int | None = None
    sampling: SamplingSpec = field(default_factory=SamplingSpec)
    asked_by: str = "unknown"


@dataclass(frozen=True, slots=True)
class FillReport:
    """What came of it.

    Attributes:
        n_asked: answers that were computed; n_stored: that were stored already.
        n_failed: questions that could not be asked; first_failure: why, of the first one.
    """

    set_id: str
    source_id: str
    n_asked: int
    n_stored: int
    n_failed: int
    first_failure: str


@dataclass(frozen=True, slots=True)
class _Unit:
    """One question, asked in one way. `key` is the run's, or its exchange's first round's."""

    number: int
    question: Question
    tools: bool
    request: RunRequest
    key: str


class Filler:
    """Fills question sets of one engine; for threads of tasks."""

    def __init__(self, context: LabContext) -> None:
        self._asker = context.asker
        self._catalog = context.catalog
        self._runs = RunRepository(context.store)
        self._calls = ToolCallRepository(context.store)
        self._sets = QuestionSetRepository(context.store)
        self._outcomes = OutcomeRepository(context.store)

    def fill(self, kept: QuestionSet, request: FillRequest, progress: TaskProgress) -> FillReport:
        """Asks what is not answered yet, and judges it.

        Args:
            kept: the set.
            request: how it is to be asked.
            progress: told after each wave.

        Raises:
            RequestError: for tools that the source does not have, or a limit below 1.
            EngineError: if the source cannot be used.
            GenerationCancelled: if the task was cancelled; what was finished stays.
        """
        if request.limit is not None and request.limit < 1:
            raise RequestError("A limit below 1 asks nothing.", "Leave the limit out to ask all.")
        progress.tell(0, 0, "preparing")
        name = self._catalog.definition(request.source).name
        source = self._catalog.prepare(name, progress.is_cancelled)
        units = list(_units(request, source, self._sets.list_questions(kept.set_id)))
        if not units:
            raise RequestError(
                f"No question of {kept.name!r} is meant to be asked so.",
                "Ask with tools on and off both.",
            )
        done = self._link_stored(kept, source, units, request.asked_by)
        left = [unit for unit in units if (unit.number, unit.tools) not in done]
        n_failed, first_failure = 0, ""
        progress.tell(len(done), len(units))
        for start in range(0, len(left), WAVE):
            wave = left[start : start + WAVE]
            views = self._asker.ask_all([unit.request for unit in wave], progress.is_cancelled)
            answered = {}
            for unit, view in zip(wave, views, strict=True):
                if view.failure is None:
                    answered[view.run_key, unit.tools, unit.number] = unit
                else:
                    n_failed += 1
                    first_failure = first_failure or view.failure.message
            self._link(
                kept,
                source,
                [(unit, key) for (key, _, _), unit in answered.items()],
                request.asked_by,
            )
            progress.tell(len(done) + start + len(wave), len(units))
        n_asked = len(left) - n_failed
        return FillReport(
            kept.set_id, source_id(source.spec), n_asked, len(done), n_failed, first_failure
        )

    def _link_stored(
        self, kept: QuestionSet, source: ResolvedSource, units: Sequence[_Unit], asked_by: str
    ) -> set[tuple[int, bool]]:
        """Links answers that are stored already; which units these are."""
        last = self._calls.find_last_of([unit.key for unit in units if unit.tools])
        plain = self._runs.find_responses([unit.key for unit in units if not unit.tools])
        keys = {unit.key: last.get(unit.key) for unit in units if unit.tools}
        keys |= {unit.key: unit.key for unit in units if unit.key in plain}
        linked = {
            (link.question_no, link.tools, link.run_key)
            for link in self._sets.list_links(kept.set_id)
        }
        found = [(unit, key) for unit in units if (key := keys.get(unit.key)) is not None]
        fresh = [(unit, key) for unit, key in found if (unit.number, unit.tools, key) not in linked]
        for start in range(0, len(fresh), 16 * WAVE):
            self._link(kept, source, fresh[start : start + 16 * WAVE], asked_by)
        return {(unit.number, unit.tools) for unit, _ in found}

    def _link(
        self,
        kept: QuestionSet,
        source: ResolvedSource,
        answered: Sequence[tuple[_Unit, str]],
        asked_by: str,
    ) -> None:
        """Judges answers as far as that needs nobody, then links them."""
        responses = self._runs.find_responses([key for _, key in answered])
        calls = self._calls.list_calls_of([key for _, key in answered])
        outcomes = [
            outcome
            for unit, key in answered
            if key in responses
            for outcome in judge_answer(
                kept,
                unit.number,
                unit.question,
                key,
                responses[key],
                calls.get(key, ()),
                is_offered=unit.tools,
                world_seed=source.world_seed,
                asked_by=asked_by,
            )
        ]
        self._outcomes.insert_outcomes(outcomes)
        self._sets.insert_answers(
            kept.set_id, [AnswerLink(unit.number, unit.tools, key) for unit, key in answered]
        )


def _units(
    request: FillRequest, source: ResolvedSource, questions: Sequence[Question]
) -> Iterator[_Unit]:
    """What is to be asked, question by question."""
    for number, question in enumerate(questions[: request.limit]):
        for tools in dict.fromkeys(request.tools):
            if question.tools not in ("both", "on" if tools else "off"):
                continue
            asked = RunRequest(
                (Message("user", question.question),),
                source=source.spec.name,
                tools=tools,
                sampling=request.sampling,
                created_by=request.asked_by,
            )
            key = run_key(to_spec(asked, source, SteeringSpec()), NUMERICS_VERSION)
            yield _Unit(number, question, tools, asked, key)
