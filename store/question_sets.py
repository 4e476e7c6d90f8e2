"""Question sets: kept once, never changed; and which runs answered their questions.

Invariant: a set's id is a digest of its name and questions; an answer names a stored run, and one
run answers one question once under one use of tools.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa

from store.connection import Store
from store.errors import InvalidSpecError, QuestionSetNotFoundError
from store.keys import canonical_json
from store.question_records import Answer, AnswerLink, Question, QuestionSet, SetOrigin
from store.rows import from_utc, to_utc

MAX_QUESTIONS = 1_000_000
MAX_NAME_CHARS = 80
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ID_CHARS = 20

_SELECT_SETS = """
    SELECT s.set_id, s.name, s.title, s.origin, s.world_seed,
           (SELECT count(*) FROM base.questions AS q WHERE q.set_no = s.set_no),
           s.created_by, s.created_at
    FROM base.question_sets AS s
"""
_QUESTION_COLUMNS = (
    "question, gold, aliases, group_name, tools, needs_tool, slice, kind, topic, template"
)
_SELECT_ANSWERS = """
    SELECT a.question_no, a.tools, r.run_key, c.source_id, r.response
    FROM base.answers AS a
    JOIN base.question_sets AS s USING (set_no)
    JOIN base.runs AS r USING (run_no)
    JOIN base.sources AS c USING (source_no)
    WHERE s.set_id = $set_id AND ($source IS NULL OR c.source_id = $source)
      AND ($tools IS NULL OR a.tools = $tools)
    ORDER BY a.question_no, a.tools, a.created_at, a.run_no
"""


class QuestionSetRepository:
    """Question sets of one store; every method may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def insert_set(
        self,
        name: str,
        title: str,
        origin: SetOrigin,
        questions: Sequence[Question],
        created_by: str,
        world_seed: int | None = None,
    ) -> QuestionSet:
        """Keeps a set; the same questions under the same name are the same set.

        Raises:
            InvalidSpecError: for a name that another set has or that cannot be one, or if there
                are no questions, or too many.
        """
        _check(name, questions)
        content = canonical_json([name, list(questions)])
        set_id = hashlib.sha256(content.encode()).hexdigest()[:_ID_CHARS]
        made = QuestionSet(
            set_id, name, title, origin, world_seed, len(questions), created_by, datetime.now(UTC)
        )
        with self._store.write() as cursor:
            rows = cursor.execute(
                "SELECT set_id FROM base.question_sets WHERE name = ?", [name]
            ).fetchall()
            if not rows:
                self._insert(cursor, made, questions)
                return made
        if rows != [(set_id,)]:
            raise InvalidSpecError(
                "name",
                f"Another question set has the name {name!r}.",
                "Choose another name: questions of a set never change.",
            )
        return self.get_set(name)

    def _insert(
        self, cursor: duckdb.DuckDBPyConnection, made: QuestionSet, questions: Sequence[Question]
    ) -> None:
        [(set_no,)] = cursor.execute(
            "SELECT coalesce(max(set_no), 0) + 1 FROM base.question_sets"
        ).fetchall()
        cursor.execute(
            "INSERT INTO base.question_sets VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                set_no,
                made.set_id,
                made.name,
                made.title,
                made.origin,
                made.world_seed,
                made.created_by,
                to_utc(made.created_at),
            ],
        )
        cursor.register("incoming_questions", _questions_table(set_no, questions))
        cursor.execute("INSERT INTO base.questions SELECT * FROM incoming_questions")
        cursor.unregister("incoming_questions")

    def list_sets(self) -> tuple[QuestionSet, ...]:
        """All sets, the newest first."""
        with self._store.read() as cursor:
            rows = cursor.execute(_SELECT_SETS + "ORDER BY s.set_no DESC").fetchall()
        return tuple(_to_set(row) for row in rows)

    def find_set(self, name: str) -> QuestionSet | None:
        """The set of this name or id, or None."""
        with self._store.read() as cursor:
            rows = cursor.execute(
                _SELECT_SETS + "WHERE s.name = $1 OR s.set_id = $1 ORDER BY s.name = $1 DESC",
                [name],
            ).fetchall()
        return _to_set(rows[0]) if rows else None

    def get_set(self, name: str) -> QuestionSet:
        """The set of this name or id.

        Raises:
            QuestionSetNotFoundError: if there is none.
        """
        found = self.find_set(name)
        if found is None:
            raise QuestionSetNotFoundError(name)
        return found

    def list_questions(self, set_id: str) -> tuple[Question, ...]:
        """Its questions; the index of one is its number.

        Raises:
            QuestionSetNotFoundError: if there is no such set.
        """
        with self._store.read() as cursor:
            rows = cursor.execute(
                f"SELECT {_QUESTION_COLUMNS} FROM base.questions"
                " JOIN base.question_sets USING (set_no) WHERE set_id = ? ORDER BY question_no",
                [set_id],
            ).fetchall()
        if not rows:
            raise QuestionSetNotFoundError(set_id)
        return tuple(
            Question(question, gold, tuple(json.loads(aliases)), *rest)
            for question, gold, aliases, *rest in rows
        )

    def delete_set(self, set_id: str) -> None:
        """Takes a set out; the runs that answered it, and what was judged of them, stay.

        Raises:
            QuestionSetNotFoundError: if there is none of this id.
        """
        with self._store.write() as cursor:
            set_no = _set_no(cursor, set_id)
            for table in ("answers", "questions", "question_sets"):
                cursor.execute(f"DELETE FROM base.{table} WHERE set_no = ?", [set_no])

    def insert_answers(self, set_id: str, answers: Sequence[AnswerLink]) -> int:
        """Notes which runs answer which questions; returns how many were not noted already.

        Links to runs that are not stored are passed over.

        Raises:
            QuestionSetNotFoundError: if there is no such set.
        """
        if not answers:
            return 0
        with self._store.write() as cursor:
            set_no = _set_no(cursor, set_id)
            table = pa.table(
                {
                    "question_no": pa.array([link.question_no for link in answers], pa.int32()),
                    "tools": pa.array([link.tools for link in answers], pa.bool_()),
                    "run_key": pa.array([link.run_key for link in answers], pa.string()),
                }
            )
            cursor.register("incoming_answers", table)
            rows = cursor.execute(
                """
                INSERT INTO base.answers
                SELECT DISTINCT $set_no, i.question_no, i.tools, r.run_no, $now::TIMESTAMP
                FROM incoming_answers AS i JOIN base.runs AS r USING (run_key)
                WHERE NOT EXISTS (
                    FROM base.answers AS a WHERE a.set_no = $set_no AND a.run_no = r.run_no
                        AND a.question_no = i.question_no AND a.tools = i.tools
                )
                RETURNING question_no
                """,
                {"set_no": set_no, "now": to_utc(datetime.now(UTC))},
            ).fetchall()
            cursor.unregister("incoming_answers")
        return len(rows)

    def list_links(self, set_id: str) -> tuple[AnswerLink, ...]:
        """Which runs answer which questions of a set."""
        with self._store.read() as cursor:
            rows = cursor.execute(
                "SELECT question_no, tools, run_key FROM answers WHERE set_id = ?", [set_id]
            ).fetchall()
        return tuple(AnswerLink(*row) for row in rows)

    def list_answers(
        self, set_id: str, source_id: str | None = None, tools: bool | None = None
    ) -> tuple[Answer, ...]:
        """Answers to a set, by number of their question.

        Args:
            set_id: of the set.
            source_id: only those of this source.
            tools: only those with tools offered, or only those without.
        """
        with self._store.read() as cursor:
            rows = cursor.execute(
                _SELECT_ANSWERS, {"set_id": set_id, "source": source_id, "tools": tools}
            ).fetchall()
        return tuple(Answer(*row) for row in rows)


def _check(name: str, questions: Sequence[Question]) -> None:
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_CHARS:
        raise InvalidSpecError(
            "name",
            f"{name[:MAX_NAME_CHARS]!r} cannot be the name of a question set.",
            "Use letters, digits, dots, dashes and underscores, such as trivia-2.",
        )
    if not questions:
        raise InvalidSpecError("questions", "A question set needs questions.", "Add a row.")
    if len(questions) > MAX_QUESTIONS:
        raise InvalidSpecError(
            "questions", f"A question set has at most {MAX_QUESTIONS:,} questions.", "Divide it."
        )


def _questions_table(set_no: int, questions: Sequence[Question]) -> pa.Table:
    rows = [
        {
            "set_no": set_no,
            "question_no": number,
            "question": item.question,
            "gold": item.gold,
            "aliases": json.dumps(item.aliases, ensure_ascii=False),
            "group_name": item.group,
            "tools": item.tools,
            "needs_tool": item.needs_tool,
            "slice": item.slice,
            "kind": item.kind,
            "topic": item.topic,
            "template": item.template,
        }
        for number, item in enumerate(questions)
    ]
    texts = ("question", "gold", "aliases", "group_name", "tools", "slice", "kind", "topic")
    types = {name: pa.string() for name in (*texts, "template")}
    numbers = {"set_no": pa.int32(), "question_no": pa.int32(), "needs_tool": pa.bool_()}
    names = list(rows[0])
    schema = pa.schema([(name, (types | numbers)[name]) for name in names])
    return pa.Table.from_pylist(rows, schema=schema)


def _set_no(cursor: duckdb.DuckDBPyConnection, set_id: str) -> int:
    rows = cursor.execute(
        "SELECT set_no FROM base.question_sets WHERE set_id = ?", [set_id]
    ).fetchall()
    if not rows:
        raise QuestionSetNotFoundError(set_id)
    return int(rows[0][0])


def _to_set(row: tuple[Any, ...]) -> QuestionSet:
    set_id, name, title, origin, world_seed, n_questions, created_by, created_at = row
    return QuestionSet(
        set_id, name, title, origin, world_seed, n_questions, created_by, from_utc(created_at)
    )
