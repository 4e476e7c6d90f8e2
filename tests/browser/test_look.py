"""What a run looks like: keyboard, hostile text, light and dark, a desk and a phone, contrast."""

from __future__ import annotations

import json
import urllib.request
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.conftest import DESKTOP, PHONE, OpenTab
from tests.dashboard.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HOSTILE = (
    "<script>window.hacked=1</script> <img src=x onerror=window.hacked=1> "
    "![x](http://x.test/y.png) "
    "[a](http://x.test) $x$ :red[x] :material/home: **b** `c`\n\ttab"
)


def asked(server: Server, prompt: str) -> dict[str, Any]:
    """A run that the server has."""
    request = urllib.request.Request(
        f"{server.url}/api/runs",
        json.dumps({"prompt": prompt, "max_new_tokens": 12}).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        run: dict[str, Any] = json.load(response)
    return run


def contrast_of(page: Page, selector: str) -> float:
    """The least contrast of text on its own ground, over all elements, as WCAG computes it."""
    least = page.locator(selector).evaluate_all(
        """elements => {
          const canvas = document.createElement('canvas')
            .getContext('2d', {willReadFrequently: true});
          const rgb = color => {
            canvas.clearRect(0, 0, 1, 1);
            canvas.fillStyle = color;
            canvas.fillRect(0, 0, 1, 1);
            return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
          };
          const luminance = color => {
            const [r, g, b] = rgb(color).map(value => value / 255)
              .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          return Math.min(...elements.map(element => {
            const style = getComputedStyle(element);
            const [a, b] = [luminance(style.color), luminance(style.backgroundColor)];
            return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
          }));
        }"""
    )
    return float(least)


def test_the_strip_is_walked_and_chosen_by_keyboard(server: Server, tab: OpenTab) -> None:
    run = asked(server, "Which instrument does Elena Costa play?")
    page = tab(run["url"], shown=".chip").page
    strip = page.get_by_role("listbox")
    strip.focus()
    last = len(run["tokens"]) - 1
    for key, position in (("End", last), ("ArrowLeft", last - 1), ("Home", 0), ("ArrowRight", 1)):
        page.keyboard.press(key)
        expect(strip).to_have_attribute("aria-activedescendant", f"t{position}")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_text("active on token 2")).to_be_visible()
    expect(page.locator("#t2")).to_have_attribute("aria-selected", "true")
    expect(page.locator(".detail")).to_contain_text("position 2")
    assert "token=2" in page.evaluate("location.search")
    outline = strip.evaluate("element => getComputedStyle(element).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    expect(page.locator('.chip[aria-selected="true"]')).to_have_count(0)
    expect(page.get_by_text("are active in this run")).to_be_visible()


def test_pointing_at_a_token_tells_its_numbers(server: Server, tab: OpenTab) -> None:
    run = asked(server, "Which instrument does Elena Costa play?")
    page = tab(run["url"], shown=".chip").page
    page.locator("#t5").hover()
    for said in ("position 5", f"id {run['tokens'][5]['token_id']}", "logprob", "rank", "entropy"):
        expect(page.locator(".detail")).to_contain_text(said)


def test_hostile_text_is_shown_as_text_and_runs_nothing(server: Server, tab: OpenTab) -> None:
    run = asked(server, HOSTILE)
    ask = tab(run["url"], shown=".chip").page
    text = "".join(ask.locator(".chip").all_text_contents())
    assert "<script>window.hacked=1</script>".replace(" ", "·") in text or "<unk>" in text
    home = tab(f"{server.url}/").page
    expect(home.get_by_text("<img src=x onerror=window.hacked=1>").first).to_be_visible()
    sql = tab(f"{server.url}/sql?q=SELECT+prompt+FROM+runs").page
    link = tab(f"{server.url}/ask?run=%3Cimg%20src%3Dx%20onerror%3Dwindow.hacked%3D1%3E").page
    for page in (ask, home, sql, link):
        page.wait_for_timeout(500)
        assert page.evaluate("window.hacked") is None
        assert page.locator("img[src='x'], img[src*='x.test'], a[href*='x.test']").count() == 0
        assert page.locator(".katex").count() == 0


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
def test_every_token_can_be_read_whatever_colours_it(
    server: Server, tab: OpenTab, is_dark: bool
) -> None:
    run = asked(server, "Which instrument does Elena Costa play?")
    feature = most_spread_feature(server, run["run_key"])
    page = tab(f"{run['url']}&feature={feature}", is_dark=is_dark, shown=".chip.shaded").page
    assert contrast_of(page, ".chip") >= 4.5
    assert contrast_of(page, ".chip.special") >= 4.5
    for name in ("Surprise", "Entropy", "Active features"):
        page.get_by_role("radio", name=name).or_(page.get_by_role("button", name=name)).click()
        expect(page.locator(".legend .title")).to_contain_text(name.lower())
        assert contrast_of(page, ".chip") >= 4.5


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desk", "phone"])
def test_no_page_is_wider_than_its_window(
    server: Server, tab: OpenTab, viewport: ViewportSize
) -> None:
    run = asked(server, "Which instrument does Elena Costa play?")
    page = tab(f"{run['url']}&token=3&feature=5", viewport=viewport, shown=".chip").page
    assert overflow(page) == 0
    for path in ("/", "/ask", "/feature?source=demo&feature=5", "/sql?q=SELECT+1"):
        page.goto(f"{server.url}{path}")
        page.locator("h1").wait_for()
        assert overflow(page) == 0


def test_every_shade_of_the_ramp_can_be_read(server: Server, tab: OpenTab) -> None:
    run = asked(server, "Which instrument does Elena Costa play?")
    for is_dark in (False, True):
        page = tab(run["url"], is_dark=is_dark, shown=".chip").page
        for percent in range(0, 101, 2):
            page.locator(".chip").evaluate_all(
                """(chips, percent) => chips.forEach(chip => {
                  chip.classList.add('shaded');
                  chip.style.setProperty('--shade', `${percent}%`);
                })""",
                percent,
            )
            assert contrast_of(page, ".chip") >= 4.5, (is_dark, percent)


def overflow(page: Page) -> int:
    """Pixels by which a page is wider than its window."""
    page.wait_for_timeout(300)
    return int(
        page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    )


def most_spread_feature(server: Server, run_key: str) -> int:
    """A feature that is active on many tokens of the run, so that many shades are seen."""
    query = (
        "SELECT feature FROM activations WHERE run_key = '" + run_key + "' "
        "GROUP BY feature ORDER BY count(*) DESC, feature LIMIT 1"
    )
    address = f"{server.url}/api/sql?q={quote(query)}"
    with urllib.request.urlopen(address, timeout=20) as response:
        return int(json.load(response)["rows"][0][0])
