"""The page Models in a real browser, over a real engine and a hub on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.conftest import DESKTOP, PHONE, OpenTab
from tests.browser.test_look import overflow
from tests.dashboard.server_process import Server, start_server
from tests.engine.checkpoints import save_llama, save_sae
from tests.hub.loopback import LoopbackHub, serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MODEL, SAE = "tests/tiny-llama", "tests/tiny-sae"
PLAIN, DAMAGED = "tests/plain-llama", "tests/damaged-llama"
SLOW_BYTES_PER_S = 15_000
LONG_MS = 30_000
FIRST_LOAD_MS = 90_000


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny model and an SAE on it, as a hub would hold them."""
    folder = tmp_path_factory.mktemp("repositories")
    save_llama(folder / "model")
    save_sae(folder / "sae")
    models = dict.fromkeys((MODEL, PLAIN, DAMAGED), folder / "model")
    return {**models, SAE: folder / "sae"}


@pytest.fixture(scope="module")
def hub(repositories: dict[str, Path]) -> Iterator[LoopbackHub]:
    """A hub that serves them."""
    with serve(repositories) as served:
        yield served


def _start(hub: LoopbackHub, folder: Path) -> Server:
    """A server that has only the demo's weights, and asks that hub for others."""
    sources = folder / "sources.toml"
    sources.write_text(
        f'[sources.tiny]\ntitle = "Tiny **model**"\nmodel = "{MODEL}"\nsae = "{SAE}"\n'
        f'[sources.plain]\nmodel = "{PLAIN}"\n'
        f'[sources.damaged]\nmodel = "{DAMAGED}"\n',
        "utf-8",
    )
    return start_server(
        folder / "store.duckdb",
        folder / "server.log",
        HF_ENDPOINT=hub.endpoint,
        HF_HOME=str(folder / "home"),
        HF_HUB_OFFLINE="0",
        MODEL_CACHE_DIR=str(folder / "models"),
        FEATUREBOOK_SOURCES=str(sources),
        DEVICE="cpu",
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server that downloads has its caches."""
    return tmp_path_factory.mktemp("working")


@pytest.fixture(scope="module")
def working(hub: LoopbackHub, folder: Path) -> Iterator[Server]:
    """One server for the tests that download and load, each a source of its own."""
    started = _start(hub, folder)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def server(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests that fetch nothing and leave everything as it was."""
    started = _start(hub, tmp_path_factory.mktemp("looking"))
    yield started
    started.stop()


def state_of(page: Page, name: str = "tiny") -> str:
    """What the list says of a source."""
    return page.locator(f"#source-{name} .state").inner_text()


def expect_state(page: Page, words: str, name: str = "tiny") -> None:
    expect(page.locator(f"#source-{name} .state")).to_have_text(words, timeout=LONG_MS)


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).first.click()


def start_download(page: Page) -> None:
    """By way of the plan."""
    press(page, "Download…")
    expect(page.get_by_text("What the download would do")).to_be_visible(timeout=LONG_MS)
    press(page, "Start")


def download(page: Page, name: str = "tiny") -> None:
    """Until all is here."""
    start_download(page)
    expect_state(page, "ready, verified", name)


def test_weights_that_are_missing_are_planned_downloaded_verified_loaded_and_asked(
    working: Server, hub: LoopbackHub, tab: OpenTab, tmp_path: Path
) -> None:
    screens = tmp_path / "screens"

    def screen(name: str) -> None:
        page.wait_for_timeout(300)
        page.screenshot(path=screens / f"{name}.png")
        assert overflow(page) == 0

    page = tab(f"{working.url}/models?source=tiny", shown="tbody tr").page
    expect_state(page, "missing")
    expect(page.get_by_role("button", name="Load", exact=True)).to_be_disabled()
    screen("1-missing")

    press(page, "Download…")
    expect(page.get_by_text("What the download would do")).to_be_visible(timeout=LONG_MS)
    expect(page.get_by_text("files to fetch")).to_have_count(2)
    assert hub.count("model.safetensors").gets == 0
    screen("2-plan")

    hub.slow(SLOW_BYTES_PER_S)
    press(page, "Start")
    expect(page.get_by_text("left ·")).to_be_visible(timeout=LONG_MS)
    expect_state(page, "downloading")
    bar = page.get_by_role("progressbar").first
    before = float(bar.get_attribute("aria-valuenow") or 0)
    screen("3-downloading")
    expect(bar).not_to_have_attribute("aria-valuenow", f"{before:g}", timeout=LONG_MS)

    page.get_by_role("link", name="Home").click()
    page.get_by_role("heading", name="What did the model compute?").wait_for()
    page.go_back()
    expect(page.get_by_text("left ·")).to_be_visible(timeout=LONG_MS)
    other = tab(f"{working.url}/models?source=demo", shown="tbody tr").page
    expect(other.get_by_text("tiny, asked by")).to_be_visible()

    press(page, "Cancel")
    expect(page.get_by_text("fetches only the rest")).to_be_visible(timeout=LONG_MS)
    expect(other.get_by_text("tiny, asked by")).to_have_count(0, timeout=LONG_MS)
    screen("4-cancelled")

    hub.slow(None)
    start_download(page)
    expect_state(page, "ready, verified")
    expect(page.get_by_text("equal to the hub's checksums")).to_have_count(2)
    screen("5-downloaded")

    press(page, "Verify")
    expect(page.get_by_text("tokenizer: 3 files")).to_be_visible(timeout=LONG_MS)
    expect_state(page, "ready, verified")
    screen("6-verified")
    assert "libtorch" not in working.loaded_libraries()

    press(page, "Load")
    expect(page.get_by_text("loaded in")).to_be_visible(timeout=FIRST_LOAD_MS)
    expect(page.locator("#source-tiny .mark", has_text="loaded")).to_be_visible()
    expect(page.get_by_text("available on cpu").first).to_be_visible()
    screen("7-loaded")

    page.goto(f"{working.url}/ask?source=tiny")
    page.locator("textarea").first.fill("Where does Karim live?")
    page.keyboard.press("Control+Enter")
    page.locator(".chip.generated").first.wait_for(timeout=FIRST_LOAD_MS)
    expect(page.get_by_text("source tiny").first).to_be_visible()
    screen("8-asked")

    page.goto(f"{working.url}/models?source=tiny")
    press(page, "Unload")
    expect(page.get_by_text("nothing is loaded")).to_be_visible(timeout=LONG_MS)


def test_asking_a_source_whose_weights_are_missing_leads_to_them(
    server: Server, tab: OpenTab
) -> None:
    page = tab(f"{server.url}/ask?source=tiny", shown="textarea").page
    expect(page.get_by_text("source tiny · not ready")).to_be_visible()
    page.locator("textarea").first.fill("Where does Karim live?")
    page.keyboard.press("Control+Enter")
    page.get_by_role("link", name="Download it on the page Models").first.click()
    expect(page.locator("h2 .name")).to_have_text("tiny")
    assert page.evaluate("location.search") == "?source=tiny"
    assert "libtorch" not in server.loaded_libraries()


def test_a_model_without_an_sae_is_downloaded_and_asked(
    working: Server, tab: OpenTab, tmp_path: Path
) -> None:
    page = tab(f"{working.url}/models?source=plain", shown="tbody tr").page
    download(page, "plain")
    expect(page.locator("tbody tr.component")).to_have_count(2)
    page.goto(f"{working.url}/ask?source=plain")
    page.locator("textarea").first.fill("Where does Karim live?")
    page.keyboard.press("Control+Enter")
    page.locator(".chip.generated").first.wait_for(timeout=FIRST_LOAD_MS)
    page.wait_for_timeout(500)
    page.screenshot(path=tmp_path / "plain.png")
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
    page.goto(f"{working.url}/feature?source=plain&feature=0")
    page.locator("h1").first.wait_for()
    page.wait_for_timeout(500)
    page.screenshot(path=tmp_path / "feature.png")
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def test_damaged_files_are_found_and_fetched_again(
    working: Server, tab: OpenTab, folder: Path
) -> None:
    page = tab(f"{working.url}/models?source=damaged", shown="tbody tr").page
    download(page, "damaged")
    kept = folder.glob("models/models--tests--damaged-llama/snapshots/*/model.safetensors")
    weights = next(kept).resolve()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 0xFF
    weights.chmod(0o644)
    weights.write_bytes(content)
    press(page, "Verify")
    expect(page.get_by_text("not as it should be")).to_be_visible(timeout=LONG_MS)
    expect(page.get_by_text("model.safetensors:")).to_be_visible()
    expect_state(page, "model damaged", "damaged")
    download(page, "damaged")


def test_a_source_is_added_by_keyboard_alone_and_removed(server: Server, tab: OpenTab) -> None:
    page = tab(f"{server.url}/models", shown="tbody tr").page
    page.get_by_text("Add a source").first.focus()
    page.get_by_text("Add a source").first.click()
    page.get_by_role("textbox", name="Name").fill("My Model")
    page.get_by_role("textbox", name="Model", exact=True).fill(MODEL)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Not saved")).to_be_visible()
    page.get_by_role("textbox", name="Name").fill("mine")
    page.keyboard.press("Enter")
    expect(page.locator("h2 .name")).to_have_text("mine", timeout=LONG_MS)
    assert page.evaluate("location.search") == "?source=mine"
    expect_state(page, "missing", "mine")
    press(page, "Remove…")
    press(page, "Remove the source")
    expect(page.locator("#source-mine")).to_have_count(0)


def test_sources_are_walked_by_keyboard_and_back_leaves_the_page(
    server: Server, tab: OpenTab
) -> None:
    page = tab(f"{server.url}/", shown="h1").page
    page.get_by_role("link", name="Models").first.click()
    page.get_by_role("listbox", name="Sources").focus()
    page.keyboard.press("End")
    last = page.locator(".line .name").last.inner_text()
    expect(page.locator("h2 .name")).to_have_text(last)
    page.keyboard.press("Home")
    expect(page.locator("h2 .name")).to_have_text("demo")
    assert page.evaluate("location.search") == "?source=demo"
    page.go_back()
    expect(page.get_by_role("heading", name="What did the model compute?")).to_be_visible()


def test_what_others_wrote_is_shown_as_text(server: Server, tab: OpenTab) -> None:
    page = tab(f"{server.url}/models?source=tiny", shown="tbody tr").page
    expect(page.locator("h2 .title")).to_have_text("Tiny **model**")


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desk", "phone"])
def test_the_page_is_not_wider_than_its_window(
    server: Server, tab: OpenTab, viewport: ViewportSize
) -> None:
    page = tab(f"{server.url}/models?source=demo", viewport=viewport, shown="tbody tr").page
    assert overflow(page) == 0
    for source in ("mistral-small-24b", "gemma-2-2b"):
        page.goto(f"{server.url}/models?source={source}")
        expect(page.locator("h2 .name")).to_have_text(source)
        page.locator("tbody tr").first.wait_for()
        assert overflow(page) == 0
