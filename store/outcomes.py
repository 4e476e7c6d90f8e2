"""Outcomes: judgements of runs, kept for ever beside each other; the current verdict; replies.

Invariant: no judgement is overwritten; the same judgement is kept once. Of one method and judge the
newest counts, and of several methods the strongest; the view `verdicts` says so in SQL.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from store.connection import Store
from store.errors import RunNotFoundError
from store.outcome_records import Outcome, Verdict
from store.rows import from_utc, to_utc

_COLUMNS = "o.outcome, o.method, o.evidence::VARCHAR, o.judge, o.confidence, o.created_by"
_SELECT = f"""
    SELECT r.run_key, {_COLUMNS}, o.created_at
    FROM base.outcomes AS o JOIN base.runs AS r USING (run_no)
    WHERE r.run_key IN (SELECT unnest(?::VARCHAR[]))
    ORDER BY o.created_at, o.rowid
"""
_INSERT = """
    INSERT INTO base.outcomes
    SELECT r.run_no, i.outcome, i.method, i.evidence::JSON, i.judge, i.confidence, i.created_by,
           i.created_at
    FROM incoming_outcomes AS i JOIN base.runs AS r USING (run_key)
    WHERE NOT EXISTS (
        FROM base.outcomes AS o
        WHERE o.run_no = r.run_no AND o.outcome = i.outcome AND o.method = i.method
          AND o.judge = i.judge AND o.evidence::VARCHAR = i.evidence
          AND o.created_at = (
              SELECT max(l.created_at) FROM base.outcomes AS l
              WHERE l.run_no = o.run_no AND l.method = o.method AND l.judge = o.judge
          )
    )
    RETURNING run_no
"""
_SELECT_PAIRS = """
    WITH latest AS (
        SELECT o.run_no, o.method, coalesce(m.meaning, 'unknown') AS meaning
        FROM base.outcomes AS o LEFT JOIN base.outcome_meanings AS m USING (outcome)
        WHERE o.method IN ($left, $right)
        QUALIFY row_number() OVER (
            PARTITION BY o.run_no, o.method ORDER BY o.created_at DESC, o.rowid DESC
        ) = 1
    )
    SELECT r.run_key, a.meaning, b.meaning
    FROM latest AS a JOIN latest AS b USING (run_no) JOIN base.runs AS r USING (run_no)
    WHERE a.method = $left AND b.method = $right
      AND ($set_id IS NULL OR EXISTS (
          FROM base.answers AS w JOIN base.question_sets AS s USING (set_no)
          WHERE w.run_no = a.run_no AND s.set_id = $set_id
      ))
    ORDER BY r.run_key
"""
_ANSWERED = """
    WITH answered AS (
        SELECT DISTINCT a.tools, a.run_no, r.run_key
        FROM base.answers AS a
        JOIN base.question_sets AS s USING (set_no)
        JOIN base.runs AS r USING (run_no)
        JOIN base.sources AS c USING (source_no)
        WHERE s.set_id = $set_id AND ($source IS NULL OR c.source_id = $source)
    )
"""
_COUNT_CONTESTED = f"""
    {_ANSWERED}
    SELECT w.tools, count(*) FROM answered AS w JOIN verdicts AS v USING (run_key)
    WHERE v.is_contested GROUP BY w.tools
"""
_COUNT = f"""
    {_ANSWERED}
    SELECT tools, method, outcome, count(*) FROM (
        SELECT DISTINCT w.tools, w.run_no, o.method, o.outcome
        FROM answered AS w JOIN base.outcomes AS o USING (run_no)
        UNION ALL
        SELECT w.tools, w.run_no, 'verdict', coalesce(v.outcome, 'unjudged')
        FROM answered AS w LEFT JOIN verdicts AS v USING (run_key)
    )
    GROUP BY ALL ORDER BY ALL
"""


class OutcomeRepository:
    """Outcomes of one store; every method may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def insert_outcomes(self, outcomes: Sequence[Outcome]) -> int:
        """Keeps judgements, in one transaction; returns how many were new.

        A judgement that is already the current one of its method and judge is passed over, and so
        is one of a run that is not stored.
        """
        if not outcomes:
            return 0
        with self._store.write() as cursor:
            cursor.register("incoming_outcomes", _to_table(outcomes))
            rows = cursor.execute(_INSERT).fetchall()
            cursor.unregister("incoming_outcomes")
        return len(rows)

    def insert_judgement(self, outcome: Outcome) -> bool:
        """Keeps one judgement; False if it is the current one already.

        Raises:
            RunNotFoundError: if its run is not stored.
        """
        with self._store.read() as cursor:
            rows = cursor.execute(
                "SELECT 1 FROM base.runs WHERE run_key = ?", [outcome.run_key]
            ).fetchall()
        if not rows:
            raise RunNotFoundError(outcome.run_key)
        return self.insert_outcomes([outcome]) == 1

    def list_outcomes(self, run_key: str) -> tuple[Outcome, ...]:
        """All judgements of a run, the oldest first."""
        return self.list_outcomes_of([run_key]).get(run_key, ())

    def list_outcomes_of(self, run_keys: Sequence[str]) -> dict[str, tuple[Outcome, ...]]:
        """The same of many runs; those without judgements are left out."""
        with self._store.read() as cursor:
            rows: list[Any] = cursor.execute(_SELECT, [list(run_keys)]).fetchall()
        found: dict[str, list[Outcome]] = {}
        for run_key, outcome, method, evidence, judge, confidence, created_by, created_at in rows:
            found.setdefault(run_key, []).append(
                Outcome(
                    run_key,
                    outcome,
                    method,
                    evidence,
                    judge,
                    confidence,
                    created_by,
                    from_utc(created_at),
                )
            )
        return {run_key: tuple(outcomes) for run_key, outcomes in found.items()}

    def get_verdicts(self, run_keys: Sequence[str]) -> dict[str, Verdict]:
        """What holds of each run; those without judgements are left out."""
        with self._store.read() as cursor:
            rows = cursor.execute(
                "SELECT run_key, outcome, method, meaning, n_judgements, is_contested"
                " FROM verdicts WHERE run_key IN (SELECT unnest(?::VARCHAR[]))",
                [list(run_keys)],
            ).fetchall()
        return {row[0]: Verdict(*row) for row in rows}

    def list_pairs(
        self, left: str, right: str, set_id: str | None = None
    ) -> tuple[tuple[str, str, str], ...]:
        """Runs that two methods have judged: key and both meanings.

        Args:
            left: one method. right: the other one.
            set_id: only answers to this question set.
        """
        with self._store.read() as cursor:
            rows = cursor.execute(
                _SELECT_PAIRS, {"left": left, "right": right, "set_id": set_id}
            ).fetchall()
        return tuple(rows)

    def count_outcomes(
        self, set_id: str, source_id: str | None = None
    ) -> tuple[tuple[bool, str, str, int], ...]:
        """How many answers to a set have which outcome: tools, method, outcome, count.

        The method `verdict` is what holds of each answer; `unjudged` is one of its outcomes.
        """
        with self._store.read() as cursor:
            rows = cursor.execute(_COUNT, {"set_id": set_id, "source": source_id}).fetchall()
        return tuple(rows)

    def count_contested(
        self, set_id: str, source_id: str | None = None
    ) -> tuple[tuple[bool, int], ...]:
        """Of how many answers to a set judgements differ: tools, count."""
        with self._store.read() as cursor:
            rows = cursor.execute(
                _COUNT_CONTESTED, {"set_id": set_id, "source": source_id}
            ).fetchall()
        return tuple(rows)

    def find_replies(self, reply_keys: Sequence[str]) -> dict[str, dict[str, object]]:
        """What judges replied earlier to exactly these questions; others are left out."""
        with self._store.read() as cursor:
            rows = cursor.execute(
                "SELECT reply_key, reply::VARCHAR FROM base.judge_replies"
                " WHERE reply_key IN (SELECT unnest(?::VARCHAR[]))",
                [list(reply_keys)],
            ).fetchall()
        return {reply_key: json.loads(reply) for reply_key, reply in rows}

    def insert_reply(self, reply_key: str, reply: dict[str, object]) -> None:
        """Keeps what a judge replied."""
        with self._store.write(is_counted=False) as cursor:
            cursor.execute(
                "INSERT INTO base.judge_replies VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                [reply_key, json.dumps(reply, sort_keys=True), to_utc(datetime.now(UTC))],
            )


def _to_table(outcomes: Sequence[Outcome]) -> pa.Table:
    names = ("run_key", "outcome", "method", "evidence", "judge", "created_by")
    columns: dict[str, pa.Array] = {
        name: pa.array([getattr(item, name) for item in outcomes], pa.string()) for name in names
    }
    columns["confidence"] = pa.array([item.confidence for item in outcomes], pa.float64())
    moments = [to_utc(item.created_at) for item in outcomes]
    columns["created_at"] = pa.array(moments, pa.timestamp("us"))
    return pa.table(columns)
