"""Who is answered: loopback, names, origins, tokens, the sign-in page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from dashboard.access import COOKIE, AccessPolicy, is_loopback, safe_next
from dashboard.guard import AccessGuard

LOCAL = ("127.0.0.1", 8501)
TOKEN = "a-long-token"


def client_of(policy: AccessPolicy, host: str = "127.0.0.1:8501") -> TestClient:
    async def page(_request: Request) -> HTMLResponse:
        return HTMLResponse("<p>a page")

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    routes = [
        Route("/{path:path}", page, methods=["GET", "POST"]),
        WebSocketRoute("/_stcore/stream", socket),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(AccessGuard, policy=policy)])
    return TestClient(app, base_url=f"http://{host}", follow_redirects=False)


@pytest.fixture
def guarded() -> Iterator[TestClient]:
    with client_of(AccessPolicy(token=TOKEN), "books.example") as client:
        yield client


@pytest.mark.parametrize("host", ["127.0.0.1:8501", "localhost", "[::1]:8501", "127.0.0.1"])
def test_an_open_server_answers_under_names_of_this_machine(host: str) -> None:
    headers = Headers({"host": host})
    assert AccessPolicy().check_arrival("GET", "127.0.0.1", headers) is None


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil"])
def test_an_open_server_does_not_answer_under_a_foreign_name(host: str) -> None:
    refusal = AccessPolicy().check_arrival("GET", "127.0.0.1", Headers({"host": host}))
    assert refusal is not None
    assert refusal.status == 403


@pytest.mark.parametrize("server", ["192.168.1.7", "10.0.0.1", "2001:db8::1"])
def test_an_open_server_does_not_answer_what_came_over_the_network(server: str) -> None:
    refusal = AccessPolicy().check_arrival("GET", server, Headers({"host": "localhost"}))
    assert refusal is not None
    assert refusal.error_type == "NotLocal"


@pytest.mark.parametrize(
    "policy",
    [AccessPolicy(token=TOKEN), AccessPolicy(has_sign_in=True), AccessPolicy(is_insecure=True)],
)
def test_a_guarded_or_insecure_server_may_bind_any_address(policy: AccessPolicy) -> None:
    assert policy.bind_problem("0.0.0.0") is None
    assert policy.bind_problem(None) is None
    assert policy.check_arrival("GET", "10.0.0.1", Headers({"host": "books.example"})) is None


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.1.7", "::", None, "books.example"])
def test_an_open_server_may_bind_loopback_only(address: str | None) -> None:
    problem = AccessPolicy().bind_problem(address)
    assert problem is not None
    assert "FEATUREBOOK_API_TOKEN" in problem
    assert AccessPolicy().bind_problem("127.0.0.1") is None


def test_another_sites_page_may_not_post() -> None:
    with client_of(AccessPolicy()) as client:
        foreign = client.post("/api/runs", headers={"origin": "https://evil.example"})
        own = client.post("/api/runs", headers={"origin": "http://127.0.0.1:8501"})
    assert (foreign.status_code, own.status_code) == (403, 200)


def test_the_api_asks_for_the_token(guarded: TestClient) -> None:
    bearer = {"authorization": f"Bearer {TOKEN}"}
    wrong = {"authorization": "Bearer wrong"}
    assert guarded.get("/api/sql").status_code == 401
    assert guarded.get("/api/sql").json()["error"]["hint"]
    assert guarded.get("/api/sql", headers=wrong).status_code == 401
    assert guarded.get("/api/sql", headers=bearer).status_code == 200
    assert guarded.get("/healthz").status_code == 200


def test_a_page_asks_for_the_token_and_then_opens_the_wanted_link(guarded: TestClient) -> None:
    asked = guarded.get("/ask?run=abc&token=3")
    assert asked.status_code == 303
    form = guarded.get(asked.headers["location"])
    assert "/ask?run=abc&amp;token=3" in form.text
    wanted = {"token": TOKEN, "next": "/ask?run=abc&token=3"}
    done = guarded.post("/signin", data=wanted)
    assert done.headers["location"] == "/ask?run=abc&token=3"
    assert "httponly" in done.headers["set-cookie"].lower()
    assert TOKEN not in done.headers["set-cookie"]
    assert guarded.get("/ask?run=abc&token=3").status_code == 200


def test_a_wrong_token_signs_nobody_in(guarded: TestClient) -> None:
    refused = guarded.post("/signin", data={"token": "guess", "next": "/"})
    assert refused.status_code == 401
    assert COOKIE not in refused.cookies
    guarded.cookies.set(COOKIE, "forged")
    assert guarded.get("/").status_code == 303


def test_a_connection_without_the_token_is_closed(guarded: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect), guarded.websocket_connect("/_stcore/stream"):
        pytest.fail("the connection was accepted")


def test_with_sign_in_and_no_token_the_api_is_closed_and_pages_are_left_to_the_sign_in() -> None:
    with client_of(AccessPolicy(has_sign_in=True), "books.example") as client:
        assert client.get("/api/sql").status_code == 401
        assert client.get("/ask").status_code == 200


def test_every_page_carries_the_security_headers() -> None:
    with client_of(AccessPolicy()) as client:
        headers = client.get("/").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]


@given(st.text(max_size=30))
def test_the_way_back_after_signing_in_never_leaves_the_site(path: str) -> None:
    wanted = safe_next(path)
    assert wanted.startswith("/")
    assert not wanted.startswith(("//", "/\\"))
    assert wanted.isprintable()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_addresses_are_known(address: str) -> None:
    assert is_loopback(address)
