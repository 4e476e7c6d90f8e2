"""The SQL page in a real browser: write, complete, run, chart, save, share, download, cancel."""

from __future__ import annotations

import io
import json
import re
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page, ViewportSize, expect

from store.connection import Store
from store.runs import RunRepository
from tests.browser.conftest import DESKTOP, PHONE, OpenTab
from tests.browser.test_look import contrast_of, overflow
from tests.dashboard.server_process import Server

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ENDLESS = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b"
READY = ".cm-content"
COMPLETION_PAUSE_MS = 200
"""A list that has just come up takes no key, lest it take what was typed on."""

ONE_ROW = re.compile(r"\b1 row$")
LINK_MAX_CHARS = 2_000


@pytest.fixture(scope="module")
def run_key(server: Server) -> str:
    """A run that the queries find."""
    request = urllib.request.Request(
        f"{server.url}/api/runs",
        json.dumps({"prompt": "Which instrument does Elena Costa play?"}).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        return str(json.load(response)["run_key"])


def write(page: Page, sql: str) -> None:
    """Types a statement in place of what is there; nothing is completed."""
    page.locator(READY).click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.press("Delete")
    page.keyboard.insert_text(sql)
    page.keyboard.press("Escape")


def copied_link(page: Page) -> str:
    """What the copy button puts on the clipboard."""
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_a_query_is_written_run_drawn_saved_shared_and_downloaded(
    server: Server, tab: OpenTab, run_key: str
) -> None:
    page = tab(f"{server.url}/sql", shown=READY).page
    write(page, "SELECT feature, max_value, density FROM features ORDER BY max_value DESC LIMIT 12")
    expect(page.get_by_text("Not run yet")).to_be_visible()
    page.keyboard.press("ControlOrMeta+Enter")
    expect(page.get_by_text("12 rows")).to_be_visible()
    expect(page.get_by_text("Not run yet")).to_be_hidden()
    assert "q" in parse_qs(urlsplit(page.url).query)

    page.get_by_role("radio", name="Chart").or_(page.get_by_role("button", name="Chart")).click()
    expect(page.locator("[data-testid='stVegaLiteChart']")).to_be_visible()
    page.get_by_role("combobox", name="Y").click()
    page.get_by_role("option", name="density").click()
    page.wait_for_url(re.compile("y=density"))

    link = copied_link(page)
    other = tab(link, shown="[data-testid='stVegaLiteChart']").page
    expect(other.get_by_text("nothing was added since")).to_be_visible()
    expect(other.locator(READY)).to_contain_text("FROM features")
    assert parse_qs(urlsplit(link).query)["y"] == ["density"]

    page.get_by_role("button", name="Save as").click()
    page.get_by_label("What does it answer?").fill("Loudest <b>features</b> :red[x]")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url(re.compile(r"query=[0-9a-f]+"))
    expect(page.get_by_text("Loudest <b>features</b> :red[x]")).to_be_visible()
    saved = tab(copied_link(page), shown=READY).page
    expect(saved.get_by_text("12 rows")).to_be_visible()
    expect(saved.get_by_text("Loudest <b>features</b> :red[x]")).to_be_visible()

    for name in ("CSV", "Parquet"):
        with saved.expect_download() as download:
            saved.get_by_role("button", name=name, exact=True).click()
        content = Path(download.value.path()).read_bytes()
        if name == "CSV":
            assert content.decode().splitlines()[0] == "feature,max_value,density"
            assert len(content.decode().splitlines()) == 13
        else:
            assert pq.read_table(io.BytesIO(content)).num_rows == 12


def test_a_runaway_query_is_cancelled_at_once_and_the_page_goes_on(
    server: Server, tab: OpenTab, run_key: str
) -> None:
    page = tab(f"{server.url}/sql", shown=READY).page
    write(page, ENDLESS)
    page.locator(".bar .main").click()
    expect(page.get_by_text("s of at most 10 s")).to_be_visible()
    other = tab(f"{server.url}/ask?run={run_key}", shown=".chip").page
    expect(other.get_by_text("from the store")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("The query was cancelled.")).to_be_visible()
    write(page, "SELECT 42 AS answer")
    page.keyboard.press("ControlOrMeta+Enter")
    expect(page.get_by_text(ONE_ROW)).to_be_visible()


def test_a_question_from_the_shelf_is_in_the_address_and_back_leaves_it(
    server: Server, tab: OpenTab, run_key: str
) -> None:
    page = tab(f"{server.url}/sql?q=SELECT+1+AS+one", shown=READY).page
    page.get_by_role("button", name="Examples").click()
    page.get_by_role("button", name="How much does each source hold?").click()
    page.wait_for_url(re.compile("d_sae"))
    expect(page.locator(READY)).to_contain_text("FROM sources")
    expect(page.locator("[data-testid='stPopoverBody']")).to_have_count(0)
    page.get_by_role("button", name="Elsewhere").click()
    expect(page.get_by_text("import duckdb")).to_be_visible()
    page.keyboard.press("Escape")
    assert "d_sae" in page.url
    page.go_back()
    expect(page.locator(READY)).to_have_text("SELECT 1 AS one")
    expect(page.get_by_text(ONE_ROW)).to_be_visible()


def test_names_are_completed_by_keyboard_and_inserted_from_the_list_of_views(
    server: Server, tab: OpenTab
) -> None:
    page = tab(f"{server.url}/sql", shown=READY).page
    page.locator(READY).click()
    page.keyboard.type("select n_gen")
    expect(page.get_by_role("option", name="n_generated_tokens").first).to_be_visible()
    expect(page.locator(".cm-completionInfo")).to_contain_text("Tokens that the model generated")
    page.wait_for_timeout(COMPLETION_PAUSE_MS)
    page.keyboard.press("Tab")
    page.keyboard.type(" fro")
    expect(page.get_by_role("option", name="FROM").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".cm-tooltip-autocomplete")).to_have_count(0)
    page.keyboard.type("m runs r where r.se")
    expect(page.get_by_role("option", name="seed").first).to_be_visible()
    page.wait_for_timeout(COMPLETION_PAUSE_MS)
    page.keyboard.press("Enter")
    expect(page.locator(READY)).to_have_text("select n_generated_tokens from runs r where r.seed")
    page.get_by_label("Find a view or column").fill("probability")
    expect(page.locator(".column").get_by_text("logprob")).to_be_visible()
    page.locator(".column .name", has_text="logprob").click()
    expect(page.locator(READY)).to_contain_text("r.seed logprob")
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_text("syntax error at or near")).to_be_visible()


def test_a_long_query_has_a_short_link_and_a_foreign_one_a_sentence(
    server: Server, tab: OpenTab
) -> None:
    page = tab(f"{server.url}/sql", shown=READY).page
    write(page, "SELECT 'very long' AS word -- " + "x" * 5_000)
    page.keyboard.press("ControlOrMeta+Enter")
    expect(page.get_by_text(ONE_ROW)).to_be_visible()
    link = copied_link(page)
    assert len(link) < LINK_MAX_CHARS
    assert len(page.url) < LINK_MAX_CHARS
    other = tab(link, shown=READY).page
    expect(other.get_by_text(ONE_ROW)).to_be_visible()
    expect(other.locator(READY)).to_contain_text("very long")
    foreign = tab(f"{server.url}/sql?state={'0' * 20}&query=zz&mark=pie", shown=READY).page
    expect(foreign.get_by_text("nothing under the link's short id")).to_be_visible()
    expect(foreign.get_by_text("is not one of bar, line, point, area")).to_be_visible()
    assert foreign.get_by_text("Traceback").count() == 0


def test_a_run_key_opens_its_run_and_a_row_is_shown_in_full(
    server: Server, tab: OpenTab, run_key: str
) -> None:
    sql = quote("SELECT run_key, position, feature, value FROM activations ORDER BY value LIMIT 3")
    page = tab(f"{server.url}/sql?q={sql}", shown="[data-testid='stDataFrame'] canvas").page
    page.wait_for_timeout(1_000)
    table = page.locator("[data-testid='stDataFrame'] .dvn-scroller").first
    width = table.bounding_box()["width"]  # type: ignore[index]
    table.hover(position={"x": 40, "y": 48})
    page.wait_for_timeout(300)
    with page.context.expect_page() as opened:
        table.click(position={"x": 40, "y": 48})
    opened.value.locator(".chip").first.wait_for()
    assert f"run={run_key}" in opened.value.url
    table.click(position={"x": width - 60, "y": 48})
    expect(page.get_by_text("Row 1 in full")).to_be_visible()
    expect(page.locator(".st-key-row_in_full").get_by_text(run_key)).to_be_visible()
    page.get_by_role("link", name="Open the run").click()
    page.locator(".chip").first.wait_for()
    page.go_back()
    page.locator(READY).wait_for()
    expect(page.locator(READY)).to_contain_text("FROM activations")


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desk", "phone"])
def test_the_page_can_be_read_and_fits_its_window(
    server: Server, tab: OpenTab, run_key: str, viewport: ViewportSize, is_dark: bool
) -> None:
    sql = quote("SELECT text, 1.5 AS n -- why\nFROM tokens WHERE role = 'user' LIMIT 3")
    page = tab(
        f"{server.url}/sql?q={sql}", viewport=viewport, is_dark=is_dark, shown=".tok-comment"
    ).page
    assert overflow(page) == 0
    page.add_style_tag(content="*{transition:none!important}")
    for name in ("keyword", "string", "number", "comment"):
        assert contrast_on_ground(page, f".tok-{name}") >= 4.5, name
    if viewport == PHONE:
        page.get_by_role("button", name="Views").click()
    for name in (".note", ".type", ".name", ".cm-lineNumbers"):
        assert contrast_on_ground(page, name) >= 4.5, name
    assert contrast_of(page, ".bar .main") >= 4.5


def contrast_on_ground(page: Page, selector: str) -> float:
    """Contrast of text that has no ground of its own: on that of the editor."""
    page.locator(selector).evaluate_all(
        """elements => elements.forEach(element => {
          const ground = getComputedStyle(element.closest('.bench').querySelector('.editor'));
          element.style.backgroundColor = ground.backgroundColor;
        })"""
    )
    return contrast_of(page, selector)


def test_a_snapshot_is_begun_from_the_page_and_fetched(
    server: Server, tab: OpenTab, run_key: str, tmp_path: Path
) -> None:
    page = tab(f"{server.url}/sql", shown=READY).page
    page.get_by_role("button", name="Snapshot").click()
    page.get_by_role("button", name="Database").click()
    expect(page.get_by_text("Written: featurebook-")).to_be_visible()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download").click()
    waiting.value.save_as(tmp_path / "copy.duckdb")
    copy = Store.open(tmp_path / "copy.duckdb")
    try:
        assert RunRepository(copy).has_run(run_key)
    finally:
        copy.close()
