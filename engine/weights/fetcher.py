"""The process that fetches files with the hub's client: started, watched and ended by `fetching`.

Invariant: it ends when its standard input does, so that it never outlives whoever started it. It
speaks JSON lines on standard output: `ready`, `bytes`, `finished`, at last `error` or `done`.

Why a process of its own: the client reads its settings when it is imported, waits up to six minutes
for a silent server, and cannot be stopped in the middle of a file; a process can be, at once.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import ConnectionLostError, EngineError, TransferCancelled
from engine.weights.hub_errors import translate

_PIECE_BYTES = 65_536
"""Bytes between two counts. The client's own 10 MB are a minute of a slow line."""
_REPORT_S = 0.2
_GRACE_S = 0.7
"""For the client to remove the parts of files, once it is told to stop."""


@dataclass(frozen=True, slots=True)
class FetchJob:
    """What to fetch, in plain values.

    Attributes:
        cache_dir: absolute path. files: relative to the repository.
        timeout_s: seconds of silence that break a request.
    """

    repo_id: str
    revision: str
    commit: str
    cache_dir: str
    files: tuple[str, ...]
    endpoint: str | None
    token: str | None = field(repr=False)
    timeout_s: float
    max_workers: int

    def to_line(self) -> str:
        """The job as one line of JSON."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> FetchJob:
        """Reads what `to_line` wrote."""
        content = json.loads(line)
        return cls(**(content | {"files": tuple(content["files"])}))


class Tally:
    """Bytes of all files, counted by the client's threads; stops them where they count."""

    def __init__(self, is_stopped: Callable[[], bool]) -> None:
        self.is_stopped = is_stopped
        self._lock = threading.Lock()
        self._bytes: dict[str, int] = {}
        self._current = ""
        self._beats = 0

    def add(self, path: str, n_bytes: int) -> None:
        """Counts bytes of a file; negative ones are taken back.

        Raises:
            TransferCancelled: if the transfer has to stop.
        """
        if self.is_stopped():
            raise TransferCancelled
        with self._lock:
            self._bytes[path] = self._bytes.get(path, 0) + n_bytes
            self._current = path
            self._beats += 1

    def beat(self) -> None:
        """Says that something arrived that is not yet a byte of a file."""
        if self.is_stopped():
            raise TransferCancelled
        with self._lock:
            self._beats += 1

    def begin(self, path: str) -> None:
        """Says which file comes next."""
        with self._lock:
            self._current = path

    def drop(self, path: str) -> None:
        """Forgets a file that failed: its part is removed."""
        with self._lock:
            self._bytes.pop(path, None)

    def read(self) -> dict[str, Any]:
        """What to report."""
        with self._lock:
            return {
                "bytes": sum(self._bytes.values()),
                "current": self._current,
                "beats": self._beats,
            }


def bar_for(path: str, tally: Tally) -> type[Any]:
    """A class that the client takes for a progress bar of one file."""

    class Bar:
        """Counts; draws nothing."""

        n = 0
        total: int | None = None

        def __init__(self, *args: object, **options: object) -> None:
            """The client's words and units are of no use here."""

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *error: object) -> None:
            """Nothing is held."""

        def update(self, n: float | None = 1) -> None:
            """Bytes that were written."""
            tally.add(path, int(n or 0))

        def update_transfer(self, n: float | None = 1) -> None:
            """Bytes that arrived: over HTTP the same ones, with Xet before they are written."""
            tally.beat()

        def set_postfix_str(self, *args: object, **options: object) -> None:
            """Not shown."""

        def set_transfer_postfix_str(self, *args: object, **options: object) -> None:
            """Not shown."""

        def refresh(self) -> None:
            """Not shown."""

        def close(self) -> None:
            """Nothing is held."""

    return Bar


def fetch(
    job: FetchJob, emit: Callable[[dict[str, Any]], None], is_stopped: Callable[[], bool]
) -> EngineError | None:
    """Fetches all files of a job, several at a time; a file that is there is only linked.

    Args:
        emit: called with each report, from several threads.

    A fault that trying again does not mend is reported at once, and stops the other files; after
    a lost connection the others go on.

    Returns:
        What kept files from being fetched, or None.
    """
    from huggingface_hub import constants, hf_hub_download

    constants.DOWNLOAD_CHUNK_SIZE = _PIECE_BYTES
    constants.HF_HUB_DOWNLOAD_TIMEOUT = job.timeout_s  # type: ignore[assignment]
    errors: list[EngineError] = []
    has_failed = threading.Event()
    tally = Tally(lambda: is_stopped() or has_failed.is_set())

    def fetch_one(path: str) -> None:
        if tally.is_stopped():
            return
        tally.begin(path)
        try:
            hf_hub_download(
                job.repo_id,
                path,
                revision=job.commit,
                cache_dir=job.cache_dir,
                endpoint=job.endpoint,
                token=job.token,
                etag_timeout=job.timeout_s,
                tqdm_class=bar_for(path, tally),
            )
        except TransferCancelled:
            tally.drop(path)
        except Exception as error:  # noqa: BLE001 - whatever the client raises is translated here
            tally.drop(path)
            translated = translate(error, job.repo_id, job.revision, Path(job.cache_dir))
            errors.append(translated)
            if not isinstance(translated, ConnectionLostError):
                has_failed.set()
                emit(_report(translated))
        else:
            emit({"finished": path})

    with ThreadPoolExecutor(job.max_workers) as pool:
        pending: set[Future[None]] = {pool.submit(fetch_one, path) for path in job.files}
        last: dict[str, Any] = {}
        while pending:
            pending = wait(pending, timeout=_REPORT_S).not_done
            report = tally.read()
            if report != last:
                emit(report)
                last = report
    errors.sort(key=lambda error: isinstance(error, ConnectionLostError))
    return errors[0] if errors else None


def main() -> None:
    """Reads a job from standard input and fetches it."""
    output, lock = sys.stdout, threading.Lock()
    job = FetchJob.from_line(sys.stdin.readline())
    stopped = threading.Event()

    def emit(report: dict[str, Any]) -> None:
        try:
            with lock:
                output.write(json.dumps(report) + "\n")
                output.flush()
        except OSError:
            stopped.set()

    threading.Thread(target=_end_with, args=(sys.stdin.fileno(), stopped), daemon=True).start()
    emit({"ready": True})
    error = fetch(job, emit, stopped.is_set)
    emit({"done": True} if error is None else _report(error))


def _report(error: EngineError) -> dict[str, Any]:
    return {"error": {"type": type(error).__name__, "message": error.message, "hint": error.hint}}


def _end_with(input_: int, stopped: threading.Event) -> None:
    """Waits for the end of standard input, which is the end of whoever started this."""
    # Not through the file object: its lock would be held when the interpreter ends.
    while os.read(input_, 4096):
        pass
    stopped.set()
    threading.Event().wait(_GRACE_S)
    os._exit(1)


if __name__ == "__main__":
    main()
