"""The concepts that a source has from the start: the library's, or those of a toy's own world.

Invariant: a toy's library is the toy's: its vocabulary has none of the words of the other.
"""

from __future__ import annotations

from functools import lru_cache

from engine.catalog import Catalog
from engine.concepts.library_files import CONCEPTS, library_pairs
from engine.concepts.pairs import PairsError, PairSet
from engine.concepts.toy import TOY_CONCEPTS, toy_pairs
from engine.demo.world import World, make_world
from engine.demo_source import find_toy_seed


class ConceptLibrary:
    """The libraries of the sources of a catalog. All methods raise UnknownSourceError."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def world(self, source: str) -> World | None:
        """The world that a toy source was trained on; None for any other."""
        seed = find_toy_seed(self._catalog.definition(source))
        return None if seed is None else _world(seed)

    def names(self, source: str) -> tuple[str, ...]:
        """The concepts of a source's library."""
        return CONCEPTS if self.world(source) is None else TOY_CONCEPTS

    def find_pairs(self, source: str, concept: str) -> PairSet | None:
        """The pairs of a concept of a source's library; None if it has none of this name."""
        seed = find_toy_seed(self._catalog.definition(source))
        if seed is None:
            return library_pairs(concept) if concept in CONCEPTS else None
        return _toy_pairs(seed, concept) if concept in TOY_CONCEPTS else None

    def pairs(self, source: str, concept: str) -> PairSet:
        """The pairs of a concept of a source's library.

        Raises:
            PairsError: if it has none of this name.
        """
        found = self.find_pairs(source, concept)
        if found is None:
            raise PairsError(
                f"The library has no concept {concept[:40]!r}.",
                f"It has {', '.join(self.names(source))}.",
            )
        return found


@lru_cache(maxsize=8)
def _world(seed: int) -> World:
    """A world takes a tenth of a second to make, and never changes."""
    return make_world(seed)


@lru_cache(maxsize=64)
def _toy_pairs(seed: int, concept: str) -> PairSet:
    return toy_pairs(_world(seed), concept)
