"""The tokenizer and its chat template: natural text back, and calls rendered as trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from engine.demo import MODEL_DIR
from engine.demo.chat import Message, render_chat
from engine.demo.corpus import Corpus
from engine.demo.examples import EXAMPLES, LOOKUP_TOOL
from engine.demo.tokenizer import make_vocabulary, save_tokenizer
from engine.demo.world import World

CALL = {"name": "lookup", "arguments": {"person": "Anna Berg", "attribute": "city"}}
CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": "Say only what you know."},
    {"role": "user", "content": "Where does Anna Berg live?"},
    {"role": "assistant", "tool_calls": [{"type": "function", "function": CALL}]},
    {"role": "tool", "content": "Lisbon"},
    {"role": "assistant", "content": "Anna Berg lives in Lisbon."},
    {"role": "user", "content": "And the job?"},
]
RENDERED = (
    "<s>[SYSTEM_PROMPT] Say only what you know.[/SYSTEM_PROMPT]"
    "[AVAILABLE_TOOLS] lookup(person; attribute)[/AVAILABLE_TOOLS]"
    "[INST] Where does Anna Berg live?[/INST][TOOL_CALLS] lookup(Anna Berg; city)</s>"
    "[TOOL_RESULTS] Lisbon[/TOOL_RESULTS] Anna Berg lives in Lisbon.</s>[INST] And the job?[/INST]"
)


def test_training_texts_round_trip_without_unknown_words(
    world: World, tokenizer: PreTrainedTokenizerFast
) -> None:
    corpus = Corpus(world, seed=9)
    texts = [text for text in (corpus.draw() for _ in range(800)) if "<unk>" not in text]
    encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
    decoded = [text.lower() for text in tokenizer.batch_decode(encoded)]
    assert decoded == [text.lower() for text in texts]
    assert not any(tokenizer.unk_token_id in ids for ids in encoded)
    assert max(map(len, encoded)) < 300


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("Where does Anna Berg live?", "Where does Anna Berg live?"),
        (" where does anna  berg live ?\n", "where does Anna Berg live?"),
        ("What\u2019s Anna Berg's job", "What's Anna Berg's job"),
        ("lookup(Anna Berg; city)", "lookup(Anna Berg; city)"),
        ("Where does Bilbo live?", "Where does<unk> live?"),
    ],
)
def test_typed_text_is_read_forgivingly(
    tokenizer: PreTrainedTokenizerFast, typed: str, read: str
) -> None:
    ids = tokenizer(typed)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids[1:]) == read


def test_offsets_point_into_the_typed_text(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "[INST] where does anna berg live?[/INST]"
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    pieces = [text[start:end].strip() for start, end in encoded["offset_mapping"]]
    assert pieces == ["[INST]", "where", "does", "anna", "berg", "live", "?", "[/INST]"]


def test_template_renders_calls_as_they_were_trained(tokenizer: PreTrainedTokenizerFast) -> None:
    text = tokenizer.apply_chat_template(
        CHAT, tools=[LOOKUP_TOOL], tokenize=False, add_generation_prompt=True
    )
    assert text == RENDERED
    encoded: Any = tokenizer.apply_chat_template(
        CHAT, tools=[LOOKUP_TOOL], add_generation_prompt=True, return_dict=True
    )
    ids = encoded["input_ids"]
    assert tokenizer.decode(ids) == RENDERED
    assert tokenizer(RENDERED, add_special_tokens=False)["input_ids"] == ids


def test_template_and_plain_rendering_agree(tokenizer: PreTrainedTokenizerFast) -> None:
    chat = (
        Message("system", CHAT[0]["content"]),
        Message("user", CHAT[1]["content"]),
        Message("call", "lookup(Anna Berg; city)"),
        Message("tool", "Lisbon"),
        Message("assistant", CHAT[4]["content"]),
        Message("user", CHAT[5]["content"]),
    )
    assert render_chat(chat, tools=True) == RENDERED
    without = tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
    assert render_chat(chat, tools=False) == without


def test_committed_tokenizer_is_the_one_that_the_code_makes(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (tmp_path / name).read_text() == (MODEL_DIR / name).read_text()


def test_auto_tokenizer_loads_the_committed_folder() -> None:
    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR, local_files_only=True)
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<s>", "</s>")
    assert (tokenizer.pad_token, tokenizer.unk_token) == ("<pad>", "<unk>")
    assert len(tokenizer) == len(make_vocabulary())
    for example in EXAMPLES:
        ids = tokenizer(example.prompt)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == example.prompt
