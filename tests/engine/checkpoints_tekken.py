"""A small tekken.json: Mistral's own tokenizer format, as mistral-common reads it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

BOS_ID, EOS_ID, PAD_ID = 1, 2, 11
N_SPECIAL = 32
SPECIAL_TOKENS = (
    "<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] "
    "[/TOOL_RESULTS] [TOOL_CALLS] [IMG] <pad> [IMG_BREAK] [IMG_END] [PREFIX] [MIDDLE] [SUFFIX] "
    "[SYSTEM_PROMPT] [/SYSTEM_PROMPT] [TOOL_CONTENT] [ARGS] [CALL_ID]"
).split()
_MERGED = ("th", "the", " the", "er", "in", " A", "An", "Anna", " L", "is", "bo", "on", " Lis")
_PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN_VOCAB_SIZE = N_SPECIAL + 256 + len(_MERGED)


def save_tekken(folder: Path, name: str = "tekken.json") -> None:
    """Writes the tokenizer: 32 special tokens, the 256 bytes, and a few longer pieces."""
    pieces = [bytes([value]) for value in range(256)] + [text.encode() for text in _MERGED]
    content = {
        "config": {
            "pattern": _PATTERN,
            "num_vocab_tokens": len(pieces),
            "default_vocab_size": TEKKEN_VOCAB_SIZE,
            "default_num_special_tokens": N_SPECIAL,
            "version": "v11",
        },
        "vocab": [
            {"rank": rank, "token_bytes": base64.b64encode(piece).decode(), "token_str": None}
            for rank, piece in enumerate(pieces)
        ],
        "special_tokens": [
            {"rank": rank, "token_str": text, "is_control": True}
            for rank, text in enumerate(SPECIAL_TOKENS)
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
