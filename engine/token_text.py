"""Token ids to the pieces of text that they stand for.

Invariant: the pieces of a sequence, joined, are its decoded text. A token that ends in the middle
of a character has an empty piece; the character stands with the token that completes it. An id that
the tokenizer does not know (models pad their vocabulary) has an empty piece too.

Source: incremental detokenisation as in https://github.com/huggingface/text-generation-inference.
"""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

_INCOMPLETE = "\ufffd"
_LONGEST_RUN = 8
"""Tokens after which an unfinished character is taken to be really broken."""


class PieceDecoder:
    """Turns tokens into text one by one; feed it every token of a sequence, from the first."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._n_known = len(tokenizer)
        self._ids: list[int] = []
        self._shown_from = 0
        self._shown_to = 0

    def push(self, token_id: int) -> str:
        """The text that this token adds."""
        self._ids.append(token_id)
        before = self._decode(self._ids[self._shown_from : self._shown_to])
        now = self._decode(self._ids[self._shown_from :])
        is_broken = len(self._ids) - self._shown_to > _LONGEST_RUN
        if now.endswith(_INCOMPLETE) and not is_broken:
            return ""
        self._shown_from = self._shown_to
        self._shown_to = len(self._ids)
        return now[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        try:
            text = self._decode_all(ids)
        except KeyError:
            # mistral-common refuses an id beyond its vocabulary; the others pass over it
            text = self._decode_all([token_id for token_id in ids if token_id < self._n_known])
        return text

    def _decode_all(self, ids: list[int]) -> str:
        text = self._tokenizer.decode(
            ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        if not isinstance(text, str):
            raise TypeError("a tokenizer decoded one sequence to several texts")
        return text


def token_texts(tokenizer: PreTrainedTokenizerBase, token_ids: list[int]) -> list[str]:
    """The piece of each token of a sequence."""
    decoder = PieceDecoder(tokenizer)
    return [decoder.push(token_id) for token_id in token_ids]
