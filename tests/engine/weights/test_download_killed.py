"""A download that is killed, again and again: what is finished stays, nothing is left behind."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.weights.fetcher import FetchJob
from tests.engine.weights.downloads import REPO, Bench
from tests.hub.loopback import serve
from tests.hub.repositories import shard_name, write_sharded_model
from tests.source_files import ROOT

N_SHARDS = 24
SHARDS = [shard_name(index, N_SHARDS) for index in range(N_SHARDS)]
N_KILLS = 10
_DRIVER = """
import sys
from pathlib import Path
from tests.engine.weights.downloads import Bench
from tests.hub.loopback import LoopbackHub

hub = LoopbackHub()
hub.endpoint = sys.argv[1]
Bench(hub, Path(sys.argv[2]), timeout_s=10.0).download(max_workers=2)
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    write_sharded_model(tmp_path / "model", N_SHARDS, shard_bytes=40_000)
    with serve({REPO: tmp_path / "model"}) as hub:
        yield Bench(hub, tmp_path)


def _start(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> subprocess.Popen[bytes]:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    command = [sys.executable, "-W", "ignore", "-c", _DRIVER, bench.hub.endpoint, str(bench.root)]
    return subprocess.Popen(command, cwd=ROOT)


def _sent(bench: Bench) -> int:
    return sum(bench.hub.count(name).n_bytes for name in SHARDS)


def _finished(bench: Bench) -> set[str]:
    return {path.name for path in bench.repository.glob("snapshots/*/*.safetensors")}


def test_ten_kills_at_random_moments_lose_no_finished_shard(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = random.Random(0)
    bench.hub.slow(160_000)
    kept: dict[str, int] = {}
    n_kills = 0
    for _ in range(N_KILLS):
        before = _sent(bench)
        process = _start(bench, monkeypatch)
        while _sent(bench) == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 0.35))
        process.send_signal(signal.SIGKILL)
        n_kills += process.wait() == -signal.SIGKILL
        for name in _finished(bench) - set(kept):
            kept[name] = bench.hub.count(name).gets
    assert n_kills == N_KILLS
    bench.hub.mend()
    assert _start(bench, monkeypatch).wait() == 0
    assert _finished(bench) == set(SHARDS)
    assert {name: bench.hub.count(name).gets for name in kept} == kept
    assert bench.parts() == []
    # Every file is compared with the hub's checksum once more.
    folder = bench.download()
    for name in SHARDS:
        assert (folder / name).read_bytes() == (bench.root / "model" / name).read_bytes()


def test_ctrl_c_leaves_no_part_and_no_process(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.hub.slow(20_000)
    process = _start(bench, monkeypatch)
    while not _sent(bench) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.wait(10)
    assert bench.parts() == []
    sent = _sent(bench)
    time.sleep(0.3)
    assert _sent(bench) == sent


def test_the_fetching_process_ends_with_whoever_started_it(bench: Bench) -> None:
    bench.hub.stall("body", SHARDS[0], after_bytes=1000, times=None)
    plan = bench.plan()
    plan.cache_dir.mkdir()
    job = FetchJob(
        repo_id=REPO,
        revision="main",
        commit=plan.commit,
        cache_dir=str(plan.cache_dir),
        files=(SHARDS[0],),
        endpoint=bench.hub.endpoint,
        token=None,
        timeout_s=60.0,
        max_workers=1,
    )
    monkeypatched = {"HF_HUB_OFFLINE": "0", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "engine.weights.fetcher"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=monkeypatched,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(job.to_line())
    process.stdin.flush()
    while not _sent(bench):
        time.sleep(0.01)
    process.stdin.close()
    assert process.wait(10) == 1
    process.stdout.close()
