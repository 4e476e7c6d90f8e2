"""A sparse autoencoder: load from SAELens layout, encode in chunks to a sparse code, decode.

Invariant: encoding never holds more than one chunk of dense activations; what it returns are
exactly the activations above zero, ordered by (row, feature). All functions are pure.

Source: https://github.com/decoderesearch/SAELens (saes/standard_sae.py, topk_sae.py and
jumprelu_sae.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from engine.errors import SourceMismatchError, WeightsMissingError
from engine.sae_config import WEIGHTS_FILE, SaeConfig

DENSE_BUDGET = 32 * 1024 * 1024
"""Most dense activations held at once while encoding, in elements (128 MB in float32)."""
_NORM_EPSILON = 1e-5


@dataclass(frozen=True, slots=True)
class Sae:
    """Weights and config of one SAE, on one device, in one dtype.

    Attributes:
        W_enc: [d_in, d_sae]. b_enc: [d_sae]. W_dec: [d_sae, d_in]. b_dec: [d_in].
        threshold: [d_sae], or None unless the architecture is `jumprelu`.
        decoder_norm: [d_sae], or None unless pre-activations are rescaled by it.
    """

    config: SaeConfig
    W_enc: torch.Tensor
    b_enc: torch.Tensor
    W_dec: torch.Tensor
    b_dec: torch.Tensor
    threshold: torch.Tensor | None
    decoder_norm: torch.Tensor | None


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


def load_sae(folder: Path, config: SaeConfig, dtype: torch.dtype, device: torch.device) -> Sae:
    """Reads the weights that `config` describes, tensor by tensor, to the device.

    Raises:
        WeightsMissingError: if the file is broken or lacks a tensor.
        SourceMismatchError: if a tensor has another shape than the config says.
    """
    shapes: dict[str, tuple[int, ...]] = {
        "W_enc": (config.d_in, config.d_sae),
        "b_enc": (config.d_sae,),
        "W_dec": (config.d_sae, config.d_in),
        "b_dec": (config.d_in,),
    }
    if config.architecture == "jumprelu":
        shapes["threshold"] = (config.d_sae,)
    tensors: dict[str, torch.Tensor] = {}
    try:
        with safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
            for name in shapes:
                tensors[name] = file.get_tensor(name).to(device=device, dtype=dtype)
    except (SafetensorError, OSError) as error:
        raise WeightsMissingError(
            f"The SAE's {WEIGHTS_FILE} in {folder.name!r} is broken or incomplete: {error}.",
            "Copy the file again from where the SAE was published.",
        ) from error
    for name, shape in shapes.items():
        if tuple(tensors[name].shape) != shape:
            raise SourceMismatchError(
                f"The SAE's {name} has the shape {tuple(tensors[name].shape)}, not {shape}.",
                "Config and weights are of different SAEs; copy both again.",
            )
    decoder_norm = tensors["W_dec"].norm(dim=-1) if config.rescale_by_decoder_norm else None
    return Sae(
        config=config,
        W_enc=tensors["W_enc"],
        b_enc=tensors["b_enc"],
        W_dec=tensors["W_dec"],
        b_dec=tensors["b_dec"],
        threshold=tensors.get("threshold"),
        decoder_norm=decoder_norm,
    )


def encode(sae: Sae, residual: torch.Tensor) -> SparseCode:
    """Encodes residual rows, a chunk of tokens at a time.

    Args:
        sae: the SAE.
        residual: [n_rows, d_in], any dtype, any device; moved to the SAE's.

    Returns:
        The activations above zero, on the CPU.
    """
    chunk_rows = max(1, DENSE_BUDGET // sae.config.d_sae)
    rows, features, values = [], [], []
    for start in range(0, residual.shape[0], chunk_rows):
        dense = encode_dense(sae, residual[start : start + chunk_rows])
        row, feature = dense.nonzero(as_tuple=True)
        values.append(dense[row, feature].cpu())
        rows.append((row + start).cpu())
        features.append(feature.cpu())
    return SparseCode(
        n_rows=residual.shape[0],
        row=torch.cat(rows) if rows else torch.empty(0, dtype=torch.int64),
        feature=torch.cat(features) if features else torch.empty(0, dtype=torch.int64),
        value=torch.cat(values) if values else torch.empty(0),
    )


def encode_dense(sae: Sae, residual: torch.Tensor) -> torch.Tensor:
    """Feature activations of a few rows, [n_rows, d_sae], zero where a feature is silent."""
    x, _, _ = _normalise(sae.config, residual.to(sae.W_enc))
    if sae.config.apply_b_dec_to_input:
        x = x - sae.b_dec
    pre = torch.addmm(sae.b_enc, x, sae.W_enc)
    if sae.decoder_norm is not None:
        pre = pre * sae.decoder_norm
    if sae.config.k is not None:
        top = pre.topk(sae.config.k, dim=-1, sorted=False)
        return torch.zeros_like(pre).scatter_(-1, top.indices, top.values.relu_())
    if sae.threshold is not None:
        return pre.relu() * (pre > sae.threshold)
    return pre.relu_()


def decode(sae: Sae, activations: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    """Reconstruction of the residual from dense activations.

    Args:
        sae: the SAE.
        activations: [n_rows, d_sae].
        residual: [n_rows, d_in], what was encoded: where the input was normalised, its scale is
            needed again.

    Returns:
        [n_rows, d_in], in the SAE's dtype.
    """
    if sae.decoder_norm is not None:
        activations = activations / sae.decoder_norm
    _, mean, scale = _normalise(sae.config, residual.to(sae.W_enc))
    out: torch.Tensor = (activations @ sae.W_dec + sae.b_dec) * scale + mean
    return out


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
