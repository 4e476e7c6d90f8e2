"""A few features of an SAE: what encodes them, and the directions that they write.

Invariant: an activation read here is that of `sae.encode`, to rounding; only the rows and columns
of the features that are asked for are read, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from engine.errors import RequestError, UnsupportedError
from engine.sae import DENSE_BUDGET, Gate, Sae, encode_dense


@dataclass(frozen=True, slots=True)
class FeatureReader:
    """Reads the activations of some features.

    Attributes:
        sae: the whole SAE where features compete (`topk`), else a slice of it.
        columns: of the wanted features among those of `sae`, int64; None where these are all.
    """

    sae: Sae
    columns: torch.Tensor | None

    def read(self, hidden: torch.Tensor) -> torch.Tensor:
        """Activations, float32 [..., n_features] on the device of hidden, [..., d_in]."""
        rows = hidden.reshape(-1, hidden.shape[-1])
        home = self.sae.W_enc.device
        n_rows = max(1, DENSE_BUDGET // self.sae.config.d_sae)
        pieces = []
        for start in range(0, rows.shape[0], n_rows):
            dense = encode_dense(self.sae, rows[start : start + n_rows].to(home))
            pieces.append(dense if self.columns is None else dense[:, self.columns])
        values = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
        return values.float().to(hidden.device).reshape(*hidden.shape[:-1], -1)


def gather_reader(sae: Sae, features: Sequence[int]) -> FeatureReader:
    """A reader of these features, in their order."""
    wanted = torch.tensor(list(features), dtype=torch.int64, device=sae.W_enc.device)
    if sae.config.k is not None:
        # whether a feature is among the strongest, all of them decide
        return FeatureReader(sae, wanted)
    gate = sae.gate
    part = replace(
        sae,
        config=replace(sae.config, d_sae=len(features)),
        W_enc=sae.W_enc[:, wanted],
        b_enc=None if sae.b_enc is None else sae.b_enc[wanted],
        threshold=None if sae.threshold is None else sae.threshold[wanted],
        gate=None
        if gate is None
        else Gate(gate.bias[wanted], gate.magnitude_scale[wanted], gate.magnitude_bias[wanted]),
        decoder_norm=None if sae.decoder_norm is None else sae.decoder_norm[wanted],
        W_dec=None,
    )
    return FeatureReader(part, None)


def gather_directions(sae: Sae, features: Sequence[int]) -> torch.Tensor:
    """What one unit of activation of each feature adds to the normalised residual.

    Returns:
        float32 [n_features, d_in], on the CPU; the rest of the decoder stays on disk.

    Raises:
        UnsupportedError: if the SAE's files have no decoder.
    """
    if sae.W_dec is None:
        raise no_decoder()
    wanted = torch.tensor(list(features), dtype=torch.int64)
    rows = sae.W_dec[wanted].float()
    if sae.decoder_norm is None:
        return rows
    return rows / sae.decoder_norm.cpu()[wanted].float()[:, None]


def no_decoder() -> UnsupportedError:
    """What is said of an SAE whose features have no direction."""
    return UnsupportedError(
        "This SAE was published without its decoder: its features have no direction to steer by.",
        "Steer with a vector, or use an SAE with a decoder (W_dec).",
    )


def no_features() -> RequestError:
    """What is said where a feature is named, and the source has none."""
    return RequestError(
        "This source has no SAE: it has no features to steer or to look at.",
        "Steer with a vector, or choose a source with an SAE.",
    )


def rounding_of(sae: Sae) -> float:
    """Relative difference of two ways to compute one activation that is rounding alone."""
    return max(torch.finfo(sae.W_enc.dtype).eps, 1e-6)
