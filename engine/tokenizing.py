"""What a tokenizer can do, whichever library it comes from: chats, special tokens, known ids.

Most tokenizers are transformers' own, with a chat template in Jinja. Mistral's newer ones come from
mistral-common, which writes chats itself and knows neither templates nor offsets.

Invariant: a tokenizer that lost the token which begins every text of its model is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from engine.errors import UnsupportedError
from engine.file_names import shown_name

_TEKKEN_FILES = "tekken*.json"
_PROBE = "a"


def is_mistral_common(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether mistral-common is behind it."""
    # asked by name: importing that library takes seconds, and most models never need it
    return getattr(tokenizer, "backend", None) == "mistral_common"


def reads_chats(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether it can write a chat of several messages as the model was trained to read it."""
    return is_mistral_common(tokenizer) or bool(tokenizer.chat_template)


def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids of tokens that mark structure: BOS, end, padding, and a chat template's markers."""
    if is_mistral_common(tokenizer):
        return frozenset(tokenizer.all_special_ids)
    added = tokenizer.added_tokens_decoder
    marked = {token_id for token_id, token in added.items() if token.special}
    return frozenset(marked.union(tokenizer.all_special_ids))


def begins_with_bos(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int]) -> bool:
    """Whether the first token is the one that begins every text."""
    bos_id = tokenizer.bos_token_id
    return bos_id is not None and bool(token_ids) and token_ids[0] == bos_id


def check_beginning(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Refuses a tokenizer of Mistral's tekken kind that was read without its special tokens.

    Raises:
        UnsupportedError: if a text does not begin with BOS.
    """
    if not any(folder.glob(_TEKKEN_FILES)) and not is_mistral_common(tokenizer):
        return
    ids = tokenizer(_PROBE)["input_ids"]
    if tokenizer.bos_token_id is not None and list(ids)[:1] == [tokenizer.bos_token_id]:
        return
    raise UnsupportedError(
        f"The tokenizer of {shown_name(folder)!r} was read without the token that begins "
        "every text.",
        "Name its file tekken.json, keep no other tokenizer beside it, and check that the package "
        "mistral-common is installed.",
    )
