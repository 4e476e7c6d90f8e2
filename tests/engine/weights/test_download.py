"""Downloading from a hub that does its part: the layout, the progress, what is never done twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import snapshot_download

from engine.errors import NoSpaceError, TransferCancelled, WeightsMissingError
from engine.weights.checksums import repository_key
from engine.weights.download import download
from engine.weights.locate import Locator
from tests.engine.weights.downloads import REPO, Bench
from tests.hub.loopback import serve
from tests.hub.repositories import INDEX, shard_name, write_sharded_model

SHARDS = [shard_name(index, 3) for index in range(3)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    write_sharded_model(tmp_path / "model", shard_bytes=200_000)
    with serve({REPO: tmp_path / "model"}) as hub:
        yield Bench(hub, tmp_path)


def test_a_download_is_found_by_the_locator_and_by_the_hub_client_and_is_verified(
    bench: Bench,
) -> None:
    folder = bench.download()
    located = Locator(bench.caches, bench.checksums).locate(REPO, "config.json")
    assert located.folder == folder
    assert folder.name == bench.plan().commit == located.commit
    offline = snapshot_download(REPO, cache_dir=bench.caches.project, local_files_only=True)
    assert Path(offline).resolve() == folder.resolve()
    for path in folder.iterdir():
        assert path.read_bytes() == (bench.root / "model" / path.name).read_bytes()
    key = repository_key(REPO, folder.name)
    assert bench.checksums.check_of(key, folder) == "verified"
    assert set(bench.checksums.find_record(key) or {}) == {path.name for path in folder.iterdir()}


def test_only_what_is_needed_is_fetched_and_each_file_once(bench: Bench) -> None:
    folder = bench.download()
    fetched = {path.name for path in folder.iterdir()}
    texts = {"config.json", "tokenizer.json", "tokenizer_config.json", "README.md", INDEX}
    assert fetched == {*SHARDS, *texts}
    assert all(bench.hub.count(name).finished == 1 for name in fetched - {INDEX})
    n_requests = bench.hub.n_requests
    assert bench.download() == folder
    assert bench.hub.n_requests == n_requests


def test_progress_counts_bytes_and_files_and_ends_complete(bench: Bench) -> None:
    bench.hub.slow(250_000)
    bench.download()
    plan = bench.plan()
    steps = [told.step for told in bench.told]
    assert steps == sorted(steps)
    loading = [told for told in bench.told if told.step == "downloading"]
    assert [told.bytes_done for told in loading] == sorted(told.bytes_done for told in loading)
    assert (loading[-1].files_done, loading[-1].bytes_done) == (len(plan.files), plan.total_bytes)
    assert any(told.bytes_per_s > 0 and told.left_s is not None for told in loading)
    assert any(told.current in SHARDS for told in loading)
    assert len(bench.told) < 60
    assert bench.told[-1].step == "verifying"
    assert bench.told[-1].bytes_done == plan.total_bytes


def test_the_next_call_fetches_only_the_rest_and_clears_what_was_left(bench: Bench) -> None:
    bench.download()
    fetched = bench.hub.count(SHARDS[0])
    link = bench.repository / "snapshots" / bench.plan().commit / SHARDS[1]
    blob = link.resolve()
    link.unlink()
    blob.unlink()
    orphan = blob.with_name(f"{blob.name}.0123abcd.incomplete")
    orphan.write_bytes(b"x" * 1000)
    plan = bench.plan()
    assert [file.path for file in plan.files if not file.is_present] == [SHARDS[1]]
    assert plan.orphan_bytes == 1000
    bench.download()
    assert bench.parts() == []
    assert bench.hub.count(SHARDS[0]) == fetched
    assert bench.hub.count(SHARDS[1]).finished == 2


def test_a_file_cut_short_in_the_cache_is_fetched_again(bench: Bench) -> None:
    folder = bench.download()
    blob = (folder / SHARDS[2]).resolve()
    blob.write_bytes(blob.read_bytes()[:-100])
    assert [file.path for file in bench.plan().files if not file.is_present] == [SHARDS[2]]
    bench.download()
    assert blob.stat().st_size == (bench.root / "model" / SHARDS[2]).stat().st_size


def test_content_that_another_revision_brought_is_not_fetched_again(bench: Bench) -> None:
    bench.download()
    (bench.root / "model" / "config.json").write_text('{"model_type": "mistral"}')
    commit = bench.hub.publish(REPO, bench.root / "model")
    assert bench.plan().missing_bytes == len('{"model_type": "mistral"}')
    folder = bench.download()
    assert folder.name == commit
    assert bench.hub.count(SHARDS[0]).finished == 1
    assert (bench.repository / "refs" / "main").read_text() == commit


def test_a_new_revision_takes_the_name_only_when_it_is_whole(bench: Bench) -> None:
    first = bench.download().name
    (bench.root / "model" / "config.json").write_text('{"model_type": "mistral"}')
    bench.hub.publish(REPO, bench.root / "model")
    bench.hub.corrupt("config.json")
    with pytest.raises(Exception, match="damaged"):
        bench.download()
    assert (bench.repository / "refs" / "main").read_text() == first
    assert Locator(bench.caches, bench.checksums).locate(REPO, "config.json").commit == first


def test_a_branch_is_downloaded_under_its_name(bench: Bench) -> None:
    (bench.root / "model" / "config.json").write_text('{"model_type": "phi3"}')
    commit = bench.hub.publish(REPO, bench.root / "model", "refs/pr/1")
    plan = bench.plan("refs/pr/1")
    assert (plan.revision, plan.commit) == ("refs/pr/1", commit)
    download(plan, bench.client, bench.checksums, bench.told.append, lambda: False)
    located = Locator(bench.caches, bench.checksums).locate(REPO, "config.json", "refs/pr/1")
    assert located.commit == commit
    with pytest.raises(WeightsMissingError):
        Locator(bench.caches, bench.checksums).locate(REPO, "config.json")


def test_cancelling_in_the_middle_of_a_shard_takes_about_a_second_and_keeps_finished_ones(
    bench: Bench,
) -> None:
    bench.hub.slow(150_000)
    cancelled = threading.Event()
    since: list[float] = []

    def cancel_within_the_second(told: object) -> None:
        if bench.hub.count(SHARDS[0]).finished and bench.hub.count(SHARDS[1]).n_bytes:
            since.append(time.monotonic())
            cancelled.set()

    with pytest.raises(TransferCancelled):
        download(
            bench.plan(),
            bench.client,
            bench.checksums,
            cancel_within_the_second,
            cancelled.is_set,
            max_workers=1,
        )
    assert time.monotonic() - since[0] < 2.0
    assert bench.parts() == []
    bench.hub.mend()
    bench.download()
    assert bench.hub.count(SHARDS[0]).finished == 1


def test_two_downloads_at_once_fetch_every_file_once(bench: Bench) -> None:
    bench.hub.slow(300_000)
    done: list[Path] = []
    threads = [threading.Thread(target=lambda: done.append(bench.download())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 2
    assert bench.parts() == []
    assert [bench.hub.count(name).finished for name in SHARDS] == [1, 1, 1]


def test_what_does_not_fit_is_refused_before_the_first_byte(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = bench.plan()
    assert plan.fits
    assert not replace(plan, free_bytes=plan.missing_bytes - 1).fits
    monkeypatch.setattr("engine.weights.download.free_bytes", lambda folder: 1000)
    with pytest.raises(NoSpaceError, match=r"needs .* GB, and the disk of .* GB free") as caught:
        download(plan, bench.client, bench.checksums, bench.told.append, lambda: False)
    assert caught.value.free_bytes == 1000
    assert "MODEL_CACHE_DIR" in caught.value.hint
    assert bench.hub.count(SHARDS[0]).gets == 0


def test_all_of_it_in_the_global_cache_is_not_downloaded_again(bench: Bench) -> None:
    bench.download()
    bench.caches.shared.mkdir()
    bench.repository.rename(bench.caches.shared / bench.repository.name)
    plan = bench.plan()
    assert plan.cache_dir == bench.caches.shared
    assert plan.missing_bytes == 0


def test_a_linked_repository_is_completed_where_it_is(bench: Bench) -> None:
    folder = bench.download()
    link = folder / SHARDS[1]
    link.resolve().unlink()
    link.unlink()
    bench.caches.shared.mkdir()
    shared = bench.repository.rename(bench.caches.shared / bench.repository.name)
    bench.repository.symlink_to(shared)
    bench.download()
    assert bench.repository.is_symlink()
    assert (shared / "snapshots" / folder.name / SHARDS[1]).is_file()
    assert [bench.hub.count(name).finished for name in SHARDS] == [1, 2, 1]
