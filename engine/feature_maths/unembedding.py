"""The way from a model's last residual to its logits: final norm and output layer, in its files.

Invariant: read from the checkpoint's files alone; no model is loaded, and no weight is copied but
the norm's gain.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import UnsupportedError, WeightsMissingError
from engine.feature_maths.mapped_tensors import (
    Floats,
    MappedMatrix,
    find_tensors,
    read_vector,
)
from engine.file_names import shown_name
from engine.model_config import weight_files

_OUTPUT = ("lm_head.weight", "language_model.lm_head.weight", "embed_out.weight")
_INPUT = (
    "model.embed_tokens.weight",
    "language_model.model.embed_tokens.weight",
    "model.language_model.embed_tokens.weight",
    "transformer.wte.weight",
    "wte.weight",
)
_NORM = (
    "model.norm",
    "language_model.model.norm",
    "model.language_model.norm",
    "transformer.ln_f",
    "ln_f",
)
_RMS_TYPES = frozenset({"llama", "mistral", "mistral3", "ministral", "phi3", "qwen2", "qwen3"})
_GEMMA_TYPES = frozenset({"gemma", "gemma2", "gemma3", "gemma3_text"})
_CENTRING_TYPES = frozenset({"gpt2"})


@dataclass(frozen=True, slots=True)
class Unembedding:
    """Final norm and output layer of a model.

    Attributes:
        weight: [n_vocabulary, d_model].
        gain: of the final norm, [d_model]; Gemma's is stored as the difference from 1.
        is_centring: whether the norm takes the mean away first (LayerNorm), or not (RMSNorm).
        notes: what of the model the direct way leaves out, for people.
    """

    weight: MappedMatrix
    gain: Floats
    is_centring: bool
    notes: tuple[str, ...]


def open_unembedding(folder: Path) -> Unembedding:
    """Finds final norm and output layer in a checkpoint's files.

    Raises:
        WeightsMissingError: if files are missing or broken.
        UnsupportedError: if the tensors are of no known layout.
    """
    content = _read_config(folder)
    nested = content.get("text_config")
    text = nested if isinstance(nested, dict) else content
    model_type = str(text.get("model_type", content.get("model_type", "")))
    tensors = find_tensors(weight_files(folder))
    is_tied = text.get("tie_word_embeddings", content.get("tie_word_embeddings")) is True
    # a checkpoint may hold the output layer although it is the input one, or lack it without saying
    names = _INPUT if is_tied else (*_OUTPUT, *_INPUT)
    name = next((name for name in names if name in tensors), None)
    norm = next((name for name in _NORM if f"{name}.weight" in tensors), None)
    if name is None or norm is None:
        raise UnsupportedError(
            f"The files of {shown_name(folder)!r} have no output layer or final norm of a known "
            "name.",
            "The logit lens knows the layouts of Mistral, Llama, Phi, Gemma, Qwen and GPT-2.",
        )
    path, entry = tensors[name]
    gain = read_vector(tensors[f"{norm}.weight"][0], norm, tensors[f"{norm}.weight"][1])
    notes = []
    cap = text.get("final_logit_softcapping")
    if cap is not None:
        notes.append(
            f"The model caps its logits softly at {cap:g}: the order stays, large ones shrink."
        )
    known = _RMS_TYPES | _GEMMA_TYPES | _CENTRING_TYPES
    if model_type not in known:
        notes.append(f"The final norm of {model_type or 'this model'} is taken to be an RMS norm.")
    return Unembedding(
        weight=MappedMatrix(path, name, entry),
        gain=gain + np.float32(1) if model_type in _GEMMA_TYPES else gain,
        is_centring=model_type in _CENTRING_TYPES or f"{norm}.bias" in tensors,
        notes=tuple(notes),
    )


def _read_config(folder: Path) -> dict[str, object]:
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsMissingError(
            f"The config of {shown_name(folder)!r} cannot be read.", "Copy it again."
        ) from error
    if not isinstance(content, dict):
        raise UnsupportedError(
            f"The config of {shown_name(folder)!r} is no JSON object.", "Copy it again."
        )
    return content
