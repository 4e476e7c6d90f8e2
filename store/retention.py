"""What takes space in the store, and which runs a rule would remove.

Invariant: nothing is deleted here: a plan names the runs, `removal.delete_runs` takes them out.
Runs that have an outcome are kept unless a rule says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from store.connection import Store
from store.rows import to_utc
from store.specs import RunKind

_SPACE = """
    WITH sizes AS (SELECT run_no, count(*) AS n_activations FROM base.activations GROUP BY run_no)
    SELECT s.source_id, r.kind, count(*), sum(r.n_tokens)::BIGINT,
           coalesce(sum(n_activations), 0)::BIGINT, min(r.created_at), max(r.created_at)
    FROM base.runs AS r JOIN base.sources AS s USING (source_no) LEFT JOIN sizes USING (run_no)
    GROUP BY ALL ORDER BY 5 DESC, 3 DESC
"""
_CHOSEN = """
    WITH sizes AS (SELECT run_no, count(*) AS n_activations FROM base.activations GROUP BY run_no),
    used AS (SELECT run_no, max(hit_at) AS hit_at FROM base.hits GROUP BY run_no)
    SELECT r.run_key, r.prompt, r.n_tokens, coalesce(n_activations, 0)
    FROM base.runs AS r JOIN base.sources AS s USING (source_no)
    LEFT JOIN sizes USING (run_no) LEFT JOIN used USING (run_no)
    WHERE ($source IS NULL OR s.source_id = $source OR s.name = $source)
      AND ($kind IS NULL OR r.kind = $kind)
      AND ($created_before::TIMESTAMP IS NULL OR r.created_at < $created_before::TIMESTAMP)
      AND ($unused_since::TIMESTAMP IS NULL
           OR coalesce(hit_at, r.created_at) < $unused_since::TIMESTAMP)
      AND ($with_judged OR NOT EXISTS (FROM base.outcomes AS o WHERE o.run_no = r.run_no))
    ORDER BY r.created_at, r.run_no
"""


@dataclass(frozen=True, slots=True)
class SpaceUse:
    """What the runs of one source and kind take; times are UTC without a zone."""

    source_id: str
    kind: str
    n_runs: int
    n_tokens: int
    n_activations: int
    oldest: datetime
    newest: datetime


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """Which runs are no longer wanted: those to which everything that is given applies.

    Attributes:
        source: id or name.
        created_before: computed before this moment.
        unused_since: neither computed nor returned from the store since this moment.
        with_judged: also runs that have an outcome.
    """

    source: str | None = None
    kind: RunKind | None = None
    created_before: datetime | None = None
    unused_since: datetime | None = None
    with_judged: bool = False


@dataclass(frozen=True, slots=True)
class RemovalPlan:
    """What removing runs by a rule would take out.

    Attributes:
        run_keys: oldest first. prompts: of the first few, for a person to recognise.
        share: of all stored activations that theirs are, 0 to 1.
    """

    run_keys: tuple[str, ...]
    prompts: tuple[str, ...]
    n_tokens: int
    n_activations: int
    share: float


def list_space(store: Store) -> tuple[SpaceUse, ...]:
    """What takes space, the largest first.

    Raises:
        StoreUnusableError: if the file cannot be read.
    """
    with store.read() as cursor:
        rows = cursor.execute(_SPACE).fetchall()
    return tuple(SpaceUse(*row) for row in rows)


def get_used_bytes(store: Store) -> int:
    """Bytes of the file's blocks that hold something; the others are room for what is written next.

    Raises:
        StoreUnusableError: if the file cannot be read.
    """
    with store.read() as cursor:
        [(used,)] = cursor.execute(
            "SELECT (used_blocks * block_size)::BIGINT FROM pragma_database_size()"
        ).fetchall()
    return int(used)


def plan_removal(store: Store, rule: RetentionRule, n_prompts: int = 5) -> RemovalPlan:
    """Names the runs that a rule would remove; nothing is changed.

    Raises:
        StoreUnusableError: if the file cannot be read.
    """
    values = {
        "source": rule.source,
        "kind": rule.kind,
        "created_before": rule.created_before and to_utc(rule.created_before),
        "unused_since": rule.unused_since and to_utc(rule.unused_since),
        "with_judged": rule.with_judged,
    }
    with store.read() as cursor:
        rows = cursor.execute(_CHOSEN, values).fetchall()
        [(n_all,)] = cursor.execute("SELECT count(*) FROM base.activations").fetchall()
    n_activations = sum(row[3] for row in rows)
    return RemovalPlan(
        run_keys=tuple(row[0] for row in rows),
        prompts=tuple(row[1] for row in rows[:n_prompts]),
        n_tokens=sum(row[2] for row in rows),
        n_activations=n_activations,
        share=n_activations / n_all if n_all else 0.0,
    )
