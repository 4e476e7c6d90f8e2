"""What a feature's decoder direction says: tokens that it boosts, features that point its way.

Invariant: computed from files once, and kept: at once where the files are small, by a task where
they are large, so that a page never waits for gigabytes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from engine.errors import EngineError, RequestError
from engine.feature_files import FeatureFiles, open_model_ends
from engine.feature_maths.logit_lens import (
    LogitBin,
    LogitLens,
    TokenLogit,
    direction_logits,
    read_lens,
)
from engine.feature_maths.mapped_tensors import MappedMatrix
from engine.feature_maths.neighbours import Neighbour, all_cosines, rank_neighbours
from engine.feature_notes import FeatureNotes

_KIND = "directions"
_QUICK_ELEMENTS = 48 * 1024 * 1024
"""Elements of decoder and output layer that are read while a page waits: a tenth of a second."""
_KEPT = 512


@dataclass(frozen=True, slots=True)
class FeatureDirections:
    """What a feature's direction says.

    Attributes:
        lens: None where the model's files cannot be read; lens_problem says why.
        nearest, opposite: features by the cosine of their decoder directions.
    """

    lens: LogitLens | None
    lens_problem: str | None
    nearest: tuple[Neighbour, ...]
    opposite: tuple[Neighbour, ...]


class DirectionReader:
    """Directions of features, kept in memory and, where they took long, on disk."""

    def __init__(self, notes: Callable[[], FeatureNotes]) -> None:
        self._notes = notes
        self._known: OrderedDict[tuple[str, int], FeatureDirections] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, files: FeatureFiles, feature: int) -> FeatureDirections | None:
        """The directions of a feature, if they are known or quickly read.

        Raises:
            RequestError: if the source has no such feature.
            EngineError: if the SAE's files cannot be read.
        """
        check_feature(files, feature)
        key = (files.source_id, feature)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        decoder = files.decoder()
        if self._elements(files, decoder) <= _QUICK_ELEMENTS:
            return self._keep(key, compute_directions(files, decoder, feature))
        note = self._notes().find(_KIND, files.source_id, str(feature))
        if note is None:
            return None
        try:
            return self._keep(key, _from_note(note))
        except (KeyError, TypeError, ValueError):
            return None

    def compute(
        self, files: FeatureFiles, feature: int, check: Callable[[], None]
    ) -> FeatureDirections:
        """Reads the directions of a feature, however long that takes, and notes them."""
        check_feature(files, feature)
        found = compute_directions(files, files.decoder(), feature, check)
        self._notes().keep(_KIND, files.source_id, str(feature), asdict(found))
        return self._keep((files.source_id, feature), found)

    def _elements(self, files: FeatureFiles, decoder: MappedMatrix) -> int:
        try:
            unembedding, _ = open_model_ends(files.resolved.model_dir, _stamp(files))
        except EngineError:
            return decoder.size
        return decoder.size + unembedding.weight.size

    def _keep(self, key: tuple[str, int], found: FeatureDirections) -> FeatureDirections:
        with self._lock:
            self._known[key] = found
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return found


def check_feature(files: FeatureFiles, feature: int) -> None:
    """Refuses a feature that the source does not have.

    Raises:
        RequestError: says which it has.
    """
    if not 0 <= feature < files.d_sae:
        raise RequestError(
            f"The source {files.name!r} has no feature {feature}.",
            f"Its features are 0 to {files.d_sae - 1}." if files.d_sae else "It has no SAE.",
        )


def compute_lens(files: FeatureFiles, decoder: MappedMatrix, feature: int) -> LogitLens:
    """The logit lens of a feature.

    Raises:
        EngineError: if the model's files cannot be read.
    """
    unembedding, names = open_model_ends(files.resolved.model_dir, _stamp(files))
    logits = direction_logits(decoder.row(feature), unembedding, names.n_tokens)
    return read_lens(logits, names, (*unembedding.notes, *files.lens_notes()))


def compute_directions(
    files: FeatureFiles,
    decoder: MappedMatrix,
    feature: int,
    check: Callable[[], None] = lambda: None,
) -> FeatureDirections:
    """Logit lens and neighbours of a feature, read from the files.

    Args:
        files: of the source. decoder: of the same.
        feature: one that it has.
        check: called between blocks; it may raise to end the work.
    """
    lens, problem = None, None
    try:
        lens = compute_lens(files, decoder, feature)
    except EngineError as error:
        problem = f"{error.message} {error.hint}".strip()
    nearest, opposite = rank_neighbours(all_cosines(decoder, feature, check), feature)
    return FeatureDirections(lens, problem, nearest, opposite)


def _stamp(files: FeatureFiles) -> int:
    try:
        return (files.resolved.model_dir / "config.json").stat().st_mtime_ns
    except OSError:
        return 0


def _from_note(note: Mapping[str, Any]) -> FeatureDirections:
    lens = note["lens"]
    return FeatureDirections(
        lens=None
        if lens is None
        else LogitLens(
            top=tuple(TokenLogit(**item) for item in lens["top"]),
            bottom=tuple(TokenLogit(**item) for item in lens["bottom"]),
            bins=tuple(LogitBin(**item) for item in lens["bins"]),
            convention=str(lens["convention"]),
            notes=tuple(lens["notes"]),
        ),
        lens_problem=note["lens_problem"],
        nearest=tuple(Neighbour(**item) for item in note["nearest"]),
        opposite=tuple(Neighbour(**item) for item in note["opposite"]),
    )
