"""Calls of tools in generated text: every format read, and nothing else taken for one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.demo_source import demo_tools
from engine.tools.calls import MARK, parse_calls
from engine.tools.offers import introspection_tools
from store.specs import ToolRequest

LOOKUP = demo_tools()
OFFERED = (*LOOKUP, *introspection_tools())
CALL = '{"name": "lookup", "arguments": {"person": "Anna Berg", "attribute": "city"}}'
EXPECTED = ("lookup", {"person": "Anna Berg", "attribute": "city"})

WRITTEN = {
    "an array of Mistral's": f"[TOOL_CALLS][{CALL}]</s>",
    "an array with ids": f'[TOOL_CALLS] [{CALL[:-1]}, "id": "abcdefghi"}}]</s>',
    "an object": f"[TOOL_CALLS] {CALL}",
    "name and arguments": (
        '[TOOL_CALLS]lookup[ARGS]{"person": "Anna Berg", "attribute": "city"}</s>'
    ),
    "name, id and arguments": (
        '[TOOL_CALLS]lookup[CALL_ID]abc123def[ARGS]{"person": "Anna Berg", "attribute": "city"}'
    ),
    "the demo's": "[TOOL_CALLS] lookup(Anna Berg; city)</s>",
    "tags": f"<tool_call>\n{CALL}\n</tool_call><|im_end|>",
    "an open tag": f"<tool_call>{CALL}",
    "bare JSON": CALL,
    "bare JSON of Llama's": "<|python_tag|>" + CALL.replace("arguments", "parameters"),
    "bare JSON in a fence": f"```json\n{CALL}\n```",
    "OpenAI's form": f'[TOOL_CALLS][{{"type": "function", "function": {CALL}}}]',
    "arguments as text": (
        '[TOOL_CALLS][{"name": "lookup", "arguments": '
        '"{\\"person\\": \\"Anna Berg\\", \\"attribute\\": \\"city\\"}"}]'
    ),
}


def _plain(call: ToolRequest) -> tuple[str, object]:
    return call.name, json.loads(call.arguments)


@pytest.mark.parametrize("form", WRITTEN)
def test_each_form_of_a_call_is_read(form: str) -> None:
    parsed = parse_calls(WRITTEN[form], OFFERED)
    assert [_plain(call) for call in parsed.calls] == [EXPECTED]
    assert parsed.malformed is None


def test_several_calls_are_read_in_order() -> None:
    texts = (
        f"[TOOL_CALLS][{CALL}, {CALL}]",
        "[TOOL_CALLS] lookup(Anna Berg; city) lookup(Anna Berg; city)</s>",
        '[TOOL_CALLS]lookup[ARGS]{"person":"Anna Berg","attribute":"city"}' * 2,
        f"<tool_call>{CALL}</tool_call>\n<tool_call>{CALL}</tool_call>",
    )
    for text in texts:
        assert [_plain(call) for call in parse_calls(text, OFFERED).calls] == [EXPECTED] * 2


def test_what_was_said_before_a_call_is_kept() -> None:
    assert parse_calls(f"I will look.[TOOL_CALLS][{CALL}]", OFFERED).before == "I will look."


@pytest.mark.parametrize(
    "text",
    [
        "[TOOL_CALLS] lookup(Anna Be",
        "[TOOL_CALLS]",
        "[TOOL_CALLS][TOOL_CALLS]",
        '[TOOL_CALLS][{"name": "lookup", "arguments": {"person": "An',
        '[TOOL_CALLS][{"arguments": {}}]',
        '[TOOL_CALLS][{"name": "rm -rf /", "arguments": {}}]',
        '[TOOL_CALLS]lookup[ARGS]["no", "object"]',
        '[TOOL_CALLS][{"name": "lookup", "arguments": {"person": NaN}}]',
        '[TOOL_CALLS][{"name": "lookup", "arguments": {"person": "\\ud800"}}]',
        "[TOOL_CALLS]" + "[" * 100_000,
        "[TOOL_CALLS]" + '{"name":' * 50_000,
        f"<tool_call>{CALL[:40]}</tool_call>",
        '{"name": "lookup", "argumen',
    ],
    ids=lambda text: text[:30],
)
def test_a_call_that_cannot_be_read_is_malformed_and_nothing_else(text: str) -> None:
    parsed = parse_calls(text, OFFERED)
    assert parsed.calls == ()
    assert parsed.malformed is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Anna Berg lives in Lisbon.",
        "You can call lookup(Anna Berg; city) to see it.",
        f"Write {CALL} to call it.",
        f"{CALL} is how a call looks.",
        '{"name": "Anna", "city": "Lisbon"}',
        '{"name": "delete_everything", "arguments": {}}',
        '[{"city": "Lisbon"}]',
        "TOOL_CALLS lookup(Anna Berg; city)",
    ],
)
def test_speech_and_data_are_no_calls(text: str) -> None:
    assert parse_calls(text, OFFERED).is_empty


def test_bare_json_is_a_call_only_of_what_was_offered() -> None:
    assert parse_calls(CALL, OFFERED).calls
    assert parse_calls(CALL, ()).is_empty
    assert parse_calls(CALL, introspection_tools()).is_empty


PIECES = st.sampled_from(
    [MARK, "<tool_call>", "</tool_call>", "[ARGS]", "[CALL_ID]", "</s>", "{", "}", "[", "]", '"',
     '"name"', ":", "lookup", "(", ";", ")", CALL, "\\", "\x00", "\ud800", "null", "arguments"]
)  # fmt: skip
HOSTILE = st.lists(PIECES | st.text(max_size=6), max_size=24).map("".join)
MARKS = (MARK, "<tool_call>")


@given(HOSTILE | st.text())
def test_no_text_raises_and_what_is_read_can_be_kept(text: str) -> None:
    parsed = parse_calls(text, OFFERED)
    for call in parsed.calls:
        assert call.name.isascii()
        call.arguments.encode()
        assert isinstance(json.loads(call.arguments), dict)
    assert parsed.malformed is None or not parsed.calls
    (parsed.malformed or "").encode()


@given(st.text() | HOSTILE)
def test_text_without_a_mark_that_is_no_json_holds_no_call(text: str) -> None:
    for mark in MARKS:
        text = text.replace(mark, "")
    if any(mark in text for mark in MARKS):
        return
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        assert parse_calls(f"Anna says {text}", OFFERED).is_empty


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**53), 2**53)
            | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=6,
        ),
        max_size=4,
    )
)  # fmt: skip
def test_any_arguments_come_back_as_they_were(arguments: dict[str, object]) -> None:
    written = json.dumps([{"name": "lookup", "arguments": arguments}], ensure_ascii=False)
    [call] = parse_calls(f"{MARK}{written}</s>", OFFERED).calls
    assert json.loads(call.arguments) == arguments
