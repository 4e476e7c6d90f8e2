"""Detectors: kept with their evaluation in one transaction, listed, retired; scores of stored runs.

Invariant: a detector is never changed, only retired; of a run it has at most one score, the newest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from store.connection import Store
from store.detector_records import (
    Detector,
    DetectorResult,
    RunScore,
    SourceFacts,
    StoredEvaluation,
)
from store.errors import DetectorNotFoundError
from store.rows import from_utc, to_utc
from store.sources import get_source

_SELECT = """
    SELECT d.detector_id, d.name, s.source_id, d.kind, d.features::VARCHAR, d.metrics::VARCHAR,
           d.split_hash, d.evaluation_id, d.method, d.site, d.note, d.is_chosen,
           d.model::VARCHAR, d.created_by, d.retired_by, d.created_at, d.retired_at
    FROM base.detectors AS d JOIN base.sources AS s USING (source_no)
"""
_INSERT = """
    INSERT INTO base.detectors (
        detector_id, name, source_no, kind, features, metrics, split_hash, created_at,
        evaluation_id, method, site, note, is_chosen, model, created_by
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_SCORES = """
    INSERT INTO base.detector_scores
    SELECT $1, r.run_no, i.score, i.probability, i.part, $2
    FROM incoming_scores AS i JOIN base.runs AS r USING (run_key)
"""
_FORGET_SCORES = """
    DELETE FROM base.detector_scores WHERE detector_id = ? AND run_no IN (
        SELECT run_no FROM base.runs WHERE run_key IN (SELECT run_key FROM incoming_scores)
    )
"""
_RESULT_COLUMNS = "slice, n_positive, n_negative, verdict, metric, value, low, high"


class DetectorRepository:
    """Detectors of one store; every method may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def insert_evaluation(
        self,
        evaluation: StoredEvaluation,
        detectors: Sequence[Detector],
        results: Mapping[str, Sequence[DetectorResult]],
        scores: Mapping[str, Sequence[RunScore]],
    ) -> None:
        """Keeps an evaluation with its detectors, in place of an equal one.

        Detectors that were retired stay so.

        Args:
            evaluation: of a stored source.
            detectors: those of the evaluation.
            results: by detector_id. scores: by detector_id, of runs that are stored.

        Raises:
            SourceNotFoundError: if nothing of its source is stored.
        """
        ids = [detector.detector_id for detector in detectors]
        with self._store.write() as cursor:
            source_no = get_source(cursor, evaluation.source_id).source_no
            moment = to_utc(evaluation.created_at)
            retired = cursor.execute(
                "SELECT retired_by, retired_at, detector_id FROM base.detectors"
                " WHERE retired_at IS NOT NULL AND detector_id IN (SELECT unnest(?::VARCHAR[]))",
                [ids],
            ).fetchall()
            cursor.execute(
                "DELETE FROM base.evaluations WHERE evaluation_id = ?", [evaluation.evaluation_id]
            )
            for table in ("detectors", "detector_results", "detector_scores"):
                cursor.execute(
                    f"DELETE FROM base.{table} WHERE detector_id IN (SELECT unnest(?::VARCHAR[]))",
                    [ids],
                )
            cursor.execute(
                "INSERT INTO base.evaluations VALUES (?, ?, ?, ?, ?, ?)",
                [
                    evaluation.evaluation_id,
                    source_no,
                    evaluation.set_name,
                    evaluation.report,
                    evaluation.created_by,
                    moment,
                ],
            )
            for detector in detectors:
                cursor.execute(_INSERT, _to_values(detector, source_no))
            rows = [
                [detector_id, *(getattr(item, name) for name in _RESULT_COLUMNS.split(", "))]
                for detector_id, items in results.items()
                for item in items
            ]
            if rows:
                cursor.executemany(
                    f"INSERT INTO base.detector_results (detector_id, {_RESULT_COLUMNS})"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    rows,
                )
            for detector_id, items in scores.items():
                cursor.register("incoming_scores", _scores_table(items))
                cursor.execute(_INSERT_SCORES, [detector_id, moment])
                cursor.unregister("incoming_scores")
            if retired:
                cursor.executemany(
                    "UPDATE base.detectors SET retired_by = ?, retired_at = ?"
                    " WHERE detector_id = ?",
                    retired,
                )

    def get_source(self, source: str) -> SourceFacts:
        """A stored source by its id, else the newest of this name.

        Raises:
            SourceNotFoundError: if nothing of it is stored.
        """
        with self._store.read() as cursor:
            found = get_source(cursor, source)
            [row] = cursor.execute(
                "SELECT source_id, name, d_sae, max_active FROM base.sources WHERE source_no = ?",
                [found.source_no],
            ).fetchall()
        return SourceFacts(*row)

    def find_evaluation(self, evaluation_id: str) -> StoredEvaluation | None:
        """The evaluation of this id, or None."""
        found = self._select_evaluations("WHERE e.evaluation_id = ?", [evaluation_id])
        return found[0] if found else None

    def list_evaluations(
        self, source: str | None = None, limit: int = 50
    ) -> tuple[StoredEvaluation, ...]:
        """Evaluations, the newest first; of a source, by id or name, where one is given."""
        return self._select_evaluations(
            "WHERE $1 IS NULL OR s.source_id = $1 OR s.name = $1"
            " ORDER BY e.created_at DESC LIMIT $2",
            [source, max(limit, 0)],
        )

    def _select_evaluations(
        self, condition: str, values: list[object]
    ) -> tuple[StoredEvaluation, ...]:
        with self._store.read() as cursor:
            rows = cursor.execute(
                "SELECT e.evaluation_id, s.source_id, e.set_name, e.report::VARCHAR, e.created_by,"
                " e.created_at FROM base.evaluations AS e JOIN base.sources AS s USING (source_no) "
                + condition,
                values,
            ).fetchall()
        return tuple(
            StoredEvaluation(
                evaluation_id=row[0],
                source_id=row[1],
                set_name=row[2],
                report=row[3],
                created_by=row[4],
                created_at=from_utc(row[5]),
            )
            for row in rows
        )

    def list_detectors(
        self, source: str | None = None, with_retired: bool = False
    ) -> tuple[Detector, ...]:
        """Detectors, the newest evaluation first, in it the chosen one first."""
        with self._store.read() as cursor:
            rows = cursor.execute(
                _SELECT + "WHERE ($1 IS NULL OR s.source_id = $1 OR s.name = $1)"
                " AND ($2 OR d.retired_at IS NULL)"
                " ORDER BY d.created_at DESC, d.evaluation_id, d.is_chosen DESC, d.rowid",
                [source, with_retired],
            ).fetchall()
        return tuple(_to_detector(row) for row in rows)

    def list_results(
        self, detector_ids: Sequence[str], slice_name: str, metric: str
    ) -> dict[str, DetectorResult]:
        """One figure on one slice, by detector; those without it are left out."""
        with self._store.read() as cursor:
            rows = cursor.execute(
                f"SELECT detector_id, {_RESULT_COLUMNS} FROM base.detector_results"
                " WHERE slice = ? AND metric = ? AND detector_id IN (SELECT unnest(?::VARCHAR[]))",
                [slice_name, metric, list(detector_ids)],
            ).fetchall()
        return {row[0]: DetectorResult(*row[1:]) for row in rows}

    def get_detector(self, detector_id: str) -> Detector:
        """The detector of this id.

        Raises:
            DetectorNotFoundError: if there is none.
        """
        with self._store.read() as cursor:
            rows = cursor.execute(_SELECT + "WHERE d.detector_id = ?", [detector_id]).fetchall()
        if not rows:
            raise DetectorNotFoundError(detector_id)
        return _to_detector(rows[0])

    def retire_detector(self, detector_id: str, person: str) -> Detector:
        """Takes a detector out of use; its figures and scores stay.

        Raises:
            DetectorNotFoundError: if there is none of this id.
        """
        with self._store.write() as cursor:
            cursor.execute(
                "UPDATE base.detectors SET retired_by = ?, retired_at = ?"
                " WHERE detector_id = ? AND retired_at IS NULL",
                [person, to_utc(datetime.now(UTC)), detector_id],
            )
        return self.get_detector(detector_id)

    def insert_scores(self, detector_id: str, scores: Sequence[RunScore]) -> None:
        """Keeps scores of stored runs, in place of earlier ones; runs not stored are passed over.

        Raises:
            DetectorNotFoundError: if there is no such detector.
        """
        self.get_detector(detector_id)
        with self._store.write() as cursor:
            cursor.register("incoming_scores", _scores_table(scores))
            cursor.execute(_FORGET_SCORES, [detector_id])
            cursor.execute(_INSERT_SCORES, [detector_id, to_utc(datetime.now(UTC))])
            cursor.unregister("incoming_scores")

    def list_scores(
        self, detector_id: str, run_keys: Sequence[str] | None = None
    ) -> tuple[RunScore, ...]:
        """Scores of a detector: of these runs, or of all that have one."""
        with self._store.read() as cursor:
            rows = cursor.execute(
                "SELECT r.run_key, s.score, s.probability, s.part FROM base.detector_scores AS s"
                " JOIN base.runs AS r USING (run_no) WHERE s.detector_id = $1"
                " AND ($2::VARCHAR[] IS NULL OR r.run_key IN (SELECT unnest($2::VARCHAR[])))"
                " ORDER BY r.run_no",
                [detector_id, None if run_keys is None else list(run_keys)],
            ).fetchall()
        return tuple(RunScore(*row) for row in rows)


def _to_values(detector: Detector, source_no: int) -> list[object]:
    return [
        detector.detector_id,
        detector.name,
        source_no,
        detector.kind,
        detector.features,
        detector.metrics,
        detector.split_hash,
        to_utc(detector.created_at),
        detector.evaluation_id,
        detector.method,
        detector.site,
        detector.note,
        detector.is_chosen,
        detector.model,
        detector.created_by,
    ]


def _to_detector(row: tuple[Any, ...]) -> Detector:
    return Detector(
        detector_id=row[0],
        name=row[1],
        source_id=row[2],
        kind=row[3],
        features=row[4],
        metrics=row[5],
        split_hash=row[6],
        evaluation_id=row[7],
        method=row[8],
        site=row[9],
        note=row[10],
        is_chosen=row[11],
        model=row[12],
        created_by=row[13],
        retired_by=row[14],
        created_at=from_utc(row[15]),
        retired_at=None if row[16] is None else from_utc(row[16]),
    )


def _scores_table(scores: Sequence[RunScore]) -> pa.Table:
    return pa.table(
        {
            "run_key": pa.array([item.run_key for item in scores], pa.string()),
            "score": pa.array([item.score for item in scores], pa.float64()),
            "probability": pa.array([item.probability for item in scores], pa.float64()),
            "part": pa.array([item.part for item in scores], pa.string()),
        }
    )
