"""Answers read under the steering of each other: equal to what a run itself says of its tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.api import Engine, EngineSettings, RunRequest
from store.connection import Store
from store.errors import RunNotFoundError
from store.runs import RunRepository
from store.specs import Intervention, Message, SamplingSpec, SteeringSpec

WAIT_S = 120.0


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder: Path = tmp_path_factory.mktemp("across")
    store = Store.open(folder / "store.duckdb")
    engine = Engine(RunRepository(store), EngineSettings(device="cpu", _env_file=None))
    yield engine
    engine.close()
    store.close()


def ask(engine: Engine, strength: float | None, prompt: str = "What does Elena Costa play?") -> str:
    """The key of a run; None is plain."""
    pushed = () if strength is None else (_push(strength),)
    request = RunRequest(
        (Message("user", prompt),),
        source="demo",
        sampling=SamplingSpec(max_new_tokens=10),
        steering=SteeringSpec(pushed),
    )
    ended = engine.wait(engine.submit(request).job_id, WAIT_S)
    assert ended.state == "done", ended.failure
    return ended.run_key


def _push(strength: float) -> Intervention:
    return Intervention("add", strength, feature=505, unit="norm", positions="answering")


def logprobs(engine: Engine, key: str) -> list[float | None]:
    """Of a run's tokens as they were computed with it."""
    found = engine.steering.across._runs.get_run(key)
    return [token.logprob for token in found.tokens]


def read(engine: Engine, first: str, second: str) -> tuple[list[float | None], list[float | None]]:
    """Both readings."""
    across = engine.steering.across
    task = engine.tasks.wait(across.start(first, second, "ann").task_id, WAIT_S)
    assert task.state == "done", task.failure
    found = across.find(first, second)
    assert found is not None
    return list(found.first_under_second), list(found.second_under_first)


def test_runs_of_equal_steering_read_as_they_were_computed(engine: Engine) -> None:
    first, second = ask(engine, None), ask(engine, None, "Who plays the harp?")
    here, there = read(engine, first, second)
    assert here[0] is None
    assert here[1:] == pytest.approx(logprobs(engine, first)[1:], abs=1e-4)
    assert there[1:] == pytest.approx(logprobs(engine, second)[1:], abs=1e-4)


def test_a_plain_answer_is_read_as_a_steered_run_would_have_said_it(engine: Engine) -> None:
    plain, steered = ask(engine, None), ask(engine, 0.001)
    # so weak a push changes no token, so that the steered run itself says what is right
    here, there = read(engine, plain, steered)
    assert here[1:] == pytest.approx(logprobs(engine, steered)[1:], abs=1e-4)
    assert there[1:] == pytest.approx(logprobs(engine, plain)[1:], abs=1e-4)


def test_the_prompt_is_steered_only_where_the_steering_says(engine: Engine) -> None:
    plain, steered = ask(engine, None), ask(engine, 2.0)
    here, _ = read(engine, plain, steered)
    own = logprobs(engine, plain)
    n_prompt = engine.steering.across._runs.get_run(plain).run.n_prompt_tokens
    assert here[1:n_prompt] == pytest.approx(own[1:n_prompt], abs=1e-4)
    changes = [abs(a - b) for a, b in zip(here[n_prompt:], own[n_prompt:], strict=True) if a and b]
    assert max(changes) > 1.0


def test_what_cannot_be_read_across_is_refused(engine: Engine) -> None:
    with pytest.raises(RunNotFoundError):
        engine.steering.across.start("f" * 64, ask(engine, None), "ann")
    assert engine.steering.across.find("f" * 64, "e" * 64) is None
