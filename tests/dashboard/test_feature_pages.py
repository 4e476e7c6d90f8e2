"""The pages Feature, Features and Compare, over a real store that the demo model has filled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import streamlit as st

from dashboard import services as services_module
from dashboard.links import ParsedLink, ViewState
from dashboard.run_presets import COHORT_PRESETS
from dashboard.services import Services, make_services
from engine.api import CohortRequest, Engine, EngineSettings, FillRequest
from store.connection import Store
from store.runs import RunRepository
from tests.dashboard.test_pages import HOSTILE, PERSON, open_page, texts

A, B = "tools:no", "tools:yes"
N_QUESTIONS = 16


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A store with the demo's answers to a few questions, with tools and without."""
    store = Store.open(tmp_path_factory.mktemp("demo") / "demo.duckdb")
    runs = RunRepository(store)
    services = make_services(store, runs, Engine(runs, EngineSettings()))
    request = FillRequest("demo", "demo", limit=N_QUESTIONS, asked_by="tester")
    task = services.engine.confabulation.start_fill(request)
    ended = services.engine.tasks.wait(task.task_id, 120)
    assert ended.state == "done", ended.failure
    yield services
    services.close()


@pytest.fixture
def pages(demo: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """Makes the pages of this process use that store, which stays open for the module."""
    st.cache_resource.clear()
    monkeypatch.setattr(services_module, "get_services", lambda: demo)
    yield demo
    st.cache_resource.clear()


@pytest.fixture
def feature(pages: Services) -> int:
    """One that fires in answers, and not everywhere."""
    found = pages.search.search_features("demo", "n>=30 density<5%", sort="max", limit=1)
    return found.rows[0].feature


def test_a_feature_shows_what_is_stored_of_it(pages: Services, feature: int) -> None:
    page = open_page("feature", source="demo", feature=str(feature))
    assert not page.exception
    stats = pages.features.get_feature_stats("demo", feature)
    metrics = {metric.label: metric.value for metric in page.metric}
    assert metrics["Tokens active"] == f"{stats.n_tokens_active:,}"
    assert metrics["Largest value"] == f"{stats.max_value:.3g} (toy)"
    assert f"of its {stats.n_tokens_active:,} active tokens" in texts(page)
    assert "All tokens by logit (toy)." in texts(page)
    assert "By cosine of the decoder directions" in texts(page)
    assert "By correlation of firing" in texts(page)


def test_contexts_are_filtered_by_what_the_link_says(pages: Services, feature: int) -> None:
    page = open_page("feature", source="demo", feature=str(feature), where="tools:yes")
    assert not page.exception
    assert "places that were looked at" in texts(page)
    none = open_page("feature", source="demo", feature=str(feature), where="steered:yes")
    assert "No place passes this filter." in texts(none)
    bad = open_page("feature", source="demo", feature=str(feature), where="tols:yes")
    assert "There is no field 'tols' of runs" in texts(bad)


def test_a_label_is_written_in_place(pages: Services, feature: int) -> None:
    page = open_page("feature", source="demo", feature=str(feature))
    [box] = [item for item in page.text_input if item.label == "What does it mean?"]
    box.set_value(HOSTILE)
    [save] = [item for item in page.button if item.label == "Save"]
    save.click().run()
    assert not page.exception
    current = pages.labels.find_current("demo", feature)
    assert current is not None
    assert (current.text, current.author, current.origin) == (HOSTILE, PERSON, "human")
    shown = open_page("feature", source="demo", feature=str(feature))
    assert HOSTILE in texts(shown)


def test_of_two_people_who_edit_a_label_the_second_is_told(pages: Services, feature: int) -> None:
    first = pages.labels.insert_label("demo", feature, "first", author="ann")
    page = open_page("feature", source="demo", feature=str(feature))
    pages.labels.insert_label("demo", feature, "bob's", author="bob", replaces=first.label_id)
    [box] = [item for item in page.text_input if item.label == "What does it mean?"]
    assert box.value == "first"
    box.set_value("mine")
    next(item for item in page.button if item.label == "Save").click().run()
    assert "bob changed this label while you were editing it" in texts(page)
    kept = {label.text: label.status for label in pages.labels.list_history("demo", feature)}
    assert kept["mine"] == "late"
    assert kept["bob's"] == "active"


def test_a_text_is_tried_through_the_memo(pages: Services, feature: int) -> None:
    page = open_page("feature", source="demo", feature=str(feature))
    [box] = [item for item in page.text_input if item.label == "A text that it may fire on"]
    box.set_value("Mira Torres plays the harp.")
    next(item for item in page.button if item.label == "Read it").click().run()
    pages.engine.wait(page.query_params["job"], 60)
    page.run()
    assert not page.exception
    assert page.query_params["text"] == "Mira Torres plays the harp."
    assert pages.runs.get_run(page.query_params["run"]).run.kind == "text"


@pytest.mark.parametrize("feature_text", ["1024", "99999999"])
def test_a_feature_beyond_the_sae_is_said(pages: Services, feature_text: str) -> None:
    page = open_page("feature", source="demo", feature=feature_text)
    assert "demo has the features 0 to 1,023" in texts(page)


def test_a_feature_that_never_fired_is_said(pages: Services) -> None:
    fired = set(pages.search.get_all_stats("demo").feature.tolist())
    silent = next(number for number in range(1024) if number not in fired)
    page = open_page("feature", source="demo", feature=str(silent))
    assert not page.exception
    assert "It has not been active on any stored token." in texts(page)


def test_features_are_searched_by_words_and_conditions(pages: Services, feature: int) -> None:
    pages.labels.insert_label("demo", feature, "zither makers", author="ann")
    page = open_page("features", source="demo", where="zither n>=30")
    assert not page.exception
    assert "1 to 1 of 1 features, a toy's" in texts(page)
    everything = pages.search.search_features("demo")
    page = open_page("features", source="demo")
    assert f"of {everything.n_found:,} features" in texts(page)
    assert f"{everything.n_first:,} that fire on first tokens alone" in texts(page)
    page.toggle[0].set_value(True).run()
    assert page.query_params["dense"] == "shown"
    assert f"of {everything.n_found + everything.n_dense + everything.n_first:,}" in texts(page)


def test_a_filter_that_cannot_be_read_says_where(pages: Services) -> None:
    page = open_page("features", source="demo", where="density<1% AND (labelled:yes")
    assert "A parenthesis is not closed (at its end)." in texts(page)


def test_what_fires_on_a_token_and_in_a_text(pages: Services) -> None:
    page = open_page("features", source="demo", tab="token", find="is the")
    assert "The most specific first; it occurs" in texts(page)
    page = open_page("features", source="demo", tab="token", find="zyzzyva")
    assert "No stored token is that text." in texts(page)
    run_key = pages.run_sets.list_run_keys("", "demo", 1)[0]
    page = open_page("features", source="demo", tab="text", run=run_key, find="3,5", sort="rarity")
    assert not page.exception
    assert "2 chosen tokens" in texts(page)
    found = pages.firing.list_firing(run_key, (3, 5), "rarity", 50)
    assert f"{len(found.rows):,} of {found.n_found:,} features that fire there." in texts(page)


def test_a_list_is_made_and_opened_by_its_link(pages: Services, feature: int) -> None:
    page = open_page("features", source="demo", tab="lists")
    page.text_input[0].set_value("People it knows")
    next(item for item in page.button if item.label == "Make it").click().run()
    list_id = page.query_params["list"]
    made = pages.lists.get_list(list_id)
    assert (made.name, made.created_by) == ("People it knows", PERSON)
    pages.lists.add_features(list_id, "demo", [feature], "bob", "why not")
    page = open_page("features", source="demo", tab="lists", list=list_id)
    assert not page.exception
    assert "No feature of this source is on it." not in texts(page)
    gone = open_page("features", source="demo", tab="lists", list="0" * 10)
    assert "There is no list of features" in texts(gone)


def test_labels_tell_how_far_they_are_and_what_a_hosted_model_needs(pages: Services) -> None:
    page = open_page("features", source="demo", tab="labels")
    assert not page.exception
    assert {metric.label for metric in page.metric} >= {"Features", "Labelled", "By hand"}
    page.toggle[0].set_value(True).run()
    assert "need a key of Anthropic's API" in texts(page)


def test_the_map_is_made_by_a_task_and_opens_a_feature(pages: Services, feature: int) -> None:
    page = open_page("features", source="demo", tab="map")
    next(item for item in page.button if item.label == "Make the map").click().run()
    assert pages.engine.tasks.wait(page.query_params["task"], 120).state == "done"
    page = open_page("features", source="demo", tab="map", feature=str(feature))
    assert not page.exception
    assert "Distance means likeness" in texts(page)


def test_a_link_to_a_comparison_computes_what_is_not_known_yet(pages: Services) -> None:
    page = open_page("compare", source="demo", a=A, b=B, show="chart")
    assert not page.exception
    assert f"{pages.run_sets.count_runs(A, 'demo'):,} runs" in texts(page)
    assert pages.engine.tasks.wait(page.query_params["task"], 120).state == "done"
    page = open_page("compare", source="demo", a=A, b=B, show="chart")
    assert not page.exception
    found = pages.engine.features.find_comparison(CohortRequest("demo", A, B))
    assert found is not None
    assert found.effects.gate_note in texts(page)
    assert "features fire in A and never in B; by chance alone" in texts(page)
    best = found.effects.rows[0].feature if found.effects.rows else None
    if best is not None:
        page = open_page("compare", source="demo", a=A, b=B, show="chart", feature=str(best))
        assert not page.exception
        assert {item.value for item in page.subheader} >= {"In A", "In B"}


def test_a_page_that_names_no_cohorts_begins_with_a_pair_that_has_runs(pages: Services) -> None:
    page = open_page("compare", source="demo")
    assert not page.exception
    pair = page.query_params["a"], page.query_params["b"]
    assert pair in COHORT_PRESETS.values()
    assert all(pages.run_sets.count_runs(where, "demo") for where in pair)
    assert page.query_params["show"] == "chart"


def test_a_pair_that_is_chosen_is_in_the_link_and_computed_when_asked(pages: Services) -> None:
    page = open_page("compare", source="demo", a=A, b=B)
    next(item for item in page.selectbox if item.label == "Compare").set_value(
        "tools offered against none"
    ).run()
    assert page.query_params["a"] == "tools:yes AND steered:no"
    assert "task" not in page.query_params
    page.button(key="compare").click().run()
    assert page.query_params["show"] == "chart"


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("tools:no", "kind:generation", "The cohorts share"),
        ("tools:no", "steered:yes", "is empty"),
        ("tools:maybe", "tools:no", "tools takes"),
    ],
)
def test_cohorts_that_cannot_be_compared_are_said(
    pages: Services, a: str, b: str, said: str
) -> None:
    page = open_page("compare", source="demo", a=a, b=b, show="chart")
    assert not page.exception
    assert said in texts(page)


def test_two_runs_side_by_side_say_where_they_part(pages: Services) -> None:
    a, b = pages.run_sets.list_run_keys("tools:no kind:generation", "demo", 2)
    page = open_page("compare", run=a, other=b)
    assert not page.exception
    found = pages.engine.features.compare_runs(a, b)
    assert found.parts_at is not None
    assert found.parts_at > 1
    assert f"They share their first {found.parts_at:,} tokens." in texts(page)
    assert f"{found.n_features:,} features differ" in texts(page)
    missing = open_page("compare", run=a, other="f" * 64)
    assert "No run with the key" in texts(missing)


def test_an_empty_store_offers_to_ask_and_asks_nothing(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(tmp_path_factory.mktemp("empty") / "empty.duckdb")
    runs = RunRepository(store)
    services = make_services(store, runs, Engine(runs, EngineSettings()))
    st.cache_resource.clear()
    monkeypatch.setattr(services_module, "open_services", lambda: services)
    for name in ("features", "compare"):
        page = open_page(name, source="demo")
        assert not page.exception
        assert "has read nothing yet" in texts(page)
        assert "Ask the demo's questions (a few minutes)" in [item.label for item in page.button]
    assert services.engine.tasks.tasks() == ()
    st.cache_resource.clear()


def test_a_short_link_keeps_what_was_chosen_since(pages: Services) -> None:
    long = "tools:yes " * 300 + "kind:text"
    state = ViewState(source="demo", a="tools:no", b=long)
    short = pages.short_state("compare", state)
    assert short.state is not None
    link = ParsedLink(replace(short, feature=7), ())
    assert pages.get_link(link).state == replace(state, feature=7)
