"""Model and tokenizer from a local folder; the only caller of from_pretrained.

Invariant: a model is returned only if every weight came from the files, which are safetensors; no
code of a repository is ever run, and nothing is fetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from engine.errors import DeviceError, UnsupportedError, WeightsMissingError
from engine.model_config import read_model_config


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A model that is ready to run.

    Attributes:
        end_ids: tokens that end an answer.
        device: where its inputs go.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    end_ids: frozenset[int]
    device: torch.device


def choose_device(wanted: str) -> torch.device:
    """The device that a setting means; `auto` is the first GPU, or else the CPU.

    Raises:
        DeviceError: if there is no such device on this machine.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DeviceError(
            f"The device {wanted!r} cannot be used on this machine.",
            "Set DEVICE to cpu, cuda, cuda:N or auto.",
        ) from error
    if device.type == "meta":
        raise DeviceError("The device 'meta' computes nothing.", "Set DEVICE to cpu or auto.")
    return device


def load_language_model(folder: Path, dtype: str, device: torch.device) -> LanguageModel:
    """Loads a checkpoint folder.

    Args:
        folder: config.json, safetensors and tokenizer files.
        dtype: `float32`, `bfloat16` or `float16`.
        device: where it shall run.

    Raises:
        WeightsMissingError: if files are missing or broken, or do not fill the model.
        UnsupportedError: if transformers does not know the architecture.
        DeviceError: if the device's memory does not suffice.
    """
    config = read_model_config(folder)
    transformers_logging.disable_progress_bar()
    # what it would warn of is checked here, and told as an error
    transformers_logging.set_verbosity_error()
    is_multimodal = config.architecture.endswith("ForConditionalGeneration")
    auto_class = AutoModelForImageTextToText if is_multimodal else AutoModelForCausalLM
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        loaded: Any = auto_class.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
        model: PreTrainedModel = loaded[0]
        info: dict[str, Any] = loaded[1]
        # torch's own annotation of `to` is lost in a wrapper of transformers
        torch.nn.Module.to(model, device)
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"The model does not fit into the memory of {device}.",
            "Set MODEL_DTYPE to bfloat16, or use a smaller source.",
        ) from error
    except (SafetensorError, OSError) as error:
        raise WeightsMissingError(
            f"The checkpoint {folder.name!r} cannot be loaded: {_first_line(error)}",
            "Copy or download its files again.",
        ) from error
    except (ValueError, KeyError, ImportError) as error:
        raise UnsupportedError(
            f"The model {folder.name!r} ({config.architecture}) cannot be run: "
            f"{_first_line(error)}",
            "Use a causal language model that transformers knows.",
        ) from error
    missing = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if missing:
        raise WeightsMissingError(
            f"The files of {folder.name!r} lack {len(missing)} tensors of the model, such as "
            f"{missing[0]}.",
            "The checkpoint is of another architecture than its config says; copy both again.",
        )
    model.eval()
    model.requires_grad_(False)
    return LanguageModel(model, tokenizer, _end_ids(model, tokenizer), device)


def _end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids = configured if isinstance(configured, list) else [configured, tokenizer.eos_token_id]
    return frozenset(token_id for token_id in ids if token_id is not None)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
