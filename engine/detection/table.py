"""The table that detectors are trained and measured on: runs, what is true of them, what is stored.

Invariant: row i of every column is run i; no column but `y` knows an outcome. Values of features
are those stored; a feature that is not among them is zero, or censored where `n_capped` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from engine.detection.arrays import BoolArray, FloatArray, IntArray
from engine.detection.models import Site


@dataclass(frozen=True, slots=True)
class TokenRows:
    """Features of generated tokens.

    Attributes:
        values: [t, d_sae].
        run: [t], row of the table. position: [t], in the whole sequence.
    """

    values: sp.csr_array
    run: IntArray
    position: IntArray


@dataclass(frozen=True, slots=True)
class Residuals:
    """Residual rows at positions, where they could be computed.

    Attributes:
        by_site: [n, d_in] each; empty where they could not.
        margins: by name of the token, [n]: how far the second likeliest was below it, in nats.
        problem: one sentence where there are none, else empty.
    """

    by_site: Mapping[Site, FloatArray]
    margins: Mapping[str, FloatArray]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class DetectionTable:
    """Runs with everything that detectors and audits may see of them.

    Attributes:
        y: [n], whether the answer was made up.
        groups: [n], person or prompt family, numbered.
        slices, templates: [n], as the question set names them; None where it does not.
        questions, responses: [n], texts.
        tools: [n]. is_truncated: [n], cut by max_new_tokens. refuses: [n], words of refusal in it.
        n_generated, n_entity_tokens: [n].
        statistics: by name, [n], each turned so that higher is more suspicious; NaN: not known.
        features: by site, [n, d_sae].
        tokens: of generated tokens.
        n_capped: tokens that fired more features than are stored.
        p_true: [n], one minus the model's own probability that its answer is true; None if it
            cannot say, for the reason in `p_true_problem`.
    """

    run_keys: tuple[str, ...]
    y: BoolArray
    groups: IntArray
    slices: tuple[str | None, ...]
    templates: tuple[str | None, ...]
    questions: tuple[str, ...]
    responses: tuple[str, ...]
    tools: BoolArray
    is_truncated: BoolArray
    refuses: BoolArray
    n_generated: IntArray
    n_entity_tokens: IntArray
    statistics: Mapping[str, FloatArray]
    features: Mapping[Site, sp.csr_array]
    tokens: TokenRows
    residuals: Residuals
    n_capped: int = 0
    p_true: FloatArray | None = None
    p_true_problem: str = ""

    def __len__(self) -> int:
        return len(self.run_keys)

    def with_labels(self, y: BoolArray) -> DetectionTable:
        """The same runs with other labels, such as shuffled ones."""
        return replace(self, y=y)

    def strata(self) -> IntArray:
        """[n], the slice of each run as a number."""
        names = sorted({name or "" for name in self.slices})
        return np.array([names.index(name or "") for name in self.slices], np.int64)


def shuffle_labels(y: BoolArray, groups: IntArray, seed: int) -> BoolArray:
    """Labels dealt anew: each group gets those of another group, repeated to its own size.

    What belongs together stays together: shuffling runs one by one would promise intervals that
    are too narrow.
    """
    random = np.random.default_rng(seed)
    _, group = np.unique(groups, return_inverse=True)
    places = [np.flatnonzero(group == code) for code in range(group.max() + 1 if len(y) else 0)]
    shuffled = y.copy()
    for place, donor in zip(places, random.permutation(len(places)), strict=True):
        shuffled[place] = np.resize(y[places[donor]], len(place))
    return shuffled
