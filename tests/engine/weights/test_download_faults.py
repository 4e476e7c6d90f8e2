"""Connections that break, a hub that falls silent, a process that dies: nothing is lost."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.errors import (
    ConnectionLostError,
    OfflineError,
)
from engine.weights import fetching
from engine.weights.download import download
from engine.weights.fetcher import Tally, bar_for
from tests.engine.weights.downloads import REPO, SHARDS, Bench, refused
from tests.hub.loopback import LoopbackHub, Stage


@pytest.mark.parametrize(
    ("stage", "after_bytes"),
    [("metadata", None), ("headers", None), ("body", None), ("body", 20_000)],
)
def test_a_connection_cut_once_at_any_stage_is_mended(
    bench: Bench, stage: Stage, after_bytes: int | None
) -> None:
    pattern = REPO if stage == "metadata" else SHARDS[1]
    bench.timeout_s = 3.0
    bench.hub.cut(stage, pattern, after_bytes)
    folder = bench.download()
    assert (folder / SHARDS[1]).read_bytes() == (bench.root / "model" / SHARDS[1]).read_bytes()
    assert bench.hub.count(SHARDS[0]).finished == bench.hub.count(SHARDS[2]).finished == 1
    assert bench.parts() == []


def test_a_connection_reset_in_the_middle_is_mended(bench: Bench) -> None:
    bench.hub.reset(SHARDS[1], after_bytes=20_000)
    bench.download()
    assert [bench.hub.count(name).finished for name in SHARDS] == [1, 1, 1]
    assert bench.parts() == []


@pytest.mark.parametrize("stage", ["metadata", "headers"])
def test_a_connection_that_is_always_cut_ends_in_an_error_and_keeps_what_is_finished(
    bench: Bench, stage: Stage
) -> None:
    bench.hub.cut(stage, REPO if stage == "metadata" else SHARDS[1], times=None)
    error = refused(bench.download, ConnectionLostError, "connection to the hub broke while")
    assert "Finished files are kept" in error.hint
    assert bench.parts() == []
    bench.hub.mend()
    bench.download()
    assert [bench.hub.count(name).finished for name in SHARDS] == [1, 1, 1]


def test_a_body_that_is_always_cut_ends_in_an_error(bench: Bench) -> None:
    bench.timeout_s, bench.n_rounds = 4.0, 1
    bench.hub.cut("body", SHARDS[1], times=None)
    refused(bench.download, ConnectionLostError, "connection to the hub broke")
    assert bench.parts() == []
    assert bench.hub.count(SHARDS[2]).finished == 1


@pytest.mark.parametrize("stage", ["metadata", "headers", "body"])
def test_a_hub_that_falls_silent_once_is_asked_again(bench: Bench, stage: Stage) -> None:
    bench.hub.stall(stage, REPO if stage == "metadata" else SHARDS[1])
    bench.download()
    assert bench.hub.count(SHARDS[0]).finished == 1


@pytest.mark.parametrize("stage", ["metadata", "headers", "body"])
def test_a_hub_that_stays_silent_ends_in_an_error_within_bounds(bench: Bench, stage: Stage) -> None:
    bench.n_rounds = 1
    pattern = REPO if stage == "metadata" else SHARDS[1]
    bench.hub.stall(stage, pattern, times=None, after_bytes=5000 if stage == "body" else None)
    words = "stopped answering" if stage == "metadata" else "has sent nothing of 'org/tiny' for"
    error = refused(bench.download, ConnectionLostError, words)
    assert "try again" in error.hint
    assert bench.parts() == []


def test_the_downloading_process_dying_is_survived(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[str]] = []
    start = fetching._start

    def start_and_remember() -> subprocess.Popen[str]:
        started.append(start())
        return started[-1]

    def kill_the_first(told: object) -> None:
        if len(started) == 1 and bench.hub.count(SHARDS[0]).n_bytes:
            started[0].kill()

    monkeypatch.setattr(fetching, "_start", start_and_remember)
    bench.hub.slow(60_000)
    download(bench.plan(), bench.client, bench.checksums, kill_the_first, lambda: False, 1)
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)
    assert bench.parts() == []


def test_a_hub_that_is_gone_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    gone = Bench(LoopbackHub(), tmp_path)
    gone.hub.endpoint = "http://127.0.0.1:9"
    refused(gone.plan, OfflineError, "cannot be reached for 'org/tiny'")


def test_bytes_that_come_by_xet_are_counted_once() -> None:
    from huggingface_hub.utils._xet_progress_reporting import XetDownloadProgressReporter

    tally = Tally(lambda: False)
    with XetDownloadProgressReporter(
        reconstruction_desc="a", log_level=0, total=1000, tqdm_class=bar_for("a", tally)
    ) as reporter:
        for n_bytes in (0, 400, 1000):
            reporter.update_progress(
                SimpleNamespace(
                    total_bytes=1000,
                    total_bytes_completed=n_bytes,
                    total_transfer_bytes_completed=n_bytes // 2,
                    total_bytes_completion_rate=1.0,
                    total_transfer_bytes_completion_rate=1.0,
                )
            )
    assert tally.read()["bytes"] == 1000
    assert tally.read()["beats"] == 4
