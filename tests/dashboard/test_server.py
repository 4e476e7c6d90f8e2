"""The server as a process: where it starts, where it does not, and what a second one says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.dashboard.server_process import COMMAND, ROOT, start_server

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("options", "environment", "said"),
    [
        (["--server.address", "0.0.0.0"], {}, "set FEATUREBOOK_API_TOKEN"),
        ([], {"STREAMLIT_SERVER_ADDRESS": "0.0.0.0"}, "set FEATUREBOOK_API_TOKEN"),
        ([], {"PORT": "99999"}, "the setting PORT is wrong"),
        ([], {"MODEL_DTYPE": "float7"}, "the setting MODEL_DTYPE is wrong"),
    ],
)
def test_a_server_that_must_not_start_says_why_in_one_line(
    tmp_path: Path, options: list[str], environment: dict[str, str], said: str
) -> None:
    done = subprocess.run(
        [*COMMAND, "--server.port", "0", *options],
        cwd=ROOT,
        env={**os.environ, "FEATUREBOOK_STORE": str(tmp_path / "store.duckdb"), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "store.duckdb").exists()


def test_ctrl_c_ends_the_server_without_a_complaint(tmp_path: Path) -> None:
    server = start_server(tmp_path / "store.duckdb", tmp_path / "server.log")
    server.stop()
    log = (tmp_path / "server.log").read_text("utf-8")
    assert server.process.returncode == 0, log
    assert log.strip().endswith("Stopped.")
    assert not (tmp_path / "store.duckdb.wal").exists()


def test_a_second_server_on_one_store_comes_up_and_says_who_holds_it(tmp_path: Path) -> None:
    store = tmp_path / "store.duckdb"
    first = start_server(store, tmp_path / "first.log")
    try:
        assert first.health()["store"] == "ok"
        second = start_server(store, tmp_path / "second.log")
        try:
            status, answer = second.get("/healthz")
            assert (status, answer["status"], answer["store"]) == (503, "error", "StoreLockedError")
            assert second.get(f"/api/runs/{'0' * 64}")[0] == 503
            assert "is held by" in (tmp_path / "second.log").read_text("utf-8")
            first.stop()
            assert second.health()["store"] == "ok"
        finally:
            second.stop()
    finally:
        first.stop()


def test_with_a_token_the_api_is_closed_to_who_does_not_have_it(tmp_path: Path) -> None:
    server = start_server(
        tmp_path / "store.duckdb", tmp_path / "server.log", FEATUREBOOK_API_TOKEN="secret-word"
    )
    try:
        path = f"/api/runs/{'0' * 64}"
        assert server.get(path)[0] == 401
        assert server.get(path, Authorization="Bearer secret-word")[0] == 404
        assert server.health()["status"] == "ok"
    finally:
        server.stop()


def test_a_server_ends_without_a_trace_and_leaves_the_store_whole(tmp_path: Path) -> None:
    store = tmp_path / "store.duckdb"
    server = start_server(store, tmp_path / "server.log")
    server.stop()
    assert "Traceback" not in (tmp_path / "server.log").read_text("utf-8")
    assert store.exists()
    assert not store.with_name(store.name + ".wal").exists()
