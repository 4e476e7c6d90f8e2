"""What steering leaves in the store: vectors, lengths of residuals, what interventions achieved.

Invariant: field names equal the columns of the public views.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

VectorValues = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class VectorDraft:
    """What is said of a vector that is to be stored.

    Attributes:
        name: what people call it.
        model_id, model_revision: of the model whose residual stream it is of.
        layer: decoder layer, from 0; site: `resid_post`, its output, or `resid_pre`, its input.
        method: how it was made, such as `difference_of_means`, `import` or `combination`.
        source_id: of the source that it was made with, if any.
        concept: what it stands for; the same for its vectors at several layers.
        n_pairs: pairs of texts that it was made from, if any.
        reliability: cosine of halves of its pairs, -1 to 1, if that was measured.
        residual_norm: mean length of the residual at its layer when it was made, if known.
        content: JSON: what it was made from (pairs, templates, weights) and measured to be.
    """

    name: str
    model_id: str
    model_revision: str
    layer: int
    method: str
    created_by: str
    site: str = "resid_post"
    source_id: str | None = None
    concept: str = ""
    n_pairs: int | None = None
    reliability: float | None = None
    residual_norm: float | None = None
    content: str = "{}"


@dataclass(frozen=True, slots=True)
class Vector:
    """A stored vector, without its values.

    Attributes:
        vector_id: 20 hexadecimal digits of a digest of model, layer, site and values.
        norm: its Euclidean length.
        The others are those of VectorDraft.
    """

    vector_id: str
    name: str
    model_id: str
    model_revision: str
    layer: int
    site: str
    d_model: int
    method: str
    source_id: str | None
    concept: str
    n_pairs: int | None
    norm: float
    reliability: float | None
    residual_norm: float | None
    content: str
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ResidualNorm:
    """How large the residual is after one decoder layer, over the tokens of neutral texts.

    Attributes:
        layer: from 0; -1 is the embedding.
        mean_norm: mean Euclidean length; mean_std: mean standard deviation within a token.
        n_tokens: that were measured; the first of each text is left out.
    """

    layer: int
    mean_norm: float
    mean_std: float
    n_tokens: int


@dataclass(frozen=True, slots=True)
class RunIntervention:
    """What one intervention of a run achieved.

    Attributes:
        number: its place in the run's steering, from 0.
        layer: decoder layer whose output was changed; -1 is the embedding.
        raw_strength: factor of the direction, or the activation that was clamped to.
        measure: what was read: `activation` of the feature, or `projection` on the direction.
        requested: mean of what the steered positions should have had.
        achieved_before, achieved_after: mean of what they had; None if no position was steered.
        n_positions: tokens that were steered.
    """

    number: int
    kind: str
    feature: int | None
    vector_id: str | None
    layer: int
    positions: str
    unit: str
    strength: float
    raw_strength: float
    measure: str
    requested: float | None
    achieved_before: float | None
    achieved_after: float | None
    n_positions: int
