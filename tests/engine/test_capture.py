"""What is stored of a run equals an independent computation with transformers and sae_lens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import AutoModelForCausalLM

from engine.api import RunRequest
from engine.demo import LAYER, MODEL_DIR, SAE_DIR
from store.records import Activations, StoredRun
from store.specs import Message, RunKind, SamplingSpec
from tests.engine.checkpoints import D_SAE, hidden_at
from tests.engine.conftest import Bench


def _ask(bench: Bench, text: str, kind: RunKind = "generation") -> tuple[StoredRun, Activations]:
    view = bench.engine.submit(
        RunRequest((Message("user", text),), kind=kind, sampling=SamplingSpec(max_new_tokens=24))
    )
    view = bench.engine.wait(view.job_id, timeout_s=60)
    assert view.state == "done", view.failure
    stored = bench.runs.get_run(view.run_key)
    return stored, bench.activations.get_run_activations(view.run_key)


def _oracle(
    model_dir: Path, sae_dir: Path, ids: tuple[int, ...], layer: int
) -> tuple[npt.NDArray[np.float32], torch.Tensor]:
    """Dense activations by sae_lens on transformers' hidden states, and teacher-forced logprobs."""
    from sae_lens import SAE

    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    with torch.inference_mode():
        dense = SAE.load_from_disk(sae_dir).encode(hidden_at(model, ids, layer))
        logprobs = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return dense.numpy(), logprobs


def _to_dense(activations: Activations, n_tokens: int, d_sae: int) -> npt.NDArray[np.float32]:
    dense = np.zeros((n_tokens, d_sae), dtype=np.float32)
    dense[activations.position, activations.feature] = activations.value
    return dense


def _check(
    stored: StoredRun, activations: Activations, model_dir: Path, sae_dir: Path, layer: int
) -> None:
    ids = tuple(token.token_id for token in stored.tokens)
    expected, logprobs = _oracle(model_dir, sae_dir, ids, layer)
    assert stored.run.n_prompt_tokens + stored.run.n_generated_tokens == len(ids)
    got = _to_dense(activations, len(ids), expected.shape[1])
    # where a value lies within rounding of zero, either side may call it silent
    certain = (expected > 1e-4) | (expected == 0)
    assert ((got > 0) == (expected > 0))[certain].all()
    np.testing.assert_allclose(got, expected, atol=1e-4, rtol=0)
    assert (got[-1] > 0).any(), "the last token's activations are missing"
    counted = np.bincount(activations.position, minlength=len(ids))
    assert [token.n_active for token in stored.tokens] == counted.tolist()
    for before, token in zip(stored.tokens, stored.tokens[1:], strict=False):
        row = logprobs[before.position]
        assert token.logprob == pytest.approx(row[token.token_id].item(), abs=1e-4)
        assert token.rank == int((row > row[token.token_id]).sum())
        entropy = torch.special.entr(row.exp()).sum().item()
        assert token.entropy == pytest.approx(entropy, abs=1e-4)
    assert stored.tokens[0].logprob is None


@pytest.mark.parametrize("architecture", ["standard", "topk", "jumprelu"])
@pytest.mark.parametrize("model", ["llama", "gpt2"])
@pytest.mark.parametrize("kind", ["generation", "text"])
def test_stored_activations_and_logprobs_equal_an_independent_computation(
    checkpoints: Path,
    make_bench: Callable[..., Bench],
    model: str,
    architecture: str,
    kind: RunKind,
) -> None:
    model_dir, sae_dir = checkpoints / model, checkpoints / f"sae-{architecture}"
    bench = make_bench(model_dir, sae_dir)
    stored, activations = _ask(bench, "Where does Anna live?", kind)
    assert len(activations) > 0
    assert activations.feature.max() < D_SAE
    _check(stored, activations, model_dir, sae_dir, layer=1)


@pytest.mark.parametrize("kind", ["generation", "text"])
def test_the_demo_equals_an_independent_computation(
    make_bench: Callable[..., Bench], kind: RunKind
) -> None:
    stored, activations = _ask(make_bench(), "Where does Anna live?", kind)
    _check(stored, activations, MODEL_DIR, SAE_DIR, LAYER)
