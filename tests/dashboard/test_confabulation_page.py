"""The page about made-up answers, and what the page Ask says of an answer, over the real demo."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard import services as services_module
from dashboard.confabulation_view import TABS
from dashboard.services import Services
from engine.api import DetectorCard
from tests.dashboard.conftest import Bench
from tests.dashboard.test_pages import open_page, texts


@pytest.fixture
def lab(trained: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """Makes the pages of this process use the store with answers and detectors."""
    st.cache_resource.clear()
    monkeypatch.setattr(services_module, "get_services", lambda: trained)
    yield trained
    st.cache_resource.clear()


def _chosen(services: Services) -> DetectorCard:
    cards = services.engine.confabulation.detectors.list_detectors("demo")
    return next(card for card in cards if card.is_chosen)


def _metrics(page: AppTest) -> dict[str, str]:
    return {metric.label: str(metric.value) for metric in page.metric}


def test_a_store_without_answers_says_so_and_offers_to_ask(pages: Bench) -> None:
    page = open_page("confabulation")
    assert not page.exception
    assert "Nothing asked yet" in texts(page)
    assert "1,000 questions" in page.button(key="ask_all").label
    assert pages.engine.n_submitted == 0
    assert "run" not in page.query_params


def test_the_page_opens_with_the_story_in_four_figures(lab: Services) -> None:
    page = open_page("confabulation", source="demo", set="demo")
    assert not page.exception
    metrics = _metrics(page)
    assert metrics["Answers (toy)"] == "120"
    assert "→" in metrics["False, tools off → tools on (toy)"]
    assert metrics["AUROC of the detector (toy)"] != "not trained"
    assert "red" in metrics["Audits"]
    assert "1 to 25 of 120 answers" in texts(page)


@pytest.mark.parametrize("tab", list(TABS))
def test_every_part_opens_from_its_link(lab: Services, tab: str) -> None:
    page = open_page("confabulation", source="demo", set="demo", tab=tab)
    assert not page.exception
    assert not [item.value for item in page.markdown if "Not done" in str(item.value)]


def test_answers_are_filtered_by_the_link(lab: Services) -> None:
    page = open_page("confabulation", source="demo", set="demo", tools="on", outcome="honest")
    rows = lab.engine.confabulation.count_outcomes("demo", "demo")
    n_right = next(item for item in rows if item.tools).verdicts["HONEST_TOOL_USE"]
    assert f"of {n_right:,} answers" in texts(page)
    nothing = open_page("confabulation", source="demo", set="demo", find="no such words")
    assert "No answer is like that" in texts(nothing)


def test_a_person_judges_an_answer_and_the_next_one_is_picked(lab: Services) -> None:
    found = lab.engine.confabulation
    first, second = (answer.run_key for answer in found.answers("demo", "demo", False)[10:12])
    page = open_page("confabulation", source="demo", set="demo", tools="off", run=first)
    page.text_input(key=f"note-{first}").set_value("seen")
    page.button(key="judge-correct-card").click().run()
    assert not page.exception
    last = found.outcomes.list_outcomes(first)[-1]
    assert (last.outcome, last.method) == ("correct", "person")
    assert "seen" in last.evidence
    assert page.query_params["run"] == second


def test_the_tools_part_compares_equal_questions(lab: Services) -> None:
    page = open_page("confabulation", source="demo", set="demo", tab="tools")
    assert "24 questions of" in texts(page)
    assert "(toy)" in texts(page)
    whole = open_page(
        "confabulation", source="demo", set="demo", tab="tools", slice="all questions"
    )
    assert "96 questions of" in texts(whole)


def test_the_detector_part_says_split_gate_and_what_may_be_said(lab: Services) -> None:
    page = open_page("confabulation", source="demo", set="demo", tab="detector")
    shown = texts(page)
    evaluation = lab.find_evaluation(_chosen(lab).evaluation_id)
    assert evaluation
    assert evaluation.split.split_hash in shown
    assert evaluation.sentences[0] in shown
    assert "made up or wrong" in shown
    assert "P(True):" in shown


def test_what_is_not_shown_yet_says_what_it_would_take(lab: Services) -> None:
    shown = texts(open_page("confabulation", source="demo", set="demo", tab="gaps"))
    assert "ANTHROPIC_API_KEY" in shown
    assert "kappa is shown from 100 on" in shown
    assert "several seeds" in shown


def test_a_detector_is_retired_and_leaves_the_shelf(lab: Services) -> None:
    detectors = lab.engine.confabulation.detectors
    card = next(
        item
        for item in detectors.list_detectors("demo")
        if item.kind == "candidate" and not item.is_chosen
    )
    page = open_page("confabulation", source="demo", set="demo", tab="detector")
    page.button(key=f"retire-{card.detector_id}").click().run()
    assert not page.exception
    assert f"{card.name} is retired." in texts(page)
    assert card.detector_id not in {item.detector_id for item in detectors.list_detectors("demo")}


def test_a_task_of_the_link_that_is_done_shows_its_detector(lab: Services) -> None:
    task = next(item for item in lab.engine.tasks.tasks("detectors"))
    page = open_page("confabulation", source="demo", set="demo", task=task.task_id)
    assert "task" not in page.query_params
    assert page.query_params["detector"] == _chosen(lab).detector_id
    assert page.query_params["tab"] == "detector"


def test_bad_links_are_said_and_never_break(lab: Services) -> None:
    odd = open_page("confabulation", source="demo", set="demo", tab="nonsense", detector="f" * 20)
    assert not odd.exception
    assert "1 to 25 of 120 answers" in texts(odd)
    missing = open_page("confabulation", source="demo", set="nothing")
    assert not missing.exception
    assert "nothing" in texts(missing)
    alias = open_page("confabulation", source="demo", set="scenarios")
    assert "The set demo-scenarios has 36 questions" in texts(alias)
    far = open_page("confabulation", source="demo", set="demo", page="9999", run="f" * 64)
    assert not far.exception
    assert "of 120 answers" in texts(far)


def test_an_answer_on_ask_has_score_judgement_and_the_detectors_colours(lab: Services) -> None:
    answer = lab.engine.confabulation.answers("demo", "demo", False)[0]
    card = _chosen(lab)
    page = open_page("ask", run=answer.run_key, detector=card.detector_id, colour="detector")
    assert not page.exception
    score = lab.engine.confabulation.detectors.score_run(card.detector_id, answer.run_key)
    assert f"{score.probability:.0%} likely to be false (toy)" in texts(page) or not (
        score.is_calibrated
    )
    flags = [item.value for item in page.markdown if "flagged" in str(item.value)]
    assert bool(flags)
    assert page.selectbox(key="live_detector").value == card.detector_id
    page.selectbox(key="live_rate").set_value("0.2").run()
    assert page.query_params["rate"] == "0.2"
    page.selectbox(key="live_detector").set_value("none").run()
    assert "detector" not in page.query_params
    assert "colour" not in page.query_params


def test_an_answer_with_tools_shows_each_call(lab: Services) -> None:
    answer = lab.engine.confabulation.answers("demo", "demo", True)[0]
    calls = lab.engine.confabulation.tool_calls.list_calls(answer.run_key)
    page = open_page("ask", run=answer.run_key)
    assert not page.exception
    shown = texts(page)
    assert calls[0].tool in shown
    assert "person" in shown
    assert any("1 ok" in item.label for item in page.expander)


def test_a_detector_of_another_source_is_refused_in_words(pages: Bench) -> None:
    page = open_page("ask", source="demo", example="0")
    run_key = page.query_params["run"]
    page = open_page("ask", run=run_key, detector="f" * 20)
    assert not page.exception
    assert "detector" in texts(page)
    assert "Nobody plays the harp." in texts(page)


def test_the_chosen_detector_goes_on_to_the_next_answer(lab: Services) -> None:
    card = _chosen(lab)
    answer = lab.engine.confabulation.answers("demo", "demo", False)[0]
    page = open_page("ask", run=answer.run_key, detector=card.detector_id, colour="detector")
    page.text_area[0].set_value("Which instrument does Elena Costa play?")
    page.button(key="send-ask").click().run()
    assert page.query_params["detector"] == card.detector_id
    assert page.query_params["colour"] == "detector"
    assert page.query_params.get("run") != answer.run_key
