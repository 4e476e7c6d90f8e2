"""Signing in with a provider of its own, in a real browser: the link that was opened survives."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import DESKTOP
from tests.dashboard.oidc_provider import PERSON, run_provider, secrets_toml
from tests.dashboard.server_process import free_port, start_server

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("CI") != "true" and importlib.util.find_spec("authlib") is None,
        reason="needs the extra `auth`",
    ),
]


def test_a_link_opened_before_signing_in_is_shown_after_it(
    tmp_path: Path, browser: Browser
) -> None:
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    secrets = tmp_path / ".streamlit" / "secrets.toml"
    secrets.parent.mkdir()
    with run_provider(free_port()) as issuer:
        secrets.write_text(secrets_toml(issuer, origin), encoding="utf-8")
        server = start_server(
            tmp_path / "store.duckdb", tmp_path / "server.log", port, HOME=str(tmp_path)
        )
        context = browser.new_context(viewport=DESKTOP)
        try:
            page = context.new_page()
            path = "/sql?q=SELECT+42+AS+answer&show=chart&x=answer&y=answer&mark=point"
            page.goto(f"{origin}{path}")
            expect(page.get_by_text("Who are you?")).to_be_visible()
            page.get_by_role("button", name="Sign in").click()
            page.locator("[data-testid='stVegaLiteChart']").wait_for()
            assert page.url == f"{origin}{path}"
            page.get_by_role("button", name="History").click()
            expect(page.get_by_text("SELECT 42 AS answer").last).to_be_visible()
            expect(page.get_by_text("Yours alone")).to_be_visible()
            assert "featurebook_return" not in [
                cookie.get("name") for cookie in context.cookies(origin)
            ]
        finally:
            context.close()
            server.stop()
    assert PERSON not in (tmp_path / "server.log").read_text("utf-8")
