"""Vectors of concepts: made, kept, compared, combined, written to files and read from them.

Invariant: no tensor in any signature; methods that load or run a model return a task at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from engine.concepts.concept_library import ConceptLibrary
from engine.concepts.exchange import VectorExchange
from engine.concepts.making import RunPosition, VectorMaker
from engine.concepts.pairs import (
    PLAIN_TEMPLATE,
    Form,
    PairsError,
    PairSet,
    Reading,
    pair_digest,
    read_pair_rows,
    read_pair_toml,
)
from engine.concepts.vector_files import ExportedFile, FileFormat
from engine.lab_context import LabContext
from engine.tasks import TaskProgress, TaskResult, TaskView
from store.run_sets import RunSetRepository
from store.steering_records import Vector
from store.vectors import VectorRepository

_RUN_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ConceptInfo:
    """A concept that vectors can be made of, or were made of.

    Attributes:
        is_library: whether it comes with the source; else somebody made or imported it.
        n_pairs, n_templates: of its pairs; 0 where its vectors were not made from pairs.
        n_vectors: stored for the source's model, at most one counted a layer.
    """

    name: str
    is_library: bool
    n_pairs: int
    n_templates: int
    lexicon: tuple[str, ...]
    n_vectors: int


@dataclass(frozen=True, slots=True)
class LayerRow:
    """What the pairs of a concept say of one layer; nothing was steered for it.

    Attributes:
        relative_norm: length of the vector in mean residual norms of its texts.
        reliability: cosine of halves of the pairs; separation: AUROC on held-out pairs.
    """

    layer: int
    vector_id: str
    norm: float
    relative_norm: float
    reliability: float
    separation: float
    is_reliable: bool
    n_pairs: int


class ConceptLab:
    """Concepts and vectors of one engine; all methods may be called from any thread."""

    def __init__(self, context: LabContext) -> None:
        self._context = context
        self._library = ConceptLibrary(context.catalog)
        self._maker = VectorMaker(context)
        self._vectors = VectorRepository(context.store)
        self._exchange = VectorExchange(self._vectors)

    def concepts(self, source: str) -> tuple[ConceptInfo, ...]:
        """The concepts of a source: its library first, then what people made.

        Raises:
            UnknownSourceError: if there is no such source.
        """
        stored: dict[str, set[int]] = {}
        for vector in self.vectors(source):
            if vector.concept:
                stored.setdefault(vector.concept, set()).add(vector.layer)
        found = []
        for name in self._library.names(source):
            pairs = self._library.pairs(source, name)
            n_layers = len(stored.pop(name, set()))
            sizes = len(pairs.pairs), len(pairs.templates)
            found.append(ConceptInfo(name, True, *sizes, pairs.lexicon, n_layers))
        own = [ConceptInfo(name, False, 0, 0, (), len(own)) for name, own in stored.items()]
        return (*found, *own)

    def library_pairs(self, source: str, concept: str) -> PairSet:
        """The pairs of a concept of a source's library, to be looked at or begun from.

        Raises:
            PairsError: if the library has no such concept.
        """
        return self._library.pairs(source, concept)

    def vectors(
        self,
        source: str | None = None,
        concept: str | None = None,
        layer: int | None = None,
        limit: int = 2_000,
    ) -> tuple[Vector, ...]:
        """Stored vectors, newest first, of the model of a source if it is given.

        Raises:
            UnknownSourceError: if there is no such source.
        """
        model_id = None if source is None else self._context.catalog.info(source).model_id
        return self._vectors.list_vectors(model_id, concept, layer, limit)

    def vector(self, vector_id: str) -> Vector:
        """A stored vector.

        Raises:
            VectorNotFoundError: if there is none.
        """
        return self._vectors.get_vector(vector_id)

    def delete_vector(self, vector_id: str) -> bool:
        """Deletes a vector; False if there is none.

        Raises:
            InvalidSpecError: if a stored run was steered with it.
        """
        return self._vectors.delete_vector(vector_id)

    def read_pairs(
        self,
        name: str,
        data: bytes | str,
        templates: Sequence[str] = (),
        form: Form = "text",
        reading: Reading = "mean",
        file_name: str = "",
    ) -> PairSet:
        """Pairs that somebody typed, or a file of them; a TOML file says everything itself.

        Raises:
            PairsError: naming what is not as it must be.
        """
        if file_name.lower().endswith(".toml"):
            return read_pair_toml(data)
        wanted = tuple(item for item in templates if item.strip()) or (PLAIN_TEMPLATE,)
        return PairSet(name.strip() or "pairs", read_pair_rows(data), wanted, form, reading)

    def make_vectors(
        self, source: str, pairs: PairSet, asked_by: str, layers: Sequence[int] | None = None
    ) -> TaskView:
        """Makes the vectors of a pair set, one a layer; a task of the kind `vectors`.

        Raises:
            UnknownSourceError: if there is no such source.
            PairsError: with fewer than 20 pairs.
        """
        self._context.catalog.definition(source)
        pairs.check_size()

        def make(progress: TaskProgress) -> TaskResult:
            vectors = self._maker.make(source, pairs, asked_by, layers, progress)
            return _made(pairs.name, vectors)

        key = json.dumps([source, pairs.name, pair_digest(pairs), layers])
        title = f"{pairs.name} on {source}"
        return self._context.tasks.start("vectors", key, title, asked_by, make)

    def make_vectors_of_runs(
        self,
        source: str,
        name: str,
        with_runs: str,
        without_runs: str,
        asked_by: str,
        position: RunPosition = "last_prompt",
        layers: Sequence[int] | None = None,
    ) -> TaskView:
        """Makes vectors between two cohorts of stored runs; a task of the kind `vectors`.

        Args:
            source: whose runs they are.
            name: of the concept.
            with_runs, without_runs: filters of runs, or keys of runs with blanks between them.
            asked_by: who asks.
            position: where the runs are read.
            layers: None is all.

        Raises:
            UnknownSourceError: if there is no such source.
            InvalidSpecError: for a filter that is not understood.
        """
        self._context.catalog.definition(source)
        keys = (self._run_keys(with_runs, source), self._run_keys(without_runs, source))

        def make(progress: TaskProgress) -> TaskResult:
            vectors = self._maker.make_from_runs(
                source, name, keys, position, asked_by, layers, progress
            )
            return _made(name, vectors)

        key = json.dumps([source, name, with_runs, without_runs, position, layers])
        return self._context.tasks.start("vectors", key, f"{name} on {source}", asked_by, make)

    def prepare_library(
        self,
        source: str,
        asked_by: str,
        concepts: Sequence[str] | None = None,
        layers: Sequence[int] | None = None,
    ) -> TaskView:
        """Makes the vectors of every concept of a source's library; what is stored is skipped.

        Raises:
            UnknownSourceError: if there is no such source.
            PairsError: for a concept that the library does not have.
        """
        names = concepts or self._library.names(source)
        sets = [self.library_pairs(source, name) for name in names]

        def prepare(progress: TaskProgress) -> TaskResult:
            n_vectors = 0
            for number, pairs in enumerate(sets):
                progress.tell(number, len(sets), pairs.name)
                inner = _Silent(progress)
                n_vectors += len(self._maker.make(source, pairs, asked_by, layers, inner))
            progress.tell(len(sets), len(sets), "done")
            return {"n_concepts": len(sets), "n_vectors": n_vectors}

        key = json.dumps([source, list(names), layers])
        title = f"Library of {source}"
        return self._context.tasks.start("library", key, title, asked_by, prepare)

    def layer_profile(self, source: str, concept: str) -> tuple[LayerRow, ...]:
        """What a concept's pairs say of each layer, from its newest vectors; empty if none.

        Raises:
            UnknownSourceError: if there is no such source.
        """
        rows: dict[int, LayerRow] = {}
        for vector in self.vectors(source, concept):
            profile = json.loads(vector.content).get("profile")
            if isinstance(profile, dict) and vector.layer not in rows:
                rows[vector.layer] = LayerRow(
                    layer=vector.layer,
                    vector_id=vector.vector_id,
                    norm=profile["norm"],
                    relative_norm=profile["relative_norm"],
                    reliability=profile["reliability"],
                    separation=profile["separation"],
                    is_reliable=profile["is_reliable"],
                    n_pairs=profile["n_pairs"],
                )
        return tuple(rows[layer] for layer in sorted(rows))

    def combine(
        self,
        vector_ids: Sequence[str],
        weights: Sequence[float],
        name: str,
        asked_by: str,
        budget: float | None = None,
    ) -> Vector:
        """One vector from several: unit directions by weight, brought to the budget's length.

        Raises:
            RequestError: if they do not fit together, or cancel.
            StoreError: if one is not stored, or the name is not allowed.
        """
        return self._exchange.combine(vector_ids, weights, name, asked_by, budget)

    def overlap(self, vector_ids: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        """Cosines between vectors of one model.

        Raises:
            RequestError: if they are of different models. VectorNotFoundError: if one is missing.
        """
        return self._exchange.overlap(vector_ids)

    def export_vectors(
        self, vector_ids: Sequence[str], form: FileFormat = "safetensors"
    ) -> tuple[ExportedFile, ...]:
        """Files of vectors, one a layer: safetensors with its JSON, or a GGUF control vector.

        Raises:
            RequestError: if they cannot stand in one file. VectorNotFoundError: if one is missing.
        """
        return self._exchange.export(vector_ids, form)

    def import_vectors(
        self,
        source: str,
        data: bytes,
        file_name: str,
        asked_by: str,
        metadata: bytes | None = None,
        name: str = "",
    ) -> tuple[Vector, ...]:
        """Stores the vectors of a safetensors or GGUF file for the model of a source.

        Raises:
            RequestError: if the file is broken or holds no vectors.
            SourceMismatchError: if they do not fit the model.
            EngineError: if the source cannot be used.
        """
        place = self._maker.place(source)
        return self._exchange.insert_file(place, data, file_name, asked_by, metadata, name)

    def _run_keys(self, wanted: str, source: str) -> tuple[str, ...]:
        words = wanted.replace(",", " ").split()
        if words and all(_RUN_KEY.fullmatch(word) for word in words):
            return tuple(dict.fromkeys(words))
        if not wanted.strip():
            raise PairsError("A cohort of runs needs a filter, or keys of runs.")
        return RunSetRepository(self._context.store).list_run_keys(wanted, source)


class _Silent(TaskProgress):
    """Progress of a part: it can be cancelled, and its units do not count."""

    def __init__(self, whole: TaskProgress) -> None:
        super().__init__()
        self._whole = whole

    def tell(self, n_done: int, n_total: int, note: str = "") -> None:
        self.check()

    def is_cancelled(self) -> bool:
        return self._whole.is_cancelled()


def _made(name: str, vectors: Sequence[Vector]) -> TaskResult:
    best = max(
        vectors,
        key=lambda vector: json.loads(vector.content).get("profile", {}).get("separation", 0.0),
    )
    return {"concept": name, "n_vectors": len(vectors), "vector_id": best.vector_id}
