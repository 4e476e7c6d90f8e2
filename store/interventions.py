"""What changes the residual stream of a run: interventions, where they apply, and when.

Invariant: frozen, coerced and finite, in one spelling: what an intervention does not use has its
default, so that two that do the same have one canonical JSON. Nothing here knows of torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from store.coercion import set_field, to_real, to_whole
from store.errors import InvalidSpecError

Kind = Literal["add", "clamp", "ablate", "scale", "erase"]
Unit = Literal["raw", "norm", "max"]
KINDS: tuple[str, ...] = get_args(Kind)
UNITS: tuple[str, ...] = get_args(Unit)
NAMED_POSITIONS = ("all", "generated", "last_prompt", "answering")
GATED_POSITIONS = ("last_prompt", "generated", "answering")
"""Those that a gate on the last prompt token can open: it is known only from there on."""
MAX_INTERVENTIONS = 16
MAX_TERMS = 1_024
"""Most features of one condition."""

_MAX_STRENGTH = 1e6
_MAX_RAW = 1e9
_MAX_INDEX = 2**31 - 1
_SPAN = re.compile(r"(\d{1,9}):(\d{0,9})")
_VECTOR_ID = re.compile(r"[0-9a-f]{20}")


@dataclass(frozen=True, slots=True)
class Condition:
    """When an intervention applies: a score of the residual above, or below, a threshold.

    Attributes:
        threshold: the score must be strictly above it (or below).
        features: of the source's SAE; the score is bias + sum of weight times activation.
        weights: one a feature; ones if none is given.
        vector_id: of a stored vector, in place of features; the score is bias + `measure`.
        bias: added to the score.
        measure: of a vector: its dot product with the residual, or their cosine.
        side: `above` or `below` the threshold.
        at: `here` decides for every token by itself; `last_prompt` decides once, on the last token
            of the prompt, for the run.
        layer: decoder layer whose output a vector is compared with (-1: the embedding); None is
            the vector's own.

    Raises:
        InvalidSpecError: for values that do not fit each other, or are out of range.
    """

    threshold: float
    features: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()
    vector_id: str | None = None
    bias: float = 0.0
    measure: Literal["dot", "cosine"] = "dot"
    side: Literal["above", "below"] = "above"
    at: Literal["here", "last_prompt"] = "here"
    layer: int | None = None

    def __post_init__(self) -> None:
        name = "condition"
        set_field(self, "threshold", _real("condition.threshold", self.threshold))
        set_field(self, "bias", _real("condition.bias", self.bias))
        wanted = [to_whole("condition.features", f, 0, _MAX_INDEX) for f in self.features]
        weights = [_real("condition.weights", w) for w in self.weights] or [1.0] * len(wanted)
        set_field(self, "features", tuple(wanted))
        set_field(self, "weights", tuple(weights))
        if (self.vector_id is None) == (not wanted):
            raise _no(name, "A condition looks at features or at one vector.", "Give one of them.")
        if len(weights) != len(wanted) or len(set(wanted)) != len(wanted):
            raise _no(name, "A condition needs one weight a feature, each feature once.")
        if len(wanted) > MAX_TERMS:
            raise _no(name, f"A condition looks at no more than {MAX_TERMS:,} features.")
        _choose("condition.measure", self.measure, ("dot", "cosine"))
        _choose("condition.side", self.side, ("above", "below"))
        _choose("condition.at", self.at, ("here", "last_prompt"))
        if wanted and (self.measure != "dot" or self.layer is not None):
            raise _no(
                name, "Features are read where their SAE reads.", "Leave out measure and layer."
            )
        _check_vector_id(self.vector_id)
        set_field(self, "layer", _layer(self.layer))


@dataclass(frozen=True, slots=True)
class Intervention:
    """One change to the residual stream while a run is computed.

    Attributes:
        kind: `add` a direction; `clamp` a feature to an activation; `ablate` it (clamp to 0);
            `scale` its activation by a factor; `erase` a direction.
        strength: what it means depends on kind and unit; not used by `ablate` and `erase`.
        feature: of the source's SAE, or None where a vector is used.
        vector_id: of a stored vector, or None.
        unit: `raw`; `norm`, times the mean residual norm at the layer; `max`, times the largest
            stored activation of the feature.
        positions: `all`, `generated`, `last_prompt`, `answering` (the last token of the prompt and
            all generated ones), `start:end` or `start:` of the whole sequence. A BOS token at
            position 0 is left alone always.
        layer: decoder layer whose output is changed (-1: the embedding); None is where the SAE
            reads, or the vector's own.
        condition: when it applies; None is always.
        source_id: source, by id or name, that the feature is of; None is the run's own. Taken out
            once it is checked.
        raw_strength: strength as a factor of the direction, or as an activation to clamp to; None
            until the engine has resolved it.

    Raises:
        InvalidSpecError: for values that do not fit each other, or are out of range.
    """

    kind: Kind
    strength: float = 0.0
    feature: int | None = None
    vector_id: str | None = None
    unit: Unit = "raw"
    positions: str = "all"
    layer: int | None = None
    condition: Condition | None = None
    source_id: str | None = None
    raw_strength: float | None = None

    def __post_init__(self) -> None:
        _choose("kind", self.kind, KINDS)
        _choose("unit", self.unit, UNITS)
        if (self.feature is None) == (self.vector_id is None):
            raise _no("feature", "An intervention uses a feature or a vector.", "Give one of them.")
        if self.feature is not None:
            set_field(self, "feature", to_whole("feature", self.feature, 0, _MAX_INDEX))
        elif self.kind not in ("add", "erase"):
            raise _no("kind", f"A vector cannot be used to {self.kind}.", "Use add or erase.")
        _check_vector_id(self.vector_id)
        set_field(self, "layer", _layer(self.layer))
        self._set_strength()
        set_field(self, "positions", _positions(self.positions))
        gate = self.condition
        if gate is not None and gate.at == "last_prompt" and self.positions not in GATED_POSITIONS:
            raise _no(
                "positions",
                f"A condition on the last prompt token cannot gate the positions {self.positions}: "
                "it is known only from that token on.",
                f"Use one of {', '.join(GATED_POSITIONS)}.",
            )

    def _set_strength(self) -> None:
        strength = _real("strength", self.strength)
        if self.kind in ("ablate", "erase"):
            # neither has a strength: one spelling for all that do the same
            strength = 0.0 if self.kind == "ablate" else 1.0
            set_field(self, "unit", "raw")
            set_field(self, "raw_strength", strength)
        allowed = {"add": UNITS, "clamp": ("raw", "max"), "scale": ("raw",)}.get(self.kind, UNITS)
        if self.unit not in allowed or (self.unit == "max" and self.feature is None):
            raise _no(
                "unit",
                f"The strength of this {self.kind} cannot be given in the unit {self.unit}.",
                "norm measures what is added, max is of a feature that is added or clamped, and a "
                "factor to scale by has no unit.",
            )
        if self.kind == "clamp" and strength < 0:
            raise _no("strength", "An activation is never below 0.", "Clamp to 0 or above.")
        set_field(self, "strength", strength)
        if self.raw_strength is not None:
            raw = to_real("raw_strength", self.raw_strength, -_MAX_RAW, _MAX_RAW)
            set_field(self, "raw_strength", raw)


@dataclass(frozen=True, slots=True)
class SteeringSpec:
    """The interventions of a run; empty is unsteered.

    Those at one hook point all see the residual as it arrives there: their changes are summed.

    Raises:
        InvalidSpecError: if there are too many.
    """

    interventions: tuple[Intervention, ...] = ()

    def __post_init__(self) -> None:
        set_field(self, "interventions", tuple(self.interventions))
        if len(self.interventions) > MAX_INTERVENTIONS:
            raise _no("steering", f"A run has at most {MAX_INTERVENTIONS} interventions.")

    def vector_ids(self) -> tuple[str, ...]:
        """Of all vectors that interventions and conditions name, each once."""
        named = [item.vector_id for item in self.interventions]
        named += [item.condition.vector_id for item in self.interventions if item.condition]
        return tuple(dict.fromkeys(one for one in named if one is not None))


def parse_interventions(value: object) -> SteeringSpec:
    """Interventions from plain JSON values, as a run's `steering` has them.

    Raises:
        InvalidSpecError: naming what is not as it must be.
    """
    if not isinstance(value, list):
        raise _no("steering", "Steering is a list of interventions.", "Write it in [ and ].")
    return SteeringSpec(tuple(_parse_intervention(item) for item in value))


def find_span(positions: str) -> tuple[int, int | None] | None:
    """First position and the one after the last (None: no end) of a span; None if it is named."""
    if positions in NAMED_POSITIONS:
        return None
    match = _SPAN.fullmatch(positions)
    if match is None:
        raise ValueError(f"{positions!r} names no positions")
    return int(match[1]), int(match[2]) if match[2] else None


def _parse_intervention(value: object) -> Intervention:
    plain = _object("An intervention", value, Intervention)
    if "kind" not in plain:
        raise _no("kind", "An intervention has no kind.", f"Use one of {', '.join(KINDS)}.")
    if plain.get("condition") is not None:
        inner = _object("A condition", plain["condition"], Condition)
        if "threshold" not in inner:
            raise _no("condition", "A condition has no threshold.", "Say above or below what.")
        for name in ("features", "weights"):
            if name in inner and not isinstance(inner[name], (list, tuple)):
                raise _no(f"condition.{name}", f"{name} of a condition is a list.")
        plain["condition"] = Condition(**inner)
    return Intervention(**plain)


def _object(what: str, value: object, kind: type[Intervention] | type[Condition]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _no("steering", f"{what} is an object with named values.", "Write it in { and }.")
    known = [item.name for item in fields(kind)]
    unknown = [str(name) for name in value if name not in known]
    if unknown:
        raise _no("steering", f"{what} has no {unknown[0][:40]!r}.", f"It has: {', '.join(known)}.")
    return {str(name): item for name, item in value.items()}


def _positions(value: object) -> str:
    """One spelling of named positions and of spans: without leading zeros."""
    if isinstance(value, str) and value in NAMED_POSITIONS:
        return value
    match = _SPAN.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise _no(
            "positions",
            f"{str(value)[:40]!r} names no positions.",
            f"Use {', '.join(NAMED_POSITIONS)}, or a span such as 3:8 or 3:.",
        )
    start, end = int(match[1]), match[2]
    if end and int(end) <= start:
        raise _no("positions", f"The span {value} is empty.", "Its end comes after its start.")
    return f"{start}:{int(end) if end else ''}"


def _choose(field_name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise _no(
            field_name,
            f"{field_name} cannot be {str(value)[:40]!r}.",
            f"Use one of {', '.join(allowed)}.",
        )


def _check_vector_id(value: object) -> None:
    if value is not None and not (isinstance(value, str) and _VECTOR_ID.fullmatch(value)):
        raise _no(
            "vector_id",
            f"{str(value)[:40]!r} is no id of a vector.",
            "An id has 20 digits, 0 to 9 and a to f; the view vectors lists them.",
        )


def _layer(value: object) -> int | None:
    return None if value is None else to_whole("layer", value, -1, 9_999)


def _real(field_name: str, value: object) -> float:
    return to_real(field_name, value, -_MAX_STRENGTH, _MAX_STRENGTH)


def _no(field_name: str, message: str, hint: str = "") -> InvalidSpecError:
    return InvalidSpecError(field_name, message, hint)
