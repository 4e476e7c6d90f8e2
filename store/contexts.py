"""Contexts: the texts around places where a feature fired.

Invariant: a context lies within one run, and is read from the passages that hold it, whatever the
length of its run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np

from store.ordering import IndexColumn
from store.records import Context, FloatColumn
from store.rows import PASSAGE_TOKENS

_BEFORE = 10
_AFTER = 6

_PASSAGES = """
    SELECT p.run_no, p.passage_no, p.texts, r.run_key
    FROM (SELECT unnest($1::INTEGER[]) AS run_no, unnest($2::INTEGER[]) AS passage_no) AS w
    JOIN base.passages AS p USING (run_no, passage_no)
    JOIN base.runs AS r USING (run_no)
"""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a feature fired and how strongly, as columns of one length."""

    run_no: IndexColumn
    position: IndexColumn
    value: FloatColumn

    def __len__(self) -> int:
        return len(self.run_no)

    def first_of_runs(self) -> Places:
        """The first place of each run, in the order they have."""
        _, first = np.unique(self.run_no, return_index=True)
        return self._at(np.sort(first))

    def take(self, count: int) -> Places:
        """The first so many."""
        return self._at(np.arange(min(count, len(self))))

    def _at(self, index: np.ndarray) -> Places:
        return Places(self.run_no[index], self.position[index], self.value[index])


def read_contexts(cursor: duckdb.DuckDBPyConnection, places: Places) -> Iterator[Context]:
    """The contexts of the places, in their order."""
    spans = [
        (run_no, position, range(max(position - _BEFORE, 0), position + _AFTER + 1), value)
        for run_no, position, value in zip(
            places.run_no.tolist(), places.position.tolist(), places.value.tolist(), strict=True
        )
    ]
    wanted = {
        (run_no, place // PASSAGE_TOKENS) for run_no, _, span, _ in spans for place in span[::_AFTER]
    } | {(run_no, span[-1] // PASSAGE_TOKENS) for run_no, _, span, _ in spans}
    texts: dict[tuple[int, int], Sequence[str]] = {}
    keys: dict[int, str] = {}
    if wanted:
        rows = cursor.execute(_PASSAGES, [list(column) for column in zip(*wanted, strict=True)])
        for run_no, passage_no, encoded, run_key in rows.fetchall():
            texts[run_no, passage_no] = json.loads(encoded)
            keys[run_no] = run_key
    for run_no, position, span, value in spans:
        pieces = [_text(texts, run_no, place) for place in span]
        here = position - span.start
        before, after = "".join(pieces[:here]), "".join(pieces[here + 1 :])
        yield Context(keys[run_no], position, value, before, pieces[here], after)


def fold_contexts(contexts: Iterator[Context], limit: int) -> tuple[Context, ...]:
    """The first so many, of those of equal text only the first."""
    unique: dict[tuple[str, str, str], Context] = {}
    for context in contexts:
        unique.setdefault((context.before, context.text, context.after), context)
    return tuple(unique.values())[: max(limit, 0)]


def _text(texts: dict[tuple[int, int], Sequence[str]], run_no: int, position: int) -> str:
    """The text of a token; nothing beyond the end of the run."""
    passage_no, index = divmod(position, PASSAGE_TOKENS)
    passage = texts.get((run_no, passage_no), ())
    return passage[index] if index < len(passage) else ""
