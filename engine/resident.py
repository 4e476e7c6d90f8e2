"""A source in memory: its model, tokenizer and SAE on one device.

Invariant: model and SAE share device and dtype, and the SAE fits the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from engine.catalog import ResolvedSource
from engine.errors import DeviceError
from engine.loading import LanguageModel, choose_device, load_language_model
from engine.sae import Sae, load_sae


@dataclass(frozen=True, slots=True)
class ResidentSource:
    """What a run is computed with."""

    source: ResolvedSource
    language: LanguageModel
    sae: Sae


def load_source(source: ResolvedSource, device_setting: str) -> ResidentSource:
    """Loads model and SAE of a source.

    Args:
        source: its files, revisions and shapes.
        device_setting: `cpu`, `cuda`, `cuda:1`, `mps` or `auto`.

    Raises:
        EngineError: if a file, the device or its memory is not as it must be.
    """
    device = choose_device(device_setting)
    dtype: torch.dtype = getattr(torch, source.spec.model.dtype)
    language = load_language_model(source.model_dir, source.spec.model.dtype, device)
    try:
        sae = load_sae(source.sae_dir, source.sae_config, dtype, device)
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"The SAE does not fit into the memory of {device} beside the model.",
            "Set MODEL_DTYPE to bfloat16, or use a smaller source.",
        ) from error
    return ResidentSource(source, language, sae)
