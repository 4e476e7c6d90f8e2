"""Greedy decoding of many prompts at once, and the residual at the SAE's hook point.

Invariant: prompts are grouped by length and never padded, so a batch gives what one prompt gives.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from transformers import MistralForCausalLM, PreTrainedTokenizerBase

from engine.demo import LAYER

_BATCH = 256


@torch.inference_mode()
def decode_greedily(
    model: MistralForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 32,
) -> list[str]:
    """Continue each prompt with its most probable tokens.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        prompts: Rendered texts, BOS included.
        max_new_tokens: Where to stop without an end token.

    Returns:
        The continuations in the order of the prompts, special tokens kept, the end token dropped.
    """
    groups: dict[int, list[int]] = defaultdict(list)
    encoded: list[list[int]] = tokenizer(list(prompts), add_special_tokens=False)["input_ids"]
    for index, row in enumerate(encoded):
        groups[len(row)].append(index)
    texts = [""] * len(prompts)
    for indices in groups.values():
        for start in range(0, len(indices), _BATCH):
            chosen = indices[start : start + _BATCH]
            ids = torch.tensor([encoded[i] for i in chosen])
            for i, new in zip(chosen, _continue(model, ids, max_new_tokens), strict=True):
                texts[i] = str(tokenizer.decode(new))
    return texts


@torch.inference_mode()
def collect_residuals(
    model: MistralForCausalLM, ids: torch.Tensor, layer: int = LAYER
) -> torch.Tensor:
    """Return the output of a decoder layer.

    Args:
        model: The model.
        ids: (batch, length) int64.
        layer: Index of the decoder layer.

    Returns:
        (batch, length, d_model) float32, on the CPU.
    """
    kept: list[torch.Tensor] = []

    def keep(_module: torch.nn.Module, _args: object, output: object) -> None:
        kept.append(output if isinstance(output, torch.Tensor) else output[0])  # type: ignore[index]

    handle = model.model.layers[layer].register_forward_hook(keep)
    try:
        model.model(input_ids=ids, use_cache=False)
    finally:
        handle.remove()
    return kept[0]


def _continue(model: MistralForCausalLM, ids: torch.Tensor, max_new_tokens: int) -> list[list[int]]:
    eos = model.config.eos_token_id
    rows: list[list[int]] = [[] for _ in range(len(ids))]
    open_rows = set(range(len(ids)))
    cache = None
    step = ids
    for _ in range(max_new_tokens):
        output = model(input_ids=step, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        step = output.logits[:, -1:].argmax(-1)
        for index in list(open_rows):
            token = int(step[index, 0])
            if token == eos:
                open_rows.discard(index)
            else:
                rows[index].append(token)
        if not open_rows:
            break
    return rows
