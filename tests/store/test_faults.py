"""Disks that fill, processes that die, files that are not ours: one clear error, nothing lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from store.connection import Store
from store.errors import StoreError, StoreLockedError, StoreUnusableError
from store.migrations import versions
from store.posting_tables import POSTINGS
from store.runs import RunRepository

ROOT = Path(__file__).parents[2]
_WRITER = """
import sys
from pathlib import Path
from store.connection import Store
from store.runs import RunRepository
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens
runs = RunRepository(Store.open(Path(sys.argv[1])))
for index in range(int(sys.argv[2]), 10_000):
    tokens, activations = make_tokens(200, 40), make_activations(index, 200, 40)
    runs.insert_run(SOURCE, make_run(index, 200), tokens, activations)
    print(index, flush=True)
"""


def _python(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _keys(path: Path) -> list[str]:
    """Keys of all runs; fails if one of them is not whole."""
    store = Store.open(path)
    try:
        with store.read() as cursor:
            rows = cursor.execute(
                """
                SELECT run_key, n_prompt_tokens + n_generated_tokens,
                       (SELECT count(*) FROM tokens AS t WHERE t.run_key = r.run_key),
                       (SELECT count(*) FROM activations AS a WHERE a.run_key = r.run_key)
                FROM runs AS r ORDER BY run_key
                """
            ).fetchall()
        assert all(row[1:] == (200, 200, 8000) for row in rows)
        return [row[0] for row in rows]
    finally:
        store.close()


def test_a_killed_writer_leaves_every_acknowledged_run_whole_and_no_half_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.duckdb"
    waits = random.Random(5)
    acknowledged = -1
    for _ in range(5):
        process = _python(_WRITER, str(path), str(acknowledged + 1))
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, process.stderr.read() if process.stderr else ""
        time.sleep(waits.random() * 0.5)
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        acknowledged = int((first + rest).split()[-1])
        keys = _keys(path)
        # one more may have been written whole and not yet told
        assert len(keys) - 1 in (acknowledged, acknowledged + 1)
        acknowledged = len(keys) - 1


_MERGING_WRITER = """
import sys
from pathlib import Path
import store.merging as merging
from store.connection import Store
from store.runs import RunRepository
from store.records import WholeRun
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens
merging._CLASS_SIZES, merging._PART_ROWS = (20_000, 60_000, 10**9), 9_000
merging.FAN_IN = merging.MAX_SMALL = 2
runs = RunRepository(Store.open(Path(sys.argv[1])))
print("open", flush=True)
def make_whole(index):
    return WholeRun(make_run(index, 200), make_tokens(200, 40), make_activations(index, 200, 40))
for index in range(int(sys.argv[2]), 10_000, 2):
    runs.insert_runs(SOURCE, [make_whole(index), make_whole(index + 1)])
    print(index + 1, flush=True)
"""
_KILLS = int(os.environ.get("KILLS", "15"))
"""Times that the writer is killed; more by hand: KILLS=100 pytest -k merging_writer."""


def _check_segments(path: Path) -> int:
    """Number of runs; fails if the two orders or the statistics differ from each other."""
    store = Store.open(path)
    try:
        with store.read() as cursor:
            [(n_runs, *counts)] = cursor.execute(
                f"""
                SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM base.activations),
                       (SELECT count(*) FROM {POSTINGS}),
                       (SELECT coalesce(sum(n_tokens_active), 0) FROM base.tallies),
                       (SELECT coalesce(sum(n_activations), 0) FROM base.segments)
                """
            ).fetchall()
            sums = [
                cursor.execute(
                    f"SELECT {column}, count(*), sum(code), max(code) FROM {rows}"
                    f" GROUP BY {column} ORDER BY {column}"
                ).fetchall()
                for rows, column in (("base.activations", "feature"), (POSTINGS, "slot"))
            ]
        assert counts == [n_runs * 8000] * 4
        assert sums[0] == sums[1]
        return int(n_runs)
    finally:
        store.close()


@pytest.mark.slow
def test_a_killed_merging_writer_leaves_both_orders_and_the_statistics_whole(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.duckdb"
    waits = random.Random(7)
    n_runs = 0
    for _ in range(_KILLS):
        process = _python(_MERGING_WRITER, str(path), str(n_runs))
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, process.stderr.read() if process.stderr else ""
        time.sleep(waits.random() * 0.6)
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        told = [int(word) + 1 for word in rest.split()]
        found = _check_segments(path)
        # one more batch may have been written whole and not yet told
        assert found - (told[-1] if told else n_runs) in (0, 2)
        n_runs = found


_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from store.connection import Store
from store.errors import StoreUnusableError
from store.runs import RunRepository
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
runs = RunRepository(Store.open(Path(sys.argv[1])))
limit = Path(sys.argv[1]).stat().st_size + 1_500_000
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
written = 0
try:
    for index in range(1000):
        tokens, activations = make_tokens(200, 40), make_activations(index, 200, 40)
        runs.insert_run(SOURCE, make_run(index, 200), tokens, activations)
        written += 1
except StoreUnusableError as error:
    print(error.message, "|", error.hint)
read = [run.run_key for run in runs.list_recent_runs(10_000)]
assert len(read) in (written, written + 1), (len(read), written)
assert all(len(runs.get_run(key).tokens) == 200 for key in read)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
last = make_run(5000, 200), make_tokens(200, 40), make_activations(5, 200, 40)
assert runs.insert_run(SOURCE, *last)
print(len(read) + 1)
"""


def test_a_full_disk_refuses_the_run_keeps_the_rest_and_goes_on_once_there_is_space(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.duckdb"
    process = _python(_FULL_DISK, str(path))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    said, counted = out.strip().splitlines()
    assert "full" in said
    assert "Free some space" in said
    assert len(_keys(path)) == int(counted)


_FAILED_CHECKPOINT = """
import resource, signal, sys
from pathlib import Path
from store.connection import Store
from store.errors import StoreUnusableError
from store.runs import RunRepository
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
store = Store.open(path)
runs = RunRepository(store)
for index in range(14):
    tokens, activations = make_tokens(200, 40), make_activations(index, 200, 40)
    runs.insert_run(SOURCE, make_run(index, 200), tokens, activations)
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, resource.RLIM_INFINITY))
try:
    with store._cursor() as cursor:
        cursor.execute("CHECKPOINT")
except StoreUnusableError as error:
    assert type(error.__cause__).__name__ == "FatalException", error.__cause__
    print(error.message)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert len(runs.list_recent_runs(100)) == 14
last = make_run(5000, 200), make_tokens(200, 40), make_activations(5, 200, 40)
assert runs.insert_run(SOURCE, *last)
"""


def test_a_store_that_its_database_gave_up_is_opened_again_with_all_it_had(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    process = _python(_FAILED_CHECKPOINT, str(path))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "full" in out
    assert len(_keys(path)) == 15


def test_a_second_process_is_told_who_holds_the_store(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    process = _python(_WRITER, str(path), "0")
    assert process.stdout is not None
    process.stdout.readline()
    try:
        with pytest.raises(StoreLockedError, match=str(process.pid)) as caught:
            Store.open(path)
        assert "FEATUREBOOK_STORE" in caught.value.hint
    finally:
        process.kill()
        process.communicate()


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    path.write_bytes(b"not a database " * 1000)
    before = path.read_bytes()
    with pytest.raises(StoreUnusableError, match="damaged, or is not a store"):
        Store.open(path)
    assert path.read_bytes() == before


def test_a_database_that_is_no_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE mine AS SELECT 42 AS answer")
    with pytest.raises(StoreUnusableError, match="not a store of Featurebook"):
        Store.open(path)
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("SELECT * FROM mine").fetchall() == [(42,)]


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    Store.open(path).close()
    with duckdb.connect(str(path)) as connection:
        newer = versions()[-1][0] + 1
        connection.execute(
            "INSERT INTO base.migrations (version, name) VALUES (?, 'newer')", [newer]
        )
    with pytest.raises(StoreUnusableError, match=f"schema version {newer}") as caught:
        Store.open(path)
    assert "Update Featurebook" in caught.value.hint


@pytest.mark.parametrize("place", ["", "folder", "file/store.duckdb", "Base.duckdb"])
def test_a_path_that_cannot_hold_a_store_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreUnusableError) as caught:
        Store.open(tmp_path / place)
    assert "FEATUREBOOK_STORE" in caught.value.hint


_READ_ONLY = """
import os, sys
from pathlib import Path
from store.connection import Store
from store.errors import StoreError
os.setuid(65534)
try:
    Store.open(Path(sys.argv[1]))
except StoreError as error:
    print(error.message, "|", error.hint)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="changes to a user without rights")
@pytest.mark.parametrize("is_new", [True, False])
def test_a_store_that_may_not_be_written_says_so(tmp_path: Path, is_new: bool) -> None:
    folder = Path("/var/tmp") / f"featurebook-{os.getpid()}-{is_new}"
    folder.mkdir()
    path = folder / "store.duckdb"
    try:
        if not is_new:
            Store.open(path).close()
            path.chmod(0o444)
        folder.chmod(0o555)
        out, err = _python(_READ_ONLY, str(path)).communicate(timeout=60)
        assert "may not be written" in out, err
        assert "permission" in out
    finally:
        folder.chmod(0o755)
        path.unlink(missing_ok=True)
        folder.rmdir()


def test_a_failing_write_leaves_nothing_and_the_store_goes_on(store: Store) -> None:
    def interrupted() -> None:
        with store.write() as cursor:
            cursor.execute("INSERT INTO base.hits VALUES (1, 'ada', now()::TIMESTAMP)")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert RunRepository(store).summarise().hits == 0


def test_a_read_cannot_write(store: Store) -> None:
    def write() -> None:
        with store.read() as cursor:
            cursor.execute("INSERT INTO base.hits VALUES (1, 'ada', now()::TIMESTAMP)")

    with pytest.raises(StoreError):
        write()
