"""Random checkpoints of published sizes, for measuring where real weights cannot be had."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

GPT2_FEATURES = 24_576
"""Features of the published residual SAEs on GPT-2 small."""


def save_random_gpt2_small(folder: Path, chat_template: str | None = None) -> None:
    """GPT-2 small (124 million parameters) with random weights; it never ends an answer."""
    transformers_logging.disable_progress_bar()
    torch.manual_seed(0)
    config = GPT2Config(eos_token_id=None, bos_token_id=None)
    GPT2LMHeadModel(config).save_pretrained(folder)
    _save_byte_tokenizer(folder, config.vocab_size, chat_template)


def save_random_llama(folder: Path, n_bytes: int) -> None:
    """A Llama of about `n_bytes` with random weights in bfloat16, in one file."""
    transformers_logging.disable_progress_bar()
    d_model = 64 if n_bytes < 50_000_000 else 2048
    # a layer of these proportions has 16 times d_model squared weights, of two bytes each
    n_layers = max(1, round(n_bytes / (32 * d_model**2)))
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=d_model,
        intermediate_size=4 * d_model,
        num_hidden_layers=n_layers,
        num_attention_heads=d_model // 32,
    )
    model = LlamaForCausalLM._from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="100GB")
    _save_byte_tokenizer(folder, config.vocab_size)


def _save_byte_tokenizer(folder: Path, vocab_size: int, chat_template: str | None = None) -> None:
    # byte-level ids first, the rest are filler: every id of the model decodes to something
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    filler = [f"w{index}" for index in range(vocab_size - len(alphabet))]
    vocabulary = {piece: index for index, piece in enumerate(alphabet + filler)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    if chat_template is not None:
        fast.chat_template = chat_template
    fast.save_pretrained(folder)


def save_random_sae(folder: Path, d_in: int, d_sae: int, k: int, hook_name: str) -> None:
    """A top-k SAE with random weights in SAELens layout."""
    generator = torch.Generator().manual_seed(0)
    decoder = torch.nn.functional.normalize(torch.randn(d_sae, d_in, generator=generator), dim=-1)
    weights = {
        "W_enc": decoder.T.contiguous(),
        "b_enc": torch.zeros(d_sae),
        "W_dec": decoder,
        "b_dec": torch.zeros(d_in),
    }
    config = {
        "architecture": "topk",
        "k": k,
        "d_in": d_in,
        "d_sae": d_sae,
        "dtype": "float32",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "metadata": {"hook_name": hook_name, "sae_lens_version": "6.54.12"},
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps(config), encoding="utf-8")
