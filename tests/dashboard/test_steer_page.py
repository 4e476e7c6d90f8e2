"""The page Steer over the real engine on the demo: answers, vectors, sweeps, layers, bad links."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard import services as services_module
from dashboard.answer_pairs import count_differing, pair_answers
from dashboard.links import ViewState, to_params
from dashboard.run_view import RunView
from dashboard.services import Services
from dashboard.steer_draft import draft_of, to_steer
from tests.dashboard.steer_lab import QUESTION, ask, finish, open_steer_lab, steering, sweep_layers
from tests.dashboard.test_pages import texts

APP = Path(__file__).parents[2] / "dashboard" / "app.py"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """One store and engine for all tests here."""
    with open_steer_lab(tmp_path_factory.mktemp("steer")) as services:
        yield services


@pytest.fixture
def pages(lab: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """Makes the pages of this process use them."""
    st.cache_resource.clear()
    monkeypatch.setattr(services_module, "get_services", lambda: lab)
    yield lab
    st.cache_resource.clear()


def open_page(name: str, state: ViewState) -> AppTest:
    """A page as a link opens it."""
    page = AppTest.from_file(str(APP), default_timeout=60)
    for key, value in to_params(state).items():
        page.query_params[key] = value
    page.switch_page(f"views/{name}.py")
    return page.run()


def settled(page: AppTest, services: Services) -> AppTest:
    """The page once both answers, and their reading across, have ended."""
    services.engine.wait(page.query_params["job"], 60)
    ask(services, n_tokens=128)  # the plain answer: equal requests share one computation
    page.run()
    for task in services.engine.tasks.tasks("across"):
        services.engine.tasks.wait(task.task_id, 60)
    return page.run()


def steer_state(services: Services) -> ViewState:
    steer = to_steer(draft_of(steering(services)))
    return ViewState(source="demo", prompt=QUESTION, steer=steer)


def test_both_are_asked_and_their_link_shows_the_same_elsewhere(pages: Services) -> None:
    page = open_page("steer", steer_state(pages))
    assert not page.exception
    page.button(key="run_both").click().run()
    page = settled(page, pages)
    assert not page.exception
    said = texts(page)
    assert "tokens differ (toy)" in said or "changed no token" in said
    assert len(page.query_params["run"]) == 64
    assert page.query_params["run"] != page.query_params["other"]
    # requested and achieved, of the one intervention
    [table] = [item.value for item in page.dataframe]
    assert table["achieved (toy)"][0] == pytest.approx(table["requested (toy)"][0], rel=1e-3)
    keys = {page.query_params["run"], page.query_params["other"]}
    assert pages.engine.steering.across.find(page.query_params["other"], page.query_params["run"])

    shared = open_page(
        "steer", ViewState(run=page.query_params["run"], other=page.query_params["other"])
    )
    assert not shared.exception
    answers = {pages.get_run_view(key).run.response for key in keys}
    assert answers <= {item.value for item in shared.code}
    assert shared.text_area[0].value == QUESTION


def test_a_steered_run_says_on_ask_by_what_and_leads_back(pages: Services) -> None:
    key = ask(pages, steering(pages))
    page = open_page("ask", ViewState(run=key))
    assert not page.exception
    assert "adds 1 mean residual norms of vector" in texts(page)
    plain = open_page("ask", ViewState(run=ask(pages)))
    assert "mean residual norms" not in texts(plain)


def test_what_was_steered_lately_opens_beside_its_plain_answer(pages: Services) -> None:
    steered = ask(pages, steering(pages))
    plain = ask(pages)
    page = open_page("steer", ViewState(source="demo"))
    assert not page.exception
    assert "Steered lately (toy)" in {item.value for item in page.subheader}
    assert pages.get_run_view(steered).run.response[:40] in texts(page)
    page = open_page("steer", ViewState(source="demo", run=steered))
    assert not page.exception
    assert "Steered lately (toy)" not in {item.value for item in page.subheader}
    assert pages.get_run_view(plain).run.response in {item.value for item in page.code}
    assert "tokens differ (toy)" in texts(page) or "changed no token" in texts(page)


def test_rows_are_added_taken_out_and_brought_back(pages: Services) -> None:
    page = open_page("steer", ViewState(source="demo", prompt=QUESTION))
    assert "Nothing is steered yet" in texts(page)
    page.button(key="add_row").click().run()
    assert json.loads(page.query_params["steer"])[0]["kind"] == "add"
    page.button(key="run_both").click().run()
    assert "Intervention 1 has no feature and no vector." in texts(page)
    [target] = [item for item in page.selectbox if item.label == "Feature or vector"]
    assert any("refusal" in option for option in target.options)
    [remove] = [item for item in page.button if str(item.key).startswith("remove-")]
    remove.click().run()
    assert "steer" not in page.query_params
    page.button(key="undo").click().run()
    assert "steer" in page.query_params
    assert not page.exception


def test_a_preset_is_a_row_that_can_be_run(pages: Services) -> None:
    page = open_page("steer", ViewState(source="demo", prompt=QUESTION))
    page.button(key="begin-0").click().run()
    assert not page.exception
    assert "vector_id" in json.loads(page.query_params["steer"])[0]


@pytest.mark.parametrize(
    ("intervention", "said"),
    [
        ({"kind": "add", "feature": 3, "strength": 900, "unit": "norm"}, "times the mean length"),
        ({"kind": "add", "feature": 99999, "strength": 1}, "has no feature 99,999"),
        ({"kind": "add", "feature": 3, "strength": 0.1, "layer": 77}, "has no layer 77"),
        ({"kind": "erase", "vector_id": "0" * 20}, "vector"),
    ],
)
def test_what_cannot_be_run_is_said_with_what_helps(
    pages: Services, intervention: dict[str, object], said: str
) -> None:
    state = ViewState(source="demo", prompt=QUESTION, steer=json.dumps([intervention]))
    page = open_page("steer", state)
    page.button(key="run_both").click().run()
    assert not page.exception
    assert said in texts(page)
    assert "run" not in page.query_params


@pytest.mark.parametrize(
    "state",
    [
        ViewState(steer="nonsense"),
        ViewState(run="f" * 64),
        ViewState(source="nowhere"),
        ViewState(tab="nowhere"),
        ViewState(tab="sweeps", sweep="0" * 20),
        ViewState(tab="vectors", vector="0" * 20),
        ViewState(tab="layers", sweep="0" * 20, vector="0" * 20),
        ViewState(task="gone", job="gone"),
        ViewState(state="0" * 20),
    ],
)
def test_a_link_that_leads_nowhere_is_no_crash(pages: Services, state: ViewState) -> None:
    page = open_page("steer", state)
    assert not page.exception
    assert page.title[0].value == "What changes when a feature is pushed?"


def test_vectors_show_how_reliable_they_are_and_can_be_deleted(pages: Services) -> None:
    page = open_page("steer", ViewState(source="demo", tab="vectors"))
    assert not page.exception
    assert "(toy)" in texts(page)
    assert "All layers are reliable" in texts(page)
    vector = pages.engine.steering.vectors("demo", "city")[0]
    page = open_page("steer", ViewState(source="demo", tab="vectors", vector=vector.vector_id))
    page.button(key="delete_vector").click().run()
    assert f"The vector {vector.vector_id} was deleted." in texts(page)
    assert not pages.engine.steering.vectors("demo", "city")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "There are no pairs."),
        ("one line without a bar", "Line 1 is no pair"),
        ("a | b\n" * 3, "at least 20"),
    ],
)
def test_pairs_that_make_no_vector_are_refused(pages: Services, typed: str, said: str) -> None:
    page = open_page("steer", ViewState(source="demo", tab="vectors"))
    page.text_input(key="pairs_name").set_value("test")
    page.text_area(key="pairs_text").set_value(typed)
    page.button(key="pairs_send").click().run()
    assert not page.exception
    assert said in texts(page)


def test_pairs_that_cancel_are_said_by_their_task(pages: Services) -> None:
    page = open_page("steer", ViewState(source="demo", tab="vectors"))
    pairs = "\n".join("the city | the job\nthe job | the city" for _ in range(12))
    page.text_input(key="pairs_name").set_value("nothing")
    page.text_area(key="pairs_text").set_value(pairs)
    page.button(key="pairs_send").click().run()
    pages.engine.tasks.wait(page.query_params["task"], 60)
    page.run()
    assert not page.exception
    assert "nothing on demo" in texts(page)


def test_a_sweep_shows_its_best_its_controls_and_a_cell_with_its_examples(pages: Services) -> None:
    [sweep] = [item for item in pages.engine.steering.sweeps("demo") if "Layers" in item.name]
    report = pages.engine.steering.sweep(sweep.sweep_id)
    number = next(cell.place.number for cell in report.cells if cell.place.kind == "add")
    state = ViewState(source="demo", tab="sweeps", sweep=sweep.sweep_id, cell=number)
    page = open_page("steer", state)
    assert not page.exception
    assert next(metric.label for metric in page.metric) == "words of the concept (toy)"
    table = page.dataframe[0].value
    assert "best" in table[""].tolist()
    assert any("random directions" in item for item in table["what"])
    assert f"n = {report.cells[number].measured.n}" in texts(page)
    page.button(key="example-0").click().run()
    assert not page.exception
    assert len(page.query_params["run"]) == 64
    assert "tab" not in page.query_params


def test_a_sweep_is_started_by_its_form_and_listed(pages: Services) -> None:
    page = open_page("steer", ViewState(source="demo", tab="sweeps"))
    links = " ".join(str(getattr(item, "label", "")) for item in page.get("page_link"))
    assert "Layers of refusal" in links
    page.segmented_control(key="sweep_way").set_value("rank").run()
    page.text_input(key="rank_features").set_value("3, 5")
    page.button(key="rank_send").click().run()
    assert not page.exception
    result = finish(pages, pages.engine.tasks.task(page.query_params["task"]))
    page.run()
    assert page.query_params["sweep"] == result["sweep_id"]
    assert "task" not in page.query_params
    assert "begins with" in texts(page)


def test_a_sweep_that_was_cancelled_is_resumed_from_its_cells(pages: Services) -> None:
    steering_lab = pages.engine.steering
    task = sweep_layers(pages, "city")
    while (now := pages.engine.tasks.task(task.task_id)).is_active and now.n_done < 2:
        pages.engine.tasks.wait(task.task_id, 0.02)
    page = open_page("steer", ViewState(source="demo", tab="sweeps", task=task.task_id))
    assert "Layers of city on demo" in texts(page)
    page.button(key="cancel-sweep").click().run()
    assert pages.engine.tasks.wait(task.task_id, 60).state == "cancelled"
    [sweep] = [item for item in steering_lab.sweeps("demo") if item.name == "Layers of city"]
    assert sweep.summary is None
    page = open_page("steer", ViewState(source="demo", tab="sweeps", sweep=sweep.sweep_id))
    assert "what was measured is kept" in texts(page)
    page.button(key="resume").click().run()
    result = finish(pages, pages.engine.tasks.task(page.query_params["task"]))
    assert result == {"sweep_id": sweep.sweep_id}
    page.run()
    assert not page.exception
    assert steering_lab.sweep(sweep.sweep_id).best is not None


def test_a_sweep_without_arms_is_refused_at_its_form(pages: Services) -> None:
    page = open_page("steer", ViewState(source="demo", tab="sweeps"))
    page.segmented_control(key="sweep_way").set_value("own").run()
    page.button(key="sweep_send").click().run()
    assert "at least one arm" in texts(page)


def test_layers_stand_measured_beside_what_the_pairs_say(pages: Services) -> None:
    page = open_page("steer", ViewState(source="demo", tab="layers", find="refusal"))
    assert not page.exception
    assert "It does most after layer 1" in texts(page)
    other = open_page("steer", ViewState(source="demo", tab="layers", find="known"))
    assert "was not measured yet" in texts(other)


def test_pairs_of_answers_hold_every_generated_token(pages: Services) -> None:
    plain, steered = ask(pages), ask(pages, steering(pages, 1.5))
    views: list[RunView] = [pages.get_run_view(key) for key in (plain, steered)]
    found = pages.engine.features.compare_runs(plain, steered, limit=0)
    finish(pages, pages.engine.steering.across.start(plain, steered, "ann"))
    across = pages.engine.steering.across.find(plain, steered)
    cells = pair_answers(views[0], views[1], found.blocks, across)
    above = [cell.plain for cell in cells if cell.plain]
    below = [cell.steered for cell in cells if cell.steered]
    for tokens, view in ((above, views[0]), (below, views[1])):
        positions = [token.position for token in tokens]
        assert positions == list(range(view.run.n_prompt_tokens, len(view.tokens)))
        assert all(token.other is not None for token in tokens)
    itself = pages.engine.features.compare_runs(plain, plain, limit=0)
    same = pair_answers(views[0], views[0], itself.blocks, None)
    assert count_differing(same) == (0, len(above))
    assert count_differing(cells)[0] > 0
