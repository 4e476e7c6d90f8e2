"""The pages Feature, Features and Compare in a real browser: they open what is clicked."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, OpenTab
from tests.dashboard.server_process import Server, start_server

pytestmark = pytest.mark.browser

NAMES = "Mira Gaia Milo Ada Igor Fiona Conrad Leo Rosa Karl".split()
RUNS = "SELECT run_key FROM runs WHERE kind = 'generation' LIMIT 2"
HOSTILE = "<img src=x onerror=alert(1)> $x$ ![y](http://x/y.png)"


def send(server: Server, path: str, body: dict[str, object]) -> dict[str, object]:
    request = urllib.request.Request(
        server.url + path,
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        answer: dict[str, object] = json.load(response)
    return answer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a few answers, and one feature that is labelled."""
    folder = tmp_path_factory.mktemp("server")
    started = start_server(folder / "store.duckdb", folder / "server.log")
    for name in NAMES:
        prompt = f"Which language does {name} Torres speak?"
        send(started, "/api/runs", {"prompt": prompt, "max_new_tokens": 16})
        send(started, "/api/runs", {"prompt": f"{name} Torres speaks Tamil.", "kind": "text"})
    yield started
    started.stop()


@pytest.fixture(scope="module")
def feature(server: Server) -> int:
    """One that fires in answers, with a label that is markup."""
    found = server.get(f"/api/features/demo?{urlencode({'q': 'n>=5', 'sort': 'max'})}")[1]
    number = int(found["features"][0]["feature"])  # type: ignore[index]
    send(server, f"/api/features/demo/{number}/labels", {"text": HOSTILE, "author": "ann"})
    return number


def settle(page: Page) -> None:
    """Waits until no script runs."""
    page.wait_for_timeout(200)
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=30_000)


def test_a_feature_reads_from_label_to_neighbours_and_a_label_is_edited(
    server: Server, feature: int, tab: OpenTab
) -> None:
    page = tab(f"{server.url}/feature?source=demo&feature={feature}").page
    expect(page.get_by_role("heading", name=f"Feature {feature}")).to_contain_text(HOSTILE)
    for title in ("Where it fires", "Fires on", "Boosts", "Points the same way"):
        expect(page.get_by_role("heading", name=title).first).to_be_visible()
    assert page.locator("td.tokens").count() > 10
    page.get_by_role("button", name="Label").click()
    page.get_by_label("What does it mean?").fill("a plain name")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name=f"Feature {feature}")).to_contain_text("a plain name")
    labels = server.get(f"/api/features/demo/{feature}/labels")[1]
    assert [item["status"] for item in labels] == ["active", "replaced"]  # type: ignore[index]


def test_a_search_result_opens_its_feature_and_a_context_its_run(
    server: Server, feature: int, tab: OpenTab
) -> None:
    page = tab(f"{server.url}/features?source=demo&where=feature:{feature}").page
    row = page.locator("tbody tr").first
    expect(row.locator("td.feature")).to_have_text(str(feature))
    expect(row.locator("td.histogram rect")).not_to_have_count(0)
    row.locator("td.feature a").click()
    page.wait_for_url(f"**/feature?source=demo&feature={feature}")
    page.locator("ol a").first.click()
    page.wait_for_url("**/ask?run=*")
    expect(page.locator('.chip[aria-selected="true"]')).to_have_count(1)
    expect(page.get_by_text(f"Feature {feature} is active on")).to_be_visible()


def test_tokens_are_chosen_in_a_text_and_what_fires_there_is_ranked(
    server: Server, tab: OpenTab
) -> None:
    page = tab(f"{server.url}/features?source=demo&tab=text").page
    page.get_by_placeholder("a text that it may fire on").fill("Mira Torres speaks Tamil.")
    page.get_by_role("button", name="Read it").click()
    page.locator("#t2").click(timeout=30_000)
    expect(page.get_by_text("1 chosen tokens")).to_be_visible()
    settle(page)
    page.locator("#t3").click()
    expect(page.get_by_text("2 chosen tokens")).to_be_visible()
    assert "find=2%2C3" in page.url
    expect(page.locator("tbody tr").first).to_be_visible()


def test_two_cohorts_are_compared_from_a_link_and_a_row_shows_its_contexts(
    server: Server, tab: OpenTab
) -> None:
    cohorts = {"a": "kind:text", "b": "kind:generation", "positions": "all", "groups": "run"}
    link = urlencode({"source": "demo", "show": "chart", **cohorts})
    page = tab(f"{server.url}/compare?{link}").page
    expect(page.get_by_text("by chance alone")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("Exploratory: the smaller cohort has 1")).to_be_visible()
    expect(page.get_by_test_id("stVegaLiteChart")).to_be_visible()
    page.locator("tbody tr").first.locator("td.signed").click()
    for name in ("In A", "In B"):
        expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.locator("ol a")).not_to_have_count(0)
    page.get_by_text("Intervals").click()
    settle(page)
    assert "by=forest" in page.url
    assert "feature=" in page.url


def test_two_runs_stand_side_by_side_and_a_feature_shades_both(
    server: Server, tab: OpenTab
) -> None:
    rows = server.get(f"/api/sql?{urlencode({'q': RUNS})}")[1]
    a, b = (row[0] for row in rows["rows"])
    page = tab(f"{server.url}/compare?tab=runs&run={a}&other={b}").page
    expect(page.locator(".row.differs").first).to_be_visible()
    page.locator("tbody tr").first.locator("td.signed").click()
    expect(page.locator(".chip.shaded").first).to_be_visible()
    assert "feature=" in page.url


@pytest.mark.parametrize("path", ["features?source=demo", "compare?source=demo"])
def test_nothing_is_wider_than_a_phone(server: Server, tab: OpenTab, path: str) -> None:
    page = tab(f"{server.url}/{path}", viewport=PHONE).page
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_the_log_has_no_trace(server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    logs = list(Path(tmp_path_factory.getbasetemp()).glob("server*/server.log"))
    assert logs
    assert not [log for log in logs if "Traceback" in log.read_text("utf-8")]
