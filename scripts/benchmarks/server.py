"""A real server in a process of its own, on a store of its own, for as long as a benchmark runs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_START_LIMIT_S = 60.0


@contextmanager
def running_server(work_dir: Path) -> Iterator[str]:
    """The real server on a free port with a store of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "FEATUREBOOK_STORE": str(work_dir / "pages.duckdb")}
    for name in ("FEATUREBOOK_API_TOKEN", "MISTRAL_MODEL", "SAE_PATH", "FEATUREBOOK_SOURCE"):
        environment[name] = ""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "dashboard"]
    command += ["--server.port", str(port), "--server.headless", "true"]
    with (work_dir / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log)
        try:
            base = f"http://127.0.0.1:{port}"
            _wait_until_up(base, process)
            yield base
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_until_up(base: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{base}/healthz", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the server did not start")
