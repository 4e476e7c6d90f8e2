"""Generation: the tokens of transformers' own generate, every row captured, stopped when asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import engine.generation
from engine.devices import choose_placement
from engine.errors import GenerationCancelled, PromptTooLongError, SourceMismatchError
from engine.generation import Generation, generate
from engine.hook_names import HookPoint
from engine.hooks import decoder_layers
from engine.loading import LanguageModel, load_language_model
from engine.steps import GenerationStep
from store.specs import SamplingSpec
from tests.engine.checkpoints import hidden_at

HOOK = HookPoint(1, "resid_post")
PROMPT = (0, 20, 30, 40, 50)


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def language(request: pytest.FixtureRequest, checkpoints: Path) -> LanguageModel:
    """A tiny model on the CPU."""
    return load_language_model(checkpoints / request.param, "float32", choose_placement("cpu"))


def _generate(
    language: LanguageModel,
    sampling: SamplingSpec | None,
    prompt: tuple[int, ...] = PROMPT,
    hook: HookPoint = HOOK,
    n_context: int = 256,
) -> Generation:
    return generate(
        language.model,
        hook,
        prompt,
        sampling,
        frozenset(),
        n_context,
        lambda _step: None,
        lambda: False,
    )


def _n_hooks(language: LanguageModel) -> int:
    return sum(
        len(layer._forward_hooks) + len(layer._forward_pre_hooks)
        for layer in decoder_layers(language.model)
    )


def test_greedy_tokens_equal_those_of_transformers_generate(language: LanguageModel) -> None:
    generate_ids: Any = language.model.generate
    expected = generate_ids(
        torch.tensor([PROMPT]),
        max_new_tokens=30,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=1,
    )
    assert _generate(language, SamplingSpec(max_new_tokens=30)).token_ids == tuple(
        expected[0].tolist()
    )


def test_equal_seeds_give_equal_samples_and_other_seeds_do_not(language: LanguageModel) -> None:
    def sample(seed: int) -> tuple[int, ...]:
        spec = SamplingSpec(max_new_tokens=30, temperature=1.5, top_p=0.95, top_k=50, seed=seed)
        return _generate(language, spec).token_ids

    assert sample(3) == sample(3)
    assert sample(3) != sample(4)


def test_a_top_k_of_one_is_greedy(language: LanguageModel) -> None:
    sampled = SamplingSpec(max_new_tokens=20, temperature=1.0, top_k=1)
    greedy = SamplingSpec(max_new_tokens=20)
    assert _generate(language, sampled).token_ids == _generate(language, greedy).token_ids


def test_a_prompt_read_in_chunks_gives_the_same_rows_and_statistics(
    language: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = tuple(range(2, 60))
    whole = _generate(language, None, prompt)
    monkeypatch.setattr(engine.generation, "_LONGEST_CHUNK", 7)
    chunked = _generate(language, None, prompt)
    assert [step.position for step in chunked.steps] == list(range(1, len(prompt)))
    torch.testing.assert_close(chunked.residual, whole.residual, atol=1e-4, rtol=1e-4)
    for left, right in zip(chunked.steps, whole.steps, strict=True):
        assert left.token_id == right.token_id
        assert left.logprob == pytest.approx(right.logprob, abs=1e-4)
        assert left.entropy == pytest.approx(right.entropy, abs=1e-4)


def test_the_input_side_of_a_layer_is_the_output_of_the_one_before(
    language: LanguageModel,
) -> None:
    pre = _generate(language, None, hook=HookPoint(2, "resid_pre")).residual
    post = _generate(language, None, hook=HookPoint(1, "resid_post")).residual
    torch.testing.assert_close(pre, post)


def test_the_last_layer_is_captured_before_the_final_norm(language: LanguageModel) -> None:
    seen = _generate(language, None, hook=HookPoint(2, "resid_post")).residual
    assert seen is not None
    normed = hidden_at(language.model, PROMPT, 2)
    assert not torch.allclose(seen, normed, atol=1e-3)


def test_generation_stops_at_the_end_token_and_keeps_it(language: LanguageModel) -> None:
    free = _generate(language, SamplingSpec(max_new_tokens=10)).token_ids
    end_id = free[len(PROMPT) + 3]
    first_at = free.index(end_id, len(PROMPT))
    stopped = generate(
        language.model,
        HOOK,
        PROMPT,
        SamplingSpec(max_new_tokens=10),
        frozenset({end_id}),
        256,
        lambda _step: None,
        lambda: False,
    )
    assert stopped.token_ids == free[: first_at + 1]
    assert stopped.finish_reason == "stop"
    assert stopped.residual is not None
    assert stopped.residual.shape[0] == len(stopped.token_ids)


def test_generation_ends_where_the_context_ends(language: LanguageModel) -> None:
    result = _generate(language, SamplingSpec(max_new_tokens=50), n_context=len(PROMPT) + 4)
    assert len(result.token_ids) == len(PROMPT) + 4
    assert result.finish_reason == "length"


def test_a_prompt_that_fills_the_context_is_refused(language: LanguageModel) -> None:
    with pytest.raises(PromptTooLongError) as caught:
        _generate(language, SamplingSpec(), n_context=len(PROMPT))
    assert (caught.value.n_tokens, caught.value.n_context) == (len(PROMPT), len(PROMPT))


def test_cancelling_stops_at_the_next_token_and_detaches_the_hook(language: LanguageModel) -> None:
    seen: list[GenerationStep] = []
    n_hooks = _n_hooks(language)
    with pytest.raises(GenerationCancelled):
        generate(
            language.model,
            HOOK,
            PROMPT,
            SamplingSpec(max_new_tokens=50),
            frozenset(),
            256,
            seen.append,
            lambda: len(seen) >= 3,
        )
    assert len(seen) == 3
    assert _n_hooks(language) == n_hooks


def test_a_layer_that_does_not_exist_is_refused_and_nothing_stays_attached(
    language: LanguageModel,
) -> None:
    n_hooks = _n_hooks(language)
    with pytest.raises(SourceMismatchError, match="3 layers"):
        _generate(language, None, hook=HookPoint(3, "resid_post"))
    assert _n_hooks(language) == n_hooks
