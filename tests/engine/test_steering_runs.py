"""Steered runs through engine and store: resolved, memoized, shared, measured, refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.api import RunRequest
from engine.batches import read_batch, render_prompts
from engine.errors import RequestError, SourceMismatchError, UnsupportedError
from engine.neutral_texts import neutral_texts
from engine.resident import load_source
from engine.steering_plan import make_ready
from store.errors import VectorNotFoundError
from store.records import StoredRun
from store.removal import delete_runs
from store.residual_norms import ResidualNormRepository
from store.run_interventions import RunInterventionRepository
from store.specs import (
    Condition,
    Intervention,
    Message,
    SamplingSpec,
    SteeringSpec,
    parse_interventions,
)
from store.steering_records import RunIntervention, VectorDraft
from store.vectors import VectorRepository
from tests.engine.checkpoints import D_MODEL, save_llama, save_sae
from tests.engine.checkpoints_saes import BARE_CONFIG, linear_names, random_weights, write_sae
from tests.engine.conftest import Bench

QUESTION = "Where does Anna live, and where does Karim work these days?"


@pytest.fixture
def bench(make_bench: Callable[..., Bench], checkpoints: Path) -> Bench:
    return make_bench(checkpoints / "llama", checkpoints / "sae-standard")


def request(*items: Intervention, messages: tuple[Message, ...] = (), seed: int = 0) -> RunRequest:
    return RunRequest(
        messages or (Message("user", QUESTION),),
        sampling=SamplingSpec(8, 1.0 if seed else 0.0, seed=seed),
        steering=SteeringSpec(items),
    )


def ask(
    bench: Bench, *items: Intervention, messages: tuple[Message, ...] = (), seed: int = 0
) -> StoredRun:
    view = bench.engine.submit(request(*items, messages=messages, seed=seed))
    view = bench.engine.wait(view.job_id, timeout_s=60)
    assert view.state == "done", view.failure
    return bench.runs.get_run(view.run_key)


def results(bench: Bench, run: StoredRun) -> tuple[RunIntervention, ...]:
    return RunInterventionRepository(bench.store).list_interventions(run.run.run_key)


def activation(bench: Bench, run: StoredRun, feature: int) -> dict[int, float]:
    """Stored activations of a feature, by position."""
    all_of_it = bench.activations.get_run_activations(run.run.run_key)
    chosen = all_of_it.feature == feature
    return dict(
        zip(all_of_it.position[chosen].tolist(), all_of_it.value[chosen].tolist(), strict=True)
    )


def strongest(bench: Bench, run: StoredRun) -> int:
    """The feature that fires on most of its tokens."""
    return int(np.bincount(bench.activations.get_run_activations(run.run.run_key).feature).argmax())


def store_vector(bench: Bench, layer: int = 2, **changes: object) -> str:
    source = bench.engine._context.catalog.resolve(None).spec
    draft = VectorDraft("v", source.model.repo_id, source.model.revision, layer, "import", "me")
    values = np.random.default_rng(1).normal(size=D_MODEL).astype(np.float32)
    kept = VectorRepository(bench.store).insert_vector(replace(draft, **changes), values)  # type: ignore[arg-type]
    return kept.vector_id


def test_a_steered_run_is_stored_once_and_found_without_a_model(
    bench: Bench, make_bench: Callable[..., Bench], checkpoints: Path
) -> None:
    plain = ask(bench)
    item = Intervention("add", 0.5, feature=3, unit="norm", positions="answering")
    steered = ask(bench, item)
    assert steered.run.run_key != plain.run.run_key
    [resolved] = json.loads(steered.run.steering)
    assert (resolved["strength"], resolved["unit"]) == (0.5, "norm")
    [result] = results(bench, steered)
    assert result.raw_strength == resolved["raw_strength"]
    bench.engine.close()
    again = make_bench(checkpoints / "llama", checkpoints / "sae-standard")
    for spec in (SteeringSpec((item,)), parse_interventions(json.loads(steered.run.steering))):
        view = again.engine.submit(replace(request(), steering=spec))
        assert (view.state, view.memoized, view.run_key) == ("done", True, steered.run.run_key)
    assert again.engine.status().source is None


def test_strength_in_the_unit_norm_is_as_long_as_it_says(bench: Bench) -> None:
    steered = ask(bench, Intervention("add", 0.5, feature=3, unit="norm"))
    [result] = results(bench, steered)
    norms = ResidualNormRepository(bench.store).find_norms(steered.run.source_id)
    assert norms is not None
    assert sorted(norms) == [-1, 0, 1, 2]
    resident = load_source(bench.engine._context.catalog.resolve(None), "cpu")
    assert resident.sae is not None
    assert resident.sae.W_dec is not None
    length = float(resident.sae.W_dec[3].norm()) * result.raw_strength
    assert length == pytest.approx(0.5 * norms[1].mean_norm, rel=1e-5)
    vector_id = store_vector(bench, layer=0)
    [result] = results(bench, ask(bench, Intervention("add", 2, vector_id=vector_id, unit="norm")))
    norm = VectorRepository(bench.store).get_vector(vector_id).norm
    assert result.layer == 0
    assert result.raw_strength * norm == pytest.approx(2 * norms[0].mean_norm)


def test_the_unit_max_is_that_of_the_unsteered_model(bench: Bench) -> None:
    plain = ask(bench)
    feature = strongest(bench, plain)
    most = max(activation(bench, plain, feature).values())
    item = Intervention("clamp", 2.0, feature=feature, unit="max")
    first = ask(bench, item)
    assert max(activation(bench, first, feature).values()) > most
    assert results(bench, first)[0].raw_strength == pytest.approx(2 * most)
    # what steering drove it to is not taken for what it reaches
    assert bench.engine.submit(request(item)).run_key == first.run.run_key
    other = Intervention("clamp", 1.5, feature=feature, unit="max")
    assert results(bench, ask(bench, other))[0].raw_strength == pytest.approx(1.5 * most)


def test_what_was_asked_for_is_shown_beside_what_was_achieved(bench: Bench) -> None:
    plain = ask(bench)
    feature = strongest(bench, plain)
    n_prompt = plain.run.n_prompt_tokens
    span = (2, n_prompt - 2)
    positions = f"{span[0]}:{span[1]}"
    steered = ask(bench, Intervention("scale", 2.0, feature=feature, positions=positions))
    [result] = results(bench, steered)
    before, after = (activation(bench, run, feature) for run in (plain, steered))
    steered_at = range(*span)
    mean = np.mean([before.get(position, 0.0) for position in steered_at])
    assert result.measure == "activation"
    assert result.n_positions == len(steered_at)
    assert result.achieved_before == pytest.approx(mean, rel=1e-4)
    assert result.requested == pytest.approx(2 * mean, rel=1e-4)
    achieved = np.mean([after.get(position, 0.0) for position in steered_at])
    assert result.achieved_after == pytest.approx(achieved, rel=1e-4)
    for position in (0, 1):
        assert before.get(position) == pytest.approx(after.get(position), abs=1e-4)
    vector_id = store_vector(bench)
    run = ask(
        bench,
        Intervention("add", 1.5, vector_id=vector_id),
        Intervention("erase", vector_id=vector_id, layer=1),
        Intervention("add", 1.0, feature=feature, condition=Condition(1e5, (feature,))),
    )
    added, erased, never = results(bench, run)
    norm = VectorRepository(bench.store).get_vector(vector_id).norm
    assert added.requested is not None
    assert added.achieved_before is not None
    assert added.requested == pytest.approx(added.achieved_before + 1.5 * norm, rel=1e-4)
    assert added.achieved_after == pytest.approx(added.requested, rel=1e-4)
    assert erased.achieved_after == pytest.approx(0.0, abs=1e-4)
    # its BOS was left alone
    assert added.n_positions == erased.n_positions == len(run.tokens) - 1
    assert (never.n_positions, never.achieved_before, never.achieved_after) == (0, None, None)


@pytest.mark.parametrize("positions", ["all", "generated", "answering", "12:40"])
def test_a_steered_chat_shares_only_what_is_steered_alike(
    bench: Bench, make_bench: Callable[..., Bench], checkpoints: Path, positions: str
) -> None:
    item = Intervention("add", 0.8, feature=3, unit="norm", positions=positions)
    first = ask(bench, item)
    chat = (
        Message("user", QUESTION),
        Message("assistant", first.run.response or "None."),
        Message("user", "And why?"),
    )
    second, sampled = ask(bench, item, messages=chat), ask(bench, item, seed=5)
    shared = results(bench, second), results(bench, sampled)
    delete_runs(bench.store, [run.run.run_key for run in (second, sampled, first)])
    bench.engine.close()
    alone = make_bench(checkpoints / "llama", checkpoints / "sae-standard")
    for run, found in ((ask(alone, item, messages=chat), 0), (ask(alone, item, seed=5), 1)):
        other = (second, sampled)[found]
        assert run.run.run_key == other.run.run_key
        for one, two in zip(run.tokens, other.tokens, strict=True):
            assert one.token_id == two.token_id
            if one.logprob is not None:
                assert one.logprob == pytest.approx(two.logprob, abs=1e-4)
        [mine], [theirs] = results(alone, run), shared[found]
        assert mine.n_positions == theirs.n_positions
        assert mine.achieved_after == pytest.approx(theirs.achieved_after, abs=1e-4)
        delete_runs(alone.store, [run.run.run_key])


def test_what_is_captured_is_what_the_steered_model_computes(
    bench: Bench,
) -> None:
    plain = ask(bench)
    n_prompt = plain.run.n_prompt_tokens
    steered = ask(bench, Intervention("add", 3.0, feature=3, positions="last_prompt"))
    before, after = activation(bench, plain, 3), activation(bench, steered, 3)
    assert after[n_prompt - 1] > before.get(n_prompt - 1, 0.0) + 1
    for position in range(n_prompt - 1):
        assert before.get(position) == pytest.approx(after.get(position), abs=1e-4)


REFUSED: dict[str, tuple[Intervention, type[Exception], str]] = {
    "feature": (Intervention("add", 1.0, feature=96), RequestError, "no feature 96"),
    "layer": (Intervention("add", 1.0, feature=3, layer=3), RequestError, "no layer 3"),
    "clamp elsewhere": (Intervention("clamp", 1.0, feature=3, layer=2), RequestError, "at layer 1"),
    "source": (Intervention("add", 1.0, feature=3, source_id="demo"), RequestError, "'demo'"),
    "vector": (Intervention("add", 1.0, vector_id="0" * 20), VectorNotFoundError, "No vector"),
    "never fired": (Intervention("add", 1.0, feature=3, unit="max"), RequestError, "not fired"),
    "condition": (
        Intervention("add", 1.0, feature=3, layer=0, condition=Condition(0.0, (3,))),
        RequestError,
        "after layer 1 cannot",
    ),
    "condition's feature": (
        Intervention("add", 1.0, feature=3, condition=Condition(0.0, (96,))),
        RequestError,
        "no feature 96",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_steered_is_refused_with_what_would_help(bench: Bench, name: str) -> None:
    item, error, message = REFUSED[name]
    with pytest.raises(error, match=message) as caught:
        bench.engine.submit(request(item))
    assert getattr(caught.value, "hint", "")


def test_vectors_of_other_models_are_refused(bench: Bench) -> None:
    changes: tuple[tuple[dict[str, Any], str], ...] = (
        ({"model_id": "org/other"}, "is of the model"),
        ({"model_revision": "c" * 40}, "another revision"),
    )
    for change, message in changes:
        item = Intervention("add", 1.0, vector_id=store_vector(bench, **change))
        with pytest.raises(SourceMismatchError, match=message):
            bench.engine.submit(request(item))
    source = bench.engine._context.catalog.resolve(None).spec
    draft = VectorDraft("v", source.model.repo_id, source.model.revision, 1, "import", "me")
    wide = VectorRepository(bench.store).insert_vector(draft, np.ones(D_MODEL + 1, np.float32))
    with pytest.raises(SourceMismatchError, match="33 wide"):
        bench.engine.submit(request(Intervention("add", 1.0, vector_id=wide.vector_id)))


def test_a_strength_that_blows_the_residual_up_is_refused(bench: Bench) -> None:
    huge = Intervention("add", 1e4, feature=3)
    # the first time, the lengths of residuals are measured before that is known
    view = bench.engine.wait(bench.engine.submit(request(huge)).job_id, timeout_s=60)
    assert view.failure is not None
    assert view.failure.is_request_fault
    assert "times the mean length of the residual" in view.failure.message
    for item in (
        huge,
        Intervention("add", 10.1, feature=3, unit="norm"),
        Intervention("clamp", 1e4, feature=3),
        Intervention("add", -1e4, vector_id=store_vector(bench)),
        replace(huge, strength=0.1, unit="norm", raw_strength=1e4),
    ):
        with pytest.raises(RequestError, match="at most 10 times"):
            bench.engine.submit(request(item))
    allowed = bench.engine.submit(request(Intervention("add", 9.9, feature=3, unit="norm")))
    assert bench.engine.wait(allowed.job_id, timeout_s=60).state == "done"


def test_a_source_without_an_sae_is_steered_by_vectors_alone(
    make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    save_llama(tmp_path / "model")
    bench = make_bench(tmp_path / "model")
    with pytest.raises(RequestError, match="no SAE"):
        bench.engine.submit(request(Intervention("add", 1.0, feature=3)))
    vector_id = store_vector(bench)
    gate = Condition(-1e5, vector_id=vector_id, at="last_prompt", layer=0)
    run = ask(
        bench,
        Intervention("add", 2.0, vector_id=vector_id, unit="norm", positions="answering"),
        Intervention("erase", vector_id=vector_id, positions="answering", condition=gate),
    )
    assert [item.n_positions for item in results(bench, run)] == [9, 9]


def test_an_sae_without_a_decoder_says_so(
    make_bench: Callable[..., Bench], checkpoints: Path, tmp_path: Path
) -> None:
    weights = linear_names(random_weights())
    kept = {name: value for name, value in weights.items() if not name.startswith("decoder")}
    config = {**BARE_CONFIG, "hook_name": "blocks.1.hook_resid_post", "activation": "relu"}
    bench = make_bench(checkpoints / "llama", write_sae(tmp_path / "sae", kept, config))
    with pytest.raises(UnsupportedError, match="without its decoder"):
        bench.engine.submit(request(Intervention("ablate", feature=3)))


@pytest.mark.parametrize("normalisation", ["layer_norm", "constant_norm_rescale"])
def test_lengths_are_right_where_the_saes_input_is_normalised(
    make_bench: Callable[..., Bench], checkpoints: Path, tmp_path: Path, normalisation: str
) -> None:
    save_sae(
        tmp_path / "sae", normalize_activations=normalisation, hook_name="blocks.1.hook_resid_pre"
    )
    bench = make_bench(checkpoints / "llama", tmp_path / "sae")
    run = ask(bench, Intervention("add", 0.5, feature=3, unit="norm"))
    [result] = results(bench, run)
    norms = ResidualNormRepository(bench.store).find_norms(run.run.source_id)
    assert norms is not None
    assert result.layer == 0
    resident = load_source(bench.engine._context.catalog.resolve(None), "cpu")
    _, texts = neutral_texts(is_toy=False)
    prompts = render_prompts(resident, [[Message("user", text)] for text in texts])
    spec = parse_interventions(json.loads(run.run.steering))
    ready = make_ready(resident.sae, resident.source.hook, spec, {})
    steered = read_batch(resident, prompts, steering=ready, keep_residual=True)
    plain = read_batch(resident, prompts, keep_residual=True)
    lengths = [
        (one.residual - two.residual)[1:].norm(dim=-1)
        for one, two in zip(steered, plain, strict=True)
        if one.residual is not None and two.residual is not None
    ]
    assert float(torch.cat(lengths).mean()) == pytest.approx(0.5 * norms[0].mean_norm, rel=1e-3)
