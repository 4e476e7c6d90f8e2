"""Model and tokenizer from a local folder; the only caller of from_pretrained.

Invariant: a model is returned only if every weight came from the files, which are safetensors; no
code of a repository is ever run, and nothing is fetched. Weights go from the files straight to
their device: on the CPU, and in the precision that they are stored in, they are the mapped files.
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

from engine.devices import Placement, is_out_of_memory
from engine.errors import DeviceError, UnsupportedError, WeightsMissingError
from engine.file_names import shown_name
from engine.model_config import ModelConfig, read_model_config, weight_bytes
from engine.tokenizing import check_beginning


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A model that is ready to run.

    Attributes:
        end_ids: tokens that end an answer.
        placement: the devices that it is on.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    end_ids: frozenset[int]
    placement: Placement

    @property
    def device(self) -> torch.device:
        """Where its inputs go."""
        return self.placement.first


def load_language_model(
    folder: Path, dtype: str, placement: Placement, sae_bytes: int = 0
) -> LanguageModel:
    """Loads a checkpoint folder.

    Args:
        folder: config.json, safetensors and tokenizer files.
        dtype: `float32`, `bfloat16` or `float16`.
        placement: where it shall run.
        sae_bytes: kept free for the SAE where several devices share the model.

    Raises:
        WeightsMissingError: if files are missing or broken, or do not fill the model.
        UnsupportedError: if transformers does not know the architecture or the tokenizer.
        DeviceError: if the memory of the devices does not suffice.
    """
    config = read_model_config(folder)
    transformers_logging.disable_progress_bar()
    # what it would warn of is checked here, and told as an error
    transformers_logging.set_verbosity_error()
    tokenizer = load_tokenizer(folder)
    try:
        model = _load_weights(folder, config, dtype, placement, sae_bytes)
    except (SafetensorError, OSError) as error:
        raise WeightsMissingError(
            f"The checkpoint {shown_name(folder)!r} cannot be loaded: {_first_line(error)}",
            "Copy or download its files again.",
        ) from error
    except (RuntimeError, ValueError, KeyError, ImportError) as error:
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise _does_not_fit(placement) from error
        raise UnsupportedError(
            f"The model {shown_name(folder)!r} ({config.architecture}) cannot be run: "
            f"{_first_line(error)}",
            "Use a causal language model that transformers knows.",
        ) from error
    model.eval()
    model.requires_grad_(False)
    return LanguageModel(model, tokenizer, _end_ids(model, tokenizer), placement)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Loads the tokenizer of a checkpoint folder.

    Raises:
        UnsupportedError: if its files are missing or broken, or lost their special tokens.
    """
    try:
        tokenizer = _read_tokenizer(folder, {})
        core = getattr(tokenizer, "backend_tokenizer", None)
        if getattr(core, "fix_mistral_regex", None) is False:
            # old conversions of Mistral's tokenizers split words wrongly; the library found one
            tokenizer = _read_tokenizer(folder, {"fix_mistral_regex": True})
    # tokenizers raises bare exceptions for files that it cannot parse
    except Exception as error:
        raise UnsupportedError(
            f"The tokenizer of {shown_name(folder)!r} cannot be read: {_first_line(error)}",
            "Copy or download tokenizer.json, tokenizer_config.json and tekken.json, as far as "
            "its repository has them.",
        ) from error
    check_beginning(tokenizer, folder)
    return tokenizer


def _read_tokenizer(folder: Path, options: dict[str, bool]) -> PreTrainedTokenizerBase:
    read: Any = AutoTokenizer.from_pretrained
    tokenizer = read(folder, local_files_only=True, trust_remote_code=False, **options)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise TypeError("there is no tokenizer in it")
    return tokenizer


def _load_weights(
    folder: Path, config: ModelConfig, dtype: str, placement: Placement, sae_bytes: int
) -> PreTrainedModel:
    is_multimodal = config.architecture.endswith("ForConditionalGeneration")
    auto_class = AutoModelForImageTextToText if is_multimodal else AutoModelForCausalLM
    limits = placement.max_memory(sae_bytes)
    if limits is not None and sum(limits.values()) < weight_bytes(folder, dtype):
        raise _does_not_fit(placement)
    loaded: Any = auto_class.from_pretrained(
        folder,
        dtype=getattr(torch, dtype),
        device_map=placement.device_map(),
        max_memory=limits,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        # else the library raises an error that names no tensor
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    model: PreTrainedModel = loaded[0]
    info: dict[str, Any] = loaded[1]
    used = {str(place) for place in getattr(model, "hf_device_map", {}).values()}
    if limits is not None and used & {"cpu", "disk"}:
        raise _does_not_fit(placement)
    if mismatched := sorted(key[0] for key in info["mismatched_keys"]):
        raise WeightsMissingError(
            f"In the files of {shown_name(folder)!r}, {len(mismatched)} tensors have other "
            f"shapes than its config says, such as {mismatched[0]}.",
            "Config and weights are of different models; copy both again.",
        )
    if missing := sorted(info["missing_keys"]):
        raise WeightsMissingError(
            f"The files of {shown_name(folder)!r} lack {len(missing)} tensors of the model, "
            f"such as {missing[0]}.",
            "The checkpoint is of another architecture than its config says; copy both again.",
        )
    return model


def _does_not_fit(placement: Placement) -> DeviceError:
    return DeviceError(
        f"The model does not fit into the memory of {placement}.",
        "Set MODEL_DTYPE to bfloat16, spread it over several GPUs with DEVICE=balanced, or use a "
        "smaller source.",
    )


def _end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids = configured if isinstance(configured, list) else [configured, tokenizer.eos_token_id]
    return frozenset(token_id for token_id in ids if token_id is not None)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
