"""Where a text stands in what is stored: tokens that are it, or that end it.

Invariant: a place is the last token of the text, and only one whose activations are its run's own;
case, and white space around the text, do not matter. A text that is no single token anywhere is
looked for among a bounded number of tokens that could end it.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass

import duckdb
import numpy as np

from store.errors import InvalidSpecError
from store.ordering import IndexColumn
from store.sources import StoredSource
from store.specs import is_storable

MAX_TEXT_CHARS = 200
_MAX_TOKENS = 16
"""Tokens that a text is made of, at most: what is longer is not found."""
_MAX_ENDS = 8_192
"""Tokens that could end a text of several, of which the ones before are read."""

_NEW_TEXTS = """
    SELECT DISTINCT token_id, text FROM base.tokens
    WHERE run_no > $last AND run_no IN (
        SELECT run_no FROM base.runs WHERE source_no = $source_no AND run_no > $last
    )
"""
_LAST_RUN = """
    SELECT coalesce(max(run_no), 0), arg_max(run_key, run_no),
           any_value(run_key) FILTER (run_no = $last)
    FROM base.runs WHERE source_no = $source_no
"""
_OWN_TOKENS = """
    FROM base.tokens AS t
    JOIN (
        SELECT run_no, coalesce(own_from, 0) AS own_from FROM base.runs
        LEFT JOIN (
            SELECT run_no, max(end_position) AS own_from FROM base.beginnings GROUP BY run_no
        ) USING (run_no)
        WHERE source_no = $source_no
    ) AS r ON t.run_no = r.run_no AND t.position >= r.own_from
    WHERE t.token_id IN $token_ids
"""
_SINGLE = f"SELECT t.run_no, t.position {_OWN_TOKENS} AND t.text IN $texts"
_ENDS = f"""
    SELECT t.run_no, t.position, count(*) OVER () AS n_ends {_OWN_TOKENS}
    ORDER BY hash(t.run_no, t.position) LIMIT $most
"""
_WHOLE = r"""
    WITH pieces AS (
        SELECT e.run_no, e.position, t.text, e.position - t.position AS distance
        FROM (SELECT *, unnest(range($n_before)) AS back FROM ends) AS e
        JOIN base.tokens AS t ON t.run_no = e.run_no AND t.position = e.position - e.back
    ), joined AS (
        SELECT run_no, position, string_agg(text, '' ORDER BY distance DESC) OVER (
            PARTITION BY run_no, position ORDER BY distance
            ROWS UNBOUNDED PRECEDING
        ) AS whole
        FROM pieces
    )
    SELECT DISTINCT run_no, position FROM joined
    WHERE lower(regexp_replace(whole, '^\s+|\s+$', '', 'g')) = $text
"""
_COUNTS = f"SELECT t.text, count(*) {_OWN_TOKENS} GROUP BY t.text"


@dataclass(frozen=True, slots=True)
class TextPlaces:
    """Where a text ends.

    Attributes:
        run_no, position: int32, of its last token.
        n_occurrences: how often it stands there in all, estimated where not all were looked at.
    """

    run_no: IndexColumn
    position: IndexColumn
    n_occurrences: int


_Known = dict[str, set[tuple[int, str]]]
"""Numbers and exact texts of tokens, by their texts in lower case without outer white space."""


@dataclass(slots=True)
class _Vocabulary:
    """What was read of a source's tokens, up to which run."""

    known: _Known
    last_run_no: int = 0
    last_run_key: str | None = None


class TokenTexts:
    """Which token ids have which texts, by source: looking for numbers is ten times faster.

    What runs that came since add is read at each call. Every method may be called from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._vocabularies: dict[int, _Vocabulary] = {}

    def find_text(
        self, cursor: duckdb.DuckDBPyConnection, source: StoredSource, text: str
    ) -> TextPlaces:
        """The places of a text among the tokens of a source.

        Raises:
            InvalidSpecError: if the text is blank, too long, or not valid Unicode.
        """
        wanted = text.strip().lower() if is_storable(text) else ""
        if not wanted or len(wanted) > MAX_TEXT_CHARS:
            raise InvalidSpecError(
                "text",
                f"A text to look for has 1 to {MAX_TEXT_CHARS} characters.",
                "Give a word, or a few that follow each other.",
            )
        known = self._read(cursor, source)
        pairs = known.get(wanted, set())
        if pairs:
            values = {
                "source_no": source.source_no,
                "token_ids": sorted({number for number, _ in pairs}),
                "texts": sorted({exact for _, exact in pairs}),
            }
            table = cursor.sql(_SINGLE, params=values).to_arrow_table()
            run_no, position = (column.to_numpy() for column in table.columns)
            if len(run_no):
                return TextPlaces(run_no, position, len(run_no))
        suffixes = {wanted[start:].strip() for start in range(1, len(wanted))}
        ends = sorted({number for suffix in suffixes for number, _ in known.get(suffix, ())})
        return _find_whole(cursor, source, wanted, ends)

    def count_texts(
        self, cursor: duckdb.DuckDBPyConnection, source: StoredSource, texts: Collection[str]
    ) -> dict[str, int]:
        """How often tokens of exactly these texts occur in a source."""
        token_ids = self.find_ids(cursor, source, texts)
        values = {"source_no": source.source_no, "token_ids": token_ids}
        rows = cursor.execute(_COUNTS, values).fetchall() if token_ids else []
        counts = dict(rows)
        return {text: int(counts.get(text, 0)) for text in texts}

    def find_ids(
        self, cursor: duckdb.DuckDBPyConnection, source: StoredSource, texts: Collection[str]
    ) -> list[int]:
        """The numbers of the tokens that have one of exactly these texts somewhere."""
        known = self._read(cursor, source)
        pairs = (pair for text in set(texts) for pair in known.get(text.strip().lower(), ()))
        wanted = set(texts)
        return sorted({number for number, text in pairs if text in wanted})

    def _read(self, cursor: duckdb.DuckDBPyConnection, source: StoredSource) -> _Known:
        number = source.source_no
        with self._lock:
            before = self._vocabularies.get(number) or _Vocabulary({})
            values = {"source_no": number, "last": before.last_run_no}
            [(last, last_key, same_key)] = cursor.execute(_LAST_RUN, values).fetchall()
            if same_key != before.last_run_key:
                # the last run that was read is gone, and its number may be another's by now
                before = _Vocabulary({})
            if last > before.last_run_no:
                values = {"source_no": number, "last": before.last_run_no}
                for token_id, text in cursor.execute(_NEW_TEXTS, values).fetchall():
                    before.known.setdefault(text.strip().lower(), set()).add((token_id, text))
                before.last_run_no, before.last_run_key = last, last_key
            self._vocabularies[number] = before
            return before.known


def _find_whole(
    cursor: duckdb.DuckDBPyConnection, source: StoredSource, wanted: str, token_ids: list[int]
) -> TextPlaces:
    """Places of a text of several tokens, the last of which is one of these."""
    nothing = np.zeros(0, np.int32)
    if not token_ids:
        return TextPlaces(nothing, nothing, 0)
    chosen = {"token_ids": token_ids, "most": _MAX_ENDS, "source_no": source.source_no}
    ends = cursor.sql(_ENDS, params=chosen).to_arrow_table()
    if not ends.num_rows:
        return TextPlaces(nothing, nothing, 0)
    n_ends = ends.column("n_ends")[0].as_py()
    cursor.register("ends", ends)
    try:
        found = cursor.sql(
            _WHOLE, params={"text": wanted, "n_before": min(_MAX_TOKENS, len(wanted))}
        ).to_arrow_table()
    finally:
        cursor.unregister("ends")
    run_no, position = (column.to_numpy() for column in found.columns)
    return TextPlaces(run_no, position, round(len(run_no) * n_ends / ends.num_rows))
