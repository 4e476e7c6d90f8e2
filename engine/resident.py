"""A source in memory: its model, tokenizer and SAE.

Invariant: model and SAE share one precision, and the SAE fits the model. A source without an SAE
has neither SAE nor hook point.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from engine.catalog import ResolvedSource
from engine.devices import choose_placement
from engine.loading import LanguageModel, load_language_model
from engine.prefixes import Prefixes
from engine.sae import Sae
from engine.sae_layouts import sae_weight_bytes
from engine.sae_loading import load_sae


@dataclass(frozen=True, slots=True)
class ResidentSource:
    """What a run is computed with.

    Attributes:
        sae: None for a model without one: runs of it leave tokens and no activations.
        prefixes: what its runs have left for those that begin as they did.
    """

    source: ResolvedSource
    language: LanguageModel
    sae: Sae | None
    prefixes: Prefixes = field(default_factory=Prefixes)


def load_source(source: ResolvedSource, device_setting: str) -> ResidentSource:
    """Loads model and SAE of a source.

    Args:
        source: its files, revisions and shapes.
        device_setting: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`, `cuda:0,cuda:1` or `balanced`.

    Raises:
        EngineError: if a file, the device or its memory is not as it must be.
    """
    placement = choose_placement(device_setting)
    dtype = source.spec.model.dtype
    sae_dir, sae_config = source.sae_dir, source.sae_config
    if sae_dir is None or sae_config is None:
        return ResidentSource(source, load_language_model(source.model_dir, dtype, placement), None)
    sae_bytes = sae_weight_bytes(sae_dir, dtype, with_decoder=False)
    language = load_language_model(source.model_dir, dtype, placement, sae_bytes)
    sae = load_sae(sae_dir, sae_config, getattr(torch, dtype), placement.last)
    return ResidentSource(source, language, sae)
