"""What can be steered along on a source: features with labels, stored vectors, and what is typed.

Invariant: reads the store alone; no model is loaded to offer or to find anything.
"""

from __future__ import annotations

import re

from dashboard.components.intervention_rows import Target, Targets
from dashboard.services import Services
from dashboard.steer_parts.page import SteerPage, vector_name
from store.errors import InvalidSpecError, SourceNotFoundError
from store.steering_records import Vector

_MOST_LABELS = 200
_VECTOR_ID = re.compile(r"[0-9a-f]{20}")
_FEATURE = re.compile(r"(?:feature\s*)?(\d{1,9})", re.IGNORECASE)


def make_targets(page: SteerPage, vectors: tuple[Vector, ...]) -> Targets:
    """What the rows of a source offer."""
    services, source = page.services, page.source.name
    names = {vector_name(vector): Target(vector_id=vector.vector_id) for vector in vectors}
    by_id = {vector.vector_id: vector_name(vector) for vector in vectors}
    labelled = _labelled(services, source) if page.source.has_sae else {}
    names |= {_feature_name(n, label): Target(feature=n) for n, label in labelled.items()}

    def name_of(target: Target) -> str:
        if target.vector_id is not None:
            return by_id.get(target.vector_id, f"vector {target.vector_id}")
        feature = target.feature or 0
        if feature in labelled:
            return _feature_name(feature, labelled[feature])
        try:
            found = services.get_label_texts(source, [feature]).get(feature)
        except (SourceNotFoundError, InvalidSpecError):
            found = None
        return _feature_name(feature, found)

    def find(text: str) -> Target | None:
        typed = text.strip()
        if match := _FEATURE.fullmatch(typed):
            return Target(feature=int(match[1]))
        if _VECTOR_ID.fullmatch(typed):
            return Target(vector_id=typed)
        for name, target in names.items():
            if typed.lower() in name.lower():
                return target
        try:
            page_of = services.search.search_features(source, f'label:"{typed}"', limit=1)
        except (SourceNotFoundError, InvalidSpecError):
            return None
        return Target(feature=page_of.rows[0].feature) if page_of.rows else None

    return Targets(names, find, name_of, page.source.n_layers, page.source.layer)


def _labelled(services: Services, source: str) -> dict[int, str]:
    try:
        found = services.search.search_features(source, "labelled:yes", limit=_MOST_LABELS)
    except SourceNotFoundError:
        return {}
    return {row.feature: row.label or "" for row in found.rows}


def _feature_name(feature: int, label: str | None) -> str:
    return f"feature {feature} · {label}" if label else f"feature {feature}"
