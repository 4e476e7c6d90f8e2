"""Transfers beside the pages: one a source, joined, cancelled, failed as data, gone after close."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.definitions import SourceDefinition
from engine.errors import RequestError, UnknownSourceError
from engine.transfers import Transfers, TransferView
from engine.weights.caches import Caches
from engine.weights.checksums import ChecksumStore
from engine.weights.hub import Hub
from engine.weights.inventory import list_components
from tests.hub.loopback import LoopbackHub, serve
from tests.hub.repositories import shard_name, write_sae, write_sharded_model

SHARDS = [shard_name(index, 3) for index in range(3)]
SOURCES = {
    "tiny": SourceDefinition("tiny", "Tiny", "org/tiny", "sae-lens:a/b"),
    "gone": SourceDefinition("gone", "Gone", "org/gone", None),
}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    write_sharded_model(tmp_path / "model", shard_bytes=200_000)
    write_sae(tmp_path / "saes" / "blocks.1.hook_resid_post")
    with serve({"org/tiny": tmp_path / "model", "org/saes": tmp_path / "saes"}) as served:
        yield served


@pytest.fixture
def transfers(hub: LoopbackHub, tmp_path: Path) -> Iterator[Transfers]:
    caches = Caches(tmp_path / "cache", tmp_path / "shared")
    made = Transfers(
        caches,
        ChecksumStore(caches.records),
        Hub(endpoint=hub.endpoint, timeout_s=2.0, n_rounds=1, pause_s=0.01),
        _find,
        lambda location: (
            "org/saes:blocks.1.hook_resid_post" if location.startswith("sae-lens:") else location
        ),
    )
    yield made
    made.close()


def _find(name: str) -> SourceDefinition:
    if name not in SOURCES:
        raise UnknownSourceError(name, tuple(SOURCES))
    return SOURCES[name]


def _await(
    transfers: Transfers, view: TransferView, is_reached: Callable[[TransferView], bool]
) -> TransferView:
    deadline = time.monotonic() + 30
    while not is_reached(view):
        assert time.monotonic() < deadline, view
        assert view.is_active or is_reached(view), view
        time.sleep(0.02)
        view = transfers.transfer(view.transfer_id)
    return view


def test_a_plan_a_download_and_a_verification_of_a_source(
    transfers: Transfers, tmp_path: Path
) -> None:
    started = transfers.start("plan", "tiny", "anna")
    assert (started.state, started.asked_by, started.plans) == ("running", "anna", ())
    planned = transfers.wait(started.transfer_id, 30)
    assert planned.state == "done"
    assert [plan.repo_id for plan in planned.plans] == ["org/tiny", "org/saes"]
    total = sum(plan.total_bytes for plan in planned.plans)
    done = transfers.wait(transfers.start("download", "tiny", "anna").transfer_id, 30)
    assert (done.state, done.failure) == ("done", None)
    assert done.progress is not None
    assert done.progress.bytes_done == done.progress.bytes_total == total
    assert done.progress.files_done == done.progress.files_total == 10
    assert done.elapsed_s > 0
    verified = transfers.wait(transfers.start("verify", "tiny", "ben").transfer_id, 30)
    assert verified.state == "done"
    assert [report.component for report in verified.reports][:2] == ["model", "tokenizer"]
    assert all(report.is_sound for report in verified.reports[:2])
    assert [view.kind for view in transfers.transfers()] == ["verify", "download", "plan"]


def test_a_second_start_joins_and_another_kind_is_told_to_wait(
    transfers: Transfers, hub: LoopbackHub
) -> None:
    hub.slow(100_000)
    first = transfers.start("download", "tiny", "anna")
    second = transfers.start("download", "tiny", "ben")
    assert second.transfer_id == first.transfer_id
    with pytest.raises(RequestError, match="'tiny' is being downloaded already"):
        transfers.start("verify", "tiny", "ben")
    other = transfers.start("plan", "gone", "ben")
    assert other.transfer_id != first.transfer_id


def test_progress_is_seen_and_cancelling_takes_about_a_second(
    transfers: Transfers, hub: LoopbackHub
) -> None:
    hub.slow(100_000)
    view = transfers.start("download", "tiny", "anna")
    view = _await(
        transfers, view, lambda now: now.progress is not None and now.progress.bytes_done > 70_000
    )
    assert view.progress is not None
    assert view.progress.step == "downloading"
    assert view.plans
    started = time.monotonic()
    transfers.cancel(view.transfer_id)
    ended = transfers.wait(view.transfer_id, 10)
    assert ended.state == "cancelled"
    assert time.monotonic() - started < 2.5
    assert transfers.cancel(view.transfer_id).state == "cancelled"
    hub.mend()
    again = transfers.wait(transfers.start("download", "tiny", "anna").transfer_id, 30)
    assert again.state == "done"


def test_cancelling_while_the_hub_is_silent_does_not_wait_for_it(
    transfers: Transfers, hub: LoopbackHub
) -> None:
    hub.stall("metadata", times=None)
    view = transfers.start("plan", "tiny", "anna")
    transfers.cancel(view.transfer_id)
    started = time.monotonic()
    assert transfers.wait(view.transfer_id, 10).state == "cancelled"
    assert time.monotonic() - started < 1.5


def test_a_failure_is_data(transfers: Transfers) -> None:
    failed = transfers.wait(transfers.start("download", "gone", "anna").transfer_id, 30)
    assert failed.state == "failed"
    assert failed.failure is not None
    assert failed.failure.error_type == "RepositoryError"
    assert "'org/gone'" in failed.failure.message
    assert "hf auth login" in failed.failure.hint
    assert failed.failure.is_request_fault


def test_an_unknown_source_or_transfer_is_told(transfers: Transfers) -> None:
    with pytest.raises(UnknownSourceError):
        transfers.start("plan", "nothing", "anna")
    with pytest.raises(RequestError, match="no transfer 'abc'"):
        transfers.transfer("abc")


def test_at_most_fifty_are_kept_and_views_are_cheap(transfers: Transfers) -> None:
    for _ in range(55):
        transfers.wait(transfers.start("verify", "gone", "anna").transfer_id, 10)
    assert len(transfers.transfers()) == 50
    started = time.perf_counter()
    for _ in range(100):
        transfers.transfers()
    assert time.perf_counter() - started < 1.0


def test_close_cancels_what_runs_and_leaves_no_thread(
    transfers: Transfers, hub: LoopbackHub, tmp_path: Path
) -> None:
    hub.slow(20_000)
    view = transfers.start("download", "tiny", "anna")
    _await(transfers, view, lambda now: now.progress is not None)
    transfers.close()
    assert transfers.transfer(view.transfer_id).state == "cancelled"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("transfer-")]
    with pytest.raises(RequestError, match="shutting down"):
        transfers.start("plan", "tiny", "anna")
    assert not list((tmp_path / "cache").rglob("*.incomplete"))


def test_a_source_of_folders_has_nothing_to_fetch(transfers: Transfers, tmp_path: Path) -> None:
    own = SourceDefinition("own", "Own", str(tmp_path / "model"), None)
    SOURCES["own"] = own
    try:
        done = transfers.wait(transfers.start("download", "own", "anna").transfer_id, 10)
    finally:
        del SOURCES["own"]
    assert (done.state, done.plans) == ("done", ())
    caches = Caches(tmp_path / "cache", tmp_path / "shared")
    assert list_components(own, caches, ChecksumStore(caches.records))[0].state == "folder"
