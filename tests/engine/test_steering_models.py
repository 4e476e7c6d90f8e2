"""Steered generation of three architectures against the slow reference, which has no cache."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import engine.generation
from engine.devices import choose_placement
from engine.errors import GenerationCancelled, SourceMismatchError
from engine.generation import Generation, generate
from engine.hook_names import HookPoint
from engine.hooks import decoder_layers
from engine.loading import LanguageModel, load_language_model
from engine.sae import Sae
from engine.sae_config import read_sae_config
from engine.sae_loading import load_sae
from engine.steering_plan import make_ready
from engine.steering_session import Member, SteeringSession
from store.specs import Condition, Intervention, SamplingSpec, SteeringSpec
from tests.engine.checkpoints import D_MODEL, D_SAE, N_LAYERS
from tests.engine.checkpoints_models import save_model
from tests.engine.checkpoints_saes import SAELENS_CONFIG, random_weights, write_sae
from tests.engine.steering_reference import PlainSae, PlainSteering

HOOK = HookPoint(1, "resid_post")
PROMPT = (0, 20, 30, 40, 50, 60, 70)
N_NEW = 8
VECTORS = {
    f"{index:020x}": np.random.default_rng(index).normal(size=D_MODEL).astype(np.float32)
    for index in (1, 2)
}
V1, V2 = VECTORS
PLAIN_VECTORS = {name: torch.tensor(values) for name, values in VECTORS.items()}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other over tensors of this size take ten times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=["llama", "mistral3", "gpt2"])
def language(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> LanguageModel:
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, request.param)
    return load_language_model(folder, "float32", choose_placement("cpu"))


@pytest.fixture(scope="module")
def sae(tmp_path_factory: pytest.TempPathFactory) -> Sae:
    """ReLU, of which about a third of the features fire on a row."""
    folder = write_sae(
        tmp_path_factory.mktemp("sae"),
        random_weights(),
        {**SAELENS_CONFIG, "architecture": "standard"},
    )
    return load_sae(folder, read_sae_config(folder), torch.float32, torch.device("cpu"))


def run(
    language: LanguageModel,
    sae: Sae,
    *interventions: Intervention,
    n_left_alone: int = 1,
    prompt: tuple[int, ...] = PROMPT,
) -> Generation:
    ready = make_ready(sae, HOOK, SteeringSpec(interventions), VECTORS)
    session = SteeringSession(ready, [Member(len(prompt), n_left_alone)], is_noted=True)
    return generate(
        language.model,
        HOOK,
        prompt,
        SamplingSpec(max_new_tokens=N_NEW),
        frozenset(),
        256,
        lambda _step: None,
        lambda: False,
        steering=session,
    )


def assert_like_the_reference(
    language: LanguageModel, sae: Sae, *interventions: Intervention, n_left_alone: int = 1
) -> None:
    got = run(language, sae, *interventions, n_left_alone=n_left_alone)
    plain = PlainSteering(
        language.model,
        PlainSae(random_weights(), HOOK.layer),
        PLAIN_VECTORS,
        interventions,
        len(PROMPT),
        n_left_alone,
    )
    ids = list(got.token_ids)
    logits, layers = plain.hidden(ids)
    # a causal model says of each token what it would have said when that was the last one
    assert ids[len(PROMPT) :] == logits[len(PROMPT) - 1 : -1].argmax(-1).tolist()
    assert len(ids) == len(PROMPT) + N_NEW
    assert got.residual is not None
    torch.testing.assert_close(got.residual, layers[HOOK.layer], atol=1e-4, rtol=1e-4)
    logprobs = logits.log_softmax(-1)
    for step in got.steps:
        expected = float(logprobs[step.position - 1, step.token_id])
        assert step.logprob == pytest.approx(expected, abs=1e-3)


def raw(kind: str, strength: float = 0.0, **values: object) -> Intervention:
    fixed = kind in ("ablate", "erase")
    return Intervention(
        kind,  # type: ignore[arg-type]
        strength,
        raw_strength=None if fixed else strength,
        **values,  # type: ignore[arg-type]
    )


EACH = {
    "add a feature": raw("add", 2.5, feature=3),
    "clamp": raw("clamp", 4.0, feature=5),
    "ablate": raw("ablate", feature=7),
    "scale": raw("scale", 3.0, feature=9),
    "erase a feature's direction": raw("erase", feature=3),
    "add a vector": raw("add", -1.5, vector_id=V1, layer=0),
    "erase a vector": raw("erase", vector_id=V2, layer=2),
    "the embedding": raw("add", 1.0, vector_id=V1, layer=-1),
}


@pytest.mark.parametrize("name", EACH)
def test_each_operator_does_what_its_formula_says(
    language: LanguageModel, sae: Sae, name: str
) -> None:
    assert_like_the_reference(language, sae, EACH[name])
    # it is not for nothing that they agree
    steered, plain = run(language, sae, EACH[name]), run(language, sae)
    assert steered.residual is not None
    assert plain.residual is not None
    if EACH[name].layer != 2:
        n = len(PROMPT)
        assert not torch.allclose(steered.residual[1:n], plain.residual[1:n], atol=1e-3)


@pytest.mark.parametrize(
    "positions", ["all", "generated", "last_prompt", "answering", "2:4", "5:9", "3:", "400:500"]
)
def test_positions_are_those_of_the_whole_sequence(
    language: LanguageModel, sae: Sae, positions: str
) -> None:
    for n_left_alone in (0, 1):
        assert_like_the_reference(
            language,
            sae,
            raw("add", 3.0, feature=3, positions=positions),
            raw("clamp", 2.0, feature=5, positions=positions),
            n_left_alone=n_left_alone,
        )


def random_spec(seed: int) -> tuple[Intervention, ...]:
    """Two or three interventions of any kind, anywhere, under any condition."""
    draw = random.Random(seed)

    def condition(latest: int) -> Condition | None:
        at = draw.choice(["here", "last_prompt"])
        if latest >= HOOK.layer and draw.random() < 0.4:
            features = tuple(draw.sample(range(D_SAE), 4))
            weights = tuple(draw.uniform(-1, 1) for _ in features)
            return Condition(
                draw.uniform(-0.3, 0.3),
                features,
                weights,
                bias=0.1,
                at=at,  # type: ignore[arg-type]
            )
        if draw.random() < 0.5:
            measure = draw.choice(["dot", "cosine"])
            return Condition(
                draw.uniform(-0.05, 0.05),
                vector_id=draw.choice([V1, V2]),
                measure=measure,  # type: ignore[arg-type]
                side=draw.choice(["above", "below"]),
                at=at,  # type: ignore[arg-type]
                layer=draw.randrange(-1, latest + 1),
            )
        return None

    made = []
    for _ in range(draw.choice([2, 3])):
        kind = draw.choice(["add", "clamp", "ablate", "scale", "erase"])
        is_vector = kind in ("add", "erase") and draw.random() < 0.6
        layer = draw.randrange(-1, N_LAYERS) if is_vector else None
        gate = condition(HOOK.layer if layer is None else layer)
        named = ["last_prompt", "generated", "answering"]
        if gate is None or gate.at == "here":
            named += [
                "all",
                f"{draw.randrange(4)}:{draw.randrange(5, 12)}",
                f"{draw.randrange(9)}:",
            ]
        made.append(
            raw(
                kind,
                abs(draw.gauss(0, 3)),
                feature=None if is_vector else draw.randrange(D_SAE),
                vector_id=draw.choice([V1, V2]) if is_vector else None,
                layer=layer,
                positions=draw.choice(named),
                condition=gate,
            )
        )
    return tuple(made)


@pytest.mark.parametrize("seed", range(10))
def test_ten_random_specs_agree_with_the_slow_reference(
    language: LanguageModel, sae: Sae, seed: int
) -> None:
    assert_like_the_reference(language, sae, *random_spec(seed))


def test_the_reference_that_computes_all_again_for_every_token_writes_the_same(
    language: LanguageModel, sae: Sae
) -> None:
    items = random_spec(4)
    plain = PlainSteering(
        language.model, PlainSae(random_weights(), 1), PLAIN_VECTORS, items, len(PROMPT), 1
    )
    assert plain.generate(PROMPT, N_NEW) == list(run(language, sae, *items).token_ids)


def test_a_prompt_read_in_chunks_is_steered_as_one(
    language: LanguageModel, sae: Sae, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Condition(-100.0, (3, 4), at="last_prompt")
    items = (
        raw("add", 3.0, feature=3, positions="2:6"),
        raw("clamp", 2.0, feature=5),
        raw("add", 1.0, vector_id=V1, layer=2, positions="answering", condition=gate),
    )
    whole = run(language, sae, *items)
    monkeypatch.setattr(engine.generation, "_LONGEST_CHUNK", 2)
    chunked = run(language, sae, *items)
    assert chunked.token_ids == whole.token_ids
    torch.testing.assert_close(chunked.residual, whole.residual, atol=1e-4, rtol=0)


def n_hooks(language: LanguageModel) -> int:
    return sum(
        len(layer._forward_hooks) + len(layer._forward_pre_hooks)
        for layer in decoder_layers(language.model)
    )


def test_hooks_are_gone_whatever_happens(language: LanguageModel, sae: Sae) -> None:
    before = n_hooks(language)
    ready = make_ready(
        sae,
        HOOK,
        SteeringSpec((EACH["the embedding"], EACH["clamp"], EACH["erase a vector"])),
        VECTORS,
    )
    steps: list[object] = []
    with pytest.raises(GenerationCancelled):
        generate(
            language.model,
            HOOK,
            PROMPT,
            SamplingSpec(max_new_tokens=50),
            frozenset(),
            256,
            steps.append,
            lambda: len(steps) >= 3,
            steering=SteeringSession(ready, [Member(len(PROMPT))]),
        )
    assert n_hooks(language) == before
    with pytest.raises(SourceMismatchError, match="has 3"):
        run(
            language,
            sae,
            raw("add", 1.0, vector_id=V1, layer=0),
            raw("add", 1.0, vector_id=V1, layer=3),
        )
    assert n_hooks(language) == before
    narrow = {V1: np.ones(D_MODEL - 1, np.float32)}
    with pytest.raises(SourceMismatchError, match="31 wide"):
        make_ready(sae, HOOK, SteeringSpec((raw("add", 1.0, vector_id=V1, layer=0),)), narrow)
    # a fault in the midst of a forward pass
    with pytest.raises(IndexError):
        run(language, sae, raw("add", 1.0, vector_id=V1, layer=0), prompt=(0, 10**6))
    assert n_hooks(language) == before
