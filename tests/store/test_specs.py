"""Specs refuse what no run should be made of, naming the field."""

from __future__ import annotations

import pytest

from store.errors import InvalidSpecError
from store.specs import MAX_TEXT_CHARS, Intervention, Message, RunSpec, SamplingSpec
from tests.store.samples import SOURCE


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_new_tokens", 0),
        ("max_new_tokens", 1.5),
        ("max_new_tokens", True),
        ("max_new_tokens", "8"),
        ("max_new_tokens", 10**9),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("temperature", 11),
        ("temperature", 10**400),
        ("top_p", 0),
        ("top_p", 1.1),
        ("top_p", float("nan")),
        ("top_k", -1),
        ("top_k", None),
        ("seed", -1),
        ("seed", 2**63),
        ("seed", float("nan")),
    ],
)
def test_a_sampling_value_out_of_range_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidSpecError, match=field) as caught:
        SamplingSpec(**{field: value})  # type: ignore[arg-type]
    assert caught.value.field == field


def test_numbers_are_coerced_to_their_type() -> None:
    spec = SamplingSpec(max_new_tokens=8.0, temperature=1, top_p=1, seed=3.0)  # type: ignore[arg-type]
    assert [type(value) for value in (spec.max_new_tokens, spec.temperature, spec.seed)] == [
        int,
        float,
        int,
    ]


def _spec(*messages: Message, kind: str = "generation") -> RunSpec:
    return RunSpec(SOURCE, messages, kind=kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
def test_an_empty_prompt_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpecError, match="empty"):
        _spec(Message("user", text))


def test_no_message_at_all_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="empty"):
        _spec()


def test_ten_megabytes_of_text_are_refused_with_the_limit() -> None:
    with pytest.raises(InvalidSpecError, match=f"{MAX_TEXT_CHARS:,}"):
        _spec(Message("user", "x" * 10_000_000))
    half = "x" * (MAX_TEXT_CHARS // 2 + 1)
    with pytest.raises(InvalidSpecError, match="characters"):
        _spec(Message("user", half), Message("assistant", "y"), Message("user", half))


def test_half_a_character_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="half a character"):
        Message("user", "a\ud800b")


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="robot"):
        Message("robot", "hi")  # type: ignore[arg-type]


def test_a_chat_that_ends_with_the_assistant_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="assistant's"):
        _spec(Message("user", "a"), Message("assistant", "b"))


def test_a_text_run_reads_one_message() -> None:
    with pytest.raises(InvalidSpecError, match="exactly one"):
        _spec(Message("user", "a"), Message("user", "b"), kind="text")


def test_a_strength_that_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="strength"):
        Intervention("add", float("nan"), feature=1)
