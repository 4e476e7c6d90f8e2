"""Loads a source as the engine does, runs model and SAE once, and says what came of it.

Invariant: importing this loads torch; nothing of the trial is stored.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass

import torch
from rich.filesize import decimal

from engine.catalog import Catalog
from engine.device_memory import read_device_memory
from engine.generation import generate
from engine.prompting import tokenise
from engine.resident import ResidentSource, load_source
from engine.sae import encode
from engine.settings import EngineSettings
from store.specs import Message, RunSpec

_TEXT = "The quick brown fox jumps over the lazy dog."


@dataclass(frozen=True, slots=True)
class Trial:
    """What a source turned out to be.

    Attributes:
        n_features: of the SAE; None for a model without one.
        n_tokens: of the text that was read; n_active: features that fired on them, all told.
        parameter_bytes: of model and SAE on the device.
        available_bytes: what the device has left; None where that is not known.
    """

    n_layers: int
    d_model: int
    dtype: str
    device: str
    n_features: int | None
    hook_name: str
    n_tokens: int
    n_active: int
    parameter_bytes: int
    available_bytes: int | None
    load_s: float
    forward_s: float

    def lines(self) -> list[str]:
        """The findings, a sentence each."""
        free = "" if self.available_bytes is None else f", {decimal(self.available_bytes)} are left"
        lines = [
            f"Model loaded: {self.n_layers} layers, {self.d_model} wide, {self.dtype}"
            f" on {self.device}",
        ]
        if self.n_features is not None:
            lines.append(f"SAE loaded: {self.n_features} features at {self.hook_name}")
        ran = f"One forward of {self.n_tokens} tokens took {self.forward_s:.2f} s"
        if self.n_features is not None:
            ran += f"; {self.n_active} features fired"
        lines.append(ran)
        lines.append(
            f"Loading took {self.load_s:.1f} s; weights take {decimal(self.parameter_bytes)}{free}"
        )
        return lines


def try_source(name: str, settings: EngineSettings) -> Trial:
    """Loads a source and reads one sentence with it.

    Raises:
        EngineError: if it cannot be loaded or run.
    """
    source = Catalog(settings).prepare(name, lambda: False)
    started = time.perf_counter()
    resident = load_source(source, settings.device)
    load_s = time.perf_counter() - started
    spec = RunSpec(source=source.spec, messages=(Message("user", _TEXT),), kind="text")
    prompt = tokenise(resident.language.tokenizer, spec)
    started = time.perf_counter()
    generation = generate(
        resident.language.model,
        source.hook,
        prompt.token_ids,
        None,
        resident.language.end_ids,
        source.n_context,
        lambda step: None,
        lambda: False,
    )
    code = None
    if resident.sae is not None and generation.residual is not None:
        code = encode(resident.sae, generation.residual)
    forward_s = time.perf_counter() - started
    config = resident.language.model.config.get_text_config()
    device = str(resident.language.placement)
    trial = Trial(
        n_layers=config.num_hidden_layers,
        d_model=config.hidden_size,
        dtype=source.spec.model.dtype,
        device=device,
        n_features=resident.sae.config.d_sae if resident.sae else None,
        hook_name=source.spec.hook_name,
        n_tokens=len(prompt.token_ids),
        n_active=len(code.feature) if code is not None else 0,
        parameter_bytes=_weight_bytes(resident),
        available_bytes=read_device_memory(device).available_bytes,
        load_s=load_s,
        forward_s=forward_s,
    )
    del resident, generation, code
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return trial


def _weight_bytes(resident: ResidentSource) -> int:
    seen = {
        tensor.data_ptr(): tensor.nbytes
        for tensor in (*resident.language.model.parameters(), *resident.language.model.buffers())
    }
    if resident.sae is not None:
        names = ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")
        tensors = (getattr(resident.sae, name) for name in names)
        seen |= {tensor.data_ptr(): tensor.nbytes for tensor in tensors if tensor is not None}
    return sum(seen.values())
