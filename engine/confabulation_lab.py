"""The confabulation lab: question sets filled and judged, and what the judgements say together.

Invariant: everything that takes longer than a page may wait is a task; what is returned is plain
data, and every number of it comes from the store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from engine.agreement import Agreement, measure_agreement
from engine.demo_source import find_toy_seed
from engine.detection.detector_lab import DetectorLab
from engine.detection.outcomes import MEANING_OF
from engine.errors import EngineError, RequestError, UnknownSourceError
from engine.filling import Filler, FillReport, FillRequest
from engine.hosted import HostedModel
from engine.judge_offer import JudgeOffer
from engine.judging import JudgeRequest, Judging
from engine.lab_context import LabContext
from engine.question_import import read_questions
from engine.question_sets import BUILT_IN, BuiltSet, build_set, set_name
from engine.tasks import TaskProgress, TaskResult, TaskView
from engine.tools_effect import ToolsEffect, compare_tools
from store.answer_rows import AnswerRowRepository
from store.detectors import DetectorRepository
from store.errors import SourceNotFoundError
from store.keys import source_id
from store.outcome_records import Outcome, Verdict
from store.outcomes import OutcomeRepository
from store.question_records import Answer, Question, QuestionSet
from store.question_sets import QuestionSetRepository
from store.tool_calls import ToolCallRepository

PERSON_OUTCOMES = ("correct", "incorrect", "not_attempted", *list(MEANING_OF)[:2])
MAX_NOTE_CHARS = 2_000


@dataclass(frozen=True, slots=True)
class ImportedSet:
    """A set that was read from a file, with what a person should know of it."""

    question_set: QuestionSet
    n_repeated: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OutcomeCounts:
    """How many answers have which outcome, with tools offered or without.

    Attributes:
        n_answers: of this source to this set, so asked.
        verdicts: by outcome, what holds of each answer; `unjudged` is one of them.
        by_method: by method, then outcome: all judgements, also those that do not hold.
        n_contested: answers of which judgements say different things.
    """

    tools: bool
    n_answers: int
    verdicts: Mapping[str, int]
    by_method: Mapping[str, Mapping[str, int]]
    n_contested: int


class ConfabulationLab:
    """Question sets, outcomes and agreement of one engine; for any thread."""

    def __init__(self, context: LabContext, hosted: HostedModel) -> None:
        self._context = context
        self._filler = Filler(context)
        self._judging = Judging(context, hosted)
        self.sets = QuestionSetRepository(context.store)
        self.outcomes = OutcomeRepository(context.store)
        self.tool_calls = ToolCallRepository(context.store)
        self.answer_rows = AnswerRowRepository(context.store)
        self._detectors_store = DetectorRepository(context.store)
        self.detectors = DetectorLab(context)

    def built_in_sets(self, source: str | None = None) -> tuple[str, ...]:
        """Names of the sets that come with the engine, as far as a source can be asked them."""
        seed = find_toy_seed(self._context.catalog.definition(source))
        return tuple(name for name in BUILT_IN if build_set(name, seed) is not None)

    def find_built_in(self, name: str, source: str | None = None) -> BuiltSet | None:
        """The built-in set of a name, as it would be made for a source; None if there is none.

        Args:
            name: that all sources have, such as `scenarios`, or the set's own one.
            source: name in the catalog; None is the default one.
        """
        seed = find_toy_seed(self._context.catalog.definition(source))
        found = [build_set(known, seed) for known in (name, *BUILT_IN)]
        named = [item for item in found[1:] if item is not None and item.name == name]
        return found[0] or next(iter(named), None)

    def ensure_set(
        self, name: str, source: str | None = None, asked_by: str = "featurebook"
    ) -> QuestionSet:
        """The set of a name; one that comes with the engine is made when it is first asked for.

        Args:
            name: of a set that is kept, or `demo`, `demo-large` or `scenarios`, which mean the
                source's own world.
            source: name in the catalog; None is the default one.
            asked_by: who asks.

        Raises:
            QuestionSetNotFoundError: if there is none of this name.
            UnknownSourceError: if there is no such source.
        """
        seed = find_toy_seed(self._context.catalog.definition(source))
        kept = self.sets.find_set(set_name(name, seed))
        if kept is not None:
            return kept
        built = self.find_built_in(name, source)
        if built is None:
            return self.sets.get_set(name)
        return self.sets.insert_set(
            built.name, built.title, built.origin, built.questions, asked_by, built.world_seed
        )

    def import_set(
        self, name: str, content: bytes, file_name: str, asked_by: str, title: str = ""
    ) -> ImportedSet:
        """Keeps the questions of a file.

        Raises:
            RequestError: naming the row and what is wrong with it.
            InvalidSpecError: for a name that cannot be used.
        """
        if name in BUILT_IN:
            raise RequestError(
                f"The name {name!r} is that of a set which comes with Featurebook.",
                "Choose another name.",
            )
        read = read_questions(content, file_name)
        kept = self.sets.insert_set(
            name, title.strip() or file_name, "import", read.questions, asked_by
        )
        return ImportedSet(kept, read.n_repeated, read.notes)

    def questions(self, name: str) -> tuple[Question, ...]:
        """The questions of a set; the index of one is its number.

        Raises:
            QuestionSetNotFoundError: if there is no such set.
        """
        return self.sets.list_questions(self.sets.get_set(name).set_id)

    def answers(
        self, name: str, source: str | None = None, tools: bool | None = None
    ) -> tuple[Answer, ...]:
        """Answers to a set: of one source in its present state, or of all.

        Raises:
            QuestionSetNotFoundError: if there is no such set.
            EngineError: if the source cannot be resolved.
        """
        return self.sets.list_answers(
            self.sets.get_set(name).set_id, source and self.source_id(source), tools
        )

    def start_fill(self, request: FillRequest) -> TaskView:
        """Begins to ask and judge what is not stored yet; the same fill under way is joined.

        Raises:
            QuestionSetNotFoundError: if there is no such set, nor one that could be made.
            UnknownSourceError: if there is no such source.
            EngineError: if the server is stopping.
        """
        kept = self.ensure_set(request.set_name, request.source, request.asked_by)
        name = self._context.catalog.definition(request.source).name
        key = json.dumps([kept.set_id, name, request.tools, request.limit, repr(request.sampling)])
        title = f"{kept.name} on {name}"
        return self._context.tasks.start(
            "fill", key, title, request.asked_by, lambda progress: self._fill(request, progress)
        )

    def fill(self, request: FillRequest, progress: TaskProgress) -> FillReport:
        """The same, on the thread of a task: it waits.

        Raises:
            QuestionSetNotFoundError: if there is no such set, nor one that could be made.
            EngineError: if the source cannot be used.
            GenerationCancelled: if the task was cancelled; what was finished stays.
        """
        kept = self.ensure_set(request.set_name, request.source, request.asked_by)
        return self._filler.fill(kept, request, progress)

    def _fill(self, request: FillRequest, progress: TaskProgress) -> TaskResult:
        report = self.fill(request, progress)
        return {
            "set_id": report.set_id,
            "source_id": report.source_id,
            "n_asked": report.n_asked,
            "n_stored": report.n_stored,
            "n_failed": report.n_failed,
            "first_failure": report.first_failure,
        }

    def count_outcomes(self, name: str, source: str | None = None) -> tuple[OutcomeCounts, ...]:
        """Outcomes of a source's answers to a set: without tools first, then with them.

        Raises:
            QuestionSetNotFoundError: if there is no such set.
            EngineError: if the source cannot be resolved.
        """
        set_id = self.sets.get_set(name).set_id
        wanted = source and self.source_id(source)
        counts = self.outcomes.count_outcomes(set_id, wanted)
        contested = dict(self.outcomes.count_contested(set_id, wanted))
        found = []
        for tools in sorted({tools for tools, *_ in counts}):
            methods: dict[str, dict[str, int]] = {}
            for also_tools, method, outcome, number in counts:
                if also_tools == tools:
                    methods.setdefault(method, {})[outcome] = number
            verdicts = methods.pop("verdict", {})
            n_answers = sum(verdicts.values())
            found.append(
                OutcomeCounts(tools, n_answers, verdicts, methods, contested.get(tools, 0))
            )
        return tuple(found)

    def judge_by_person(self, run_key: str, outcome: str, person: str, note: str = "") -> Verdict:
        """Keeps a person's judgement of an answer; what holds of the answer then.

        Raises:
            RequestError: for an outcome that people do not give, or a note that is too long.
            RunNotFoundError: if the run is not stored.
        """
        if outcome not in PERSON_OUTCOMES:
            raise RequestError(
                f"{outcome[:40]!r} is no outcome that people give.",
                f"Use one of {', '.join(PERSON_OUTCOMES)}.",
            )
        if len(note) > MAX_NOTE_CHARS:
            raise RequestError(f"A note has at most {MAX_NOTE_CHARS:,} characters.", "Shorten it.")
        evidence = json.dumps({"note": note.encode("utf-8", "replace").decode()})
        self.outcomes.insert_judgement(
            Outcome(run_key, outcome, "person", evidence, person, created_by=person)
        )
        return self.outcomes.get_verdicts([run_key])[run_key]

    def start_judging(self, request: JudgeRequest) -> TaskView:
        """Begins to have answers judged by the hosted model; what it has judged is not asked again.

        Raises:
            QuestionSetNotFoundError: if there is no such set.
            HostedKeyError: if there is no key.
            EngineError: if the server is stopping.
        """
        return self._judging.start(request)

    def judge_offer(self, request: JudgeRequest) -> JudgeOffer:
        """What judging would take, and what is missing for it; sends nothing.

        Raises:
            QuestionSetNotFoundError: if there is no such set.
            EngineError: if the source cannot be resolved.
        """
        return self._judging.offer(request)

    def judge_needs(self) -> str | None:
        """What is missing to ask the hosted judge, as a sentence or two; None if nothing is."""
        return self._judging.needs()

    def agreement(self, left: str, right: str, name: str | None = None) -> Agreement:
        """How far two methods agree on the answers that both have judged.

        Args:
            left: one method, such as judge. right: the other one, such as person.
            name: only answers to this set.

        Raises:
            QuestionSetNotFoundError: if there is no such set.
        """
        set_id = None if name is None else self.sets.get_set(name).set_id
        pairs = self.outcomes.list_pairs(left, right, set_id)
        return measure_agreement(left, right, [(one, other) for _, one, other in pairs])

    def compare_tools(self, name: str, source: str, is_paired: bool = True) -> ToolsEffect:
        """What tools change in a source's answers to a set. Quick.

        Args:
            name: of the set.
            source: name in the catalog.
            is_paired: leave out questions that were asked in one way alone.

        Raises:
            QuestionSetNotFoundError: if there is no such set.
            EngineError: if nothing tells which source is meant.
        """
        cases = self.answer_rows.list_cases(self.sets.get_set(name).set_id, self.source_id(source))
        return compare_tools(cases, is_paired)

    def source_id(self, source: str) -> str:
        """Id of a source in its present state; of its newest stored one where files are missing.

        Raises:
            UnknownSourceError: if the catalog has none of this name.
            EngineError: if its files cannot be used and nothing of it is stored.
        """
        try:
            return source_id(self._context.catalog.resolve(source).spec)
        except UnknownSourceError:
            raise
        except EngineError:
            try:
                return self._detectors_store.get_source(source).source_id
            except SourceNotFoundError:
                pass
            raise
