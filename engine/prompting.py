"""Messages to token ids, each with the role of the message that it belongs to.

Invariant: the ids are exactly what the model's own chat template gives; roles are found beside
them and never change them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, takewhile
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from engine.chat_messages import spoken_texts, to_template_messages
from engine.errors import RequestError, UnsupportedError
from engine.token_text import token_texts
from engine.tokenizing import is_mistral_common, reads_chats, special_ids
from store.specs import Message, RunSpec

_CALL_END = re.compile(r"[\s)}\]\"']*(?:</tool_call>)?\s*(?:</s>|<\|im_end\|>|<\|eo[tm]_id\|>)?")
"""What follows the last value of a call, up to the end of the message that makes it."""
_HIDDEN = "\x00"
"""Stands for a special token where contents are looked for: no content has it."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A tokenised prompt: ids and, of equal length, the role of each."""

    token_ids: tuple[int, ...]
    roles: tuple[str, ...]


def tokenise(tokenizer: PreTrainedTokenizerBase, spec: RunSpec) -> Prompt:
    """Renders and tokenises what a run starts from.

    A `text` run, and a single message to a model without a chat template, is taken as it is, with
    the tokenizer's own special tokens (such as BOS).

    Raises:
        UnsupportedError: for a chat or tools where the tokenizer has no chat template.
        RequestError: if the template refuses the messages, or nothing is left of them.
    """
    if spec.kind == "text" or not reads_chats(tokenizer):
        if spec.tools or len(spec.messages) != 1:
            raise UnsupportedError(
                "This model has no chat template: it reads one text, without tools.",
                "Ask one question with tools off, or use an instruction-tuned model.",
            )
        content = spec.messages[0].content
        plain = tuple(tokenizer(content)["input_ids"])
        if not plain:
            raise RequestError("Nothing is left of the prompt as tokens.", "Type some words.")
        return Prompt(plain, (spec.messages[0].role,) * len(plain))
    # only tokenizers of the library of that name know where in a text their tokens begin
    read = _read_template if getattr(tokenizer, "is_fast", False) else _read_ids
    ids, starts, text = read(tokenizer, spec, with_tools=True)
    spans = role_spans(text, spec.messages)
    roles = [_role_at(spans, start) for start in starts]
    if spec.tools:
        bare, _, _ = read(tokenizer, spec, with_tools=False)
        start, end = _inserted(bare, ids)
        roles[start:end] = ["system"] * (end - start)
    return Prompt(tuple(ids), tuple(roles))


def _read_template(
    tokenizer: PreTrainedTokenizerBase, spec: RunSpec, with_tools: bool
) -> tuple[list[int], list[int], str]:
    """Ids by a Jinja template, the character that each begins at, and the rendered text."""
    text = _apply_template(tokenizer, spec, with_tools, is_tokenised=False)
    if not isinstance(text, str):
        raise TypeError("a chat template rendered no text")
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return list(encoded["input_ids"]), [start for start, _ in encoded["offset_mapping"]], text


def _read_ids(
    tokenizer: PreTrainedTokenizerBase, spec: RunSpec, with_tools: bool
) -> tuple[list[int], list[int], str]:
    """The same where ids come first: mistral-common never tokenises a text that it rendered."""
    ids = _apply_template(tokenizer, spec, with_tools, is_tokenised=True)
    if not isinstance(ids, list):
        raise TypeError("a chat template gave no token ids")
    hidden = special_ids(tokenizer)
    pieces = [
        _HIDDEN * len(piece) if token_id in hidden else piece
        for token_id, piece in zip(ids, token_texts(tokenizer, ids), strict=True)
    ]
    starts = accumulate((len(piece) for piece in pieces[:-1]), initial=0)
    return ids, list(starts), "".join(pieces)


def _apply_template(
    tokenizer: PreTrainedTokenizerBase, spec: RunSpec, with_tools: bool, is_tokenised: bool
) -> object:
    tools: list[dict[Any, Any] | Callable[..., Any]] = []
    if with_tools:
        tools += [dict(tool.schema()) for tool in spec.tools]
    refusals: tuple[type[Exception], ...] = (TemplateError, ValueError, KeyError, TypeError)
    if is_mistral_common(tokenizer):
        from mistral_common.exceptions import MistralCommonException

        refusals = (*refusals, MistralCommonException)
    try:
        return tokenizer.apply_chat_template(
            to_template_messages(spec.messages),
            tools=tools or None,
            tokenize=is_tokenised,
            add_generation_prompt=True,
            return_dict=False,
        )
    except refusals as error:
        reason = f"it needs {error}" if isinstance(error, KeyError) else str(error)[:200]
        raise RequestError(
            f"The model's chat template refuses these messages: {reason}",
            "Let user and assistant take turns, with a system message only at the start.",
        ) from error


def role_spans(text: str, messages: tuple[Message, ...]) -> list[tuple[int, str]]:
    """Where the content of each message ends in the rendered text, with its role, in order.

    What stands before a content (its markers) counts to it; what follows the last one too.
    """
    spans: list[tuple[int, str]] = []
    cursor = 0
    for message in messages:
        for spoken in spoken_texts(message):
            found = text.find(spoken, cursor)
            if found >= 0:
                cursor = found + len(spoken)
        if message.tool_calls and (ending := _CALL_END.match(text, cursor)):
            cursor = ending.end()
        spans.append((cursor, message.role))
    return spans


def _role_at(spans: list[tuple[int, str]], char: int) -> str:
    for end, role in spans:
        if char < end:
            return role
    return spans[-1][1]


def _inserted(without: list[int], with_tools: list[int]) -> tuple[int, int]:
    """The span of `with_tools` that `without` lacks: what the template wrote about tools."""
    start = _n_common(without, with_tools)
    tail = _n_common(without[start:][::-1], with_tools[start:][::-1])
    return start, len(with_tools) - tail


def _n_common(left: list[int], right: list[int]) -> int:
    """How many items two lists share from their start."""
    equal = (one == other for one, other in zip(left, right, strict=False))
    return sum(1 for _ in takewhile(bool, equal))
