"""Runs the fetching process and watches over it: silence, cancelling, its end.

Invariant: the process is gone when `fetch_round` returns or raises, however that happens.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from engine import errors
from engine.errors import EngineError, TransferCancelled
from engine.weights.caches import repo_folder
from engine.weights.fetcher import FetchJob
from engine.weights.hub_errors import ended, stalled

_POLL_S = 0.1
_START_S = 60.0
_STOP_S = 1.0
_ROOT = Path(__file__).resolve().parents[2]
_QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_SYMLINKS_WARNING": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}

OnRound = Callable[[int, tuple[str, ...], str], None]
"""Told of the bytes of this round, the files it has finished, and the file that it works on."""


def fetch_round(job: FetchJob, on_round: OnRound, is_cancelled: Callable[[], bool]) -> None:
    """Fetches the files of a job, once.

    Raises:
        ConnectionLostError: if the hub broke off or fell silent; finished files are kept.
        EngineError: for what trying again does not mend.
        TransferCancelled: if `is_cancelled` says so; within about a second.
    """
    process = _start()
    lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    assert process.stdin is not None
    assert process.stdout is not None
    reader = threading.Thread(
        target=_read_lines, args=(process.stdout, lines), name="fetch-reports", daemon=True
    )
    reader.start()
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(job.to_line())
            process.stdin.flush()
        _follow(job, process, lines, on_round, is_cancelled)
    finally:
        _stop(process)
        reader.join(_STOP_S)
        process.stdout.close()


def _start() -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if "OFFLINE" not in name}
    paths = [str(_ROOT), environment.get("PYTHONPATH", "")]
    environment |= _QUIET | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    # A session of its own: Ctrl-C is for us, and we end the process in good order.
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "engine.weights.fetcher"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )


def _follow(
    job: FetchJob,
    process: subprocess.Popen[str],
    lines: queue.SimpleQueue[dict[str, Any] | None],
    on_round: OnRound,
    is_cancelled: Callable[[], bool],
) -> None:
    finished: list[str] = []
    n_bytes, current, last = 0, "", (-1, -1)
    growth: tuple[tuple[str, int], ...] | None = None
    # The client itself tries again in the middle of a file: it is given time for that once.
    patience_s, heard_at = _START_S, time.monotonic()
    while True:
        if is_cancelled():
            raise TransferCancelled
        try:
            report = lines.get(timeout=_POLL_S)
        except queue.Empty:
            silent_s = time.monotonic() - heard_at
            if growth is None and silent_s > patience_s / 2:
                growth = _growth(job)
            elif growth is not None and silent_s > patience_s:
                if growth == _growth(job):
                    raise stalled(job.repo_id, patience_s) from None
                growth, heard_at = None, time.monotonic()
            continue
        if report is None:
            raise ended(job.repo_id, process.wait())
        if "done" in report:
            return
        if "error" in report:
            raise _revive(report["error"])
        if "ready" in report:
            patience_s = 2 * job.timeout_s + 1.0
        elif "finished" in report:
            finished.append(report["finished"])
        else:
            n_bytes, current = report["bytes"], report["current"]
        now = (report.get("beats", last[0]), len(finished))
        if now != last or "ready" in report:
            last, heard_at, growth = now, time.monotonic(), None
        on_round(n_bytes, tuple(finished), current)


def _growth(job: FetchJob) -> tuple[tuple[str, int], ...]:
    """What tells whether another process is fetching the same files, for which ours then waits."""
    folder = repo_folder(Path(job.cache_dir), job.repo_id) / "blobs"
    sizes = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                sizes.append((entry.name, entry.stat().st_size))
    return tuple(sorted(sizes))


def _revive(content: dict[str, str]) -> EngineError:
    kind = getattr(errors, content["type"], errors.DownloadError)
    error: EngineError = kind(content["message"], content["hint"])
    return error


def _read_lines(output: TextIO, lines: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    with contextlib.suppress(OSError, ValueError):
        for line in output:
            lines.put(json.loads(line))
    lines.put(None)


def _stop(process: subprocess.Popen[str]) -> None:
    """Ends the process: asked first, so that it removes the parts of files, then by force."""
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
