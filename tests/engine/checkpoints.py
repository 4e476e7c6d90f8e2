"""Tiny real checkpoints with random weights: models of several architectures and SAEs on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

D_MODEL = 32
D_SAE = 96
N_LAYERS = 3
VOCAB_SIZE = 400
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}"
    "{% if tools %}<|tools|>{{ tools | length }}\n{% endif %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_TEXT = [
    "The quick brown fox jumps over the lazy dog.",
    "Anna lives in Lisbon, and Karim lives in Oslo. Where does he work?",
    "Ünïcödé — 日本語 🙂 and line\nbreaks\tand tabs.",
]


def save_tokenizer(folder: Path, with_chat: bool) -> None:
    """A byte-level BPE tokenizer trained on a few lines; any text has tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    if with_chat:
        fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)


def save_llama(folder: Path, seed: int = 0, n_context: int = 256) -> LlamaForCausalLM:
    """A Llama of 3 layers with a chat template."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=D_MODEL,
        intermediate_size=64,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=n_context,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.3,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    save_tokenizer(folder, with_chat=True)
    return model


def save_gpt2(folder: Path, seed: int = 0) -> GPT2LMHeadModel:
    """A GPT-2 of 3 layers without a chat template."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=VOCAB_SIZE,
        n_embd=D_MODEL,
        n_layer=N_LAYERS,
        n_head=4,
        n_positions=256,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.3,
    )
    model = GPT2LMHeadModel(config)
    model.save_pretrained(folder)
    save_tokenizer(folder, with_chat=False)
    return model


def save_sae(
    folder: Path,
    architecture: str = "standard",
    d_in: int = D_MODEL,
    hook_name: str = "blocks.1.hook_resid_post",
    **changes: Any,
) -> None:
    """An SAE in SAELens layout with random weights."""
    generator = torch.Generator().manual_seed(7)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    weights = {
        "W_enc": random(d_in, D_SAE) * 0.2,
        "b_enc": random(D_SAE) * 0.1 - 0.2,
        "W_dec": random(D_SAE, d_in),
        "b_dec": random(d_in) * 0.1,
    }
    config: dict[str, Any] = {
        "d_in": d_in,
        "d_sae": D_SAE,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": "6.54.12", "hook_name": hook_name},
        "architecture": architecture,
    }
    if architecture == "topk":
        config["k"] = 5
    if architecture == "jumprelu":
        weights["threshold"] = random(D_SAE).abs() * 0.5
    config.update(changes)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps(config), encoding="utf-8")


def hidden_at(model: PreTrainedModel, ids: tuple[int, ...], layer: int) -> torch.Tensor:
    """The output of a decoder layer by transformers' own way, [tokens, d_model]."""
    with torch.inference_mode():
        output = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
    hidden: torch.Tensor = output.hidden_states[layer + 1][0]
    return hidden
