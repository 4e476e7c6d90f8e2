"""What single tokens of a vocabulary stand for, read from the tokenizer's files without torch.

Invariant: a token has its text with its leading space, as it stands in a sentence; one that is part
of a character shows its bytes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UnsupportedError
from engine.file_names import shown_name

_SPACE = "\u2581"
"""How SentencePiece writes a space."""


@dataclass(frozen=True, slots=True)
class TokenNames:
    """Texts of tokens by id.

    Attributes:
        n_tokens: ids from 0 to below it are tokens; a model may have rows beyond.
        find: the text of an id; raises no error for an id below n_tokens.
    """

    n_tokens: int
    find: Callable[[int], str]

    def text(self, token_id: int) -> str:
        """What the token stands for; its number in brackets where nothing says."""
        found = self.find(token_id) if 0 <= token_id < self.n_tokens else ""
        return found or f"<{token_id}>"


def read_token_names(folder: Path) -> TokenNames:
    """The tokens of a checkpoint's tokenizer.

    Raises:
        UnsupportedError: if there is neither a tokenizer.json nor a tekken.json that can be read.
    """
    tekken = sorted(folder.glob("tekken*.json"))
    try:
        if (folder / "tokenizer.json").is_file():
            return _of_tokenizers(folder / "tokenizer.json")
        if tekken:
            return _of_tekken(tekken[0])
    # the library raises bare exceptions for files that it cannot parse
    except Exception as error:
        raise UnsupportedError(
            f"The tokenizer of {shown_name(folder)!r} cannot be read.", "Copy its files again."
        ) from error
    raise UnsupportedError(
        f"{shown_name(folder)!r} has no tokenizer.json and no tekken.json.",
        "Copy or download the tokenizer's files.",
    )


def _of_tokenizers(path: Path) -> TokenNames:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    decoder = json.loads(tokenizer.to_str()).get("decoder") or {}
    is_byte_level = decoder.get("type") == "ByteLevel" or any(
        part.get("type") == "ByteLevel" for part in decoder.get("decoders", ())
    )

    def find(token_id: int) -> str:
        piece = tokenizer.id_to_token(token_id) or ""
        if is_byte_level:
            text: str = tokenizer.decode([token_id], skip_special_tokens=False)
            return text if "\ufffd" not in text else piece
        return piece.replace(_SPACE, " ")

    return TokenNames(tokenizer.get_vocab_size(with_added_tokens=True), find)


def _of_tekken(path: Path) -> TokenNames:
    content = json.loads(path.read_text(encoding="utf-8"))
    config = content["config"]
    n_special = int(config["default_num_special_tokens"])
    n_tokens = int(config["default_vocab_size"])
    special = {
        int(item["rank"]): str(item["token_str"]) for item in content.get("special_tokens") or ()
    }
    pieces: list[str] = [item["token_bytes"] for item in content["vocab"][: n_tokens - n_special]]

    def find(token_id: int) -> str:
        if token_id < n_special:
            return special.get(token_id, f"<SPECIAL_{token_id}>")
        raw = base64.b64decode(pieces[token_id - n_special])
        return raw.decode("utf-8", "backslashreplace")

    return TokenNames(n_special + len(pieces), find)
