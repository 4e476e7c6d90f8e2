"""The ASGI middleware in front of pages, WebSocket and API: access rules, sign-in, headers.

Invariant: every request passes AccessPolicy before anything of the application sees it, and every
answer carries the security headers.
"""

from __future__ import annotations

import asyncio
import html
from urllib.parse import parse_qs, quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.access import COOKIE, AccessPolicy, Refusal, safe_next

SIGN_IN_PATH = "/signin"
_WRONG_TOKEN_DELAY_S = 0.5
_COOKIE_AGE_S = 30 * 24 * 3600
_MAX_FORM_BYTES = 10_000
# Streamlit's own bundle needs inline styles, evaluated charts and blob: scripts; nothing may come
# from, or be sent to, another host.
_CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob: ws: wss:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
_NO_TOKEN = Refusal(
    401,
    "NoToken",
    "This needs a token.",
    "Send the header `Authorization: Bearer` with FEATUREBOOK_API_TOKEN.",
)
_NO_API_TOKEN = Refusal(
    401,
    "NoToken",
    "The API is closed: sign-in guards the pages, and no token is set for programs.",
    "Set FEATUREBOOK_API_TOKEN on the server.",
)


class AccessGuard:
    """Answers what the policy refuses, passes on the rest."""

    def __init__(self, app: ASGIApp, policy: AccessPolicy) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request, connection or lifespan."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        answer = self._answer(scope)
        if answer is None and scope["type"] == "http" and scope["path"] == SIGN_IN_PATH:
            answer = await self._sign_in(Request(scope, receive))
        if answer is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await answer(scope, receive, _with_headers(send))

    def _answer(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        server = scope.get("server")
        refusal = self._policy.check_arrival(
            scope.get("method", "GET"), server[0] if server else None, headers
        )
        if refusal is not None:
            return _refused(refusal)
        path: str = scope["path"]
        if path in {"/healthz", SIGN_IN_PATH} or self._policy.has_token(headers):
            return None
        if path == "/api" or path.startswith("/api/"):
            if self._policy.token is not None:
                return _refused(_NO_TOKEN)
            return _refused(_NO_API_TOKEN) if self._policy.has_sign_in else None
        if self._policy.token is None or self._policy.has_sign_in:
            return None
        query = scope.get("query_string", b"").decode("latin-1")
        wanted = f"{path}?{query}" if query else path
        return RedirectResponse(f"{SIGN_IN_PATH}?next={quote(wanted, safe='')}", 303)

    async def _sign_in(self, request: Request) -> Response | None:
        if self._policy.token is None:
            return None
        if request.method != "POST":
            return _sign_in_page(safe_next(request.query_params.get("next", "/")), "")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_FORM_BYTES:
                return _refused(Refusal(413, "TooLarge", "The form is too large.", ""))
        form = parse_qs(body.decode("utf-8", "replace"))
        wanted = safe_next(form.get("next", ["/"])[0])
        if not self._policy.matches(form.get("token", [""])[0].strip()):
            await asyncio.sleep(_WRONG_TOKEN_DELAY_S)
            return _sign_in_page(wanted, "That is not this server's token.")
        response = RedirectResponse(wanted, 303)
        response.set_cookie(
            COOKIE,
            self._policy.cookie_value(),
            max_age=_COOKIE_AGE_S,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return response


def _refused(refusal: Refusal) -> JSONResponse:
    error = {"type": refusal.error_type, "message": refusal.message, "hint": refusal.hint}
    return JSONResponse({"error": error}, refusal.status)


def _sign_in_page(wanted: str, problem: str) -> HTMLResponse:
    return HTMLResponse(
        f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Featurebook: sign in</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<style>:root{{color-scheme:light dark}}body{{font:15px system-ui;max-width:24rem;margin:12vh auto;
padding:0 1rem}}input,button{{font:inherit;padding:.4rem;width:100%;box-sizing:border-box;
margin:.3rem 0}}</style><h1>Featurebook</h1><form method="post" action="{SIGN_IN_PATH}">
<label>This server's token <input name="token" type="password" autofocus required></label>
<input name="next" type="hidden" value="{html.escape(wanted, quote=True)}">
<button>Sign in</button><p role="alert">{html.escape(problem)}</p></form></html>""",
        401 if problem else 200,
    )


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("x-content-type-options", "nosniff")
            headers.setdefault("referrer-policy", "same-origin")
            headers.setdefault("x-frame-options", "SAMEORIGIN")
            if headers.get("content-type", "").startswith("text/html"):
                headers.setdefault("content-security-policy", _CONTENT_POLICY)
        await send(message)

    return send_with_headers
