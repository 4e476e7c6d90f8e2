"""A real server in a process of its own, as `scripts/run.sh` starts it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "dashboard")
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    process: subprocess.Popen[bytes]
    url: str

    def health(self) -> dict[str, str]:
        """What /healthz says."""
        return dict(self.get("/healthz")[1])

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str]]:
        """Status and JSON of an answer, errors included."""
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def loaded_libraries(self) -> str:
        """What is mapped into the process."""
        return Path(f"/proc/{self.process.pid}/maps").read_text("utf-8")

    def stop(self) -> None:
        """Ends it as Ctrl-C does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(STOP_TIMEOUT_S)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(store: Path, log: Path, port: int | None = None, /, **environment: str) -> Server:
    """Starts a server, on a free port unless one is given, and waits until it answers."""
    port = port or free_port()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*COMMAND, "--server.port", str(port)],
            cwd=ROOT,
            env={**os.environ, "FEATUREBOOK_STORE": str(store), **environment},
            stdout=output,
            stderr=output,
        )
    server = Server(process, f"http://127.0.0.1:{port}")
    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end and process.poll() is None:
        try:
            server.health()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
        else:
            return server
    server.stop()
    pytest.fail(f"The server did not start:\n{log.read_text('utf-8', 'replace')[-4000:]}")
