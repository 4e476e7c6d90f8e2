"""Directions from pairs: difference of means, its reliability, and how well it separates new pairs.

Invariant: functions of their arrays alone, repeatable; a direction that is returned is finite and
not the remainder of pairs that cancel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.concepts.pairs import PairsError
from engine.errors import RequestError

Rows = npt.NDArray[np.float32]

RELIABLE = 0.8
"""Split-half cosine below which a direction is shown as unreliable."""
_N_SPLITS = 50
_N_FOLDS = 5
_LEAST_SHARE = 1e-3
"""Of the mean residual norm: a shorter difference is what is left where pairs cancel."""


@dataclass(frozen=True, slots=True)
class Direction:
    """What pairs say at one layer.

    Attributes:
        values: [d_model] float32, mean of the positive minus mean of the negative texts.
        norm: its length; residual_norm: mean length of the residual rows that it was made from.
        reliability: mean cosine of the directions of two halves of the pairs, over 50 divisions.
        separation: AUROC with which directions of four fifths of the pairs tell the texts of the
            last fifth apart; .5 is chance.
    """

    layer: int
    values: Rows
    norm: float
    residual_norm: float
    reliability: float
    separation: float
    n_pairs: int

    @property
    def is_reliable(self) -> bool:
        """Whether halves of its pairs agree."""
        return self.reliability >= RELIABLE


def make_direction(layer: int, positive: Rows, negative: Rows) -> Direction:
    """The direction of a layer.

    Args:
        layer: where the rows were read.
        positive, negative: [n_pairs, d_model], averaged over templates, row i of both of pair i.

    Raises:
        PairsError: if the pairs cancel, or the model gave values that are no numbers.
    """
    if positive.shape != negative.shape or positive.ndim != 2 or not len(positive):
        raise ValueError("positive and negative rows must be two equal matrices")
    both = np.concatenate([positive, negative]).astype(np.float64)
    if not np.isfinite(both).all():
        raise PairsError(
            "The model computed values that are no numbers for these texts.",
            "Set MODEL_DTYPE to bfloat16 or float32.",
        )
    differences = positive.astype(np.float64) - negative
    values = differences.mean(axis=0)
    norm = float(np.linalg.norm(values))
    residual_norm = float(np.linalg.norm(both, axis=1).mean())
    if norm <= _LEAST_SHARE * residual_norm:
        raise PairsError(
            f"The pairs cancel: at layer {layer} their mean difference is as good as zero.",
            "Put the texts with the concept on one side of every pair.",
        )
    return Direction(
        layer=layer,
        values=values.astype(np.float32),
        norm=norm,
        residual_norm=residual_norm,
        reliability=_split_half_cosine(differences),
        separation=_separation(positive.astype(np.float64), negative.astype(np.float64)),
        n_pairs=len(positive),
    )


def overlap(vectors: Sequence[Rows]) -> npt.NDArray[np.float64]:
    """Cosines between vectors of one width, [n, n]; 1 where two point the same way.

    Raises:
        RequestError: if their widths differ, or one is zero.
    """
    units = np.stack(_units(vectors))
    return np.asarray(np.clip(units @ units.T, -1.0, 1.0), dtype=np.float64)


def combine(vectors: Sequence[Rows], weights: Sequence[float], budget: float | None = None) -> Rows:
    """One vector from several: their unit directions by weight, brought to a length.

    However the directions overlap, and whatever their own lengths, the sum has the length of the
    budget: adding a concept takes strength from the others instead of adding up.

    Args:
        vectors: [d_model] each, of one layer of one model.
        weights: one a vector, finite, not all zero; negative ones turn a concept round.
        budget: length of the result; None is the mean of the vectors' lengths by weight.

    Raises:
        RequestError: if they do not fit together, or cancel.
    """
    if len(vectors) != len(weights) or not vectors:
        raise RequestError(
            "Each vector needs one weight.", "Choose vectors, and a weight for each."
        )
    shares = np.asarray(weights, dtype=np.float64)
    if not np.isfinite(shares).all() or not np.abs(shares).sum():
        raise RequestError(
            "The weights must be numbers, and not all zero.", "Give at least one vector a weight."
        )
    shares = shares / np.abs(shares).sum()
    units = np.stack(_units(vectors))
    lengths = np.asarray([np.linalg.norm(vector.astype(np.float64)) for vector in vectors])
    if budget is None:
        budget = float(np.abs(shares) @ lengths)
    if not np.isfinite(budget) or budget <= 0:
        raise RequestError(
            "The budget must be a length above zero.", "Leave it empty for the mean."
        )
    summed = shares @ units
    length = float(np.linalg.norm(summed))
    if length < _LEAST_SHARE:
        raise RequestError(
            "The vectors cancel: their weighted sum is as good as zero.",
            "Change a weight, or leave out one of two opposite vectors.",
        )
    return np.asarray(summed * (budget / length), dtype=np.float32)


def random_directions(d_model: int, norm: float, n: int, seed: int = 0) -> Rows:
    """[n, d_model] float32: directions drawn evenly from all, each of the same length."""
    drawn = np.random.default_rng(seed).standard_normal((n, d_model))
    drawn *= norm / np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn.astype(np.float32)


def profile_row(direction: Direction) -> Mapping[str, int | float | bool]:
    """A direction as a row of a layer profile, without its values."""
    return {
        "layer": direction.layer,
        "norm": direction.norm,
        "relative_norm": direction.norm / direction.residual_norm,
        "residual_norm": direction.residual_norm,
        "reliability": direction.reliability,
        "separation": direction.separation,
        "is_reliable": direction.is_reliable,
        "n_pairs": direction.n_pairs,
    }


def _units(vectors: Sequence[Rows]) -> list[npt.NDArray[np.float64]]:
    if len({vector.shape for vector in vectors}) != 1:
        raise RequestError(
            "The vectors have different widths: they are of different models.",
            "Choose vectors of one model.",
        )
    units = []
    for vector in vectors:
        values = vector.astype(np.float64)
        length = float(np.linalg.norm(values))
        if not np.isfinite(length) or not length:
            raise RequestError(
                "A vector is zero, or holds values that are no numbers.", "Leave it out."
            )
        units.append(values / length)
    return units


def _split_half_cosine(differences: npt.NDArray[np.float64]) -> float:
    n = len(differences)
    if n < 2:
        return 0.0
    rng = np.random.default_rng(0)
    cosines = []
    for _ in range(_N_SPLITS):
        order = rng.permutation(n)
        left = differences[order[: n // 2]].mean(axis=0)
        right = differences[order[n // 2 :]].mean(axis=0)
        scale = np.linalg.norm(left) * np.linalg.norm(right)
        cosines.append(float(left @ right / scale) if scale else 0.0)
    return float(np.mean(cosines))


def _separation(positive: npt.NDArray[np.float64], negative: npt.NDArray[np.float64]) -> float:
    n = len(positive)
    if n < _N_FOLDS:
        return 0.5
    folds = np.random.default_rng(1).permutation(n) % _N_FOLDS
    scores, flags = [], []
    for fold in range(_N_FOLDS):
        held = folds == fold
        direction = (positive[~held] - negative[~held]).mean(axis=0)
        middle = (positive[~held].mean(axis=0) + negative[~held].mean(axis=0)) / 2
        length = float(np.linalg.norm(direction)) or 1.0
        for rows, flag in ((positive[held], True), (negative[held], False)):
            projected = (rows - middle) @ direction / length
            scores += projected.tolist()
            flags += [flag] * len(projected)
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(flags, scores))
