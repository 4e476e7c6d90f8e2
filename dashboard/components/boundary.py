"""The error boundary: an error of ours becomes a notice, with its hint and without a trace.

Invariant: app.py puts it around every page, and a fragment, which runs without its page, around
itself; nothing else catches the roots of our errors on a page.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dashboard.components.notice import notice
from engine.errors import EngineError
from store.errors import StoreError


@contextmanager
def error_boundary() -> Iterator[None]:
    """Shows what went wrong inside, below what is drawn already."""
    try:
        yield
    except (StoreError, EngineError) as error:
        notice("error", error.message, error.hint)
