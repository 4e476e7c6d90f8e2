"""Interventions while a person edits them: rows, their link, what they mean in words. Pure.

Invariant: `parse_steer(to_steer(draft)) == draft` for every draft; text that cannot be understood
is said in one sentence and leaves an empty draft, never an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, cast

from store.errors import InvalidSpecError
from store.specs import (
    Condition,
    Intervention,
    SamplingSpec,
    SteeringSpec,
    parse_interventions,
)

POSITION_NAMES: Mapping[str, str] = {
    "answering": "the answer, from the last prompt token on",
    "last_prompt": "the last prompt token",
    "generated": "the generated tokens",
    "all": "every token",
}
KIND_HELP: Mapping[str, str] = {
    "add": "Adds the direction, times the strength, to the residual stream.",
    "clamp": "Sets the feature's activation to the strength, whatever it was.",
    "ablate": "Sets the feature's activation to 0.",
    "scale": "Multiplies the feature's activation by the strength: 0 silences it, 2 doubles it.",
    "erase": "Takes out what the residual has along the direction, either way.",
}
UNIT_HELP: Mapping[str, str] = {
    "norm": "in mean residual norms: 1 adds something as long as the residual itself; "
    "effects come at 0.1 to 1",
    "max": "times the largest activation of the feature that is stored of unsteered runs",
    "raw": "as it is: a factor of the direction, or an activation",
}
_RANGES: Mapping[str, tuple[float, float, float]] = {
    "norm": (-2.0, 2.0, 0.05),
    "max": (-3.0, 3.0, 0.1),
    "raw": (-30.0, 30.0, 0.5),
}
_PLAIN = Intervention("add", feature=0)
_LEFT_OUT = frozenset({"source_id"})


@dataclass(frozen=True, slots=True)
class DraftRow:
    """One intervention as it is edited; it may name no feature and no vector yet.

    Attributes:
        raw_strength: as a stored run resolved it; given up once the row is changed.
        The others are those of Intervention.
    """

    kind: str = "add"
    strength: float = 0.5
    feature: int | None = None
    vector_id: str | None = None
    unit: str = "norm"
    positions: str = "answering"
    layer: int | None = None
    condition: Condition | None = None
    raw_strength: float | None = None

    @property
    def has_strength(self) -> bool:
        """Whether its kind uses one."""
        return self.kind not in ("ablate", "erase")

    def to_intervention(self, number: int) -> Intervention:
        """What it asks for.

        Raises:
            InvalidSpecError: if it is not complete, or its values do not fit each other.
        """
        if self.feature is None and self.vector_id is None:
            raise InvalidSpecError(
                "steering",
                f"Intervention {number} has no feature and no vector.",
                "Choose one, or take the row out.",
            )
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return Intervention(**values)


@dataclass(frozen=True, slots=True)
class SteerDraft:
    """What is to be steered how; the prompt, the source and tools are beside it in the link."""

    rows: tuple[DraftRow, ...] = ()
    sampling: SamplingSpec = SamplingSpec()

    def steering(self) -> SteeringSpec:
        """The interventions.

        Raises:
            InvalidSpecError: if a row is not complete.
        """
        return SteeringSpec(tuple(row.to_intervention(n) for n, row in enumerate(self.rows, 1)))


def units_of(kind: str, is_feature: bool) -> tuple[str, ...]:
    """Units that the strength of a kind can be given in, the usual one first."""
    if kind == "add":
        return ("norm", "max", "raw") if is_feature else ("norm", "raw")
    return ("max", "raw") if kind == "clamp" else ("raw",)


def kinds_of(is_vector: bool) -> tuple[str, ...]:
    """What can be done with a feature, or with a vector."""
    return ("add", "erase") if is_vector else ("add", "clamp", "ablate", "scale", "erase")


def strength_range(kind: str, unit: str, strength: float) -> tuple[float, float, float]:
    """Least, most and step of a slider; wider where the strength itself lies outside."""
    low, high, step = _RANGES[unit]
    if kind == "scale":
        low, high, step = 0.0, 5.0, 0.1
    elif kind == "clamp":
        low = 0.0
    return min(low, strength), max(high, strength), step


def fit(row: DraftRow) -> DraftRow:
    """The row with a kind and a unit that go together; any change gives up its raw strength."""
    kinds = kinds_of(row.vector_id is not None)
    kind = row.kind if row.kind in kinds else kinds[0]
    units = units_of(kind, row.vector_id is None)
    return replace(row, kind=kind, unit=row.unit if row.unit in units else units[0])


def edited(old: DraftRow, new: DraftRow) -> DraftRow:
    """The new row, with the raw strength of the old one as long as it says the same."""
    if replace(old, raw_strength=None) == replace(new, raw_strength=None):
        return old
    return replace(new, raw_strength=None)


def draft_of(steering: SteeringSpec, sampling: SamplingSpec | None = None) -> SteerDraft:
    """A draft of given interventions."""
    names = [item.name for item in fields(DraftRow)]
    rows = [DraftRow(**{n: getattr(item, n) for n in names}) for item in steering.interventions]
    return SteerDraft(tuple(rows), sampling or SamplingSpec())


def to_steer(draft: SteerDraft) -> str | None:
    """The draft as compact JSON; None for an empty one. A list where only rows are said."""
    rows = [_to_plain(row) for row in draft.rows]
    changed = {
        name: value
        for name, value in asdict(draft.sampling).items()
        if value != getattr(SamplingSpec(), name)
    }
    if not changed:
        return _compact(rows) if rows else None
    return _compact({"interventions": rows, "sampling": changed})


def parse_steer(text: str | None) -> tuple[SteerDraft, str | None]:
    """The draft of a link, and one sentence if it could not be understood."""
    if text is None:
        return SteerDraft(), None
    try:
        content = json.loads(text)
        if isinstance(content, list):
            content = {"interventions": content}
        if not isinstance(content, dict):
            raise TypeError
        sampling = SamplingSpec(**content.get("sampling", {}))
        rows = tuple(_to_row(item) for item in content.get("interventions", []))
    except InvalidSpecError as error:
        return SteerDraft(), f"The link's interventions: {error.message}"
    except (ValueError, TypeError, RecursionError):
        return SteerDraft(), "The link's interventions are no list of interventions in JSON."
    return SteerDraft(rows, sampling), None


def describe(item: DraftRow, name: str) -> str:
    """What a row does, in one line.

    Args:
        name: of its feature or vector, as people call it.
    """
    amount = f"{item.strength:.4g}"
    unit = {"norm": " mean residual norms of", "max": " × maximum of", "raw": " ×"}[item.unit]
    if item.kind == "clamp":
        unit = " × its maximum" if item.unit == "max" else ""
    what = {
        "add": f"adds {amount}{unit} {name}",
        "clamp": f"clamps {name} to {amount}{unit}",
        "ablate": f"silences {name}",
        "scale": f"multiplies {name} by {amount}",
        "erase": f"erases {name}",
    }[item.kind]
    where = POSITION_NAMES.get(item.positions, f"the positions {item.positions}")
    layer = "" if item.layer is None else f" after layer {item.layer}"
    return f"{what}{layer}, on {where}{describe_condition(item.condition)}"


def describe_condition(condition: Condition | None) -> str:
    """When a row applies, as the end of a sentence; empty for always."""
    if condition is None:
        return ""
    n = len(condition.features)
    if condition.vector_id is not None:
        what = f"the vector {condition.vector_id[:8]}"
    elif n == 1:
        what = f"feature {condition.features[0]}"
    else:
        what = f"a weighted sum of {n:,} features"
    where = "there" if condition.at == "here" else "on the last prompt token"
    return f", where {what} is {condition.side} {condition.threshold:.3g} {where}"


def _to_plain(row: DraftRow) -> dict[str, Any]:
    """Only what differs from an intervention that says nothing."""
    values = {item.name: getattr(row, item.name) for item in fields(row)}
    plain = {n: v for n, v in values.items() if n == "kind" or v != getattr(_PLAIN, n)}
    if row.feature is not None:
        plain["feature"] = row.feature
    else:
        plain.pop("feature", None)
    if row.condition is not None:
        plain["condition"] = {n: v for n, v in asdict(row.condition).items() if v not in (None, ())}
    return plain


def _to_row(value: object) -> DraftRow:
    """A row of plain values; one without feature and vector is not complete, and kept."""
    if not isinstance(value, Mapping):
        raise TypeError
    plain = cast("dict[str, Any]", {str(n): v for n, v in value.items() if n not in _LEFT_OUT})
    is_open = plain.get("feature") is None and plain.get("vector_id") is None
    if is_open:
        plain["feature"] = 0
    [item] = parse_interventions([plain]).interventions
    [row] = draft_of(SteeringSpec((item,))).rows
    if not row.has_strength:
        row = replace(row, raw_strength=None)
    return replace(row, feature=None) if is_open else row


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
