"""The page about made-up answers in a real browser: filled, judged, trained, and live on Ask."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, OpenTab
from tests.browser.test_look import overflow
from tests.dashboard.server_process import Server, start_server

pytestmark = [pytest.mark.browser, pytest.mark.slow]

N_QUESTIONS = 80
LONG_MS = 120_000


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own: the tests fill its store in turn."""
    folder = tmp_path_factory.mktemp("confabulation")
    started = start_server(folder / "store.duckdb", folder / "server.log")
    yield started
    started.stop()


def in_link(page: Page, name: str) -> str | None:
    """A parameter of the address."""
    return parse_qs(urlsplit(page.url).query).get(name, [None])[0]


def test_an_empty_page_asks_trains_and_scores_a_new_answer(lab: Server, tab: OpenTab) -> None:
    page = tab(f"{lab.url}/confabulation").page
    expect(page.get_by_text("Nothing asked yet")).to_be_visible()
    expect(page.get_by_role("button", name="Ask the demo's 1,000 questions")).to_be_visible()

    page.get_by_role("button", name="Ask the questions").click()
    page.get_by_label("Only the first questions").fill(str(N_QUESTIONS))
    page.get_by_label("Only the first questions").press("Tab")
    expect(page.get_by_text(f"At most {2 * N_QUESTIONS} answers")).to_be_visible()
    page.get_by_role("button", name="Ask them").click()
    expect(page.get_by_role("button", name="Ask them")).to_be_hidden()
    expect(page.get_by_text("Answers (toy)", exact=True)).to_be_visible(timeout=LONG_MS)
    expect(page.get_by_text("tools off → tools on")).to_be_visible(timeout=LONG_MS)
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden(timeout=LONG_MS)
    rows = page.locator(".st-key-answer_table tbody tr")
    expect(rows).to_have_count(25)

    page.get_by_text("5 Detector").click()
    expect(page.get_by_text("No detector was trained")).to_be_visible()
    page.get_by_role("button", name="Train and evaluate").click()
    page.get_by_text("Dense probes and P(True)").click()
    page.get_by_role("combobox", name="Of", exact=False).last.click()
    page.get_by_role("option", name="all topics").click()
    page.locator(".st-key-train_send button").click()
    expect(page.get_by_text("digest of the held-out answers")).to_be_visible(timeout=LONG_MS)
    assert in_link(page, "detector")
    expect(page.locator("[data-testid='stVegaLiteChart']").first).to_be_visible()
    expect(page.get_by_text("★").first).to_be_visible()

    page.get_by_role("link", name="Use live").first.click()
    expect(page.get_by_text("A detector is chosen")).to_be_visible()
    detector = in_link(page, "detector")
    page.get_by_placeholder("Ask the model something").fill("Which town does Ada Farkas live in?")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_text(re.compile("likely to be false|score .* \\(toy\\)"))).to_be_visible(
        timeout=LONG_MS
    )
    expect(page.get_by_text(re.compile("flagged")).first).to_be_visible()
    assert in_link(page, "detector") == detector
    assert in_link(page, "colour") == "detector"
    expect(page.get_by_text(re.compile("tokens? carr(y|ies) it|no single token"))).to_be_visible()


def test_answers_are_judged_by_keyboard_and_links_hold_what_is_shown(
    lab: Server, tab: OpenTab
) -> None:
    page = tab(f"{lab.url}/confabulation?source=demo&set=demo&tools=off", shown="tbody tr").page
    page.locator(".st-key-answer_table tbody tr").nth(2).click()
    card = page.locator(".st-key-answer_card")
    expect(card).to_be_visible()
    first = in_link(page, "run")
    assert first
    card.get_by_placeholder("Why (optional)").fill("12 of 345")
    assert in_link(page, "run") == first  # digits that are typed judge nothing
    card.get_by_placeholder("Why (optional)").press("Tab")
    page.locator("h1").click()
    page.keyboard.press("2")
    page.wait_for_url(lambda url: parse_qs(urlsplit(url).query)["run"] != [first])
    page.keyboard.press("k")
    page.wait_for_url(lambda url: parse_qs(urlsplit(url).query)["run"] == [first])
    expect(card.get_by_text("note: 12 of 345")).to_be_visible()
    expect(card.get_by_text("incorrect", exact=True)).to_be_visible()

    other = tab(page.url, shown=".st-key-answer_card").page
    expect(other.locator("tr[aria-selected='true']")).to_have_count(1)
    other.locator("tr[aria-selected='true'] a").click()
    other.wait_for_url(re.compile("/ask"))
    expect(other.locator(".chip").first).to_be_visible()
    other.get_by_role("button", name=re.compile("by (tool log|toy)")).click()
    expect(other.get_by_text("note: 12 of 345")).to_be_visible()
    other.go_back()
    expect(other.locator(".st-key-answer_card")).to_be_visible()


def test_a_file_with_a_fault_is_refused_and_a_good_one_is_kept(lab: Server, tab: OpenTab) -> None:
    page = tab(f"{lab.url}/confabulation").page
    page.get_by_role("button", name="Import questions").click()
    upload = page.locator("input[type=file]")
    upload.set_input_files(
        {"name": "bad.csv", "mimeType": "text/csv", "buffer": b"who,gold\nAnn,Oslo\n"}
    )
    expect(page.get_by_text("bad.csv")).to_be_visible()
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("no column `question`")).to_be_visible()
    upload.set_input_files(
        {
            "name": "towns.csv",
            "mimeType": "text/csv",
            "buffer": b"question,gold\nWhere does <b>Ann</b> live?,Oslo\n",
        }
    )
    expect(page.get_by_text("towns.csv")).to_be_visible()
    page.get_by_label("Name of the set").fill("towns")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("1 questions are kept as towns")).to_be_visible()
    assert in_link(page, "set") == "towns"
    expect(page.get_by_text("Nothing asked yet. The set towns has 1 questions")).to_be_visible()


@pytest.mark.parametrize("part", ["answers", "outcomes", "tools", "features", "detector", "gaps"])
def test_no_part_is_wider_than_a_phone(lab: Server, tab: OpenTab, part: str) -> None:
    link = f"{lab.url}/confabulation?source=demo&set=demo&tab={part}"
    page = tab(link, viewport=PHONE, is_dark=True).page
    expect(page.get_by_text("Answers (toy)", exact=True)).to_be_visible()
    assert overflow(page) <= 0
