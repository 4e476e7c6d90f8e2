"""All six architectures, each with another layout of SAE: what is stored equals plain torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedModel,
)

from engine.api import RunRequest
from engine.catalog import ResolvedSource
from engine.compute import Progress, compute_run
from engine.hook_names import HookPoint, parse_hook_name
from engine.model_config import read_model_config
from engine.resident import load_source
from engine.sae_config import read_sae_config
from store.specs import Message, ModelSpec, RunSpec, SamplingSpec, SourceSpec
from tests.engine.checkpoints import D_MODEL, D_SAE, N_LAYERS
from tests.engine.checkpoints_models import ARCHITECTURES, save_model
from tests.engine.checkpoints_saes import (
    BARE_CONFIG,
    SAELENS_CONFIG,
    linear_names,
    random_weights,
    write_sae,
)
from tests.engine.conftest import Bench

HOOKS: Mapping[str, str] = {
    "mistral3": f"blocks.{N_LAYERS - 1}.hook_resid_post",
    "mistral": "blocks.1.hook_resid_post",
    "llama": "blocks.0.hook_resid_pre",
    "phi3": "blocks.2.hook_resid_pre",
    "gemma2": "blocks.0.hook_resid_post",
    "gpt2": "blocks.1.hook_resid_post",
}
QUESTION = "Where does Anna live, and where does Karim work?"


def _write_sae(folder: Path, name: str) -> Path:
    """Another layout and architecture for each model, at a hook point of its own."""
    hook = {"hook_name": HOOKS[name]}
    saelens: dict[str, Any] = {**SAELENS_CONFIG, "metadata": hook}
    linear = linear_names(random_weights())
    if name == "mistral3":
        config = {**BARE_CONFIG, **hook, "activation": "relu"}
        return write_sae(folder, linear, config, "config.json", "model.safetensors")
    if name == "mistral":
        config = {**saelens, "architecture": "gated"}
        return write_sae(folder, random_weights("gated"), config)
    if name == "llama":
        config = {**saelens, "architecture": "jumprelu"}
        return write_sae(folder, random_weights("jumprelu"), config, "config.json")
    if name == "phi3":
        config = {**BARE_CONFIG, "k": 6}
        return write_sae(folder / HOOKS[name], random_weights(), config)
    if name == "gemma2":
        config = {**BARE_CONFIG, **hook, "k": 6}
        return write_sae(folder, linear, config, "config.json", "model.safetensors")
    return write_sae(folder, random_weights(), {**saelens, "architecture": "standard"})


def _expected(name: str, hidden: torch.Tensor) -> torch.Tensor:
    """Features of residual rows, in plain torch."""
    if name == "mistral":
        w = random_weights("gated")
        x = (hidden - w["b_dec"]) @ w["W_enc"]
        return (x + w["b_gate"] > 0) * (x * w["r_mag"].exp() + w["b_mag"]).relu()
    if name == "llama":
        w = random_weights("jumprelu")
        pre = (hidden - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
        return torch.where(pre > w["threshold"], pre, torch.zeros(())).relu()
    w = random_weights()
    linear = name in ("mistral3", "gemma2")
    pre = (hidden if linear else hidden - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    if name in ("phi3", "gemma2"):
        least = pre.topk(6, dim=-1).values[:, -1:]
        return torch.where(pre >= least, pre, torch.zeros(())).relu()
    return pre.relu()


def _load_plainly(folder: Path) -> PreTrainedModel:
    is_multimodal = read_model_config(folder).architecture.startswith("Mistral3")
    auto_class = AutoModelForImageTextToText if is_multimodal else AutoModelForCausalLM
    model = auto_class.from_pretrained(folder, dtype=torch.float32)
    assert isinstance(model, PreTrainedModel)
    return model


def _hidden(model: PreTrainedModel, ids: list[int], hook: HookPoint) -> torch.Tensor:
    """By hidden states; the last one is after the final norm, so its input is taken instead."""
    seen: list[torch.Tensor] = []
    decoder: Any = model.get_decoder()
    norm = decoder.ln_f if hasattr(decoder, "ln_f") else decoder.norm
    handle = norm.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    with torch.inference_mode():
        states = model(
            input_ids=torch.tensor([ids]), output_hidden_states=True, use_cache=False
        ).hidden_states
    handle.remove()
    rows = [*states[:-1], seen[0]][hook.layer + (hook.site == "resid_post")]
    assert isinstance(rows, torch.Tensor)
    return rows[0]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_is_stored_of_every_architecture_equals_plain_torch(
    tmp_path: Path, make_bench: Callable[..., Bench], name: str
) -> None:
    save_model(tmp_path / "model", name)
    sae = _write_sae(tmp_path / "sae", name)
    bench = make_bench(tmp_path / "model", sae)
    view = bench.engine.submit(
        RunRequest((Message("user", QUESTION),), sampling=SamplingSpec(max_new_tokens=24))
    )
    view = bench.engine.wait(view.job_id, timeout_s=60)
    assert view.state == "done", view.failure
    stored = bench.runs.get_run(view.run_key)
    activations = bench.activations.get_run_activations(view.run_key)
    ids = [token.token_id for token in stored.tokens]
    model = _load_plainly(tmp_path / "model")
    expected = _expected(name, _hidden(model, ids, parse_hook_name(HOOKS[name]))).numpy()
    got = np.zeros((len(ids), D_SAE), dtype=np.float32)
    got[activations.position, activations.feature] = activations.value
    np.testing.assert_allclose(got, expected, atol=1e-4, rtol=0)
    assert (got[-1] > 0).any()
    assert len(ids) > stored.run.n_prompt_tokens


@pytest.mark.parametrize("name", ["mistral3", "gpt2"])
def test_the_stored_pieces_join_to_the_text_that_the_tokenizer_decodes(
    tmp_path: Path, make_bench: Callable[..., Bench], name: str
) -> None:
    save_model(tmp_path / "model", name)
    bench = make_bench(tmp_path / "model", _write_sae(tmp_path / "sae", name))
    view = bench.engine.submit(RunRequest((Message("user", "Wer lebt in Malmö? 🙂"),)))
    view = bench.engine.wait(view.job_id, timeout_s=60)
    tokens = bench.runs.get_run(view.run_key).tokens
    decoded = AutoTokenizer.from_pretrained(tmp_path / "model").decode(
        [token.token_id for token in tokens], skip_special_tokens=False
    )
    joined = "".join(token.text for token in tokens)
    # characters that were begun and never finished are the decoder's to replace
    assert str(decoded).startswith(joined)
    assert "Wer lebt in Malmö? 🙂" in joined


def _without_sae(folder: Path, dtype: str) -> ResolvedSource:
    model = ModelSpec("model", "sha256:1", dtype)
    spec = SourceSpec("plain", model, "", "", "", -1, D_MODEL, 0, "none")
    return ResolvedSource(spec, folder, None, None, None, 256, ())


def test_a_model_without_an_sae_leaves_tokens_and_no_activations(tmp_path: Path) -> None:
    save_model(tmp_path / "model", "mistral")
    sae = _write_sae(tmp_path / "sae", "mistral")
    source = _without_sae(tmp_path / "model", "float32")
    config = read_sae_config(sae)
    with_sae = replace(
        source, sae_dir=sae, sae_config=config, hook=parse_hook_name(config.hook_name)
    )
    progress = Progress(lambda _prompt, _most: None, lambda _token: None, lambda: False)
    spec = RunSpec(source.spec, (Message("user", QUESTION),), sampling=SamplingSpec(12))
    bare = compute_run(load_source(source, "cpu"), spec, "key", "someone", progress)
    full = compute_run(load_source(with_sae, "cpu"), spec, "key", "someone", progress)
    assert len(bare.activations) == 0
    assert len(full.activations) > 0
    assert [replace(token, n_active=0) for token in full.tokens] == list(bare.tokens)
    assert bare.run.response == full.run.response
