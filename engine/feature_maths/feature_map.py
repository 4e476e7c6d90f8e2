"""Features of a source in two dimensions: those with like directions lie together.

Invariant: the same decoder rows give the same map (one seed, one order). Axes mean nothing; only
who is near whom does.

Source: https://scikit-learn.org/stable/modules/manifold.html#t-sne (principal components first).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.feature_maths.mapped_tensors import Floats, MappedMatrix

MAX_ELEMENTS = 64 * 1024 * 1024
"""Most of the decoder that is laid out, in elements (256 MB): 12,800 features of width 5,120."""
MAX_FEATURES = 20_000
_N_COMPONENTS = 50
_PERPLEXITY = 30.0
_FEWEST_FOR_TSNE = 8


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """Coordinates of features.

    Attributes:
        features, x, y: of one length; features rising.
        n_left_out: features that are not on the map, of those that could be.
        method: how it was made, for people.
    """

    features: tuple[int, ...]
    x: tuple[float, ...]
    y: tuple[float, ...]
    n_left_out: int
    method: str


def choose_features(
    decoder: MappedMatrix, n_active: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The features that are laid out, rising: all, or where those are too many the most active.

    Args:
        decoder: [d_sae, d_in].
        n_active: [d_sae], tokens on which each fired.
    """
    n_most = min(MAX_FEATURES, MAX_ELEMENTS // max(1, decoder.n_columns))
    if decoder.n_rows <= n_most:
        return np.arange(decoder.n_rows)
    active = np.flatnonzero(n_active)
    order = active[np.lexsort((active, -n_active[active]))]
    chosen: npt.NDArray[np.int64] = np.sort(order[:n_most])
    return chosen


def reduce_directions(rows: Floats) -> Floats:
    """Principal components of the rows' directions, [n, at most 50].

    Args:
        rows: [n, d_in]; their lengths do not matter, a row of zeros stays where it is.
    """
    from sklearn.decomposition import PCA

    if len(rows) < 2:
        return np.zeros((len(rows), 1), np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    directions = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    n_components = min(_N_COMPONENTS, *directions.shape)
    pca = PCA(n_components, svd_solver="randomized", random_state=0)
    reduced: Floats = pca.fit_transform(directions).astype(np.float32)
    return reduced


def lay_out(reduced: Floats) -> tuple[Floats, str]:
    """Two dimensions, [n, 2], and how they were made."""
    n_rows = len(reduced)
    if n_rows < _FEWEST_FOR_TSNE:
        flat = np.zeros((n_rows, 2), np.float32)
        flat[:, : min(2, reduced.shape[1])] = reduced[:, :2]
        return flat, "two principal components of the decoder directions"
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(_PERPLEXITY, (n_rows - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=0)
    # beside a model that computes, its threads would spin for each other: six times slower
    with threadpool_limits(1):
        placed: Floats = tsne.fit_transform(reduced).astype(np.float32)
    return placed, (
        f"t-SNE (perplexity {perplexity:.0f}) of {reduced.shape[1]} principal components "
        "of the decoder directions"
    )
