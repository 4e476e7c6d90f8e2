"""Interventions as they are edited: their link holds all of them, and no text breaks it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.steer_draft import (
    DraftRow,
    SteerDraft,
    describe,
    draft_of,
    edited,
    fit,
    parse_steer,
    strength_range,
    to_steer,
    units_of,
)
from store.errors import InvalidSpecError
from store.specs import Condition, SamplingSpec, parse_interventions

NUMBERS = st.floats(-1000, 1000)
CONDITIONS = st.builds(
    Condition,
    threshold=NUMBERS,
    features=st.lists(st.integers(0, 999), min_size=1, max_size=4, unique=True).map(tuple),
    side=st.sampled_from(["above", "below"]),
    at=st.sampled_from(["here", "last_prompt"]),
)
ROWS = st.builds(
    DraftRow,
    kind=st.sampled_from(["add", "clamp", "ablate", "scale", "erase"]),
    strength=st.floats(0, 1000),
    feature=st.none() | st.integers(0, 10_000),
    unit=st.sampled_from(["norm", "max", "raw"]),
    positions=st.sampled_from(["answering", "last_prompt", "generated"]),
    layer=st.none() | st.integers(0, 40),
    condition=st.none() | CONDITIONS,
).map(fit)


@given(st.lists(ROWS, max_size=4), st.integers(1, 4096), st.integers(0, 99))
def test_every_draft_survives_its_link(rows: list[DraftRow], n_tokens: int, seed: int) -> None:
    draft = SteerDraft(
        tuple(_settled(row) for row in rows), SamplingSpec(max_new_tokens=n_tokens, seed=seed)
    )
    read, problem = parse_steer(to_steer(draft))
    assert problem is None
    assert read == draft


def _settled(row: DraftRow) -> DraftRow:
    """What has no strength has the one that interventions without any have."""
    if row.has_strength:
        return row
    return DraftRow(
        row.kind,
        0.0 if row.kind == "ablate" else 1.0,
        row.feature,
        None,
        "raw",
        row.positions,
        row.layer,
        row.condition,
    )


@given(st.text(max_size=200))
def test_no_text_breaks_a_link(text: str) -> None:
    draft, problem = parse_steer(text)
    assert problem is None or draft == SteerDraft()


@pytest.mark.parametrize(
    "text",
    [
        "3",
        "{",
        '[{"kind":"jump","feature":1}]',
        '[{"kind":"add","feature":1,"strength":NaN}]',
        '[{"kind":"add","feature":1,"vector_id":"00000000000000000000"}]',
        '{"interventions":3}',
        '{"sampling":{"max_new_tokens":0}}',
        "[" * 5000,
    ],
)
def test_what_is_no_intervention_is_said_in_a_sentence(text: str) -> None:
    draft, problem = parse_steer(text)
    assert draft == SteerDraft()
    assert problem is not None
    assert problem.startswith("The link's interventions")


def test_a_list_as_other_pages_write_it_is_read() -> None:
    steer = json.dumps([{"kind": "add", "feature": 7, "unit": "max", "strength": 1}])
    draft, problem = parse_steer(steer)
    assert problem is None
    assert [(row.feature, row.unit, row.positions) for row in draft.rows] == [(7, "max", "all")]


def test_a_row_without_a_target_is_kept_but_cannot_be_run() -> None:
    draft = SteerDraft((DraftRow(),))
    assert parse_steer(to_steer(draft))[0] == draft
    with pytest.raises(InvalidSpecError, match="Intervention 1 has no feature"):
        draft.steering()


def test_a_row_of_a_stored_run_gives_up_its_raw_strength_once_it_is_changed() -> None:
    plain = [{"kind": "add", "feature": 7, "unit": "norm", "strength": 0.5, "raw_strength": 3.25}]
    [row] = draft_of(parse_interventions(plain)).rows
    assert row.raw_strength == 3.25
    assert edited(row, DraftRow("add", 0.5, 7, None, "norm", "all")).raw_strength == 3.25
    assert edited(row, DraftRow("add", 0.6, 7, None, "norm", "all")).raw_strength is None


def test_units_follow_the_kind() -> None:
    assert units_of("add", is_feature=True) == ("norm", "max", "raw")
    assert units_of("add", is_feature=False) == ("norm", "raw")
    assert fit(DraftRow("clamp", 1.0, 3, None, "norm")).unit == "max"
    assert fit(DraftRow("scale", 1.0, None, "0" * 20)).kind == "add"
    low, high, _ = strength_range("add", "norm", 7.5)
    assert (low, high) == (-2.0, 7.5)


def test_rows_are_described_in_words() -> None:
    gate = Condition(0.25, features=(3,), at="last_prompt")
    said = describe(DraftRow("add", 0.5, 7, condition=gate), "feature 7")
    assert said == (
        "adds 0.5 mean residual norms of feature 7, on the answer, from the last prompt token on, "
        "where feature 3 is above 0.25 on the last prompt token"
    )
