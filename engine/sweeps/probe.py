"""An independent probe of a concept: what the unsteered model makes of a steered answer's text.

Invariant: fitted on pairs of texts that nothing was steered on, and read without steering, so that
it cannot see the vector, only the words that came of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engine.concepts.pairs import PairSet
from engine.sweeps.answering import Answering

if TYPE_CHECKING:
    from engine.resident import ResidentSource

Doubles = npt.NDArray[np.float64]
_C = 0.01
_PART = 48


@dataclass(frozen=True, slots=True)
class ConceptProbe:
    """A logistic probe on the mean residual of a text, after a layer in the middle of the model.

    Attributes:
        weights: [d_model]; bias: added to their product with a row.
    """

    layer: int
    weights: Doubles
    bias: float

    def probabilities(self, answering: Answering, texts: Sequence[str]) -> Doubles:
        """Probability of the concept in each text; NaN for an empty one."""
        found = np.full(len(texts), np.nan)
        places = [place for place, text in enumerate(texts) if text.strip()]
        rows = _read(answering, [texts[place] for place in places], self.layer)
        found[places] = 1 / (1 + np.exp(-(rows @ self.weights + self.bias)))
        return found


def can_probe(pairs: PairSet) -> bool:
    """Whether its pairs are plain texts, as answers are; questions of a chat are not."""
    return pairs.form == "text" and pairs.reading == "mean"


def fit_probe(answering: Answering, pairs: PairSet) -> ConceptProbe:
    """The probe of a pair set of plain texts."""
    from sklearn.linear_model import LogisticRegression

    layer = answering.lend(_middle)
    texts = [pair.positive for pair in pairs.pairs] + [pair.negative for pair in pairs.pairs]
    rows = _read(answering, texts, layer)
    centre, scale = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-9)
    model = LogisticRegression(C=_C, max_iter=1_000)
    model.fit((rows - centre) / scale, [True] * len(pairs.pairs) + [False] * len(pairs.pairs))
    weights = model.coef_[0] / scale
    return ConceptProbe(layer, weights, float(model.intercept_[0] - weights @ centre))


def _middle(resident: ResidentSource) -> int:
    from engine.hooks import decoder_layers

    return len(decoder_layers(resident.language.model)) // 2


def _read(answering: Answering, texts: Sequence[str], layer: int) -> Doubles:
    """Mean residual of each text, [n, d_model]."""

    def read(resident: ResidentSource, part: Sequence[str]) -> npt.NDArray[np.float32]:
        from engine.concepts.reading import plain_ids, read_rows

        ids = [plain_ids(resident.language.tokenizer, text) for text in part]
        first = [min(1, len(row) - 1) for row in ids]
        return read_rows(resident, ids, first, "mean", [layer])[:, 0]

    parts = [texts[start : start + _PART] for start in range(0, len(texts), _PART)]
    rows = [answering.lend(lambda resident, part=part: read(resident, part)) for part in parts]  # type: ignore[misc]
    return np.concatenate(rows).astype(np.float64) if rows else np.zeros((0, 1))
