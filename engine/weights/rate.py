"""How far a transfer is and how fast it goes: bytes and files in, a few reports a second out.

Invariant: reporting costs the same however fast bytes arrive, and the last report is always given.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from engine.weights.parts import TransferProgress

_WINDOW_S = 8.0
_EVERY_S = 0.2
_SETTLED_S = 0.5
"""Before this much has been measured, a rate says nothing."""

OnProgress = Callable[[TransferProgress], None]


class Meter:
    """Counts one step of a transfer; may be told from several threads."""

    def __init__(
        self,
        step: str,
        files_total: int,
        bytes_total: int,
        on_progress: OnProgress,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._step = step
        self._files_total = files_total
        self._bytes_total = bytes_total
        self._on_progress = on_progress
        self._clock = clock
        self._lock = threading.Lock()
        self._files_done = 0
        self._bytes_done = 0
        self._current = ""
        self._marks: deque[tuple[float, int]] = deque()
        self._reported_at = -_EVERY_S

    def set(self, files_done: int, bytes_done: int, current: str = "") -> None:
        """States how far it is."""
        with self._lock:
            if bytes_done < self._bytes_done:
                # A file that starts over takes its bytes back: the rate is measured anew.
                self._marks.clear()
            changed = files_done != self._files_done
            self._files_done, self._bytes_done = files_done, bytes_done
            self._current = current
            self._tick(is_due=changed)

    def add(self, n_bytes: int = 0, n_files: int = 0, current: str | None = None) -> None:
        """Counts what was done since the last call."""
        with self._lock:
            self._bytes_done += n_bytes
            self._files_done += n_files
            if current is not None:
                self._current = current
            self._tick(is_due=n_files > 0)

    def report(self) -> None:
        """Reports now."""
        with self._lock:
            self._tick(is_due=True)

    def _tick(self, is_due: bool) -> None:
        now = self._clock()
        if not is_due and now - self._reported_at < _EVERY_S:
            return
        self._reported_at = now
        if self._marks and self._marks[0][1] == self._bytes_done:
            # Waiting for the first byte is no slowness.
            self._marks.clear()
        self._marks.append((now, self._bytes_done))
        while len(self._marks) > 2 and now - self._marks[0][0] > _WINDOW_S:
            self._marks.popleft()
        first_at, first_bytes = self._marks[0]
        span_s = now - first_at
        rate = max(0.0, (self._bytes_done - first_bytes) / span_s) if span_s >= _SETTLED_S else 0.0
        left = max(0, self._bytes_total - self._bytes_done)
        self._on_progress(
            TransferProgress(
                step=self._step,
                files_done=min(self._files_done, self._files_total),
                files_total=self._files_total,
                bytes_done=min(self._bytes_done, self._bytes_total),
                bytes_total=self._bytes_total,
                bytes_per_s=rate,
                left_s=left / rate if rate > 0 else (0.0 if not left else None),
                current=self._current,
            )
        )
