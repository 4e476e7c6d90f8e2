"""Vectors of concepts, made from pairs or from stored runs, one a layer, and kept in the store.

Invariant: what was made from the same pairs on the same model is not made again; every vector keeps
what it was made from and how reliable it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from engine.concepts.directions import Direction, Rows, make_direction, profile_row
from engine.concepts.pairs import MIN_PAIRS, PairsError, PairSet, Reading, pair_digest
from engine.lab_context import LabContext
from engine.model_config import read_model_config
from engine.tasks import TaskProgress
from store.keys import source_id
from store.runs import RunRepository
from store.specs import SourceSpec
from store.steering_records import Vector, VectorDraft
from store.vectors import VectorRepository

if TYPE_CHECKING:
    from engine.resident import ResidentSource

RunPosition = Literal["last_prompt", "generated", "all"]
METHOD = "difference_of_means"
MAX_RUNS = 2_000
_PART = 48
"""Texts that are read while the engine's queue stands still."""


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """The model of a source, as far as vectors of it need to know.

    Attributes:
        spec: of the source; n_layers: of the model; d_model: its width.
    """

    spec: SourceSpec
    n_layers: int
    d_model: int


@dataclass(frozen=True, slots=True)
class _Material:
    """Token ids of both sides, and what is said of them.

    Attributes:
        positive, negative: ids and the position that each mean begins at; of n pairs in t
            templates, row t * n + i is pair i in template t.
    """

    positive: tuple[list[list[int]], list[int]]
    negative: tuple[list[list[int]], list[int]]
    n_pairs: int
    reading: Reading


class VectorMaker:
    """Makes vectors of concepts; its methods take minutes, and belong in tasks."""

    def __init__(self, context: LabContext) -> None:
        self._context = context
        self._vectors = VectorRepository(context.store)
        self._runs = RunRepository(context.store)

    def place(self, source: str, is_cancelled: Callable[[], bool] = lambda: False) -> ModelPlace:
        """The model of a source in the catalog.

        Raises:
            EngineError: if the source cannot be used.
        """
        resolved = self._context.catalog.prepare(source, is_cancelled)
        config = read_model_config(resolved.model_dir)
        return ModelPlace(resolved.spec, config.n_layers, config.d_model)

    def find_made(self, place: ModelPlace, pairs: PairSet) -> dict[int, Vector]:
        """Vectors of exactly these pairs that are stored, by layer."""
        return self._find(place, pairs.name, pair_digest(pairs))

    def make(
        self,
        source: str,
        pairs: PairSet,
        created_by: str,
        layers: Sequence[int] | None,
        progress: TaskProgress,
    ) -> tuple[Vector, ...]:
        """The vectors of a pair set, one a layer; those that are stored are not made again.

        Args:
            source: name in the catalog.
            pairs: at least 20.
            created_by: who asks.
            layers: from 0; None is all of them.
            progress: told of texts read.

        Raises:
            PairsError: for too few pairs, or pairs that cancel.
            SourceMismatchError: if the model has no such layer.
            GenerationCancelled: if the task was cancelled.
        """
        pairs.check_size()
        place = self.place(source, progress.is_cancelled)
        wanted = tuple(range(place.n_layers)) if layers is None else tuple(sorted(set(layers)))
        found = self.find_made(place, pairs)
        if not set(wanted) <= set(found):
            material = self._encode(source, pairs, progress)
            content = {
                "pairs": [[pair.positive, pair.negative] for pair in pairs.pairs],
                "templates": pairs.templates,
                "form": pairs.form,
                "reading": pairs.reading,
                "lexicon": pairs.lexicon,
            }
            digest = pair_digest(pairs)
            directions = self._directions(source, material, wanted, progress)
            self._keep(place, pairs.name, directions, content, digest, created_by)
            found = self._find(place, pairs.name, digest)
        return tuple(found[layer] for layer in wanted)

    def make_from_runs(
        self,
        source: str,
        name: str,
        run_keys: tuple[Sequence[str], Sequence[str]],
        position: RunPosition,
        created_by: str,
        layers: Sequence[int] | None,
        progress: TaskProgress,
    ) -> tuple[Vector, ...]:
        """The vectors between two cohorts of stored runs: their residuals are computed again.

        Args:
            source: name in the catalog, of the runs' model.
            name: of the concept.
            run_keys: of the runs with it, and of those without; the longer cohort is cut.
            position: the last token of the prompt, or the mean over generated or over all tokens.
            created_by: who asks.
            layers: from 0; None is all of them.
            progress: told of runs read.

        Raises:
            PairsError: for too few runs, or cohorts that do not differ.
            RunNotFoundError: if a run is not stored.
        """
        place = self.place(source, progress.is_cancelled)
        n = min(len(run_keys[0]), len(run_keys[1]), MAX_RUNS)
        if n < MIN_PAIRS:
            raise PairsError(
                f"The smaller cohort has {n} runs; a vector is made from at least {MIN_PAIRS}.",
                "Widen its filter, or ask more questions first.",
            )
        wanted = tuple(range(place.n_layers)) if layers is None else tuple(sorted(set(layers)))
        sides = []
        for keys in run_keys:
            ids, first = [], []
            for key in keys[:n]:
                progress.check()
                row, begin = self._run_ids(key, position)
                ids.append(row)
                first.append(begin)
            sides.append((ids, first))
        reading: Reading = "last" if position == "last_prompt" else "mean"
        material = _Material(sides[0], sides[1], n, reading)
        content = {"runs": [list(keys[:n]) for keys in run_keys], "position": position}
        digest = _digest(content)
        directions = self._directions(source, material, wanted, progress)
        self._keep(place, name, directions, content, digest, created_by)
        found = self._find(place, name, digest)
        return tuple(found[layer] for layer in wanted)

    def _encode(self, source: str, pairs: PairSet, progress: TaskProgress) -> _Material:
        def encode(resident: ResidentSource) -> _Material:
            from engine.concepts.reading import encode_texts

            positive = encode_texts(resident, pairs, [pair.positive for pair in pairs.pairs])
            negative = encode_texts(resident, pairs, [pair.negative for pair in pairs.pairs])
            return _Material(positive, negative, len(pairs.pairs), pairs.reading)

        return self._context.asker.lend(source, encode, progress.is_cancelled)

    def _run_ids(self, run_key: str, position: RunPosition) -> tuple[list[int], int]:
        stored = self._runs.get_run(run_key)
        ids = [token.token_id for token in stored.tokens]
        n_prompt = stored.run.n_prompt_tokens
        if position == "last_prompt":
            return ids[:n_prompt], 0
        begin = n_prompt if position == "generated" else 1
        return ids, min(begin, len(ids) - 1)

    def _directions(
        self, source: str, material: _Material, layers: Sequence[int], progress: TaskProgress
    ) -> list[Direction]:
        n_all = len(material.positive[0]) + len(material.negative[0])
        sides = []
        n_done = 0
        for ids, first in (material.positive, material.negative):
            rows = []
            for start in range(0, len(ids), _PART):
                progress.tell(n_done, n_all, "reading texts")
                part, begins = ids[start : start + _PART], first[start : start + _PART]

                def read(resident: ResidentSource, part: Any = part, begins: Any = begins) -> Rows:
                    from engine.concepts.reading import read_rows

                    return read_rows(resident, part, begins, material.reading, layers)

                rows.append(self._context.asker.lend(source, read, progress.is_cancelled))
                n_done += len(part)
            stacked = np.concatenate(rows)
            shape = (-1, material.n_pairs, *stacked.shape[1:])
            sides.append(stacked.reshape(shape).mean(axis=0))
        progress.tell(n_all, n_all, "comparing")
        return [
            make_direction(layer, sides[0][:, place], sides[1][:, place])
            for place, layer in enumerate(layers)
        ]

    def _keep(
        self,
        place: ModelPlace,
        name: str,
        directions: Sequence[Direction],
        content: dict[str, Any],
        digest: str,
        created_by: str,
    ) -> None:
        model = place.spec.model
        for direction in directions:
            said = {**content, "digest": digest, "profile": profile_row(direction)}
            draft = VectorDraft(
                name=f"{name}, layer {direction.layer}",
                model_id=model.repo_id,
                model_revision=model.revision,
                layer=direction.layer,
                method=METHOD,
                created_by=created_by,
                source_id=source_id(place.spec),
                concept=name,
                n_pairs=direction.n_pairs,
                reliability=direction.reliability,
                residual_norm=direction.residual_norm,
                content=json.dumps(said, ensure_ascii=False),
            )
            self._vectors.insert_vector(draft, direction.values)

    def _find(self, place: ModelPlace, name: str, digest: str) -> dict[int, Vector]:
        found = {}
        for vector in self._vectors.list_vectors(place.spec.model.repo_id, concept=name):
            is_same = vector.model_revision == place.spec.model.revision
            if is_same and json.loads(vector.content).get("digest") == digest:
                found[vector.layer] = vector
        return found


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:20]
