"""The task `ranking`: features by what a small push along each does to a target's probability.

Invariant: what is reported is measured by adding the feature; the gradient only proposes which ones
are measured where nobody named any.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.concepts.halves import Half
from engine.sweeps.answering import Answering, to_chats
from engine.sweeps.cells import CellMeasures, CellPlan, plain_estimate
from engine.sweeps.estimates import mean
from engine.sweeps.recording import CellRecorder
from store.specs import Intervention, SteeringSpec
from store.sweep_records import Estimate

if TYPE_CHECKING:
    from engine.resident import ResidentSource

N_PROPOSED = 40
DEFAULT_STRENGTH = 0.5
_N_GRADIENT = 48


class RankingMeasure:
    """Measures the change of the log probability of a text, as the answer begins with it."""

    def __init__(self, answering: Answering, questions: Sequence[str], target: str) -> None:
        self.answering = answering
        self._questions = tuple(questions)
        self._target = target
        self._ready: tuple[tuple[tuple[int, ...], ...], list[int]] | None = None
        self._plain: np.ndarray[Any, np.dtype[np.float64]] | None = None

    def digest(self, half: Half) -> str:
        """Of the questions and the target."""
        text = json.dumps([self._questions, self._target, half])
        return hashlib.sha256(text.encode()).hexdigest()

    def measure(self, plan: CellPlan) -> CellMeasures:
        """Mean change over the questions, in nats."""
        prompts, target = self.prepared()
        if self._plain is None:
            self._plain = self.answering.target_logprobs(prompts, target, SteeringSpec())
        change = self.answering.target_logprobs(prompts, target, plan.steering) - self._plain
        effect = mean(change, self._questions)
        results = {
            "target": self._target,
            "target_logprob_change": plain_estimate(effect),
            "plain_logprob": float(self._plain.mean()),
        }
        return CellMeasures(len(prompts), effect, Estimate(), Estimate(), results)

    def prepared(self) -> tuple[tuple[tuple[int, ...], ...], list[int]]:
        """Token ids of the questions, and of the target."""
        if self._ready is None:
            prompts = self.answering.render(to_chats(self._questions))

            def read(resident: ResidentSource) -> list[int]:
                tokenizer = resident.language.tokenizer
                return list(tokenizer(self._target, add_special_tokens=False)["input_ids"])

            self._ready = prompts, self.answering.lend(read)
        return self._ready


def propose(measure: RankingMeasure, n: int = N_PROPOSED) -> list[int]:
    """Features that the gradient of the target points along."""
    prompts, target = measure.prepared()

    def look(resident: ResidentSource) -> list[int]:
        from engine.errors import UnsupportedError
        from engine.sweeps.effects import output_gradient, propose_features

        if resident.source.hook is None:
            raise UnsupportedError("A model without an SAE has no features to rank.")
        layer = resident.source.hook.layer
        gradient = output_gradient(resident, prompts[:_N_GRADIENT], target, layer)
        return propose_features(resident, gradient, n)

    return measure.answering.lend(look)


def rank(
    measure: RankingMeasure,
    recorder: CellRecorder,
    features: Sequence[int],
    strength: float = DEFAULT_STRENGTH,
) -> dict[str, Any]:
    """Measures each feature; returns them by their effect, the largest first."""
    recorder.expect(len(features))
    rows = []
    for feature in features:
        pushed = Intervention("add", strength, feature, unit="norm", positions="answering")
        steering = measure.answering.resolve(SteeringSpec((pushed,)))
        plan = CellPlan(f"feature {feature}", "candidate", "choose", steering, "", strength, "norm")
        cell = recorder.record(plan)
        rows.append({"feature": feature, "n": cell.n, "effect": plain_estimate(cell.success)})
    rows.sort(key=lambda row: -(row["effect"]["value"] or 0.0))  # type: ignore[index]
    return {"ranking": rows}
