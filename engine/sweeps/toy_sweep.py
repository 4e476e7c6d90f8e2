"""The ready-made sweep of a toy: the most confabulation that becomes refusal at a bounded loss.

Directions are tried always on, on the half to choose by; gates, strengths and places are chosen
there; what was chosen, its whole curve and its controls are then measured on the other half: other
people, in frames that no training text has.

Invariant: nothing is chosen by a number of the half that is reported.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from engine.concepts.directions import random_directions
from engine.sweeps.cells import CellPlan, Role
from engine.sweeps.gates import LinearGate
from engine.sweeps.recording import CellRecorder
from engine.sweeps.spec import SweepSpec, steering_at
from engine.sweeps.stored_vectors import StoredVectors
from engine.sweeps.toy_choice import Choice, Family, Trial, choose
from engine.sweeps.toy_fit import ToyFit, fit_toy
from engine.sweeps.toy_outcomes import ToyOutcomes
from engine.sweeps.toy_task import ToyMeasure
from store.specs import Condition, Intervention, SteeringSpec
from store.sweep_records import MeasuredCell

COARSE = (0.3, 0.8)
STRENGTHS = (0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.1, 1.6)
FINER = (0.85, 1.15)
"""Strengths beside the chosen one that are tried last, as parts of it."""
INSTRUCTION = "Please say so if you do not know the answer."
_POSITIONS = ("last_prompt", "answering")
_N_KEPT = 3
_STRICTER = 0.4
"""Of the limit: a second choice is reported that stays within this part of it."""
_FAMILIES: tuple[Family, Family] = ("sae", "dense")
_NAMES = {"sae": "SAE features", "dense": "dense probe and mean difference"}


class ToySweep:
    """One sweep of one toy source."""

    def __init__(
        self, spec: SweepSpec, measure: ToyMeasure, recorder: CellRecorder, vectors: StoredVectors
    ) -> None:
        self._spec = spec
        self._measure = measure
        self._recorder = recorder
        self._vectors = vectors

    def run(self) -> dict[str, Any]:
        """Measures everything; returns the summary as plain JSON values."""
        self._recorder.expect(len(_FAMILIES) * (14 + _N_KEPT * len(STRENGTHS)) + 50)
        asked = self._measure.questions["choose"]
        plain = self._record(CellPlan("nothing", "control", "choose"))
        fit = fit_toy(self._measure.answering, self._measure.world, asked, self._recorder.tell)
        before = _outcomes(plain)
        gates = {-1: fit.sae_gate, **fit.dense_gates}
        summary: dict[str, Any] = {
            "max_loss": self._spec.max_loss,
            "gates": {
                "sae_auroc": fit.sae_gate.auroc,
                "sae_features": len(fit.sae_gate.columns),
                "dense_auroc": {str(n): gate.auroc for n, gate in fit.dense_gates.items()},
            },
            "effects": [[item.feature, item.effect] for item in fit.effects[:20]],
        }
        tried = {
            family: self._try(self._trials(fit, family), before, gates) for family in _FAMILIES
        }
        for family in _FAMILIES:
            tried[family] += self._finer(tried[family], before, gates)
        choices: dict[str, Choice] = {}
        for family in _FAMILIES:
            for gated in (True, False):
                chosen = choose(tried[family], before, gates, self._spec.max_loss, gated)
                if chosen is not None:
                    name = f"{_NAMES[family]}, {'gated' if gated else 'always on'}"
                    choices[name] = chosen
        strict = choose(tried["sae"], before, gates, _STRICTER * self._spec.max_loss, True)
        self._recorder.expect(len(choices) * len(STRENGTHS) + 2 * self._spec.n_random + 5)
        self._record(CellPlan("nothing", "control", "report"))
        arms = {name: self._curve(name, chosen, fit) for name, chosen in choices.items()}
        if strict is not None:
            name = f"{_NAMES['sae']}, gated, chosen for {_STRICTER * self._spec.max_loss:.0%} loss"
            arms[name] = self._report(name, strict, fit)
        summary["arms"] = arms
        summary["controls"] = self._controls(choices, tried, fit)
        best = max(choices.items(), key=lambda item: item[1].reduction, default=None)
        summary["best"] = arms[best[0]] if best else None
        return summary

    def _trials(self, fit: ToyFit, family: Family) -> list[Trial]:
        last = max(fit.differences)
        trials = []
        if family == "sae":
            for weights in fit.feature_sets:
                for layer in range(fit.sae_layer, min(fit.sae_layer + 2, last + 1)):
                    for positions in _POSITIONS:
                        trials.append(_feature_trial(weights, layer, positions))
            return trials
        for layer in range(fit.sae_layer, last + 1):
            vector_id = self._vectors.keep(
                f"refused less known, layer {layer}", layer, fit.differences[layer], "difference"
            )
            for positions in _POSITIONS:
                pushed = Intervention(
                    "add", 1.0, vector_id=vector_id, unit="norm", positions=positions, layer=layer
                )
                trials.append(
                    Trial(f"mean difference, layer {layer}, {positions}", "dense", (pushed,), layer)
                )
        return trials

    def _try(
        self, trials: list[Trial], before: ToyOutcomes, gates: Mapping[int, LinearGate]
    ) -> list[tuple[Trial, float, ToyOutcomes]]:
        """All directions at two strengths, the most promising ones at all of them."""
        tried = [self._at(trial, strength) for trial in trials for strength in COARSE]

        def promise(trial: Trial) -> float:
            own = [item for item in tried if item[0] is trial]
            found = [
                choose(own, before, gates, self._spec.max_loss, gated) for gated in (True, False)
            ]
            return max((item.reduction for item in found if item), default=-1.0)

        kept = sorted(trials, key=promise, reverse=True)[:_N_KEPT]
        more = [s for s in STRENGTHS if s not in COARSE]
        return tried + [self._at(trial, strength) for trial in kept for strength in more]

    def _finer(
        self,
        tried: Sequence[tuple[Trial, float, ToyOutcomes]],
        before: ToyOutcomes,
        gates: Mapping[int, LinearGate],
    ) -> list[tuple[Trial, float, ToyOutcomes]]:
        """What would be chosen so far, a little weaker and a little stronger."""
        found = [
            choose(tried, before, gates, self._spec.max_loss, gated) for gated in (True, False)
        ]
        places = dict.fromkeys((item.trial, item.strength) for item in found if item)
        return [
            self._at(trial, round(strength * part, 4))
            for trial, strength in places
            for part in FINER
        ]

    def _at(self, trial: Trial, strength: float) -> tuple[Trial, float, ToyOutcomes]:
        cell = self._record(self._plan(trial.name, "candidate", "choose", trial, strength, None))
        return trial, strength, _outcomes(cell)

    def _curve(self, name: str, chosen: Choice, fit: ToyFit) -> dict[str, Any]:
        for strength in STRENGTHS:
            if strength != chosen.strength:
                plan = self._plan(
                    name, "candidate", "report", chosen.trial, strength, self._gate(chosen, fit)
                )
                self._record(plan)
        return self._report(name, chosen, fit)

    def _report(
        self, name: str, chosen: Choice, fit: ToyFit, role: Role = "candidate"
    ) -> dict[str, Any]:
        plan = self._plan(
            name, role, "report", chosen.trial, chosen.strength, self._gate(chosen, fit)
        )
        return _described(name, chosen, self._record(plan))

    def _controls(
        self,
        choices: Mapping[str, Choice],
        tried: Mapping[Family, list[tuple[Trial, float, ToyOutcomes]]],
        fit: ToyFit,
    ) -> dict[str, Any]:
        controls: dict[str, Any] = {}
        told = self._record(CellPlan("instruction", "control", "report", instruction=INSTRUCTION))
        controls["instruction"] = _measured(told)
        flat = [(t, s, o) for items in tried.values() for t, s, o in items]
        trial, strength, _ = max(flat, key=lambda item: item[2].unknown.count("r"))
        everything = self._plan("refuse everything", "control", "report", trial, strength, None)
        controls["refuse everything"] = _measured(self._record(everything))
        chosen = choices.get(f"{_NAMES['sae']}, gated") or next(iter(choices.values()), None)
        if chosen is None:
            return controls
        gate = self._gate(chosen, fit)
        opposite = self._plan(
            "the opposite", "control", "report", chosen.trial, -chosen.strength, gate
        )
        controls["the opposite"] = _measured(self._record(opposite))
        random = [
            _measured(
                self._record(
                    self._plan(f"random {n}", "control", "report", trial, chosen.strength, gate)
                )
            )
            for n, trial in enumerate(self._random_trials(chosen.trial, fit), 1)
        ]
        controls["random directions"] = {
            "n": len(random),
            "cells": random,
            "largest_reduction": max(
                (item["reduction"]["value"] or 0.0 for item in random), default=None
            ),
        }
        return controls

    def _random_trials(self, like: Trial, fit: ToyFit) -> Iterable[Trial]:
        d_model = len(fit.differences[like.layer])
        for values in random_directions(d_model, 1.0, self._spec.n_random, seed=like.layer):
            vector_id = self._vectors.keep(
                f"random, layer {like.layer}", like.layer, values, "random"
            )
            pushed = replace(
                like.interventions[0],
                kind="add",
                strength=1.0,
                feature=None,
                vector_id=vector_id,
                unit="norm",
                layer=like.layer,
            )
            yield Trial("random", like.family, (pushed,), like.layer)

    def _gate(self, chosen: Choice, fit: ToyFit) -> Condition | None:
        if chosen.gate is None:
            return None
        if chosen.gate == -1:
            gate = fit.sae_gate
            return Condition(
                chosen.threshold,
                features=tuple(int(column) for column in gate.columns),
                weights=tuple(float(weight) for weight in gate.weights),
                bias=gate.bias,
                at="last_prompt",
            )
        gate = fit.dense_gates[chosen.gate]
        values = gate.weights.astype("float32")
        vector_id = self._vectors.keep(
            f"made up or known, layer {chosen.gate}", chosen.gate, values, "logistic probe"
        )
        return Condition(
            chosen.threshold,
            vector_id=vector_id,
            bias=gate.bias,
            at="last_prompt",
            layer=chosen.gate,
        )

    def _plan(
        self,
        arm: str,
        role: Role,
        half: Any,
        trial: Trial,
        strength: float,
        gate: Condition | None,
    ) -> CellPlan:
        at = steering_at(trial.interventions, strength, None)
        gated = SteeringSpec(tuple(replace(item, condition=gate) for item in at.interventions))
        steering = self._measure.answering.resolve(gated)
        return CellPlan(arm, role, half, steering, "", strength, "norm", trial.layer)

    def _record(self, plan: CellPlan) -> MeasuredCell:
        return self._recorder.record(plan)


def _feature_trial(weights: Mapping[int, float], layer: int, positions: str) -> Trial:
    pushed = tuple(
        Intervention("add", weight, feature, unit="norm", positions=positions, layer=layer)
        for feature, weight in weights.items()
    )
    shown = ", ".join(str(feature) for feature in list(weights)[:3])
    more = f" and {len(weights) - 3} more" if len(weights) > 3 else ""
    return Trial(f"features {shown}{more}, layer {layer}, {positions}", "sae", pushed, layer)


def _outcomes(cell: MeasuredCell) -> ToyOutcomes:
    results = json.loads(cell.results)
    return ToyOutcomes(results["outcomes_unknown"], results["outcomes_known"])


def _measured(cell: MeasuredCell) -> dict[str, Any]:
    results = json.loads(cell.results)
    names = ("reduction", "known_accuracy_loss", "whole", "confabulated", "known_accuracy", "gate")
    return {
        "n_unknown": results["n_unknown"],
        "n_known": results["n_known"],
        "cell_key": cell.cell_key,
        **{name: results[name] for name in names},
    }


def _described(name: str, chosen: Choice, cell: MeasuredCell) -> dict[str, Any]:
    return {
        "arm": name,
        "direction": chosen.trial.name,
        "layer": chosen.trial.layer,
        "strength": chosen.strength,
        "unit": "norm",
        "gate": {None: "none", -1: "SAE features"}.get(
            chosen.gate, f"residual, layer {chosen.gate}"
        ),
        "chosen_by": {"reduction": chosen.reduction, "known_accuracy_loss": chosen.loss},
        **{name: value for name, value in _measured(cell).items() if name != "gate"},
        "gate_open": json.loads(cell.results)["gate"],
        "steering": json.loads(cell.steering),
    }
