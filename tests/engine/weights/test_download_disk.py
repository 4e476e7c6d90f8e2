"""A disk that is full, forbidden or no folder: one sentence, a hint, and no part of a file."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import (
    DownloadError,
    EngineError,
    NoSpaceError,
)
from engine.weights.download import download
from engine.weights.fetcher import FetchJob, fetch
from engine.weights.hub_errors import translate
from engine.weights.parts import DownloadPlan
from tests.engine.weights.downloads import REPO, SHARDS, Bench, refused


def test_a_cache_path_that_is_a_file_is_told(bench: Bench) -> None:
    plan = bench.plan()
    bench.caches.project.write_text("not a folder")
    error = refused(
        lambda: download(plan, bench.client, bench.checksums, bench.told.append, lambda: False),
        DownloadError,
        "a file or a broken link is in its place",
    )
    assert "MODEL_CACHE_DIR" in error.hint
    assert bench.caches.project.read_text() == "not a folder"


@pytest.mark.parametrize("is_circular", [False, True])
def test_a_link_that_leads_nowhere_is_not_replaced_by_a_download(
    bench: Bench, is_circular: bool
) -> None:
    plan = bench.plan()
    bench.caches.project.mkdir()
    target = bench.repository if is_circular else bench.root / "unplugged disk"
    bench.repository.symlink_to(target)
    error = refused(bench.download, DownloadError, "leads nowhere")
    assert "weights.py link org/tiny" in error.hint
    assert bench.repository.is_symlink()
    assert bench.hub.count(plan.files[0].path).gets == 0


def test_a_folder_that_may_not_be_written_is_told(bench: Bench) -> None:
    plan = bench.plan()
    bench.caches.project.mkdir(mode=0o500)
    with _ordinary_user():
        refused(
            lambda: download(plan, bench.client, bench.checksums, bench.told.append, lambda: False),
            DownloadError,
            "may not write in the cache folder",
        )
    assert bench.hub.count(SHARDS[0]).gets == 0


@contextmanager
def _ordinary_user() -> Iterator[None]:
    """Permissions do not bind the superuser."""
    is_super = os.geteuid() == 0
    if is_super:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_super:
            os.seteuid(0)


def test_a_disk_that_is_full_in_the_middle_keeps_finished_shards_and_no_part(
    bench: Bench,
) -> None:
    if not _mount_small_disk(bench.caches.project, 130_000):
        pytest.skip("no small disk can be made here")
    try:
        plan = replace(bench.plan(), free_bytes=10**9)
        with pytest.MonkeyPatch.context() as patch:
            # Another process takes the room after it was looked at.
            patch.setattr("engine.weights.download.free_bytes", lambda folder: 10**9)
            error = refused(
                lambda: download(
                    plan, bench.client, bench.checksums, bench.told.append, lambda: False, 1
                ),
                NoSpaceError,
                "disk of .* is full",
            )
        assert "MODEL_CACHE_DIR" in error.hint
        assert bench.parts() == []
        finished = [file.path for file in bench.plan().files if file.is_present]
        assert SHARDS[0] in finished
        assert SHARDS[2] not in finished
    finally:
        subprocess.run(["umount", bench.caches.project], check=True)


def _mount_small_disk(folder: Path, n_bytes: int) -> bool:
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def test_a_write_that_fails_for_lack_of_room_is_told_and_leaves_no_part(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import file_download

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    plan = bench.plan()
    monkeypatch.setattr(file_download, "http_get", refuse)
    reports: list[dict[str, object]] = []
    job = _job(bench, plan)
    error = fetch(job, reports.append, lambda: False)
    assert isinstance(error, NoSpaceError)
    assert "is full" in error.message
    assert {"type": "NoSpaceError", "message": error.message, "hint": error.hint} in [
        report.get("error") for report in reports
    ]
    assert bench.parts() == []


def _job(bench: Bench, plan: DownloadPlan) -> FetchJob:
    return FetchJob(
        repo_id=plan.repo_id,
        revision=plan.revision,
        commit=plan.commit,
        cache_dir=str(plan.cache_dir),
        files=tuple(file.path for file in plan.files),
        endpoint=bench.hub.endpoint,
        token=None,
        timeout_s=1.0,
        max_workers=2,
    )


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, NoSpaceError, "disk of '/c' is full"),
        (errno.EDQUOT, NoSpaceError, "disk of '/c' is full"),
        (errno.EFBIG, NoSpaceError, "no file that large"),
        (errno.EACCES, DownloadError, "may not write in the cache folder '/c'"),
        (errno.EPERM, DownloadError, "may not write in the cache folder '/c'"),
        (errno.EROFS, DownloadError, "may not write in the cache folder '/c'"),
        (errno.ENOTDIR, DownloadError, "cache folder '/c' cannot be used"),
        (errno.ELOOP, DownloadError, "cache folder '/c' cannot be used"),
        (errno.EIO, DownloadError, "could not be fetched: Input/output error"),
    ],
)
def test_errors_of_the_disk_are_said_in_a_sentence(
    number: int, kind: type[EngineError], words: str
) -> None:
    error = OSError(number, os.strerror(number))
    translated = translate(error, REPO, "main", Path("/c"))
    refused(lambda: (_ for _ in ()).throw(translated), kind, words)
