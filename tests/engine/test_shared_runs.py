"""Through engine and store: the turns of a chat share what they have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import engine.compute
from engine.api import RunRequest
from engine.generation import Generation, generate
from store.records import StoredRun
from store.removal import delete_runs
from store.specs import Message, SamplingSpec
from tests.engine.conftest import Bench

_SHARED = 8
"""Place of the shared beginning among what generate takes."""
QUESTION = "Where does Anna live, and where does Karim work these days?"


@pytest.fixture
def bench(make_bench: Callable[..., Bench], checkpoints: Path) -> Bench:
    return make_bench(checkpoints / "llama", checkpoints / "sae-standard")


def ask(bench: Bench, *messages: Message, seed: int = 0) -> StoredRun:
    request = RunRequest(messages, sampling=SamplingSpec(8, 0.0 if seed == 0 else 1.0, seed=seed))
    view = bench.engine.wait(bench.engine.submit(request).job_id, timeout_s=60)
    assert view.state == "done", view.failure
    return bench.runs.get_run(view.run_key)


def n_stored(bench: Bench) -> int:
    return bench.runs.summarise().n_activations


def dense(
    bench: Bench, run_key: str, n_tokens: int
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    activations = bench.activations.get_run_activations(run_key)
    table = np.zeros((n_tokens, 96), np.float32)
    table[activations.position, activations.feature] = activations.value
    return table


def test_a_second_turn_stores_only_what_is_new_and_reads_whole(
    bench: Bench, make_bench: Callable[..., Bench], checkpoints: Path
) -> None:
    first = ask(bench, Message("user", QUESTION))
    before = n_stored(bench)
    chat = (
        Message("user", QUESTION),
        Message("assistant", first.run.response or "None."),
        Message("user", "And why?"),
    )
    second = ask(bench, *chat)
    n_tokens = len(second.tokens)
    got = dense(bench, second.run.run_key, n_tokens)
    assert n_stored(bench) - before < 0.7 * np.count_nonzero(got)

    delete_runs(bench.store, [second.run.run_key])
    bench.engine.close()
    alone = make_bench(checkpoints / "llama", checkpoints / "sae-standard")
    again = ask(alone, *chat)
    assert [token.token_id for token in again.tokens] == [token.token_id for token in second.tokens]
    np.testing.assert_allclose(got, dense(alone, again.run.run_key, n_tokens), atol=1e-4, rtol=0)
    for one, other in zip(second.tokens, again.tokens, strict=True):
        assert (one.role, one.is_generated, one.n_active) == (
            other.role,
            other.is_generated,
            other.n_active,
        )
        if one.logprob is not None:
            assert one.logprob == pytest.approx(other.logprob, abs=1e-4)


def test_seeds_of_one_prompt_share_the_prompt(bench: Bench) -> None:
    first = ask(bench, Message("user", QUESTION), seed=1)
    before = n_stored(bench)
    second = ask(bench, Message("user", QUESTION), seed=2)
    own = bench.activations.get_run_activations(second.run.run_key)
    n_prompt = first.run.n_prompt_tokens
    # the prompt's last token is computed again, and the answer is the run's own
    assert n_stored(bench) - before == int(np.count_nonzero(own.position >= n_prompt - 1))


def test_where_the_first_run_was_removed_the_second_is_computed_whole(bench: Bench) -> None:
    first = ask(bench, Message("user", QUESTION), seed=1)
    assert delete_runs(bench.store, [first.run.run_key]) == 1
    second = ask(bench, Message("user", QUESTION), seed=2)
    assert n_stored(bench) == len(bench.activations.get_run_activations(second.run.run_key))


def test_what_earlier_runs_have_left_gives_way_where_memory_is_short(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(bench, Message("user", QUESTION), seed=1)
    refused: list[bool] = []

    def short_of_memory(*values: Any) -> Generation:
        # the first try goes on from the other seed's run, and its tokens are seen before it fails
        if values[_SHARED] is not None:
            generate(*values)
            refused.append(True)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generate(*values)

    monkeypatch.setattr(engine.compute, "generate", short_of_memory)
    request = RunRequest((Message("user", QUESTION),), sampling=SamplingSpec(8, 1.0, seed=2))
    view = bench.engine.wait(bench.engine.submit(request).job_id, timeout_s=60)
    assert view.state == "done", view.failure
    assert refused == [True]
    second = bench.runs.get_run(view.run_key)
    assert len(view.tokens) == second.run.n_generated_tokens
    own = bench.activations.get_run_activations(view.run_key)
    assert n_stored(bench) > len(own)
