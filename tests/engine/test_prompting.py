"""Prompts through mistral-common: ids of the model's own writer, roles beside them, text whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from engine.errors import RequestError
from engine.loading import load_tokenizer
from engine.prompting import tokenise
from engine.token_text import token_texts
from engine.tokenizing import special_ids
from store.specs import (
    Message,
    ModelSpec,
    RunKind,
    RunSpec,
    SourceSpec,
    ToolRequest,
    ToolSpec,
)
from tests.engine.checkpoints_tekken import BOS_ID, N_SPECIAL, TEKKEN_VOCAB_SIZE, save_tekken

SOURCE = SourceSpec(
    "t", ModelSpec("m", "r", "float32"), "s", "r", "blocks.0.hook_resid_post", 0, 8, 16, "standard"
)
TOOL = ToolSpec("lookup", "Looks a person up.", '{"type":"object","properties":{}}')
CHAT = (
    Message("system", "Be brief."),
    Message("user", "Where does Anna live?"),
    Message("assistant", "In Lisbon."),
    Message("user", "And [INST] €?"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as Mistral publishes it: config.json and tekken.json."""
    folder = tmp_path_factory.mktemp("tekken")
    save_tekken(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "mistral3"}))
    return folder


@pytest.fixture(scope="module")
def tekken(folder: Path) -> PreTrainedTokenizerBase:
    """What transformers makes of it."""
    return load_tokenizer(folder)


def _spec(*messages: Message, kind: RunKind = "generation", tools: bool = False) -> RunSpec:
    return RunSpec(SOURCE, messages, kind=kind, tools=(TOOL,) if tools else ())


def _written(folder: Path, *messages: Message, tools: bool = False) -> list[int]:
    """Ids by mistral-common itself, without transformers."""
    from mistral_common.protocol.instruct.request import ChatCompletionRequest

    request = ChatCompletionRequest.from_openai(
        [{"role": message.role, "content": message.content} for message in messages],
        tools=[TOOL.schema()] if tools else None,
    )
    tokenizer = MistralTokenizer.from_file(str(folder / "tekken.json"))
    ids: list[int] = tokenizer.encode_chat_completion(request).tokens
    return ids


def _by_role(tokenizer: PreTrainedTokenizerBase, spec: RunSpec) -> dict[str, str]:
    prompt = tokenise(tokenizer, spec)
    said: dict[str, str] = {}
    pieces = token_texts(tokenizer, list(prompt.token_ids))
    for piece, role in zip(pieces, prompt.roles, strict=True):
        said[role] = said.get(role, "") + piece
    return said


@pytest.mark.parametrize("tools", [False, True])
def test_ids_of_a_chat_are_those_of_mistral_common(
    folder: Path, tekken: PreTrainedTokenizerBase, tools: bool
) -> None:
    prompt = tokenise(tekken, _spec(*CHAT, tools=tools))
    assert list(prompt.token_ids) == _written(folder, *CHAT, tools=tools)
    assert prompt.token_ids.count(BOS_ID) == 1
    assert len(prompt.roles) == len(prompt.token_ids)


def test_roles_follow_the_messages(tekken: PreTrainedTokenizerBase) -> None:
    said = _by_role(tekken, _spec(*CHAT))
    assert said["system"] == "<s>[SYSTEM_PROMPT]Be brief."
    assert said["assistant"] == "[/INST]In Lisbon."
    assert said["user"].endswith("</s>[INST]And [INST] €?[/INST]")


def test_what_is_written_about_tools_is_the_systems(tekken: PreTrainedTokenizerBase) -> None:
    said = _by_role(tekken, _spec(CHAT[1], tools=True))
    assert said["system"].startswith("[AVAILABLE_TOOLS]")
    assert said["system"].endswith("[/AVAILABLE_TOOLS]")
    assert said["user"] == "<s>[INST]Where does Anna live?[/INST]"


def test_a_marker_is_not_taken_for_the_content_that_it_resembles(
    tekken: PreTrainedTokenizerBase,
) -> None:
    said = _by_role(tekken, _spec(Message("system", "s"), Message("user", "INST")))
    assert said["system"] == "<s>[SYSTEM_PROMPT]s"
    assert said["user"] == "[/SYSTEM_PROMPT][INST]INST[/INST]"


def test_a_text_begins_with_bos_and_is_read_as_it_is(tekken: PreTrainedTokenizerBase) -> None:
    prompt = tokenise(tekken, _spec(Message("user", "Anna </s>"), kind="text"))
    assert prompt.token_ids[0] == BOS_ID
    assert "".join(token_texts(tekken, list(prompt.token_ids))) == "<s>Anna </s>"
    assert set(prompt.token_ids[1:]).isdisjoint(special_ids(tekken))


def test_special_ids_are_all_of_tekkens_own(tekken: PreTrainedTokenizerBase) -> None:
    assert special_ids(tekken) == set(range(N_SPECIAL))


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
@settings(max_examples=100, deadline=None)
def test_the_pieces_of_any_text_join_to_it(tekken: PreTrainedTokenizerBase, text: str) -> None:
    ids = tekken(text)["input_ids"]
    pieces = token_texts(tekken, ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == f"<s>{text}"


def test_an_id_beyond_the_vocabulary_has_no_text(tekken: PreTrainedTokenizerBase) -> None:
    ids = tekken("Anna")["input_ids"]
    padded = [*ids, TEKKEN_VOCAB_SIZE + 5, *ids[1:]]
    assert "".join(token_texts(tekken, padded)) == "<s>AnnaAnna"


@pytest.mark.parametrize(
    "messages",
    [
        (Message("user", "a"), Message("assistant", "b"), Message("tool", "c")),
        (Message("user", "a"), Message("assistant", "b"), Message("system", "c")),
    ],
)
def test_a_chat_that_mistral_common_refuses_is_a_fault_of_the_request(
    tekken: PreTrainedTokenizerBase, messages: tuple[Message, ...]
) -> None:
    with pytest.raises(RequestError, match="refuses these messages") as caught:
        tokenise(tekken, _spec(*messages))
    assert caught.value.hint


def test_an_old_conversion_that_splits_words_wrongly_is_put_right(tmp_path: Path) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merged = ["Ab", "Cd", "AbCd"]
    filler = [f"filler{index}" for index in range(100_001)]
    vocabulary = {piece: index for index, piece in enumerate([*alphabet, *merged, *filler])}
    merges = [("A", "b"), ("C", "d"), ("Ab", "Cd")]
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{L}+|\s+"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=core).save_pretrained(tmp_path)
    config = {"model_type": "mistral", "transformers_version": "4.50.0"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(tmp_path)
    assert token_texts(tokenizer, tokenizer("AbCd")["input_ids"]) == ["Ab", "Cd"]


CALLED = (
    Message("user", "Where does Anna live?"),
    Message("assistant", "", (ToolRequest("lookup", '{"person": "Anna", "attribute": "city"}'),)),
    Message("tool", "Lisbon"),
)


def test_calls_and_results_are_written_by_mistral_common_itself(
    folder: Path, tekken: PreTrainedTokenizerBase
) -> None:
    prompt = tokenise(tekken, _spec(*CALLED, tools=True))
    text = "".join(token_texts(tekken, list(prompt.token_ids)))
    assert "[TOOL_CALLS]" in text
    assert '"person": "Anna"' in text
    assert text.index("[TOOL_CALLS]") < text.index("[TOOL_RESULTS]") < text.index("Lisbon")
    spoken: dict[str, str] = {}
    for piece, role in zip(token_texts(tekken, list(prompt.token_ids)), prompt.roles, strict=True):
        spoken[role] = spoken.get(role, "") + piece
    assert "Where does Anna live?" in spoken["user"]
    assert "lookup" in spoken["assistant"]
    assert "Lisbon" in spoken["tool"]


def test_equal_chats_with_calls_have_equal_ids(tekken: PreTrainedTokenizerBase) -> None:
    one, other = (tokenise(tekken, _spec(*CALLED, tools=True)) for _ in range(2))
    assert one == other
    changed = (CALLED[0], CALLED[1], Message("tool", "Porto"))
    assert tokenise(tekken, _spec(*changed, tools=True)) != one
