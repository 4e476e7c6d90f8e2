"""Sweeps of one engine: started as tasks, resumed from the store, reported.

Invariant: a sweep has one id for one spec on one source; asked again it goes on where it stopped,
and when it was finished, it is read from the store without any model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from engine.concepts.concept_library import ConceptLibrary
from engine.concepts.library_files import SweepPrompts, library_prompts
from engine.concepts.making import VectorMaker
from engine.demo.world import World
from engine.lab_context import LabContext
from engine.sweeps.answering import Answering
from engine.sweeps.cells import METRIC_VERSION, SweepMeasure
from engine.sweeps.recording import CellRecorder
from engine.sweeps.spec import SweepSpec, SweepSpecError
from engine.sweeps.stored_vectors import StoredVectors
from engine.sweeps.text_metrics import split_words
from engine.tasks import TaskProgress, TaskResult, TaskView
from store.keys import canonical_json, source_id
from store.specs import SourceSpec
from store.sweep_records import SweepDraft
from store.sweeps import SweepRepository
from store.vectors import VectorRepository

PROCEDURE_VERSION = "1"
"""Raised when the same spec would choose otherwise."""
_LEAST_WORDS = 3


class SweepLab:
    """Starts sweeps; finds the worlds, prompts and concepts that they need."""

    def __init__(self, context: LabContext, library: ConceptLibrary, maker: VectorMaker) -> None:
        self._context = context
        self._library = library
        self._maker = maker
        self._vectors = VectorRepository(context.store)
        self.repository = SweepRepository(context.store)

    def start(self, spec: SweepSpec, asked_by: str) -> TaskView:
        """Starts a sweep, joins it, or resumes it; the task's result is its id.

        Raises:
            UnknownSourceError: if there is no such source.
            SweepSpecError: if the source cannot be swept so.
        """
        if spec.task == "confabulation" and self._library.world(spec.source) is None:
            raise SweepSpecError(
                f"The source {spec.source!r} is no toy: what it makes up is not known exactly.",
                "Use the task concept, or the source demo.",
            )
        key = canonical_json([spec.source, _plain(spec)])
        return self._context.tasks.start(
            "ranking" if spec.task == "ranking" else "sweep",
            key,
            f"{spec.name} on {spec.source}",
            asked_by,
            lambda progress: self._run(spec, asked_by, progress),
        )

    def _run(self, spec: SweepSpec, asked_by: str, progress: TaskProgress) -> TaskResult:
        place = self._maker.place(spec.source, progress.is_cancelled)
        sweep_id = _sweep_id(spec, place.spec)
        draft = SweepDraft(
            sweep_id,
            spec.name,
            spec.task,
            source_id(place.spec),
            spec.source,
            canonical_json(_plain(spec)),
            asked_by,
        )
        if self.repository.insert_sweep(draft).summary is not None:
            return {"sweep_id": sweep_id}
        answering = Answering(
            self._context.asker,
            self._vectors,
            spec.source,
            spec.max_new_tokens,
            progress.is_cancelled,
        )
        stored = StoredVectors(self._vectors, place.spec, asked_by)

        def recorder(measure: SweepMeasure) -> CellRecorder:
            return CellRecorder(self.repository, sweep_id, place.spec, measure, progress)

        world = self._library.world(spec.source)
        if spec.task == "confabulation" and world is not None:
            summary = self._confabulation(spec, world, answering, recorder, stored)
        elif spec.task == "ranking":
            summary = self._ranking(spec, answering, recorder)
        else:
            summary = self._concept(spec, world, answering, recorder, stored, asked_by, progress)
        self.repository.finish_sweep(sweep_id, json.dumps(summary, ensure_ascii=False))
        return {"sweep_id": sweep_id}

    def _confabulation(
        self,
        spec: SweepSpec,
        world: World,
        answering: Answering,
        recorder: Callable[[SweepMeasure], CellRecorder],
        stored: StoredVectors,
    ) -> dict[str, Any]:
        from engine.sweeps.toy_sweep import ToySweep
        from engine.sweeps.toy_task import ToyMeasure

        measure = ToyMeasure(world, answering, spec.n_questions)
        return ToySweep(spec, measure, recorder(measure), stored).run()

    def _ranking(
        self,
        spec: SweepSpec,
        answering: Answering,
        recorder: Callable[[SweepMeasure], CellRecorder],
    ) -> dict[str, Any]:
        from engine.sweeps.ranking import RankingMeasure, propose, rank

        measure = RankingMeasure(answering, spec.prompts, spec.words[0])
        named = [
            item.feature
            for arm in spec.arms
            for item in arm.interventions
            if item.feature is not None
        ]
        record = recorder(measure)
        record.tell("following the gradient")
        return rank(measure, record, named or propose(measure), spec.strength)

    def _concept(
        self,
        spec: SweepSpec,
        world: World | None,
        answering: Answering,
        recorder: Callable[[SweepMeasure], CellRecorder],
        stored: StoredVectors,
        asked_by: str,
        progress: TaskProgress,
    ) -> dict[str, Any]:
        from engine.sweeps.concept_sweep import ConceptSweep
        from engine.sweeps.concept_task import ConceptMeasure

        made: dict[str, Mapping[int, str]] = {}
        for concept in dict.fromkeys(arm.concept for arm in spec.arms if arm.concept):
            made[concept] = self._concept_vectors(spec.source, concept, asked_by, progress)
        words = spec.words or self._words(spec)
        concepts = list(made)
        pairs = self._library.find_pairs(spec.source, concepts[0]) if len(made) == 1 else None
        measure = ConceptMeasure(answering, _prompts(spec, world), words, pairs)
        return ConceptSweep(spec, answering, recorder(measure), stored, made.__getitem__).run()

    def _concept_vectors(
        self, source: str, concept: str, asked_by: str, progress: TaskProgress
    ) -> dict[int, str]:
        """Ids by layer: of the library's concept, made now if need be, or of a user's own."""
        pairs = self._library.find_pairs(source, concept)
        if pairs is not None:
            vectors = self._maker.make(source, pairs, asked_by, None, progress)
            return {vector.layer: vector.vector_id for vector in vectors}
        spec = self._maker.place(source, progress.is_cancelled).spec
        found = {
            vector.layer: vector.vector_id
            # the newest of a layer is the last one written here
            for vector in reversed(self._vectors.list_vectors(spec.model.repo_id, concept=concept))
            if vector.model_revision == spec.model.revision
        }
        if not found:
            raise SweepSpecError(
                f"There is no concept {concept[:40]!r} for the source {source!r}.",
                "Make its vectors first, or choose one of the library.",
            )
        return found

    def _words(self, spec: SweepSpec) -> tuple[str, ...]:
        """Words of the arms' concepts, those left out that the pairs themselves use."""
        words: list[str] = []
        for concept in dict.fromkeys(arm.concept for arm in spec.arms if arm.concept):
            pairs = self._library.find_pairs(spec.source, concept)
            if pairs is not None:
                used = {w for pair in pairs.pairs for w in split_words(pair.positive)}
                held_out = [word for word in pairs.lexicon if word not in used]
                words += held_out if len(held_out) >= _LEAST_WORDS else pairs.lexicon
        return tuple(dict.fromkeys(words))


def _prompts(spec: SweepSpec, world: World | None) -> SweepPrompts:
    from engine.sweeps.toy_prompts import toy_sweep_prompts

    asked = library_prompts() if world is None else toy_sweep_prompts(world)
    facts: Sequence[tuple[str, str]] = [(fact.question, fact.answer) for fact in spec.facts]
    return SweepPrompts(spec.prompts or asked.prompts, asked.neutral, tuple(facts) or asked.facts)


def _sweep_id(spec: SweepSpec, source: SourceSpec) -> str:
    content = [METRIC_VERSION, PROCEDURE_VERSION, source_id(source), _plain(spec)]
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:20]


def _plain(spec: SweepSpec) -> dict[str, Any]:
    return asdict(spec)
