"""What a source needs of a device's memory, and whether the device has that; free of torch.

Invariant: an estimate never touches the device; it counts bytes that files and configs state, and
adds what a computation needs beside them, rather more than less.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

_WORKING_TOKENS = 8192
"""Tokens of a long chat that the estimate makes room for, where the model reads that many."""
_LOGIT_ROWS = 512
_ENCODED_ROWS = 256
_MARGIN = 0.1
_FALLBACK_VOCABULARY = 131_072
_DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Memory of a device at one moment, in bytes.

    Attributes:
        device: such as `cpu`, `cuda:0` or `cuda:0,cuda:1`.
        total_bytes: None where it is not known.
        used_bytes: by the source that is loaded; 0 where none is.
        available_bytes: free now; None where it is not known.
    """

    device: str
    total_bytes: int | None
    used_bytes: int
    available_bytes: int | None


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """What loading a source would take, and what the device has.

    Attributes:
        model_bytes, sae_bytes: weights in the precision `dtype`.
        working_bytes: keys and values of a long chat, logits, and the encoding of features.
        device: that the source would be loaded on.
        total_bytes, available_bytes: of that device, what the loaded source would give back
            included; None where they are not known.
        advice: sentences that each name something that would fit, if this does not.
    """

    model_bytes: int
    sae_bytes: int
    working_bytes: int
    dtype: str
    device: str
    total_bytes: int | None
    available_bytes: int | None
    advice: tuple[str, ...] = ()

    @property
    def required_bytes(self) -> int:
        """Weights and working memory together."""
        return self.model_bytes + self.sae_bytes + self.working_bytes

    @property
    def fits(self) -> bool | None:
        """Whether the device has that much free; None where its memory is not known."""
        return None if self.available_bytes is None else self.required_bytes <= self.available_bytes


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes that working memory follows from.

    Attributes:
        kv_width: width of the keys of one token in one layer: heads times their width.
        d_sae: 0 for a model without an SAE.
        n_context: longest sequence in tokens.
    """

    n_layers: int
    d_model: int
    kv_width: int
    vocabulary: int
    n_context: int
    d_sae: int


def read_shape(folder: Path, d_sae: int) -> Shape | None:
    """The shape that a checkpoint's config.json states; None if it does not."""
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict):
        return None
    nested = content.get("text_config")
    text = nested if isinstance(nested, dict) else content

    def first(*names: str) -> int:
        values = (text.get(name) for name in names)
        return next((value for value in values if isinstance(value, int) and value > 0), 0)

    n_layers, d_model = first("num_hidden_layers", "n_layer"), first("hidden_size", "n_embd")
    n_heads = first("num_attention_heads", "n_head") or 1
    head_dim = first("head_dim") or d_model // n_heads
    if not n_layers or not d_model:
        return None
    return Shape(
        n_layers=n_layers,
        d_model=d_model,
        kv_width=(first("num_key_value_heads") or n_heads) * head_dim,
        vocabulary=first("vocab_size") or _FALLBACK_VOCABULARY,
        n_context=first("max_position_embeddings", "n_positions") or _WORKING_TOKENS,
        d_sae=d_sae,
    )


def guess_shape(
    n_layers: int,
    d_model: int,
    d_sae: int,
    kv_width: int | None = None,
    n_context: int | None = None,
) -> Shape:
    """A shape for a model whose config is not here; what is not known is taken at the worst."""
    return Shape(
        n_layers=n_layers,
        d_model=d_model,
        kv_width=kv_width or d_model,
        vocabulary=_FALLBACK_VOCABULARY,
        n_context=n_context or _WORKING_TOKENS,
        d_sae=d_sae,
    )


def working_bytes(shape: Shape, weight_bytes: int, dtype: str) -> int:
    """Memory beside the weights: for a long chat, its logits, and the encoding of its features."""
    size = _DTYPE_BYTES[dtype]
    n_tokens = min(shape.n_context, _WORKING_TOKENS)
    keys_and_values = 2 * shape.n_layers * shape.kv_width * n_tokens * size
    # logits are taken to float32 in blocks; captured rows and hidden states stay whole
    logits = 2 * min(n_tokens, _LOGIT_ROWS) * shape.vocabulary * 4
    residual = 4 * n_tokens * shape.d_model * 4
    encoding = 3 * min(n_tokens, _ENCODED_ROWS) * shape.d_sae * size
    subtotal = keys_and_values + logits + residual + encoding
    return subtotal + int(_MARGIN * (weight_bytes + subtotal))


def in_gigabytes(n_bytes: int) -> str:
    """A size for a person: `0.3 GB`, `48 GB`; gigabytes of 10^9 bytes."""
    gigabytes = n_bytes / 1e9
    return f"{gigabytes:.0f} GB" if gigabytes >= 10 else f"{gigabytes:.1f} GB"
