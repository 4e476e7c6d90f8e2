"""What a sweep is to do: its arms, its prompts, its controls; read from TOML or JSON.

Invariant: frozen, checked and plain: a spec has one canonical JSON, which the sweep's id is of.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from engine.errors import RequestError
from store.errors import InvalidSpecError
from store.specs import Intervention, SteeringSpec, parse_interventions

SweepTask = Literal["concept", "confabulation", "ranking"]

MAX_CELLS = 2_000
MAX_PROMPTS = 2_000
MAX_SPEC_BYTES = 4 * 1024 * 1024
DEFAULT_STRENGTHS = (0.1, 0.2, 0.4, 0.8, 1.6)


class SweepSpecError(RequestError):
    """A sweep that cannot be done as it is written."""


@dataclass(frozen=True, slots=True)
class Arm:
    """Interventions that are swept together.

    Attributes:
        interventions: as at strength 1; a cell multiplies the strength of each by its own.
        concept: in place of interventions: the vector of this concept at each layer is added.
        unit, positions: of a concept's vector.
        strengths: of the cells; layers: None in it is each intervention's own layer.
    """

    name: str
    interventions: tuple[Intervention, ...] = ()
    concept: str = ""
    unit: Literal["raw", "norm"] = "norm"
    positions: str = "all"
    strengths: tuple[float, ...] = DEFAULT_STRENGTHS
    layers: tuple[int | None, ...] = (None,)

    def __post_init__(self) -> None:
        if bool(self.interventions) == bool(self.concept):
            raise SweepSpecError(
                f"The arm {self.name[:40]!r} must have interventions or a concept.",
                "Give it one of them.",
            )
        if not self.strengths or not self.layers:
            raise SweepSpecError("An arm needs at least one strength and one layer.")
        if not all(math.isfinite(strength) for strength in self.strengths):
            raise SweepSpecError("A strength of a sweep is no number.", "Use finite numbers.")


@dataclass(frozen=True, slots=True)
class Fact:
    """A question whose answer the model knows: side effects show in it."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class SweepSpec:
    """A sweep.

    Attributes:
        source: name in the catalog.
        task: `concept` (words of a concept become likelier) or `confabulation` (toy sources:
            made-up answers become refusals); `ranking` is of single features.
        arms: what is swept; empty for `confabulation` fits gates and directions by itself.
        prompts: questions for `concept` and `ranking`; a toy's own are used if there are none.
        words: of the concept; none takes those of the arms' concepts.
        facts: known facts; instruction: the arm that only asks for it.
        n_random: random directions of the same length, as a control.
        max_loss: most loss of known accuracy that a choice may cost, for `confabulation`.
        n_questions: of each kind on the half that is reported, for `confabulation`.
        strength: of the push along each feature, for `ranking`, in mean residual norms.
    """

    name: str
    source: str
    task: SweepTask = "concept"
    arms: tuple[Arm, ...] = ()
    prompts: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    instruction: str = ""
    n_random: int = 10
    max_loss: float = 0.05
    n_questions: int = 400
    max_new_tokens: int = 32
    strength: float = 0.5

    def __post_init__(self) -> None:
        if self.task not in get_args(SweepTask):
            raise SweepSpecError(
                f"There is no task {str(self.task)[:40]!r}.",
                f"Use one of {', '.join(get_args(SweepTask))}.",
            )
        if not self.name.strip() or len(self.name) > 200:
            raise SweepSpecError("A sweep needs a name of at most 200 characters.")
        if self.task == "concept" and not self.arms:
            raise SweepSpecError("A sweep needs at least one arm.", "Say what is to be swept.")
        if self.task == "ranking" and not (self.prompts and len(self.words) == 1):
            raise SweepSpecError(
                "A ranking needs prompts, and the one text that answers are to begin with.",
                "Give `prompts`, and that text as `words`.",
            )
        if len(self.prompts) > MAX_PROMPTS or len(self.facts) > MAX_PROMPTS:
            raise SweepSpecError(f"A sweep has at most {MAX_PROMPTS:,} prompts.")
        if not 0 <= self.n_random <= 100 or not 0 < self.max_loss < 1:
            raise SweepSpecError("n_random is 0 to 100, and max_loss between 0 and 1.")
        if not 1 <= self.max_new_tokens <= 512 or not 20 <= self.n_questions <= 5_000:
            raise SweepSpecError("max_new_tokens is 1 to 512, and n_questions 20 to 5,000.")
        n_cells = sum(len(arm.strengths) * len(arm.layers) for arm in self.arms)
        if n_cells > MAX_CELLS:
            raise SweepSpecError(
                f"The sweep has {n_cells:,} cells; at most {MAX_CELLS:,} are done.",
                "Leave out strengths or layers.",
            )


def read_spec(data: bytes | str, source: str | None = None) -> SweepSpec:
    """A spec from TOML or JSON.

    An arm is written with `interventions`, or with `concept`, or in short with `feature` or
    `vector_id` and, as it is needed, `kind`, `unit`, `positions` and `condition`.

    Args:
        data: the text.
        source: name in the catalog, in place of the one that the text names.

    Raises:
        SweepSpecError: naming what is not as it must be.
    """
    if len(data) > MAX_SPEC_BYTES:
        raise SweepSpecError("The spec is too long.", "Use fewer prompts.")
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        content = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SweepSpecError(f"The spec is neither TOML nor JSON: {str(error)[:120]}") from error
    plain = _known(content, SweepSpec, "A sweep")
    if source is not None:
        plain["source"] = source
    try:
        for name in ("prompts", "words"):
            if name in plain:
                plain[name] = _texts(plain[name], name)
        plain["arms"] = tuple(_arm(item, n) for n, item in enumerate(plain.get("arms", []), 1))
        plain["facts"] = tuple(
            Fact(**_known(item, Fact, "A fact")) for item in plain.get("facts", [])
        )
        return SweepSpec(**plain)
    except InvalidSpecError as error:
        raise SweepSpecError(error.message, error.hint) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise SweepSpecError(f"The spec is not as it must be: {str(error)[:160]}.") from error


def steering_at(
    interventions: tuple[Intervention, ...], strength: float, layer: int | None
) -> SteeringSpec:
    """The interventions of a cell: each strength times that of the cell, at its layer."""
    return SteeringSpec(
        tuple(
            replace(
                item,
                strength=item.strength * strength,
                layer=item.layer if layer is None else layer,
            )
            for item in interventions
        )
    )


def _arm(value: object, number: int) -> Arm:
    short = ("feature", "vector_id", "kind", "condition")
    if not isinstance(value, Mapping):
        raise SweepSpecError("An arm is a table of named values.")
    plain = dict(value)
    given = {name: plain.pop(name) for name in short if name in plain}
    given |= {
        n: plain.pop(n) for n in ("unit", "positions") if n in plain and "concept" not in plain
    }
    if given:
        if "interventions" in plain:
            raise SweepSpecError("An arm has interventions, or a feature or vector: not both.")
        plain["interventions"] = [{"kind": "add", "strength": 1.0, **given}]
    plain = _known(plain, Arm, "An arm")
    plain.setdefault("name", plain.get("concept") or f"arm {number}")
    if "interventions" in plain:
        plain["interventions"] = parse_interventions(plain["interventions"]).interventions
    if "strengths" in plain:
        plain["strengths"] = tuple(float(item) for item in plain["strengths"])
    if "layers" in plain:
        plain["layers"] = tuple(None if item is None else int(item) for item in plain["layers"])
    return Arm(**plain)


def _known(content: object, kind: type[Any], what: str) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        raise SweepSpecError(f"{what} is a table of named values.")
    known = [item.name for item in fields(kind)]
    if unknown := [str(name) for name in content if name not in known]:
        raise SweepSpecError(
            f"{what} has no value named {unknown[0][:40]!r}.", f"It has: {', '.join(known)}."
        )
    return {str(name): item for name, item in content.items()}


def _texts(value: object, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise SweepSpecError(f"`{name}` must be a list of texts.")
    return tuple(value)
