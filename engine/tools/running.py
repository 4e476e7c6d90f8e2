"""Running one call of a tool: checked first, then within limits of time and size.

Invariant: whatever a tool does (raise, hang, return megabytes or what is no JSON), the caller gets
a result in bounded time, and the model is told something that is not empty.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import EngineError
from engine.hosted_schema import find_fault
from store.errors import StoreError
from store.exchange_records import CallDetail
from store.specs import Intervention, ToolRequest, ToolSpec

TIME_LIMIT_S = 20.0
MAX_RESULT_CHARS = 20_000
_MAX_STUCK = 8
_NOTHING = "(nothing)"


@dataclass(frozen=True, slots=True)
class CallPlace:
    """Where a call is made from.

    Attributes:
        source_id: of the source whose model calls.
        run_key: round whose response holds the call; it is stored.
    """

    source_id: str
    run_key: str


@dataclass(frozen=True, slots=True)
class Steered:
    """A result, and an intervention that the rounds after it are generated with."""

    value: object
    intervention: Intervention


ToolFunction = Callable[[Mapping[str, Any], CallPlace], object]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: what the model is told of it, and what it does.

    `run` gets arguments that fit the schema, and returns plain JSON values or a Steered; it may
    raise an EngineError or a StoreError, whose message the model is told.
    """

    spec: ToolSpec
    run: ToolFunction


@dataclass(frozen=True, slots=True)
class CallResult:
    """What came of a call.

    Attributes:
        told: what the model is told, never empty.
        result: the same as JSON.
        detail: why it failed; empty if it did not.
        elapsed_s: seconds that the tool took; None where it was not run.
        intervention: that the next rounds are generated with.
    """

    told: str
    result: str
    detail: CallDetail
    elapsed_s: float | None = None
    intervention: Intervention | None = None


class Toolbox:
    """The tools of one source."""

    def __init__(
        self,
        tools: tuple[Tool, ...],
        tell_failure: Callable[[str], str] = lambda reason: json.dumps({"error": reason}),
        time_limit_s: float = TIME_LIMIT_S,
    ) -> None:
        """Makes a toolbox.

        Args:
            tools: each under its name.
            tell_failure: what the model is told of a failure, in its own format.
            time_limit_s: longest run of a tool.
        """
        self._tools = {tool.spec.name: tool for tool in tools}
        self._tell_failure = tell_failure
        self._time_limit_s = time_limit_s
        self._stuck: list[threading.Thread] = []

    def run(self, request: ToolRequest, place: CallPlace) -> CallResult:
        """Runs a call, or says why not; never raises for what a tool does."""
        tool = self._tools.get(request.name)
        if tool is None:
            names = ", ".join(self._tools)
            return self._failed("unknown", f"There is no tool {request.name}; there is {names}.")
        arguments = json.loads(request.arguments)
        fault = find_fault(arguments, json.loads(tool.spec.parameters), "the arguments")
        if fault is not None:
            return self._failed("invalid", fault)
        self._stuck = [thread for thread in self._stuck if thread.is_alive()]
        if len(self._stuck) >= _MAX_STUCK:
            return self._failed("timed_out", "Too many tools are still running.")
        return self._run(tool, arguments, place)

    def _run(self, tool: Tool, arguments: Mapping[str, Any], place: CallPlace) -> CallResult:
        returned: list[object] = []
        raised: list[BaseException] = []

        def work() -> None:
            try:
                returned.append(tool.run(arguments, place))
            except BaseException as error:  # noqa: BLE001 - told to the model, whatever it is
                raised.append(error)

        started = time.perf_counter()
        thread = threading.Thread(target=work, name=f"tool-{tool.spec.name}", daemon=True)
        thread.start()
        thread.join(self._time_limit_s)
        elapsed_s = time.perf_counter() - started
        if thread.is_alive():
            self._stuck.append(thread)
            reason = f"{tool.spec.name} took longer than {self._time_limit_s:g} seconds."
            return self._failed("timed_out", reason, elapsed_s)
        if raised:
            return self._failed("raised", _reason(raised[0]), elapsed_s)
        return self._finished(returned[0], elapsed_s)

    def _finished(self, value: object, elapsed_s: float) -> CallResult:
        intervention = value.intervention if isinstance(value, Steered) else None
        plain = value.value if isinstance(value, Steered) else value
        try:
            result = json.dumps(plain, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            return self._failed("raised", "The tool returned what is no JSON.", elapsed_s)
        if len(result) > MAX_RESULT_CHARS:
            reason = f"The result has {len(result):,} characters, more than {MAX_RESULT_CHARS:,}."
            return self._failed("too_large", reason, elapsed_s)
        told = _storable(plain if isinstance(plain, str) else result)
        return CallResult(
            told if told.strip() else _NOTHING, _storable(result), "", elapsed_s, intervention
        )

    def _failed(
        self, detail: CallDetail, reason: str, elapsed_s: float | None = None
    ) -> CallResult:
        told = _storable(self._tell_failure(_storable(reason)[:1_000]))
        return CallResult(told, json.dumps({"error": reason}), detail, elapsed_s)


def _reason(error: BaseException) -> str:
    if isinstance(error, (EngineError, StoreError)):
        return f"{error.message} {error.hint}".strip()
    return f"The tool failed: {type(error).__name__}."


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
