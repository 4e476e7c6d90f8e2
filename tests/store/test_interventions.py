"""Interventions and conditions: one spelling each, refused with what would be right."""

from __future__ import annotations

import json
from typing import Any

import pytest

from store.errors import InvalidSpecError
from store.interventions import MAX_INTERVENTIONS, find_span
from store.keys import canonical_json, run_key
from store.specs import (
    Condition,
    Intervention,
    Message,
    RunSpec,
    SteeringSpec,
    parse_interventions,
)
from tests.store.samples import SOURCE

VECTOR = "0123456789abcdef0123"


def key(*items: Intervention) -> str:
    return run_key(RunSpec(SOURCE, (Message("user", "hi"),), steering=SteeringSpec(items)), "1")


def test_what_does_the_same_has_one_key() -> None:
    assert key(Intervention("ablate", 3.0, feature=1, unit="max")) == key(
        Intervention("ablate", feature=1)
    )
    assert key(Intervention("erase", 9, vector_id=VECTOR)) == key(
        Intervention("erase", vector_id=VECTOR)
    )
    assert key(Intervention("add", 1, feature=1, positions="003:007")) == key(
        Intervention("add", 1.0, feature=1, positions="3:7")
    )
    whole = Condition(1, (3, 4))
    assert key(Intervention("add", 1, feature=1, condition=whole)) == key(
        Intervention("add", 1, feature=1, condition=Condition(1.0, (3, 4), (1.0, 1.0)))
    )


PLAIN = Intervention("add", 1.0, feature=1, raw_strength=2.0)
OTHERS = {
    "kind": Intervention("scale", 1.0, feature=1, raw_strength=2.0),
    "strength": Intervention("add", 1.5, feature=1, raw_strength=2.0),
    "raw strength": Intervention("add", 1.0, feature=1, raw_strength=2.5),
    "unit": Intervention("add", 1.0, feature=1, raw_strength=2.0, unit="norm"),
    "feature": Intervention("add", 1.0, feature=2, raw_strength=2.0),
    "vector": Intervention("add", 1.0, vector_id=VECTOR, raw_strength=2.0),
    "positions": Intervention("add", 1.0, feature=1, raw_strength=2.0, positions="generated"),
    "layer": Intervention("add", 1.0, feature=1, raw_strength=2.0, layer=0),
    "condition": Intervention(
        "add", 1.0, feature=1, raw_strength=2.0, condition=Condition(0, (1,))
    ),
    "threshold": Intervention(
        "add", 1.0, feature=1, raw_strength=2.0, condition=Condition(0.5, (1,))
    ),
}


def test_every_value_of_an_intervention_is_in_the_key() -> None:
    keys = {key(PLAIN), *(key(item) for item in OTHERS.values())}
    assert len(keys) == len(OTHERS) + 1
    assert key(PLAIN, OTHERS["feature"]) != key(OTHERS["feature"], PLAIN)


REFUSED: dict[str, dict[str, Any]] = {
    "no such kind": {"kind": "push", "feature": 1},
    "no such unit": {"kind": "add", "feature": 1, "unit": "percent"},
    "NaN": {"kind": "add", "feature": 1, "strength": float("nan")},
    "infinite": {"kind": "add", "feature": 1, "strength": float("inf")},
    "too strong": {"kind": "add", "feature": 1, "strength": 1e9},
    "text as strength": {"kind": "add", "feature": 1, "strength": "2"},
    "neither": {"kind": "add", "strength": 1.0},
    "both": {"kind": "add", "strength": 1.0, "feature": 1, "vector_id": VECTOR},
    "clamp a vector": {"kind": "clamp", "strength": 1.0, "vector_id": VECTOR},
    "max of a vector": {"kind": "add", "strength": 1.0, "vector_id": VECTOR, "unit": "max"},
    "clamp by norm": {"kind": "clamp", "strength": 1.0, "feature": 1, "unit": "norm"},
    "clamp below zero": {"kind": "clamp", "strength": -1.0, "feature": 1},
    "a factor with a unit": {"kind": "scale", "strength": 2.0, "feature": 1, "unit": "max"},
    "half a feature": {"kind": "add", "strength": 1.0, "feature": 1.5},
    "a negative feature": {"kind": "add", "strength": 1.0, "feature": -1},
    "no id": {"kind": "add", "strength": 1.0, "vector_id": "happy"},
    "a list as id": {"kind": "add", "strength": 1.0, "vector_id": [1]},
    "no positions": {"kind": "add", "strength": 1.0, "feature": 1, "positions": "first"},
    "an empty span": {"kind": "add", "strength": 1.0, "feature": 1, "positions": "4:4"},
    "a negative span": {"kind": "add", "strength": 1.0, "feature": 1, "positions": "-2:4"},
    "a layer below": {"kind": "add", "strength": 1.0, "feature": 1, "layer": -2},
    "a raw NaN": {"kind": "add", "feature": 1, "raw_strength": float("nan")},
    "unknown name": {"kind": "add", "feature": 1, "amount": 2},
    "no kind": {"feature": 1},
    "condition without a threshold": {"kind": "ablate", "feature": 1, "condition": {}},
}
CONDITIONS: dict[str, dict[str, Any]] = {
    "nothing to look at": {"threshold": 0},
    "both to look at": {"threshold": 0, "features": [1], "vector_id": VECTOR},
    "a weight too many": {"threshold": 0, "features": [1], "weights": [1, 2]},
    "one feature twice": {"threshold": 0, "features": [1, 1]},
    "NaN": {"threshold": float("nan"), "features": [1]},
    "a NaN weight": {"threshold": 0, "features": [1], "weights": [float("nan")]},
    "no list": {"threshold": 0, "features": 3},
    "a cosine of features": {"threshold": 0, "features": [1], "measure": "cosine"},
    "no such side": {"threshold": 0, "features": [1], "side": "left"},
    "no such place": {"threshold": 0, "features": [1], "at": "first"},
    "too many features": {"threshold": 0, "features": list(range(1_025))},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_sense_is_refused(name: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        parse_interventions([REFUSED[name]])
    assert caught.value.field


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_that_make_no_sense_are_refused(name: str) -> None:
    with pytest.raises(InvalidSpecError):
        parse_interventions([{"kind": "ablate", "feature": 1, "condition": CONDITIONS[name]}])


@pytest.mark.parametrize("positions", ["all", "2:5", "3:"])
def test_a_gate_on_the_last_prompt_token_opens_only_what_comes_after(positions: str) -> None:
    gate = Condition(0.0, (1,), at="last_prompt")
    with pytest.raises(InvalidSpecError, match="known only from that token on"):
        Intervention("add", 1.0, feature=1, positions=positions, condition=gate)
    for allowed in ("last_prompt", "generated", "answering"):
        Intervention("add", 1.0, feature=1, positions=allowed, condition=gate)


def test_a_run_has_few_interventions_in_a_list() -> None:
    with pytest.raises(InvalidSpecError, match="at most"):
        SteeringSpec((PLAIN,) * (MAX_INTERVENTIONS + 1))
    values: tuple[object, ...] = ({}, "add", [3], [None])
    for value in values:
        with pytest.raises(InvalidSpecError):
            parse_interventions(value)


def test_what_is_stored_is_read_back() -> None:
    gate = Condition(0.5, (3, 9), (0.5, -1.0), bias=0.25, side="below", at="last_prompt")
    near = Condition(0.1, vector_id=VECTOR, measure="cosine", layer=2)
    spec = SteeringSpec(
        (
            Intervention("add", 0.5, feature=3, unit="norm", positions="answering", condition=gate),
            Intervention("erase", vector_id=VECTOR, layer=3, positions="4:9", condition=near),
        )
    )
    assert parse_interventions(json.loads(canonical_json(spec.interventions))) == spec
    assert spec.vector_ids() == (VECTOR,)


def test_spans_are_read() -> None:
    assert find_span("3:7") == (3, 7)
    assert find_span("3:") == (3, None)
    assert find_span("answering") is None
    with pytest.raises(ValueError, match="no positions"):
        find_span("x")
