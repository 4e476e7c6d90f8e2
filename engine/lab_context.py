"""What the labs of the engine work with: they ask, they run tasks, they read and write the store.

Invariant: handles only; a lab makes its repositories from the store, and owns nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.asking import Asker
from engine.catalog import Catalog
from engine.tasks import Tasks
from store.connection import Store


@dataclass(frozen=True, slots=True)
class LabContext:
    """Handles of one engine.

    Attributes:
        asker: asks through the memo, and lends the loaded source.
        catalog: the sources by name.
        tasks: runs long work in the background.
        store: where everything is kept.
    """

    asker: Asker
    catalog: Catalog
    tasks: Tasks
    store: Store
