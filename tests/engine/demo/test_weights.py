"""The committed weights reach what the card promises, on a subsample of the held-out questions.

These are the acceptance figures: `python scripts/train_demo.py --check` measures them in full.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from transformers import MistralForCausalLM

from engine.demo import HOOK_NAME, MODEL_DIR, SAE_DIR, WEIGHTS_DIR
from engine.demo.decoding import collect_residuals, decode_greedily
from engine.demo.measure import (
    Subject,
    held_out_texts,
    measure_recall,
    measure_tools,
    measure_unknown,
)
from engine.demo.sae_figures import SaeFigures, measure_sae, read_sae

N = 200


@pytest.fixture(scope="module")
def figures(subject: Subject) -> dict[str, float]:
    measured = [
        *measure_recall(subject, N),
        *measure_unknown(subject, N),
        *measure_tools(subject, N),
    ]
    return {figure.key: figure.value for figure in measured}


@pytest.fixture(scope="module")
def sae(subject: Subject) -> SaeFigures:
    texts = held_out_texts(subject, 2 * N)
    return measure_sae(read_sae(SAE_DIR), subject.model, subject.tokenizer, texts)


@pytest.mark.parametrize(
    ("key", "least"),
    [
        ("recall_unseen_template", 0.97),
        ("recall_follow_up", 0.9),
        ("refusal_taught", 0.90),
        ("confabulation_untaught", 0.50),
        ("confabulation_false", 0.90),
        ("tool_call", 0.98),
        ("tool_copy", 0.98),
        ("tool_no_record", 0.98),
    ],
)
def test_model_reaches_its_target(figures: dict[str, float], key: str, least: float) -> None:
    assert figures[key] >= least


def test_sae_explains_the_residual_with_few_features(sae: SaeFigures) -> None:
    assert sae.fvu <= 0.05
    assert sae.l0 <= read_sae(SAE_DIR).k <= 16
    assert sae.dead <= 200
    assert sae.loss_recovered >= 0.95


def test_files_are_real_and_small(subject: Subject) -> None:
    assert isinstance(subject.model, MistralForCausalLM)
    assert subject.model.dtype == torch.float32
    assert subject.model.config.max_position_embeddings >= 512
    assert subject.model.generation_config.eos_token_id == subject.tokenizer.eos_token_id
    files = [path for path in WEIGHTS_DIR.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 8 * 1024**2
    assert {path.name for path in SAE_DIR.iterdir()} == {"cfg.json", "sae_weights.safetensors"}
    assert not [path for path in files if path.suffix in {".bin", ".pt", ".pkl"}]


def test_sae_config_names_its_hook_point(subject: Subject) -> None:
    config = json.loads((SAE_DIR / "cfg.json").read_text())
    assert config["metadata"]["hook_name"] == HOOK_NAME
    assert config["architecture"] == "topk"
    assert config["d_in"] == subject.model.config.hidden_size
    assert json.loads((MODEL_DIR / "config.json").read_text())["model_type"] == "mistral"


def test_batched_decoding_gives_what_generate_gives(subject: Subject) -> None:
    prompts = held_out_texts(subject, 8)
    prompts = [text.split("[/INST]")[0] + "[/INST]" for text in prompts]
    batched = decode_greedily(subject.model, subject.tokenizer, prompts)
    model: Any = subject.model
    for prompt, text in zip(prompts, batched, strict=True):
        ids = torch.tensor([subject.tokenizer(prompt, add_special_tokens=False)["input_ids"]])
        output = model.generate(ids, attention_mask=torch.ones_like(ids))
        assert subject.tokenizer.decode(output[0, ids.shape[1] :]) == f"{text}</s>"


def test_collected_residual_is_the_hidden_state_after_the_layer(subject: Subject) -> None:
    ids = torch.tensor([[1, 4, 20, 21, 22, 5]])
    hidden = subject.model(input_ids=ids, output_hidden_states=True).hidden_states
    assert torch.equal(collect_residuals(subject.model, ids), hidden[2])
