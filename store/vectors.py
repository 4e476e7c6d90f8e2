"""Vectors of models' residual streams: kept with their values under a name of their content.

Invariant: a vector's id is a digest of model, revision, layer, site and values, so that a run that
names it always means the same numbers; what is stored is finite and not all zero.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from datetime import UTC, datetime

import numpy as np

from store.connection import Store
from store.errors import InvalidSpecError, VectorNotFoundError
from store.interventions import SteeringSpec
from store.rows import from_utc, to_utc
from store.specs import is_storable
from store.steering_records import Vector, VectorDraft, VectorValues

MAX_NAME_CHARS = 200
MAX_CONTENT_CHARS = 10_000_000
MAX_WIDTH = 1_000_000
_SITES = ("resid_pre", "resid_post")
_ID_DIGITS = 20
_COLUMNS = ", ".join(item.name for item in fields(Vector))
_SELECT = f"SELECT {_COLUMNS.replace('content', 'content::VARCHAR AS content')} FROM base.vectors"


class VectorRepository:
    """Vectors of one store; every method may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def insert_vector(self, draft: VectorDraft, values: VectorValues) -> Vector:
        """Stores a vector; one of the same content that is stored already is returned as it is.

        Args:
            draft: what is said of it.
            values: [d_model], finite.

        Raises:
            InvalidSpecError: for values or texts that cannot be stored.
        """
        plain = _checked_values(values)
        _check_draft(draft)
        vector_id = _vector_id(draft, plain)
        with self._store.write() as cursor:
            row = cursor.execute(
                "SELECT vector_id FROM base.vectors WHERE vector_id = ?", [vector_id]
            ).fetchall()
            if not row:
                created_at = to_utc(datetime.now(UTC))
                given = {item.name: getattr(draft, item.name) for item in fields(draft)}
                given |= {
                    "vector_id": vector_id,
                    "d_model": len(plain),
                    "norm": float(np.linalg.norm(plain.astype(np.float64))),
                    "created_at": created_at,
                }
                names = [item.name for item in fields(Vector)]
                marks = ", ".join("?" * len(names))
                cursor.execute(
                    f"INSERT INTO base.vectors ({_COLUMNS}) VALUES ({marks})",
                    [given[name] for name in names],
                )
                cursor.execute(
                    "INSERT INTO base.vector_values VALUES (?, ?)",
                    [vector_id, plain.astype("<f4").tobytes()],
                )
        return self.get_vector(vector_id)

    def find_vector(self, vector_id: str) -> Vector | None:
        """The vector, or None."""
        if not is_storable(vector_id):
            return None
        with self._store.read() as cursor:
            rows = cursor.execute(f"{_SELECT} WHERE vector_id = ?", [vector_id]).fetchall()
        return _to_vector(rows[0]) if rows else None

    def get_vector(self, vector_id: str) -> Vector:
        """The vector.

        Raises:
            VectorNotFoundError: if none has this id.
        """
        found = self.find_vector(vector_id)
        if found is None:
            raise VectorNotFoundError(vector_id)
        return found

    def get_values(self, vector_id: str) -> VectorValues:
        """Its numbers, float32 [d_model], read-only.

        Raises:
            VectorNotFoundError: if none has this id.
        """
        with self._store.read() as cursor:
            rows = cursor.execute(
                "SELECT value FROM base.vector_values WHERE vector_id = ?",
                [vector_id if is_storable(vector_id) else ""],
            ).fetchall()
        if not rows:
            raise VectorNotFoundError(vector_id)
        return np.frombuffer(bytes(rows[0][0]), "<f4").astype(np.float32, copy=False)

    def list_vectors(
        self,
        model_id: str | None = None,
        concept: str | None = None,
        layer: int | None = None,
        limit: int = 500,
    ) -> tuple[Vector, ...]:
        """Vectors, newest first, of one model, concept or layer if these are given."""
        with self._store.read() as cursor:
            rows = cursor.execute(
                f"{_SELECT} WHERE ($1 IS NULL OR model_id = $1) AND ($2 IS NULL OR concept = $2)"
                " AND ($3 IS NULL OR layer = $3)"
                " ORDER BY created_at DESC, name, layer, vector_id LIMIT $4",
                [model_id, concept, layer, max(limit, 0)],
            ).fetchall()
        return tuple(_to_vector(row) for row in rows)

    def delete_vector(self, vector_id: str) -> bool:
        """Deletes a vector; False if there is none of this id.

        Raises:
            InvalidSpecError: if a stored run was steered with it: its link must stay true.
        """
        if self.find_vector(vector_id) is None:
            return False
        with self._store.write() as cursor:
            [(n_runs,)] = cursor.execute(
                "SELECT count(*) FROM base.runs WHERE contains(steering::VARCHAR, ?)", [vector_id]
            ).fetchall()
            if n_runs:
                raise InvalidSpecError(
                    "vector_id",
                    f"{n_runs:,} stored runs were steered with this vector.",
                    "Remove these runs first, or leave it.",
                )
            for table in ("vector_values", "vectors"):
                cursor.execute(f"DELETE FROM base.{table} WHERE vector_id = ?", [vector_id])
        return True


def read_vectors(store: Store, steering: SteeringSpec) -> dict[str, VectorValues]:
    """The values of every vector that interventions name, by id.

    Raises:
        VectorNotFoundError: if one is not stored.
    """
    repository = VectorRepository(store)
    return {vector_id: repository.get_values(vector_id) for vector_id in steering.vector_ids()}


def _vector_id(draft: VectorDraft, values: VectorValues) -> str:
    place = [draft.model_id, draft.model_revision, draft.layer, draft.site, len(values)]
    digest = hashlib.sha256(json.dumps(place).encode())
    digest.update(values.astype("<f4").tobytes())
    return digest.hexdigest()[:_ID_DIGITS]


def _checked_values(values: VectorValues) -> VectorValues:
    """The values as float32, minus zero as zero."""
    # values beyond float32 become infinite here, and are refused as such
    with np.errstate(over="ignore"):
        plain = np.asarray(values).astype(np.float32) + np.float32(0)
    if plain.ndim != 1 or not 0 < len(plain) <= MAX_WIDTH:
        raise InvalidSpecError(
            "values", f"A vector has one axis of 1 to {MAX_WIDTH:,} numbers, not {plain.shape}."
        )
    if not np.isfinite(plain).all():
        raise InvalidSpecError(
            "values",
            "The vector holds values that are no finite numbers.",
            "Make it again; in float16 the values of some models overflow.",
        )
    if not plain.any():
        raise InvalidSpecError(
            "values",
            "The vector is zero everywhere: it points nowhere.",
            "Its pairs cancel, or are equal: choose texts that differ in the concept.",
        )
    return plain


def _check_draft(draft: VectorDraft) -> None:
    texts = (
        draft.name,
        draft.model_id,
        draft.model_revision,
        draft.method,
        draft.concept,
        draft.created_by,
        draft.content,
    )
    if not all(is_storable(text) for text in texts):
        raise InvalidSpecError("name", "A text of the vector is not valid Unicode.")
    if not draft.name.strip() or len(draft.name) > MAX_NAME_CHARS:
        raise InvalidSpecError(
            "name", f"A vector needs a name of at most {MAX_NAME_CHARS} characters."
        )
    if draft.site not in _SITES or draft.layer < 0:
        raise InvalidSpecError(
            "layer",
            f"{draft.layer} {draft.site!r} is no place in a model.",
            f"A layer is 0 or above, its site one of {', '.join(_SITES)}.",
        )
    if len(draft.content) > MAX_CONTENT_CHARS:
        raise InvalidSpecError(
            "content", f"A vector's content has at most {MAX_CONTENT_CHARS:,} characters."
        )
    try:
        json.loads(draft.content)
    except ValueError as error:
        raise InvalidSpecError("content", "A vector's content must be JSON.") from error
    for name in ("reliability", "residual_norm"):
        number = getattr(draft, name)
        if number is not None and not np.isfinite(number):
            raise InvalidSpecError(name, f"{name} of a vector must be a finite number.")


def _to_vector(row: tuple[object, ...]) -> Vector:
    values = dict(zip((item.name for item in fields(Vector)), row, strict=True))
    values["created_at"] = from_utc(values["created_at"])
    for name in ("model_revision", "concept"):
        values[name] = values[name] or ""
    return Vector(**values)  # type: ignore[arg-type]  # the columns have the fields' types
