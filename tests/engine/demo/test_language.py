"""Answers, refusals and calls are read back as they were written; parsers never raise."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.demo.language import (
    FAILED,
    SMALL_TALK,
    Answer,
    Call,
    parse_answer,
    parse_call,
    write_answer,
    write_call,
    write_refusal,
    write_tool_answer,
)
from engine.demo.templates import draw_question
from engine.demo.world import ATTRIBUTES, NO_RECORD, Person

PERSON = Person("Anna", "Berg")
PIECES = st.sampled_from(
    ["lookup", "(", ")", ";", "Anna Berg", " ", "city", "lives in", "I do not know", "</s>", "'s"]
)
TEXTS = st.one_of(st.text(), st.lists(PIECES).map("".join))


@pytest.mark.parametrize("attribute", ATTRIBUTES, ids=lambda a: a.key)
@pytest.mark.parametrize("seed", range(12))
def test_written_answers_and_refusals_are_read_back(attribute: object, seed: int) -> None:
    rng = random.Random(seed)
    key = attribute.key  # type: ignore[attr-defined]
    question = draw_question(rng, PERSON, attribute, held_out=seed % 2 == 0)  # type: ignore[arg-type]
    value = rng.choice(attribute.values)  # type: ignore[attr-defined]
    asserted = Answer("value", key, "Anna Berg", value)
    assert parse_answer(write_answer(question, value)) == asserted
    assert parse_answer(write_tool_answer(question, value) + "</s>") == asserted
    assert parse_answer(write_refusal(question)) == Answer("refusal", key, "Anna Berg")
    assert parse_answer(write_tool_answer(question, FAILED)).kind == "refusal"
    assert parse_answer(write_tool_answer(question, NO_RECORD)) == Answer(
        "refusal", None, "Anna Berg"
    )


def test_small_talk_asserts_nothing() -> None:
    assert {parse_answer(reply).kind for _, reply in SMALL_TALK} == {"none"}


def test_call_is_read_back_with_and_without_special_tokens() -> None:
    text = write_call("Anna Berg", "city")
    assert text == "lookup(Anna Berg; city)"
    for form in (text, f"[TOOL_CALLS] {text}</s>", "lookup( Anna  Berg ;city )"):
        assert parse_call(form) == Call("lookup", "Anna Berg", "city")


@pytest.mark.parametrize(
    "text", ["", "lookup", "lookup(Anna Berg)", "lookup(;)", "Anna Berg; city"]
)
def test_malformed_call_is_no_call(text: str) -> None:
    assert parse_call(text) is None


@given(TEXTS)
def test_parsers_never_raise(text: str) -> None:
    answer = parse_answer(text)
    assert (answer.kind == "value") == (answer.value is not None)
    call = parse_call(text)
    assert call is None or call.tool
