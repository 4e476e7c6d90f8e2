"""How long a person waits: pages and clicks in a real Chromium, against a real server.

A cold page is opened in a new browser profile (nothing cached); a warm one is opened again in the
same. A click is timed from the press to the moment its answer stands on the page.
"""

from __future__ import annotations

import json
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from engine.demo.examples import EXAMPLES
from scripts.benchmarks.figures import Comparison, seconds, to_side
from scripts.benchmarks.server import running_server

AIM_COLD_S = 3.0
AIM_CLICK_S = 0.150
_ANSWER_S = 60.0
_CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def measure_pages(work_dir: Path, repeats: int) -> tuple[Comparison, ...]:
    """Cold and warm times of home and of a stored run, and of a click on a token."""
    with running_server(work_dir) as base, _browser() as browser:
        link = f"{base}/ask?run={_store_run(base)}"
        home = _openings(browser, base, "h1, h2, h3", repeats)
        ask = _openings(browser, link, "#t0", repeats)
        clicks = _clicks(browser, link, repeats)
    return (
        _opening_comparison("Home", *home),
        _opening_comparison("A stored run's link", *ask),
        Comparison(
            title="A click on a token, to its features (demo run)",
            sides=(to_side("click", clicks, "s"),),
            ratio=None,
            ratio_of="",
            aim=f"at most {AIM_CLICK_S * 1000:.0f} ms",
            is_reached=to_side("click", clicks, "s").median <= AIM_CLICK_S,
        ),
    )


def _opening_comparison(name: str, cold: list[float], warm: list[float]) -> Comparison:
    sides = (to_side("cold", cold, "s"), to_side("warm", warm, "s"))
    return Comparison(
        title=f"{name}, opened in Chromium",
        sides=sides,
        ratio=sides[0].median / sides[1].median,
        ratio_of="cold / warm",
        aim=f"cold in at most {AIM_COLD_S:g} s",
        is_reached=sides[0].median <= AIM_COLD_S,
    )


def _openings(
    browser: Browser, url: str, shown: str, repeats: int
) -> tuple[list[float], list[float]]:
    cold, warm = [], []
    for _ in range(repeats):
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        opening = partial(_open, page, url, shown)
        cold.append(seconds(opening))
        warm.append(seconds(opening))
        _end(context)
    return cold, warm


def _open(page: Page, url: str, shown: str) -> None:
    page.goto(url, wait_until="commit")
    page.locator(shown).first.wait_for()


def _clicks(browser: Browser, link: str, repeats: int) -> list[float]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    _open(page, link, "#t0")
    times = []
    for index in range(repeats + 1):
        token = 2 + index % 8
        page.wait_for_timeout(300)
        chip = page.locator(f"#t{token}")
        answer = page.get_by_text(f"active on token {token}", exact=False)
        times.append(seconds(_press(chip.click, answer.first.wait_for)))
    _end(context)
    # the first click also loads what later ones have
    return times[1:]


def _press(click: Callable[[], None], wait: Callable[[], None]) -> Callable[[], None]:
    def act() -> None:
        click()
        wait()

    return act


def _end(context: BrowserContext) -> None:
    context.close()
    time.sleep(0.3)


def _store_run(base: str) -> str:
    body = json.dumps({"prompt": EXAMPLES[0].prompt, "source": "demo"}).encode()
    request = urllib.request.Request(
        f"{base}/api/runs", body, {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:
        return str(json.load(answer)["run_key"])


@contextmanager
def _browser() -> Iterator[Browser]:
    path = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_CHROMIUM_FLAGS))
        try:
            yield browser
        finally:
            browser.close()
