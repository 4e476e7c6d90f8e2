"""Labels: what people, rules and models say that features mean, with everything that was ever said.

Invariant: nothing that was written is lost: an edit, a restoration and a withdrawal leave the label
that they end in the history, and an edit of a label that somebody else had edited meanwhile is
kept there too. At most one label of a feature is current: the latest active one of a person; where
there is none, the active automatic one (or a model's) with the highest score, from MIN_SCORE on.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa

from store.connection import Store
from store.errors import InvalidSpecError, LabelConflictError, LabelNotFoundError
from store.feature_records import MIN_SCORE, ORIGINS, Label, LabelOrigin, NewLabel
from store.plain_text import author_name, checked_json, checked_line
from store.rows import from_utc, to_utc
from store.sources import check_feature, get_source
from store.specs import is_storable

MAX_LABEL_CHARS = 1_000
MAX_EVIDENCE_CHARS = 65_536
_ID_BYTES = 8

_SELECT = """
    SELECT l.label_id, s.source_id, l.feature, l.text, l.origin, l.author, l.created_at, l.score,
           l.evidence::VARCHAR, l.replaces, l.status, l.is_current, l.ended_at, l.ended_by
    FROM base.labels AS l JOIN base.sources AS s USING (source_no)
"""
_INSERT = """
    INSERT INTO base.labels (source_no, feature, text, origin, score, author, created_at,
                             is_current, label_id, evidence, replaces, status)
    SELECT $source_no, n.feature, n.text, $origin, n.score, $author, $created_at, false, n.label_id,
           n.evidence, coalesce($replaces, o.label_id), $status
    FROM incoming_labels AS n
    LEFT JOIN (
        SELECT feature, max(label_id) AS label_id FROM base.labels
        WHERE source_no = $source_no AND status = 'active' AND origin = $origin
          AND author = $author AND $origin <> 'human'
        GROUP BY feature
    ) AS o USING (feature)
"""
_END_SAME = """
    UPDATE base.labels SET status = 'replaced', ended_at = $created_at, ended_by = $author
    WHERE source_no = $source_no AND status = 'active' AND origin = $origin AND author = $author
      AND feature IN (SELECT feature FROM incoming_labels)
      AND label_id NOT IN (SELECT label_id FROM incoming_labels)
"""
_END = "UPDATE base.labels SET status = ?, ended_at = ?, ended_by = ? WHERE label_id = ?"
_CHOOSE = """
    WITH ranked AS (
        SELECT label_id, row_number() OVER (
            PARTITION BY feature
            ORDER BY origin = 'human' DESC, if(origin = 'human', 1, score) DESC, created_at DESC,
                     rowid DESC
        ) AS place
        FROM base.labels
        WHERE source_no = $source_no AND feature IN (SELECT feature FROM touched)
          AND status = 'active' AND (origin = 'human' OR score >= $least)
    ), chosen AS (SELECT label_id FROM ranked WHERE place = 1)
    UPDATE base.labels SET is_current = label_id IN (FROM chosen)
    WHERE source_no = $source_no AND feature IN (SELECT feature FROM touched)
      AND is_current <> (label_id IN (FROM chosen))
"""
_BEST_FIRST = "ORDER BY l.is_current DESC, l.origin = 'human' DESC, l.score DESC, l.created_at DESC"
_SCHEMA = pa.schema(
    [
        ("feature", pa.int32()),
        ("text", pa.string()),
        ("score", pa.float64()),
        ("evidence", pa.string()),
        ("label_id", pa.string()),
    ]
)


class LabelRepository:
    """Labels of one store; every method may be called from any thread.

    Every method that takes a source raises SourceNotFoundError if nothing of it is stored, and
    InvalidSpecError for a feature that it does not have.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def insert_label(
        self,
        source: str,
        feature: int,
        text: str,
        origin: LabelOrigin = "human",
        author: str = "",
        score: float | None = None,
        evidence: str | None = None,
        replaces: str | None = None,
    ) -> Label:
        """Writes a label, or an edit of one.

        An automatic or model's label takes the place of the one of the same origin and author.

        Args:
            source: id or name.
            evidence: JSON text.
            replaces: label_id of the one that was read and is edited; None for one more label.

        Raises:
            InvalidSpecError: if text, score, evidence or origin cannot be, or the label that it
                replaces is of another feature.
            LabelNotFoundError: if the label that it replaces is not stored.
            LabelConflictError: if somebody had changed that label meanwhile; the text is kept.
        """
        new = _checked(NewLabel(feature, text, score, evidence))
        label_id = secrets.token_hex(_ID_BYTES)
        changed_by = None
        with self._store.write() as cursor:
            source_no = _source_no(cursor, source, [feature])
            values = _values(source_no, origin, author)
            if replaces is not None:
                former = _get(cursor, replaces)
                _check_same_feature(cursor, former, source, feature)
                if former.status == "active":
                    ended = ["replaced", values["created_at"], values["author"], replaces]
                    cursor.execute(_END, ended)
                else:
                    changed_by = former.ended_by or former.author
            status = "active" if changed_by is None else "late"
            _insert(cursor, [(new, label_id)], values | {"replaces": replaces, "status": status})
            label = _get(cursor, label_id)
        if changed_by is not None:
            raise LabelConflictError(changed_by, label_id)
        return label

    def insert_labels(
        self, source: str, labels: Sequence[NewLabel], origin: LabelOrigin, author: str
    ) -> int:
        """Writes many labels in one transaction; returns how many.

        Each takes the place of the active one of the same feature, origin and author, if that is
        not a person's.

        Raises:
            InvalidSpecError: if one of them cannot be, or two are of one feature; none is written.
        """
        checked = [_checked(label) for label in labels]
        features = [label.feature for label in checked]
        if len(set(features)) < len(features):
            raise InvalidSpecError("labels", "Two of the labels are of one feature.")
        if not checked:
            return 0
        rows = [(label, secrets.token_hex(_ID_BYTES)) for label in checked]
        with self._store.write() as cursor:
            values = _values(_source_no(cursor, source, features), origin, author)
            _insert(cursor, rows, values | {"replaces": None, "status": "active"})
        return len(rows)

    def get_label(self, label_id: str) -> Label:
        """One label, whatever became of it.

        Raises:
            LabelNotFoundError: if there is none of this id.
        """
        with self._store.read() as cursor:
            return _get(cursor, label_id)

    def list_labels(self, source: str, feature: int) -> tuple[Label, ...]:
        """The active labels of a feature: the current one first, then people's, then by score."""
        return self._list(source, feature, "AND l.status = 'active' " + _BEST_FIRST)

    def list_history(self, source: str, feature: int) -> tuple[Label, ...]:
        """All labels that the feature ever had, the newest first."""
        return self._list(source, feature, "ORDER BY l.created_at DESC, l.rowid DESC")

    def find_current(self, source: str, feature: int) -> Label | None:
        """The label that is shown where there is room for one."""
        return next(iter(self._list(source, feature, "AND l.is_current")), None)

    def get_current_labels(
        self, source: str, features: Sequence[int] | None = None
    ) -> dict[int, Label]:
        """The current label of each of the features that has one; of all features if None."""
        with self._store.read() as cursor:
            found = get_source(cursor, source)
            wanted = None if features is None else [int(feature) for feature in features]
            rows = cursor.execute(
                f"{_SELECT} WHERE l.source_no = $1 AND l.is_current"
                " AND ($2::INTEGER[] IS NULL OR l.feature IN (SELECT unnest($2::INTEGER[])))",
                [found.source_no, wanted],
            ).fetchall()
        labels = map(_label, rows)
        return {label.feature: label for label in labels}

    def get_scores(self, source: str, origin: LabelOrigin, author: str) -> dict[int, float | None]:
        """Scores of all active labels of an origin and author by feature, current ones or not."""
        with self._store.read() as cursor:
            found = get_source(cursor, source)
            rows = cursor.execute(
                "SELECT feature, score FROM base.labels WHERE source_no = ? AND status = 'active'"
                " AND origin = ? AND author = ?",
                [found.source_no, origin, author],
            ).fetchall()
        return dict(rows)

    def get_all_scores(self, source: str) -> tuple[tuple[str, float], ...]:
        """Origin and score of every active label of a source that was scored."""
        with self._store.read() as cursor:
            found = get_source(cursor, source)
            rows = cursor.execute(
                "SELECT origin, score FROM base.labels WHERE source_no = ? AND status = 'active'"
                " AND score IS NOT NULL ORDER BY origin, score",
                [found.source_no],
            ).fetchall()
        return tuple(rows)

    def restore_label(self, label_id: str, author: str) -> Label:
        """Makes an older label, one that came late, or an automatic one the current one again.

        It is written anew as a person's, with text, score and evidence of the old one, in the place
        of what the old one was edited to.

        Raises:
            LabelNotFoundError: if there is none of this id.
        """
        with self._store.write() as cursor:
            old = _get(cursor, label_id)
            values = _values(_source_no(cursor, old.source_id, [old.feature]), "human", author)
            head = _head(self._read_all(cursor, old), old)
            if head is not None:
                ended = ["replaced", values["created_at"], values["author"], head.label_id]
                cursor.execute(_END, ended)
            new = NewLabel(old.feature, old.text, old.score, old.evidence)
            new_id = secrets.token_hex(_ID_BYTES)
            replaced = label_id if head is None else head.label_id
            _insert(cursor, [(new, new_id)], values | {"replaces": replaced, "status": "active"})
            return _get(cursor, new_id)

    def withdraw_label(self, label_id: str, author: str) -> Label:
        """Takes a label out of what is shown; the history keeps it.

        Raises:
            LabelNotFoundError: if there is none of this id.
            LabelConflictError: if it is not active any more.
        """
        with self._store.write() as cursor:
            label = _get(cursor, label_id)
            if label.status != "active":
                raise LabelConflictError(label.ended_by or label.author, label_id)
            values = _values(_source_no(cursor, label.source_id, [label.feature]), "human", author)
            cursor.execute(_END, ["withdrawn", values["created_at"], values["author"], label_id])
            _choose_current(cursor, values["source_no"], [label.feature])
            return _get(cursor, label_id)

    def _list(self, source: str, feature: int, rest: str) -> tuple[Label, ...]:
        with self._store.read() as cursor:
            source_no = _source_no(cursor, source, [feature])
            rows = cursor.execute(
                f"{_SELECT} WHERE l.source_no = ? AND l.feature = ? {rest}", [source_no, feature]
            ).fetchall()
        return tuple(map(_label, rows))

    @staticmethod
    def _read_all(cursor: duckdb.DuckDBPyConnection, label: Label) -> list[Label]:
        rows = cursor.execute(
            f"{_SELECT} WHERE s.source_id = ? AND l.feature = ?", [label.source_id, label.feature]
        ).fetchall()
        return [_label(row) for row in rows]


def _head(labels: Sequence[Label], label: Label) -> Label | None:
    """The active label that this one became by edits, or that it would have been an edit of."""
    by_id = {item.label_id: item for item in labels}

    def root(item: Label) -> str:
        seen = {item.label_id}
        while item.replaces in by_id and item.replaces not in seen:
            item = by_id[item.replaces]
            seen.add(item.label_id)
        return item.label_id

    wanted = root(label)
    heads = (item for item in labels if item.status == "active" and root(item) == wanted)
    return next(heads, None)


def _insert(
    cursor: duckdb.DuckDBPyConnection,
    rows: Sequence[tuple[NewLabel, str]],
    values: dict[str, Any],
) -> None:
    """Writes labels of one source, ends those whose place they take, and chooses the current."""
    table = pa.Table.from_pylist(
        [
            {
                "feature": label.feature,
                "text": label.text,
                "score": label.score,
                "evidence": label.evidence,
                "label_id": label_id,
            }
            for label, label_id in rows
        ],
        schema=_SCHEMA,
    )
    cursor.register("incoming_labels", table)
    cursor.execute(_INSERT, values)
    if values["origin"] != "human" and values["status"] == "active":
        named = ("created_at", "author", "source_no", "origin")
        cursor.execute(_END_SAME, {name: values[name] for name in named})
    cursor.unregister("incoming_labels")
    _choose_current(cursor, values["source_no"], [label.feature for label, _ in rows])


def _choose_current(
    cursor: duckdb.DuckDBPyConnection, source_no: int, features: Sequence[int]
) -> None:
    cursor.register("touched", pa.table({"feature": pa.array(features, pa.int32())}))
    cursor.execute(_CHOOSE, {"source_no": source_no, "least": MIN_SCORE})
    cursor.unregister("touched")


def _get(cursor: duckdb.DuckDBPyConnection, label_id: str) -> Label:
    rows = []
    if is_storable(label_id):
        rows = cursor.execute(_SELECT + "WHERE l.label_id = ?", [label_id]).fetchall()
    if not rows:
        raise LabelNotFoundError(label_id)
    return _label(rows[0])


def _label(row: tuple[Any, ...]) -> Label:
    values = list(row)
    values[6] = from_utc(values[6])
    values[12] = None if values[12] is None else from_utc(values[12])
    return Label(*values)


def _source_no(cursor: duckdb.DuckDBPyConnection, source: str, features: Sequence[int]) -> int:
    found = get_source(cursor, source)
    for feature in (min(features), max(features)):
        check_feature(found, feature)
    return found.source_no


def _check_same_feature(
    cursor: duckdb.DuckDBPyConnection, former: Label, source: str, feature: int
) -> None:
    if (former.source_id, former.feature) != (get_source(cursor, source).source_id, feature):
        raise InvalidSpecError(
            "replaces",
            "The label that is edited is of another feature.",
            "Open the feature's page again.",
        )


def _values(source_no: int, origin: str, author: str) -> dict[str, Any]:
    if origin not in ORIGINS:
        raise InvalidSpecError(
            "origin", f"A label has the origin {origin!r}.", f"Use one of {', '.join(ORIGINS)}."
        )
    return {
        "source_no": source_no,
        "origin": origin,
        "author": author_name(author),
        "created_at": to_utc(datetime.now(UTC)),
    }


def _checked(label: NewLabel) -> NewLabel:
    """The label with its text on one line.

    Raises:
        InvalidSpecError: if it cannot be stored.
    """
    text = checked_line("label", label.text, MAX_LABEL_CHARS, "The label")
    if label.score is not None and not (math.isfinite(label.score) and 0 <= label.score <= 1):
        raise InvalidSpecError("score", "The score of a label is a number from 0 to 1.")
    if label.evidence is not None:
        checked_json("evidence", label.evidence, MAX_EVIDENCE_CHARS, "The evidence of the label")
    return NewLabel(int(label.feature), text, label.score, label.evidence)
