"""The steering lab: vectors of concepts, and sweeps that measure what steering does.

Invariant: no tensor in any signature; methods that load or run a model return a task at once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from engine.concepts.concept_lab import ConceptLab
from engine.cross_reading import CrossReader
from engine.jobs import RunRequest
from engine.lab_context import LabContext
from engine.sweeps.report import SweepReport, example_requests
from engine.sweeps.spec import Arm, SweepSpec, read_spec
from engine.sweeps.sweep_lab import SweepLab
from engine.sweeps.toy_questions import draw_toy_questions
from engine.tasks import TaskView
from store.specs import Intervention
from store.sweep_records import Sweep, SweepCell

EXPLORED_STRENGTHS = (0.25, 0.5, 1.0)
DEMO_QUESTIONS = 300
_N_RANKING_PROMPTS = 64


class SteeringLab(ConceptLab):
    """Concepts, vectors and sweeps of one engine; all methods may be called from any thread.

    Attributes:
        across: reads two answers, each under the steering of the other.
    """

    def __init__(self, context: LabContext) -> None:
        super().__init__(context)
        self._sweeps = SweepLab(context, self._library, self._maker)
        self.across = CrossReader(context)

    def read_sweep_spec(self, data: bytes | str, source: str | None = None) -> SweepSpec:
        """A sweep written in TOML or JSON.

        Raises:
            SweepSpecError: naming what is not as it must be.
        """
        return read_spec(data, source)

    def demo_sweep(self, source: str = "demo", n_questions: int | None = None) -> SweepSpec:
        """The ready-made sweep of a toy source: least confabulation at a bounded loss.

        Args:
            source: a toy.
            n_questions: of each kind and half.

        Raises:
            SweepSpecError: for too few questions, or too many.
        """
        return SweepSpec(
            name="Confabulation",
            source=source,
            task="confabulation",
            n_questions=n_questions or DEMO_QUESTIONS,
            max_new_tokens=24,
        )

    def start_sweep(self, spec: SweepSpec, asked_by: str) -> TaskView:
        """Starts or resumes a sweep; a task of the kind `sweep`, its result the sweep's id.

        Raises:
            UnknownSourceError: if there is no such source.
            SweepSpecError: if it cannot be swept so.
        """
        self._context.catalog.definition(spec.source)
        return self._sweeps.start(spec, asked_by)

    def sweep(self, sweep_id: str) -> SweepReport:
        """A sweep so far.

        Raises:
            SweepNotFoundError: if there is none.
        """
        stored = self._sweeps.repository.get_sweep(sweep_id)
        summary: dict[str, Any] = json.loads(stored.summary) if stored.summary else {}
        cells = self._sweeps.repository.list_cells(sweep_id)
        names = {info.name: info.is_toy for info in self._context.catalog.sources()}
        is_toy = names.get(stored.source_name, stored.task == "confabulation")
        return SweepReport(stored, cells, summary, is_toy)

    def sweeps(self, source: str | None = None, limit: int = 50) -> tuple[Sweep, ...]:
        """Sweeps, newest first."""
        return self._sweeps.repository.list_sweeps(source, limit)

    def example_requests(
        self, sweep: Sweep, cell: SweepCell, asked_by: str
    ) -> tuple[RunRequest, ...]:
        """The examples of a cell as requests for ordinary runs."""
        return example_requests(sweep, cell, asked_by)

    def explore_layers(
        self,
        source: str,
        concept: str,
        asked_by: str,
        strengths: Sequence[float] = EXPLORED_STRENGTHS,
        layers: Sequence[int] | None = None,
    ) -> TaskView:
        """Measures what a concept's vector does at each layer: a sweep, `layers` in its summary.

        Raises:
            UnknownSourceError: if there is no such source.
        """
        arm = Arm(
            name=concept,
            concept=concept,
            strengths=tuple(strengths),
            layers=(None,) if layers is None else tuple(layers),
        )
        spec = SweepSpec(name=f"Layers of {concept}", source=source, arms=(arm,))
        return self.start_sweep(spec, asked_by)

    def rank_features(
        self,
        source: str,
        asked_by: str,
        prompts: Sequence[str] = (),
        target: str = "",
        features: Sequence[int] = (),
        strength: float = 0.5,
    ) -> TaskView:
        """Measures which features make a text likelier as the beginning of an answer.

        Args:
            source: with an SAE.
            asked_by: who asks.
            prompts: questions; a toy's own are used if there are none.
            target: what the answer is to begin with; a toy's refusal if there is none.
            features: to be measured; those that the gradient proposes if there are none.
            strength: of the push, in mean residual norms.

        Raises:
            UnknownSourceError: if there is no such source.
            SweepSpecError: if prompts or target are missing.
        """
        world = self._library.world(source)
        if world is not None and not prompts:
            drawn = draw_toy_questions(world, "choose", _N_RANKING_PROMPTS).unknown
            prompts = [question.text for question in drawn]
        if world is not None and not target:
            target = "I do not know"
        arms = tuple(
            Arm(f"feature {feature}", (Intervention("add", 1.0, feature, unit="norm"),))
            for feature in features
        )
        spec = SweepSpec(
            name=f"Features for {target[:60]!r}",
            source=source,
            task="ranking",
            arms=arms,
            prompts=tuple(prompts),
            words=(target,) if target.strip() else (),
            strength=strength,
        )
        return self.start_sweep(spec, asked_by)
