"""Offline: not one connection, whatever is asked; what is here works, what is missing says so."""

from __future__ import annotations

import socket
import time
from dataclasses import replace

import pytest

from engine.definitions import SourceDefinition
from engine.errors import OfflineError
from engine.weights.download import download
from engine.weights.hub import Hub
from engine.weights.inventory import list_components
from engine.weights.locate import Locator
from engine.weights.plan import plan_download
from engine.weights.source_transfers import plan_source, verify_source
from tests.engine.weights.downloads import REPO, Bench
from tests.hub.repositories import shard_name

SOURCE = SourceDefinition("tiny", "Tiny", REPO, None)


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Refuses connections of this process; what was tried is in the list."""
    tried: list[object] = []

    def refuse(self: socket.socket, address: object) -> None:
        tried.append(address)
        raise AssertionError(f"a connection to {address} was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *rest: refuse(socket.socket(), rest))
    return tried


def test_what_is_missing_says_so_at_once(bench: Bench, no_sockets: list[object]) -> None:
    offline = replace(bench.client, is_offline=True, endpoint=None, timeout_s=30.0)
    started = time.monotonic()
    with pytest.raises(OfflineError, match="'org/tiny' cannot be fetched: HF_HUB_OFFLINE is set"):
        plan_download(REPO, None, bench.caches, offline, "model")
    assert time.monotonic() - started < 2.0
    assert no_sockets == []


def test_what_is_complete_is_located_verified_and_downloaded_without_a_connection(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = bench.plan()
    folder = bench.download()
    offline = replace(bench.client, is_offline=True)
    n_requests = bench.hub.n_requests
    reports = verify_source(
        SOURCE,
        bench.caches,
        bench.checksums,
        offline,
        lambda told: None,
        lambda: False,
        lambda reports: None,
    )
    assert [report.component for report in reports] == ["model", "tokenizer"]
    assert all(report.is_sound and report.against == "record" for report in reports)
    assert plan_source(SOURCE, bench.caches, offline) == ()
    again = download(plan, offline, bench.checksums, lambda told: None, lambda: False)
    assert again == folder
    assert Locator(bench.caches, bench.checksums).locate(REPO, "config.json").folder == folder
    assert bench.hub.n_requests == n_requests


def test_what_is_partly_here_is_not_finished_offline(bench: Bench) -> None:
    plan = bench.plan()
    folder = bench.download()
    (folder / shard_name(1, 3)).resolve().unlink()
    (folder / shard_name(1, 3)).unlink()
    offline = replace(bench.client, is_offline=True)
    n_requests = bench.hub.n_requests
    with pytest.raises(OfflineError):
        download(plan, offline, bench.checksums, lambda told: None, lambda: False)
    statuses = list_components(SOURCE, bench.caches, bench.checksums)
    assert [status.state for status in statuses] == ["partial", "local"]
    assert bench.hub.n_requests == n_requests


def test_no_route_is_told_at_once_and_everything_local_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.download()
    gone = Hub(endpoint="http://127.0.0.1:9", timeout_s=20.0)
    started = time.monotonic()
    reports = verify_source(
        SOURCE,
        bench.caches,
        bench.checksums,
        gone,
        lambda told: None,
        lambda: False,
        lambda reports: None,
    )
    assert time.monotonic() - started < 5.0
    assert all(report.is_sound and report.against == "record" for report in reports)
