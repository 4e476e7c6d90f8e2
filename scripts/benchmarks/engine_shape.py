"""The engine at a published size: time and memory of loading, generation, capture and encoding.

Invariant: weights are random and made on the device, so that no download and no 48 GB file is
needed; every speed is measured with the engine's own code, with and without what it is to cost.
"""

from __future__ import annotations

import platform
import resource
import statistics
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import torch
from transformers import PreTrainedModel

from engine.devices import Placement, choose_placement
from engine.generation import Generation, generate
from engine.hook_names import HookPoint
from engine.loading import load_language_model
from engine.sae import Sae, encode
from scripts.benchmarks.checkpoints import save_random_llama
from scripts.benchmarks.figures import Comparison, Side, alternate, seconds, to_side
from scripts.benchmarks.shapes import (
    SHAPES,
    Shape,
    as_topk,
    build_model,
    build_sae,
    fire_about,
    with_features,
)
from store.specs import SamplingSpec

AIM_RATIO = 0.85
N_ACTIVE = 64
"""Features that fire a token, about as many as those of published SAEs."""


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What was measured once, or follows from the comparisons; times are medians.

    Attributes:
        construct_s, sae_construct_s: making the random weights on the device.
        model_bytes, sae_bytes: weights on the device; the SAE's are those of its encoder.
        loaded_bytes, peak_bytes: memory of the device after loading, and at most; of the process
            where the device is the CPU.
        step_ms: of one generated token, without capture.
        encode_ms_per_token: of rows that are encoded together, after a generation; `encode_share`
            is its part of step_ms. encode_one_ms, encode_one_share: of one row alone, as live
            features would need at every token.
        load_gb_per_s, read_gb_per_s: a checkpoint of `file_bytes` to the device, and its bytes to
            memory; both from the disk's cache.
    """

    shape: str
    device: str
    device_name: str
    date: str
    torch: str
    n_parameters: int
    n_features: int
    n_layers: int
    d_model: int
    construct_s: float
    sae_construct_s: float
    model_bytes: int
    sae_bytes: int
    loaded_bytes: int
    peak_bytes: int
    plain_tokens_per_s: float
    capture_tokens_per_s: float
    prompt_tokens_per_s: float
    prompt_capture_tokens_per_s: float
    step_ms: float
    active_per_token: float
    encode_ms_per_token: float
    encode_share: float
    encode_topk_ms_per_token: float
    encode_one_ms: float
    encode_one_share: float
    file_bytes: int
    load_gb_per_s: float
    read_gb_per_s: float


@dataclass(frozen=True, slots=True)
class _Resident:
    """What was built: model, hook, encoder, the prompt and the residual rows of it."""

    model: PreTrainedModel
    hook: HookPoint
    sae: Sae
    prompt: tuple[int, ...]
    residual: torch.Tensor

    def run(self, captures: bool, n_new: int) -> None:
        """One generation of n_new tokens, or one reading of the prompt if that is 0."""
        rows = _generate(self.model, self.hook if captures else None, self.prompt, n_new).residual
        if rows is not None:
            encode(self.sae, rows)


def measure_engine(
    work_dir: Path,
    repeats: int,
    n_new: int,
    device_setting: str,
    shape_name: str,
    n_features: int | None,
) -> tuple[tuple[Comparison, ...], EngineFacts]:
    """Measures one shape.

    Args:
        work_dir: where a small checkpoint is kept while its load is timed.
        repeats: measured rounds, after one that warms up.
        n_new: tokens generated a round.
        device_setting: such as `cuda`; the first device, if it names several.
        shape_name: of SHAPES.
        n_features: of the SAE, if not the shape's own.
    """
    shape = with_features(SHAPES[shape_name], n_features)
    device = choose_placement(device_setting).first
    load_s, read_s = _time_loading(work_dir, shape, device, repeats)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    built: list[PreTrainedModel] = []
    construct_s = seconds(lambda: built.append(build_model(shape, device)))
    saes: list[Sae] = []
    with torch.inference_mode():
        sae_construct_s = seconds(lambda: saes.append(build_sae(shape, device)))
    resident = _resident(shape, built[0], saes[0])
    loaded_bytes = _used_bytes(device)
    with torch.inference_mode():
        plain_s, capture_s, prompt_s, prompt_capture_s = alternate(
            [
                lambda: resident.run(False, n_new),
                lambda: resident.run(True, n_new),
                lambda: resident.run(False, 0),
                lambda: resident.run(True, 0),
            ],
            repeats,
        )
        strongest = as_topk(resident.sae, N_ACTIVE)
        together_s, one_s, topk_s = alternate(
            [
                lambda: encode(resident.sae, resident.residual),
                lambda: encode(resident.sae, resident.residual[-1:]),
                lambda: encode(strongest, resident.residual),
            ],
            repeats,
        )
        n_fired = encode(resident.sae, resident.residual).row.shape[0]
    steps = {
        "without capture": _steps_ms(plain_s, prompt_s, n_new),
        "with capture and encoding": _steps_ms(capture_s, prompt_capture_s, n_new),
    }
    n_prompt, n_bytes = shape.n_prompt, _checkpoint(work_dir).stat().st_size
    together_ms = to_side(
        "rows encoded together", [1000 * s / n_prompt for s in together_s], "ms/token"
    )
    one_ms = to_side("one row alone", [1000 * s for s in one_s], "ms/token")
    comparisons = (
        _compare_generation(shape, device, n_new, steps),
        _compare_encoding(shape, device, together_ms, one_ms),
        _compare_loading(device, n_bytes, load_s, read_s),
    )
    generation, _, loading = comparisons
    step_ms = statistics.median(steps["without capture"])
    facts = EngineFacts(
        shape=shape.name,
        device=str(device),
        device_name=_device_name(device),
        date=datetime.now(UTC).date().isoformat(),
        torch=torch.__version__,
        n_parameters=sum(p.numel() for p in resident.model.parameters()),
        n_features=shape.d_sae,
        n_layers=shape.n_layers,
        d_model=shape.d_model,
        construct_s=construct_s,
        sae_construct_s=sae_construct_s,
        model_bytes=sum(p.numel() * p.element_size() for p in resident.model.parameters()),
        sae_bytes=resident.sae.W_enc.numel() * resident.sae.W_enc.element_size(),
        loaded_bytes=loaded_bytes,
        peak_bytes=_peak_bytes(device),
        plain_tokens_per_s=generation.sides[0].median,
        capture_tokens_per_s=generation.sides[1].median,
        prompt_tokens_per_s=n_prompt / statistics.median(prompt_s),
        prompt_capture_tokens_per_s=n_prompt / statistics.median(prompt_capture_s),
        step_ms=step_ms,
        active_per_token=n_fired / n_prompt,
        encode_ms_per_token=together_ms.median,
        encode_share=together_ms.median / step_ms,
        encode_topk_ms_per_token=1000 * statistics.median(topk_s) / n_prompt,
        encode_one_ms=one_ms.median,
        encode_one_share=one_ms.median / step_ms,
        file_bytes=n_bytes,
        load_gb_per_s=loading.sides[0].median,
        read_gb_per_s=loading.sides[1].median,
    )
    return comparisons, facts


def _resident(shape: Shape, model: PreTrainedModel, sae: Sae) -> _Resident:
    hook = HookPoint(shape.layer, "resid_post")
    prompt = tuple(range(3, 3 + shape.n_prompt))
    residual = _generate(model, hook, prompt, 0).residual
    if residual is None:
        raise RuntimeError("nothing was captured")
    with torch.inference_mode():
        return _Resident(model, hook, fire_about(sae, residual, N_ACTIVE), prompt, residual)


def _generate(
    model: PreTrainedModel, hook: HookPoint | None, prompt: tuple[int, ...], n_new: int
) -> Generation:
    sampling = SamplingSpec(max_new_tokens=n_new) if n_new else None
    return generate(
        model, hook, prompt, sampling, frozenset(), 1 << 17, lambda _step: None, lambda: False
    )


def _steps_ms(
    whole_s: tuple[float, ...], prompt_s: tuple[float, ...], n_new: int
) -> tuple[float, ...]:
    """Milliseconds a generated token, the time of reading the prompt taken off."""
    read_s = statistics.median(prompt_s)
    return tuple(1000 * max(s - read_s, 1e-6) / n_new for s in whole_s)


def _compare_generation(
    shape: Shape, device: torch.device, n_new: int, steps: dict[str, tuple[float, ...]]
) -> Comparison:
    plain, captured = (
        to_side(name, [1000 / ms for ms in samples], "tokens/s") for name, samples in steps.items()
    )
    ratio = captured.median / plain.median
    return Comparison(
        title=f"Generation, {shape.name}, random, {shape.d_sae:,} features, {n_new} tokens, "
        f"{device}, bfloat16",
        sides=(plain, captured),
        ratio=ratio,
        ratio_of="with capture / without",
        aim=f"at least {AIM_RATIO}",
        is_reached=ratio >= AIM_RATIO,
    )


def _compare_encoding(shape: Shape, device: torch.device, together: Side, one: Side) -> Comparison:
    ratio = one.median / together.median
    return Comparison(
        title=f"Encoding {shape.d_sae:,} features of {shape.d_model} dimensions, {device}",
        sides=(together, one),
        ratio=ratio,
        ratio_of="alone / together",
        aim="together is cheaper",
        is_reached=ratio > 1,
    )


def _compare_loading(
    device: torch.device, n_bytes: int, load_s: tuple[float, ...], read_s: tuple[float, ...]
) -> Comparison:
    load = to_side(f"loaded to {device}", [n_bytes / s / 1e9 for s in load_s], "GB/s")
    read = to_side("read by the system alone", [n_bytes / s / 1e9 for s in read_s], "GB/s")
    ratio = load.median / read.median
    return Comparison(
        title=f"Loading a checkpoint of {n_bytes / 1e6:,.0f} MB that the disk's cache holds",
        sides=(load, read),
        ratio=ratio,
        ratio_of="load / read",
        aim="at least 0.5",
        is_reached=ratio >= 0.5,
    )


def _checkpoint(work_dir: Path) -> Path:
    return work_dir / "llama" / "model.safetensors"


def _time_loading(
    work_dir: Path, shape: Shape, device: torch.device, repeats: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Seconds to load a checkpoint so that every weight was touched, and to read its file."""
    path = _checkpoint(work_dir)
    save_random_llama(path.parent, shape.file_bytes)
    buffer = bytearray(16 << 20)

    def load() -> None:
        language = load_language_model(path.parent, "bfloat16", Placement((device,)))
        # weights on the CPU are the mapped file: they are there once they were looked at
        total = sum(parameter.sum() for parameter in language.model.parameters())
        float(total)

    def read() -> None:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass

    load_s, read_s = alternate([load, read], repeats)
    return load_s, read_s


def _used_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    return int(psutil.Process().memory_info().rss)


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    # Linux counts in KiB, macOS in bytes
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()
