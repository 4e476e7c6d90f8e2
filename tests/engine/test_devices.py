"""Devices: what DEVICE means on a machine, and how several GPUs share one model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.integrations.accelerate import _get_device_map

from engine.devices import Placement, choose_placement
from engine.errors import DeviceError
from engine.generation import Generation, generate
from engine.hook_names import HookPoint
from engine.loading import load_language_model
from engine.sae import encode_dense
from engine.sae_config import read_sae_config
from engine.sae_loading import load_sae
from store.specs import SamplingSpec
from tests.engine.checkpoints_models import save_model
from tests.engine.checkpoints_saes import SAELENS_CONFIG, random_weights, write_sae

TWO_GPUS = Placement((torch.device("cuda", 0), torch.device("cuda", 1)))


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that says it has two GPUs with 1,000 and 600 bytes free."""
    free = {0: (1000, 2000), 1: (600, 2000)}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: free[device.index])


def test_one_device_takes_the_whole_model() -> None:
    placement = choose_placement("cpu")
    assert placement.device_map() == {"": torch.device("cpu")}
    assert placement.max_memory(10) is None
    assert str(placement) == "cpu"


def test_auto_without_a_gpu_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_placement("auto").devices == (torch.device("cpu"),)


def test_balanced_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(DeviceError, match="no GPU"):
        choose_placement("balanced")


@pytest.mark.usefixtures("two_gpus")
def test_balanced_is_every_gpu_and_room_is_kept_for_the_sae() -> None:
    placement = choose_placement("balanced")
    assert placement == TWO_GPUS
    assert str(placement) == "cuda:0,cuda:1"
    assert placement.device_map() == "balanced"
    assert placement.max_memory(100) == {"cpu": 0, 0: 900, 1: 440}


def test_limits_spread_the_layers_and_put_nothing_elsewhere() -> None:
    config = LlamaConfig(vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=6)
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    half = 4 * sum(parameter.numel() for parameter in model.parameters()) * 8 // 10
    placed = _get_device_map(model, "balanced", {"cpu": 0, 0: half, 1: half}, None)
    assert set(placed.values()) == {0, 1}
    layers = [placed[f"model.layers.{index}"] for index in range(6)]
    assert layers == sorted(layers)


@pytest.mark.usefixtures("two_gpus")
def test_a_model_that_no_gpus_hold_is_refused_before_it_is_read(tmp_path: Path) -> None:
    save_model(tmp_path, "llama")
    with pytest.raises(DeviceError, match=r"does not fit into the memory of cuda:0,cuda:1"):
        load_language_model(tmp_path, "float32", TWO_GPUS)


@pytest.mark.parametrize("name", ["mistral3", "gemma2", "gpt2"])
@pytest.mark.parametrize("site", ["resid_pre", "resid_post"])
def test_capture_sees_the_same_where_accelerate_moves_tensors_between_layers(
    tmp_path: Path, name: str, site: str
) -> None:
    save_model(tmp_path, name)
    language = load_language_model(tmp_path, "float32", choose_placement("cpu"))
    hook = HookPoint(1, "resid_pre" if site == "resid_pre" else "resid_post")

    def run() -> Generation:
        return generate(
            language.model,
            hook,
            tuple(range(40, 60)),
            SamplingSpec(max_new_tokens=8),
            frozenset(),
            256,
            lambda _step: None,
            lambda: False,
        )

    plain = run()
    dispatch: Callable[..., Any] = accelerate.dispatch_model
    modules = {module: "cpu" for module, _ in language.model.named_children()}
    dispatch(language.model, device_map=modules, main_device="cpu", force_hooks=True)
    moved = run()
    assert moved.token_ids == plain.token_ids
    assert plain.residual is not None
    assert moved.residual is not None
    torch.testing.assert_close(moved.residual, plain.residual)


# GPU
def test_a_gpu_computes_what_the_cpu_does_and_keeps_the_decoder_out_of_its_memory(
    tmp_path: Path,
) -> None:
    save_model(tmp_path / "model", "mistral3")
    config = {**SAELENS_CONFIG, "architecture": "standard"}
    sae_dir = write_sae(tmp_path / "sae", random_weights(), config)
    dense = []
    for name in ("cpu", "cpu"):
        placement = choose_placement(name)
        language = load_language_model(tmp_path / "model", "float32", placement)
        rows = generate(
            language.model,
            HookPoint(1, "resid_post"),
            tuple(range(40, 60)),
            None,
            frozenset(),
            256,
            lambda _step: None,
            lambda: False,
        ).residual
        assert rows is not None
        sae = load_sae(sae_dir, read_sae_config(sae_dir), torch.float32, placement.last)
        assert sae.W_dec is not None
        assert (sae.W_enc.device.type, sae.W_dec.device.type) == (name, "cpu")
        dense.append(encode_dense(sae, rows).cpu())
    torch.testing.assert_close(dense[0], dense[1], atol=1e-3, rtol=1e-3)
