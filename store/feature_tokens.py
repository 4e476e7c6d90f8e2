"""What stands where a feature fires: windows of tokens around a sample of its places, and counts.

Invariant: what is read is bounded by the number of places asked for, whatever the feature; a sample
is the same at each call as long as nothing is added. Places of silence are of the same source and
the same texts, on tokens whose activations are stored.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt

from store.codes import to_values
from store.connection import Store
from store.ordering import IndexColumn
from store.posting_tables import POSTINGS
from store.records import FloatColumn
from store.rows import PASSAGE_TOKENS
from store.sampled_runs import get_size
from store.sources import StoredSource, check_feature, get_source
from store.text_places import TokenTexts

Band = Literal["top", "sample"]

MAX_PLACES = 2**14
MAX_AROUND = PASSAGE_TOKENS
"""Tokens of a window on either side, at most."""

_COUNT = "SELECT coalesce(sum(n_tokens_active), 0)::BIGINT FROM base.tallies WHERE slot = ?"
_SAMPLE = f"""
    SELECT token_no, code FROM {POSTINGS} WHERE slot = $slot
    ORDER BY hash(token_no + $seed), token_no LIMIT $most
"""
_TOP = f"""
    SELECT token_no, code FROM {POSTINGS} WHERE slot = $slot
    ORDER BY code DESC, token_no LIMIT $most
"""
_SILENT = f"""
    WITH candidates AS (
        SELECT t.run_no, t.position FROM base.tokens AS t
        JOIN base.runs AS r ON r.run_no = t.run_no AND r.source_no = $source_no
        LEFT JOIN (
            SELECT run_no, max(end_position) AS own_from FROM base.beginnings GROUP BY run_no
        ) AS b ON b.run_no = t.run_no
        WHERE t.token_id IN $token_ids AND t.text IN $texts AND t.position >= coalesce(own_from, 0)
        ORDER BY hash(t.run_no, t.position + $seed), t.run_no, t.position LIMIT $most
    ), placed AS (
        SELECT p.passage_no * $passage_tokens + c.position - p.position AS token_no
        FROM candidates AS c
        JOIN base.passages AS p ON p.run_no = c.run_no
            AND p.position = c.position - c.position % $passage_tokens
    )
    SELECT token_no::INTEGER FROM placed
    WHERE token_no NOT IN (SELECT token_no FROM {POSTINGS} WHERE slot = $slot)
"""
_PASSAGES = """
    SELECT passage_no, run_no, run_key, position, texts FROM base.passages WHERE passage_no IN ?
"""
_OVER = 4
"""Candidates for silence that are looked at for each place wanted."""


@dataclass(frozen=True, slots=True)
class TokenWindows:
    """Places with the tokens around them, a row a place.

    Attributes:
        run_keys: of each place. position: int32. value: float32; 0 where the feature is silent.
        texts: before + 1 + after tokens of each place; the token itself is at index `before`, and
            what lies beyond its run is empty.
        n_total: tokens on which the feature fires at all.
    """

    run_keys: tuple[str, ...]
    position: IndexColumn
    value: FloatColumn
    texts: tuple[tuple[str, ...], ...]
    before: int
    n_total: int

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens by their text, those on which the feature fires most often first; of one length.

    Attributes:
        n_active: of the n_places that were sampled. n_all: tokens of the source with this text.
        mean_value: of the feature on those places.
        n_tokens_active: on which it fires at all. n_tokens: of the source.
    """

    text: tuple[str, ...]
    n_active: npt.NDArray[np.int64]
    n_all: npt.NDArray[np.int64]
    mean_value: npt.NDArray[np.float64]
    n_places: int
    n_tokens_active: int
    n_tokens: int


class _Passage(NamedTuple):
    run_no: int
    run_key: str
    position: int
    texts: list[str]


class FeatureTokenRepository:
    """Tokens of the features of one store; every method may be called from any thread.

    Every method raises SourceNotFoundError if nothing of the source is stored, and InvalidSpecError
    if it has no such feature.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._texts = TokenTexts()

    def get_windows(
        self,
        source: str,
        feature: int,
        n_places: int = 512,
        before: int = 8,
        after: int = 4,
        seed: int = 0,
        band: Band = "sample",
    ) -> TokenWindows:
        """Where a feature fires: a sample of all its places, or the strongest of them."""
        with self._store.read() as cursor:
            found = get_source(cursor, source)
            check_feature(found, feature)
            token_no, value = _places(cursor, found, feature, n_places, seed, band)
            n_total = _count(cursor, found, feature)
            return _windows(cursor, token_no, value, (before, after), n_total)

    def get_silent_windows(
        self,
        source: str,
        feature: int,
        texts: Sequence[str],
        n_places: int = 256,
        before: int = 8,
        after: int = 4,
        seed: int = 0,
    ) -> TokenWindows:
        """Tokens of exactly these texts on which the feature is silent: hard negatives."""
        with self._store.read() as cursor:
            found = get_source(cursor, source)
            check_feature(found, feature)
            token_ids = self._texts.find_ids(cursor, found, texts)
            token_no = np.zeros(0, np.int32)
            if token_ids:
                values = {
                    "source_no": found.source_no,
                    "slot": found.first_slot + feature,
                    "token_ids": token_ids,
                    "texts": sorted(set(texts)),
                    "seed": seed,
                    "most": min(max(n_places, 1), MAX_PLACES) * _OVER,
                    "passage_tokens": PASSAGE_TOKENS,
                }
                table = cursor.sql(_SILENT, params=values).to_arrow_table()
                token_no = table.column(0).to_numpy()[:n_places]
            silent = np.zeros(len(token_no), np.float32)
            n_total = _count(cursor, found, feature)
            return _windows(cursor, token_no, silent, (before, after), n_total)

    def get_token_counts(self, source: str, feature: int, n_places: int = 2048) -> TokenCounts:
        """Which tokens a feature fires on, from a sample of its places."""
        with self._store.read() as cursor:
            found = get_source(cursor, source)
            check_feature(found, feature)
            token_no, value = _places(cursor, found, feature, n_places, 0, "sample")
            windows = _windows(cursor, token_no, value, (0, 0), _count(cursor, found, feature))
            n_tokens = get_size(cursor, found).n_tokens
            by_text: dict[str, list[float]] = defaultdict(list)
            for (text,), strength in zip(windows.texts, windows.value.tolist(), strict=True):
                by_text[text].append(strength)
            n_all = self._texts.count_texts(cursor, found, by_text)
        ordered = sorted(by_text, key=lambda text: (-len(by_text[text]), text))
        return TokenCounts(
            text=tuple(ordered),
            n_active=np.array([len(by_text[text]) for text in ordered], np.int64),
            n_all=np.array([n_all[text] for text in ordered], np.int64),
            mean_value=np.array([np.mean(by_text[text]) for text in ordered], np.float64),
            n_places=len(windows),
            n_tokens_active=windows.n_total,
            n_tokens=n_tokens,
        )


def _count(cursor: duckdb.DuckDBPyConnection, source: StoredSource, feature: int) -> int:
    [(count,)] = cursor.execute(_COUNT, [source.first_slot + feature]).fetchall()
    return int(count)


def _places(
    cursor: duckdb.DuckDBPyConnection,
    source: StoredSource,
    feature: int,
    n_places: int,
    seed: int,
    band: Band,
) -> tuple[IndexColumn, FloatColumn]:
    """Numbers of tokens on which a feature fires, and how strongly."""
    values = {"slot": source.first_slot + feature, "most": min(max(n_places, 0), MAX_PLACES)}
    if band == "sample":
        table = cursor.sql(_SAMPLE, params=values | {"seed": seed}).to_arrow_table()
    else:
        table = cursor.sql(_TOP, params=values).to_arrow_table()
    code = table.column("code").to_numpy().astype(np.uint32)
    return table.column("token_no").to_numpy(), to_values(code, source.code_shift)


def _windows(
    cursor: duckdb.DuckDBPyConnection,
    token_no: IndexColumn,
    value: FloatColumn,
    around: tuple[int, int],
    n_total: int,
) -> TokenWindows:
    before, after = (min(max(side, 0), MAX_AROUND) for side in around)
    numbers = token_no.tolist()
    wanted = {(number + shift) // PASSAGE_TOKENS for number in numbers for shift in (0, after)}
    wanted |= {(number - before) // PASSAGE_TOKENS for number in numbers}
    rows = cursor.execute(_PASSAGES, [sorted(wanted)]).fetchall() if wanted else []
    passages = {
        number: _Passage(run_no, run_key, position, json.loads(texts))
        for number, run_no, run_key, position, texts in rows
    }
    run_keys, positions, texts = [], [], []
    for number in numbers:
        passage_no, index = divmod(number, PASSAGE_TOKENS)
        here = passages[passage_no]
        run_keys.append(here.run_key)
        positions.append(here.position + index)
        texts.append(_around(passages, passage_no, index, before, after))
    return TokenWindows(
        tuple(run_keys), np.array(positions, np.int32), value, tuple(texts), before, n_total
    )


def _around(
    passages: dict[int, _Passage], passage_no: int, index: int, before: int, after: int
) -> tuple[str, ...]:
    """The texts of a window; empty beyond the run."""
    here = passages[passage_no]
    sides = [
        side.texts if side is not None and side.run_no == here.run_no else []
        for side in (passages.get(passage_no - 1), passages.get(passage_no + 1))
    ]
    texts = sides[0] + here.texts + sides[1]
    center = len(sides[0]) + index
    found = texts[max(center - before, 0) : center + after + 1]
    missing_before = before - min(center, before)
    missing_after = before + 1 + after - missing_before - len(found)
    return ("",) * missing_before + tuple(found) + ("",) * missing_after
