"""The thin client of a hosted model: one prompt, one schema, one answer of that schema.

Invariant: an answer is either an object that fits the schema, a refusal, or nonsense, and each is a
value of its own: what could not be read is never taken for an answer. The key is sent to the one
address of the settings, and stands in no message. Importing this module imports no client.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from engine.errors import EngineError, GenerationCancelled
from engine.hosted_prices import find_terms
from engine.hosted_schema import find_fault
from engine.settings import EngineSettings

if TYPE_CHECKING:
    import anthropic

HostedOutcome = Literal["ok", "refusal", "nonsense"]

_ADDRESS = "https://api.anthropic.com"
_TIMEOUT_S = 120.0
_ATTEMPTS = 5
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0
_SLICE_S = 0.1
_NEEDED = (
    "Labels and judgements by a hosted model need a key of Anthropic's API.",
    "Set ANTHROPIC_API_KEY in the environment or in .env, and start the server again.",
)


class HostedKeyError(EngineError):
    """There is no key for the hosted model, or it is refused."""


class HostedUnavailableError(EngineError):
    """The hosted model cannot be reached, or has too much to do, even after several attempts."""


class HostedRequestError(EngineError):
    """The hosted service does not take the request: an unknown model, say."""


@dataclass(frozen=True, slots=True)
class HostedAnswer:
    """What a hosted model made of a prompt.

    Attributes:
        content: fits the schema; empty unless the outcome is `ok`.
        reason: why it is no answer, one sentence; empty where it is one.
        input_tokens, output_tokens: as billed, thinking included.
        model: that answered, as the service names it.
    """

    outcome: HostedOutcome
    content: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    model: str = ""


class HostedModel:
    """A hosted model, asked through Anthropic's Messages API; may be used from any thread.

    What it answers is not cached here: callers keep it under what they asked.
    """

    def __init__(self, settings: EngineSettings, model: str | None = None) -> None:
        key = settings.anthropic_api_key
        self._key = key.get_secret_value().strip() if key is not None else ""
        self._address = settings.anthropic_base_url or _ADDRESS
        self._model = model or settings.anthropic_model
        self._client: anthropic.Anthropic | None = None

    @property
    def model(self) -> str:
        """Name of the model."""
        return self._model

    def needs(self) -> str | None:
        """What is missing to ask it, as a sentence or two; None if nothing is."""
        return None if self._key else " ".join(_NEEDED)

    def check_key(self) -> None:
        """Refuses to begin without a key.

        Raises:
            HostedKeyError: if there is none.
        """
        if not self._key:
            raise HostedKeyError(*_NEEDED)

    def complete(
        self,
        system: str,
        prompt: str,
        schema: Mapping[str, object],
        max_tokens: int = 1024,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> HostedAnswer:
        """Asks, and waits: a second or so, or longer while the service is busy.

        The temperature is 0 where the model takes one; models from 4.7 on refuse any, and then the
        same question can have two answers.

        Args:
            system: what the model is to do.
            prompt: what it is to do it with.
            schema: JSON schema of an object; every object in it names its properties.
            max_tokens: longest answer.
            is_cancelled: asked while waiting for another attempt.

        Raises:
            HostedKeyError: if there is no key, or it is refused.
            HostedUnavailableError: if it could not be asked within several attempts.
            HostedRequestError: if the service does not take the request as it is.
            GenerationCancelled: if `is_cancelled` said so.
        """
        self.check_key()
        wait_s = _FIRST_WAIT_S
        for attempt in range(_ATTEMPTS):
            if is_cancelled():
                raise GenerationCancelled
            try:
                return self._ask(system, prompt, schema, max_tokens)
            except _Busy as busy:
                if attempt == _ATTEMPTS - 1:
                    raise HostedUnavailableError(busy.message, busy.hint) from busy
                # what the service asks for, but no request may hold a task for hours
                _pause(min(busy.retry_after_s or wait_s, _LONGEST_WAIT_S), is_cancelled)
                wait_s *= 2
        raise AssertionError("unreachable")

    def _ask(
        self, system: str, prompt: str, schema: Mapping[str, object], max_tokens: int
    ) -> HostedAnswer:
        import anthropic

        if self._client is None:
            # it is retried here, where a task that is cancelled need not wait
            self._client = anthropic.Anthropic(
                api_key=self._key, base_url=self._address, max_retries=0, timeout=_TIMEOUT_S
            )
        terms = find_terms(self._model)
        try:
            message = self._client.messages.create(
                model=self._model,
                max_tokens=max_tokens,
                system=system,
                messages=[{"role": "user", "content": prompt}],
                output_config={"format": {"type": "json_schema", "schema": dict(schema)}},
                thinking={"type": "disabled"} if terms.can_skip_thinking else anthropic.omit,
                extra_body={"temperature": 0} if terms.takes_temperature else None,
            )
        except (anthropic.APIError, ValueError) as error:
            raise _translate(error, self._model) from error
        return _read(message, schema)


class _Busy(Exception):  # noqa: N818 - a signal to try again, not what callers see
    def __init__(self, message: str, hint: str, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.retry_after_s = retry_after_s


def _translate(error: Exception, model: str) -> Exception:
    """An error of the client in our own words; what may pass by itself is a `_Busy`."""
    import anthropic

    if isinstance(error, (anthropic.AuthenticationError, anthropic.PermissionDeniedError)):
        return HostedKeyError(
            f"Anthropic refuses the key (status {error.status_code}).",
            "Check ANTHROPIC_API_KEY: it must be whole, current, and allowed to use this model.",
        )
    if isinstance(error, anthropic.RateLimitError) or (
        isinstance(error, anthropic.APIStatusError)
        and (error.status_code >= 500 or error.status_code in (408, 409))
    ):
        return _Busy(
            f"Anthropic's API is busy or limits the rate (status {error.status_code}).",
            "Wait a little and start again: what was finished is kept.",
            _retry_after_s(error.response.headers.get("retry-after")),
        )
    if isinstance(error, anthropic.APIConnectionError):
        return _Busy(
            "Anthropic's API cannot be reached.",
            "Check the connection, and ANTHROPIC_BASE_URL if it is set.",
            None,
        )
    if isinstance(error, anthropic.APIStatusError):
        return HostedRequestError(
            f"Anthropic's API does not take the request (status {error.status_code}): "
            f"{_first_line(error.message)}",
            f"Check ANTHROPIC_MODEL, now {model!r}, and the credit of the account.",
        )
    return _Busy(
        f"Anthropic's API sent what cannot be read: {_first_line(str(error))}",
        "Check ANTHROPIC_BASE_URL: another service may be behind it.",
        None,
    )


def _read(message: anthropic.types.Message, schema: Mapping[str, object]) -> HostedAnswer:
    """The answer in a message; blocks are told by type, since thinking may come first."""
    used = message.usage

    def answer(outcome: HostedOutcome, content: Mapping[str, Any], reason: str) -> HostedAnswer:
        return HostedAnswer(
            outcome, content, reason, used.input_tokens, used.output_tokens, message.model
        )

    if message.stop_reason == "refusal":
        return answer("refusal", {}, "The hosted model refused to answer.")
    text = "".join(block.text for block in message.content if block.type == "text")
    if message.stop_reason == "max_tokens":
        return answer("nonsense", {}, "The answer was cut off at its longest length.")
    try:
        content = json.loads(text)
    except ValueError:
        return answer("nonsense", {}, f"The answer is no JSON: {_first_line(text)!r}")
    fault = find_fault(content, schema)
    if fault is not None:
        return answer("nonsense", {}, f"The answer does not fit its schema: {fault}")
    return answer("ok", content, "")


def _retry_after_s(header: str | None) -> float | None:
    try:
        wait_s = float(header or "")
    except ValueError:
        return None
    return wait_s if wait_s >= 0 else None


def _pause(wait_s: float, is_cancelled: Callable[[], bool]) -> None:
    deadline = time.monotonic() + wait_s
    while (left_s := deadline - time.monotonic()) > 0:
        if is_cancelled():
            raise GenerationCancelled
        time.sleep(min(left_s, _SLICE_S))


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0][:200]
