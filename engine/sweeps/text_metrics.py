"""What can be said of an answer by its words alone: repetition, variety, words of a lexicon.

Invariant: pure functions of text; case and punctuation do not count.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


def split_words(text: str) -> list[str]:
    """The words of a text in small letters."""
    return [word.lower() for word in _WORD.findall(text)]


def repeated_share(text: str, n: int = 4) -> float:
    """Share of the n-grams of a text that stood in it before; 0 for a shorter text."""
    words = split_words(text)
    grams = Counter(zip(*(words[start:] for start in range(n)), strict=False))
    total = sum(grams.values())
    return 1 - len(grams) / total if total else 0.0


def distinct_share(text: str, n: int = 2) -> float:
    """Share of the n-grams of a text that differ; 1 for a shorter text."""
    words = split_words(text)
    grams = list(zip(*(words[start:] for start in range(n)), strict=False))
    return len(set(grams)) / len(grams) if grams else 1.0


def lexicon_share(text: str, lexicon: Collection[str]) -> float:
    """Share of the words of a text that are in a lexicon of small letters."""
    words = split_words(text)
    return sum(word in lexicon for word in words) / len(words) if words else 0.0
