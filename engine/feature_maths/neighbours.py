"""Features whose decoder directions point the same way, or the opposite one.

Invariant: exact and pure: every feature is compared, a block of rows at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.feature_maths.mapped_tensors import Floats, MappedMatrix

N_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another feature, and the cosine of its decoder direction with that of the one asked for."""

    feature: int
    cosine: float


def all_cosines(
    decoder: MappedMatrix, feature: int, check: Callable[[], None] = lambda: None
) -> Floats:
    """Cosines of all decoder rows with one of them, [d_sae]; 0 for a row without length.

    Args:
        decoder: [d_sae, d_in].
        feature: the row.
        check: called between blocks; it may raise to end the work.
    """
    row = decoder.row(feature)
    length = float(np.linalg.norm(row))
    cosines = np.zeros(decoder.n_rows, np.float32)
    if length == 0.0:
        return cosines
    for start, block in decoder.iter_blocks():
        check()
        norms = np.linalg.norm(block, axis=1)
        dots = block @ (row / np.float32(length))
        np.divide(dots, norms, out=cosines[start : start + len(block)], where=norms > 0)
    return cosines


def rank_neighbours(
    cosines: Floats, feature: int, n_shown: int = N_SHOWN
) -> tuple[tuple[Neighbour, ...], tuple[Neighbour, ...]]:
    """The nearest features, nearest first, and those of the most opposite direction.

    Args:
        cosines: [d_sae] with the feature.
        feature: left out itself.
        n_shown: most of either; only above zero in the one, below zero in the other.
    """
    others = np.delete(np.arange(len(cosines)), feature)
    order = others[np.lexsort((others, -cosines[others]))]
    nearest = [index for index in order[:n_shown].tolist() if cosines[index] > 0]
    opposite = [index for index in order[::-1][:n_shown].tolist() if cosines[index] < 0]
    return _named(nearest, cosines), _named(opposite, cosines)


def _named(features: list[int], cosines: Floats) -> tuple[Neighbour, ...]:
    return tuple(Neighbour(feature, float(cosines[feature])) for feature in features)
