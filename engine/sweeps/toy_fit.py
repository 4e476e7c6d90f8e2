"""What a toy's own sweep tries: gates and directions, fitted on the half to choose by.

Gates are scores of the last prompt token: of SAE features, or of the residual. Directions are SAE
features that were measured to make a refusal likelier, or the mean difference between what is
refused and what is known.

Invariant: nothing here has seen a person, or a frame of a question, of the half that is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engine.demo.language import write_refusal
from engine.demo.templates import Question
from engine.demo.world import World
from engine.errors import UnsupportedError
from engine.sweeps.answering import Answering, to_chats
from engine.sweeps.gates import LinearGate, fit_gate
from engine.sweeps.toy_questions import (
    ToyQuestions,
    draw_obscure_questions,
    draw_taught_questions,
    draw_toy_questions,
)
from store.specs import Intervention, SteeringSpec

if TYPE_CHECKING:
    from engine.resident import ResidentSource

_MOST_FIT = 1_800
_FIT_TIMES = 9
"""Questions of each kind that gates are fitted on, for each that is chosen by."""
_N_GRADIENT = 48
_N_PROPOSED = 32
_N_MEASURED = 64
_N_DIFFERENCE = 400
_N_TARGET = 4
"""Tokens of a refusal that are looked at: \"I do not know\"."""
_TRIAL_STRENGTH = 0.5
SET_SIZES = (1, 3, 8)
Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FeatureEffect:
    """What adding one feature did to a refusal's log probability, in nats."""

    feature: int
    effect: float


@dataclass(frozen=True, slots=True)
class ToyFit:
    """What was found on the half to choose by.

    Attributes:
        sae_layer: after which the SAE reads.
        sae_gate: over features, opening for what is made up; columns are features.
        dense_gates: by layer, over the residual.
        open_scores: of the questions to choose by, unknown ones first: from the sparse gate and
            from each dense one, by gates that did not see their person.
        effects: of features, the largest first.
        feature_sets: features with weights; the weighted sum of unit directions has length 1.
        differences: by layer, refused less known, on taught attributes.
    """

    sae_layer: int
    sae_gate: LinearGate
    dense_gates: dict[int, LinearGate]
    effects: tuple[FeatureEffect, ...]
    feature_sets: tuple[dict[int, float], ...]
    differences: dict[int, Rows]


def fit_toy(
    answering: Answering, world: World, asked: ToyQuestions, tell: Callable[[str], None]
) -> ToyFit:
    """Fits gates and directions.

    Args:
        answering: the source.
        world: what it was trained on.
        asked: the questions to choose by: their rows come first in the gates' scores.
        tell: says what is being done.
    """
    tell("reading what it knows")
    n_fit = min(_MOST_FIT, _FIT_TIMES * len(asked.unknown))
    more = draw_toy_questions(world, "choose", n_fit, part="-fit")
    obscure = draw_obscure_questions(world, n_fit)
    parts = [asked.unknown, asked.known, more.unknown, more.known, obscure]
    questions = [question for part in parts for question in part]
    flags = np.repeat([True, False, True, False, True], [len(part) for part in parts])
    people = [question.person.name for question in questions]
    rows, codes, sae_layer = _read(answering, questions)
    tell("fitting gates")
    sae_gate = fit_gate(codes, flags, people, is_sparse=True)
    dense_gates = {
        layer: fit_gate(rows[:, layer], flags, people, is_sparse=False)
        for layer in range(rows.shape[1])
    }
    tell("ranking features by their effect")
    effects = _rank(answering, more.unknown, sae_layer)
    return ToyFit(
        sae_layer=sae_layer,
        sae_gate=sae_gate,
        dense_gates=dense_gates,
        effects=effects,
        feature_sets=_feature_sets(answering, effects),
        differences=_differences(answering, world),
    )


def _read(answering: Answering, questions: Sequence[Question]) -> tuple[Rows, Rows, int]:
    """Residuals [n, n_layers, d_model] and features [n, d_sae] of the last prompt token."""
    prompts = answering.render(to_chats([item.text for item in questions]))

    def read(resident: ResidentSource) -> tuple[Rows, Rows, int]:
        import torch

        from engine.concepts.reading import read_rows
        from engine.hooks import decoder_layers
        from engine.sae import encode_dense

        if resident.sae is None or resident.source.hook is None:
            raise UnsupportedError("This sweep needs a source with an SAE.")
        layers = range(len(decoder_layers(resident.language.model)))
        rows = read_rows(resident, prompts, [0] * len(prompts), "last", layers)
        home = resident.source.hook.layer
        with torch.inference_mode():
            codes = encode_dense(resident.sae, torch.from_numpy(rows[:, home])).float().cpu()
        return rows, codes.numpy(), home

    return answering.lend(read)


def _rank(
    answering: Answering, questions: Sequence[Question], layer: int
) -> tuple[FeatureEffect, ...]:
    """Features that the gradient proposes, by what adding each does to a refusal."""
    prompts = answering.render(to_chats([item.text for item in questions[:_N_MEASURED]]))

    def propose(resident: ResidentSource) -> tuple[list[int], list[int]]:
        from engine.sweeps.effects import output_gradient, propose_features

        tokenizer = resident.language.tokenizer
        text = write_refusal(questions[0])
        target = list(tokenizer(text, add_special_tokens=False)["input_ids"])[:_N_TARGET]
        gradient = output_gradient(resident, prompts[:_N_GRADIENT], target, layer)
        return propose_features(resident, gradient, _N_PROPOSED), target

    features, target = answering.lend(propose)
    plain = answering.target_logprobs(prompts, target, SteeringSpec())
    effects = []
    for feature in features:
        pushed = Intervention("add", _TRIAL_STRENGTH, feature, unit="norm", positions="answering")
        steering = answering.resolve(SteeringSpec((pushed,)))
        change = answering.target_logprobs(prompts, target, steering) - plain
        effects.append(FeatureEffect(feature, float(change.mean())))
    return tuple(sorted(effects, key=lambda item: -item.effect))


def _feature_sets(
    answering: Answering, effects: Sequence[FeatureEffect]
) -> tuple[dict[int, float], ...]:
    """Sets of the strongest features, each by the weight of its effect."""
    useful = [item for item in effects if item.effect > 0] or list(effects[:1])

    def gather(resident: ResidentSource) -> tuple[dict[int, float], ...]:
        from engine.sweeps.effects import sum_weights, unit_directions

        sets = []
        for size in sorted({min(size, len(useful)) for size in SET_SIZES}):
            weights = {item.feature: max(item.effect, 1e-3) for item in useful[:size]}
            sets.append(sum_weights(unit_directions(resident, list(weights)), weights))
        return tuple(sets)

    return answering.lend(gather)


def _differences(answering: Answering, world: World) -> dict[int, Rows]:
    refused, known = draw_taught_questions(world, "choose", _N_DIFFERENCE)
    rows, _, _ = _read(answering, [*refused, *known])
    means = rows[: len(refused)].mean(axis=0) - rows[len(refused) :].mean(axis=0)
    return {layer: means[layer].astype(np.float32) for layer in range(rows.shape[1])}
