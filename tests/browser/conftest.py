"""A real server in a process of its own, and a real Chromium that opens its pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from tests.dashboard.server_process import Server, start_server

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}


Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers over one store, one after the other, and stops them all at the end."""
    servers: list[Server] = []

    def start_one(**environment: str) -> Server:
        servers.append(
            start_server(tmp_path / "store.duckdb", tmp_path / "server.log", **environment)
        )
        return servers[-1]

    yield start_one
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests of a module that only look."""
    folder = tmp_path_factory.mktemp("server")
    started = start_server(folder / "store.duckdb", folder / "server.log")
    yield started
    started.stop()


@pytest.fixture(scope="session")
def browser(chromium: Path) -> Iterator[Browser]:
    """The browser; every page gets a context, that is a profile, of its own."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(chromium), args=list(FLAGS))
        yield launched
        launched.close()


@dataclass(frozen=True, slots=True)
class Tab:
    """A page, and what went wrong in it or left it for another host."""

    page: Page
    problems: list[str]


OpenTab = Callable[..., Tab]


@pytest.fixture
def tab(browser: Browser) -> Iterator[OpenTab]:
    """Opens pages, each in a new profile; at the end, nothing may have gone wrong in any."""
    tabs: list[Tab] = []

    def open_tab(
        url: str, *, viewport: ViewportSize = DESKTOP, is_dark: bool = False, shown: str = "h1"
    ) -> Tab:
        context = browser.new_context(
            viewport=viewport,
            color_scheme="dark" if is_dark else "light",
            permissions=["clipboard-read", "clipboard-write"],
        )
        opened = Tab(context.new_page(), [])
        own = url.split("/", 3)[2]
        opened.page.on("pageerror", lambda error: opened.problems.append(f"error: {error}"))
        opened.page.on("dialog", lambda dialog: opened.problems.append(f"dialog {dialog.message}"))
        opened.page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((f"http://{own}", f"ws://{own}", "data:", "blob:"))
                else opened.problems.append(f"left for {request.url}")
            ),
        )
        opened.page.on(
            "console",
            lambda message: (
                opened.problems.append(message.text)
                if "Content Security Policy" in message.text
                else None
            ),
        )
        tabs.append(opened)
        opened.page.goto(url)
        opened.page.locator(shown).first.wait_for()
        return opened

    yield open_tab
    problems = [problem for opened in tabs for problem in opened.problems]
    for opened in tabs:
        opened.page.context.close()
    assert problems == []
