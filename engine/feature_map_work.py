"""The map of a source's features, as a task, kept on disk.

Invariant: one map a source: it depends on the decoder alone where all features fit on it, else on
which features were most active when it was made.
"""

from __future__ import annotations

import threading
from dataclasses import asdict

import numpy as np

from engine.errors import EngineError
from engine.feature_files import FeatureFiles, FeatureFilesFinder
from engine.feature_maths.feature_map import (
    FeatureMap,
    choose_features,
    lay_out,
    reduce_directions,
)
from engine.feature_notes import FeatureNotes
from engine.lab_context import LabContext
from engine.tasks import TaskProgress, TaskResult, TaskView
from store.errors import SourceNotFoundError
from store.feature_search import FeatureSearchRepository

_KIND, _NAME = "map", "all"
_STEPS = 3


class FeatureMapWork:
    """Maps of one engine."""

    def __init__(self, context: LabContext, files: FeatureFilesFinder) -> None:
        self._context = context
        self._files = files
        self._search = FeatureSearchRepository(context.store)
        self._known: dict[str, FeatureMap] = {}
        self._lock = threading.Lock()

    def find(self, source: str) -> FeatureMap | None:
        """The map of a source, if it was made.

        Raises:
            EngineError: if the source's files are not here.
        """
        files = self._files.find(source)
        with self._lock:
            if files.source_id in self._known:
                return self._known[files.source_id]
        note = self._notes().find(_KIND, files.source_id, _NAME)
        try:
            found = None if note is None else _from_note(note)
        except (KeyError, TypeError, ValueError):
            return None
        if found is not None:
            self._remember(files, found)
        return found

    def start(self, source: str, asked_by: str) -> TaskView:
        """Begins to make the map, or joins that: seconds for a thousand features, minutes for many.

        Raises:
            EngineError: if the source's files are not here.
        """
        files = self._files.find(source)
        return self._context.tasks.start(
            _KIND,
            files.source_id,
            f"Map of the features of {files.name}",
            asked_by,
            lambda progress: self._make(files, progress),
        )

    def _make(self, files: FeatureFiles, progress: TaskProgress) -> TaskResult:
        progress.tell(0, _STEPS, "reading directions")
        decoder = files.decoder()
        n_active = np.zeros(decoder.n_rows, np.int64)
        try:
            stats = self._search.get_all_stats(files.source_id)
            n_active[stats.feature] = stats.n_tokens_active
        except SourceNotFoundError:
            # nothing is stored yet: all features are alike
            n_active[:] = 1
        chosen = choose_features(decoder, n_active)
        if not len(chosen):
            raise EngineError(
                f"No feature of {files.name!r} has fired yet.", "Ask the model something first."
            )
        rows = decoder.gather(chosen)
        progress.tell(1, _STEPS, f"principal components of {len(chosen):,} directions")
        reduced = reduce_directions(rows)
        progress.tell(2, _STEPS, "laying out")
        placed, method = lay_out(reduced)
        found = FeatureMap(
            features=tuple(chosen.tolist()),
            x=tuple(np.round(placed[:, 0].astype(float), 3).tolist()),
            y=tuple(np.round(placed[:, 1].astype(float), 3).tolist()),
            n_left_out=decoder.n_rows - len(chosen),
            method=method,
        )
        self._notes().keep(_KIND, files.source_id, _NAME, asdict(found))
        self._remember(files, found)
        progress.tell(_STEPS, _STEPS, "")
        return {"n_features": len(chosen)}

    def _remember(self, files: FeatureFiles, found: FeatureMap) -> None:
        with self._lock:
            self._known[files.source_id] = found

    def _notes(self) -> FeatureNotes:
        return FeatureNotes(self._context.catalog.finder.caches.records)


def _from_note(note: dict[str, object]) -> FeatureMap:
    columns = {name: note[name] for name in ("features", "x", "y")}
    if not all(isinstance(column, list) for column in columns.values()):
        raise TypeError("columns are lists")
    return FeatureMap(
        features=tuple(note["features"]),  # type: ignore[arg-type]
        x=tuple(note["x"]),  # type: ignore[arg-type]
        y=tuple(note["y"]),  # type: ignore[arg-type]
        n_left_out=int(str(note["n_left_out"])),
        method=str(note["method"]),
    )
