"""The page Steer in a real browser: one answer steered, one sweep, and their links elsewhere."""

from __future__ import annotations

import json
import re
import urllib.request
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, OpenTab, Start
from tests.browser.test_look import overflow
from tests.dashboard.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LONG_MS = 90_000
QUESTION = "Which instrument does Elena Costa play?"
FEATURE = 505
"""One that makes the demo refuse."""


def post(server: Server, path: str, body: dict[str, object]) -> dict[str, object]:
    """What the API answers."""
    request = urllib.request.Request(
        server.url + path, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        content: dict[str, object] = json.load(response)
        return content


def copied_link(page: Page) -> str:
    """What the copy button puts on the clipboard."""
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    return str(page.evaluate("navigator.clipboard.readText()"))


def both(page: Page) -> list[str]:
    """The aligned tokens that are shown."""
    return page.locator(".cell").all_text_contents()


def test_an_answer_is_steered_and_its_link_opens_elsewhere_without_an_engine(
    start: Start, tab: OpenTab
) -> None:
    first = start()
    page = tab(f"{first.url}/steer?{urlencode({'source': 'demo', 'prompt': QUESTION})}").page
    expect(page.get_by_text("Nothing is steered yet")).to_be_visible()
    page.get_by_role("button", name="Add intervention").click()
    target = page.get_by_role("combobox", name="Feature or vector")
    target.fill(f"feature {FEATURE}")
    target.press("Enter")
    expect(page.get_by_text(re.compile(f"norms of feature {FEATURE}"))).to_be_visible()
    number = page.get_by_role("spinbutton", name="Number")
    number.fill("1.2")
    number.press("Enter")
    expect(page.get_by_text(re.compile(r"Adds 1\.2 mean residual norms"))).to_be_visible()
    page.get_by_role("button", name="Run both").click()

    page.locator(".cell").first.wait_for(timeout=LONG_MS)
    expect(page.get_by_text(re.compile(r"tokens differ \(toy\)"))).to_be_visible()
    expect(page.get_by_text("computed in").first).to_be_visible()
    expect(page.locator(".ramp").first).to_be_visible(timeout=LONG_MS)
    page.locator(".cell").nth(1).hover()
    expect(page.get_by_text("without steering,").first).to_be_visible()
    expect(page.get_by_text("What each intervention asked for")).to_be_visible()
    link = copied_link(page)
    query = parse_qs(urlsplit(link).query)
    assert {"run", "other", "prompt", "steer"} <= set(query)
    assert "job" not in query
    before = both(page)
    run_key = query["run"][0]
    first.stop()

    second = start(DEVICE="cuda:99")
    other = tab(link.replace(first.url, second.url), shown=".cell").page
    assert both(other) == before
    expect(other.get_by_text("from the store")).to_have_count(2)
    expect(other.get_by_text(re.compile(r"Adds 1\.2 mean residual norms"))).to_be_visible()
    asked = tab(f"{second.url}/ask?run={run_key}", shown=".chip").page
    expect(asked.get_by_text(re.compile("adds 1.2 mean residual norms"))).to_be_visible()
    asked.get_by_role("link", name="Beside the plain answer").click()
    asked.wait_for_url(re.compile("/steer"))
    expect(asked.get_by_text(re.compile(r"Adds 1\.2 mean residual norms"))).to_be_visible()
    assert "libtorch" not in second.loaded_libraries()

    phone = tab(link.replace(first.url, second.url), viewport=PHONE, shown=".cell").page
    assert overflow(phone) <= 0


def test_a_sweep_is_started_and_a_cell_of_it_opens_its_examples(start: Start, tab: OpenTab) -> None:
    server = start()
    arm = {"name": "pushed", "feature": FEATURE, "unit": "norm", "strengths": [0.3, 1.0]}
    people = ("Elena Costa", "Ida Costa", "Bruno Rossi", "Lena Moreau")
    spec = {
        "name": "small <b>sweep</b> :red[x]",
        "arms": [arm],
        "words": ["know"],
        "n_random": 1,
        "max_new_tokens": 8,
        "prompts": [f"What is the job of {name}?" for name in people],
    }
    task = post(server, "/api/sweeps", {"source": "demo", "spec": spec})
    page = tab(f"{server.url}/steer?source=demo&tab=sweeps&task={task['task_id']}").page
    page.wait_for_url(re.compile("sweep=[0-9a-f]+"), timeout=LONG_MS)
    expect(page.get_by_text("Best, chosen on one half")).to_be_visible()
    expect(page.get_by_text("small <b>sweep</b> :red[x]")).to_be_visible()
    expect(page.get_by_text("words of the concept (toy)").first).to_be_visible()

    cell = page.locator("[data-testid='stVegaLiteChart']").first.locator("canvas, svg").first
    cell.wait_for()
    box = cell.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.6, box["y"] + 14)
    page.wait_for_url(re.compile("cell="), timeout=LONG_MS)
    expect(page.get_by_role("button", name="Open as runs").first).to_be_visible()
    link = copied_link(page)

    other = tab(link).page
    expect(other.get_by_text("Best, chosen on one half")).to_be_visible()
    expect(other.get_by_role("button", name="Open as runs").first).to_be_visible()
    other.get_by_role("button", name="Open as runs").first.click()
    other.locator(".cell").first.wait_for(timeout=LONG_MS)
    assert "run=" in other.url
