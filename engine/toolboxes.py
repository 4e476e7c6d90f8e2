"""Which tools a source offers, ready to run.

Invariant: a toy source looks up its own world; any other source looks into its own features, as far
as the store has seen them. A source is never offered another one's tools.
"""

from __future__ import annotations

import threading

from engine.catalog import ResolvedSource
from engine.tools.introspection import introspection_box
from engine.tools.lookup import lookup_box
from engine.tools.running import Toolbox
from store.connection import Store


class Toolboxes:
    """Toolboxes of one engine, each made when it is first needed; for any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made: dict[int | None, Toolbox] = {}
        self._lock = threading.Lock()

    def of(self, source: ResolvedSource) -> Toolbox:
        """The tools that a source offers."""
        seed = source.world_seed
        with self._lock:
            if seed not in self._made:
                self._made[seed] = (
                    introspection_box(self._store) if seed is None else lookup_box(seed)
                )
            return self._made[seed]
