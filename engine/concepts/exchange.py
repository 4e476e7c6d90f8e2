"""Vectors of the store, combined, compared, written to files and read from them.

Invariant: vectors that meet are of one model and one width; what comes from a file is checked
against the model that it is to steer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from engine.concepts.directions import combine, overlap
from engine.concepts.making import ModelPlace
from engine.concepts.vector_files import (
    ExportedFile,
    FileFormat,
    LayerVectors,
    read_vectors,
    write_gguf,
    write_safetensors,
)
from engine.errors import RequestError, SourceMismatchError
from store.keys import source_id
from store.steering_records import Vector, VectorDraft
from store.vectors import VectorRepository

MAX_VECTORS = 200
_FEW_HINT = "Choose between 1 and 200 vectors."


class VectorExchange:
    """What is done with stored vectors without any model."""

    def __init__(self, vectors: VectorRepository) -> None:
        self._vectors = vectors

    def overlap(self, vector_ids: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        """Cosines between vectors, in their order.

        Raises:
            VectorNotFoundError: if one is not stored.
            RequestError: if they are of different models, or too many.
        """
        self._get(vector_ids)
        matrix = overlap([self._vectors.get_values(vector_id) for vector_id in vector_ids])
        return tuple(tuple(float(value) for value in row) for row in matrix)

    def combine(
        self,
        vector_ids: Sequence[str],
        weights: Sequence[float],
        name: str,
        created_by: str,
        budget: float | None = None,
    ) -> Vector:
        """One vector from several of one layer, stored.

        Raises:
            VectorNotFoundError: if one is not stored.
            RequestError: if they are of different models or layers, or cancel.
            InvalidSpecError: for a name that cannot be stored.
        """
        parts = self._get(vector_ids)
        if len({part.layer for part in parts}) != 1:
            raise RequestError(
                "The vectors are of different layers.", "Combine those of one layer at a time."
            )
        values = [self._vectors.get_values(vector_id) for vector_id in vector_ids]
        combined = combine(values, weights, budget)
        first = parts[0]
        content = {
            "parts": [
                {"vector_id": part.vector_id, "name": part.name, "weight": float(weight)}
                for part, weight in zip(parts, weights, strict=True)
            ],
            "budget": budget,
        }
        draft = VectorDraft(
            name=name,
            model_id=first.model_id,
            model_revision=first.model_revision,
            layer=first.layer,
            method="combination",
            created_by=created_by,
            site=first.site,
            source_id=first.source_id,
            concept=name,
            residual_norm=first.residual_norm,
            content=json.dumps(content, ensure_ascii=False),
        )
        return self._vectors.insert_vector(draft, combined)

    def export(self, vector_ids: Sequence[str], form: FileFormat) -> tuple[ExportedFile, ...]:
        """Files of vectors of one model, one vector a layer.

        Raises:
            VectorNotFoundError: if one is not stored.
            RequestError: if two are of one layer, or nothing of it can be written.
        """
        parts = self._get(vector_ids)
        by_layer = {part.layer: part for part in parts}
        if len(by_layer) != len(parts):
            raise RequestError(
                "Two of the vectors are of one layer; a file holds one a layer.",
                "Export them one by one, or combine them first.",
            )
        first = parts[0]
        described = {
            str(part.layer): {
                "vector_id": part.vector_id,
                "name": part.name,
                "norm": part.norm,
                "method": part.method,
                "n_pairs": part.n_pairs,
                "reliability": part.reliability,
                "residual_norm": part.residual_norm,
            }
            for part in parts
        }
        content = LayerVectors(
            name=first.concept or first.name,
            vectors={part.layer: self._vectors.get_values(part.vector_id) for part in parts},
            model_hint=first.model_id,
            metadata={"model_revision": first.model_revision, "vectors": described},
        )
        return write_safetensors(content) if form == "safetensors" else (write_gguf(content),)

    def insert_file(
        self,
        place: ModelPlace,
        data: bytes,
        file_name: str,
        created_by: str,
        metadata: bytes | None = None,
        name: str = "",
    ) -> tuple[Vector, ...]:
        """The vectors of a file, stored for a model.

        Raises:
            VectorFileError: if the file is broken, or holds no vectors.
            SourceMismatchError: if they are of another width or of layers that the model lacks.
        """
        content = read_vectors(data, file_name, metadata)
        if content.d_model != place.d_model:
            raise SourceMismatchError(
                f"The vectors of the file are {content.d_model:,} wide, but the model of "
                f"{place.spec.name!r} is {place.d_model:,}.",
                "Choose the source whose model they were made with.",
            )
        if beyond := [layer for layer in content.vectors if layer >= place.n_layers]:
            raise SourceMismatchError(
                f"The file has a vector of layer {max(beyond)}, but the model has the layers 0 to "
                f"{place.n_layers - 1}.",
                "Choose the source whose model they were made with.",
            )
        model, concept = place.spec.model, (name or content.name).strip() or "imported"
        said = {"file": file_name[:200], "model_hint": content.model_hint}
        return tuple(
            self._vectors.insert_vector(
                VectorDraft(
                    name=f"{concept}, layer {layer}",
                    model_id=model.repo_id,
                    model_revision=model.revision,
                    layer=layer,
                    method="import",
                    created_by=created_by,
                    source_id=source_id(place.spec),
                    concept=concept,
                    content=json.dumps(said, ensure_ascii=False),
                ),
                values,
            )
            for layer, values in sorted(content.vectors.items())
        )

    def _get(self, vector_ids: Sequence[str]) -> list[Vector]:
        if not 1 <= len(vector_ids) <= MAX_VECTORS:
            raise RequestError("Between 1 and 200 vectors are taken at once.", _FEW_HINT)
        parts = [self._vectors.get_vector(vector_id) for vector_id in vector_ids]
        if len({(part.model_id, part.model_revision, part.site) for part in parts}) != 1:
            raise RequestError(
                "The vectors are of different models.", "Choose vectors of one model."
            )
        return parts
