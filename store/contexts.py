"""Contexts: the texts around places where a feature fired.

Invariant: a context lies within one run, and is read from the passages that hold it, whatever the
length of its run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import duckdb

from store.records import Context
from store.rows import PASSAGE_TOKENS

_BEFORE = 10
_AFTER = 6

_PASSAGES = """
    SELECT passage_no, run_no, run_key, position, texts FROM base.passages
    WHERE passage_no IN (SELECT unnest(?::INTEGER[]))
"""


@dataclass(frozen=True, slots=True)
class Places:
    """Numbers of tokens on which a feature fired, and how strongly it did."""

    token_no: Sequence[int]
    value: Sequence[float]

    def __len__(self) -> int:
        return len(self.token_no)

    def between(self, start: int, stop: int) -> Places:
        """Only those from the one index up to the other."""
        return Places(self.token_no[start:stop], self.value[start:stop])


class _Passage(NamedTuple):
    run_no: int
    run_key: str
    position: int
    texts: list[str]


def read_contexts(cursor: duckdb.DuckDBPyConnection, places: Places) -> list[Context]:
    """The contexts of the places, in their order, of each run only the first."""
    if not len(places):
        return []
    wanted = {
        (token_no + shift) // PASSAGE_TOKENS
        for token_no in places.token_no
        for shift in (-_BEFORE, 0, _AFTER)
    }
    rows = cursor.execute(_PASSAGES, [list(wanted)]).fetchall()
    passages = {
        number: _Passage(run_no, run_key, position, json.loads(texts))
        for number, run_no, run_key, position, texts in rows
    }
    contexts: dict[int, Context] = {}
    for token_no, value in zip(places.token_no, places.value, strict=True):
        passage_no, index = divmod(token_no, PASSAGE_TOKENS)
        here = passages[passage_no]
        if here.run_no not in contexts:
            sides = (passages.get(passage_no + side) for side in (-1, 1))
            before, after = (
                side.texts if side and side.run_no == here.run_no else [] for side in sides
            )
            texts = before + here.texts + after
            center = len(before) + index
            contexts[here.run_no] = Context(
                here.run_key,
                here.position + index,
                value,
                "".join(texts[max(center - _BEFORE, 0) : center]),
                texts[center],
                "".join(texts[center + 1 : center + 1 + _AFTER]),
            )
    return list(contexts.values())


def fold_contexts(contexts: Sequence[Context], limit: int) -> tuple[Context, ...]:
    """The first so many, of those of equal text only the first."""
    unique: dict[tuple[str, str, str], Context] = {}
    for context in contexts:
        unique.setdefault((context.before, context.text, context.after), context)
    return tuple(unique.values())[: max(limit, 0)]
