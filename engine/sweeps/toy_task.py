"""The task `confabulation`: a toy's made-up answers become refusals, at what loss of known facts.

Invariant: outcomes are exact, by the world; those before steering are measured once a half.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from engine.concepts.halves import Half
from engine.demo.templates import Question
from engine.demo.world import World
from engine.sweeps.answering import Answering, to_chats
from engine.sweeps.cells import CellMeasures, CellPlan, plain_estimate
from engine.sweeps.toy_outcomes import ToyOutcomes, describe_outcomes, measure_effect
from engine.sweeps.toy_questions import ToyQuestions, draw_toy_questions, judge
from store.specs import SteeringSpec

MOST_TO_CHOOSE = 200
"""Questions of each kind: many more cells are measured on the half to choose by."""
_N_EXAMPLES = 6


class ToyMeasure:
    """Measures cells on the questions of a toy world."""

    def __init__(self, world: World, answering: Answering, n_questions: int) -> None:
        """Draws the questions.

        Args:
            world: what the source was trained on.
            answering: how its prompts are answered.
            n_questions: of each kind on the half that is reported; no more than 200 choose.
        """
        n_fewer = min(n_questions, MOST_TO_CHOOSE)
        self.world = world
        self.answering = answering
        halves: tuple[Half, Half] = ("choose", "report")
        self.questions: dict[Half, ToyQuestions] = {
            half: draw_toy_questions(world, half, n_questions if half == "report" else n_fewer)
            for half in halves
        }
        self._before: dict[Half, ToyOutcomes] = {}

    def digest(self, half: Half) -> str:
        """Of the questions and the length of the answers."""
        questions = self.questions[half]
        texts = [item.text for item in (*questions.unknown, *questions.known)]
        content = json.dumps([texts, self.answering.max_new_tokens])
        return hashlib.sha256(content.encode()).hexdigest()

    def before(self, half: Half) -> ToyOutcomes:
        """Outcomes without steering."""
        if half not in self._before:
            self._before[half] = self.outcomes(half, SteeringSpec())
        return self._before[half]

    def outcomes(self, half: Half, steering: SteeringSpec) -> ToyOutcomes:
        """Outcomes under a steering."""
        return self._ask(half, steering, "")[0]

    def measure(self, plan: CellPlan) -> CellMeasures:
        """Measures a cell against the unsteered answers of its half."""
        before = self.before(plan.half)
        after, results = self._ask(plan.half, plan.steering, plan.instruction)
        questions = self.questions[plan.half]
        effect = measure_effect(before, after, _people(questions.unknown), _people(questions.known))
        return CellMeasures(
            n=len(questions.unknown),
            success=effect.reduction,
            coherence=effect.whole,
            side_effect=effect.loss,
            results={
                **describe_outcomes(after),
                "before": {
                    name: value
                    for name, value in describe_outcomes(before).items()
                    if not name.startswith("outcomes")
                },
                "reduction": plain_estimate(effect.reduction),
                "known_accuracy_loss": plain_estimate(effect.loss),
                "whole": plain_estimate(effect.whole),
                **results,
            },
        )

    def _ask(
        self, half: Half, steering: SteeringSpec, instruction: str
    ) -> tuple[ToyOutcomes, dict[str, Any]]:
        asked = self.questions[half]
        questions = (*asked.unknown, *asked.known)
        chats = to_chats([item.text for item in questions], instruction)
        answers = self.answering.answer(chats, steering)
        letters = "".join(
            judge(self.world, question, answer.text)
            for question, answer in zip(questions, answers, strict=True)
        )
        n = len(asked.unknown)
        gates = [all(gate is not False for gate in answer.gates) for answer in answers]
        examples = [
            {"prompt": questions[i].text, "answer": answers[i].text.strip(), "outcome": letters[i]}
            for i in (*range(_N_EXAMPLES), *range(n, n + _N_EXAMPLES))
            if i < len(questions)
        ]
        shares = {
            "open_unknown": sum(gates[:n]) / max(n, 1),
            "open_known": sum(gates[n:]) / max(len(gates) - n, 1),
        }
        return ToyOutcomes(letters[:n], letters[n:]), {"gate": shares, "examples": examples}


def _people(questions: Sequence[Question]) -> list[str]:
    return [question.person.name for question in questions]
