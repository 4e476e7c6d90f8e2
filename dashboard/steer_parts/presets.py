"""Interventions to begin with: what the last sweep chose, and a vector for each concept.

Invariant: nothing is run to offer a preset; one that is offered can be run as it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from dashboard.services import Services
from dashboard.steer_draft import DraftRow, SteerDraft, draft_of
from store.specs import parse_interventions
from store.steering_records import Vector

_STRENGTH = 0.5
_FIRST = ("refusal", "unknown", "known")
"""The toy's own concepts that its answers turn on."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Interventions under a name.

    Attributes:
        title: of the button; help: what they do.
    """

    title: str
    help: str
    draft: SteerDraft


def list_presets(
    services: Services, source: str, vectors: tuple[Vector, ...]
) -> tuple[Preset, ...]:
    """What can be begun with on a source, the most telling first."""
    return (*_from_sweeps(services, source), *_from_concepts(vectors))


def best_vectors(vectors: tuple[Vector, ...]) -> dict[str, Vector]:
    """By concept its vector at the layer that separates its pairs best, as they were measured."""
    best: dict[str, tuple[tuple[float, float], Vector]] = {}
    for vector in vectors:
        profile = json.loads(vector.content).get("profile")
        if not vector.concept or not isinstance(profile, dict):
            continue
        # of layers that separate alike, the middle ones steer best: those with the longest vector
        rank = (round(profile.get("separation") or 0.0, 2), profile.get("relative_norm") or 0.0)
        if vector.concept not in best or rank > best[vector.concept][0]:
            best[vector.concept] = (rank, vector)
    names = sorted(best, key=lambda name: (_FIRST.index(name) if name in _FIRST else 9, name))
    return {name: best[name][1] for name in names}


def _from_sweeps(services: Services, source: str) -> tuple[Preset, ...]:
    """The arms of the newest sweep against confabulation, and the best of each other one."""
    arms: list[Preset] = []
    others: dict[str, Preset] = {}
    for sweep in services.engine.steering.sweeps(source):
        summary = json.loads(sweep.summary) if sweep.summary else {}
        best = summary.get("best")
        if not best:
            continue
        when = f"the sweep {sweep.name!r} of {sweep.created_at:%Y-%m-%d}"
        if sweep.task != "confabulation":
            title = f"{best['arm']}, best measured"
            draft = draft_of(parse_interventions(best["steering"]))
            others.setdefault(title, Preset(title, f"Chosen by {when}.", draft))
        elif not arms:
            for arm in summary.get("arms", {}).values():
                is_best = arm.get("cell_key") == best.get("cell_key")
                title = f"{arm['arm']}{', the best' if is_best else ''}"
                draft = draft_of(parse_interventions(arm["steering"]))
                arms.append(Preset(title, f"Chosen by {when}: {arm['direction']}.", draft))
    return (*arms, *others.values())


def _from_concepts(vectors: tuple[Vector, ...]) -> tuple[Preset, ...]:
    return tuple(
        Preset(
            concept,
            f"Adds the vector of the concept after layer {vector.layer}, "
            f"{_STRENGTH:g} mean residual norms long, to the answer.",
            SteerDraft((DraftRow("add", _STRENGTH, vector_id=vector.vector_id),)),
        )
        for concept, vector in best_vectors(vectors).items()
    )
