"""The logit lens of a direction: which tokens it makes likelier, straight through the output layer.

Invariant: pure; what is returned depends on the direction, the final norm and the output layer
alone. It is the direct effect: what later layers make of the direction is left out.

Convention: logit of token v = W_U[v] . (g * d), g the gain of the final norm, d the decoder row as
it is stored (its mean taken away first where the norm centres), minus the mean over the vocabulary,
since a shift of all logits changes no probability. So it is the change of the logits for one unit
of activation, where the last residual has a root mean square of 1.

Source: folding the final norm's gain and centring the unembedding as in
https://github.com/TransformerLensOrg/TransformerLens (fold_ln, center_unembed), which
https://github.com/jbloomAus/SAEDashboard builds on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.feature_maths.mapped_tensors import Floats
from engine.feature_maths.token_names import TokenNames
from engine.feature_maths.unembedding import Unembedding

CONVENTION = (
    "Change of each logit for one unit of activation: decoder row times the final norm's gain, "
    "through the output layer, minus the mean over the vocabulary. Direct effect only: the layers "
    "after the hook are left out, and the last residual is taken to have a root mean square of 1."
)
N_SHOWN = 20
_N_BINS = 40


@dataclass(frozen=True, slots=True)
class TokenLogit:
    """A token and its logit; `text` is what the token stands for."""

    token_id: int
    text: str
    logit: float


@dataclass(frozen=True, slots=True)
class LogitBin:
    """Tokens of the vocabulary with a logit in [low, high); the last bin has its upper end too."""

    low: float
    high: float
    n_tokens: int


@dataclass(frozen=True, slots=True)
class LogitLens:
    """What a feature boosts.

    Attributes:
        top: the tokens that it makes likelier, the most first; bottom: those less likely.
        bins: histogram over the vocabulary.
        convention: what the numbers are. notes: what is particular to this model or SAE.
    """

    top: tuple[TokenLogit, ...]
    bottom: tuple[TokenLogit, ...]
    bins: tuple[LogitBin, ...]
    convention: str
    notes: tuple[str, ...]


def direction_logits(
    direction: Floats, unembedding: Unembedding, n_known: int | None = None
) -> Floats:
    """The logits of a direction, [n_vocabulary], centred.

    Args:
        direction: [d_model], a decoder row.
        unembedding: of the model.
        n_known: tokens that the tokenizer has; rows beyond pad the matrix, and become NaN.
    """
    if unembedding.is_centring:
        direction = direction - direction.mean()
    scaled = direction * unembedding.gain
    logits = np.concatenate([block @ scaled for _, block in unembedding.weight.iter_blocks()])
    if n_known is not None:
        logits[n_known:] = np.nan
    centred: Floats = logits - np.nanmean(logits)
    return centred


def read_lens(
    logits: Floats, names: TokenNames, notes: tuple[str, ...], n_shown: int = N_SHOWN
) -> LogitLens:
    """Top and bottom tokens and the histogram of logits.

    Args:
        logits: [n_vocabulary], NaN where there is no token.
        names: what the tokens stand for.
        notes: shown beside them.
        n_shown: tokens at either end.
    """
    known = np.flatnonzero(np.isfinite(logits))
    # equal logits in the order of ids, so that the same file gives the same list
    order = known[np.lexsort((known, -logits[known]))]
    values = logits[known].astype(np.float64)
    return LogitLens(
        top=_named(order[:n_shown], logits, names),
        bottom=_named(order[::-1][:n_shown], logits, names),
        bins=_bins(values),
        convention=CONVENTION,
        notes=notes,
    )


def _named(ids: npt.NDArray[np.int64], logits: Floats, names: TokenNames) -> tuple[TokenLogit, ...]:
    return tuple(
        TokenLogit(token_id, names.text(token_id), float(logits[token_id]))
        for token_id in ids.tolist()
    )


def _bins(values: npt.NDArray[np.float64]) -> tuple[LogitBin, ...]:
    if not len(values):
        return ()
    counts, edges = np.histogram(values, bins=_N_BINS)
    return tuple(
        LogitBin(low, high, count)
        for low, high, count in zip(
            edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True
        )
    )
