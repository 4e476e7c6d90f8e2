"""Introspection tools over a real store: they answer from data, and say what they cannot know."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.api import RunRequest
from engine.chat_templates import takes_tools
from engine.demo import MODEL_DIR, SAE_DIR
from engine.demo_source import demo_tools
from engine.tools.introspection import introspection_box
from engine.tools.offers import introspection_tools
from engine.tools.running import CallPlace, CallResult, Steered, Tool, Toolbox
from store.activations import ActivationRepository
from store.features import FeatureRepository
from store.labels import LabelRepository
from store.specs import Intervention, Message, ToolRequest
from store.tool_calls import ToolCallRepository
from tests.engine.conftest import Bench

QUESTIONS = ("Which language does Mira Torres speak?", "Where does Mira Torres live?")


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """An engine on the demo, two questions asked."""
    bench = make_bench()
    for question in QUESTIONS:
        _ask(bench, question)
    return bench


def _ask(bench: Bench, question: str, tools: bool = False) -> str:
    view = bench.engine.submit(RunRequest((Message("user", question),), tools=tools))
    view = bench.engine.wait(view.job_id, timeout_s=60)
    assert view.failure is None
    return view.run_key


def _place(bench: Bench) -> CallPlace:
    stored = bench.runs.get_run(_ask(bench, QUESTIONS[0]))
    return CallPlace(stored.run.source_id, stored.run.run_key)


def _strongest(bench: Bench) -> tuple[int, float]:
    """A feature of the first run, and its largest value there, BOS left out."""
    found = ActivationRepository(bench.store).get_run_activations(_place(bench).run_key)
    inside = found.position > 0
    best = int(found.value[inside].argmax())
    return int(found.feature[inside][best]), float(found.value[inside][best])


def _call(bench: Bench, name: str, **arguments: object) -> CallResult:
    box = introspection_box(bench.store)
    return box.run(ToolRequest(name, json.dumps(arguments)), _place(bench))


def _told(result: CallResult) -> Any:
    assert result.detail == "", result.told
    return json.loads(result.told)


def test_a_feature_is_found_by_its_label(bench: Bench) -> None:
    feature, _ = _strongest(bench)
    LabelRepository(bench.store).insert_label(
        _place(bench).source_id, feature, "Languages of people", author="ada"
    )
    found = _told(_call(bench, "search_features", query="languages"))["features"]
    assert found[0] == {
        "feature": feature,
        "label": "Languages of people",
        "found_by": "label",
    }


def test_a_feature_is_found_by_the_tokens_it_fires_on(bench: Bench) -> None:
    found = _told(_call(bench, "search_features", query="Torres", limit=3))["features"]
    assert 0 < len(found) <= 3
    assert {item["found_by"] for item in found} == {"tokens"}


@pytest.mark.parametrize("query", ['"', "a AND (", "density<0", "\\", "x" * 5_000])
def test_no_query_is_read_as_a_filter(bench: Bench, query: str) -> None:
    assert _call(bench, "search_features", query=query).detail in ("", "raised")
    assert "filter" not in _call(bench, "search_features", query=query).told


def test_inspecting_tells_what_the_store_holds(bench: Bench) -> None:
    feature, _ = _strongest(bench)
    stats = FeatureRepository(bench.store).get_feature_stats(_place(bench).source_id, feature)
    told = _told(_call(bench, "inspect_feature", feature=feature))
    assert told["tokens_active"] == stats.n_tokens_active
    assert told["largest_activation"] == pytest.approx(stats.max_value, rel=1e-3)
    assert 0 < len(told["strongest_at"]) <= 3
    # a result must not pose as another turn of the chat
    assert not any(mark in json.dumps(told) for mark in ("[INST]", "</s>", "[/INST]"))


def test_activations_are_those_of_the_round_that_asks(bench: Bench) -> None:
    feature, value = _strongest(bench)
    told = _told(_call(bench, "check_activations", features=[feature]))
    assert told["active"][0]["activation"] == pytest.approx(value, rel=1e-3)
    strongest = _told(_call(bench, "check_activations"))
    assert 0 < len(strongest["active"]) <= 10 < strongest["n_active"]


def test_a_silent_feature_is_told_apart_from_one_that_is_not_there(bench: Bench) -> None:
    found = ActivationRepository(bench.store).get_run_activations(_place(bench).run_key)
    silent = min(set(range(1024)) - set(found.feature.tolist()))
    told = _told(_call(bench, "check_activations", features=[silent]))
    assert told["active"] == [{"feature": silent, "activation": 0}]
    assert _call(bench, "check_activations", features=[10**9]).detail == "raised"


def test_comparing_tells_how_often_two_fire_together(bench: Bench) -> None:
    feature, _ = _strongest(bench)
    told = _told(_call(bench, "compare_features", first=feature, second=feature + 1))
    assert [item["feature"] for item in told["features"]] == [feature, feature + 1]
    assert 0 <= told["share_of_first_with_second"] <= 1


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("inspect_feature", {"feature": 99_999}, "no feature 99999"),
        ("inspect_feature", {"feature": -1}, "no feature -1"),
        ("steer_feature", {"feature": 1, "strength": 100}, "not between"),
        ("compare_features", {"first": 1}, "lacks 'second'"),
        ("check_activations", {"features": list(range(50))}, "At most 20"),
        ("search_features", {"query": "  "}, "empty"),
    ],
)
def test_what_cannot_be_answered_is_said(
    bench: Bench, name: str, arguments: dict[str, object], says: str
) -> None:
    result = _call(bench, name, **arguments)
    assert result.detail in ("raised", "invalid")
    assert says in result.told


def test_steering_asks_for_an_intervention_in_the_unit_of_the_maximum(bench: Bench) -> None:
    feature, _ = _strongest(bench)
    result = _call(bench, "steer_feature", feature=feature, strength=-0.5)
    assert _told(result)["strength"] == -0.5
    assert result.intervention == Intervention(
        "add", -0.5, feature=feature, unit="max", positions="generated"
    )


def test_a_feature_that_never_fired_cannot_be_steered(bench: Bench) -> None:
    found = ActivationRepository(bench.store).get_run_activations(_place(bench).run_key)
    other = bench.runs.get_run(_ask(bench, QUESTIONS[1])).run.run_key
    seen = {*found.feature.tolist()}
    seen |= set(ActivationRepository(bench.store).get_run_activations(other).feature.tolist())
    silent = min(set(range(1024)) - seen)
    result = _call(bench, "steer_feature", feature=silent, strength=1)
    assert (result.detail, result.intervention) == ("raised", None)
    assert "never fired" in result.told


def test_what_a_model_steers_holds_in_the_rounds_after_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    feature, _ = _strongest(bench)
    wanted = Intervention("add", 0.5, feature=feature, unit="max", positions="generated")
    [spec] = demo_tools()
    box = Toolbox((Tool(spec, lambda *_: Steered("Korean", wanted)),))
    monkeypatch.setattr("engine.toolboxes.Toolboxes.of", lambda *_: box)
    stored = bench.runs.get_run(_ask(bench, "Where does Gaia Torres live?", tools=True))
    [steered] = json.loads(stored.run.steering)
    assert (steered["feature"], steered["strength"], steered["unit"]) == (feature, 0.5, "max")
    [call] = ToolCallRepository(bench.store).list_calls(stored.run.run_key)
    assert bench.runs.get_run(call.call_run_key).run.steering == "[]"


def test_steering_that_cannot_be_done_is_told_and_the_exchange_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Intervention("add", 1.0, feature=10**6)
    [spec] = demo_tools()
    box = Toolbox((Tool(spec, lambda *_: Steered("done", wanted)),))
    monkeypatch.setattr("engine.toolboxes.Toolboxes.of", lambda *_: box)
    stored = bench.runs.get_run(_ask(bench, "Where does Gaia Torres live?", tools=True))
    [call] = ToolCallRepository(bench.store).list_calls(stored.run.run_key)
    assert (call.status, call.detail, stored.run.steering) == ("failed", "raised", "[]")
    assert "no feature 1,000,000" in stored.run.messages[-1].content


def test_any_model_whose_template_takes_tools_is_offered_its_own_features(
    tmp_path: Path, make_bench: Callable[..., Bench]
) -> None:
    shutil.copytree(MODEL_DIR, tmp_path / "model")
    bench = make_bench(tmp_path / "model", SAE_DIR)
    names = {item.name: item.tool_names for item in bench.engine.sources()}
    assert names["demo"] == ("lookup",)
    assert names["custom"] == tuple(tool.name for tool in introspection_tools())
    view = bench.engine.submit(
        RunRequest((Message("user", QUESTIONS[0]),), source="custom", tools=True)
    )
    view = bench.engine.wait(view.job_id, timeout_s=60)
    stored = bench.runs.get_run(view.run_key)
    offered = [token.text for token in stored.tokens if token.role == "system"]
    # names that the toy vocabulary lacks are unknown tokens: five tools, each with its arguments
    assert stored.run.tools
    assert offered[0] == "[AVAILABLE_TOOLS]"
    assert offered.count("(") == 5
    assert ToolCallRepository(bench.store).find_last(view.run_key) == view.run_key


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"chat_template.jinja": "{% if tools %}{{ tools }}{% endif %}"}, True),
        ({"chat_template.jinja": "{{ messages }} about tools"}, False),
        ({"tokenizer_config.json": '{"chat_template": "{{ tools | tojson }}"}'}, True),
        (
            {"tokenizer_config.json": '{"chat_template": [{"name": "tool_use", '
             '"template": "{%- for tool in tools %}{% endfor %}"}]}'},
            True,
        ),
        ({"tokenizer_config.json": "{"}, False),
        ({"tokenizer_config.json": "[]"}, False),
        ({"tekken.json": "{}"}, True),
        ({}, False),
    ],
)  # fmt: skip
def test_templates_that_take_tools_are_told_by_their_files(
    tmp_path: Path, files: dict[str, str], expected: bool
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert takes_tools(tmp_path) is expected
