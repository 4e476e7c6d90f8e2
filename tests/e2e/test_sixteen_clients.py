"""Sixteen clients that read, ask and query one real server at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.benchmarks.clients import run_clients
from tests.dashboard.server_process import start_server

DURATION_S = 8.0


@pytest.mark.slow
def test_sixteen_clients_at_once_get_no_error_and_no_wrong_answer(tmp_path: Path) -> None:
    server = start_server(tmp_path / "store.duckdb", tmp_path / "log")
    try:
        traffic = run_clients(server.url, DURATION_S, 16)
    finally:
        server.stop()
    assert traffic.errors == []
    assert traffic.wrong == []
    assert set(traffic.seconds) >= {"run", "feature", "ask", "new ask", "SQL"}
    assert sum(map(len, traffic.seconds.values())) > 100
