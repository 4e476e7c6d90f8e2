"""Work in other threads: what may wait, and what is done beside a step of the caller.

Invariant: at most one thread a store for what may wait, ended with the store; what is asked for
while it works is done after it. Work that fails is told in the log and asked for again by the next
write: nothing depends on it.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from store.errors import StoreError

Work = Callable[[Callable[[], bool]], object]
"""Given a function that says whether to stop, it works until it is done, or soon after."""

_log = logging.getLogger(__name__)


class Upkeep:
    """Runs one kind of work in the background; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._is_asked = False
        self._thread: threading.Thread | None = None

    def request(self, work: Work) -> None:
        """Has the work done soon: by a thread of its own, or again by the one that is doing it."""
        with self._lock:
            self._is_asked = True
            if self._thread is None and not self._closed.is_set():
                # a process that ends without closing its store must not end in the middle of
                # DuckDB: a thread that is cut off there takes the whole process down
                atexit.register(self.close)
                self._thread = threading.Thread(
                    target=self._run, args=(work,), name="store-upkeep", daemon=True
                )
                self._thread.start()

    def wait(self, timeout_s: float | None = None) -> None:
        """Until nothing is asked for and nothing under way, or the time is over."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def close(self) -> None:
        """Stops the work and waits for its end; nothing is begun any more. Idempotent."""
        self._closed.set()
        self.wait()
        atexit.unregister(self.close)

    def _run(self, work: Work) -> None:
        try:
            while self._take():
                try:
                    work(self._closed.is_set)
                except StoreError as error:
                    _log.warning("The upkeep of the store failed: %s", error.message)
        finally:
            with self._lock:
                # another thread may have been begun since there was nothing to take
                if self._thread is threading.current_thread():
                    self._thread = None

    def _take(self) -> bool:
        """Whether there is something to do; if not, the next request begins another thread."""
        with self._lock:
            if self._is_asked and not self._closed.is_set():
                self._is_asked = False
                return True
            self._thread = None
            return False


@contextlib.contextmanager
def beside(work: Callable[[], object]) -> Iterator[None]:
    """Does the work in another thread while the block runs; what it raises comes at the end.

    The thread has ended when the block has, whatever either of the two raised. A cursor belongs
    to one of the two as long as that takes. While the process ends no thread can be begun: the work
    is done before the block then.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="store-beside") as pool:
        try:
            future = pool.submit(work)
        except RuntimeError:
            work()
            yield
            return
        yield
        future.result()
