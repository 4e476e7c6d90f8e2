"""Answers that are sent in pieces: how many at once, and for how long.

Invariant: what is kept in memory for clients that read slowly is bounded: MAX_AT_ONCE results, each
for SEND_TIMEOUT_S at most. One that takes longer is cut off in the middle, which clients notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Mapping

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from dashboard.api_errors import error_response

MAX_AT_ONCE = 16
SEND_TIMEOUT_S = 120.0

_slots = threading.BoundedSemaphore(MAX_AT_ONCE)


class LimitedStream(StreamingResponse):
    """Pieces of bytes, made in the thread pool while they are sent."""

    def __init__(
        self, pieces: Iterator[bytes], media_type: str, headers: Mapping[str, str]
    ) -> None:
        super().__init__(pieces, media_type=media_type, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends all pieces, or says that too many are being sent."""
        if not _slots.acquire(blocking=False):
            busy = error_response(
                503, "Busy", "Too many results are being sent.", "Try again in a moment."
            )
            await busy(scope, receive, send)
            return
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await super().__call__(scope, receive, send)
        finally:
            _slots.release()
