"""The link that a person opened before signing in, opened again after it.

Streamlit's sign-in always ends at the root. Invariant: where it goes instead is a path of this site
that this browser asked to sign in from, kept for some minutes in a cookie that no script reads.
"""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, unquote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.access import safe_next

COOKIE = "featurebook_return"
LOGIN_PATH = "/auth/login"
CALLBACK_PATH = "/oauth2callback"
_AGE_S = 600
_MAX_PATH_CHARS = 3_000


class ReturnPath:
    """Remembers the page that a sign-in starts from, and goes back to it when that ends."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request, connection or lifespan."""
        if scope["type"] == "http" and scope["path"] == LOGIN_PATH:
            send = _remembering(scope, send)
        elif scope["type"] == "http" and scope["path"] == CALLBACK_PATH:
            send = _returning(scope, send)
        await self._app(scope, receive, send)


def _remembering(scope: Scope, send: Send) -> Send:
    headers = Headers(scope=scope)
    came_from = urlsplit(headers.get("referer", ""))
    path = f"{came_from.path}?{came_from.query}" if came_from.query else came_from.path
    is_ours = bool(came_from.netloc) and came_from.netloc == headers.get("host")
    wanted = safe_next(path) if is_ours and len(path) <= _MAX_PATH_CHARS else "/"

    async def send_with_cookie(message: Message) -> None:
        if message["type"] == "http.response.start":
            value, age_s = (quote(wanted, safe=""), _AGE_S) if wanted != "/" else ("", 0)
            _set_cookie(message, scope, value, age_s)
        await send(message)

    return send_with_cookie


def _returning(scope: Scope, send: Send) -> Send:
    wanted = _kept_path(Headers(scope=scope))

    async def send_to_page(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if wanted != "/" and 300 <= message["status"] < 400:
                headers["location"] = wanted
            _set_cookie(message, scope, "", 0)
        await send(message)

    return send_to_page


def _kept_path(headers: Headers) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return "/"
    return "/" if morsel is None else safe_next(unquote(morsel.value))


def _set_cookie(message: Message, scope: Scope, value: str, age_s: int) -> None:
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    MutableHeaders(scope=message).append(
        "set-cookie",
        f"{COOKIE}={value}; Max-Age={age_s}; Path=/; HttpOnly; SameSite=Lax{secure}",
    )
