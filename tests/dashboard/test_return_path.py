"""The way back after signing in: to the link that was opened, and to nowhere else."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from dashboard.return_path import COOKIE, ReturnPath

WANTED = "/sql?q=SELECT+1&show=chart"


@pytest.fixture
def client() -> TestClient:
    async def login(_request: Request) -> RedirectResponse:
        return RedirectResponse("https://provider.example/authorize", 302)

    async def callback(request: Request) -> RedirectResponse | PlainTextResponse:
        if "fails" in request.query_params:
            return PlainTextResponse("Authentication error", 400)
        return RedirectResponse("/", 302)

    async def page(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("a page")

    routes = [
        Route("/auth/login", login),
        Route("/oauth2callback", callback),
        Route("/{path:path}", page),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(ReturnPath)])
    return TestClient(app, base_url="http://books.example", follow_redirects=False)


def sign_in_from(client: TestClient, referer: str | None) -> str:
    """Where the browser ends that starts signing in on a page."""
    headers = {} if referer is None else {"referer": referer}
    assert client.get("/auth/login", headers=headers).status_code == 302
    return client.get("/oauth2callback?code=1").headers["location"]


def test_signing_in_ends_at_the_link_that_was_opened(client: TestClient) -> None:
    started = client.get("/auth/login", headers={"referer": f"http://books.example{WANTED}"})
    cookie = started.headers["set-cookie"]
    assert started.headers["location"] == "https://provider.example/authorize"
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Max-Age=600" in cookie
    done = client.get("/oauth2callback?code=1")
    assert done.headers["location"] == WANTED
    assert "Max-Age=0" in done.headers["set-cookie"]
    assert client.get("/oauth2callback?code=2").headers["location"] == "/"


@pytest.mark.parametrize(
    "referer",
    [
        None,
        "",
        "http://books.example/",
        "http://evil.example/sql?q=1",
        "http://books.example.evil.example/x",
        "http://books.example@evil.example/x",
        "http://books.example//evil.example/x",
        "http://books.example/\\evil.example",
        "http://books.example/" + "x" * 4_000,
        "javascript:alert(1)",
    ],
)
def test_a_way_back_that_is_not_a_path_of_this_site_is_the_root(
    client: TestClient, referer: str | None
) -> None:
    assert sign_in_from(client, referer) == "/"


@pytest.mark.parametrize(
    "value",
    ["//evil.example", "https%3A%2F%2Fevil.example", "%2F%2Fevil", "%0D%0ASet-Cookie:a", ""],
)
def test_a_forged_cookie_leads_nowhere_else(client: TestClient, value: str) -> None:
    client.cookies.set(COOKIE, value)
    assert client.get("/oauth2callback").headers["location"] == "/"


def test_a_failed_sign_in_and_other_pages_are_left_as_they_are(client: TestClient) -> None:
    client.get("/auth/login", headers={"referer": f"http://books.example{WANTED}"})
    failed = client.get("/oauth2callback?fails=1")
    assert failed.status_code == 400
    assert "location" not in failed.headers
    assert "set-cookie" not in client.get("/sql").headers
