"""Run keys: one name for everything that defines a run, whatever way it was written."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.keys import canonical_json, run_key, source_id
from store.specs import (
    Intervention,
    Message,
    ModelSpec,
    RunSpec,
    SamplingSpec,
    SourceSpec,
    SteeringSpec,
    ToolSpec,
)
from tests.store.samples import SOURCE, renamed

SPEC = RunSpec(
    source=SOURCE,
    messages=(Message("system", "Be brief."), Message("user", "Where?")),
    tools=(ToolSpec("lookup", "Looks up.", "{}"),),
    sampling=SamplingSpec(64, 0.5, 0.9, 40, 1),
    steering=SteeringSpec((Intervention("add", 2.0, feature=3),)),
)
KEY = run_key(SPEC, "1")

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


def _source(**changes: object) -> RunSpec:
    return replace(SPEC, source=replace(SOURCE, **changes))  # type: ignore[arg-type]


def _model(**changes: object) -> RunSpec:
    return _source(model=replace(SOURCE.model, **changes))  # type: ignore[arg-type]


def _sampling(**changes: object) -> RunSpec:
    return replace(SPEC, sampling=replace(SPEC.sampling, **changes))  # type: ignore[arg-type]


OTHERS = {
    "model repository": _model(repo_id="org/other"),
    "model commit": _model(revision="c" * 40),
    "dtype": _model(dtype="bfloat16"),
    "SAE repository": _source(sae_id="org/other"),
    "SAE commit": _source(sae_revision="c" * 40),
    "hook": _source(hook_name="blocks.2.hook_resid_post"),
    "cap": _source(max_active=64),
    "message text": replace(SPEC, messages=(SPEC.messages[0], Message("user", "where?"))),
    "message role": replace(SPEC, messages=(Message("user", "Be brief."), SPEC.messages[1])),
    "message order": replace(SPEC, messages=(Message("user", "Where?"), Message("user", "Be."))),
    "message count": replace(SPEC, messages=SPEC.messages[1:]),
    "no tools": replace(SPEC, tools=()),
    "tool schema": replace(SPEC, tools=(ToolSpec("lookup", "Looks up.", '{"a":1}'),)),
    "max_new_tokens": _sampling(max_new_tokens=65),
    "temperature": _sampling(temperature=0.6),
    "top_p": _sampling(top_p=0.8),
    "top_k": _sampling(top_k=41),
    "seed": _sampling(seed=2),
    "no steering": replace(SPEC, steering=SteeringSpec()),
    "strength": replace(SPEC, steering=SteeringSpec((Intervention("add", 2.5, feature=3),))),
    "steered feature": replace(SPEC, steering=SteeringSpec((Intervention("add", 2.0, feature=4),))),
    "kind": RunSpec(SOURCE, (Message("user", "Where?"),), kind="text"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_change_of_any_value_gives_another_key(name: str) -> None:
    assert run_key(OTHERS[name], "1") != KEY


def test_all_these_keys_differ_from_each_other() -> None:
    keys = {run_key(spec, "1") for spec in OTHERS.values()}
    assert len(keys) == len(OTHERS)


def test_another_version_of_the_numerics_gives_another_key() -> None:
    assert run_key(SPEC, "2") != KEY


def test_the_nickname_of_a_source_is_not_in_the_key() -> None:
    assert run_key(replace(SPEC, source=renamed("other")), "1") == KEY
    assert source_id(renamed("other")) != source_id(SOURCE)


def test_a_key_stays_what_it_is_between_versions() -> None:
    plain = RunSpec(
        SourceSpec("n", ModelSpec("m", "r", "float32"), "s", "r", "h", 1, 2, 3, "topk"),
        (Message("user", "hi"),),
    )
    assert run_key(plain, "1") == (
        "e8999f2e09e7ce7d0363c0d79f53b695a42be963c640c53bb8a00f2b329fc838"
    )


def test_whole_numbers_have_one_spelling() -> None:
    whole = replace(SPEC, sampling=SamplingSpec(64, 1, 1, 40, 1))
    decimal = replace(SPEC, sampling=SamplingSpec(64.0, 1.0, 1.0, 40.0, 1.0))  # type: ignore[arg-type]
    assert run_key(whole, "1") == run_key(decimal, "1")
    assert canonical_json({"a": 1.0, "b": -0.0}) == canonical_json({"b": 0, "a": 1})


@given(value=st.dictionaries(st.text(max_size=4), JSON_VALUES, max_size=5))
def test_the_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    turned = dict(reversed(value.items()))
    assert canonical_json(turned) == canonical_json(value)
    assert json.loads(canonical_json(value)) == value


@given(left=JSON_VALUES, right=JSON_VALUES)
def test_different_values_have_different_json(left: object, right: object) -> None:
    # Python says True == 1; JSON does not
    if json.dumps(left, sort_keys=True) != json.dumps(right, sort_keys=True):
        assert canonical_json(left) != canonical_json(right)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")]])
def test_numbers_that_are_not_finite_have_no_json(value: object) -> None:
    with pytest.raises(ValueError, match="no canonical JSON"):
        canonical_json(value)


@pytest.mark.parametrize("value", [b"x", {1: 2}, {1, 2}, object()])
def test_what_is_not_json_has_none(value: object) -> None:
    with pytest.raises(TypeError):
        canonical_json(value)
