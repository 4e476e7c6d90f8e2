"""The files behind a source's features: decoder, output layer, names of tokens; mapped, not loaded.

Invariant: works with the GPU off and without torch. What is opened belongs to the very source whose
runs are stored: where the files have changed since, that is an error, not another source's answer.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from engine.catalog import Catalog, PreparationNeeded, ResolvedSource
from engine.demo_source import find_toy_seed
from engine.errors import EngineError, UnknownSourceError, UnsupportedError, WeightsMissingError
from engine.feature_maths.mapped_tensors import MappedMatrix, find_tensors
from engine.feature_maths.token_names import TokenNames, read_token_names
from engine.feature_maths.unembedding import Unembedding, open_unembedding
from store.keys import source_id

_ID_DIGITS = 12


@dataclass(frozen=True, slots=True)
class FeatureFiles:
    """One source whose files are here.

    Attributes:
        name: in the catalog; source_id: in the store.
        toy_seed: of the made-up world that it was trained on; None for any other.
        model_id: of the model, which never labels its own features.
    """

    name: str
    source_id: str
    d_sae: int
    toy_seed: int | None
    model_id: str
    resolved: ResolvedSource

    def decoder(self) -> MappedMatrix:
        """Decoder directions, [d_sae, d_in].

        Raises:
            UnsupportedError: if the SAE came without its decoder, or in 8 bits.
        """
        folder, config = self.resolved.sae_dir, self.resolved.sae_config
        if folder is None or config is None:
            raise UnsupportedError(
                f"The source {self.name!r} has no SAE.", "Choose a source with features."
            )
        place = config.layout.places.get("W_dec")
        if place is None:
            raise UnsupportedError(
                "This SAE was published without its decoder.",
                "Logit lens, neighbours and map need the directions that its features write.",
            )
        path, entry = find_tensors((folder / config.layout.weights_file,))[place.name]
        return MappedMatrix(path, place.name, entry, place.is_transposed)

    def lens_notes(self) -> tuple[str, ...]:
        """What of this SAE makes its logits relative."""
        config = self.resolved.sae_config
        if config is None or config.normalisation == "none":
            return ()
        return ("The SAE reads a scaled input: its logits hold up to the scale of each token.",)


class FeatureFilesFinder:
    """Finds the files of sources, given by name or by the id of what is stored."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = threading.Lock()

    def find(self, source: str) -> FeatureFiles:
        """The files of a source.

        Args:
            source: name in the catalog, or id in the store.

        Raises:
            UnknownSourceError: if the catalog has none of this name.
            WeightsMissingError: if its files are not here, or not those of the stored runs.
            EngineError: if they cannot be used.
        """
        name = self._catalog_name(source)
        try:
            with self._lock:
                resolved = self._catalog.resolve(name, is_quick=True)
        except PreparationNeeded:
            raise WeightsMissingError(
                f"The files of {name!r} are not prepared yet.", "Load the source once, on Models."
            ) from None
        identity = source_id(resolved.spec)
        if source not in (name, identity):
            raise WeightsMissingError(
                f"The files of {name!r} are not those that {source[:80]!r} was computed with.",
                "Put that revision back, or look at the source as it is now.",
            )
        return FeatureFiles(
            name=name,
            source_id=identity,
            d_sae=resolved.spec.d_sae,
            toy_seed=find_toy_seed(self._catalog.definition(name)),
            model_id=resolved.spec.model.repo_id,
            resolved=resolved,
        )

    def is_toy(self, source: str) -> bool:
        """Whether numbers of a source carry the word "toy"; False for one that is not known."""
        try:
            return self._catalog.info(self._catalog_name(source)).is_toy
        except EngineError:
            return False

    def _catalog_name(self, source: str) -> str:
        """The name of a source: itself, or what its id begins with."""
        known = {info.name for info in self._catalog.sources()} if "-" in source else set()
        stem, _, digits = source.rpartition("-")
        if source in known or len(digits) != _ID_DIGITS:
            return source
        if stem not in known:
            raise UnknownSourceError(stem or source, tuple(known))
        return stem


@lru_cache(maxsize=4)
def open_model_ends(folder: Path, stamp: int) -> tuple[Unembedding, TokenNames]:
    """Output layer and tokens of a model's folder.

    Args:
        folder: of the checkpoint.
        stamp: that changes when its files do.

    Raises:
        EngineError: if they cannot be read.
    """
    del stamp
    return open_unembedding(folder), read_token_names(folder)
