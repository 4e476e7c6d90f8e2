"""A sweep of concepts or features: every strength and layer on one half, the chosen on the other.

Invariant: strength and layer are chosen by the half to choose by; random directions, the opposite
and an instruction stand beside what was chosen, on the half that is reported.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from engine.concepts.directions import random_directions
from engine.sweeps.answering import Answering
from engine.sweeps.cells import CellPlan, Role, plain_estimate
from engine.sweeps.recording import CellRecorder
from engine.sweeps.spec import Arm, SweepSpec, steering_at
from engine.sweeps.stored_vectors import StoredVectors
from store.specs import Intervention, SteeringSpec
from store.sweep_records import MeasuredCell

ConceptVectors = Callable[[str], Mapping[int, str]]
"""Ids of a concept's vectors by layer."""


@dataclass(frozen=True, slots=True)
class _Point:
    """An arm at a strength and a layer, with what came of it on the half to choose by."""

    arm: Arm
    interventions: tuple[Intervention, ...]
    strength: float
    layer: int | None
    success: float
    is_coherent: bool


class ConceptSweep:
    """One sweep of one source."""

    def __init__(
        self,
        spec: SweepSpec,
        answering: Answering,
        recorder: CellRecorder,
        vectors: StoredVectors,
        concept_vectors: ConceptVectors,
    ) -> None:
        self._spec = spec
        self._answering = answering
        self._recorder = recorder
        self._vectors = vectors
        self._concept_vectors = concept_vectors

    def run(self) -> dict[str, Any]:
        """Measures everything; returns the summary as plain JSON values."""
        spec = self._spec
        n_grid = sum(len(arm.strengths) * len(arm.layers) for arm in spec.arms)
        self._recorder.expect(2 * n_grid + spec.n_random + 4)
        self._record(CellPlan("nothing", "control", "choose"))
        points = [point for arm in spec.arms for point in self._grid(arm)]
        best = _best(points)
        self._record(CellPlan("nothing", "control", "report"))
        reported = {id(point): self._report(point) for point in points}
        controls = self._controls(best) if best else {}
        return {
            "best": None if best is None else _described(best, reported[id(best)]),
            "arms": {
                arm.name: _described(own, reported[id(own)])
                for arm in spec.arms
                if (own := _best([point for point in points if point.arm is arm])) is not None
            },
            "layers": _by_layer(points, reported),
            "controls": controls,
        }

    def _grid(self, arm: Arm) -> list[_Point]:
        ids = self._concept_vectors(arm.concept) if arm.concept else {}
        points = []
        for layer in self._layers(arm, ids):
            interventions = arm.interventions
            if arm.concept and layer is not None:
                pushed = Intervention(
                    "add",
                    1.0,
                    vector_id=ids[layer],
                    unit=arm.unit,
                    positions=arm.positions,
                    layer=layer,
                )
                interventions = (pushed,)
            for strength in arm.strengths:
                plan = self._plan(arm.name, "candidate", interventions, strength, layer)
                cell = self._record(replace(plan, half="choose"))
                coherent = bool(json.loads(cell.results)["is_coherent"])
                value = cell.success.value
                points.append(
                    _Point(
                        arm,
                        interventions,
                        strength,
                        plan.layer,
                        float("-inf") if value is None else value,
                        coherent,
                    )
                )
        return points

    def _layers(self, arm: Arm, ids: Mapping[int, str]) -> tuple[int | None, ...]:
        if arm.concept and arm.layers == (None,):
            return tuple(sorted(ids))
        return tuple(layer for layer in arm.layers if not arm.concept or layer in ids)

    def _plan(
        self,
        name: str,
        role: Role,
        interventions: tuple[Intervention, ...],
        strength: float,
        layer: int | None,
    ) -> CellPlan:
        steering = self._answering.resolve(steering_at(interventions, strength, layer))
        first = steering.interventions[0]
        shown = layer if layer is not None else first.layer
        return CellPlan(name, role, "report", steering, "", strength, first.unit, shown)

    def _report(self, point: _Point) -> MeasuredCell:
        return self._record(
            self._plan(
                point.arm.name, "candidate", point.interventions, point.strength, point.layer
            )
        )

    def _controls(self, best: _Point) -> dict[str, Any]:
        controls: dict[str, Any] = {}
        if self._spec.instruction:
            plan = CellPlan("instruction", "control", "report", instruction=self._spec.instruction)
            controls["instruction"] = _measured(self._record(plan))
        if all(item.kind == "add" for item in best.interventions):
            plan = self._plan(
                "the opposite", "control", best.interventions, -best.strength, best.layer
            )
            controls["the opposite"] = _measured(self._record(plan))
        random = [_measured(self._record(plan)) for plan in self._random_plans(best)]
        controls["random directions"] = {
            "n": len(random),
            "cells": random,
            "largest_success": max(
                (item["success"]["value"] or 0.0 for item in random), default=None
            ),
        }
        return controls

    def _random_plans(self, best: _Point) -> list[CellPlan]:
        """Random directions in place of each intervention, as long as what they replace."""
        steering = self._plan("", "control", best.interventions, best.strength, best.layer).steering
        lengths = self._answering.lengths(steering)
        d_model = self._vectors.source.d_in
        plans = []
        drawn = random_directions(d_model, 1.0, self._spec.n_random * len(lengths), seed=1)
        for number in range(self._spec.n_random):
            items = []
            for place, (item, (layer, length)) in enumerate(
                zip(steering.interventions, lengths, strict=True)
            ):
                values = drawn[number * len(lengths) + place]
                vector_id = self._vectors.keep(f"random, layer {layer}", layer, values, "random")
                items.append(
                    replace(
                        item,
                        kind="add",
                        feature=None,
                        vector_id=vector_id,
                        layer=layer,
                        unit="raw",
                        strength=length,
                        raw_strength=None,
                        source_id=None,
                    )
                )
            resolved = self._answering.resolve(SteeringSpec(tuple(items)))
            plans.append(
                CellPlan(
                    f"random {number + 1}",
                    "control",
                    "report",
                    resolved,
                    "",
                    best.strength,
                    best.interventions[0].unit,
                    best.layer,
                )
            )
        return plans

    def _record(self, plan: CellPlan) -> MeasuredCell:
        return self._recorder.record(plan)


def _best(points: list[_Point]) -> _Point | None:
    """The largest success whose text is still coherent; of none, the least strong."""
    coherent = [point for point in points if point.is_coherent]
    if coherent:
        return max(coherent, key=lambda point: point.success)
    return min(points, key=lambda point: abs(point.strength), default=None)


def _by_layer(points: list[_Point], reported: Mapping[int, MeasuredCell]) -> list[dict[str, Any]]:
    """What each arm did at each layer, at the strength chosen there."""
    places = dict.fromkeys((point.arm.name, point.layer) for point in points)
    rows = []
    for name, layer in places:
        best = _best([p for p in points if (p.arm.name, p.layer) == (name, layer)])
        if best is not None:
            rows.append(_described(best, reported[id(best)]))
    return rows


def _described(point: _Point, cell: MeasuredCell) -> dict[str, Any]:
    return {
        "arm": point.arm.name,
        "strength": point.strength,
        "unit": point.interventions[0].unit,
        "layer": point.layer,
        "chosen_by": {"success": point.success, "is_coherent": point.is_coherent},
        **_measured(cell),
        "steering": json.loads(cell.steering),
    }


def _measured(cell: MeasuredCell) -> dict[str, Any]:
    results = json.loads(cell.results)
    return {
        "n": cell.n,
        "cell_key": cell.cell_key,
        "success": plain_estimate(cell.success),
        "coherence": plain_estimate(cell.coherence),
        "side_effects": plain_estimate(cell.side_effect),
        "is_coherent": results["is_coherent"],
        "perplexity": results["perplexity"],
        "fact_accuracy_loss": results.get("fact_accuracy_loss"),
    }
