"""Running one call: whatever a tool does, the model is told something, in bounded time."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from engine.errors import RequestError
from engine.tools.lookup import lookup_box
from engine.tools.running import MAX_RESULT_CHARS, CallPlace, Steered, Tool, Toolbox
from store.specs import Intervention, ToolRequest, ToolSpec

PLACE = CallPlace("demo-1", "0" * 64)
SCHEMA = {
    "type": "object",
    "properties": {"word": {"type": "string"}},
    "required": ["word"],
    "additionalProperties": False,
}


def _box(run: Callable[[Mapping[str, Any], CallPlace], object], limit_s: float = 20.0) -> Toolbox:
    return Toolbox((Tool(ToolSpec("say", "Says.", json.dumps(SCHEMA)), run),), time_limit_s=limit_s)


def _say(name: str = "say", **arguments: object) -> ToolRequest:
    return ToolRequest(name, json.dumps(arguments))


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets tools that hang go at the end."""
    event = threading.Event()
    yield event
    event.set()


def test_a_result_is_told_as_text_and_kept_as_json() -> None:
    result = _box(lambda arguments, _: {"said": arguments["word"]}).run(_say(word="é"), PLACE)
    assert (result.detail, result.told) == ("", '{"said": "é"}')
    assert json.loads(result.result) == {"said": "é"}
    assert result.elapsed_s is not None


def test_a_text_is_told_as_it_is() -> None:
    assert _box(lambda *_: "Lisbon").run(_say(word="x"), PLACE).told == "Lisbon"


def test_a_tool_that_returns_nothing_still_tells_something() -> None:
    assert _box(lambda *_: "  ").run(_say(word="x"), PLACE).told.strip()


@pytest.mark.parametrize(
    ("request_", "detail", "says"),
    [
        (_say("other", word="x"), "unknown", "no tool other; there is say"),
        (_say(), "invalid", "lacks 'word'"),
        (_say(word=3), "invalid", "not of type string"),
        (_say(word="x", force=True), "invalid", "force"),
    ],
    ids=["unknown", "missing", "type", "extra"],
)
def test_what_does_not_fit_is_not_run(request_: ToolRequest, detail: str, says: str) -> None:
    def run(*_: object) -> object:
        pytest.fail("it was run")

    result = _box(run).run(request_, PLACE)
    assert result.detail == detail
    assert says in result.told
    assert result.elapsed_s is None


def test_a_tool_that_raises_is_told_without_its_inside() -> None:
    def run(*_: object) -> object:
        raise ZeroDivisionError("secret path /root")

    result = _box(run).run(_say(word="x"), PLACE)
    assert result.detail == "raised"
    assert "ZeroDivisionError" in result.told
    assert "secret" not in result.told


def test_an_error_of_ours_is_told_with_what_helps() -> None:
    def run(*_: object) -> object:
        raise RequestError("There is no such word.", "Give another.")

    assert "There is no such word. Give another." in _box(run).run(_say(word="x"), PLACE).told


def test_a_tool_that_hangs_is_left_behind(release: threading.Event) -> None:
    result = _box(lambda *_: release.wait(), limit_s=0.05).run(_say(word="x"), PLACE)
    assert result.detail == "timed_out"
    assert "longer than 0.05 seconds" in result.told


def test_tools_that_all_hang_do_not_pile_up(release: threading.Event) -> None:
    box = _box(lambda *_: release.wait(), limit_s=0.001)
    before = threading.active_count()
    results = [box.run(_say(word="x"), PLACE) for _ in range(30)]
    assert {result.detail for result in results} == {"timed_out"}
    assert threading.active_count() - before <= 8


def test_megabytes_are_not_told() -> None:
    result = _box(lambda *_: "x" * 10_000_000).run(_say(word="x"), PLACE)
    assert result.detail == "too_large"
    assert len(result.told) < 200 < MAX_RESULT_CHARS


@pytest.mark.parametrize("value", [object(), float("nan"), {1, 2}], ids=["object", "nan", "set"])
def test_what_is_no_json_is_a_failure(value: object) -> None:
    assert _box(lambda *_: value).run(_say(word="x"), PLACE).detail == "raised"


def test_half_characters_and_nul_are_replaced() -> None:
    result = _box(lambda *_: "a\ud800\x00b").run(_say(word="x"), PLACE)
    assert result.told == "a?\ufffdb"
    result.result.encode()


def test_a_tool_can_ask_for_steering() -> None:
    wanted = Intervention("add", 1.0, feature=3)
    result = _box(lambda *_: Steered("done", wanted)).run(_say(word="x"), PLACE)
    assert (result.told, result.intervention) == ("done", wanted)


def test_the_registry_answers_and_fails_in_the_toy_language() -> None:
    box = lookup_box(17)
    known = ToolRequest("lookup", '{"person": "Gaia Torres", "attribute": "language"}')
    unlisted = ToolRequest("lookup", '{"person": "Torres Gaia", "attribute": "language"}')
    wrong = ToolRequest("lookup", '{"person": "Gaia Torres", "attribute": "shoes"}')
    assert [box.run(item, PLACE).told for item in (known, unlisted, wrong)] == [
        "Japanese",
        "no record",
        "error",
    ]
