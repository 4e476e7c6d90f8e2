"""A sparse autoencoder in memory: encode in chunks to a sparse code, decode.

Invariant: encoding never holds more than one chunk of dense activations; what it returns are
exactly the activations above zero, ordered by (row, feature). All functions are pure.

Chunks are of tokens alone. Chunks of features as well were two to six times slower on a CPU at
286,720 features, and nothing needs them: a single row of that width is half a megabyte.

Source: https://github.com/decoderesearch/SAELens (saes/standard_sae.py, topk_sae.py,
jumprelu_sae.py and gated_sae.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from engine.errors import UnsupportedError
from engine.sae_config import SaeConfig

DENSE_BUDGET = 32 * 1024 * 1024
"""Most dense activations held at once while encoding, in elements (128 MB in float32)."""
_NORM_EPSILON = 1e-5


@dataclass(frozen=True, slots=True)
class Gate:
    """What a gated SAE has in place of b_enc: b_gate, exp(r_mag) and b_mag, each [d_sae]."""

    bias: torch.Tensor
    magnitude_scale: torch.Tensor
    magnitude_bias: torch.Tensor


@dataclass(frozen=True, slots=True)
class Sae:
    """Weights and config of one SAE; what encoding needs is on one device, in one dtype.

    Attributes:
        W_enc: [d_in, d_sae].
        b_enc: [d_sae], or None if the architecture is `gated`.
        input_bias: [d_in], taken from the input before encoding, or None.
        threshold: [d_sae], or None unless the architecture is `jumprelu`.
        gate: None unless the architecture is `gated`.
        decoder_norm: [d_sae], or None unless pre-activations are rescaled by it.
        W_dec: [d_sae, d_in], on the CPU and as it is stored, read from disk where it is used; None
            if the files have no decoder.
        b_dec: [d_in].
    """

    config: SaeConfig
    W_enc: torch.Tensor
    b_enc: torch.Tensor | None
    input_bias: torch.Tensor | None
    threshold: torch.Tensor | None
    gate: Gate | None
    decoder_norm: torch.Tensor | None
    W_dec: torch.Tensor | None
    b_dec: torch.Tensor


@dataclass(frozen=True, slots=True)
class SparseCode:
    """Activations above zero of `n_rows` residual rows, ordered by (row, feature).

    Attributes:
        row, feature: int64, [n]. value: [n], above zero, in the SAE's dtype.
    """

    n_rows: int
    row: torch.Tensor
    feature: torch.Tensor
    value: torch.Tensor


def empty_code(n_rows: int) -> SparseCode:
    """The code of rows on which nothing fires, or which nothing encodes."""
    nothing = torch.empty(0, dtype=torch.int64)
    return SparseCode(n_rows, nothing, nothing, torch.empty(0))


def encode(sae: Sae, residual: torch.Tensor) -> SparseCode:
    """Encodes residual rows, a chunk of tokens at a time.

    Args:
        sae: the SAE.
        residual: [n_rows, d_in], any dtype, any device; moved to the SAE's.

    Returns:
        The activations above zero, on the CPU.
    """
    if not residual.shape[0]:
        return empty_code(0)
    chunk_rows = max(1, DENSE_BUDGET // sae.config.d_sae)
    rows, features, values = [], [], []
    for start in range(0, residual.shape[0], chunk_rows):
        row, feature, value = _encode_chunk(sae, residual[start : start + chunk_rows])
        rows.append((row + start).cpu())
        features.append(feature.cpu())
        values.append(value.cpu())
    return SparseCode(residual.shape[0], torch.cat(rows), torch.cat(features), torch.cat(values))


def encode_dense(sae: Sae, residual: torch.Tensor) -> torch.Tensor:
    """Feature activations of a few rows, [n_rows, d_sae], zero where a feature is silent."""
    if sae.config.k is not None:
        pre = _pre_activations(sae, residual)
        top = pre.topk(sae.config.k, dim=-1, sorted=False)
        return torch.zeros_like(pre).scatter_(-1, top.indices, top.values.relu_())
    return _activate(sae, _pre_activations(sae, residual))


def decode(sae: Sae, activations: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    """Reconstruction of the residual from dense activations.

    Args:
        sae: the SAE.
        activations: [n_rows, d_sae].
        residual: [n_rows, d_in], what was encoded: where the input was normalised, its scale is
            needed again.

    Returns:
        [n_rows, d_in], in the SAE's dtype and on its device.

    Raises:
        UnsupportedError: if the SAE's files have no decoder.
    """
    if sae.W_dec is None:
        raise UnsupportedError("This SAE was published without its decoder: it only encodes.")
    if sae.decoder_norm is not None:
        activations = activations / sae.decoder_norm
    _, mean, scale = _normalise(sae.config, residual.to(sae.W_enc))
    # the decoder stays where it is: it is as large as the encoder, and seldom wanted whole
    summed = (activations.to(sae.W_dec) @ sae.W_dec).to(sae.W_enc)
    out: torch.Tensor = (summed + sae.b_dec) * scale + mean
    return out


def input_scale(config: SaeConfig, residual: torch.Tensor) -> torch.Tensor:
    """What the normalised input is multiplied by to be the residual again, [..., 1] or a scalar.

    A change of the decoder's output has to be multiplied by it.
    """
    return _normalise(config, residual)[2]


def _encode_chunk(
    sae: Sae, residual: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows, features and values above zero of a few residual rows, on the SAE's device."""
    if sae.config.k is None:
        dense = encode_dense(sae, residual)
        row, feature = dense.nonzero(as_tuple=True)
        return row, feature, dense[row, feature]
    top = _pre_activations(sae, residual).topk(sae.config.k, dim=-1, sorted=False)
    indices, order = top.indices.sort(dim=-1)
    kept = top.values.gather(-1, order)
    row, place = (kept > 0).nonzero(as_tuple=True)
    return row, indices[row, place], kept[row, place]


def _pre_activations(sae: Sae, residual: torch.Tensor) -> torch.Tensor:
    """What the activation function is applied to, [n_rows, d_sae]; a new tensor."""
    x = residual.to(sae.W_enc)
    if sae.config.normalisation != "none":
        x, _, _ = _normalise(sae.config, x)
    if sae.input_bias is not None:
        x = x - sae.input_bias
    pre = x @ sae.W_enc if sae.b_enc is None else torch.addmm(sae.b_enc, x, sae.W_enc)
    return pre if sae.decoder_norm is None else pre * sae.decoder_norm


def _activate(sae: Sae, pre: torch.Tensor) -> torch.Tensor:
    if sae.gate is not None:
        is_open = pre + sae.gate.bias > 0
        return (pre * sae.gate.magnitude_scale + sae.gate.magnitude_bias).relu_() * is_open
    if sae.threshold is not None:
        return pre.relu() * (pre > sae.threshold)
    return pre.relu_()


def _normalise(
    config: SaeConfig, x: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The normalised rows, and mean and scale that undo it: x = normalised * scale + mean."""
    zero, one = x.new_zeros(()), x.new_ones(())
    if config.normalisation == "layer_norm":
        mean = x.mean(dim=-1, keepdim=True)
        centred = x - mean
        std = centred.std(dim=-1, keepdim=True)
        return centred / (std + _NORM_EPSILON), mean, std
    if config.normalisation == "constant_norm_rescale":
        scale = x.norm(dim=-1, keepdim=True) / config.d_in**0.5
        return x / scale, zero, scale
    return x, zero, one
