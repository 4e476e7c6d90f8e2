"""Models and SAEs of published sizes, made of random numbers on the device, never on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from transformers import (
    AutoModelForImageTextToText,
    Mistral3Config,
    MistralConfig,
    PixtralVisionConfig,
    PreTrainedModel,
)

from engine.sae import Sae
from engine.sae_config import SaeConfig
from engine.sae_layouts import SaeLayout

DTYPE = torch.bfloat16


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a Mistral3 and of an SAE on one of its layers.

    Attributes:
        layer: whose output the SAE reads.
        n_prompt: tokens of the prompt that is read. file_bytes: of the checkpoint whose load is
            timed: a small one, as the disk's speed is what it shows.
    """

    name: str
    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_mlp: int
    vocab_size: int
    d_sae: int
    layer: int
    n_prompt: int
    file_bytes: int


SHAPES: Mapping[str, Shape] = {
    "mistral-small-24b": Shape(
        name="mistral-small-24b",
        n_layers=40,
        d_model=5120,
        n_heads=32,
        n_kv_heads=8,
        head_dim=128,
        d_mlp=32_768,
        vocab_size=131_072,
        d_sae=286_720,
        layer=30,
        n_prompt=512,
        file_bytes=2_000_000_000,
    ),
    "tiny": Shape(
        name="tiny",
        n_layers=4,
        d_model=64,
        n_heads=4,
        n_kv_heads=2,
        head_dim=16,
        d_mlp=128,
        vocab_size=1024,
        d_sae=4096,
        layer=2,
        n_prompt=64,
        file_bytes=4_000_000,
    ),
}


def with_features(shape: Shape, d_sae: int | None) -> Shape:
    """The shape with another number of features, if one is given."""
    return shape if d_sae is None else replace(shape, d_sae=d_sae)


def build_model(shape: Shape, device: torch.device) -> PreTrainedModel:
    """A Mistral3 with random weights in bfloat16 and the smallest tower for images."""
    vision = PixtralVisionConfig(
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    text = MistralConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.d_model,
        intermediate_size=shape.d_mlp,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_kv_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=131_072,
        sliding_window=None,
        bos_token_id=1,
        eos_token_id=2,
    )
    config = Mistral3Config(text_config=text, vision_config=vision, tie_word_embeddings=False)
    torch.manual_seed(0)
    with device:
        model = AutoModelForImageTextToText.from_config(config, dtype=DTYPE)
    if not isinstance(model, PreTrainedModel):
        raise TypeError("transformers made no model of the config")
    model.eval()
    model.requires_grad_(False)
    return model


def build_sae(shape: Shape, device: torch.device) -> Sae:
    """A ReLU encoder with random weights, as a linear layer stores it: [d_sae, d_model]."""
    torch.manual_seed(1)
    weight = torch.empty(shape.d_sae, shape.d_model, dtype=DTYPE, device=device)
    weight.normal_(std=shape.d_model**-0.5)
    zeros = torch.zeros(shape.d_model, dtype=DTYPE, device=device)
    layout = SaeLayout(
        "config.json", "model.safetensors", True, {}, shape.d_model, shape.d_sae, "bfloat16"
    )
    config = SaeConfig(
        architecture="standard",
        d_in=shape.d_model,
        d_sae=shape.d_sae,
        k=None,
        hook_name=f"blocks.{shape.layer}.hook_resid_post",
        apply_b_dec_to_input=False,
        normalisation="none",
        rescale_by_decoder_norm=False,
        model_name=shape.name,
        layout=layout,
    )
    return Sae(
        config=config,
        W_enc=weight.T,
        b_enc=torch.zeros(shape.d_sae, dtype=DTYPE, device=device),
        input_bias=None,
        threshold=None,
        gate=None,
        decoder_norm=None,
        W_dec=None,
        b_dec=zeros,
    )


def as_topk(sae: Sae, k: int) -> Sae:
    """The same encoder keeping the k strongest features of each token."""
    return replace(sae, config=replace(sae.config, architecture="topk", k=k))


def fire_about(sae: Sae, residual: torch.Tensor, n_active: int) -> Sae:
    """The SAE with a bias at which about `n_active` features fire on rows like these."""
    # a few rows say enough, and all of them at once would be gigabytes
    pre = residual[-64:].to(sae.W_enc) @ sae.W_enc
    threshold = pre.topk(n_active, dim=-1).values[:, -1].float().mean()
    bias = torch.full_like(sae.b_dec[:1], -threshold.item()).expand(sae.config.d_sae)
    return replace(sae, b_enc=bias.contiguous())
