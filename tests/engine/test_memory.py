"""Memory: what a source takes is counted from headers, what a device has is asked."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

import engine.device_memory
import engine.estimates
from engine.catalog import Catalog
from engine.definitions import Dtype
from engine.device_memory import Gpu, list_gpus, read_device_memory
from engine.errors import DeviceError, WeightsMissingError
from engine.estimates import Estimator, refuse_what_does_not_fit
from engine.memory import DeviceMemory, MemoryEstimate, Shape, in_gigabytes, working_bytes
from engine.settings import EngineSettings
from tests.engine.checkpoints import D_MODEL, D_SAE

GB = 10**9


def _estimator(
    tmp_path: Path, model: Path | None = None, sae: Path | None = None, dtype: Dtype = "auto"
) -> Estimator:
    settings = EngineSettings(
        mistral_model=str(model) if model else None,
        sae_path=str(sae) if sae else None,
        model_cache_dir=tmp_path / "models_cache",
        featurebook_sources=tmp_path / "sources.toml",
        model_dtype=dtype,
        _env_file=None,
    )
    return Estimator(Catalog(settings), "auto")


def _pretend(
    monkeypatch: pytest.MonkeyPatch, gpu_gb: float | None, main_gb: float, n_gpus: int = 1
) -> None:
    """A machine with this much free memory; half of it more in all."""
    main = DeviceMemory("cpu", int(main_gb * 1.5 * GB), 0, int(main_gb * GB))
    free = int((gpu_gb or 0) * GB)
    gpus = tuple(Gpu(index, int(free * 1.5), free) for index in range(n_gpus)) if gpu_gb else ()
    first = DeviceMemory("cuda:0", int(free * 1.5), 0, free)

    def read(setting: str) -> DeviceMemory:
        return main if setting == "cpu" or not gpus else first

    monkeypatch.setattr(engine.estimates, "read_device_memory", read)
    monkeypatch.setattr(engine.estimates, "list_gpus", lambda: gpus)


def test_weights_are_counted_exactly_from_their_headers(checkpoints: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    tensors = load_file(checkpoints / "llama" / "model.safetensors")
    n_values = sum(tensor.numel() for tensor in tensors.values())
    estimate = _estimator(tmp_path, checkpoints / "llama", checkpoints / "sae-topk").estimate(None)
    assert estimate.dtype == "float32"
    assert estimate.model_bytes == 4 * n_values
    # the decoder stays off the device
    assert estimate.sae_bytes == 4 * (D_MODEL * D_SAE + D_SAE + D_MODEL)
    assert estimate.working_bytes > 0
    assert estimate.required_bytes == sum(
        (estimate.model_bytes, estimate.sae_bytes, estimate.working_bytes)
    )
    half = _estimator(tmp_path, checkpoints / "llama", checkpoints / "sae-topk", "bfloat16")
    assert half.estimate(None).model_bytes * 2 == estimate.model_bytes


def test_working_memory_has_room_for_keys_logits_and_features() -> None:
    # Mistral Small: 8 heads of 128, 40 layers, 131,072 tokens
    shape = Shape(40, 5120, 1024, 131_072, 131_072, 286_720)
    needed = working_bytes(shape, 0, "bfloat16")
    keys = 2 * 40 * 1024 * 8192 * 2
    assert keys < needed < keys + 3 * GB
    assert working_bytes(replace(shape, d_sae=0), 0, "bfloat16") < needed
    assert working_bytes(replace(shape, n_context=1024), 0, "bfloat16") < needed


def test_what_is_not_here_is_estimated_from_the_catalog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pretend(monkeypatch, 80, 64)
    estimate = _estimator(tmp_path).estimate("mistral-small-24b")
    assert (estimate.model_bytes, estimate.sae_bytes) == (48 * GB, 5_900_000_000)
    assert (estimate.device, estimate.dtype, estimate.fits) == ("cuda:0", "bfloat16", True)
    assert estimate.advice == ()
    double = _estimator(tmp_path, dtype="float32").estimate("mistral-small-24b")
    assert double.model_bytes == 96 * GB
    assert double.fits is False
    assert "MODEL_DTYPE=bfloat16" in double.advice[0]


def test_what_does_not_fit_names_what_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pretend(monkeypatch, 24, 16, n_gpus=4)
    estimate = _estimator(tmp_path).estimate("mistral-small-24b")
    assert estimate.fits is False
    assert any("DEVICE=balanced" in advice and "4 GPUs" in advice for advice in estimate.advice)
    assert not any("DEVICE=cpu" in advice for advice in estimate.advice)
    assert any("would fit" in advice and "llama-3.1-8b" in advice for advice in estimate.advice)
    with pytest.raises(DeviceError, match="has 24 GB of 36 GB free") as caught:
        refuse_what_does_not_fit("mistral-small-24b", estimate, estimate.required_bytes)
    assert "llama-3.1-8b" in caught.value.hint


def test_on_a_small_machine_the_small_model_is_offered_and_never_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pretend(monkeypatch, None, 12)
    estimate = _estimator(tmp_path).estimate("mistral-7b")
    assert estimate.fits is False
    assert any("phi-3-mini" in advice for advice in estimate.advice)
    assert _estimator(tmp_path).estimate("phi-3-mini").fits


def test_memory_that_would_be_given_back_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pretend(monkeypatch, 30, 8)
    estimator = _estimator(tmp_path)
    assert estimator.estimate("mistral-small-24b").fits is False
    assert estimator.estimate("mistral-small-24b", given_back_bytes=50 * GB).fits


def test_an_unknown_size_is_said_to_be_unknown(tmp_path: Path) -> None:
    (tmp_path / "sources.toml").write_text('[sources.mine]\nmodel = "org/model"\n')
    with pytest.raises(WeightsMissingError, match="not known how much memory"):
        _estimator(tmp_path).estimate("mine")


def test_unknown_device_memory_refuses_nothing() -> None:
    estimate = MemoryEstimate(GB, 0, GB, "bfloat16", "cuda:0", None, None)
    assert estimate.fits is None
    refuse_what_does_not_fit("x", estimate, 100 * GB)


def test_main_memory_is_known_here() -> None:
    memory = read_device_memory("cpu")
    assert memory.device == "cpu"
    assert memory.total_bytes is not None
    assert memory.available_bytes is not None
    assert 0 < memory.available_bytes <= memory.total_bytes


def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"limit": 2 * GB, "used": GB}
    monkeypatch.setattr(
        engine.device_memory,
        "_cgroup",
        lambda names: values["limit" if names[0] == "memory.max" else "used"],
    )
    monkeypatch.setattr(engine.device_memory, "_cached", lambda: GB // 2)
    memory = read_device_memory("cpu")
    assert memory.total_bytes == 2 * GB
    assert memory.available_bytes is not None
    assert memory.available_bytes <= GB + GB // 2


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for nvidia-smi that lists two GPUs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\necho '0, GPU-aaaa-1, 24000, 20000'\necho '1, GPU-bbbb-2, 48000, 47000'\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return program


MIB = 1 << 20


@pytest.mark.parametrize(
    ("visible", "free"),
    [
        (None, [20000, 47000]),
        ("1", [47000]),
        ("1,0", [47000, 20000]),
        ("GPU-bbbb", [47000]),
        ("", []),
        ("-1", []),
        ("0,7,1", [20000]),
    ],
)
def test_gpus_are_those_that_the_process_may_use(
    smi: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, free: list[int]
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu.free_bytes // MIB for gpu in list_gpus()] == free


@pytest.mark.parametrize(
    ("setting", "name", "free"),
    [
        ("auto", "cuda:0", 20000),
        ("cuda", "cuda:0", 20000),
        ("cuda:1", "cuda:1", 47000),
        ("balanced", "cuda:0,cuda:1", 67000),
        ("cuda:0,cuda:1", "cuda:0,cuda:1", 67000),
    ],
)
def test_the_device_setting_chooses_whose_memory_counts(
    smi: Path, setting: str, name: str, free: int
) -> None:
    memory = read_device_memory(setting)
    assert (memory.device, memory.available_bytes) == (name, free * MIB)


def test_a_gpu_that_is_not_there_has_unknown_memory(smi: Path) -> None:
    assert read_device_memory("cuda:5") == DeviceMemory("cuda:5", None, 0, None)


@pytest.mark.parametrize("script", ["exit 9", "echo garbage", "echo '0, x, [N/A], [N/A]'"])
def test_a_driver_that_does_not_answer_is_no_error(smi: Path, script: str) -> None:
    smi.write_text(f"#!/bin/sh\n{script}\n")
    assert list_gpus() == ()
    assert read_device_memory("auto").device == "cpu"


def test_sizes_are_told_with_sensible_digits() -> None:
    assert [in_gigabytes(n) for n in (0, 151_000_000, 7_640_000_000, 47_960_000_000)] == [
        "0.0 GB",
        "0.2 GB",
        "7.6 GB",
        "48 GB",
    ]
