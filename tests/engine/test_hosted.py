"""The client of a hosted model, against Anthropic's API on this machine."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from engine.errors import EngineError, GenerationCancelled
from engine.hosted import HostedKeyError, HostedModel, HostedRequestError, HostedUnavailableError
from engine.hosted_prices import estimate_cost, estimate_tokens
from engine.hosted_schema import find_fault
from engine.settings import EngineSettings
from tests.hosted.loopback import (
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    LoopbackMessages,
    cut,
    held,
    nonsense,
    rate_limited,
    refuse,
    reply_json,
    reply_text,
    serve_messages,
    status,
    too_long,
)

KEY = "sk-test-0123456789"
SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string"}, "sure": {"type": "number"}},
    "required": ["label", "sure"],
    "additionalProperties": False,
}
ANSWER = {"label": "surnames", "sure": 0.5}


@pytest.fixture
def hosted() -> Iterator[LoopbackMessages]:
    with serve_messages(reply_json(ANSWER)) as loopback:
        yield loopback


def _model(hosted: LoopbackMessages, name: str = "claude-haiku-5-5") -> HostedModel:
    settings = EngineSettings(
        anthropic_api_key=KEY,
        anthropic_base_url=hosted.url,
        anthropic_model=name,
        _env_file=None,
    )
    return HostedModel(settings)


def test_an_answer_that_fits_the_schema_comes_with_what_it_cost(hosted: LoopbackMessages) -> None:
    answer = _model(hosted).complete("Label features.", "Contexts", SCHEMA, max_tokens=77)
    assert (answer.outcome, answer.content) == ("ok", ANSWER)
    assert (answer.input_tokens, answer.output_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)
    [request] = hosted.requests
    assert request["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert request["system"] == "Label features."
    assert request["messages"] == [{"role": "user", "content": "Contexts"}]
    assert request["max_tokens"] == 77
    assert hosted.headers[0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("name", "temperature", "thinking"),
    [
        ("claude-haiku-5-5", None, {"type": "disabled"}),
        ("claude-opus-5-5", None, None),
        ("claude-haiku-4-5", 0, {"type": "disabled"}),
        ("some-model-of-tomorrow", None, None),
    ],
)
def test_a_model_gets_only_the_options_that_it_takes(
    hosted: LoopbackMessages, name: str, temperature: int | None, thinking: dict[str, str] | None
) -> None:
    _model(hosted, name).complete("s", "p", SCHEMA)
    assert hosted.requests[0].get("temperature") == temperature
    assert hosted.requests[0].get("thinking") == thinking


def test_thinking_that_comes_first_is_passed_over(hosted: LoopbackMessages) -> None:
    hosted.queue(reply_json(ANSWER, thinking='{"label": "wrong"}'))
    assert _model(hosted).complete("s", "p", SCHEMA).content == ANSWER


def test_a_refusal_and_nonsense_are_answers_of_their_own(hosted: LoopbackMessages) -> None:
    hosted.queue(
        refuse(),
        nonsense(),
        too_long(),
        reply_json({"label": "x"}),
        reply_json({"label": 3, "sure": 1}),
        reply_json({"label": "x", "sure": 1, "more": 1}),
        reply_json([1]),
        reply_text(""),
    )
    model = _model(hosted)
    answers = [model.complete("s", "p", SCHEMA) for _ in range(8)]
    assert [answer.outcome for answer in answers] == ["refusal", *["nonsense"] * 7]
    assert all(answer.reason and not answer.content for answer in answers)
    assert answers[0].input_tokens == INPUT_TOKENS


def test_a_service_that_is_busy_is_asked_again(hosted: LoopbackMessages) -> None:
    soon = {"retry-after": "0.01"}
    hosted.queue(
        rate_limited(retry_after_s=0.01),
        status(529, "overloaded_error", soon),
        status(500, headers=soon),
    )
    assert _model(hosted).complete("s", "p", SCHEMA).outcome == "ok"
    assert len(hosted.requests) == 4


def test_a_service_that_stays_busy_is_an_error_that_helps(hosted: LoopbackMessages) -> None:
    hosted.queue(*[rate_limited(retry_after_s=0.01)] * 5)
    with pytest.raises(HostedUnavailableError) as raised:
        _model(hosted).complete("s", "p", SCHEMA)
    assert "429" in raised.value.message
    assert raised.value.hint
    assert len(hosted.requests) == 5


def test_a_body_that_is_cut_is_asked_for_again(
    hosted: LoopbackMessages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.hosted._FIRST_WAIT_S", 0.01)
    hosted.queue(cut())
    assert _model(hosted).complete("s", "p", SCHEMA).outcome == "ok"
    assert len(hosted.requests) == 2


def test_a_task_that_is_cancelled_does_not_wait_for_the_service(hosted: LoopbackMessages) -> None:
    hosted.queue(rate_limited(retry_after_s=3600))
    with pytest.raises(GenerationCancelled):
        _model(hosted).complete("s", "p", SCHEMA, is_cancelled=lambda: bool(hosted.requests))


def test_a_slow_answer_is_waited_for(hosted: LoopbackMessages) -> None:
    release = threading.Event()
    hosted.queue(held(reply_json(ANSWER), release))
    threading.Timer(0.1, release.set).start()
    assert _model(hosted).complete("s", "p", SCHEMA).outcome == "ok"


@pytest.mark.parametrize("code", [401, 403])
def test_a_key_that_is_refused_is_told_without_the_key(hosted: LoopbackMessages, code: int) -> None:
    hosted.queue(status(code, "authentication_error"))
    with pytest.raises(HostedKeyError) as raised:
        _model(hosted).complete("s", "p", SCHEMA)
    assert "ANTHROPIC_API_KEY" in raised.value.hint
    assert KEY not in raised.value.message + raised.value.hint
    assert len(hosted.requests) == 1


def test_a_request_that_is_not_taken_names_the_model(hosted: LoopbackMessages) -> None:
    hosted.queue(status(404, "not_found_error"))
    with pytest.raises(HostedRequestError) as raised:
        _model(hosted, "claude-nobody").complete("s", "p", SCHEMA)
    assert "claude-nobody" in raised.value.hint


def test_without_a_key_it_says_what_it_needs() -> None:
    model = HostedModel(EngineSettings(_env_file=None))
    assert "ANTHROPIC_API_KEY" in (model.needs() or "")
    with pytest.raises(EngineError):
        model.complete("s", "p", SCHEMA)


def test_costs_come_from_the_dated_table() -> None:
    estimate = estimate_cost("claude-haiku-5-5", 2_000_000, 1_000_000)
    assert estimate.usd == pytest.approx(0.70)
    assert "2026" in estimate.note
    assert estimate_cost("some-model-of-tomorrow", 10, 10).usd is None
    assert estimate_tokens("a" * 2700) == pytest.approx(1001, abs=2)


def test_a_schema_is_checked_whole_or_refused() -> None:
    listed = {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}}
    assert find_fault(["a", "b"], listed) is None
    assert "[1]" in (find_fault(["a", "c"], listed) or "")
    assert find_fault(True, {"type": "number"}) is not None
    assert find_fault(None, {"type": ["string", "null"]}) is None
    with pytest.raises(ValueError, match="pattern"):
        find_fault("a", {"type": "string", "pattern": "a"})


def test_importing_the_client_s_module_imports_no_client() -> None:
    program = "import sys, engine.hosted; sys.exit('anthropic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
