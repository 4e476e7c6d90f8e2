"""Random SAEs in every published layout: names of files and tensors, and what configs say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.engine.checkpoints import D_MODEL, D_SAE

HOOK_FOLDER = "blocks.1.hook_resid_post"
SAELENS_CONFIG: Mapping[str, Any] = {
    "d_in": D_MODEL,
    "d_sae": D_SAE,
    "dtype": "float32",
    "device": "cpu",
    "apply_b_dec_to_input": True,
    "normalize_activations": "none",
    "reshape_activations": "none",
    "metadata": {"sae_lens_version": "6.54.12", "hook_name": HOOK_FOLDER},
}
BARE_CONFIG: Mapping[str, Any] = {"d_in": D_MODEL, "d_hidden": D_SAE}


def random_weights(architecture: str = "standard", d_sae: int = D_SAE) -> dict[str, torch.Tensor]:
    """Tensors under SAELens's names."""
    generator = torch.Generator().manual_seed(11)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    weights = {
        "W_enc": random(D_MODEL, d_sae) * 0.2,
        "b_enc": random(d_sae) * 0.1 - 0.2,
        "W_dec": random(d_sae, D_MODEL),
        "b_dec": random(D_MODEL) * 0.1,
    }
    if architecture == "jumprelu":
        weights["threshold"] = random(d_sae).abs() * 0.5
    if architecture == "gated":
        del weights["b_enc"]
        weights |= {"b_gate": random(d_sae) * 0.2, "r_mag": random(d_sae) * 0.3}
        weights["b_mag"] = random(d_sae) * 0.2
    return weights


def linear_names(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same SAE as two linear layers would be saved, their outputs first."""
    return {
        "encoder.weight": weights["W_enc"].T.contiguous(),
        "encoder.bias": weights["b_enc"],
        "decoder.weight": weights["W_dec"].T.contiguous(),
        "decoder.bias": weights["b_dec"],
    }


def write_sae(
    folder: Path,
    weights: Mapping[str, torch.Tensor],
    config: Mapping[str, Any],
    config_file: str = "cfg.json",
    weights_file: str = "sae_weights.safetensors",
) -> Path:
    """Writes a folder of these two files, and returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(weights), folder / weights_file)
    (folder / config_file).write_text(json.dumps(config), encoding="utf-8")
    return folder
