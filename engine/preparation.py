"""What a newcomer finds: questions asked, features labelled, vectors, detectors and a sweep made.

Invariant: only what a person could have started on the pages, in the same way, one after the other;
each part is stored as it is finished, so that a cancelled preparation goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from engine.confabulation_lab import ConfabulationLab
from engine.detection.settings import DetectionSettings
from engine.errors import EngineError, GenerationCancelled
from engine.feature_lab import FeatureLab
from engine.filling import FillRequest
from engine.jobs import RunRequest
from engine.lab_context import LabContext
from engine.steering_lab import SteeringLab
from engine.tasks import TaskProgress, TaskResult, TaskView
from store.specs import Message, SteeringSpec, parse_interventions

SET_NAME = "demo"
N_QUESTIONS = 240
"""Questions asked, each with and without tools: enough for labels and a first look."""
N_SWEPT = 40
"""Questions of each kind and half of the sweep: enough for a curve, half a minute's work."""
_WAIT_SLICE_S = 0.2


@dataclass(frozen=True, slots=True)
class Preparation:
    """Prepares a toy source for a first look."""

    context: LabContext
    features: FeatureLab
    steering: SteeringLab
    confabulation: ConfabulationLab

    def start(
        self, source: str, asked_by: str, n_questions: int = N_QUESTIONS, n_swept: int = N_SWEPT
    ) -> TaskView:
        """Asks questions of a toy source's world, and makes what the pages show of the answers.

        Args:
            source: name of a toy source.
            asked_by: who asks.
            n_questions: of the demo's set, each asked with and without tools.
            n_swept: questions of each kind and half that steering is measured on.

        Raises:
            RequestError: if the source has no world of its own.
        """
        asked = self.confabulation.ensure_set(SET_NAME, source, asked_by)
        parts: tuple[tuple[str, Callable[[], TaskView]], ...] = (
            (
                "Questions",
                lambda: self.confabulation.start_fill(
                    FillRequest(asked.name, source, limit=n_questions, asked_by=asked_by)
                ),
            ),
            ("Labels", lambda: self.features.start_labels(source, asked_by)),
            ("Map", lambda: self.features.start_map(source, asked_by)),
            ("Vectors", lambda: self.steering.prepare_library(source, asked_by)),
            (
                "Detectors",
                lambda: self.confabulation.detectors.start_evaluation(
                    asked.name, source, DetectionSettings(), asked_by
                ),
            ),
            (
                "Steering",
                lambda: self.steering.start_sweep(
                    self.steering.demo_sweep(source, n_swept), asked_by
                ),
            ),
            ("Examples", lambda: self._start_examples(source, asked_by)),
        )

        def work(progress: TaskProgress) -> TaskResult:
            for number, (name, begin) in enumerate(parts):
                progress.tell(number, len(parts), name)
                self._follow(name, begin(), progress, number, len(parts))
            return {"source": source, "set": asked.name}

        title = f"Preparing {source}"
        return self.context.tasks.start("prepare", source, title, asked_by, work)

    def _start_examples(self, source: str, asked_by: str) -> TaskView:
        """Asks the source's examples, also steered as the sweep measured to be best."""
        info = self.context.catalog.info(source)
        examples = [
            RunRequest(
                (Message("user", item.prompt),), source, tools=item.tools, created_by=asked_by
            )
            for item in info.examples
        ]

        def work(progress: TaskProgress) -> TaskResult:
            for steering in self._measured_steering(source):
                pushed = [replace(item, steering=steering) for item in examples if not item.tools]
                self._ask(pushed, progress)
            self._ask(examples, progress)
            return {"source": source}

        return self.context.tasks.start("examples", source, "Examples", asked_by, work)

    def _measured_steering(self, source: str) -> list[SteeringSpec]:
        """What the newest sweep chose of each arm, the best one last."""
        for sweep in self.steering.sweeps(source, limit=1):
            summary = json.loads(sweep.summary) if sweep.summary else {}
            arms = [json.dumps(arm["steering"]) for arm in summary.get("arms", {}).values()]
            best = json.dumps(summary["best"]["steering"]) if summary.get("best") else None
            arms.sort(key=lambda arm: arm == best)
            return [parse_interventions(json.loads(arm)) for arm in arms]
        return []

    def _ask(self, requests: list[RunRequest], progress: TaskProgress) -> None:
        for request in requests:
            self.context.asker.ask(request, progress.is_cancelled)

    def _follow(
        self, name: str, part: TaskView, progress: TaskProgress, number: int, n_parts: int
    ) -> None:
        """Waits for a part, telling how far it is; cancels it if the whole is cancelled."""
        while part.is_active:
            try:
                share = f" {part.n_done:,} of {part.n_total:,}" if part.n_total else ""
                progress.tell(number, n_parts, f"{name}{share}")
            except GenerationCancelled:
                self.context.tasks.cancel(part.task_id)
                raise
            part = self.context.tasks.wait(part.task_id, _WAIT_SLICE_S)
        if part.state == "cancelled":
            raise GenerationCancelled
        if part.failure is not None:
            raise EngineError(part.failure.message, part.failure.hint)
