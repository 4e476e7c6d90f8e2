"""Measures an SAE in SAELens layout on texts: FVU, L0, dead features, loss recovered.

Invariant: all figures leave the BOS position out, which is the same in every text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from transformers import MistralForCausalLM, PreTrainedTokenizerBase

from engine.demo import LAYER
from engine.demo.decoding import collect_residuals


@dataclass(frozen=True, slots=True)
class SaeWeights:
    """A plain top-k SAE.

    Attributes:
        w_enc: (d_in, d_sae) float32.
        b_enc: (d_sae,) float32.
        w_dec: (d_sae, d_in) float32.
        b_dec: (d_in,) float32.
        k: Features kept on a token.
    """

    w_enc: torch.Tensor
    b_enc: torch.Tensor
    w_dec: torch.Tensor
    b_dec: torch.Tensor
    k: int

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Return activations (..., d_sae) of residuals (..., d_in), at most k above zero."""
        pre = (x - self.b_dec) @ self.w_enc + self.b_enc
        top = pre.topk(self.k, dim=-1)
        return torch.zeros_like(pre).scatter_(-1, top.indices, top.values.relu())

    def decode(self, activations: torch.Tensor) -> torch.Tensor:
        """Return the reconstruction (..., d_in) of activations (..., d_sae)."""
        return activations @ self.w_dec + self.b_dec


@dataclass(frozen=True, slots=True)
class SaeFigures:
    """What an SAE keeps of a model's residual.

    Attributes:
        fvu: Fraction of variance unexplained, 0 to 1.
        l0: Mean number of active features on a token.
        dead: Features that are active on none of the tokens.
        loss_recovered: 1 where the loss is as without the SAE, 0 where it is as with zeros.
        n_tokens: Tokens measured, BOS left out.
    """

    fvu: float
    l0: float
    dead: int
    loss_recovered: float
    n_tokens: int


def read_sae(folder: Path) -> SaeWeights:
    """Read `cfg.json` and `sae_weights.safetensors` of a top-k SAE with folded decoder norms.

    Args:
        folder: The SAE's folder.

    Returns:
        The weights.

    Raises:
        ValueError: If the configuration is of another kind.
    """
    config = json.loads((folder / "cfg.json").read_text())
    plain = config["architecture"] == "topk" and not config.get("rescale_acts_by_decoder_norm")
    if not plain or not config["apply_b_dec_to_input"]:
        raise ValueError(f"{folder} is not a plain top-k SAE")
    tensors = load_file(folder / "sae_weights.safetensors")
    return SaeWeights(
        tensors["W_enc"], tensors["b_enc"], tensors["W_dec"], tensors["b_dec"], int(config["k"])
    )


@torch.inference_mode()
def measure_sae(
    sae: SaeWeights,
    model: MistralForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
) -> SaeFigures:
    """Measure an SAE on texts.

    Args:
        sae: The SAE.
        model: The model whose residual it reads.
        tokenizer: The model's tokenizer.
        texts: Rendered texts, BOS included.

    Returns:
        The figures.
    """
    encoded: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    rows: list[torch.Tensor] = []
    losses = torch.zeros(3)
    for ids in _batches(encoded):
        residual = collect_residuals(model, ids)
        rows.append(residual[:, 1:].flatten(0, 1))
        changed = sae.decode(sae.encode(residual))
        changed[:, 0] = residual[:, 0]
        zeroed = torch.zeros_like(residual)
        losses += torch.stack([_loss(model, ids, x) for x in (residual, changed, zeroed)])
    x = torch.cat(rows)
    activations = sae.encode(x)
    error = (sae.decode(activations) - x).pow(2).sum()
    active = activations > 0
    clean, kept, zero = (float(loss) for loss in losses)
    return SaeFigures(
        fvu=float(error / (x - x.mean(0)).pow(2).sum()),
        l0=float(active.sum(-1).float().mean()),
        dead=int((~active.any(0)).sum()),
        loss_recovered=(zero - kept) / (zero - clean),
        n_tokens=len(x),
    )


def _batches(encoded: list[list[int]]) -> list[torch.Tensor]:
    by_length: dict[int, list[list[int]]] = {}
    for row in encoded:
        by_length.setdefault(len(row), []).append(row)
    return [
        torch.tensor(rows[start : start + 256])
        for rows in by_length.values()
        for start in range(0, len(rows), 256)
    ]


def _loss(model: MistralForCausalLM, ids: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    """Return the summed next-token loss with the layer's output replaced."""

    def replace(_module: torch.nn.Module, _args: object, _output: object) -> torch.Tensor:
        return residual

    handle = model.model.layers[LAYER].register_forward_hook(replace)
    try:
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    finally:
        handle.remove()
    return cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="sum")
