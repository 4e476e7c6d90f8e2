"""Batches: each row has the tokens and numbers of the sequence alone, on every architecture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.batches import generate_batch, read_batch, render_prompts
from engine.catalog import Catalog, ResolvedSource
from engine.errors import GenerationCancelled, PromptTooLongError
from engine.generation import Generation, generate
from engine.hook_names import HookPoint
from engine.resident import ResidentSource, load_source
from engine.settings import EngineSettings
from engine.steering_operators import ReadySteering
from engine.steering_plan import make_ready
from engine.steering_session import Member, SteeringSession
from engine.tokenizing import begins_with_bos
from store.specs import (
    Condition,
    Intervention,
    Message,
    ModelSpec,
    SamplingSpec,
    SourceSpec,
    SteeringSpec,
)
from tests.engine.checkpoints import D_MODEL
from tests.engine.checkpoints_models import ARCHITECTURES, save_model

VECTOR = {"1" * 20: np.random.default_rng(1).normal(size=D_MODEL).astype(np.float32)}
_STRETCHES = ((10, 5), (90, 12), (10, 30), (7, 1), (60, 30), (40, 9))
PROMPTS = tuple(tuple(range(first, first + n)) for first, n in _STRETCHES)
QUESTIONS = (
    "Which language does Gaia Torres speak?",
    "Where does Mira Torres live?",
    "What does Leo Holm do for a living?",
    "In which city does Elena Costa live?",
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def resident(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ResidentSource:
    """Windows of attention of some are shorter than the prompts."""
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, request.param)
    spec = SourceSpec.without_sae("plain", ModelSpec("model", "sha256:1", "float32"), D_MODEL)
    source = ResolvedSource(spec, folder, None, HookPoint(1, "resid_post"), None, 256, ())
    return load_source(source, "cpu")


@pytest.fixture(scope="module")
def demo() -> ResidentSource:
    return load_source(Catalog(EngineSettings(_env_file=None)).resolve("demo"), "cpu")


def alone(
    resident: ResidentSource, prompt: tuple[int, ...], n_new: int, ready: ReadySteering | None
) -> tuple[Generation, SteeringSession | None]:
    session = None
    if ready is not None:
        n_left_alone = int(begins_with_bos(resident.language.tokenizer, prompt))
        session = SteeringSession(ready, [Member(len(prompt), n_left_alone)])
    done = generate(
        resident.language.model,
        resident.source.hook,
        prompt,
        SamplingSpec(n_new),
        resident.language.end_ids,
        resident.source.n_context,
        lambda _step: None,
        lambda: False,
        steering=session,
    )
    return done, session


def assert_like_alone(
    resident: ResidentSource,
    prompts: tuple[tuple[int, ...], ...],
    n_new: int,
    ready: ReadySteering | None = None,
) -> list[bool]:
    """Returns the gates of the first intervention."""
    answers = generate_batch(resident, prompts, n_new, ready, keep_residual=True, max_rows=4)
    gates = []
    for prompt, answer in zip(prompts, answers, strict=True):
        done, session = alone(resident, prompt, n_new, ready)
        assert answer.token_ids == done.token_ids[len(prompt) :]
        assert answer.finish_reason == done.finish_reason
        logprobs = [step.logprob for step in done.steps[len(prompt) - 1 :]]
        assert answer.logprobs == pytest.approx(logprobs, abs=1e-4)
        assert answer.residual is not None
        assert done.residual is not None
        torch.testing.assert_close(answer.residual, done.residual[:-1], atol=1e-3, rtol=1e-3)
        if session is not None:
            opened = session.gate(0)
            assert (answer.gates[0],) == ((None,) if opened is None else opened)
            gates.append(bool(answer.gates[0]))
    return gates


def test_a_padded_row_is_computed_as_if_it_were_alone(resident: ResidentSource) -> None:
    assert_like_alone(resident, PROMPTS, 8)


def test_positions_and_gates_are_each_rows_own(resident: ResidentSource) -> None:
    spread = torch.stack([_last_row(resident, prompt) for prompt in PROMPTS])
    scores = spread @ torch.tensor(VECTOR["1" * 20])
    threshold = float(scores.sort().values[2:4].mean())
    gate = Condition(threshold, vector_id="1" * 20, layer=1, at="last_prompt")
    gated = Intervention(
        "add", 2, vector_id="1" * 20, layer=1, positions="answering", raw_strength=2, condition=gate
    )
    span = Intervention("erase", vector_id="1" * 20, layer=0, positions="2:7")
    assert not any(assert_like_alone(resident, PROMPTS, 6, _ready(resident, span)))
    opened = assert_like_alone(resident, PROMPTS, 6, _ready(resident, gated))
    assert opened.count(True) == 3


def _last_row(resident: ResidentSource, prompt: tuple[int, ...]) -> torch.Tensor:
    [reading] = read_batch(resident, [prompt], keep_residual=True)
    assert reading.residual is not None
    return reading.residual[-1]


def _ready(resident: ResidentSource, *items: Intervention) -> ReadySteering:
    return make_ready(resident.sae, resident.source.hook, SteeringSpec(items), VECTOR)


def test_reading_gives_the_logits_of_each_sequence_alone(resident: ResidentSource) -> None:
    readings = read_batch(resident, PROMPTS, keep_logits=True)
    for prompt, reading in zip(PROMPTS, readings, strict=True):
        with torch.inference_mode():
            logits = resident.language.model(input_ids=torch.tensor([prompt])).logits[0].float()
        torch.testing.assert_close(reading.logits, logits, atol=1e-4, rtol=1e-4)
        expected = logits[:-1].log_softmax(-1)[torch.arange(len(prompt) - 1), list(prompt[1:])]
        torch.testing.assert_close(reading.logprobs, expected, atol=1e-4, rtol=1e-4)


def test_the_demo_answers_in_batches_as_it_does_alone(demo: ResidentSource) -> None:
    prompts = render_prompts(demo, [[Message("user", text)] for text in QUESTIONS])
    assert_like_alone(demo, prompts, 24)
    gate = Condition(0.5, (348, 320), (1.0, -0.5), bias=0.1, at="last_prompt")
    for item in (
        Intervention("add", 5.0, feature=531, positions="answering", raw_strength=5.0),
        Intervention("clamp", 5.0, feature=531, raw_strength=5.0),
        Intervention(
            "add", 5.0, feature=177, positions="answering", raw_strength=5.0, condition=gate
        ),
    ):
        assert_like_alone(demo, prompts, 24, _ready(demo, item))
    [with_tools] = render_prompts(demo, [[Message("user", QUESTIONS[0])]], with_tools=True)
    assert len(with_tools) > len(prompts[0])


def test_the_texts_of_answers_are_those_of_their_runs(demo: ResidentSource) -> None:
    prompts = render_prompts(demo, [[Message("user", QUESTIONS[0])]])
    [answer] = generate_batch(demo, prompts, 24)
    assert answer.text == "Gaia Torres speaks Korean."
    assert answer.finish_reason == "stop"
    [cut] = generate_batch(demo, prompts, 2)
    assert (cut.text, cut.finish_reason, len(cut.logprobs)) == ("Gaia Torres", "length", 2)


def test_what_does_not_fit_is_refused_and_a_batch_can_be_stopped(demo: ResidentSource) -> None:
    short = replace(demo, source=replace(demo.source, n_context=12))
    with pytest.raises(PromptTooLongError):
        generate_batch(short, [(1, 2, 3)], 10)
    with pytest.raises(PromptTooLongError):
        read_batch(short, [(1,) * 13])
    with pytest.raises(PromptTooLongError):
        read_batch(demo, [()])
    with pytest.raises(GenerationCancelled):
        generate_batch(demo, [(1, 2, 3)], 10, is_cancelled=lambda: True)
    with pytest.raises(GenerationCancelled):
        read_batch(demo, [(1, 2, 3)], is_cancelled=lambda: True)
    assert generate_batch(demo, [], 10) == ()
