"""Tiny random models of all six architectures, with their real config classes.

Windows of attention are shorter than the prompts of the tests, so that they matter.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PixtralVisionConfig,
    PreTrainedModel,
)

from tests.engine.checkpoints import D_MODEL, N_LAYERS, VOCAB_SIZE, save_tokenizer
from tests.engine.checkpoints_tekken import BOS_ID, EOS_ID, PAD_ID, TEKKEN_VOCAB_SIZE, save_tekken

WINDOW = 8
N_CONTEXT = 256
_SHAPE: Mapping[str, Any] = {
    "hidden_size": D_MODEL,
    "intermediate_size": 64,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": N_CONTEXT,
    "initializer_range": 0.3,
}
_TOKENS: Mapping[str, Any] = {"vocab_size": VOCAB_SIZE, "bos_token_id": 0, "eos_token_id": 1}
_TEKKEN: Mapping[str, Any] = {
    "vocab_size": TEKKEN_VOCAB_SIZE,
    "bos_token_id": BOS_ID,
    "eos_token_id": EOS_ID,
    "pad_token_id": PAD_ID,
}


def _mistral3() -> PreTrainedModel:
    vision = PixtralVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    text = MistralConfig(**_SHAPE, **_TEKKEN, head_dim=16, sliding_window=None)
    config = Mistral3Config(
        text_config=text, vision_config=vision, image_token_index=10, tie_word_embeddings=False
    )
    return Mistral3ForConditionalGeneration(config)


def _mistral() -> PreTrainedModel:
    return MistralForCausalLM(MistralConfig(**_SHAPE, **_TOKENS, sliding_window=WINDOW))


def _llama() -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(**_SHAPE, **_TOKENS, tie_word_embeddings=True))


def _phi3() -> PreTrainedModel:
    return Phi3ForCausalLM(Phi3Config(**_SHAPE, **_TOKENS, pad_token_id=1, sliding_window=WINDOW))


def _gemma2() -> PreTrainedModel:
    config = Gemma2Config(
        **_SHAPE,
        **_TOKENS,
        pad_token_id=1,
        head_dim=8,
        query_pre_attn_scalar=8,
        sliding_window=WINDOW,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=5.0,
    )
    return Gemma2ForCausalLM(config)


def _gpt2() -> PreTrainedModel:
    config = GPT2Config(
        **_TOKENS,
        n_embd=D_MODEL,
        n_layer=N_LAYERS,
        n_head=4,
        n_positions=N_CONTEXT,
        initializer_range=0.3,
    )
    return GPT2LMHeadModel(config)


_MAKERS: Mapping[str, Callable[[], PreTrainedModel]] = {
    "mistral3": _mistral3,
    "mistral": _mistral,
    "llama": _llama,
    "phi3": _phi3,
    "gemma2": _gemma2,
    "gpt2": _gpt2,
}
ARCHITECTURES = tuple(_MAKERS)


def save_model(
    folder: Path, name: str, dtype: torch.dtype = torch.float32, shard: str = "5GB"
) -> None:
    """A checkpoint of one of ARCHITECTURES; GPT-2 alone has no chat template.

    Args:
        folder: that it is written to.
        name: of the architecture.
        dtype: that its weights are stored in.
        shard: longest file of weights, as transformers writes sizes.
    """
    torch.manual_seed(0)
    model = _MAKERS[name]()
    torch.nn.Module.to(model, dtype)
    model.save_pretrained(folder, max_shard_size=shard)
    if name == "mistral3":
        save_tekken(folder)
    else:
        save_tokenizer(folder, with_chat=name != "gpt2")
    _write_as_published(folder / "config.json", name)


def _write_as_published(path: Path, name: str) -> None:
    """What configs on the hub say otherwise than those that transformers writes."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if name == "mistral3":
        # it has an output layer of its own, though the config's default is to tie it
        del content["tie_word_embeddings"]
    if name == "phi3":
        # it names code of its own, which must not be run
        content["auto_map"] = {
            "AutoConfig": "configuration_phi3.Phi3Config",
            "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM",
        }
    path.write_text(json.dumps(content), encoding="utf-8")
