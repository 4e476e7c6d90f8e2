"""Snapshots over HTTP: begun, followed, fetched, cancelled, refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from dashboard.api import create_api
from store import snapshot_jobs
from store.connection import Store
from store.runs import RunRepository
from store.snapshots import Snapshot, write_snapshot
from tests.dashboard.conftest import Bench


@pytest.fixture
def client(bench: Bench) -> Iterator[TestClient]:
    with TestClient(create_api(lambda: bench.services, "1.2.3")) as client:
        yield client


def settled(client: TestClient, job_id: str) -> dict[str, object]:
    end = time.monotonic() + 60
    while (job := client.get(f"/snapshots/{job_id}").json())["state"] == "running":
        assert time.monotonic() < end
        time.sleep(0.01)
    return dict(job)


def test_a_snapshot_is_begun_followed_and_fetched(client: TestClient, tmp_path: Path) -> None:
    run = client.post("/runs", json={"prompt": "Who plays the harp?"}).json()
    answer = client.post("/snapshots", json={"format": "duckdb"})
    assert answer.status_code == 202
    job = settled(client, answer.json()["job_id"])
    assert job["state"] == "done"
    assert job["rows_done"] == job["rows_total"] != 0

    content = client.get(f"/snapshots/{job['job_id']}/content").content
    (tmp_path / "copy.duckdb").write_bytes(content)
    copy = Store.open(tmp_path / "copy.duckdb")
    try:
        assert RunRepository(copy).has_run(run["run_key"])
    finally:
        copy.close()


def test_the_newest_three_are_kept(client: TestClient, bench: Bench) -> None:
    ids = []
    for _ in range(5):
        ids.append(client.post("/snapshots", json={}).json()["job_id"])
        settled(client, ids[-1])
    assert len(list(bench.services.snapshots.folder.iterdir())) == snapshot_jobs.KEPT
    assert client.get(f"/snapshots/{ids[-1]}/content").status_code == 200
    gone = client.get(f"/snapshots/{ids[0]}/content")
    assert gone.status_code == 404
    assert gone.json()["error"]["hint"] == "Ask for a new one."


def test_one_at_a_time_and_a_cancelled_one_leaves_nothing(
    client: TestClient, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered = threading.Event()
    go_on = threading.Event()

    def held(store, destination, format, on_progress, is_cancelled) -> Snapshot:  # type: ignore[no-untyped-def]
        entered.set()
        go_on.wait(30)
        return write_snapshot(store, destination, format, on_progress, is_cancelled)

    client.post("/runs", json={"prompt": "Who plays the harp?"})
    monkeypatch.setattr(snapshot_jobs, "write_snapshot", held)
    job_id = client.post("/snapshots", json={}).json()["job_id"]
    assert entered.wait(30)
    second = client.post("/snapshots", json={})
    assert second.status_code == 400
    assert "being written already" in second.json()["error"]["message"]
    assert client.delete(f"/snapshots/{job_id}").json()["state"] == "running"
    go_on.set()
    assert settled(client, job_id)["state"] == "cancelled"
    assert list(bench.services.snapshots.folder.iterdir()) == []


def test_an_unknown_snapshot_is_not_found(client: TestClient) -> None:
    for answer in (client.get("/snapshots/none"), client.delete("/snapshots/none")):
        assert answer.status_code == 404
        assert answer.json()["error"]["type"] == "SnapshotNotFoundError"


def test_a_client_cannot_name_a_path(client: TestClient) -> None:
    answer = client.post("/snapshots", json={"format": "duckdb", "path": "/etc/passwd"})
    assert answer.status_code == 422
