"""Answers to a question set as people read them: question, answer and what holds of it, in pages.

Invariant: a page is cut in SQL, so that a set of a million questions is read as quickly as one of
ten. Answers of other sources are never among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import duckdb

from store.connection import Store
from store.outcome_records import Meaning

AnswerOrder = Literal["question", "newest", "outcome"]
_PACE_RUNS = 200

_FROM = """
    FROM base.answers AS a
    JOIN base.question_sets AS s USING (set_no)
    JOIN base.questions AS q USING (set_no, question_no)
    JOIN base.runs AS r USING (run_no)
    JOIN base.sources AS c USING (source_no)
    LEFT JOIN verdicts AS v ON v.run_key = r.run_key
    WHERE s.set_id = $set_id AND c.source_id = $source
"""
_CHOSEN = """
    AND ($tools IS NULL OR a.tools = $tools)
    AND ($meaning IS NULL OR coalesce(v.meaning, 'unknown') = $meaning)
    AND ($outcome IS NULL OR coalesce(v.outcome, 'unjudged') = $outcome)
    AND ($contested IS NULL OR coalesce(v.is_contested, false) = $contested)
    AND ($find = '' OR contains(lower(q.question), $find) OR contains(lower(r.response), $find))
"""
_ORDERS: dict[AnswerOrder, str] = {
    "question": "a.question_no, a.tools, r.run_no",
    "newest": "r.run_no DESC, a.question_no",
    "outcome": "coalesce(v.meaning, 'unknown') DESC, v.outcome, a.question_no, a.tools, r.run_no",
}
_COLUMNS = """
    a.question_no, q.question, q.gold, q.group_name, q.slice, a.tools, r.run_key, r.response,
    v.outcome, v.method, coalesce(v.meaning, 'unknown'), coalesce(v.n_judgements, 0),
    coalesce(v.is_contested, false)
"""


@dataclass(frozen=True, slots=True)
class AnswerFilter:
    """Which answers; None lets all pass.

    Attributes:
        tools: with tools offered, or without.
        meaning: of what holds of it; `unknown` also where nobody has judged.
        outcome: that holds of it; `unjudged` where there is none.
        is_contested: whether judgements differ.
        find: part of question or answer, whatever the case.
    """

    tools: bool | None = None
    meaning: Meaning | None = None
    outcome: str | None = None
    is_contested: bool | None = None
    find: str = ""


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """An answer with its question and its verdict.

    Attributes:
        outcome, method: what holds of it and by which method; None where nobody has judged.
        meaning: of the outcome; `unknown` without one.
    """

    question_no: int
    question: str
    gold: str | None
    group: str
    slice: str | None
    tools: bool
    run_key: str
    response: str
    outcome: str | None
    method: str | None
    meaning: Meaning
    n_judgements: int
    is_contested: bool


@dataclass(frozen=True, slots=True)
class AnswerCase:
    """What comparing tools on and off takes of an answer."""

    question_no: int
    group: str
    tools: bool
    meaning: Meaning


class AnswerRowRepository:
    """Answers of one store with their questions; every method may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def count_rows(self, set_id: str, source_id: str, chosen: AnswerFilter | None = None) -> int:
        """How many answers of a source to a set pass the filter."""
        with self._store.read() as cursor:
            [(count,)] = _select(cursor, "count(*)", set_id, source_id, chosen).fetchall()
        return int(count)

    def list_rows(
        self,
        set_id: str,
        source_id: str,
        chosen: AnswerFilter | None = None,
        order: AnswerOrder = "question",
        limit: int = 50,
        offset: int = 0,
    ) -> tuple[AnswerRow, ...]:
        """A page of them.

        Args:
            set_id: of the set. source_id: of the source.
            chosen: which answers.
            order: by question, the newest first, or by what holds of them.
            limit: most rows. offset: rows before the first.
        """
        rest = f"ORDER BY {_ORDERS[order]} LIMIT {int(limit)} OFFSET {max(int(offset), 0)}"
        with self._store.read() as cursor:
            rows = _select(cursor, _COLUMNS, set_id, source_id, chosen, rest).fetchall()
        return tuple(AnswerRow(*row) for row in rows)

    def find_row(self, set_id: str, run_key: str) -> AnswerRow | None:
        """The answer that a run is to a set; None if it is none."""
        with self._store.read() as cursor:
            rows = cursor.execute(
                f"SELECT {_COLUMNS} {_FROM.replace('c.source_id = $source', 'r.run_key = $run')}"
                " ORDER BY a.question_no, a.tools LIMIT 1",
                {"set_id": set_id, "run": run_key},
            ).fetchall()
        return AnswerRow(*rows[0]) if rows else None

    def list_cases(self, set_id: str, source_id: str) -> tuple[AnswerCase, ...]:
        """What holds of the newest answer to each question, with tools and without."""
        columns = "a.question_no, q.group_name, a.tools, coalesce(v.meaning, 'unknown')"
        rest = (
            "QUALIFY row_number() OVER (PARTITION BY a.question_no, a.tools"
            " ORDER BY r.run_no DESC) = 1 ORDER BY a.question_no, a.tools"
        )
        with self._store.read() as cursor:
            rows = _select(cursor, columns, set_id, source_id, None, rest).fetchall()
        return tuple(AnswerCase(*row) for row in rows)

    def count_cases(self, set_id: str, source_id: str) -> tuple[tuple[bool, int], ...]:
        """How many questions of a set are answered: tools, count."""
        with self._store.read() as cursor:
            rows = _select(
                cursor,
                "a.tools, count(DISTINCT a.question_no)",
                set_id,
                source_id,
                None,
                "GROUP BY a.tools ORDER BY a.tools",
            ).fetchall()
        return tuple(rows)

    def count_ways(self, set_id: str) -> tuple[tuple[bool, int], ...]:
        """How many questions of a set are meant to be asked so: tools, count."""
        with self._store.read() as cursor:
            [(n_off, n_on)] = cursor.execute(
                "SELECT count(*) FILTER (q.tools <> 'on'), count(*) FILTER (q.tools <> 'off')"
                " FROM base.questions AS q JOIN base.question_sets AS s USING (set_no)"
                " WHERE s.set_id = ?",
                [set_id],
            ).fetchall()
        return (False, int(n_off)), (True, int(n_on))

    def find_pace_s(self, source_id: str) -> float | None:
        """Mean seconds that the last answers of a source took; None if it has none."""
        with self._store.read() as cursor:
            [(pace_s,)] = cursor.execute(
                "SELECT avg(compute_s) FROM (SELECT r.compute_s FROM base.runs AS r"
                " JOIN base.sources AS c USING (source_no)"
                " WHERE c.source_id = ? AND r.kind = 'generation'"
                f" ORDER BY r.run_no DESC LIMIT {_PACE_RUNS})",
                [source_id],
            ).fetchall()
        return None if pace_s is None else float(pace_s)


def _select(
    cursor: duckdb.DuckDBPyConnection,
    columns: str,
    set_id: str,
    source_id: str,
    chosen: AnswerFilter | None,
    rest: str = "",
) -> duckdb.DuckDBPyConnection:
    wanted = chosen or AnswerFilter()
    values: dict[str, Any] = {
        "set_id": set_id,
        "source": source_id,
        "tools": wanted.tools,
        "meaning": wanted.meaning,
        "outcome": wanted.outcome,
        "contested": wanted.is_contested,
        "find": wanted.find.strip().lower(),
    }
    return cursor.execute(f"SELECT {columns} {_FROM} {_CHOSEN} {rest}", values)
