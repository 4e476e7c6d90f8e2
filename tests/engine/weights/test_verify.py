"""Verifying: against the hub, against what was noted, against nothing; and what each fault is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from engine.definitions import SourceDefinition
from engine.errors import TransferCancelled, WeightsMissingError
from engine.weights.inventory import list_components
from engine.weights.parts import TransferProgress, VerifyReport
from engine.weights.source_transfers import download_source, plan_source, verify_source
from engine.weights.verify import verify_component
from tests.engine.weights.downloads import REPO, Bench
from tests.hub.loopback import LoopbackHub, serve
from tests.hub.repositories import shard_name, write_sae, write_sharded_model

SHARDS = [shard_name(index, 3) for index in range(3)]
SAE = "org/saes:blocks.1.hook_resid_post"
SOURCE = SourceDefinition("tiny", "Tiny", REPO, SAE)


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the repositories, and a cache that has both of them."""
    root = tmp_path_factory.mktemp("downloaded")
    write_sharded_model(root / "model")
    write_sae(root / "saes" / "blocks.1.hook_resid_post")
    with _serve(root) as hub:
        made = Bench(hub, root)
        plans = plan_source(SOURCE, made.caches, made.client)
        download_source(plans, made.client, made.checksums, lambda told: None, lambda: False)
    return root


@pytest.fixture
def bench(downloaded: Path, tmp_path: Path) -> Iterator[Bench]:
    root = tmp_path / "copy"
    shutil.copytree(downloaded, root, symlinks=True)
    with _serve(root) as hub:
        yield Bench(hub, root)


def _serve(root: Path) -> AbstractContextManager[LoopbackHub]:
    return serve({REPO: root / "model", "org/saes": root / "saes"})


def _verify(
    bench: Bench, source: SourceDefinition = SOURCE, is_offline: bool = False
) -> dict[str, VerifyReport]:
    client = replace(bench.client, is_offline=is_offline)
    reports = verify_source(
        source,
        bench.caches,
        bench.checksums,
        client,
        bench.told.append,
        lambda: False,
        lambda reports: None,
    )
    return {report.component: report for report in reports}


def _rewrite(path: Path, content: bytes) -> None:
    blob = path.resolve()
    blob.write_bytes(content)


def _shard(bench: Bench) -> Path:
    return next(bench.repository.glob(f"snapshots/*/{SHARDS[1]}"))


def test_a_download_verifies_against_the_hub_and_offline_against_the_record(bench: Bench) -> None:
    reports = _verify(bench)
    assert list(reports) == ["model", "tokenizer", "sae"]
    assert all(report.is_sound and report.against == "hub" for report in reports.values())
    assert reports["model"].n_files == 5
    assert reports["model"].n_bytes > 180_000
    assert reports["sae"].location == SAE
    assert all(len(report.revision or "") == 40 for report in reports.values())
    offline = _verify(bench, is_offline=True)
    assert all(report.is_sound and report.against == "record" for report in offline.values())
    statuses = list_components(SOURCE, bench.caches, bench.checksums)
    assert {status.check for status in statuses} == {"verified"}


def test_progress_ends_complete(bench: Bench) -> None:
    _verify(bench)
    assert all(told.step == "verifying" for told in bench.told)
    assert bench.told[-1].files_done == bench.told[-1].files_total == 2
    assert bench.told[-1].bytes_done == bench.told[-1].bytes_total > 0


@pytest.mark.parametrize("is_offline", [False, True])
def test_bytes_that_changed_on_disk_are_found_though_nothing_else_did(
    bench: Bench, is_offline: bool
) -> None:
    shard = _shard(bench)
    stat = shard.stat()
    content = bytearray(shard.read_bytes())
    content[-5] ^= 1
    _rewrite(shard, bytes(content))
    os.utime(shard.resolve(), ns=(stat.st_atime_ns, stat.st_mtime_ns))
    report = _verify(bench, is_offline=is_offline)["model"]
    assert [fault.path for fault in report.faults] == [SHARDS[1]]
    assert "not those that were published" in report.faults[0].reason
    model = list_components(SOURCE, bench.caches, bench.checksums)[0]
    assert model.check == "damaged"
    # The next download replaces it, and it alone.
    bench.download()
    assert bench.hub.count(SHARDS[1]).finished == 1
    assert bench.hub.count(SHARDS[0]).gets == 0
    assert _verify(bench)["model"].is_sound


def test_a_truncated_shard_and_a_missing_one_are_told(bench: Bench) -> None:
    shard = _shard(bench)
    _rewrite(shard, shard.read_bytes()[:-100])
    other = shard.with_name(SHARDS[2])
    other.resolve().unlink()
    faults = {fault.path: fault.reason for fault in _verify(bench)["model"].faults}
    assert "bytes instead of" in faults[SHARDS[1]]
    assert faults[SHARDS[2]] == "It is missing."


def test_a_component_that_is_not_here_is_a_fault(bench: Bench) -> None:
    absent = SourceDefinition("other", "Other", "org/absent", None)
    reports = _verify(bench, absent)
    assert not reports["model"].is_sound
    assert "not on this machine" in reports["model"].faults[0].reason
    status = list_components(absent, bench.caches, bench.checksums)[0]
    with pytest.raises(WeightsMissingError):
        verify_component(status, bench.checksums, bench.client, lambda told: None, lambda: False)


def test_a_folder_of_ones_own_is_noted_first_and_compared_then(bench: Bench) -> None:
    folder = bench.root / "my own é model"
    write_sharded_model(folder)
    own = SourceDefinition("own", "Own", str(folder), str(bench.root / "saes"))
    first = _verify(bench, own)
    assert {report.against for report in first.values()} == {"nothing"}
    assert all(report.is_sound for report in first.values())
    assert {report.against for report in _verify(bench, own).values()} == {"record"}
    shard = folder / SHARDS[0]
    content = bytearray(shard.read_bytes())
    content[-1] ^= 255
    shard.write_bytes(content)
    report = _verify(bench, own)["model"]
    assert [fault.path for fault in report.faults] == [SHARDS[0]]
    assert "noted when it was first read" in report.faults[0].reason


def test_a_shard_that_is_no_safetensors_file_is_told_though_nothing_is_known(bench: Bench) -> None:
    folder = bench.root / "own"
    write_sharded_model(folder)
    (folder / SHARDS[0]).write_bytes(b"not tensors" * 100)
    own = SourceDefinition("own", "Own", str(folder), None)
    report = _verify(bench, own)["model"]
    assert any("no whole safetensors file" in fault.reason for fault in report.faults)


def test_the_sae_s_config_and_keys_are_read(bench: Bench) -> None:
    folder = bench.root / "own sae"
    write_sae(folder)
    config = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps(config | {"d_in": 99}))
    own = SourceDefinition("own", "Own", None, str(folder))
    report = _verify(bench, own)["sae"]
    assert [fault.path for fault in report.faults] == ["config"]
    assert "99" in report.faults[0].reason


def test_an_index_that_names_a_file_outside_is_a_fault(bench: Bench) -> None:
    folder = bench.root / "own"
    write_sharded_model(folder)
    index = {"weight_map": {"a": "../../secret.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    report = _verify(bench, SourceDefinition("own", "Own", str(folder), None))["model"]
    assert any("outside" in fault.reason for fault in report.faults)


def test_verifying_can_be_cancelled(bench: Bench) -> None:
    told: list[TransferProgress] = []
    with pytest.raises(TransferCancelled):
        verify_source(
            SOURCE,
            bench.caches,
            bench.checksums,
            bench.client,
            told.append,
            lambda: bool(told),
            lambda reports: None,
        )
