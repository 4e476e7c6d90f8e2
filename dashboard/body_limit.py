"""ASGI middleware: a request's body has a largest size.

Invariant: no more than max_bytes of a body are ever handed to the application.
"""

from __future__ import annotations

import contextlib

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.api_errors import error_response


class _BodyTooLargeError(Exception):
    """The body went over the limit while it was read."""


class BodyLimit:
    """Answers 413 for bodies over a size, declared or not."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isascii() and declared.isdigit() and int(declared) > self._max_bytes:
            await self._refuse(scope, receive, send)
            return
        n_bytes = 0
        is_over = False
        is_started = False

        async def limited_receive() -> Message:
            nonlocal n_bytes, is_over
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > self._max_bytes:
                is_over = True
                raise _BodyTooLargeError
            return message

        async def noted_send(message: Message) -> None:
            # Frameworks turn a failed read into an answer of their own; the refusal replaces it.
            nonlocal is_started
            if not is_over or is_started:
                is_started = True
                await send(message)

        with contextlib.suppress(_BodyTooLargeError):
            await self._app(scope, limited_receive, noted_send)
        if is_over and not is_started:
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = error_response(
            413,
            "TooLarge",
            f"The request is larger than {self._max_bytes // 1_000_000} MB.",
            "Send the text in pieces.",
        )
        await response(scope, receive, send)
