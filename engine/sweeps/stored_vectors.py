"""Vectors that a sweep makes for itself, kept so that its cells can be opened as runs.

Invariant: the same values are stored once, under the id of their content.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from store.keys import source_id
from store.specs import SourceSpec
from store.steering_records import VectorDraft
from store.vectors import VectorRepository


@dataclass(frozen=True, slots=True)
class StoredVectors:
    """Where the vectors of one source's sweep go."""

    repository: VectorRepository
    source: SourceSpec
    created_by: str

    def keep(self, name: str, layer: int, values: npt.NDArray[np.float32], method: str) -> str:
        """Stores a vector of a layer's output; returns its id."""
        model = self.source.model
        draft = VectorDraft(
            name=name,
            model_id=model.repo_id,
            model_revision=model.revision,
            layer=layer,
            method=method,
            created_by=self.created_by,
            source_id=source_id(self.source),
        )
        return self.repository.insert_vector(draft, values).vector_id
