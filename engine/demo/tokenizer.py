"""The tokenizer of the toy model: one token a word, in a real `tokenizers` file.

Spaces are part of the word that they stand before, so decoding gives natural text back. Names and
capitalised values may be typed in lower case. The decoded text of a call has no space after its
bracket, though inside the model the bracket is a token of its own.

Invariant: the vocabulary depends on the word lists and templates alone, not on the seed.
"""

from __future__ import annotations

import re
from pathlib import Path

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import PreTrainedTokenizerFast

from engine.demo import language, templates
from engine.demo.chat import BOS, CHAT_TEMPLATE, EOS, PAD, SPECIAL_TOKENS, UNK
from engine.demo.names import (
    CITIES,
    FIRST_NAMES,
    INSTRUMENTS,
    JOBS,
    LANGUAGES,
    SURNAMES,
    UNSEEN_SURNAMES,
)

MAX_LENGTH = 512
"""Most tokens of a chat (the model's `max_position_embeddings`)."""

WORD_START = "\u2581"
"""What stands for a space at the beginning of a token."""

_NAMES = (*FIRST_NAMES, *SURNAMES, *UNSEEN_SURNAMES)
_VALUES = (*CITIES, *JOBS, *LANGUAGES, *INSTRUMENTS)
_PIECE = re.compile(r"'s\b|[^\w\s]|\w+")


def make_vocabulary() -> dict[str, int]:
    """Return the vocabulary: token text (a leading U+2581 is a space) to id.

    Special tokens come first, then punctuation, then words in sorted order, each ordinary word
    with and without a capital.
    """
    words: set[str] = set()
    marks: set[str] = {"'s", ".", ",", ":", ";", "?", "!", "(", ")", "'", '"', "-"}
    for text in (*templates.all_texts(), *language.all_texts()):
        for piece in _PIECE.findall(re.sub(r"\{\w\}", " ", text)):
            if piece in marks:
                continue
            words |= {piece, piece.lower(), templates.capitalise(piece)}
    words |= set(_NAMES) | set(_VALUES)
    tokens = [
        *SPECIAL_TOKENS,
        *sorted(marks),
        WORD_START,
        *(WORD_START + word for word in sorted(words)),
    ]
    return {token: index for index, token in enumerate(tokens)}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer, with BOS added, special tokens and the chat template set."""
    vocabulary = make_vocabulary()
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    core.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace("\u2019", "'"),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Replace(Regex(r" +(?=[.,:;?!)])"), ""),
            normalizers.Replace(Regex(r"\( *"), "( "),
            normalizers.Strip(left=False, right=True),
            *(
                normalizers.Replace(Regex(rf"\b{word.lower()}\b"), word)
                for word in (*_NAMES, *_VALUES)
                if word != word.lower()
            ),
        ]
    )
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement=WORD_START, prepend_scheme="always", split=True),
            pre_tokenizers.Split(Regex(r"'s\b|[^\w\s\u2581]"), behavior="isolated"),
        ]
    )
    core.decoder = decoders.Sequence(
        [
            decoders.Metaspace(replacement=WORD_START, prepend_scheme="always"),
            decoders.Fuse(),
            decoders.Replace("( ", "("),
        ]
    )
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A",
        pair=f"{BOS} $A $B",
        special_tokens=[(BOS, vocabulary[BOS])],
    )
    core.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        pad_token=PAD,
        padding_side="left",
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def save_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Write the tokenizer's files into a folder and return it."""
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder)
    return tokenizer
