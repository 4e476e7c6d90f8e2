"""Runs that begin alike: what one has computed, the next takes over, to the same numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.devices import choose_placement
from engine.generation import Generation, generate
from engine.hook_names import HookPoint
from engine.loading import LanguageModel, load_language_model
from engine.prefixes import (
    MAX_KEPT,
    MIN_SHARED,
    Prefix,
    Prefixes,
    Shared,
    find_layers,
    n_common,
)
from store.specs import SamplingSpec
from tests.engine.checkpoints_models import ARCHITECTURES, save_model

PROMPT = tuple(range(10, 40))
ANSWER = SamplingSpec(max_new_tokens=12)
UNSTEERED = "[]"


@pytest.fixture(scope="module", params=ARCHITECTURES)
def language(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> LanguageModel:
    """Each architecture; the windows of some are shorter than the prompts here."""
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, request.param)
    return load_language_model(folder, "float32", choose_placement("cpu"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    folder = tmp_path_factory.mktemp("llama")
    save_model(folder, "llama")
    return load_language_model(folder, "float32", choose_placement("cpu"))


def _generate(
    language: LanguageModel, prompt: tuple[int, ...], shared: Shared | None = None
) -> Generation:
    return generate(
        language.model,
        HookPoint(1, "resid_post"),
        prompt,
        ANSWER,
        frozenset(),
        256,
        lambda _step: None,
        lambda: False,
        shared,
    )


def _prefix(done: Generation, run_key: str = "first") -> Prefix:
    n_active = tuple(range(len(done.token_ids)))
    layers = find_layers(done.cache, len(done.token_ids))
    assert layers is not None
    return Prefix(run_key, UNSTEERED, done.token_ids, done.steps, n_active, layers)


def test_a_run_that_goes_on_from_another_has_the_numbers_of_one_computed_alone(
    language: LanguageModel,
) -> None:
    first = _generate(language, PROMPT)
    prompt = (*first.token_ids, 50, 51, 52)
    alone = _generate(language, prompt)
    if find_layers(first.cache, len(first.token_ids)) is None:
        # a window of attention has forgotten the first tokens: such runs are computed whole
        assert "sliding_window=8" in repr(language.model.config).replace('"', "").replace(": ", "=")
        return
    prefixes = Prefixes()
    prefixes.keep(_prefix(first))
    shared = prefixes.find(language.model, prompt, UNSTEERED)
    assert shared is not None

    together = _generate(language, prompt, shared)

    assert shared.n_tokens == len(first.token_ids) - 1
    assert together.n_shared == shared.n_tokens
    assert together.token_ids == alone.token_ids
    assert together.residual is not None
    assert alone.residual is not None
    torch.testing.assert_close(
        together.residual, alone.residual[shared.n_tokens :], atol=1e-4, rtol=0
    )
    assert [step.position for step in together.steps] == [step.position for step in alone.steps]
    for mine, other in zip(together.steps, alone.steps, strict=True):
        assert mine.logprob == pytest.approx(other.logprob, abs=1e-4)
        assert mine.entropy == pytest.approx(other.entropy, abs=1e-4)


def test_the_same_prompt_again_computes_its_last_token_alone(llama: LanguageModel) -> None:
    prefixes = Prefixes()
    prefixes.keep(_prefix(_generate(llama, PROMPT)))
    shared = prefixes.find(llama.model, PROMPT, UNSTEERED)
    assert shared is not None
    assert shared.n_tokens == len(PROMPT) - 1
    again = _generate(llama, PROMPT, shared)
    assert again.residual is not None
    assert again.residual.shape[0] == len(again.token_ids) - shared.n_tokens


def test_what_a_kept_run_holds_is_not_changed_by_those_that_go_on_from_it(
    llama: LanguageModel,
) -> None:
    prefixes = Prefixes()
    first = _generate(llama, PROMPT)
    kept = _prefix(first)
    prefixes.keep(kept)
    before = [(keys.clone(), values.clone()) for keys, values in kept.layers]
    for last in (50, 60):
        prompt = (*first.token_ids, last)
        shared = prefixes.find(llama.model, prompt, UNSTEERED)
        assert shared is not None
        _generate(llama, prompt, shared)
    for (keys, values), (old_keys, old_values) in zip(kept.layers, before, strict=True):
        assert torch.equal(keys, old_keys)
        assert torch.equal(values, old_values)


def test_another_steering_or_a_short_common_beginning_shares_nothing(llama: LanguageModel) -> None:
    prefixes = Prefixes()
    prefixes.keep(_prefix(_generate(llama, PROMPT)))
    assert prefixes.find(llama.model, PROMPT, '[{"kind":"add"}]') is None
    # the last common token is always computed again
    short = (*PROMPT[:MIN_SHARED], 1, 2, 3)
    assert prefixes.find(llama.model, short, UNSTEERED) is None
    enough = (*PROMPT[: MIN_SHARED + 1], 1, 2, 3)
    assert prefixes.find(llama.model, enough, UNSTEERED) is not None


def test_the_longest_beginning_is_taken_and_a_run_that_was_continued_is_dropped(
    llama: LanguageModel,
) -> None:
    prefixes = Prefixes()
    first = _generate(llama, PROMPT)
    second = _generate(llama, (*first.token_ids, 50))
    aside = _generate(llama, (*PROMPT[:20], 60, 61))
    for index, done in enumerate((first, aside, second)):
        prefixes.keep(_prefix(done, f"run {index}"))
    assert len(prefixes) == 2
    shared = prefixes.find(llama.model, second.token_ids, UNSTEERED)
    assert shared is not None
    assert shared.run_key == "run 2"
    prefixes.forget("run 2")
    shared = prefixes.find(llama.model, second.token_ids, UNSTEERED)
    assert shared is not None
    assert (shared.run_key, shared.n_tokens) == ("run 1", 19)


def test_the_least_used_leave_when_the_room_is_used_up(llama: LanguageModel) -> None:
    runs = [
        _prefix(_generate(llama, tuple(range(start, start + 30))), f"run {start}")
        for start in (10, 60, 110)
    ]
    prefixes = Prefixes(max_bytes=2 * runs[0].size_bytes)
    prefixes.keep(runs[0])
    prefixes.keep(runs[1])
    assert prefixes.find(llama.model, runs[0].token_ids, UNSTEERED) is not None
    prefixes.keep(runs[2])
    assert len(prefixes) == 2
    assert prefixes.find(llama.model, runs[1].token_ids, UNSTEERED) is None
    assert prefixes.find(llama.model, runs[0].token_ids, UNSTEERED) is not None


def test_only_so_many_are_kept_as_can_be_looked_through_quickly(llama: LanguageModel) -> None:
    done = _prefix(_generate(llama, tuple(range(10, 40))))
    prefixes = Prefixes()
    for number in range(MAX_KEPT + 5):
        # none continues another: their second token differs
        ids = (done.token_ids[0], number + 1_000, *done.token_ids[2:])
        prefixes.keep(replace(done, run_key=f"run {number}", token_ids=ids))
    assert len(prefixes) == MAX_KEPT


def test_common_beginnings_are_counted() -> None:
    assert n_common((1, 2, 3), (1, 2, 4, 5)) == 2
    assert n_common((), (1,)) == 0
    assert n_common((1, 2), (1, 2, 3)) == 2
