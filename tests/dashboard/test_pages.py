"""Pages over a real store and the fake engine: what they show, and how they take bad links."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import services as services_module
from dashboard.example_queries import load_example_queries
from dashboard.links import ViewState
from dashboard.services import Services
from engine.api import EngineStatus, JobFailure, RunRequest
from store.errors import StoreLockedError
from store.specs import Message
from tests.dashboard.conftest import Bench

APP = Path(__file__).parents[2] / "dashboard" / "app.py"
PERSON = "test@example.com"
"""Who is signed in, as AppTest has it."""

HOSTILE = "<script>alert(1)</script> ![x](http://x/y.png) $x$ :red[x] <img src=x onerror=alert(1)>"


def open_page(name: str, **params: str) -> AppTest:
    """A page as a link opens it."""
    page = AppTest.from_file(str(APP), default_timeout=30)
    for key, value in params.items():
        page.query_params[key] = value
    page.switch_page(f"views/{name}.py")
    return page.run()


def texts(page: AppTest) -> str:
    """All plain text of a page."""
    return "\n".join(str(item.value) for item in [*page.text, *page.code, *page.caption])


def asked(bench: Bench, text: str = "Who plays the harp?") -> str:
    """A stored run; its key."""
    return bench.engine.submit(RunRequest((Message("user", text),), created_by="ann")).run_key


def test_home_offers_examples_and_says_that_nothing_is_stored(pages: Bench) -> None:
    page = open_page("home")
    assert not page.exception
    assert "Nothing is stored yet" in texts(page)
    assert "Who plays the harp?" in texts(page)
    assert pages.engine.n_submitted == 0


def test_home_shows_recent_runs_and_what_the_memo_saved(pages: Bench) -> None:
    asked(pages)
    asked(pages)
    page = open_page("home")
    metrics = {metric.label: metric.value for metric in page.metric}
    assert metrics["Runs"] == "1"
    assert metrics["Memo hits"] == "1"
    assert metrics["Saved"] == "1.8 s"
    assert "hit 1×" in texts(page)


def test_ask_unasked_invites_to_ask_and_submits_nothing(pages: Bench) -> None:
    page = open_page("ask")
    assert not page.exception
    assert "Nothing asked yet" in texts(page)
    assert pages.engine.n_submitted == 0


def test_a_question_is_asked_and_its_answer_shown_under_its_own_link(pages: Bench) -> None:
    page = open_page("ask")
    page.text_area[0].set_value("Who plays the harp?")
    page.button(key="send-ask").click().run()
    assert not page.exception
    assert "Nobody plays the harp." in texts(page)
    assert len(page.query_params["run"]) == 64
    assert pages.engine.n_submitted == 1


def test_a_link_to_an_example_asks_it_once(pages: Bench) -> None:
    page = open_page("ask", source="demo", example="0")
    assert "Nobody plays the harp." in texts(page)
    assert "example" not in page.query_params
    page.run()
    assert pages.engine.n_submitted == 1


def test_a_link_to_a_stored_run_opens_without_asking(pages: Bench) -> None:
    run_key = asked(pages)
    pages.engine.current = EngineStatus(
        "error", "demo", None, 0, JobFailure("DeviceError", "No such device.", "")
    )
    page = open_page("ask", run=run_key, token="3", feature="500")
    assert not page.exception
    assert "Nobody plays the harp." in texts(page)
    assert "first computed by ann on 2026-01-02 03:04 UTC" in texts(page)
    assert "3 features are active on token 3" in texts(page)
    assert page.query_params["feature"] == "500"
    assert pages.engine.n_submitted == 1


def test_a_stored_run_can_be_continued_as_a_chat(pages: Bench) -> None:
    page = open_page("ask", run=asked(pages))
    page.chat_input[0].set_value("And the lute?").run()
    assert not page.exception
    run = pages.services.runs.get_run(page.query_params["run"]).run
    assert [message.role for message in run.messages] == ["user", "assistant", "user"]
    assert run.messages[-1].content == "And the lute?"


def test_a_running_job_shows_its_progress_and_can_be_cancelled(pages: Bench) -> None:
    page = open_page("ask")
    page.text_area[0].set_value("slow question")
    page.button(key="send-ask").click().run()
    assert "Nobody" in texts(page)
    page.button(key="cancel").click().run()
    assert "was cancelled" in texts(page)
    page.button(key="again").click().run()
    assert pages.engine.n_submitted == 2


def test_a_failed_job_says_why_and_offers_to_ask_again(pages: Bench) -> None:
    page = open_page("ask")
    page.text_area[0].set_value("fail please")
    page.button(key="send-ask").click().run()
    assert "The device is out of memory." in texts(page)
    assert "Use a smaller one." in texts(page)
    assert page.button(key="again").label == "Ask again"


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"run": "f" * 64}, "No run with the key"),
        ({"run": "nonsense"}, "not a run key"),
        ({"run": HOSTILE}, "not a run key"),
        ({"source": "demo", "example": "77"}, "example does not exist"),
        ({"job": "job77"}, "Nothing asked yet"),
        ({"token": "minus one"}, "not a whole number"),
    ],
)
def test_a_link_that_leads_nowhere_is_said_in_a_sentence(
    pages: Bench, params: dict[str, str], said: str
) -> None:
    page = open_page("ask", **params)
    assert not page.exception
    assert said in texts(page)
    assert pages.engine.n_submitted == 0


def test_a_token_or_feature_that_the_run_does_not_have_is_said(pages: Bench) -> None:
    page = open_page("ask", run=asked(pages), token="9999", feature="444")
    assert not page.exception
    assert "This run has no token 9999" in texts(page)


def test_hostile_text_never_reaches_a_page_as_markdown_or_html(pages: Bench) -> None:
    run_key = asked(pages, HOSTILE)
    for page in (open_page("ask", run=run_key), open_page("home")):
        assert not page.exception
        rendered = [str(item.value) for item in [*page.markdown, *page.caption, *page.title]]
        assert not [text for text in rendered if "alert(1)" in text or ":red[" in text]


def test_a_feature_shows_its_statistics(pages: Bench) -> None:
    asked(pages)
    page = open_page("feature", source="demo", feature="500")
    assert not page.exception
    metrics = {metric.label: metric.value for metric in page.metric}
    assert metrics["Largest value"] == "2 (toy)"
    assert metrics["Density"] == "100.000%"


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"source": "demo", "feature": "3"},
        {"source": "nowhere", "feature": "3"},
        {"source": "demo", "feature": "2000000000"},
        {"source": HOSTILE, "feature": HOSTILE},
    ],
)
def test_a_feature_of_which_nothing_is_stored_is_no_crash(
    pages: Bench, params: dict[str, str]
) -> None:
    page = open_page("feature", **params)
    assert not page.exception
    assert texts(page)


def test_a_query_in_the_link_is_run(pages: Bench) -> None:
    asked(pages)
    page = open_page("sql", q="SELECT prompt FROM runs")
    assert not page.exception
    assert page.dataframe[0].value["prompt"].tolist() == ["Who plays the harp?"]


def test_a_query_that_is_refused_says_why(pages: Bench) -> None:
    asked(pages)
    page = open_page("sql", q="DELETE FROM runs")
    assert not page.exception
    assert page.text
    assert pages.services.runs.summarise().n_runs == 1


def wait_for_rows(page: AppTest) -> AppTest:
    """The page once its query has ended."""
    for _ in range(100):
        if page.dataframe or "check: 0 rows" in markdown(page):
            break
        page.run()
    return page


def markdown(page: AppTest) -> str:
    """All Markdown of a page: badges are."""
    return "".join(str(item.value) for item in page.markdown)


def test_a_running_query_can_be_cancelled_and_keeps_no_page_waiting(pages: Bench) -> None:
    page = open_page("sql", q="SELECT count(*) FROM range(1000000000) a, range(1000000000) b")
    assert not page.exception
    assert "of at most 10 s" in texts(page)
    page.button(key="cancel").click().run()
    assert "The query was cancelled." in texts(page)
    assert not open_page("home").exception


def test_the_plan_of_a_query_is_shown_as_text(pages: Bench) -> None:
    asked(pages)
    page = open_page("sql", q="SELECT count(*) FROM tokens", show="plan")
    assert not page.exception
    assert "rows" in "".join(item.value for item in page.code)
    assert not page.dataframe


def test_a_chart_is_what_the_link_says(pages: Bench) -> None:
    asked(pages)
    sql = "SELECT feature, max_value, density FROM features"
    page = open_page("sql", q=sql, show="chart", mark="point", y="density", by="feature")
    assert not page.exception
    assert [box.value for box in page.selectbox] == ["point", "feature", "density", "feature"]
    words = open_page("sql", q="SELECT prompt FROM runs", show="chart", x="nothing")
    assert "needs a column of numbers" in texts(words)


def test_a_saved_query_is_opened_by_its_id_and_deleted_by_its_author(pages: Bench) -> None:
    asked(pages)
    queries = pages.services.queries
    saved = queries.insert_query(HOSTILE, "SELECT prompt FROM runs", PERSON)
    page = wait_for_rows(open_page("sql", query=saved.query_id))
    assert not page.exception
    assert page.dataframe[0].value["prompt"].tolist() == ["Who plays the harp?"]
    assert HOSTILE.split()[0] in texts(page)
    assert "alert(1)" not in markdown(page)
    page.button(key="delete_query").click().run()
    assert queries.list_queries() == ()
    assert page.query_params["q"] == "SELECT prompt FROM runs"
    gone = open_page("sql", query=saved.query_id)
    assert "No saved query" in texts(gone)


def test_another_persons_query_cannot_be_deleted_from_the_page(pages: Bench) -> None:
    saved = pages.services.queries.insert_query("Theirs", "SELECT 1", "somebody else")
    page = open_page("sql", query=saved.query_id)
    assert not [button for button in page.button if button.key == "delete_query"]


def test_what_was_run_is_in_ones_history(pages: Bench) -> None:
    open_page("sql", q="SELECT 40 + 2 AS answer")
    for _ in range(100):
        past = pages.services.queries.list_past_queries(PERSON)
        if past:
            break
        time.sleep(0.05)
    assert [item.sql for item in past] == ["SELECT 40 + 2 AS answer"]
    page = open_page("sql")
    assert "SELECT 40 + 2 AS answer" in texts(page)
    page.button(key="forget").click().run()
    assert pages.services.queries.list_past_queries(PERSON) == ()


def test_a_long_query_is_opened_by_a_short_link(pages: Bench) -> None:
    sql = "SELECT 42 AS answer -- " + "x" * 5_000
    path = pages.services.short_path("sql", ViewState(q=sql))
    assert len(path) < 100
    page = wait_for_rows(open_page("sql", state=path.rpartition("=")[2]))
    assert page.dataframe[0].value["answer"].tolist() == [42]
    foreign = open_page("sql", state="0" * 20)
    assert not foreign.exception
    assert "nothing under the link's short id" in texts(foreign)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("sql", {"q": "SELECT 1"}),
        ("feature", {"source": "demo", "feature": "500"}),
        ("features", {"source": "demo"}),
        ("compare", {"source": "demo"}),
        ("confabulation", {"source": "demo"}),
        ("steer", {"source": "demo", "tab": "sweeps"}),
    ],
)
def test_a_link_says_what_changed_since_it_was_made(
    pages: Bench, name: str, params: dict[str, str]
) -> None:
    asked(pages)
    then = open_page(name, at="20250101T000000.000Z", **params)
    assert not then.exception
    assert "added since then: 1 run" in markdown(then)
    later = open_page(name, at="20990101T000000.000Z", **params)
    assert "nothing was added since" in markdown(later)
    assert "This link was made on" not in markdown(open_page(name, **params))


def test_a_link_to_a_run_says_what_was_said_of_it_since(pages: Bench) -> None:
    run_key = asked(pages)
    then = open_page("ask", run=run_key, at="20250101T000000.000Z")
    assert not then.exception
    assert "nothing was added since" in markdown(then)
    pages.services.labels.insert_label("demo", 3, "a label", author=PERSON)
    assert "added since then: 1 label" in markdown(
        open_page("ask", run=run_key, at="20250101T000000.000Z")
    )


def test_what_is_chosen_after_a_link_was_opened_is_not_that_link(pages: Bench) -> None:
    asked(pages)
    page = open_page("features", source="demo", at="20250101T000000.000Z")
    page.segmented_control(key="tab-search").set_value("lists").run()
    assert not page.exception
    assert "at" not in page.query_params
    assert "This link was made on" not in markdown(page)


def test_every_example_query_runs(pages: Bench) -> None:
    asked(pages)
    for example in load_example_queries():
        page = open_page("sql", q=example.sql)
        assert not page.exception
        assert re.search(r"check: \d+ rows?\]", markdown(wait_for_rows(page))), example.title


@pytest.mark.parametrize("name", ["home", "ask", "feature", "sql", "models"])
def test_a_locked_store_is_said_on_every_page(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked() -> Services:
        raise StoreLockedError("data/x.duckdb", "process 7")

    monkeypatch.setattr(services_module, "open_services", locked)
    services_module.close_services()
    page = open_page(name)
    assert not page.exception
    assert "data/x.duckdb is held by process 7" in texts(page)


def test_the_state_of_the_engine_is_on_every_page(pages: Bench) -> None:
    pages.engine.current = replace(pages.engine.current, state="busy", n_queued=2)
    for name in ("home", "ask", "feature", "sql", "models"):
        page = open_page(name)
        shown = "".join(str(item.value) for item in page.markdown)
        assert "engine busy, 2 waiting" in shown
