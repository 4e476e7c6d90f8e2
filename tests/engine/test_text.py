"""Tokens to text, messages to tokens: pieces join to the text, roles follow the messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from engine.errors import RequestError, UnsupportedError
from engine.prompting import tokenise
from engine.token_text import token_texts
from store.specs import Message, ModelSpec, RunKind, RunSpec, SourceSpec, ToolSpec

SOURCE = SourceSpec(
    "t", ModelSpec("m", "r", "float32"), "s", "r", "blocks.0.hook_resid_post", 0, 8, 16, "standard"
)
TOOL = ToolSpec("lookup", "Looks a person up.", '{"type":"object"}')


@pytest.fixture(scope="module")
def chat(checkpoints: Path) -> PreTrainedTokenizerBase:
    """A byte-level tokenizer with a chat template."""
    return AutoTokenizer.from_pretrained(checkpoints / "llama")


@pytest.fixture(scope="module")
def plain(checkpoints: Path) -> PreTrainedTokenizerBase:
    """The same without a chat template."""
    return AutoTokenizer.from_pretrained(checkpoints / "gpt2")


def _spec(*messages: Message, kind: RunKind = "generation", tools: bool = False) -> RunSpec:
    return RunSpec(SOURCE, messages, kind=kind, tools=(TOOL,) if tools else ())


@given(text=st.text(min_size=1, max_size=60))
@settings(max_examples=150, deadline=None)
def test_the_pieces_of_any_text_join_to_its_decoding(
    chat: PreTrainedTokenizerBase, text: str
) -> None:
    ids = chat(text)["input_ids"]
    pieces = token_texts(chat, ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == chat.decode(ids, clean_up_tokenization_spaces=False)


def test_a_character_of_several_tokens_stands_with_its_last(chat: PreTrainedTokenizerBase) -> None:
    ids = chat("€")["input_ids"]
    assert len(ids) == 3
    assert token_texts(chat, ids) == ["", "", "€"]


def test_bytes_that_are_no_character_do_not_swallow_what_follows(
    chat: PreTrainedTokenizerBase,
) -> None:
    broken = chat("€")["input_ids"][0]
    ids = [broken] * 12 + chat("hello")["input_ids"]
    assert "".join(token_texts(chat, ids)).endswith("hello")


def test_chat_ids_are_those_of_the_template_and_roles_follow_the_messages(
    chat: PreTrainedTokenizerBase,
) -> None:
    messages = (
        Message("system", "Be brief."),
        Message("user", "Where does Anna live?"),
        Message("assistant", "In Lisbon."),
        Message("user", "And Karim?"),
    )
    prompt = tokenise(chat, _spec(*messages))
    expected = chat.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in messages],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=False,
    )
    assert list(prompt.token_ids) == expected
    pieces = token_texts(chat, list(prompt.token_ids))
    for message in messages:
        said = "".join(
            p for p, role in zip(pieces, prompt.roles, strict=True) if role == message.role
        )
        assert message.content in said


def test_what_the_template_writes_about_tools_is_the_systems(
    chat: PreTrainedTokenizerBase,
) -> None:
    prompt = tokenise(chat, _spec(Message("user", "Where does Anna live?"), tools=True))
    pieces = token_texts(chat, list(prompt.token_ids))
    system = "".join(p for p, role in zip(pieces, prompt.roles, strict=True) if role == "system")
    user = "".join(p for p, role in zip(pieces, prompt.roles, strict=True) if role == "user")
    assert "tools" in system
    assert "Where does Anna live?" in user


def test_a_text_is_read_as_it_is(chat: PreTrainedTokenizerBase) -> None:
    prompt = tokenise(chat, _spec(Message("user", "As it is."), kind="text"))
    assert list(prompt.token_ids) == chat("As it is.")["input_ids"]


def test_a_model_without_a_template_completes_one_text(plain: PreTrainedTokenizerBase) -> None:
    prompt = tokenise(plain, _spec(Message("user", "Anna lives in")))
    assert list(prompt.token_ids) == plain("Anna lives in")["input_ids"]


def test_a_model_without_a_template_refuses_a_chat(plain: PreTrainedTokenizerBase) -> None:
    with pytest.raises(UnsupportedError, match="no chat template") as caught:
        tokenise(
            plain,
            _spec(Message("user", "a"), Message("assistant", "b"), Message("user", "c")),
        )
    assert "Ask one question with tools off" in caught.value.hint


def test_what_a_template_refuses_is_a_fault_of_the_request(
    chat: PreTrainedTokenizerBase,
) -> None:
    strict = chat.chat_template
    chat.chat_template = "{{ raise_exception('roles must alternate') }}"
    try:
        with pytest.raises(RequestError, match="must alternate"):
            tokenise(chat, _spec(Message("user", "a")))
    finally:
        chat.chat_template = strict
