"""Places for untrusted queries: how many run at once, how many of one client, on what threads.

Invariant: at most n_places run in a process, at most half of them for one client, so that nobody's
heavy queries keep another's from starting. They run on threads of their own, which on Linux have
a lower priority than those of pages and engine: on a full machine, a page's read goes first.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_NICENESS = 10
_LOOK_EVERY_S = 0.05

Result = TypeVar("Result")


class QueryPlaces:
    """Lends places; every method may be called from any thread."""

    def __init__(self, n_places: int) -> None:
        self._n_places = n_places
        self._n_per_client = max(1, n_places // 2)
        self._by_client: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._threads = ThreadPoolExecutor(n_places, "query", _lower_priority)

    @contextlib.contextmanager
    def take(self, client: str | None, timeout_s: float, stop: threading.Event) -> Iterator[bool]:
        """A place for as long as the block runs.

        Args:
            client: who asks; queries of nobody in particular (None) are not counted together.
            stop: ends the waiting when it is set.

        Yields:
            Whether there was one in time.
        """
        end = time.monotonic() + timeout_s
        with self._changed:
            while not self._has_place(client) and not stop.is_set():
                left_s = end - time.monotonic()
                if left_s <= 0:
                    break
                self._changed.wait(min(left_s, _LOOK_EVERY_S))
            is_taken = self._has_place(client) and not stop.is_set()
            if is_taken:
                self._by_client[client or ""] += 1
        try:
            yield is_taken
        finally:
            if is_taken:
                with self._changed:
                    self._by_client[client or ""] -= 1
                    self._by_client += Counter()  # drops what is zero
                    self._changed.notify_all()

    def run(self, work: Callable[[], Result], stop: threading.Event) -> Result:
        """Runs work on one of the threads, and waits; sets stop if the waiting is broken off.

        The caller holds a place, so a thread is free.
        """
        future = self._threads.submit(work)
        try:
            return future.result()
        except BaseException:
            stop.set()
            raise

    def _has_place(self, client: str | None) -> bool:
        if self._by_client.total() >= self._n_places:
            return False
        return client is None or self._by_client[client] < self._n_per_client


def _lower_priority() -> None:
    """Of the thread that calls: Linux schedules threads as it does processes."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
