"""The main path in a real browser: ask, look at tokens and features, open the link elsewhere."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenTab, Start

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FIRST_ANSWER_MS = 90_000


def shown(page: Page) -> dict[str, object]:
    """What a person sees of a run: its tokens, their shades, what is chosen, its features."""
    return {
        "tokens": page.locator(".chip").all_text_contents(),
        "shades": page.locator(".chip").evaluate_all(
            "chips => chips.map(chip => chip.style.getPropertyValue('--shade'))"
        ),
        "token": page.locator('.chip[aria-selected="true"]').all_text_contents(),
        "feature": page.locator('tbody tr[aria-selected="true"]').all_text_contents(),
        "features": page.locator("tbody tr").all_text_contents(),
        "legend": page.locator(".legend .high").text_content(),
    }


def test_a_question_is_asked_and_its_link_opens_the_same_elsewhere_without_an_engine(
    start: Start, tab: OpenTab
) -> None:
    first = start()
    page = tab(f"{first.url}/").page
    page.get_by_role("link", name="Ask this").first.click()
    page.locator(".chip.generated").first.wait_for(timeout=FIRST_ANSWER_MS)
    expect(page.get_by_text("computed in")).to_be_visible()
    page.locator(".chip.generated").nth(2).click()
    expect(page.get_by_text("are active on token")).to_be_visible()
    page.locator("tbody tr").nth(1).click()
    page.locator(".chip.shaded").first.wait_for()
    expect(page.locator(".legend .high")).to_contain_text("max")
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    query = parse_qs(urlsplit(link).query)
    assert set(query) == {"run", "token", "feature", "at"}
    before = shown(page)
    assert before["token"]
    assert before["feature"]
    first.stop()

    second = start(DEVICE="cuda:99")
    there = link.replace(first.url, second.url)
    other = tab(there, shown=".chip.shaded").page
    expect(other.get_by_text("from the store")).to_be_visible()
    expect(other.get_by_text("nothing was added since")).to_be_visible()
    assert shown(other) == before
    assert "libtorch" not in second.loaded_libraries()
    other.reload()
    other.locator(".chip.shaded").first.wait_for()
    assert shown(other) == before


def test_no_page_loads_torch_before_a_question_is_asked(start: Start, tab: OpenTab) -> None:
    server = start()
    assert server.health()["engine"] == "idle"
    tab(f"{server.url}/")
    tab(f"{server.url}/ask", shown="textarea")
    tab(f"{server.url}/feature?source=demo&feature=3")
    tab(f"{server.url}/sql?q=SELECT+1", shown="h1")
    tab(f"{server.url}/models", shown="tbody tr")
    assert "libtorch" not in server.loaded_libraries()


def test_a_question_that_cannot_be_computed_says_what_helps(start: Start, tab: OpenTab) -> None:
    server = start(DEVICE="cuda:99")
    page = tab(f"{server.url}/ask?source=demo&example=0").page
    expect(page.get_by_text("The run failed")).to_be_visible(timeout=FIRST_ANSWER_MS)
    expect(page.get_by_role("button", name="Ask again")).to_be_visible()
    expect(page.get_by_text("engine error").first).to_be_visible()


def test_back_leaves_the_run_whatever_was_clicked_in_it(start: Start, tab: OpenTab) -> None:
    server = start()
    page = tab(f"{server.url}/").page
    page.get_by_role("link", name="Ask this").first.click()
    page.locator(".chip.generated").first.wait_for(timeout=FIRST_ANSWER_MS)
    for position in (1, 3, 5):
        page.locator(f"#t{position}").click()
        expect(page.get_by_text(f"active on token {position}", exact=False)).to_be_visible()
    length = page.evaluate("history.length")
    page.locator("#t2").click()
    expect(page.get_by_text("active on token 2")).to_be_visible()
    assert page.evaluate("history.length") == length
